"""Label vectors of released networks, and the annotations that they learnt from (notebook 12).

A network is used if it is installed, or if its authors' file lies in the folder of shared data. Its annotations are
looked for in the data folder and among the shared data.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from musictools import datasets, released, runs, tags
from musictools.experiments import label_vectors
from musictools.released import installation

__all__ = ["labels_of", "released_table", "released_vectors"]

_COLUMNS = [  # of `released_table`
    "network", "data", "clips", "tags", "features", "correlation", "low", "high", "p", "cosine", "cosine_low",
    "cosine_high", "negative", "common", "cosine_common",
]  # fmt: skip
_SHARED = {"million_song": "msd"}  # folders of the shared data that are not called like their data set


def released_vectors(name: str) -> pd.DataFrame | None:
    """Label vectors of a released network.

    Parameters
    ----------
    name : str
        One of `released.names()`.

    Returns
    -------
    W : pd.DataFrame [features x tags] or None
        None if the network is neither installed nor in the folder of shared data.
    """
    if name in released.installed():
        tagger = released.load(name)
    elif path := _authors_file(name):
        tagger = installation.tagger_of(released.describe(name), path)
    else:
        return None
    return label_vectors.label_vectors(tagger.model, tagger.tags)


def _authors_file(name):
    folder = runs.shared_data()
    if folder is None:
        return None
    won2020, *short = name.split("-")
    path = folder / won2020 / (f"{'_'.join(short)}.pth" if short else "keras2_model/model_best.hdf5")
    return path if path.is_file() else None


def labels_of(data: str, names: Sequence[str]) -> pd.DataFrame | None:
    """Tags that people gave to the songs of a data set that a released network was trained on.

    Parameters
    ----------
    data : str
        One of `released.shares.DATA`.
    names : sequence of str
        Tags.

    Returns
    -------
    labels : pd.DataFrame [clips x tags, bool] or None
        Clips with at least one of the tags; None if the data set is not here or lacks one of the tags. Of MTG-Jamendo,
        a table ``tracks.parquet`` of all tracks is preferred.
    """
    shared = runs.shared_data()
    parquet = shared / "mtg_jamendo" / "tracks.parquet" if shared else None
    if data == "mtg_jamendo" and parquet and parquet.is_file():
        table = _jamendo(parquet, names)
    else:
        folder = shared / _SHARED[data] if shared and data in _SHARED and (shared / _SHARED[data]).is_dir() else ""
        try:
            table = datasets.load(data, data_dir=folder).tags
        except ValueError:
            return None
    if not set(names) <= set(table):
        return None
    table = table[list(names)]
    return table[table.any(axis=1)]


def _jamendo(path, names):
    columns = {"genre": "genre", "instrument": "instrument", "mood/theme": "mood_theme"}
    tracks = pd.read_parquet(path, columns=list(columns.values()))
    table = {}
    for name in names:
        category, tag = name.split("---")
        table[name] = [tag in set(own) for own in tracks[columns[category]]]
    return pd.DataFrame(table, index=tracks.index)


def released_table(
    names: Sequence[str], *, n: int = 20, repeats: int = 500, seed: int = 0
) -> tuple[pd.DataFrame, dict]:
    """Label vectors of released networks against the co-occurrence of their tags in real annotations.

    Parameters
    ----------
    names : sequence of str
        Networks; those that are not here, or whose data set is not here, are left out.
    n : int > 0
        Number of most similar pairs that are compared.
    repeats : int > 0
        Number of resamples.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        network, data, clips, tags, features, correlation (of Eq. 7.1) with low, high and p as in `correlations`,
        cosine (correlation of the cosine), cosine_low, cosine_high, negative (pairs of negative similarity), common and
        cosine_common (of the `n` highest pairs).
    known : dict of str to (S, C)
        Similarity (Eq. 7.1) and co-occurrence, by network.
    """
    rows, known, labels = [], {}, {}
    for name in names:
        about = released.describe(name)
        if about.data not in labels:
            labels[about.data] = labels_of(about.data, about.tags)
        W = released_vectors(name) if labels[about.data] is not None else None
        if W is None:
            continue
        S, C = label_vectors.similarity(W), tags.co_occurrence(labels[about.data])
        known[name] = S, C
        kinds = {"dot": S, "cosine": label_vectors.similarity(W, cosine=True)}
        dot, cosine = label_vectors.correlations(
            kinds, label_vectors.either_way(C), repeats=repeats, seed=seed
        ).to_dict("records")
        common = [label_vectors.table_7_c(label_vectors.pairs(own, C), n=n)[1] for own in kinds.values()]
        rows.append({
            "network": name, "data": about.data, "clips": len(labels[about.data]), "tags": dot["tags"],
            "features": len(W),
            **{key: dot[key] for key in ("correlation", "low", "high", "p")},
            "cosine": cosine["correlation"], "cosine_low": cosine["low"], "cosine_high": cosine["high"],
            "negative": int((S.to_numpy() < 0).sum()) // 2, "common": common[0], "cosine_common": common[1],
        })  # fmt: skip
    return pd.DataFrame(rows, columns=_COLUMNS), known

"""Every feature map alone as the input of small classifiers, through `runs.map`: a task is one map of one layer.

A worker reads its map from the store, trains, predicts, and sends back counts only; no process ever holds two maps.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import runs
from musictools.probing import knn, random_forest, svm
from musictools.probing.scores import COUNTS

if TYPE_CHECKING:
    from musictools.probing.maps import FeatureMaps
    from musictools.probing.streams import StreamedMaps

__all__ = ["METHODS", "probe"]

METHODS = {"knn": knn.predict, "rf": random_forest.predict, "svm": svm.predict}


def probe(
    maps: FeatureMaps | StreamedMaps,
    labels: pd.DataFrame,
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    methods: dict[str, dict],
    only: Sequence[tuple[str, int]] | None = None,
    folder: str | Path | None = None,
    workers: int | None = None,
    scheduler: str = "",
    description: str = "probing",
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Train small classifiers on one feature map at a time and count their hits on test clips.

    Parameters
    ----------
    maps : FeatureMaps or StreamedMaps
    labels : pd.DataFrame [clips x tags, bool]
        Clips of `maps`, any of them, in any order.
    splits : sequence of (np.ndarray, np.ndarray)
        Training rows and test rows of `labels`, a pair a fold, as from `datasets.splits.folds`.
    methods : dict of str to dict
        ``"knn"``, ``"rf"`` or ``"svm"`` -> options of `knn.predict`, `random_forest.predict` or `svm.predict`.
    only : sequence of (str, int) or None
        Layer and index of the maps to probe, as from `FeatureMaps.names`; None: all maps.
    folder : str, Path or None
        Counts of finished maps are kept here, so that a run that was killed goes on where it stopped.
    workers : int > 0 or None
        Processes, as in `runs.map`.
    scheduler : str
        Address of a Dask scheduler, as in `runs.map`. All its workers must see the maps' folder.
    description : str
        Title of the progress bar.

    Returns
    -------
    counts : pd.DataFrame
        A row a map, fold, model and tag: layer, map, model (such as knn_3), tag, fold, tp, fp, fn, tn.
    seconds : pd.DataFrame
        A row a map and method: layer, map, method, seconds (of computing, all folds and tags).

    Raises
    ------
    ValueError
        If a method or a clip is unknown, a fold is empty or trains on clips that it tests, or a map holds NaN.

    See Also
    --------
    musictools.probing.maps.FeatureMaps : Feature maps on disk.
    musictools.probing.scores.measures : Precision, recall, F1 and more from the counts.

    Examples
    --------
    Two maps of ten clips; the second one shows the tag.

    >>> import tempfile
    >>> from musictools.probing.maps import FeatureMaps
    >>> labels = pd.DataFrame({"guitar": [True, False] * 5})
    >>> values = np.random.default_rng(0).random((2, 10, 3, 4), dtype=np.float32)
    >>> values[1, ::2] += 1
    >>> maps = FeatureMaps.create(tempfile.mkdtemp(), {"conv": (2, 3, 4)}, range(10))
    >>> maps.write(0, {"conv": values})
    >>> splits = [(np.arange(6), np.arange(6, 10))]
    >>> counts, seconds = probe(maps, labels, splits, methods={"knn": {"ks": [3]}}, workers=1)
    >>> counts.loc[counts["map"] == 1, ["model", "tag", "tp", "fp", "fn", "tn"]]
       model     tag  tp  fp  fn  tn
    1  knn_3  guitar   2   0   0   2
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown or not methods:
        raise ValueError(f"methods must be among {', '.join(METHODS)}. Got {', '.join(unknown) or 'none'}.")
    if not labels.shape[1] or not labels.dtypes.eq(bool).all():
        raise ValueError(f"labels must be bool with at least one tag. Got {labels.shape[1]} columns.")
    for train, test in splits:
        if not len(train) or not len(test) or len(np.intersect1d(train, test)):
            raise ValueError(
                f"Every split needs training clips and other clips to test on. Got {len(train)} and "
                f"{len(test)}, {len(np.intersect1d(train, test))} of them the same."
            )
    task = {
        "rows": maps.rows(labels.index),
        "labels": labels.to_numpy(),
        "splits": list(splits),
        "methods": methods,
        "folder": folder,
    }
    task["key"] = _key(maps, task, list(labels.columns))
    names = maps.names() if only is None else list(only)
    done = []
    for stored, group in maps.passes(names):
        own = functools.partial(_probe, task | {"maps": stored})
        done += runs.map(own, group, workers=workers, scheduler=scheduler, description=description)
    tags = np.array(labels.columns, dtype=object)
    counts = pd.concat(
        [
            pd.DataFrame(rows).assign(layer=layer, map=index)
            for (layer, index), (rows, _) in zip(names, done, strict=True)
        ],
        ignore_index=True,
    )
    counts["tag"] = tags[counts["tag"]]
    seconds = [
        {"layer": layer, "map": index, "method": name, "seconds": s}
        for (layer, index), (_, spent) in zip(names, done, strict=True)
        for name, s in spent.items()
    ]
    return counts[["layer", "map", "model", "tag", "fold", *COUNTS]], pd.DataFrame(seconds)


def _key(maps, task, tags):
    """Everything that the counts depend on, but for the map."""
    digest = hashlib.sha256(repr((maps.source, maps.ids, task["methods"], tags)).encode())
    for array in (task["rows"], task["labels"], *(rows for split in task["splits"] for rows in split)):
        digest.update(np.ascontiguousarray(array).tobytes() + b";")
    return digest.hexdigest()


def _probe(task, name):
    return runs.cached(
        functools.partial(_count, task, name),
        folder=task["folder"],
        name=f"{name[0]}-{name[1]}",
        depends_on=(task["key"], name),
    )


def _count(task, map_name, _):
    """Counts of one map as a dict of columns, and seconds by method."""
    X, Y = task["maps"].read(*map_name)[task["rows"]], task["labels"]
    tables, spent = [], dict.fromkeys(task["methods"], 0.0)
    for fold, (train, test) in enumerate(task["splits"]):
        for name, options in task["methods"].items():
            began = time.process_time()
            predicted = METHODS[name](X[train], Y[train], X[test], **options)
            spent[name] += time.process_time() - began
            tables += [_counts(Y[test], yes, model=f"{name}_{size}", fold=fold) for size, yes in predicted.items()]
    return {column: np.concatenate([table[column] for table in tables]) for column in tables[0]}, spent


def _counts(true, yes, *, model, fold):
    n_tags = true.shape[1]
    cells = (true & yes, ~true & yes, true & ~yes, ~true & ~yes)
    return {
        "model": np.repeat(np.array([model], dtype=object), n_tags),
        "tag": np.arange(n_tags),
        "fold": np.full(n_tags, fold),
        **{name: cell.sum(axis=0) for name, cell in zip(COUNTS, cells, strict=True)},
    }

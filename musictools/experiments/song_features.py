"""How well estimated features of songs agree with what is known of them (`sharma2022` 4.2.4, notebook 13)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from musictools import evaluation

__all__ = ["COMPOSED", "agreement", "composed_truth"]

COMPOSED = (  # feature, and what is known of composed clips; nothing of liveness and speechiness
    ("acousticness", "acoustic"),
    ("danceability", "beat"),
    ("energy", "loud"),
    ("instrumentalness", "no_vocals"),
    ("tempo", "tempo"),
    ("valence", "happy"),
    ("valence", "major"),
)
_MAJOR = ("major", "lydian", "mixolydian")  # modes with a major third, without those of the Indian genre
TOLERANCE = 0.04  # of a tempo, as is usual (Gouyon et al. 2006)


def composed_truth(data: Any, ids: Sequence) -> pd.DataFrame:
    """What the composer knows of clips that a feature of songs should tell.

    Parameters
    ----------
    data : musictools.datasets.composed.Composed
    ids : sequence of clip id

    Returns
    -------
    truth : pd.DataFrame [clips x acoustic, beat, loud, no_vocals, happy, major, tempo]
        Bool, but for the tempo in beats per minute.
    """
    rows = []
    for clip_id in ids:
        known = data.truth(clip_id)
        row = {name: name in known["concepts"] for name in ("acoustic", "beat", "loud", "no_vocals", "happy")}
        rows.append(row | {"major": known["key"].split()[-1] in _MAJOR, "tempo": known["tempo"]})
    return pd.DataFrame(rows, index=pd.Index(list(ids), name="clip_id"))


def agreement(
    features: pd.DataFrame, truth: pd.DataFrame, *, pairs: Sequence[tuple[str, str]] = COMPOSED, repeats: int = 500
) -> pd.DataFrame:
    """Compare features with what is known, each with a bootstrap interval over clips.

    Parameters
    ----------
    features : pd.DataFrame [clips x features]
        From `musictools.concepts.song_features.table`. Clips with NaN are left out.
    truth : pd.DataFrame [clips x facts]
        Bool or numbers. Clips that are not in `truth` are left out.
    pairs : sequence of (feature, fact)
    repeats : int > 0
        Bootstrap resamples.

    Returns
    -------
    table : pd.DataFrame
        feature, truth, measure, value, low, high (95 %), clips. The measure is the ROC-AUC for a fact that is true or
        false, Spearman's rank correlation for a number. A tempo has two rows more: the share of clips within 4 % of the
        truth, also counting half, double, a third and three times the tempo as right.

    Raises
    ------
    ValueError
        If a feature or a fact is unknown, or no clip is in both tables.

    Examples
    --------
    >>> features = pd.DataFrame({"energy": [0.1, 0.2, 0.8, 0.9]})
    >>> truth = pd.DataFrame({"loud": [False, False, True, True]})
    >>> agreement(features, truth, pairs=[("energy", "loud")])[["feature", "truth", "measure", "value"]]
      feature truth  measure  value
    0  energy  loud  ROC-AUC    1.0
    """
    rows = []
    for feature, fact in pairs:
        for name, columns in ((feature, features), (fact, truth)):
            if name not in columns:
                raise ValueError(f"There is no column {name!r}. Known: {', '.join(map(str, columns))}.")
        both = pd.DataFrame({"estimate": features[feature], "known": truth[fact]}).dropna()
        both = both[both.index.isin(truth.index)]
        if both.empty:
            raise ValueError(f"No clip has both {feature} and {fact}.")
        estimate, known = both["estimate"].to_numpy(float), both["known"].to_numpy()
        for name, measure in _measures(feature, truth[fact].dtype == bool).items():
            known = known.astype(bool if name == "ROC-AUC" else float)
            low, high = evaluation.bootstrap(
                lambda chosen, f=measure, k=known, e=estimate: f(k[chosen], e[chosen]),
                np.arange(len(both)),
                repeats=repeats,
            )
            value = measure(known, estimate)
            rows.append((feature, fact, name, value, low, high, len(both)))
    return pd.DataFrame(rows, columns=["feature", "truth", "measure", "value", "low", "high", "clips"])


def _measures(feature, yes_or_no):
    if yes_or_no:
        return {"ROC-AUC": _auc}
    within = {"within 4 %": _within(1), "within 4 % of a multiple": _within(1, 2, 3, 1 / 2, 1 / 3)}
    return {"rank correlation": _rank_correlation} | (within if feature == "tempo" else {})


def _auc(known, estimate):
    return float(evaluation.roc_auc(known[:, None], estimate[:, None])[0])


def _rank_correlation(known, estimate):
    ranks = pd.DataFrame({"a": known, "b": estimate}).rank()
    return float(ranks["a"].corr(ranks["b"]))


def _within(*factors):
    def share(known, estimate):
        off = np.abs(estimate[:, None] / (known[:, None] * np.array(factors)) - 1)
        return float((off.min(axis=1) <= TOLERANCE).mean())

    return share

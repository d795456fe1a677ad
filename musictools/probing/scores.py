"""Measures of binary decisions from their counts, with jackknife intervals, and the tables of `rotheneder2023`.

Conventions
-----------
`counts` is a DataFrame with the columns tp, fp, fn and tn, numbers of clips; other columns are kept. F1 and recall are
NaN if no clip has the tag, balanced accuracy and the Matthews correlation also if all clips have it. Precision is 0 if
the tag is never predicted, the Matthews correlation if the prediction is always the same.

The *guess* predicts the tag for every clip. If a share p of the clips has the tag, its F1 is 2 p / (1 + p), more than
that of any other constant prediction, and more than that of many maps. The balanced accuracy of every constant
prediction is 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

__all__ = [
    "COUNTS",
    "MEASURES",
    "best",
    "choice",
    "cross_validation",
    "jackknife",
    "mean_over_folds",
    "measures",
    "ranked",
]

COUNTS = ("tp", "fp", "fn", "tn")
MEASURES = ("accuracy", "precision", "recall", "f1", "guess_f1", "over_guess", "balanced_accuracy", "mcc")


def measures(counts: pd.DataFrame) -> pd.DataFrame:
    """Compute all measures of every row.

    Parameters
    ----------
    counts : pd.DataFrame
        With the columns tp, fp, fn and tn.

    Returns
    -------
    table : pd.DataFrame
        The same rows with the columns accuracy, precision, recall, f1, guess_f1 (F1 of the guess), over_guess (f1 minus
        guess_f1), balanced_accuracy and mcc (Matthews correlation) added.

    Raises
    ------
    ValueError
        If a count is negative or NaN.

    Examples
    --------
    >>> counts = pd.DataFrame({"tp": [6], "fp": [2], "fn": [2], "tn": [10]})
    >>> measures(counts)[["accuracy", "f1", "guess_f1"]].round(3)
       accuracy    f1  guess_f1
    0       0.8  0.75     0.571
    """
    return counts.assign(**_measures(*_arrays(counts)))


def jackknife(counts: pd.DataFrame, measure: str, *, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Compute intervals of a measure by the jackknife over clips.

    Every clip falls into one of four cells, so there are at most four leave-one-out values, each as often as its count:
    the jackknife's variance (n - 1)/n * sum (value - mean)^2 needs no loop over clips.

    Parameters
    ----------
    counts : pd.DataFrame
        With the columns tp, fp, fn and tn.
    measure : str
        One of `MEASURES`.
    level : float in (0, 1)
        Confidence level of the normal interval.

    Returns
    -------
    low, high : np.ndarray [shape=(n_rows,)]
        Within the measure's range. NaN if the measure, or one of its leave-one-out values, is undefined. If no single
        clip changes the measure, such as an F1 of 0, the interval has zero width, which understates the uncertainty.

    Raises
    ------
    ValueError
        If the measure is unknown or the level out of range.

    Examples
    --------
    >>> low, high = jackknife(pd.DataFrame({"tp": [6], "fp": [2], "fn": [2], "tn": [10]}), "f1")
    >>> float(low[0].round(2)), float(high[0].round(2))
    (0.5, 1.0)
    """
    from scipy.stats import norm

    if measure not in MEASURES or not 0 < level < 1:
        raise ValueError(
            f"measure must be one of {', '.join(MEASURES)}, and level lie in (0, 1). Got {measure!r} and {level!r}."
        )
    cells = _arrays(counts)
    value, n = _measures(*cells)[measure], cells.sum(axis=0)
    left_out = np.stack([_measures(*np.maximum(cells - np.eye(4)[k][:, None], 0))[measure] for k in range(4)])
    left_out = np.where(cells > 0, left_out, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = (cells * left_out).sum(axis=0) / n
        error = np.sqrt((n - 1) / n * (cells * (left_out - mean) ** 2).sum(axis=0))
    reach = norm.isf((1 - level) / 2) * error
    lowest = -1.0 if measure in ("over_guess", "mcc") else 0.0
    return np.maximum(value - reach, lowest), np.minimum(value + reach, 1.0)


def mean_over_folds(counts: pd.DataFrame) -> pd.DataFrame:
    """Average the measures of every map, model and tag over the folds where they are defined.

    Parameters
    ----------
    counts : pd.DataFrame
        As returned by `probes.probe`: layer, map, model, tag, fold and the four counts.

    Returns
    -------
    table : pd.DataFrame
        One row per map, model and tag: layer, map, model, tag and `MEASURES`.
    """
    by = ["layer", "map", "model", "tag"]
    return measures(counts).groupby(by, sort=False)[list(MEASURES)].mean().reset_index()


def cross_validation(counts: pd.DataFrame, *, tags: Sequence[str]) -> pd.DataFrame:
    """Average F1 and recall over folds and maps, as in tables A.1 to A.3 of `rotheneder2023`.

    Parameters
    ----------
    counts : pd.DataFrame
        As returned by `probes.probe`, one layer.
    tags : sequence of str
        Columns of the table. Tags without counts are NaN.

    Returns
    -------
    table : pd.DataFrame
        One row per model and metric: model, metric (f1, recall), average (over the tags with counts), and one column
        per tag.
    """
    mean = mean_over_folds(counts).groupby(["model", "tag"], sort=False)[["f1", "recall"]].mean()
    wide = mean.stack().unstack("tag").reindex(columns=list(tags))
    wide.insert(0, "average", wide.mean(axis=1))
    order = list(dict.fromkeys(counts["model"]))
    wide = wide.reindex(pd.MultiIndex.from_product([order, ["f1", "recall"]], names=["model", "metric"]))
    return wide.rename_axis(columns=None).reset_index()


def choice(counts: pd.DataFrame) -> pd.DataFrame:
    """Rank models by their mean F1 on the maps that all models were tried on.

    Parameters
    ----------
    counts : pd.DataFrame
        As returned by `probes.probe`, any layers.

    Returns
    -------
    table : pd.DataFrame
        One row per model, the best first: model, maps (number), f1, balanced_accuracy, mcc.

    Raises
    ------
    ValueError
        If no map was tried by all models.
    """
    mean = mean_over_folds(counts)
    tried = mean.groupby(["layer", "map"])["model"].nunique()
    shared = tried.index[tried == mean["model"].nunique()]
    if not len(shared):
        raise ValueError("No map was tried by all models, so they cannot be compared.")
    mean = mean.set_index(["layer", "map"]).loc[shared]
    table = mean.groupby("model", sort=False)[["f1", "balanced_accuracy", "mcc"]].mean()
    table.insert(0, "maps", len(shared))
    return table.sort_values("f1", ascending=False, kind="stable").reset_index()


def ranked(counts: pd.DataFrame, *, n: int = 5, ascending: bool = False) -> pd.DataFrame:
    """Rank the best or worst maps of every tag by F1, as in tables 6.2 to 6.7 of `rotheneder2023`.

    Parameters
    ----------
    counts : pd.DataFrame
        As returned by `probes.probe`: one layer, one model, one fold.
    n : int > 0
        Number of maps per tag; all if there are fewer.
    ascending : bool
        Whether to return the worst maps. The last one is the worst of all, as in the thesis.

    Returns
    -------
    table : pd.DataFrame
        One row per tag and rank: tag, rank (from 1), feature_map, accuracy, f1. Among equal maps the one with the lower
        index comes first.
    """
    table = measures(counts).dropna(subset=["f1"]).rename(columns={"map": "feature_map"})
    parts = []
    for tag, group in table.groupby("tag", sort=False):
        order = group.sort_values(["f1", "feature_map"], ascending=[False, True])
        chosen = order.tail(n) if ascending else order.head(n)
        parts.append(chosen.assign(tag=tag, rank=np.arange(1, len(chosen) + 1)))
    columns = ["tag", "rank", "feature_map", "accuracy", "f1"]
    return pd.concat(parts)[columns].reset_index(drop=True) if parts else pd.DataFrame(columns=columns)


def best(counts: pd.DataFrame, *, validation: pd.DataFrame | None = None, level: float = 0.95) -> pd.DataFrame:
    """Find the best map of every layer and tag, with intervals and a test against chance.

    Parameters
    ----------
    counts : pd.DataFrame
        As returned by `probes.probe` on test clips: one model, one fold, any layers.
    validation : pd.DataFrame or None
        As returned by `probes.probe` on training clips, the same model. Maps are also chosen by it, because the best of
        many maps on the test clips is overestimated.
    level : float in (0, 1)
        Confidence level of the intervals.

    Returns
    -------
    table : pd.DataFrame
        One row per layer and tag: layer, tag, maps (number), feature_map (the best on the test clips), its accuracy,
        f1, guess_f1, over_guess, balanced_accuracy and mcc, with intervals ``…_low`` and ``…_high`` of f1, over_guess
        and balanced_accuracy, and p (Fisher's exact test, one-sided, of independence of prediction and tag, with
        Bonferroni correction for the number of maps). With `validation` also chosen_map and its chosen_f1,
        chosen_over_guess and chosen_balanced_accuracy on the test clips.

    Raises
    ------
    ValueError
        If `validation` holds several models.
    """
    table, lines = measures(counts).dropna(subset=["f1"]), []
    for name in ("f1", "over_guess", "balanced_accuracy"):
        table[f"{name}_low"], table[f"{name}_high"] = jackknife(table, name, level=level)
    chosen = _chosen(validation) if validation is not None else {}
    for (layer, tag), group in table.groupby(["layer", "tag"], sort=False):
        top = group.sort_values(["f1", "map"], ascending=[False, True]).iloc[0]
        line = {
            "layer": layer,
            "tag": tag,
            "maps": len(group),
            "feature_map": top["map"],
            **{name: top[name] for name in table if name not in (*COUNTS, "layer", "tag", "map", "model", "fold")},
            "p": min(1.0, len(group) * _fisher(top)),
        }
        if (layer, tag) in chosen:
            own = group.set_index("map").loc[chosen[layer, tag]]
            line |= {
                "chosen_map": chosen[layer, tag],
                "chosen_f1": own["f1"],
                "chosen_over_guess": own["over_guess"],
                "chosen_balanced_accuracy": own["balanced_accuracy"],
            }
        lines.append(line)
    return pd.DataFrame(lines)


def _chosen(validation):
    """The map with the highest cross-validated F1, by layer and tag."""
    mean = mean_over_folds(validation).dropna(subset=["f1"])
    if mean["model"].nunique() > 1:
        raise ValueError(f"validation must hold one model. Got {', '.join(mean['model'].unique())}.")
    rows = mean.loc[mean.groupby(["layer", "tag"])["f1"].idxmax()]
    return {(layer, tag): index for layer, tag, index in zip(rows["layer"], rows["tag"], rows["map"], strict=True)}


def _fisher(row):
    """One-sided p of at least so many true positives, given how many clips have the tag and how many are predicted."""
    from scipy.stats import hypergeom

    tp, fp, fn, tn = (int(row[name]) for name in COUNTS)
    return float(hypergeom.sf(tp - 1, tp + fp + fn + tn, tp + fn, tp + fp))


def _arrays(counts):
    """The four counts, np.ndarray [shape=(4, n_rows)]."""
    cells = counts[list(COUNTS)].to_numpy(dtype=float).T
    if not (np.isfinite(cells) & (cells >= 0)).all():
        raise ValueError("counts must be at least 0, without NaN.")
    return cells


def _measures(tp, fp, fn, tn):
    with np.errstate(invalid="ignore", divide="ignore"):
        n, positive, negative = tp + fp + fn + tn, tp + fn, fp + tn
        recall, specificity = tp / positive, tn / negative
        f1 = np.where(positive > 0, 2 * tp / (2 * tp + fp + fn), np.nan)
        guess = np.where(positive > 0, 2 * positive / (n + positive), np.nan)
        spread = np.sqrt((tp + fp) * positive * negative * (fn + tn))
        mcc = np.where(spread > 0, (tp * tn - fp * fn) / spread, np.where(positive * negative > 0, 0.0, np.nan))
        return {
            "accuracy": (tp + tn) / n,
            "precision": np.where(tp + fp > 0, tp / (tp + fp), 0.0),
            "recall": recall,
            "f1": f1,
            "guess_f1": guess,
            "over_guess": f1 - guess,
            "balanced_accuracy": (recall + specificity) / 2,
            "mcc": mcc,
        }

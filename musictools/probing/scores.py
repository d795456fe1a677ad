"""Measures of yes-or-no decisions from their counts, with jackknife intervals, and the tables of `rotheneder2023`.

Conventions
-----------
`counts` is a DataFrame with the columns tp, fp, fn and tn, numbers of clips; whatever else it holds stays. F1, recall
and balanced accuracy are NaN where no clip has the tag, balanced accuracy and Matthews correlation where all have it;
precision is 0 where the tag is never predicted, the Matthews correlation where one answer is always given.

The *guess* says yes to every clip: at a share p of clips with the tag its F1 is 2 p / (1 + p), more than any other
constant answer has, and more than many a map. Balanced accuracy knows no such favour: every guess has 0.5.
"""

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


def measures(counts):
    """All measures of every row.

    Parameters
    ----------
    counts : pd.DataFrame
        With tp, fp, fn, tn.

    Returns
    -------
    table : pd.DataFrame
        The same rows, and: accuracy, precision, recall, f1, guess_f1 (of the guess), over_guess (f1 less guess_f1),
        balanced_accuracy, mcc (Matthews correlation).
    """
    return counts.assign(**_measures(*_arrays(counts)))


def jackknife(counts, measure, *, level=0.95):
    """Interval of a measure by leaving out every clip once.

    A clip is one of four things, so there are four leave-one-out values at most, each as often as its count: the
    jackknife's variance (n - 1)/n * sum (value - mean)^2 needs no loop over clips.

    Parameters
    ----------
    counts : pd.DataFrame
        With tp, fp, fn, tn.
    measure : str
        One of `MEASURES`.
    level : float in (0, 1)
        Of the normal interval.

    Returns
    -------
    low, high : np.ndarray [shape=(n_rows,)]
        Within the measure's range. NaN where the measure, or one of its leave-one-out values, is not defined. Of a
        measure that no single clip can change, such as an F1 of 0, the interval has no width: it knows no better.

    Raises
    ------
    ValueError
        If the measure is unknown or the level out of range.
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


def mean_over_folds(counts):
    """Measures of every map, model and tag, averaged over folds; folds without the tag count nowhere.

    Parameters
    ----------
    counts : pd.DataFrame
        Of `probes.probe`: layer, map, model, tag, fold and the four counts.

    Returns
    -------
    table : pd.DataFrame
        layer, map, model, tag and `MEASURES`.
    """
    by = ["layer", "map", "model", "tag"]
    return measures(counts).groupby(by, sort=False)[list(MEASURES)].mean().reset_index()


def cross_validation(counts, *, tags):
    """Tables A.1 to A.3 of `rotheneder2023`: means over folds and maps.

    Parameters
    ----------
    counts : pd.DataFrame
        Of `probes.probe`, one layer.
    tags : sequence of str
        Columns; NaN where a tag was left out.

    Returns
    -------
    table : pd.DataFrame
        model, metric (f1, recall), average (over the tags that are there), and a column a tag.
    """
    mean = mean_over_folds(counts).groupby(["model", "tag"], sort=False)[["f1", "recall"]].mean()
    wide = mean.stack().unstack("tag").reindex(columns=list(tags))
    wide.insert(0, "average", wide.mean(axis=1))
    order = list(dict.fromkeys(counts["model"]))
    wide = wide.reindex(pd.MultiIndex.from_product([order, ["f1", "recall"]], names=["model", "metric"]))
    return wide.rename_axis(columns=None).reset_index()


def choice(counts):
    """The model with the highest mean F1, each model judged by the maps that all models were tried on.

    Parameters
    ----------
    counts : pd.DataFrame
        Of `probes.probe`, any layers.

    Returns
    -------
    table : pd.DataFrame
        model, maps, f1, balanced_accuracy, mcc; the best first.
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


def ranked(counts, *, n=5, ascending=False):
    """The best or worst maps of every tag, tables 6.2 to 6.7 of `rotheneder2023`.

    Parameters
    ----------
    counts : pd.DataFrame
        Of `probes.probe`: one layer, one model, one fold.
    n : int > 0
        Maps a tag; all where there are fewer.
    ascending : bool
        The worst, of which the last is the very worst, as in the thesis.

    Returns
    -------
    table : pd.DataFrame
        tag, rank (from 1), feature_map, accuracy, f1. Of equal ones the lower map comes first.
    """
    table = measures(counts).dropna(subset=["f1"]).rename(columns={"map": "feature_map"})
    parts = []
    for tag, group in table.groupby("tag", sort=False):
        order = group.sort_values(["f1", "feature_map"], ascending=[False, True])
        chosen = order.tail(n) if ascending else order.head(n)
        parts.append(chosen.assign(tag=tag, rank=np.arange(1, len(chosen) + 1)))
    columns = ["tag", "rank", "feature_map", "accuracy", "f1"]
    return pd.concat(parts)[columns].reset_index(drop=True) if parts else pd.DataFrame(columns=columns)


def best(counts, *, validation=None, level=0.95):
    """The best map of every layer and tag, with what is needed to believe it.

    Parameters
    ----------
    counts : pd.DataFrame
        Of `probes.probe` on test clips: one model, one fold, any layers.
    validation : pd.DataFrame or None
        Of `probes.probe` on training clips, the same model: what maps are chosen by. The best of many maps on the test
        clips is too good by chance; the one that cross-validation chose is not.
    level : float in (0, 1)

    Returns
    -------
    table : pd.DataFrame
        A row a layer and tag: layer, tag, maps (how many), feature_map (the best on the test clips), its accuracy, f1,
        guess_f1, over_guess, balanced_accuracy, mcc with intervals ``…_low`` and ``…_high`` of f1, over_guess and
        balanced_accuracy; p: how likely so many hits are if decisions and tag had nothing to do with each other
        (Fisher's exact test, one-sided), times the number of maps (Bonferroni: it is the best of so many); with
        `validation` also chosen_map and its chosen_f1, chosen_over_guess and
        chosen_balanced_accuracy on the test clips.
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
    return {(layer, tag): index for layer, tag, index in zip(rows["layer"], rows["tag"], rows["map"])}


def _fisher(row):
    """One-sided p of at least so many true positives, given how many clips have the tag and how many were called."""
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

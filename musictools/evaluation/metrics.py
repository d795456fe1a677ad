"""Measures of genre classifiers and taggers, and thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

__all__ = ["choose_thresholds", "confusion", "genre_metrics", "roc_auc", "tag_metrics", "tag_table"]


def genre_metrics(labels: np.ndarray, scores: np.ndarray, *, predicted: np.ndarray | None = None) -> dict[str, float]:
    """Accuracy, macro precision and recall, macro one-vs-rest ROC-AUC (`rotheneder2023` table 3.4).

    Parameters
    ----------
    labels : np.ndarray [shape=(n,), int]
    scores : np.ndarray [shape=(n, n_classes)]
    predicted : np.ndarray [shape=(n,), int] or None
        Decisions where they are not the arg-max of the scores, as after a vote.

    Returns
    -------
    metrics : dict of str to float
        accuracy, precision, recall, roc_auc. Precision and recall run over the classes that occur in `labels` or
        `predicted`; a class that is never predicted has precision 0.

    Raises
    ------
    ValueError
        If there are no labels, or not as many as scores.

    Examples
    --------
    >>> genre_metrics([0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])["accuracy"]
    0.75
    """
    from sklearn.metrics import precision_recall_fscore_support

    labels, scores = np.asarray(labels), np.asarray(scores)
    if len(labels) == 0 or len(labels) != len(scores):
        raise ValueError(f"labels and scores must have the same length above 0. Got {len(labels)} and {len(scores)}.")
    predicted = scores.argmax(axis=1) if predicted is None else np.asarray(predicted)
    precision, recall, _, _ = precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0.0)
    areas = roc_auc(labels[:, None] == np.arange(scores.shape[1]), scores)
    return {
        "accuracy": float((labels == predicted).mean()),
        "precision": float(precision),
        "recall": float(recall),
        "roc_auc": float(pd.Series(areas).mean()),  # of the classes that have one
    }


def tag_metrics(labels: np.ndarray, scores: np.ndarray, *, thresholds: float | np.ndarray = 0.5) -> dict[str, float]:
    """Scores of a tagger over all tags (`rotheneder2023` tables 5.6-5.16, `tagger_slides` tables I-III).

    Parameters
    ----------
    labels : np.ndarray [shape=(n, n_tags), bool]
    scores : np.ndarray [shape=(n, n_tags)]
    thresholds : float or np.ndarray [shape=(n_tags,)]
        A tag is predicted where its score is greater.

    Returns
    -------
    metrics : dict of str to float
        roc_auc, pr_auc (trapezoids under the curve), average_precision, mcc, macro_precision, macro_recall, macro_f1:
        means over the tags that have both classes, NaN if none has; accuracy (binary), micro_precision, micro_recall,
        average_tags (predicted, an example), undefined (tags left out of the means).

    Raises
    ------
    ValueError
        If the shapes differ or are not (n, n_tags), or `scores` hold NaN or Inf.

    See Also
    --------
    tag_table : The same measures tag by tag.

    Examples
    --------
    >>> labels = np.array([[True, False], [False, True], [False, False]])
    >>> measures = tag_metrics(labels, [[0.9, 0.1], [0.6, 0.8], [0.2, 0.3]])
    >>> measures["roc_auc"], measures["average_tags"], round(measures["micro_precision"], 3)
    (1.0, 1.0, 0.667)
    """
    table = tag_table(labels, scores, thresholds=thresholds)
    predicted = np.asarray(scores) > thresholds
    right = int((predicted & labels).sum())
    means = table[["roc_auc", "pr_auc", "average_precision", "mcc", "precision", "recall", "f1"]].mean()
    return {
        **{f"macro_{name}" if name in ("precision", "recall", "f1") else name: float(v) for name, v in means.items()},
        "accuracy": float((predicted == labels).mean()),
        "micro_precision": right / max(1, int(predicted.sum())),
        "micro_recall": right / max(1, int(np.sum(labels))),
        "average_tags": float(predicted.sum(axis=1).mean()),
        "undefined": int(table["roc_auc"].isna().sum()),
    }


def tag_table(
    labels: np.ndarray, scores: np.ndarray, *, names: Sequence | None = None, thresholds: float | np.ndarray = 0.5
) -> pd.DataFrame:
    """Scores of a tagger, tag by tag (`rotheneder2023` tables 5.7-5.17).

    Parameters
    ----------
    labels : np.ndarray [shape=(n, n_tags), bool]
    scores : np.ndarray [shape=(n, n_tags)]
    names : sequence of str or None
        The tags' names; None: their numbers.
    thresholds : float or np.ndarray [shape=(n_tags,)]
        A tag is predicted where its score is greater.

    Returns
    -------
    table : pd.DataFrame
        A row a tag: tag, presence (examples with it), predicted (examples), recall, precision, f1, mcc, roc_auc,
        pr_auc, average_precision; all but the first three are NaN where only one class occurs.

    Raises
    ------
    ValueError
        If the shapes differ or are not (n, n_tags), or `scores` hold NaN or Inf.

    See Also
    --------
    tag_metrics : The same measures over all tags.

    Examples
    --------
    >>> labels = np.array([[True, False], [False, True], [False, False]])
    >>> tag_table(labels, [[0.9, 0.1], [0.6, 0.8], [0.2, 0.3]], names=["rock", "slow"])[["tag", "recall", "precision"]]
        tag  recall  precision
    0  rock     1.0        0.5
    1  slow     1.0        1.0
    """
    labels, scores = _check_tags(labels, scores)
    predicted = scores > thresholds
    presence, positive, hits = labels.sum(axis=0), predicted.sum(axis=0), (predicted & labels).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(positive > 0, hits / positive, 0.0)
        recall = hits / presence
        f1 = 2 * hits / (positive + presence)
        n = float(len(labels))
        spread = np.sqrt(positive * (n - positive) * presence * (n - presence) * 1.0)
        mcc = np.where(spread > 0, (n * hits - positive * presence) / spread, 0.0)
    table = pd.DataFrame(
        {
            "tag": np.arange(labels.shape[1]) if names is None else list(names),
            "presence": presence,
            "predicted": positive,
            "recall": recall,
            "precision": precision,
            "f1": f1,
            "mcc": mcc,
            "roc_auc": roc_auc(labels, scores),
            **_precision_recall_areas(labels, scores),
        }
    )
    table.loc[(presence == 0) | (presence == len(labels)), table.columns[3:]] = np.nan
    return table


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of every class or tag; ties count half.

    Parameters
    ----------
    labels : np.ndarray [shape=(n, n_tags), bool]
    scores : np.ndarray [shape=(n, n_tags)]

    Returns
    -------
    areas : np.ndarray [shape=(n_tags,)]
        NaN where all examples have the tag, or none.

    Raises
    ------
    ValueError
        If the shapes differ or are not (n, n_tags), or `scores` hold NaN or Inf.

    Examples
    --------
    >>> labels = np.array([[1, 0], [1, 0], [0, 0], [0, 0]], bool)
    >>> roc_auc(labels, [[0.9, 0.1], [0.4, 0.1], [0.6, 0.2], [0.1, 0.3]])
    array([0.75,  nan])
    """
    labels, scores = _check_tags(labels, scores)
    areas = np.full(labels.shape[1], np.nan)
    for k in np.flatnonzero(labels.any(axis=0) & ~labels.all(axis=0)):
        # Counting pairs in sorted scores is many times faster than ranking all of them, and gives the same bits.
        inside, outside = np.sort(scores[labels[:, k], k]), np.sort(scores[~labels[:, k], k])
        below = [np.searchsorted(outside, inside, side=side).sum() for side in ("left", "right")]
        areas[k] = sum(below) / (2 * inside.size * outside.size)
    return areas


def choose_thresholds(
    labels: np.ndarray, scores: np.ndarray, *, rule: str = "f1", precision: float = 0.5, default: float = 0.5
) -> np.ndarray:
    """A threshold for every tag, chosen on validation data.

    Parameters
    ----------
    labels : np.ndarray [shape=(n, n_tags), bool]
    scores : np.ndarray [shape=(n, n_tags)]
        On the level at which the thresholds will be used.
    rule : {"f1", "precision"}
        The highest F1 of a tag, or the highest recall at which its precision is at least `precision`.
    precision : float in (0, 1]
        The precision that is wanted; used by the rule "precision" only.
    default : float
        Threshold of tags without positive examples here, and of those that never reach the wanted precision.

    Returns
    -------
    thresholds : np.ndarray [shape=(n_tags,)]
        Half-way between the scores of the last example that is in and the first that is out.

    Raises
    ------
    ValueError
        If `rule` is unknown or `precision` out of range.

    Examples
    --------
    >>> labels = np.array([[True], [True], [False], [False]])
    >>> choose_thresholds(labels, [[0.6], [0.4], [0.2], [0.1]]).round(2)
    array([0.3])
    """
    labels, scores = _check_tags(labels, scores)
    if rule not in ("f1", "precision") or not 0 < precision <= 1:
        raise ValueError(f"rule must be 'f1' or 'precision', and precision lie in (0, 1]. Got {rule!r}, {precision!r}.")
    return np.array([_threshold(y, s, rule, precision, default) for y, s in zip(labels.T, scores.T, strict=True)])


def _threshold(labels, scores, rule, precision, default):
    if not labels.any():
        return default
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(labels[order])
    last = np.flatnonzero(np.r_[ranked[:-1] != ranked[1:], True])  # a threshold cannot separate equal scores
    share, recall = hits[last] / (last + 1), hits[last] / labels.sum()
    if rule == "f1":
        best = int(np.argmax(2 * share * recall / np.maximum(share + recall, 1e-12)))
    else:
        good = np.flatnonzero(share >= precision)
        if not len(good):
            return default
        best = int(good[-1])
    below = ranked[last[best] + 1] if last[best] + 1 < len(ranked) else 0.0
    return float((ranked[last[best]] + below) / 2)


def _precision_recall_areas(labels, scores):
    from sklearn.metrics import auc, average_precision_score, precision_recall_curve

    areas = np.full((2, labels.shape[1]), np.nan)
    for k in np.flatnonzero(labels.any(axis=0)):
        share, recall, _ = precision_recall_curve(labels[:, k], scores[:, k])
        areas[:, k] = auc(recall, share), average_precision_score(labels[:, k], scores[:, k])
    return {"pr_auc": areas[0], "average_precision": areas[1]}


def confusion(labels: np.ndarray, predicted: np.ndarray, *, names: Sequence[str]) -> pd.DataFrame:
    """Confusion matrix as a table.

    Parameters
    ----------
    labels, predicted : np.ndarray [shape=(n,), int]
    names : sequence of str
        Class names in the order of the indices.

    Returns
    -------
    table : pd.DataFrame [true x predicted, int]

    Examples
    --------
    >>> confusion([0, 0, 1], [0, 1, 1], names=["rock", "pop"])
    predicted  rock  pop
    true
    rock          1    1
    pop           0    1
    """
    from sklearn.metrics import confusion_matrix

    table = confusion_matrix(labels, predicted, labels=np.arange(len(names)))
    return pd.DataFrame(table, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted"))


def _check_tags(labels, scores):
    labels, scores = np.asarray(labels, dtype=bool), np.asarray(scores)
    if labels.ndim != 2 or labels.shape != scores.shape or not len(labels):
        raise ValueError(
            f"labels and scores must have one shape (n, n_tags), n > 0. Got {labels.shape} and {scores.shape}."
        )
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or Inf.")
    return labels, scores

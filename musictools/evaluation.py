"""Scores of trained models: frame level and clip level, with intervals.

Conventions
-----------
`scores` are probabilities, shape (n, n_classes); `labels` are class indices, shape (n,); `clip` is the index of every
frame's clip, shape (n_frames,), ascending. Frame-level measures count every frame once, clip-level measures every
clip once. Precision, recall and ROC-AUC are macro averages: the plain mean over classes. A class without examples has
no ROC-AUC (NaN) and is left out of the mean. Intervals resample clips, never frames, since frames of one clip are no
independent observations.

Of taggers, `labels` are bool, shape (n, n_tags), and a tag is predicted where its score exceeds its threshold. A tag
that all examples have, or none, is left out of every macro average and counted as undefined; micro averages, binary
accuracy and tags an example count all cells. A tag that is never predicted has precision 0.
"""

import numpy as np
import pandas as pd

__all__ = ["bootstrap", "choose_thresholds", "confusion", "genre_metrics", "max_by_clip", "mean_by_clip", "predict",
           "roc_auc", "tag_metrics", "tag_table", "vote"]


def predict(model, x, *, batch_size=64):
    """Run a model over many inputs without holding them all.

    Parameters
    ----------
    model : keras.Model
    x : np.ndarray or Frames [shape=(n, ...)]
    batch_size : int > 0
        Of speed only.

    Returns
    -------
    scores : np.ndarray [shape=(n, n_outputs), float32]
    """
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size must be a positive int. Got {batch_size}.")
    parts = []
    for start in range(0, len(x), batch_size):
        batch = np.asarray(x[start : start + batch_size], np.float32)
        missing = batch_size - len(batch)
        if missing and start:  # one shape only: no second tracing for the tail
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        scores = np.asarray(model.predict_on_batch(batch))
        parts.append(scores[: batch_size - missing] if missing else scores)
    return np.concatenate(parts) if parts else np.zeros((0, model.output_shape[-1]), np.float32)


def mean_by_clip(scores, clip):
    """Mean of every clip's frame scores.

    Parameters
    ----------
    scores : np.ndarray [shape=(n_frames, n_classes)]
    clip : np.ndarray [shape=(n_frames,), int]

    Returns
    -------
    clips : np.ndarray [shape=(n_clips,)]
        The clips that have frames, ascending.
    means : np.ndarray [shape=(n_clips, n_classes)]
    """
    scores, clip = _check_frames(scores, clip)
    clips, position, count = np.unique(clip, return_inverse=True, return_counts=True)
    total = np.zeros((len(clips), scores.shape[1]))
    np.add.at(total, position, scores)
    return clips, total / count[:, None]


def max_by_clip(scores, clip):
    """Highest of every clip's frame scores: what exceeds a threshold is the union of the frames' tags.

    Parameters
    ----------
    scores : np.ndarray [shape=(n_frames, n_tags)]
    clip : np.ndarray [shape=(n_frames,), int]

    Returns
    -------
    clips : np.ndarray [shape=(n_clips,)]
        The clips that have frames, ascending.
    highest : np.ndarray [shape=(n_clips, n_tags)]
    """
    scores, clip = _check_frames(scores, clip)
    clips, position = np.unique(clip, return_inverse=True)
    highest = np.full((len(clips), scores.shape[1]), -np.inf)
    np.maximum.at(highest, position, scores)
    return clips, highest


def vote(scores, clip):
    """Majority vote of every clip's frames (`rotheneder2023` 5.4); a tie goes to the higher mean score.

    Parameters
    ----------
    scores : np.ndarray [shape=(n_frames, n_classes)]
    clip : np.ndarray [shape=(n_frames,), int]

    Returns
    -------
    clips : np.ndarray [shape=(n_clips,)]
    winners : np.ndarray [shape=(n_clips,), int]
        Class of every clip.
    """
    clips, means = mean_by_clip(scores, clip)
    votes = np.zeros((len(clips), np.shape(scores)[1]))
    np.add.at(votes, (np.searchsorted(clips, clip), np.argmax(scores, axis=1)), 1)
    best = votes == votes.max(axis=1, keepdims=True)
    return clips, np.where(best, means, -np.inf).argmax(axis=1)


def genre_metrics(labels, scores, *, predicted=None):
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
    """
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    labels, scores = np.asarray(labels), np.asarray(scores)
    if len(labels) == 0 or len(labels) != len(scores):
        raise ValueError(f"labels and scores must have the same length above 0. Got {len(labels)} and {len(scores)}.")
    predicted = scores.argmax(axis=1) if predicted is None else np.asarray(predicted)
    precision, recall, _, _ = precision_recall_fscore_support(labels, predicted, average="macro", zero_division=0.0)
    areas = [roc_auc_score(labels == c, scores[:, c]) for c in range(scores.shape[1]) if 0 < (labels == c).mean() < 1]
    return {
        "accuracy": float((labels == predicted).mean()),
        "precision": float(precision),
        "recall": float(recall),
        "roc_auc": float(np.mean(areas)) if areas else float("nan"),
    }


def tag_metrics(labels, scores, *, thresholds=0.5):
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


def tag_table(labels, scores, *, names=None, thresholds=0.5):
    """Scores of a tagger, tag by tag (`rotheneder2023` tables 5.7-5.17).

    Parameters
    ----------
    labels : np.ndarray [shape=(n, n_tags), bool]
    scores : np.ndarray [shape=(n, n_tags)]
    names : sequence of str or None
        Of the tags; None: their numbers.
    thresholds : float or np.ndarray [shape=(n_tags,)]

    Returns
    -------
    table : pd.DataFrame
        A row a tag: tag, presence (examples with it), predicted (examples), recall, precision, f1, mcc, roc_auc,
        pr_auc, average_precision; all but the first three are NaN where only one class occurs.
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
    table = pd.DataFrame({
        "tag": np.arange(labels.shape[1]) if names is None else list(names),
        "presence": presence, "predicted": positive, "recall": recall, "precision": precision, "f1": f1, "mcc": mcc,
        "roc_auc": roc_auc(labels, scores), **_precision_recall_areas(labels, scores),
    })
    table.loc[(presence == 0) | (presence == len(labels)), table.columns[3:]] = np.nan
    return table


def roc_auc(labels, scores):
    """Area under every tag's ROC curve, ties counted half.

    Parameters
    ----------
    labels : np.ndarray [shape=(n, n_tags), bool]
    scores : np.ndarray [shape=(n, n_tags)]

    Returns
    -------
    areas : np.ndarray [shape=(n_tags,)]
        NaN where only one class occurs.
    """
    labels, scores = _check_tags(labels, scores)
    areas = np.full(labels.shape[1], np.nan)
    for k in np.flatnonzero(labels.any(axis=0) & ~labels.all(axis=0)):
        # Counting pairs in sorted scores is many times faster than ranking all of them, and gives the same bits.
        inside, outside = np.sort(scores[labels[:, k], k]), np.sort(scores[~labels[:, k], k])
        below = [np.searchsorted(outside, inside, side=side).sum() for side in ("left", "right")]
        areas[k] = sum(below) / (2 * inside.size * outside.size)
    return areas


def choose_thresholds(labels, scores, *, rule="f1", precision=0.5, default=0.5):
    """A threshold for every tag, chosen on validation data.

    Parameters
    ----------
    labels : np.ndarray [shape=(n, n_tags), bool]
    scores : np.ndarray [shape=(n, n_tags)]
        On the level at which the thresholds will be used.
    rule : {"f1", "precision"}
        The highest F1 of a tag, or the highest recall at which its precision is at least `precision`.
    precision : float in (0, 1]
    default : float
        For tags without positive examples here, and for those that never reach the wanted precision.

    Returns
    -------
    thresholds : np.ndarray [shape=(n_tags,)]
        Half-way between the scores of the last example that is in and the first that is out.
    """
    labels, scores = _check_tags(labels, scores)
    if rule not in ("f1", "precision") or not 0 < precision <= 1:
        raise ValueError(f"rule must be 'f1' or 'precision', and precision lie in (0, 1]. Got {rule!r}, {precision!r}.")
    return np.array([_threshold(y, s, rule, precision, default) for y, s in zip(labels.T, scores.T)])


def _threshold(labels, scores, rule, precision, default):
    if not labels.any():
        return default
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(labels[order])
    last = np.flatnonzero(np.r_[ranked[:-1] != ranked[1:], True])  # a threshold cannot part equal scores
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


def bootstrap(metric, clip, *, repeats=500, seed=0, level=0.95):
    """Percentile interval of a measure by resampling clips.

    Parameters
    ----------
    metric : callable
        Takes indices of the chosen examples (with repetition), returns a float or a dict of floats.
    clip : np.ndarray [shape=(n,)]
        Clip of every example; for clip-level measures ``np.arange(n)``.
    repeats : int > 0
    seed : int >= 0
    level : float in (0, 1)

    Returns
    -------
    interval : tuple of float, or dict of str to tuple of float
        (low, high); NaN where the measure is never defined.
    """
    if not 0 < level < 1 or repeats < 1:
        raise ValueError(f"level must lie in (0, 1) and repeats be positive. Got level={level}, repeats={repeats}.")
    clip = np.asarray(clip)
    rows = pd.Series(np.arange(len(clip))).groupby(clip).apply(np.asarray).to_list()
    rng = np.random.default_rng(seed)
    values = [metric(np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))])) for _ in range(repeats)]
    tails = [(1 - level) / 2, (1 + level) / 2]
    if not isinstance(values[0], dict):
        return _quantiles(values, tails)
    return {name: _quantiles([v[name] for v in values], tails) for name in values[0]}


def confusion(labels, predicted, *, names):
    """Confusion matrix as a table.

    Parameters
    ----------
    labels, predicted : np.ndarray [shape=(n,), int]
    names : sequence of str
        Class names in the order of the indices.

    Returns
    -------
    table : pd.DataFrame [true x predicted, int]
    """
    from sklearn.metrics import confusion_matrix

    table = confusion_matrix(labels, predicted, labels=np.arange(len(names)))
    return pd.DataFrame(table, index=pd.Index(names, name="true"), columns=pd.Index(names, name="predicted"))


def _quantiles(values, tails):
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    return tuple(float(v) for v in np.quantile(values, tails)) if len(values) else (float("nan"), float("nan"))


def _check_tags(labels, scores):
    labels, scores = np.asarray(labels, dtype=bool), np.asarray(scores)
    if labels.ndim != 2 or labels.shape != scores.shape or not len(labels):
        raise ValueError(f"labels and scores must have one shape (n, n_tags), n > 0. Got {labels.shape} and "
                         f"{scores.shape}.")
    if not np.isfinite(scores).all():
        raise ValueError("scores hold NaN or Inf.")
    return labels, scores


def _check_frames(scores, clip):
    scores, clip = np.asarray(scores), np.asarray(clip)
    if scores.ndim != 2 or clip.shape != (len(scores),):
        raise ValueError(f"scores must be (n, n_classes) and clip (n,). Got {scores.shape} and {clip.shape}.")
    return scores, clip

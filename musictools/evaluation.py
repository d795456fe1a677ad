"""Scores of trained models: frame level and clip level, with intervals.

Conventions
-----------
`scores` are probabilities, shape (n, n_classes); `labels` are class indices, shape (n,); `clip` is the index of every
frame's clip, shape (n_frames,), ascending. Frame-level measures count every frame once, clip-level measures every
clip once. Precision, recall and ROC-AUC are macro averages: the plain mean over classes. A class without examples has
no ROC-AUC (NaN) and is left out of the mean. Intervals resample clips, never frames, since frames of one clip are no
independent observations.
"""

import numpy as np
import pandas as pd

__all__ = ["bootstrap", "confusion", "genre_metrics", "mean_by_clip", "predict", "vote"]


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


def _check_frames(scores, clip):
    scores, clip = np.asarray(scores), np.asarray(clip)
    if scores.ndim != 2 or clip.shape != (len(scores),):
        raise ValueError(f"scores must be (n, n_classes) and clip (n,). Got {scores.shape} and {clip.shape}.")
    return scores, clip

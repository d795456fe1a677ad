"""Scores of segments, and of clips from those of their segments."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["max_by_clip", "mean_by_clip", "predict", "vote"]


def predict(model: Any, x: Any, *, batch_size: int = 64) -> np.ndarray:
    """Run a model over many inputs without holding them all.

    Parameters
    ----------
    model : keras.Model
    x : np.ndarray or Segments [shape=(n, ...)]
    batch_size : int > 0
        Number of inputs at a time; changes the speed only.

    Returns
    -------
    scores : np.ndarray [shape=(n, n_outputs), float32]

    Raises
    ------
    ValueError
        If `batch_size` is no positive int.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Softmax()])
    >>> predict(model, np.zeros((5, 3)), batch_size=2).shape
    (5, 3)
    """
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(f"batch_size must be a positive int. Got {batch_size}.")
    batches = []
    for start in range(0, len(x), batch_size):
        batch = np.asarray(x[start : start + batch_size], np.float32)
        missing = batch_size - len(batch)
        if missing and start:  # one shape only: no second tracing for the tail
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        scores = np.asarray(model.predict_on_batch(batch))
        batches.append(scores[: batch_size - missing] if missing else scores)
    return np.concatenate(batches) if batches else np.zeros((0, model.output_shape[-1]), np.float32)


def mean_by_clip(scores: np.ndarray, clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the scores of every clip's segments.

    Parameters
    ----------
    scores : np.ndarray [shape=(n_segments, n_classes)]
    clip : np.ndarray [shape=(n_segments,)]

    Returns
    -------
    clips : np.ndarray [shape=(n_clips,)]
        The clips that have segments, ascending.
    means : np.ndarray [shape=(n_clips, n_classes)]

    Raises
    ------
    ValueError
        If `scores` is no matrix or `clip` has another length.

    See Also
    --------
    max_by_clip : The highest score instead.
    vote : The most frequent class instead.

    Examples
    --------
    >>> clips, means = mean_by_clip([[0.2], [0.6], [0.5]], ["b", "b", "a"])
    >>> clips.tolist(), means.ravel().round(3).tolist()
    (['a', 'b'], [0.5, 0.4])
    """
    clips, total, count = _by_clip(np.add, 0.0, scores, clip)
    return clips, total / count[:, None]


def max_by_clip(scores: np.ndarray, clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Highest score among every clip's segments; with a threshold it gives the union of the segments' tags.

    Parameters
    ----------
    scores : np.ndarray [shape=(n_segments, n_tags)]
    clip : np.ndarray [shape=(n_segments,)]

    Returns
    -------
    clips : np.ndarray [shape=(n_clips,)]
        The clips that have segments, ascending.
    highest : np.ndarray [shape=(n_clips, n_tags)]

    Raises
    ------
    ValueError
        If `scores` is no matrix or `clip` has another length.

    See Also
    --------
    mean_by_clip : The mean instead.

    Examples
    --------
    >>> clips, highest = max_by_clip([[0.2], [0.6], [0.5]], ["b", "b", "a"])
    >>> clips.tolist(), highest.ravel().tolist()
    (['a', 'b'], [0.5, 0.6])
    """
    return _by_clip(np.maximum, -np.inf, scores, clip)[:2]


def _by_clip(function, start, scores, clip):
    """(clips, scores of every clip's segments joined by a ufunc, number of segments)."""
    scores, clip = np.asarray(scores), np.asarray(clip)
    if scores.ndim != 2 or clip.shape != (len(scores),):
        raise ValueError(f"scores must be (n, n_classes) and clip (n,). Got {scores.shape} and {clip.shape}.")
    clips, position, count = np.unique(clip, return_inverse=True, return_counts=True)
    joined = np.full((len(clips), scores.shape[1]), start)
    function.at(joined, position, scores)
    return clips, joined, count


def vote(scores: np.ndarray, clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Majority vote of every clip's segments (`rotheneder2023` 5.4); a tie goes to the higher mean score.

    Parameters
    ----------
    scores : np.ndarray [shape=(n_segments, n_classes)]
    clip : np.ndarray [shape=(n_segments,)]

    Returns
    -------
    clips : np.ndarray [shape=(n_clips,)]
    winners : np.ndarray [shape=(n_clips,), int]
        Class of every clip.

    Raises
    ------
    ValueError
        If `scores` is no matrix or `clip` has another length.

    See Also
    --------
    mean_by_clip : The mean of the scores instead.

    Examples
    --------
    >>> vote([[0.6, 0.4], [0.6, 0.4], [0.0, 1.0]], [7, 7, 7])[1].tolist()
    [0]
    """
    clips, means = mean_by_clip(scores, clip)
    votes = np.zeros((len(clips), np.shape(scores)[1]))
    np.add.at(votes, (np.searchsorted(clips, clip), np.argmax(scores, axis=1)), 1)
    best = votes == votes.max(axis=1, keepdims=True)
    return clips, np.where(best, means, -np.inf).argmax(axis=1)

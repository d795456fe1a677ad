"""k nearest neighbours for many tags and several k by one search.

The neighbours of a clip do not depend on the labels, so one search serves all tags. If the k-th neighbour is nearer
than the next one, the k nearest are the first of a longer list, so the search serves all k, too. The predictions equal
those of ``KNeighborsClassifier``, which searches anew for every k; ``tests/benchmarks/bench_probing.py`` measures what
the single search saves.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["predict"]


def predict(X: np.ndarray, Y: np.ndarray, Q: np.ndarray, *, ks: Sequence[int] = (3, 5, 7)) -> dict[int, np.ndarray]:
    """Predict tags by a vote of the nearest neighbours.

    Parameters
    ----------
    X : np.ndarray [shape=(n_train, n_cells), float32 or float64]
        One feature map of the training clips.
    Y : np.ndarray [shape=(n_train, n_tags), bool]
        Their tags.
    Q : np.ndarray [shape=(n_queries, n_cells)]
        The same map of the clips to predict.
    ks : sequence of int > 0
        Numbers of neighbours. A tag needs more than half of the votes.

    Returns
    -------
    predicted : dict of int to np.ndarray [shape=(n_queries, n_tags), bool]
        By k.

    Raises
    ------
    ValueError
        If the shapes do not fit, X or Q holds NaN, or some k exceeds the number of training clips.

    See Also
    --------
    sklearn.neighbors.KNeighborsClassifier : Gives the same predictions, ties included.
    musictools.probing.probes.probe : Predicts from every map of a network.

    Examples
    --------
    >>> X = np.array([[0.0], [0.1], [0.2], [1.0], [1.1]])
    >>> Y = np.array([[True], [True], [False], [False], [False]])
    >>> predict(X, Y, np.array([[0.0], [1.2]]), ks=[1, 3])
    {1: array([[ True],
           [False]]), 3: array([[ True],
           [False]])}
    """
    X, Q, Y = np.ascontiguousarray(X), np.ascontiguousarray(Q), np.asarray(Y)
    if Y.dtype != bool or Y.ndim != 2 or len(Y) != len(X):
        raise ValueError(f"Y must be bool, ({len(X)}, n_tags). Got {Y.dtype}, {Y.shape}.")
    if not len(ks) or not all(isinstance(k, int | np.integer) and 0 < k <= len(X) for k in ks):
        raise ValueError(f"ks must be ints from 1 to the number of training clips, {len(X)}. Got {list(ks)}.")
    predicted = {}
    if len(ks) > 1:
        distance, nearest = _search(X, Q, min(max(ks) + 1, len(X)))
    for k in ks:
        # Which of several equally distant clips is the k-th depends on k in scikit-learn, so it is asked for this k.
        alone = len(ks) == 1 or (distance[:, k - 1 : k] == distance[:, k : k + 1]).any()
        rows = _search(X, Q, k)[1] if alone else nearest[:, :k]
        predicted[k] = 2 * Y[rows].sum(axis=1) > k
    return predicted


def _search(X, Q, k):
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=k).fit(X).kneighbors(Q)

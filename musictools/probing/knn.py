"""k nearest neighbours for many tags and several k by one search.

The neighbours of a clip do not depend on the labels, so one search serves all tags; and where the k-th neighbour is
nearer than the next one, the k nearest are the first of a longer list, so it serves all k, too. The predictions equal
those of ``KNeighborsClassifier``, which searches anew for every k: on the maps of the demo it takes four times as long
(``tests/benchmarks/bench_probing.py``).
"""

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
    from sklearn.neighbors import NearestNeighbors

    X, Q, Y = np.ascontiguousarray(X), np.ascontiguousarray(Q), np.asarray(Y)
    if Y.dtype != bool or Y.ndim != 2 or len(Y) != len(X):
        raise ValueError(f"Y must be bool, ({len(X)}, n_tags). Got {Y.dtype}, {Y.shape}.")
    if not len(ks) or not all(isinstance(k, int | np.integer) and 0 < k <= len(X) for k in ks):
        raise ValueError(f"ks must be ints from 1 to the number of training clips, {len(X)}. Got {list(ks)}.")
    search = NearestNeighbors(n_neighbors=min(max(ks) + 1, len(X))).fit(X)
    distance, nearest = search.kneighbors(Q)
    predicted = {}
    for k in ks:
        # Which of several equally distant clips is the k-th depends on k in scikit-learn, so it is asked again.
        tied = (distance[:, k - 1 : k] == distance[:, k : k + 1]).any()
        rows = search.kneighbors(Q, k, return_distance=False) if tied else nearest[:, :k]
        predicted[k] = 2 * Y[rows].sum(axis=1) > k
    return predicted

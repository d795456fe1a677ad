"""k nearest neighbours of many tags and several k by one search, equal to scikit-learn's prediction by prediction.

``KNeighborsClassifier(k).fit(X, y).predict(Q)`` searches k neighbours and lets them vote. The search knows nothing of
the labels, so one serves all tags; and the k nearest are the first k of the k + 1 nearest wherever the k-th is nearer
than the next. Where the two are equally far scikit-learn's answer depends on the order in which its heap met them:
there its own search for this k is asked again.

One kind of tie is common and needs no second search: a map that is dead for a clip and for many others. All neighbours
then lie at one distance, the smallest there is, and a heap that takes only smaller values keeps those that it met
first, the lowest rows; provided that it goes through them in order, which several threads may not.
"""

import numpy as np

__all__ = ["predict"]

_TREE_CELLS = 15  # scikit-learn's "auto" takes a tree up to so many features


def predict(X, Y, Q, *, ks=(3, 5, 7)):
    """Predict tags by a vote of the nearest neighbours.

    Parameters
    ----------
    X : np.ndarray [shape=(n_train, n_cells), float32 or float64]
        A map of the clips that are known.
    Y : np.ndarray [shape=(n_train, n_tags), bool]
    Q : np.ndarray [shape=(n_queries, n_cells)]
        The same map of other clips.
    ks : sequence of int > 0
        Numbers of neighbours. Of an even one half the votes are not enough.

    Returns
    -------
    predicted : dict of int to np.ndarray [shape=(n_queries, n_tags), bool]
        By k; each column what ``KNeighborsClassifier(k).fit(X, Y[:, column]).predict(Q)`` gives.

    Raises
    ------
    ValueError
        If the shapes do not fit, X or Q holds NaN, or some k exceeds the number of known clips.
    """
    X, Q, Y = np.ascontiguousarray(X), np.ascontiguousarray(Q), np.asarray(Y)
    _check(X, Y, Q, ks)
    found = {}
    if X.shape[1] <= _TREE_CELLS:
        found = {k: _search(X, Q, k) for k in ks}
    else:
        n_wanted = min(max(ks) + 1, len(X))
        distance, near = _search(X, Q, n_wanted, metric="sqeuclidean", algorithm="brute", return_distance=True)
        one = (distance[:, 0] == distance[:, -1]) & (n_wanted > max(ks))  # all at the smallest distance
        if one.any() and _in_order(X, Q):
            near[one] = np.sort(near[one], axis=1)
            distance[one] = np.arange(n_wanted)
        for k in ks:
            tied = distance[:, k - 1] == distance[:, k] if k < n_wanted else np.zeros(len(Q), dtype=bool)
            found[k] = near[:, :k]
            if tied.any():
                found[k] = np.where(tied[:, None], _search(X, Q, k), found[k])
    return {k: 2 * Y[rows].sum(axis=1) > k for k, rows in found.items()}


def _search(X, Q, k, *, return_distance=False, **options):
    """scikit-learn's own search; without options that of `KNeighborsClassifier`."""
    from sklearn.neighbors import NearestNeighbors

    return NearestNeighbors(n_neighbors=k, **options).fit(X).kneighbors(Q, return_distance=return_distance)


def _in_order(X, Q):
    """Whether scikit-learn's search meets the rows of X one after the other."""
    from threadpoolctl import threadpool_info

    threads = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"]
    return len(X) < len(Q) or max(threads, default=2) == 1


def _check(X, Y, Q, ks):
    if X.ndim != 2 or Q.ndim != 2 or X.shape[1] != Q.shape[1] or X.dtype != Q.dtype or not len(Q):
        raise ValueError(f"X and Q must be (n, n_cells) of one dtype. Got {X.shape} {X.dtype} and {Q.shape} {Q.dtype}.")
    if Y.dtype != bool or Y.ndim != 2 or len(Y) != len(X):
        raise ValueError(f"Y must be bool, ({len(X)}, n_tags). Got {Y.dtype}, {Y.shape}.")
    if not len(ks) or not all(isinstance(k, int | np.integer) and 0 < k <= len(X) for k in ks):
        raise ValueError(f"ks must be ints from 1 to the number of known clips, {len(X)}. Got {list(ks)}.")

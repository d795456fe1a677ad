"""Random forests of several sizes from the largest one: the first trees of a forest are the smaller forest."""

from collections.abc import Sequence

import numpy as np

__all__ = ["predict"]


def predict(
    X: np.ndarray, Y: np.ndarray, Q: np.ndarray, *, sizes: Sequence[int] = (100, 200, 500), seed: int = 0
) -> dict[int, np.ndarray]:
    """Predict every tag by a random forest of its own, for several numbers of trees.

    scikit-learn draws the seeds of the trees one after the other, so a forest of 500 trees begins with the 100 trees
    of the smaller forest with the same ``random_state``. The probabilities are added up tree by tree and read at every
    size.

    Parameters
    ----------
    X : np.ndarray [shape=(n_train, n_cells)]
        One feature map of the training clips.
    Y : np.ndarray [shape=(n_train, n_tags), bool]
        Their tags.
    Q : np.ndarray [shape=(n_queries, n_cells)]
        The same map of the clips to predict.
    sizes : sequence of int > 0
        Numbers of trees.
    seed : int >= 0
        ``random_state`` of every forest.

    Returns
    -------
    predicted : dict of int to np.ndarray [shape=(n_queries, n_tags), bool]
        By size. Each column is what ``RandomForestClassifier(size, random_state=seed)`` predicts.

    Raises
    ------
    ValueError
        If a size is no positive int or the shapes do not fit.

    See Also
    --------
    musictools.probing.probes.probe : Predicts from every map of a network.

    Examples
    --------
    >>> X = np.array([[0.0], [0.1], [0.9], [1.0]])
    >>> Y = np.array([[True], [True], [False], [False]])
    >>> predict(X, Y, np.array([[0.05], [0.95]]), sizes=[10, 20])[20]
    array([[ True],
           [False]])
    """
    from sklearn.ensemble import RandomForestClassifier

    X, Q = np.asarray(X, np.float32), np.asarray(Q, np.float32)
    if not len(sizes) or not all(isinstance(n, int | np.integer) and n > 0 for n in sizes):
        raise ValueError(f"sizes must be positive ints. Got {list(sizes)}.")
    if len(X) != len(Y) or X.shape[1:] != Q.shape[1:]:
        raise ValueError(f"X, Y and Q must fit each other. Got {X.shape}, {np.shape(Y)} and {Q.shape}.")
    predicted = {size: np.zeros((len(Q), Y.shape[1]), dtype=bool) for size in sizes}
    for tag, y in enumerate(np.asarray(Y).T):
        forest = RandomForestClassifier(max(sizes), random_state=seed).fit(X, y)
        total = np.zeros((len(Q), len(forest.classes_)))
        for number, tree in enumerate(forest.estimators_, start=1):
            total += tree.predict_proba(Q, check_input=False)
            if number in predicted:
                predicted[number][:, tag] = forest.classes_[total.argmax(axis=1)]
    return predicted

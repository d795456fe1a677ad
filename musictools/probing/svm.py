"""Support vector machines on feature maps: linear, the exact RBF kernel, and its Nystroem approximation.

`rotheneder2023` 6.3 left the support vector machine out because the last layer would have taken an estimated 52 hours:
a machine with an exact kernel compares all clips with all clips, anew for every map and tag. A linear machine in its
primal form does not.

Every cell is centred on the training clips, and the whole map is divided by its standard deviation. Cells that hardly
ever change stay small this way, and distances keep their proportions.
"""

from collections.abc import Sequence

import numpy as np

__all__ = ["KINDS", "predict"]

KINDS = ("linear", "rbf", "nystroem")


def predict(
    X: np.ndarray,
    Y: np.ndarray,
    Q: np.ndarray,
    *,
    kinds: Sequence[str] = ("linear",),
    cost: float = 0.01,
    kernel_cost: float = 1.0,
    components: int = 300,
    balanced: bool = True,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Predict every tag by a support vector machine of its own.

    Parameters
    ----------
    X : np.ndarray [shape=(n_train, n_cells)]
        One feature map of the training clips.
    Y : np.ndarray [shape=(n_train, n_tags), bool]
        Their tags.
    Q : np.ndarray [shape=(n_queries, n_cells)]
        The same map of the clips to predict.
    kinds : sequence of {"linear", "rbf", "nystroem"}
        ``LinearSVC`` (squared hinge, primal), ``SVC`` with its default kernel width, 1 / n_cells after scaling, and
        ``Nystroem`` with the same width, followed by a linear machine.
    cost : float > 0
        C of the linear machine.
    kernel_cost : float > 0
        C of the other two.
    components : int > 0
        Number of training clips that Nystroem compares with; all where there are fewer.
    balanced : bool
        Weights errors so that both classes count the same. Otherwise a machine seldom predicts a rare tag at all.
    seed : int >= 0
        Seed of Nystroem's choice of clips.

    Returns
    -------
    predicted : dict of str to np.ndarray [shape=(n_queries, n_tags), bool]
        By kind. A tag that all training clips have, or none, is predicted for all clips, or none.

    Raises
    ------
    ValueError
        If a kind is unknown, a cost is not positive or the shapes do not fit.

    See Also
    --------
    musictools.probing.probes.probe : Predicts from every map of a network.

    Examples
    --------
    >>> X = np.array([[0.0], [0.1], [0.9], [1.0]])
    >>> Y = np.array([[True], [True], [False], [False]])
    >>> predict(X, Y, np.array([[0.05], [0.95]]), kinds=["linear", "rbf"])["rbf"]
    array([[ True],
           [False]])
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if isinstance(kinds, str) or unknown or not kinds:
        raise ValueError(f"kinds must be a list of {', '.join(KINDS)}. Got {kinds!r}.")
    if not (cost > 0 and kernel_cost > 0):
        raise ValueError(f"cost and kernel_cost must be positive. Got {cost!r} and {kernel_cost!r}.")
    if len(X) != len(Y) or X.shape[1:] != Q.shape[1:]:
        raise ValueError(f"X, Y and Q must fit each other. Got {X.shape}, {np.shape(Y)} and {Q.shape}.")
    mean = np.mean(X, axis=0, dtype=np.float64)
    scale, gamma = np.std(X - mean) or 1.0, 1 / X.shape[1]
    X, Q = (X - mean) / scale, (Q - mean) / scale
    predicted = {}
    for kind in kinds:
        A, B = _features(X, Q, kind, gamma, components, seed)
        machine = _machine(kind, cost, kernel_cost, gamma, "balanced" if balanced else None)
        predicted[kind] = np.stack([_decide(machine, A, y, B) for y in np.asarray(Y).T], axis=1)
    return predicted


def _features(X, Q, kind, gamma, components, seed):
    from sklearn.kernel_approximation import Nystroem

    if kind != "nystroem":
        return X, Q
    nystroem = Nystroem(gamma=gamma, n_components=min(components, len(X)), random_state=seed).fit(X)
    return nystroem.transform(X), nystroem.transform(Q)


def _machine(kind, cost, kernel_cost, gamma, weight):
    from sklearn.svm import SVC, LinearSVC

    if kind == "rbf":
        return SVC(C=kernel_cost, gamma=gamma, class_weight=weight)
    return LinearSVC(C=cost if kind == "linear" else kernel_cost, dual=False, tol=1e-3, class_weight=weight)


def _decide(machine, X, y, Q):
    return machine.fit(X, y).predict(Q) if 0 < y.mean() < 1 else np.full(len(Q), bool(y.all()))

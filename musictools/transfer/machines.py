"""Support vector machines over a grid of kernels and costs (`choi2018` 6.4.1).

Kernels are computed once for a fold and a width, and shared by all costs. Features are either standardised by the
training clips or left as they are; the source leaves them, see `musictools.transfer.selection.same_folds`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import numpy as np

__all__ = ["Grid", "Machine", "grid_scores", "predict", "score"]

EPSILON = 0.1  # of a regression: errors below it cost nothing; scikit-learn's default


class Machine(NamedTuple):
    """Settings of a support vector machine.

    Parameters
    ----------
    kernel : {"linear", "rbf"}
    gamma : float
        Of the kernel exp(-gamma |x - x'|^2); 0 for a linear one.
    cost : float > 0
        C, the penalty of errors.
    """

    kernel: str
    gamma: float
    cost: float


@dataclass(frozen=True)
class Grid:
    """Machines to choose from; by default those of `choi2018` 6.4.1, 32 of them.

    Parameters
    ----------
    costs : tuple of float > 0
    gammas : tuple of float > 0
        Widths of radial kernels.
    linear : bool
        Add linear kernels.
    by_size : bool
        Add the width 1 / number of features.

    Raises
    ------
    ValueError
        If a value is not positive, or there is nothing to choose from.

    Examples
    --------
    >>> len(Grid().machines(160)), Grid().machines(160)[0]
    (32, Machine(kernel='linear', gamma=0.0, cost=0.1))
    """

    costs: tuple[float, ...] = (0.1, 2.0, 8.0, 32.0)
    gammas: tuple[float, ...] = tuple(2.0**-k for k in (3, 5, 7, 9, 11, 13))
    linear: bool = True
    by_size: bool = True

    def __post_init__(self):
        if not all(value > 0 for value in (*self.costs, *self.gammas)):
            raise ValueError(f"costs and gammas must be positive. Got {self.costs} and {self.gammas}.")
        if not self.costs or not (self.gammas or self.linear or self.by_size):
            raise ValueError("The grid must have at least one cost and one kernel.")

    def machines(self, n_features: int) -> list[Machine]:
        """All combinations.

        Parameters
        ----------
        n_features : int > 0

        Returns
        -------
        machines : list of Machine
            By kernel and width.
        """
        gammas = [*self.gammas, *[1 / n_features] * self.by_size]
        kernels = [("linear", 0.0)] * self.linear + [("rbf", gamma) for gamma in gammas]
        return [Machine(*kernel, cost) for kernel in kernels for cost in self.costs]


def score(y: np.ndarray, predicted: np.ndarray, *, regression: bool) -> float:
    """Accuracy, or the coefficient of determination of a regression.

    Parameters
    ----------
    y, predicted : np.ndarray [shape=(n,)]
    regression : bool

    Returns
    -------
    score : float
        At most 1. A regression that predicts the mean has 0; it is NaN where all targets are equal.

    Examples
    --------
    >>> score(np.array(["a", "b"]), np.array(["a", "a"]), regression=False)
    0.5
    >>> score(np.array([1.0, 3.0]), np.array([1.0, 2.0]), regression=True)
    0.5
    """
    if not regression:
        return float(np.mean(y == predicted))
    spread = np.sum((y - np.mean(y)) ** 2)
    return float(1 - np.sum((y - predicted) ** 2) / spread) if spread > 0 else float("nan")


def predict(
    X: np.ndarray,
    y: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    machines: Sequence[Machine],
    *,
    regression: bool,
    standardise: bool = True,
) -> np.ndarray:
    """Let machines learn from some rows and predict others.

    Parameters
    ----------
    X : np.ndarray [shape=(n, n_features)]
    y : np.ndarray [shape=(n,)]
        Classes or numbers.
    train, test : np.ndarray [int]
        Rows.
    machines : sequence of Machine
        Those with one kernel and width in a row.
    regression : bool
    standardise : bool
        Bring every feature, and the target of a regression, to mean 0 and deviation 1 in the training rows.

    Returns
    -------
    predicted : np.ndarray [shape=(n_machines, n_test)]
        With one class in the training rows, that class.
    """
    A, B, targets = X[train].astype(float), X[test].astype(float), y[train]
    middle, spread = (targets.mean(), targets.std() or 1.0) if regression and standardise else (0.0, 1.0)
    if standardise:
        mean, scale = A.mean(axis=0), A.std(axis=0)
        varied = scale > 1e-9 * np.abs(A).max(initial=1e-300)  # a constant feature says nothing of the test rows either
        A, B = ((side[:, varied] - mean[varied]) / scale[varied] for side in (A, B))
    if not regression and len(np.unique(targets)) < 2:
        return np.full((len(machines), len(test)), targets[0])
    if regression:
        targets = (targets - middle) / spread
    inner, across = A @ A.T, B @ A.T
    own, other = np.einsum("ij,ij->i", A, A), np.einsum("ij,ij->i", B, B)
    rows = []
    for (kernel, gamma), group in groupby(machines, key=lambda machine: machine[:2]):
        K, Q = inner, across
        if kernel == "rbf":
            K = np.exp(-gamma * np.maximum(own[:, None] + own - 2 * inner, 0))
            Q = np.exp(-gamma * np.maximum(other[:, None] + own - 2 * across, 0))
        rows += [_fit(K, targets, machine.cost, regression).predict(Q) for machine in group]
    return np.stack(rows) * spread + middle if regression else np.stack(rows)


def _fit(K, targets, cost, regression):
    """A fitted machine. Linear kernels of raw MFCCs would take millions of steps, so their number is limited."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import SVC, SVR

    options = {"kernel": "precomputed", "C": cost, "cache_size": 500, "max_iter": max(20_000, 20 * len(K))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return (SVR(epsilon=EPSILON, **options) if regression else SVC(**options)).fit(K, targets)


def grid_scores(
    X: np.ndarray,
    y: np.ndarray,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    machines: Sequence[Machine],
    *,
    regression: bool,
    standardise: bool = True,
) -> np.ndarray:
    """Scores of machines on folds.

    Parameters
    ----------
    X : np.ndarray [shape=(n, n_features)]
    y : np.ndarray [shape=(n,)]
    folds : sequence of (np.ndarray, np.ndarray)
        Training and test rows.
    machines : sequence of Machine
    regression, standardise : bool
        As in `predict`.

    Returns
    -------
    scores : np.ndarray [shape=(n_machines, n_folds)]

    Examples
    --------
    >>> X, y = np.array([[0.0], [0.1], [0.9], [1.0]]), np.array(["a", "a", "b", "b"])
    >>> folds = [(np.array([0, 2]), np.array([1, 3]))]
    >>> grid_scores(X, y, folds, [Machine("linear", 0.0, 1.0)], regression=False)
    array([[1.]])
    """
    columns = []
    for train, test in folds:
        predicted = predict(X, y, train, test, machines, regression=regression, standardise=standardise)
        columns.append([score(y[test], row, regression=regression) for row in predicted])
    return np.array(columns).T

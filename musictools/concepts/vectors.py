"""Concept activation vectors (CAVs): the direction from random activations to those of a concept.

The classifier is ridge regression on labels 1 and -1, in its dual form: exact, without iterations, and as fast for
thousands of features as for a few. Its penalty is relative, so that it means the same at any scale of the activations.
A CAV has length 1 and points towards the concept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Cav", "CavSet", "RandomPool", "fit_cav", "fit_cavs"]

LEAST = 6  # examples of a concept, at least


@dataclass(frozen=True)
class Cav:
    """A linear classifier between a concept and random activations.

    Attributes
    ----------
    vector : np.ndarray [shape=(n_features,), float64]
        Unit vector towards the concept.
    coefficients : np.ndarray [shape=(n_features,), float64]
        The same with its length: the classifier's coefficients.
    intercept : float
        ``coefficients @ a + intercept`` is positive on the concept's side.
    """

    vector: np.ndarray
    coefficients: np.ndarray
    intercept: float

    def accuracy(self, concept: np.ndarray, random: np.ndarray) -> float:
        """Mean share of both sets that lies on its own side.

        Parameters
        ----------
        concept, random : np.ndarray [shape=(n, n_features)]
            Examples that the classifier has not seen.

        Returns
        -------
        accuracy : float in [0, 1]
        """
        sides = [side @ self.coefficients + self.intercept > 0 for side in (concept, random)]
        return float((sides[0].mean() + 1 - sides[1].mean()) / 2)


def fit_cav(concept: np.ndarray, random: np.ndarray, *, ridge: float = 0.01) -> Cav:
    """Fit one concept activation vector.

    Parameters
    ----------
    concept, random : np.ndarray [shape=(n, n_features)]
        Activations, at least 6 of each.
    ridge : float > 0
        Penalty, relative to the mean squared distance of the activations from their mean: the classifier is that of
        scikit-learn's ``RidgeClassifier(alpha)`` with ``alpha`` = `ridge` times that mean.

    Returns
    -------
    cav : Cav

    Raises
    ------
    ValueError
        If there are too few examples, they hold NaN, all activations are the same, or `ridge` is not positive.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> random, concept = rng.normal(size=(40, 3)), rng.normal(size=(40, 3)) + [0, 4, 0]
    >>> cav = fit_cav(concept, random)
    >>> int(cav.vector.argmax())
    1
    """
    if not ridge > 0:
        raise ValueError(f"ridge must be positive. Got {ridge!r}.")
    concept, random = np.asarray(concept, float), np.asarray(random, float)
    for name, side in (("concept", concept), ("random", random)):
        if side.ndim != 2 or len(side) < LEAST:
            raise ValueError(
                f"{name} must hold at least {LEAST} activations, shape (n, n_features). Got shape {side.shape}."
            )
        if not np.isfinite(side).all():
            raise ValueError(f"{name} must be finite. It holds NaN or Inf.")
    x = np.concatenate([concept, random])
    sign = np.r_[np.ones(len(concept)), -np.ones(len(random))]
    centre = x.mean(axis=0)
    coefficients = (x - centre).T @ _dual(((x - centre) @ (x - centre).T)[None], sign, ridge)[0]
    length = np.linalg.norm(coefficients)
    if not length > 0:
        raise ValueError(
            "concept and random must differ. All activations are the same: the layer is constant, or no input reaches "
            "it."
        )
    return Cav(coefficients / length, coefficients, float(sign.mean() - centre @ coefficients))


class RandomPool:
    """Activations that random sets are drawn from, with their inner products.

    Parameters
    ----------
    activations : np.ndarray [shape=(m, n_features)]
    held : np.ndarray [shape=(m,), bool]
        Examples that are kept for the accuracy. Keep all patches of an input on one side.

    Attributes
    ----------
    activations : np.ndarray [shape=(m, n_features), float32]
        Less their mean, which changes no CAV.
    centre : np.ndarray [shape=(n_features,), float32]
        That mean.
    kernel : np.ndarray [shape=(m, m), float32]
        Inner products.
    seen, unseen : np.ndarray of int
        Examples to fit on, and to test with.

    Raises
    ------
    ValueError
        If fewer than 6 examples are left to fit, or all activations are the same.

    Examples
    --------
    >>> pool = RandomPool(np.eye(12), np.arange(12) < 3)
    >>> pool.kernel.shape, len(pool.seen)
    ((12, 12), 9)
    """

    def __init__(self, activations: np.ndarray, held: np.ndarray):
        activations = np.asarray(activations, np.float32)
        self.centre = activations.mean(axis=0)
        self.activations = activations - self.centre
        self.kernel = self.activations @ self.activations.T
        self.seen, self.unseen = np.flatnonzero(~np.asarray(held)), np.flatnonzero(held)
        if len(self.seen) < LEAST:
            raise ValueError(f"A CAV needs at least {LEAST} random examples to fit. Got {len(self.seen)}.")
        if not np.trace(self.kernel) > 0:
            raise ValueError("All activations are the same: the layer is constant, or no patch reaches it.")


@dataclass(frozen=True)
class CavSet:
    """CAVs of one concept against several random sets.

    Attributes
    ----------
    vectors : np.ndarray [shape=(n_runs, n_features), float32]
        One unit vector for each random set.
    mean : np.ndarray [shape=(n_features,), float32]
        Unit vector of their mean.
    accuracies : np.ndarray [shape=(n_runs,)]
        Accuracy of each on patches of inputs that it was not fitted on; NaN if there are none.
    """

    vectors: np.ndarray
    mean: np.ndarray
    accuracies: np.ndarray

    @property
    def accuracy(self) -> float:
        """Mean held-out accuracy."""
        return float(np.mean(self.accuracies))


def fit_cavs(
    concept: np.ndarray,
    held: np.ndarray,
    pool: RandomPool,
    *,
    n_runs: int = 20,
    ridge: float = 0.01,
    rng: np.random.Generator,
) -> CavSet:
    """Fit CAVs of a concept against random sets of the same size.

    Parameters
    ----------
    concept : np.ndarray [shape=(n, n_features)]
    held : np.ndarray [shape=(n,), bool]
        Examples of the concept that are kept for the accuracy, as in `RandomPool`.
    pool : RandomPool
    n_runs : int > 0
        Number of random sets.
    ridge : float > 0
        As in `fit_cav`.
    rng : np.random.Generator

    Returns
    -------
    cavs : CavSet

    Raises
    ------
    ValueError
        If fewer than 6 examples of the concept are left to fit.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> random, concept = rng.normal(size=(90, 3)), rng.normal(size=(30, 3)) + [0, 4, 0]
    >>> pool = RandomPool(random, np.arange(90) % 3 == 0)
    >>> cavs = fit_cavs(concept, np.arange(30) % 3 == 0, pool, n_runs=5, rng=rng)
    >>> cavs.vectors.shape, cavs.accuracy > 0.9
    ((5, 3), True)
    """
    concept = np.asarray(concept, np.float32) - pool.centre
    fitted, tested = np.flatnonzero(~np.asarray(held)), np.flatnonzero(held)
    n = len(fitted)
    if n < LEAST:
        raise ValueError(f"A CAV needs at least {LEAST} examples of the concept to fit. Got {n}.")
    own, cross = concept @ concept[fitted].T, concept @ pool.activations.T
    drawn = _draws(pool.seen, n, n_runs, rng)
    kernel = np.empty((n_runs, 2 * n, 2 * n))
    kernel[:, :n, :n] = own[fitted]
    kernel[:, :n, n:] = cross[fitted][:, drawn].swapaxes(0, 1)
    kernel[:, n:, :n] = kernel[:, :n, n:].swapaxes(1, 2)
    kernel[:, n:, n:] = pool.kernel[drawn[:, :, None], drawn[:, None, :]]
    weights = _dual(kernel, np.r_[np.ones(n), -np.ones(n)], ridge)
    bias = -np.einsum("rij,rj->r", kernel, weights)[:, None] / (2 * n)
    accuracies = np.full(n_runs, np.nan)
    if len(tested) and len(pool.unseen):
        others = _draws(pool.unseen, len(tested), n_runs, rng)
        right = own[tested] @ weights[:, :n].T + np.einsum("trn,rn->tr", cross[tested][:, drawn], weights[:, n:])
        wrong = np.einsum("nrt,rn->rt", cross[fitted][:, others], weights[:, :n])
        wrong += np.einsum("rtn,rn->rt", pool.kernel[others[:, :, None], drawn[:, None, :]], weights[:, n:])
        accuracies = ((right.T + bias > 0).mean(axis=1) + (wrong + bias < 0).mean(axis=1)) / 2
    of_pool = np.zeros((n_runs, len(pool.activations)))
    np.add.at(of_pool, (np.arange(n_runs)[:, None], drawn), weights[:, n:])
    vectors = weights[:, :n].astype(np.float32) @ concept[fitted] + of_pool.astype(np.float32) @ pool.activations
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mean = vectors.mean(axis=0)
    return CavSet(vectors, mean / np.linalg.norm(mean), accuracies)


def _draws(rows, n, n_runs, rng):
    return np.stack([rng.choice(rows, n, replace=len(rows) < n) for _ in range(n_runs)])


def _dual(kernel, sign, ridge):
    """Weights (runs, n) of the examples in ridge regressions of balanced signs; they add up to 0."""
    n = kernel.shape[1]
    centred = kernel - kernel.mean(axis=1, keepdims=True)
    centred -= centred.mean(axis=2, keepdims=True)
    scale = np.trace(centred, axis1=1, axis2=2) / n
    centred[:, np.arange(n), np.arange(n)] += np.where(scale > 0, ridge * scale, 1.0)[:, None]
    target = np.broadcast_to((sign - sign.mean())[:, None], (len(kernel), n, 1))
    return np.linalg.solve(centred, target)[..., 0]

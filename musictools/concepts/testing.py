"""TCAV (Kim et al. 2018): does a logit rise when activations move towards a concept, and more than by chance?

The *score* is the share of inputs whose logit rises along the CAV. A network that is nearly linear above the
bottleneck gives 0 or 1 for almost any direction, random ones included. The test therefore uses the *sensitivity*: the
mean directional derivative along the unit CAV, divided by the mean length of the gradients. It lies in [-1, 1] and is
comparable between networks. Random CAVs, fitted to random sets of patches just as a concept's, give its distribution
under the null hypothesis. Their sensitivity is a mean over many patches and close to normal, so the p-value is that of
a t-test whether one more value comes from the same distribution; it needs no thousands of random CAVs to be small.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from musictools.concepts.vectors import LEAST, CavSet, RandomPool, fit_cavs

if TYPE_CHECKING:
    import keras

__all__ = ["TcavResult", "false_discovery", "random_cavs", "score", "sensitivity", "tcav", "two_sided"]


def score(gradients: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """TCAV score: share of inputs whose directional derivative is positive.

    Parameters
    ----------
    gradients : np.ndarray [shape=(n_inputs, n_features)]
        Derivatives of the logit.
    vectors : np.ndarray [shape=(..., n_features)]
        CAVs.

    Returns
    -------
    scores : np.ndarray [shape=(...)], in [0, 1]
        Derivatives of exactly 0 count half: a network that does not depend on the layer has 0.5.

    Examples
    --------
    >>> score(np.array([[1.0, 2.0], [1.0, -2.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])).tolist()
    [1.0, 0.5]
    """
    slopes = np.asarray(gradients) @ np.moveaxis(np.asarray(vectors), -1, 0).reshape(np.shape(gradients)[1], -1)
    return ((np.sign(slopes) + 1) / 2).mean(axis=0).reshape(np.shape(vectors)[:-1])


def sensitivity(gradients: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Mean directional derivative along unit vectors, divided by the mean length of the gradients.

    Parameters
    ----------
    gradients : np.ndarray [shape=(n_inputs, n_features)]
    vectors : np.ndarray [shape=(..., n_features)]
        Of length 1.

    Returns
    -------
    sensitivities : np.ndarray [shape=(...)], in [-1, 1]
        0 if all gradients are 0.

    Examples
    --------
    >>> float(sensitivity(np.array([[3.0, 4.0]]), np.array([1.0, 0.0])))
    0.6
    """
    gradients = np.asarray(gradients, float)
    length = np.linalg.norm(gradients, axis=1).mean()
    return np.asarray(vectors) @ gradients.mean(axis=0) / (length if length > 0 else 1.0)


def two_sided(value: np.ndarray | float, null: np.ndarray) -> np.ndarray:
    """Two-sided p-value of values against a sample of the null distribution, which is close to normal.

    Parameters
    ----------
    value : float or np.ndarray
    null : np.ndarray [shape=(n,)]
        At least 3 values.

    Returns
    -------
    p : np.ndarray [shape of `value`]
        1 where null and value do not vary.

    Examples
    --------
    >>> null = np.random.default_rng(0).normal(size=500)
    >>> two_sided([0.0, 4.0], null).round(3).tolist()
    [0.979, 0.0]
    """
    from scipy import stats

    null = np.asarray(null, float)
    if null.size < 3:
        raise ValueError(f"The null distribution needs at least 3 values. Got {null.size}.")
    distance = np.abs(np.asarray(value, float) - null.mean())
    spread = null.std(ddof=1) * np.sqrt(1 + 1 / null.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(distance > 1e-12, distance / spread, 0.0)
    return 2 * stats.t.sf(t, null.size - 1)


def false_discovery(p: np.ndarray) -> np.ndarray:
    """Correct p-values for the false discovery rate under any dependence (Benjamini and Yekutieli 2001).

    The concepts of one network share its gradients, its random sets and many of its patches, so that the weaker
    correction for independent tests would not hold.

    Parameters
    ----------
    p : np.ndarray [shape=(n,)]
        NaN is left out and stays.

    Returns
    -------
    q : np.ndarray [shape=(n,)]

    Examples
    --------
    >>> false_discovery(np.array([0.01, 0.04, np.nan, 0.5])).round(3).tolist()
    [0.055, 0.11, nan, 0.917]
    """
    from scipy import stats

    p = np.asarray(p, float)
    q, known = np.full(p.shape, np.nan), ~np.isnan(p)
    if known.any():
        q[known] = stats.false_discovery_control(p[known], method="by")
    return q


def random_cavs(
    pool: RandomPool, *, size: int, n: int = 200, n_runs: int = 20, ridge: float = 0.01, seed: int = 0
) -> np.ndarray:
    """Mean CAVs of random sets of patches, each against random sets: what concepts are compared with.

    Parameters
    ----------
    pool : RandomPool
    size : int > 0
        Number of patches of a random concept, those included that no CAV is fitted on.
    n : int > 2
        Number of random concepts.
    n_runs, ridge
        As in `fit_cavs`, and the same as for the concepts.
    seed : int >= 0

    Returns
    -------
    vectors : np.ndarray [shape=(n, n_features)]
        Of length 1.
    """
    rng, made = np.random.default_rng([seed, 77]), []
    fitted = min(max(LEAST, round(size * len(pool.seen) / len(pool.activations))), len(pool.seen))
    for _ in range(n):
        concept = pool.activations[rng.choice(pool.seen, fitted, replace=False)] + pool.centre
        made.append(fit_cavs(concept, np.zeros(fitted, bool), pool, n_runs=n_runs, ridge=ridge, rng=rng).mean)
    return np.stack(made)


@dataclass(frozen=True)
class TcavResult:
    """What TCAV says of one concept and one output.

    Attributes
    ----------
    score : float
        Mean of the scores of all runs, in [0, 1].
    scores : np.ndarray [shape=(n_runs,)]
        One for each random set.
    sensitivity : float
        In [-1, 1].
    accuracy : float
        Mean accuracy of the classifiers on held-out examples. Near 0.5: the layer does not know the concept, and the
        score means nothing.
    p : float
        Two-sided, of the sensitivity against that of random CAVs.
    cavs : CavSet
    """

    score: float
    scores: np.ndarray
    sensitivity: float
    accuracy: float
    p: float
    cavs: CavSet


def tcav(
    model: keras.Model,
    concept: np.ndarray,
    random: np.ndarray,
    x: np.ndarray,
    output: int,
    *,
    layer: str | None = None,
    n_runs: int = 20,
    n_null: int = 200,
    ridge: float = 0.01,
    seed: int = 0,
) -> TcavResult:
    """Test whether an output of a network depends on a concept that is given by examples.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, with one input and one output (n, n_outputs).
    concept : np.ndarray [shape=(n, *input_shape)]
        Inputs that show the concept, at least 8.
    random : np.ndarray [shape=(m, *input_shape)]
        Inputs that need not show it, at least as many; random sets are drawn from them.
    x : np.ndarray [shape=(k, *input_shape)]
        Inputs of the class, whose logit is differentiated.
    output : int
        The logit.
    layer : str or None
        As in `Bottleneck`.
    n_runs : int > 0
        Number of random sets (`sharma2022`: 20).
    n_null : int > 2
        Number of random CAVs.
    ridge : float > 0
        As in `fit_cav`.
    seed : int >= 0

    Returns
    -------
    result : TcavResult

    Raises
    ------
    ValueError
        If a set is too small or the layer is constant.

    See Also
    --------
    musictools.concepts.discover : Finds the concepts of a class by itself.

    Examples
    --------
    >>> import keras
    >>> inputs = keras.Input((3,))
    >>> features = keras.layers.Identity(name="features")(inputs)
    >>> model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(features))
    >>> model.set_weights([np.array([[0.0, 0.0], [1.0, -1.0], [0.0, 0.0]])])
    >>> rng = np.random.default_rng(0)
    >>> random, concept = rng.normal(size=(60, 3)), rng.normal(size=(30, 3)) + [0, 5, 0]
    >>> [tcav(model, concept, random, random[:9], k, layer="features").score for k in (0, 1)]
    [1.0, 0.0]
    """
    from musictools.concepts.bottleneck import Bottleneck

    if not len(x):
        raise ValueError("x must hold at least one input of the class. Got none.")
    bottleneck = Bottleneck(model, layer)
    concept, random = (bottleneck.activations(np.asarray(side)) for side in (concept, random))
    rng = np.random.default_rng(seed)
    pool = RandomPool(random, _quarter(len(random), rng))
    cavs = fit_cavs(concept, _quarter(len(concept), rng), pool, n_runs=n_runs, ridge=ridge, rng=rng)
    null = random_cavs(pool, size=len(concept), n=n_null, n_runs=n_runs, ridge=ridge, seed=seed)
    gradients = bottleneck.gradients(np.asarray(x), output)
    scores, own = score(gradients, cavs.vectors), sensitivity(gradients, cavs.mean)
    p = two_sided(own, sensitivity(gradients, null))
    return TcavResult(float(scores.mean()), scores, float(own), cavs.accuracy, float(p), cavs)


def _quarter(n, rng):
    """Mark a random quarter of n examples."""
    held = np.zeros(n, bool)
    held[rng.permutation(n)[: n // 4]] = True
    return held

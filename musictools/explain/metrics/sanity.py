"""Sanity checks of explanations without ground truth: a map must depend on the model and on the tag, not on chance.

Conventions
-----------
`model` is a Keras model, for which a method is prepared, or an `explain.Explainer`. `randomisation_curve` and
`label_swap_error` need the Keras model. `neuron` is one output or one a sample, never a list of outputs.

Maps are compared cell by cell with their signs: *spearman* is the rank correlation of signed maps, *absolute* that of
their absolute values, *ssim* the structural similarity of absolute values divided by their maximum, in a window of 7
cells. (For signed maps it would be positive for opposite maps, since luminance and contrast both change sign.) A
constant map has no ranks: its values are NaN and are left out of means.

Deep Taylor explains positive logits only, and most logits are negative. Except for a factor, its maps do not depend on
how far the logit lies above the reference. Maps of sigmoid neurons are therefore taken from a reference whose logit is
lower by 1. The map of a softmax neuron with a negative logit stays empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import explain
from musictools.explain.attribution import controls
from musictools.explain.metrics import arguments, randomisation

if TYPE_CHECKING:
    import keras

    from musictools.explain import Explainer

__all__ = [
    "batch_consistency",
    "complexity",
    "correlation",
    "energy_correlation",
    "explained",
    "label_swap_error",
    "random_logit",
    "randomisation_curve",
    "rank_correlation",
    "ranks",
    "similarity",
    "stability",
]

_WINDOW = 7  # cells of SSIM, as in Wang et al. (2004) without the Gaussian
_BINS = 100  # of the histogram whose entropy is the complexity


def explained(explainer: Explainer, x: np.ndarray, neuron: int | np.ndarray | list) -> np.ndarray:
    """Maps as all tests here compare them: not empty for the sole reason that a logit is negative.

    Parameters
    ----------
    explainer : Explainer
    x : np.ndarray [shape=(n, *input_shape)]
        Model inputs.
    neuron : int, np.ndarray [shape=(n,)] or list of int
        As in `explain.relevance`.

    Returns
    -------
    maps : np.ndarray [shape=(n, *input_shape) or (n, k, *input_shape)]
    """
    reference = None
    if explainer.method.startswith("deep_taylor") and explainer.graph.head != "softmax":
        below = np.clip(np.asarray(_logit(explainer, x, neuron), dtype=np.float64) - 1.0, -700.0, 30.0)
        reference = 1.0 / (1.0 + np.exp(-below))
    return explainer(x, neuron, reference=reference).relevance


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two maps; ties share their rank.

    Parameters
    ----------
    first, second : np.ndarray [same shape]

    Returns
    -------
    correlation : float in [-1, 1]
        NaN where one of the maps is constant.

    Examples
    --------
    >>> round(rank_correlation(np.array([1.0, 2.0, 4.0]), np.array([0.1, 0.3, 0.2])), 3)
    0.5
    """
    return correlation(ranks(first), ranks(second))


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of the cells of a map, from 1 on; ties share the mean of theirs.

    SciPy has the same function in `scipy.stats`, whose import takes longer than all tests of a map.

    Parameters
    ----------
    values : np.ndarray

    Returns
    -------
    ranks : np.ndarray [shape=(values.size,)]

    Examples
    --------
    >>> ranks(np.array([[0.5, 0.1], [0.5, 2.0]])).tolist()
    [2.5, 1.0, 2.5, 4.0]
    """
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse.ravel()]


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Correlation of two maps' ranks, for maps that are compared with several others.

    Parameters
    ----------
    first, second : np.ndarray [same shape]
        From `ranks`.

    Returns
    -------
    correlation : float in [-1, 1]
        NaN where one of the maps is constant.
    """
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return np.nan
    return float(np.corrcoef(first, second)[0, 1])


def similarity(relevance: np.ndarray, other: np.ndarray) -> pd.DataFrame:
    """Similarity of maps to other maps.

    Parameters
    ----------
    relevance, other : np.ndarray [shape=(n, ...)]
        Maps, one a sample.

    Returns
    -------
    table : pd.DataFrame
        One row a sample: spearman, absolute, ssim. All are 1 for equal maps, and NaN where one of the two is constant.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> maps = np.random.default_rng(0).random((1, 8, 8))
    >>> similarity(maps, 2 * maps).round(3).to_dict("records")
    [{'spearman': 1.0, 'absolute': 1.0, 'ssim': 1.0}]
    """
    if np.shape(relevance) != np.shape(other) or np.ndim(relevance) < 2:
        raise ValueError(f"Maps must have the same shape (n, ...). Got {np.shape(relevance)} and {np.shape(other)}.")
    rows = [
        (rank_correlation(a, b), rank_correlation(np.abs(a), np.abs(b)), _ssim(a, b))
        for a, b in zip(relevance, other, strict=True)
    ]
    return pd.DataFrame(rows, columns=["spearman", "absolute", "ssim"], dtype=float)


def complexity(relevance: np.ndarray) -> np.ndarray:
    """Entropy of the values of maps, in nats: 0 for a constant map, large for noise.

    The entropy is that of a histogram with 100 bins over each map's own range, as in Hedström et al. (2024).

    Parameters
    ----------
    relevance : np.ndarray [shape=(n, ...)]
        Maps.

    Returns
    -------
    entropy : np.ndarray [shape=(n,)]

    Examples
    --------
    >>> complexity(np.array([[1.0, 1.0], [0.0, 1.0]])).round(2)
    array([-0.  ,  0.69])
    """

    def entropy(values):
        share = np.histogram(values, bins=_BINS)[0] / values.size
        return float(-(share[share > 0] * np.log(share[share > 0])).sum())

    return np.array([entropy(one) for one in np.asarray(relevance, dtype=np.float64)])


def energy_correlation(relevance: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Rank correlation of maps with the energy of their inputs.

    Parameters
    ----------
    relevance, x : np.ndarray [shape=(n, *input_shape)]
        Maps and model inputs.

    Returns
    -------
    correlation : np.ndarray [shape=(n,)], in [-1, 1]
        NaN for constant maps and silent inputs. Near 1 the map shows where the input is loud, and nothing else.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> x = np.random.default_rng(0).random((1, 4, 4, 1))
    >>> energy_correlation(x**2, x).round(3)
    array([1.])
    """
    x = np.asarray(x, dtype=np.float32)
    if np.shape(relevance) != x.shape:
        raise ValueError(f"relevance must have the shape of x, {x.shape}. Got {np.shape(relevance)}.")
    return np.array([rank_correlation(a, b) for a, b in zip(relevance, controls.energy(x), strict=True)])


def randomisation_curve(
    model: keras.Model,
    x: np.ndarray,
    neuron: int | np.ndarray,
    *,
    method: str = "deep_taylor",
    order: str = "top_down",
    seed: int = 0,
    n_noisy: int = 0,
    noise: float = 0.1,
    batch_size: int = 32,
    **options,
) -> pd.DataFrame:
    """Similarity of the maps to those of a model with more and more layers randomised.

    Model parameter randomisation test (MPRT) of Adebayo et al. (2018). Layers are randomised by
    `randomisation.randomised`, batch normalisations estimated anew on `x`. Two corrections of Hedström et al. (2024)
    are included. The *smooth* form, with ``n_noisy > 0``, compares means of the maps of noisy inputs. The *efficient*
    form is the last row's complexity_rise: a method that depends on the weights should find less order in a random
    network.

    Parameters
    ----------
    model : keras.Model
    x : np.ndarray [shape=(n, *input_shape)]
        Some ten inputs.
    neuron : int or np.ndarray [shape=(n,)]
        The explained output.
    method : str
        One of `explain.METHODS`.
    order : {"top_down", "bottom_up", "independent"}
    seed : int >= 0
        Seed of permutations and noise.
    n_noisy : int >= 0
        Noisy copies of every input; with 0 the inputs themselves are explained.
    noise : float >= 0
        Deviation of the noise as a share of each input's range.
    batch_size : int > 0
    **options
        Options of the method.

    Returns
    -------
    curve : pd.DataFrame
        One row for each randomised layer, after a first row "none" for the model itself: layer (the one that was
        randomised last), spearman, absolute, ssim (means over samples), spread (standard deviation of spearman),
        complexity, complexity_rise (relative to the first row), maps (samples whose maps could be compared).

    Examples
    --------
    >>> from keras import Sequential, layers
    >>> model = Sequential([layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3, name="logits")])
    >>> x = np.random.default_rng(0).random((2, 4, 4, 1))
    >>> randomisation_curve(model, x, 0, method="gradient")["layer"].tolist()
    ['none', 'logits']
    """
    x = np.asarray(x, dtype=np.float32)
    draws = list(_noisy(x, noise, n_noisy, seed)) if n_noisy else [x]

    def maps(network):
        explainer = explain.Explainer(
            network, method=method, seed=seed, batch_size=batch_size, conservation=False, **options
        )
        return np.mean([explained(explainer, one, neuron) for one in draws], axis=0)

    own = maps(model)
    rows = [_curve_row("none", own, own)]
    rows += [
        _curve_row(name, own, maps(copy)) for name, copy in randomisation.randomised(model, order=order, seed=seed, x=x)
    ]
    curve = pd.DataFrame(rows)
    start = curve["complexity"].iloc[0]
    curve["complexity_rise"] = (curve["complexity"] - start) / start if start else np.nan
    return curve


def _curve_row(layer, own, other):
    alike = similarity(own, other)
    return {
        "layer": layer,
        **alike.mean().to_dict(),
        "spread": alike["spearman"].std(ddof=0),
        "complexity": complexity(other).mean(),
        "maps": int(alike["spearman"].notna().sum()),
    }


def random_logit(
    model: keras.Model | Explainer,
    x: np.ndarray,
    neuron: int | np.ndarray,
    *,
    others: int | list = 4,
    relevance: np.ndarray | None = None,
    method: str = "deep_taylor",
    seed: int = 0,
    **options,
) -> pd.DataFrame:
    """Similarity of a neuron's map to the maps of other neurons for the same input (Sixt et al. 2020).

    A map that stays the same whatever tag is asked for explains no tag. Some similarity is right, since tags that share
    instruments share evidence.

    Parameters
    ----------
    model : keras.Model or Explainer
        An Explainer keeps its own method, seed and options.
    x : np.ndarray [shape=(n, *input_shape)]
        Model inputs.
    neuron : int or np.ndarray [shape=(n,)]
        The explained output.
    others : int > 0, or list of int
        How many other neurons to draw for every sample, or which ones to take.
    relevance : np.ndarray [shape of x] or None
        Maps of the explained output, if `explained` has computed them already.
    method : str
        One of `explain.METHODS`.
    seed : int >= 0
        Seed of methods that draw, and of the other neurons.
    **options
        Options of the method.

    Returns
    -------
    table : pd.DataFrame
        One row for each sample and other neuron: sample, neuron, other, spearman, absolute, ssim.

    Raises
    ------
    ValueError
        If there are not so many other neurons.

    Examples
    --------
    >>> from keras import Sequential, layers
    >>> model = Sequential([layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3)])
    >>> x = np.random.default_rng(0).random((2, 4, 4, 1))
    >>> random_logit(model, x, 0, others=2, method="energy")["spearman"].round(3).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    explainer = arguments.explainer(model, method, seed, options)
    x, n_outputs = np.asarray(x, dtype=np.float32), explainer.graph.n_outputs
    outputs = arguments.neurons(neuron, len(x))
    relevance = explained(explainer, x, outputs) if relevance is None else relevance
    rng, tables = np.random.default_rng(seed), []
    for sample, own in enumerate(outputs):
        known = [i for i in (range(n_outputs) if np.ndim(others) == 0 else others) if i != own]
        if np.ndim(others) == 0:
            if not 0 < others <= len(known):
                raise ValueError(f"others must be an int from 1 to {len(known)}, or a list. Got {others!r}.")
            known = sorted(rng.choice(known, others, replace=False).tolist())
        if not known:
            raise ValueError(f"others must name another neuron than {own}. Got {others!r}.")
        maps = explained(explainer, x[sample : sample + 1], known)[0]
        alike = similarity(np.repeat(relevance[sample : sample + 1], len(known), axis=0), maps)
        labels = pd.DataFrame({"sample": sample, "neuron": own, "other": known})
        tables.append(pd.concat([labels, alike], axis=1))
    return pd.concat(tables, ignore_index=True)


def label_swap_error(
    model: keras.Model, x: np.ndarray, neuron: int, *, other: int, method: str = "deep_taylor", seed: int = 0, **options
) -> pd.DataFrame:
    """How far the maps of two neurons are from being exchanged when their weights are.

    Parameters
    ----------
    model : keras.Model
    x : np.ndarray [shape=(n, *input_shape)]
        Model inputs.
    neuron, other : int
        Neurons, as in `randomisation.label_swapped`.
    method : str
        One of `explain.METHODS`.
    seed : int >= 0
        Seed of methods that draw.
    **options
        Options of the method.

    Returns
    -------
    table : pd.DataFrame
        One row a sample: error, the largest difference over the largest absolute value of all maps. More than rounding
        means that the maps are not those of the neurons that were asked for. A method that ignores the neuron has 0
        too.

    Examples
    --------
    >>> from keras import Sequential, layers
    >>> model = Sequential([layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3)])
    >>> x = np.random.default_rng(0).random((2, 4, 4, 1))
    >>> label_swap_error(model, x, 0, other=2, method="gradient")["error"].tolist()
    [0.0, 0.0]
    """
    models = model, randomisation.label_swapped(model, neuron, other)
    explainers = [arguments.explainer(one, method, seed, options) for one in models]
    pairs = [neuron, other], [other, neuron]
    return _errors(*(explained(e, x, pair) for e, pair in zip(explainers, pairs, strict=True)))


def batch_consistency(
    model: keras.Model | Explainer,
    x: np.ndarray,
    neuron: int | np.ndarray,
    *,
    method: str = "deep_taylor",
    seed: int = 0,
    **options,
) -> pd.DataFrame:
    """How far the maps of samples explained one by one are from those of samples explained together.

    Parameters
    ----------
    model : keras.Model or Explainer
        An Explainer keeps its own method, seed and options.
    x : np.ndarray [shape=(n, *input_shape)]
        Model inputs, n > 1.
    neuron : int or np.ndarray [shape=(n,)]
        The explained output.
    method : str
        One of `explain.METHODS`.
    seed : int >= 0
        Seed of methods that draw.
    **options
        Options of the method.

    Returns
    -------
    table : pd.DataFrame
        One row a sample: error, the largest difference over the largest absolute value of all maps. Rounding differs
        between batch sizes; where it decides a ReLU or a maximum, a dozen cells may differ by some percent. Errors of
        batching touch many cells.

    Raises
    ------
    ValueError
        If there are fewer than two samples.
    """
    if len(x) < 2:
        raise ValueError(f"x must hold at least two samples. Got {len(x)}.")
    explainer, outputs = arguments.explainer(model, method, seed, options), arguments.neurons(neuron, len(x))
    single = [explained(explainer, x[i : i + 1], outputs[i : i + 1]) for i in range(len(x))]
    return _errors(explained(explainer, x, outputs), np.concatenate(single))


def stability(
    model: keras.Model | Explainer,
    x: np.ndarray,
    neuron: int | np.ndarray,
    *,
    method: str = "deep_taylor",
    relevance: np.ndarray | None = None,
    noise: float = 0.01,
    n_draws: int = 4,
    tolerance: float = 0.25,
    seed: int = 0,
    **options,
) -> pd.DataFrame:
    """Change of the maps under noise that hardly changes the model's output.

    Max-sensitivity of Yeh et al. (2019), over draws that leave the decision unchanged.

    Parameters
    ----------
    model : keras.Model or Explainer
        An Explainer keeps its own method, seed and options.
    x : np.ndarray [shape=(n, *input_shape)]
        Model inputs.
    neuron : int or np.ndarray [shape=(n,)]
        The explained output.
    method : str
        One of `explain.METHODS`.
    relevance : np.ndarray [shape of x] or None
        Maps of `x`, if `explained` has computed them already.
    noise : float > 0
        Deviation of normal noise as a share of each input's range; noisy inputs are clipped to that range. 0.01 is
        1.2 dB for the front ends of `musictools.models`.
    n_draws : int > 0
        Noisy copies of every input.
    tolerance : float > 0
        A draw counts only if the logit changes by at most tolerance · max(abs(logit), 1).
    seed : int >= 0
        Seed of methods that draw, and of the noise.
    **options
        Options of the method.

    Returns
    -------
    table : pd.DataFrame
        One row a sample. change: largest deviation of the difference of the maps over the deviation of the sample's
        own map, so that a positive map is not stable for its mean alone. spearman: smallest rank correlation. Both are
        NaN if the sample's map is constant or no draw counts. kept: share of draws that count.

    Raises
    ------
    ValueError
        If `noise` or `n_draws` is not positive.

    Examples
    --------
    >>> from keras import Sequential, layers
    >>> model = Sequential([layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3)])
    >>> x = np.random.default_rng(0).random((2, 4, 4, 1))
    >>> stability(model, x, 0, method="gradient")["change"].round(3).tolist()
    [0.0, 0.0]
    """
    if not noise > 0 or n_draws < 1:
        raise ValueError(f"noise and n_draws must be positive. Got {noise!r} and {n_draws!r}.")
    explainer = arguments.explainer(model, method, seed, options)
    x, outputs = np.asarray(x, dtype=np.float32), arguments.neurons(neuron, len(x))
    own = explained(explainer, x, outputs) if relevance is None else relevance
    logit = _logit(explainer, x, outputs)
    kept, change = np.zeros((n_draws, len(x)), dtype=bool), np.full((n_draws, len(x)), np.nan)
    alike = np.full((n_draws, len(x)), np.nan)
    for draw, noisy in enumerate(_noisy(x, noise, n_draws, seed)):
        kept[draw] = np.abs(_logit(explainer, noisy, outputs) - logit) <= tolerance * np.maximum(np.abs(logit), 1.0)
        for i, other in enumerate(explained(explainer, noisy, outputs)):
            if kept[draw, i] and np.ptp(own[i]):
                alike[draw, i] = rank_correlation(own[i], other)
                change[draw, i] = np.std(other - own[i]) / np.std(own[i])
    return pd.DataFrame(
        {"change": np.fmax.reduce(change), "spearman": np.fmin.reduce(alike), "kept": kept.mean(axis=0)}
    )


def _logit(explainer, x, neuron):
    """Logits (n,), or (n, k) for a list of neurons."""
    logits = explainer.logits(x)
    if isinstance(neuron, list):
        return logits[:, neuron]
    return logits[np.arange(len(x)), arguments.neurons(neuron, len(x))]


def _noisy(x, noise, n_draws, seed):
    """Noisy copies of inputs, in each input's own range."""
    axes = tuple(range(1, x.ndim))
    low, high = x.min(axis=axes, keepdims=True), x.max(axis=axes, keepdims=True)
    for draw in range(n_draws):
        values = np.random.default_rng([seed, draw]).standard_normal(x.shape, dtype=np.float32)
        yield np.clip(x + noise * (high - low) * values, low, high)


def _ssim(first, second):
    from skimage.metrics import structural_similarity

    first, second = (np.abs(np.squeeze(one)) for one in (first, second))
    highest = first.max(), second.max()
    if not min(highest):
        return np.nan
    window = min(_WINDOW, (min(first.shape) - 1) // 2 * 2 + 1)
    return float(structural_similarity(first / highest[0], second / highest[1], win_size=window, data_range=1.0))


def _errors(first, second):
    """Largest difference of every sample over the largest absolute value of all."""
    highest = max(np.abs(first).max(), np.abs(second).max())
    difference = np.abs(first - second).reshape(len(first), -1).max(axis=1)
    return pd.DataFrame({"error": difference / highest if highest else difference}, dtype=float)

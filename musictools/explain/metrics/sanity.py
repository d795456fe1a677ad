"""Tests of explanations that need no ground truth: does the map depend on the model, on the tag, and on nothing else?

Conventions
-----------
Functions take a Keras model, for which they prepare a method, or an `explain.Explainer` that is prepared already;
`randomisation_curve` needs the model. `x` and `neuron` are those of `explain.relevance`, but no list of neurons.

Maps are compared cell by cell and signs included: *spearman* is the rank correlation of signed maps, *absolute* that of
their absolute values, *ssim* the structural similarity of absolute values, divided by the largest, in a window of 7
cells (of signed maps it would be positive for opposite ones: luminance and contrast both change sign). A map that is
constant has no ranks: NaN, left out of means.

Deep Taylor explains positive logits only, and most logits are negative. As its maps do not depend on how far the logit
lies above the reference but for a factor, maps of sigmoid neurons are taken here from a reference whose logit is 1
lower. Of a softmax neuron with a negative logit the map stays empty.
"""

import numpy as np
import pandas as pd

from musictools import explain
from musictools.explain.metrics import randomisation as copies
from musictools.explain.metrics.equivariance import equivariance, listener, moved
from musictools.explain.metrics.randomisation import label_swapped, randomised

__all__ = ["batch_consistency", "complexity", "energy_correlation", "equivariance", "explained", "label_swap_error",
           "label_swapped", "listener", "moved", "random_logit", "randomisation_curve", "randomised",
           "rank_correlation", "similarity", "stability"]

_WINDOW = 7  # cells of SSIM, as in Wang et al. (2004) without the Gaussian
_BINS = 100  # of the histogram whose entropy is the complexity


def explained(explainer, x, neuron):
    """Maps that are not empty because a logit is negative, as all tests here compare them.

    Parameters
    ----------
    explainer : Explainer
    x : np.ndarray [shape=(n, *input_shape)]
    neuron : int, np.ndarray [shape=(n,)] or list of int

    Returns
    -------
    maps : np.ndarray [shape=(n, *input_shape) or (n, k, *input_shape)]
    """
    reference = None
    if explainer.method.startswith("deep_taylor") and explainer.graph.head != "softmax":
        below = np.clip(np.asarray(_logit(explainer, x, neuron), dtype=np.float64) - 1.0, -700.0, 30.0)
        reference = 1.0 / (1.0 + np.exp(-below))
    return explainer(x, neuron, reference=reference).relevance


def rank_correlation(first, second):
    """Spearman's rank correlation of two maps, float in [-1, 1], NaN where one is constant; ties share their rank."""
    from scipy.stats import rankdata

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return np.nan
    return float(np.corrcoef(rankdata(first), rankdata(second))[0, 1])


def similarity(first, second):
    """How alike maps are.

    Parameters
    ----------
    first, second : np.ndarray [shape=(n, ...)]
        Maps, one a sample.

    Returns
    -------
    table : pd.DataFrame
        A row a sample: spearman, absolute, ssim; all 1 for equal maps, NaN where one of the two is constant.
    """
    if np.shape(first) != np.shape(second) or np.ndim(first) < 2:
        raise ValueError(f"Maps must have the same shape (n, ...). Got {np.shape(first)} and {np.shape(second)}.")
    rows = [(rank_correlation(a, b), rank_correlation(np.abs(a), np.abs(b)), _ssim(a, b))
            for a, b in zip(first, second)]
    return pd.DataFrame(rows, columns=["spearman", "absolute", "ssim"], dtype=float)


def complexity(maps):
    """Entropy of the values of maps, in nats: 0 for a constant map, large for noise.

    Of a histogram with 100 bins over each map's own range, as of Hedström et al. (2024).

    Parameters
    ----------
    maps : np.ndarray [shape=(n, ...)]

    Returns
    -------
    entropy : np.ndarray [shape=(n,)]
    """
    def entropy(values):
        share = np.histogram(values, bins=_BINS)[0] / values.size
        return float(-(share[share > 0] * np.log(share[share > 0])).sum())

    return np.array([entropy(one) for one in np.asarray(maps, dtype=np.float64)])


def randomisation_curve(model, x, neuron, *, method="deep_taylor", order="top_down", seed=0, n_noisy=0, noise=0.1,
                        batch_size=32, **options):
    """Similarity of the maps to those of a model with more and more layers randomised.

    Adebayo et al. (2018), MPRT; the layers as of `randomised`, batch normalisations estimated anew on `x`. Two
    corrections by Hedström et al. (2024): the *smooth* form, with ``n_noisy > 0``, compares means of the maps of noisy
    inputs; the *efficient* form is the last row's complexity_rise: a method that depends on the weights should find
    less order in a random network.

    Parameters
    ----------
    model : keras.Model
    x : np.ndarray [shape=(n, *input_shape)]
        Some ten inputs.
    neuron : int or np.ndarray [shape=(n,)]
    method : str
        One of `explain.METHODS`.
    order : {"top_down", "bottom_up", "independent"}
    seed : int >= 0
        Of permutations and noise.
    n_noisy : int >= 0
        Noisy copies of every input; 0: the inputs themselves.
    noise : float >= 0
        Deviation of the noise as a share of each input's range.
    batch_size : int > 0
    **options
        Of the method.

    Returns
    -------
    curve : pd.DataFrame
        layer (that was randomised last; the first row, "none", is the model itself), spearman, absolute, ssim: means
        over samples, spread: standard deviation of spearman, complexity, complexity_rise: relative to the first row,
        maps: samples whose maps could be compared.
    """
    x = np.asarray(x, dtype=np.float32)
    draws = list(_noisy(x, noise, n_noisy, seed)) if n_noisy else [x]

    def maps(network):
        explainer = explain.Explainer(network, method=method, seed=seed, batch_size=batch_size, ledger=False, **options)
        return np.mean([explained(explainer, one, neuron) for one in draws], axis=0)

    own = maps(model)
    rows = [_curve_row("none", own, own)]
    rows += [_curve_row(name, own, maps(copy)) for name, copy in copies.randomised(model, order=order, seed=seed, x=x)]
    curve = pd.DataFrame(rows)
    start = curve["complexity"].iloc[0]
    curve["complexity_rise"] = (curve["complexity"] - start) / start if start else np.nan
    return curve


def _curve_row(layer, own, other):
    alike = similarity(own, other)
    return {"layer": layer, **alike.mean().to_dict(), "spread": alike["spearman"].std(ddof=0),
            "complexity": complexity(other).mean(), "maps": int(alike["spearman"].notna().sum())}


def random_logit(model, x, neuron, *, others=4, method="deep_taylor", seed=0, **options):
    """Similarity of a neuron's map to the maps of other neurons for the same input (Sixt et al. 2020).

    A map that stays the same whatever tag is asked for explains no tag. Some likeness is right, since tags that share
    instruments share evidence.

    Parameters
    ----------
    model : keras.Model or Explainer
    x : np.ndarray [shape=(n, *input_shape)]
    neuron : int or np.ndarray [shape=(n,)]
    others : int > 0, or list of int
        So many other neurons drawn for every sample, or those.
    method, seed, **options
        As of `explain.relevance`; of an Explainer they are its own. The seed draws the others too.

    Returns
    -------
    table : pd.DataFrame
        A row a sample and other neuron: sample, neuron, other, spearman, absolute, ssim.

    Raises
    ------
    ValueError
        If there are not so many other neurons.
    """
    explainer = _explainer(model, method, seed, options)
    x, n_outputs = np.asarray(x, dtype=np.float32), explainer.graph.n_outputs
    rng, rows = np.random.default_rng(seed), []
    for sample, own in enumerate(_neurons(neuron, len(x))):
        known = [i for i in (range(n_outputs) if np.ndim(others) == 0 else others) if i != own]
        if np.ndim(others) == 0:
            if not 0 < others <= len(known):
                raise ValueError(f"others must be an int from 1 to {len(known)}, or a list. Got {others!r}.")
            known = sorted(rng.choice(known, others, replace=False).tolist())
        if not known:
            raise ValueError(f"others must name another neuron than {own}. Got {others!r}.")
        maps = explained(explainer, x[sample : sample + 1], [own, *known])[0]
        alike = similarity(np.repeat(maps[:1], len(known), axis=0), maps[1:])
        alike.insert(0, "other", known)
        alike.insert(0, "neuron", own)
        alike.insert(0, "sample", sample)
        rows.append(alike)
    return pd.concat(rows, ignore_index=True)


def label_swap_error(model, x, first, second, *, method="deep_taylor", seed=0, **options):
    """How far the maps of two neurons are from being exchanged when their weights are.

    Parameters
    ----------
    model : keras.Model
    x : np.ndarray [shape=(n, *input_shape)]
    first, second : int
        Neurons, as of `label_swapped`.
    method, seed, **options
        As of `explain.relevance`.

    Returns
    -------
    error : float
        Largest difference over the largest absolute value of the maps. Anything but rounding means that the maps are
        not those of the neurons that were asked for; a method that does not look at the neuron has 0 too.
    """
    explainers = [explain.Explainer(m, method=method, seed=seed, **options)
                  for m in (model, label_swapped(model, first, second))]
    maps = [explained(e, x, pair) for e, pair in zip(explainers, ([first, second], [second, first]))]
    return _difference(*maps)


def batch_consistency(model, x, neuron, *, method="deep_taylor", seed=0, **options):
    """How far the maps of samples explained one by one are from those of samples explained together.

    Parameters
    ----------
    model : keras.Model or Explainer
    x : np.ndarray [shape=(n, *input_shape)]
        n > 1.
    neuron : int or np.ndarray [shape=(n,)]
    method, seed, **options
        As of `explain.relevance`; of an Explainer they are its own.

    Returns
    -------
    error : float
        Largest difference over the largest absolute value of the maps. Rounding differs between batch sizes; where a
        ReLU or a maximum is decided by it, a dozen cells may differ by some percent. Errors of batching touch many.
    """
    if len(x) < 2:
        raise ValueError(f"x must hold at least two samples. Got {len(x)}.")
    explainer, neurons = _explainer(model, method, seed, options), _neurons(neuron, len(x))
    single = [explained(explainer, x[i : i + 1], neurons[i : i + 1]) for i in range(len(x))]
    return _difference(explained(explainer, x, neurons), np.concatenate(single))


def stability(model, x, neuron, *, method="deep_taylor", noise=0.01, n_draws=4, tolerance=0.25, seed=0, **options):
    """Change of the maps under noise that hardly changes what the model says.

    Max-sensitivity of Yeh et al. (2019), over draws that leave the decision.

    Parameters
    ----------
    model : keras.Model or Explainer
    x : np.ndarray [shape=(n, *input_shape)]
    neuron : int or np.ndarray [shape=(n,)]
    method, seed, **options
        As of `explain.relevance`; of an Explainer they are its own. The seed draws the noise too.
    noise : float > 0
        Deviation of normal noise as a share of each input's range; noisy inputs are clipped to that range. 0.01 of
        the suite's front ends is 1.2 dB.
    n_draws : int > 0
    tolerance : float > 0
        The decision is left where the neuron's logit moves by at most this share of it, of 1 for smaller ones.

    Returns
    -------
    table : pd.DataFrame
        A row a sample: change: largest deviation of the difference of the maps over the deviation of the sample's own,
        so that a positive map is not stable for its mean alone; spearman: smallest rank correlation; both NaN if the
        sample's map is constant or no draw left the decision; kept: share of draws that did.
    """
    if not noise > 0 or n_draws < 1:
        raise ValueError(f"noise and n_draws must be positive. Got {noise!r} and {n_draws!r}.")
    explainer = _explainer(model, method, seed, options)
    x, neurons = np.asarray(x, dtype=np.float32), _neurons(neuron, len(x))
    own, logit = explained(explainer, x, neurons), _logit(explainer, x, neurons)
    kept, far = np.zeros((n_draws, len(x)), dtype=bool), np.full((n_draws, len(x)), np.nan)
    ranks = np.full((n_draws, len(x)), np.nan)
    for draw, noisy in enumerate(_noisy(x, noise, n_draws, seed)):
        kept[draw] = np.abs(_logit(explainer, noisy, neurons) - logit) <= tolerance * np.maximum(np.abs(logit), 1.0)
        for i, other in enumerate(explained(explainer, noisy, neurons)):
            if kept[draw, i] and np.ptp(own[i]):
                ranks[draw, i] = rank_correlation(own[i], other)
                far[draw, i] = np.std(other - own[i]) / np.std(own[i])
    return pd.DataFrame({"change": np.fmax.reduce(far), "spearman": np.fmin.reduce(ranks), "kept": kept.mean(axis=0)})


def energy_correlation(relevance, x):
    """Rank correlation of maps with the energy of their inputs.

    Parameters
    ----------
    relevance, x : np.ndarray [shape=(n, *input_shape)]

    Returns
    -------
    correlation : np.ndarray [shape=(n,)], in [-1, 1]
        NaN for constant maps and silent inputs. Near 1 the map says where it is loud and no more.
    """
    from musictools.explain.attribution.controls import energy

    x = np.asarray(x, dtype=np.float32)
    if np.shape(relevance) != x.shape:
        raise ValueError(f"relevance must have the shape of x, {x.shape}. Got {np.shape(relevance)}.")
    return np.array([rank_correlation(a, b) for a, b in zip(relevance, energy(x))])


def _explainer(model, method, seed, options):
    if not isinstance(model, explain.Explainer):
        return explain.Explainer(model, method=method, seed=seed, ledger=False, **options)
    if options:
        raise ValueError(f"An Explainer has its options already. Got {', '.join(options)}.")
    return model


def _neurons(neuron, n):
    if isinstance(neuron, list | tuple) or np.shape(neuron) not in ((), (n,)):
        raise ValueError(f"neuron must be an int or an array of one int for each of the {n} samples. Got {neuron!r}.")
    return np.broadcast_to(neuron, n)


def _logit(explainer, x, neuron):
    """Logits (n,), or (n, k) for a list of neurons."""
    logits = explainer.logits(x)
    if isinstance(neuron, list):
        return logits[:, neuron]
    return logits[np.arange(len(x)), _neurons(neuron, len(x))]


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


def _difference(first, second):
    highest = max(np.abs(first).max(), np.abs(second).max())
    return float(np.abs(first - second).max() / highest) if highest else 0.0

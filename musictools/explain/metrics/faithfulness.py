"""Faithfulness: does the model use what the map shows? Parts of the input are replaced, and the model is asked again.

Conventions
-----------
`x` and `relevance` have one shape, (n, n_bins, n_frames, 1) for spectrograms or (n, n_samples, 1) for waveforms.
`neuron` is one output for all samples or one a sample. Probabilities are of that output alone ("sigmoid") or among all
outputs ("softmax").

Inputs are replaced in blocks, since single cells are too small to matter: `cell` is (bands, frames), by default (4, 4),
or (samples,), by default (256,). A block's relevance is the sum over its cells, signs included. Blocks that tie come in
random order, so a constant map is worth as much as chance.

The *baseline* that replaces a block decides what is measured: *floor* (0: silence in a spectrogram or waveform), *mean*
(the sample's mean over time in every band) and *blurred* (the sample under a Gaussian two blocks wide) each lie outside
the distribution of the training data in their own way. No conclusion should rest on one of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools.explain.metrics import arguments

if TYPE_CHECKING:
    import keras

    from musictools.explain import Explainer

__all__ = [
    "BASELINES",
    "Curves",
    "average_drop",
    "average_gain",
    "average_increase",
    "curves",
    "evidence_mask",
    "fidelity",
    "masked",
    "measures",
    "replacement",
]

BASELINES = ("floor", "mean", "blurred")


@dataclass(frozen=True)
class Curves:
    """Scores while blocks are deleted or inserted, the most relevant first.

    Attributes
    ----------
    kind : {"deletion", "insertion"}
    baseline : str
        One of `BASELINES`.
    share : np.ndarray [shape=(n_points,)], in [0, 1]
        Share of blocks deleted or inserted.
    logit, probability : np.ndarray [shape=(n, n_points)]
        Scores of the explained output.
    control_logit, control_probability : np.ndarray [shape=(n, n_points)]
        The same for blocks in random order.
    """

    kind: str
    baseline: str
    share: np.ndarray
    logit: np.ndarray
    probability: np.ndarray
    control_logit: np.ndarray
    control_probability: np.ndarray

    def area(self, of: str = "probability") -> np.ndarray:
        """Area under every sample's curve: small is good in deletion, large in insertion.

        Parameters
        ----------
        of : {"probability", "logit", "control_probability", "control_logit"}

        Returns
        -------
        areas : np.ndarray [shape=(n,)]
        """
        return np.trapezoid(getattr(self, of), self.share, axis=1)

    def advantage(self, of: str = "probability") -> np.ndarray:
        """Difference to the area of a random order; positive is better in deletion and in insertion.

        Parameters
        ----------
        of : {"probability", "logit"}

        Returns
        -------
        differences : np.ndarray [shape=(n,)]
        """
        better = self.area(of) - self.area(f"control_{of}")
        return -better if self.kind == "deletion" else better


def curves(
    model: keras.Model | Explainer | Callable,
    x: np.ndarray,
    neuron: int | np.ndarray,
    relevance: np.ndarray,
    *,
    baseline: str = "mean",
    kind: str = "deletion",
    steps: int = 20,
    cell: int | tuple | None = None,
    head: str = "sigmoid",
    batch_size: int = 256,
    seed: int = 0,
) -> Curves:
    """Deletion or insertion curves beside those of a random order.

    Region perturbation of Samek et al. (2017), which orders blocks; deletion and insertion games of Petsiuk et al.
    (2018), RISE.

    Parameters
    ----------
    model : keras.Model, Explainer, or callable
        A callable maps x to logits, np.ndarray [shape=(n, n_outputs)].
    x : np.ndarray [shape=(n, n_bins, n_frames, 1) or (n, n_samples, 1)]
        Model inputs.
    neuron : int or np.ndarray [shape=(n,), int]
        The explained output.
    relevance : np.ndarray [shape of x]
        Maps that order the blocks.
    baseline : {"floor", "mean", "blurred"}
        What replaces blocks that are deleted, or not inserted yet.
    kind : {"deletion", "insertion"}
    steps : int > 0
        Steps from nothing to everything; with fewer blocks, one step a block.
    cell : int, tuple of int > 0, or None
        Size of a block.
    head : {"sigmoid", "softmax"}
        How logits become probabilities.
    batch_size : int > 0
        Number of perturbed inputs in one call of the model.
    seed : int >= 0
        Seed of the random order and of ties.

    Returns
    -------
    curves : Curves

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, or `neuron` is no output.

    Examples
    --------
    >>> weights = np.array([0.0, 3.0, 1.0, 0.0]).reshape(1, 1, 4, 1)
    >>> def model(x):
    ...     return (x * weights).sum(axis=(1, 2, 3))[:, None]
    >>> x = np.ones((1, 1, 4, 1))
    >>> deleted = curves(model, x, 0, weights * x, baseline="floor", cell=(1, 1), steps=4)
    >>> deleted.logit.tolist()
    [[4.0, 1.0, 0.0, 0.0, 0.0]]
    """
    x, relevance, block = _inputs(x, relevance, cell)
    arguments.choice("kind", kind, ("deletion", "insertion"))
    arguments.positive("steps", steps)
    asked = _Model(arguments.logits(model), arguments.neurons(neuron, len(x)), head, batch_size)
    n_blocks = int(block.max()) + 1
    counts = np.unique(np.linspace(0, n_blocks, min(steps, n_blocks) + 1).round().astype(int))
    path = (x, replacement(x, baseline=baseline, cell=cell))[:: 1 if kind == "deletion" else -1]
    rng = np.random.default_rng(seed)
    own = _walk(asked, path, _ranks(_block_sums(relevance, block), rng)[:, block], counts)
    control = _walk(asked, path, _ranks(np.zeros((len(x), n_blocks)), rng)[:, block], counts)
    return Curves(kind, baseline, counts / n_blocks, *own, *control)


def masked(
    model: keras.Model | Explainer | Callable,
    x: np.ndarray,
    neuron: int | np.ndarray,
    relevance: np.ndarray,
    *,
    baseline: str = "mean",
    keep: float | None = 0.2,
    cell: int | tuple | None = None,
    head: str = "sigmoid",
    batch_size: int = 256,
    seed: int = 0,
) -> pd.DataFrame:
    """Probabilities of whole inputs, of their evidence alone, and of the rest without it.

    Parameters
    ----------
    model : keras.Model, Explainer, or callable
        A callable maps x to logits, np.ndarray [shape=(n, n_outputs)].
    x : np.ndarray [shape=(n, n_bins, n_frames, 1) or (n, n_samples, 1)]
        Model inputs.
    neuron : int or np.ndarray [shape=(n,), int]
        The explained output.
    relevance : np.ndarray [shape of x]
        Maps that choose the evidence.
    baseline : {"floor", "mean", "blurred"}
        What replaces the masked cells.
    keep : float in (0, 1), or None
        Option of `evidence_mask`.
    cell : int, tuple of int > 0, or None
        Size of a block.
    head : {"sigmoid", "softmax"}
        How logits become probabilities.
    batch_size : int > 0
        Number of masked inputs in one call of the model.
    seed : int >= 0
        Seed of the order of ties.

    Returns
    -------
    probabilities : pd.DataFrame
        One row a sample: before, inside (evidence kept, rest replaced), outside (evidence replaced, rest kept), as
        `measures` takes it.

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, or `neuron` is no output.
    """
    x, relevance, _ = _inputs(x, relevance, cell)
    asked = _Model(arguments.logits(model), arguments.neurons(neuron, len(x)), head, batch_size)
    mask = evidence_mask(relevance, keep=keep, cell=cell, seed=seed)
    other = replacement(x, baseline=baseline, cell=cell)

    def mixed(rows):
        part, sample = np.divmod(rows, len(x))
        part, m = part.reshape(-1, *[1] * (x.ndim - 1)), mask[sample]
        weight = np.where(part == 0, 1, np.where(part == 1, m, 1 - m)).astype(np.float32)
        return weight * x[sample] + (1 - weight) * other[sample], sample

    _, probability = asked.ask(mixed, 3 * len(x))
    return pd.DataFrame(probability.reshape(3, -1).T, columns=["before", "inside", "outside"])


def evidence_mask(
    relevance: np.ndarray, *, keep: float | None = 0.2, cell: int | tuple | None = None, seed: int = 0
) -> np.ndarray:
    """Turn relevance into the mask that says how much of every cell is evidence.

    By default the mask holds the most relevant blocks, the same share for every map, so that methods with sharp and
    with soft maps are asked the same question. The soft mask of Grad-CAM++ (Chattopadhay et al. 2018) is there too; it
    keeps next to nothing of a map with one sharp peak.

    Parameters
    ----------
    relevance : np.ndarray [shape=(n, n_bins, n_frames, 1) or (n, n_samples, 1)]
        Maps.
    keep : float in (0, 1), or None
        Share of blocks to keep; blocks without positive relevance are never kept. None: positive relevance divided by
        its maximum.
    cell : int, tuple of int > 0, or None
        Size of a block.
    seed : int >= 0
        Seed of the order of ties.

    Returns
    -------
    mask : np.ndarray [shape=relevance.shape, float32], in [0, 1]
        0 everywhere for a map without positive relevance.

    Raises
    ------
    ValueError
        If `keep` lies outside (0, 1) or the relevance is no finite array of maps.

    Examples
    --------
    >>> relevance = np.array([4.0, 1.0, 3.0, 2.0]).reshape(1, 1, 4, 1)
    >>> evidence_mask(relevance, keep=0.5, cell=(1, 1))[0, 0, :, 0]
    array([1., 0., 1., 0.], dtype=float32)
    """
    relevance = arguments.samples("relevance", relevance)
    if keep is None:
        positive = np.maximum(relevance, 0)
        highest = positive.max(axis=tuple(range(1, positive.ndim)), keepdims=True)
        return (positive / np.where(highest > 0, highest, 1)).astype(np.float32)
    if not 0 < keep < 1:
        raise ValueError(f"keep must lie in (0, 1) or be None. Got {keep!r}.")
    block = _blocks(relevance.shape[1:-1], cell)
    sums = _block_sums(relevance, block)
    chosen = _ranks(sums, np.random.default_rng(seed)) < max(1, round(keep * sums.shape[1]))
    kept = (chosen & (sums > 0))[:, block]
    return np.broadcast_to(kept[..., None], relevance.shape).astype(np.float32)


def replacement(x: np.ndarray, *, baseline: str = "mean", cell: int | tuple | None = None) -> np.ndarray:
    """Inputs that stand in for the given ones where these are taken away.

    Parameters
    ----------
    x : np.ndarray [shape=(n, n_bins, n_frames, 1) or (n, n_samples, 1)]
        Model inputs.
    baseline : {"floor", "mean", "blurred"}
        0; the sample's mean over time; the sample under a Gaussian with a deviation of two blocks.
    cell : int, tuple of int > 0, or None
        Size of a block.

    Returns
    -------
    replaced : np.ndarray [shape=x.shape, float32]

    Raises
    ------
    ValueError
        If the baseline is unknown.

    Examples
    --------
    >>> replacement(np.array([1.0, 2.0, 3.0]).reshape(1, 1, 3, 1))[0, 0, :, 0]
    array([2., 2., 2.], dtype=float32)
    """
    x = arguments.samples("x", x)
    arguments.choice("baseline", baseline, BASELINES)
    if baseline == "floor":
        return np.zeros_like(x)
    if baseline == "mean":
        return np.broadcast_to(x.mean(axis=-2, keepdims=True), x.shape).copy()
    from scipy.ndimage import gaussian_filter

    deviation = [2 * size for size in _cell(x.shape[1:-1], cell)]
    return gaussian_filter(x, (0, *deviation, 0), mode="nearest")


def average_drop(before: np.ndarray, inside: np.ndarray) -> float:
    """Mean share of the probability that is lost when only the evidence is left: mean of max(0, p - o) / p.

    Chattopadhay et al. (2018), Grad-CAM++; here for the explained tag instead of the highest class. Small is good.

    Parameters
    ----------
    before, inside : np.ndarray [shape=(n,)], in [0, 1]
        Probability of the tag for the input (p) and for its evidence alone (o).

    Returns
    -------
    value : float in [0, 1]
        A probability of 0 has nothing to lose.

    Examples
    --------
    >>> average_drop([0.8, 0.5], [0.4, 0.9])
    0.25
    """
    p, o = _probabilities(before=before, inside=inside)
    return float(np.mean(np.maximum(0, p - o) / np.where(p > 0, p, 1)))


def average_increase(before: np.ndarray, inside: np.ndarray) -> float:
    """Share of samples whose probability is higher with the evidence alone (Chattopadhay et al. 2018). Large is good.

    Parameters
    ----------
    before, inside : np.ndarray [shape=(n,)], in [0, 1]
        As in `average_drop`.

    Returns
    -------
    value : float in [0, 1]
    """
    p, o = _probabilities(before=before, inside=inside)
    return float(np.mean(o > p))


def average_gain(before: np.ndarray, inside: np.ndarray) -> float:
    """Mean share of the missing probability that the evidence alone adds: mean of max(0, o - p) / (1 - p).

    Zhang et al. (2024), Opti-CAM. Large is good.

    Parameters
    ----------
    before, inside : np.ndarray [shape=(n,)], in [0, 1]
        As in `average_drop`.

    Returns
    -------
    value : float in [0, 1]
        A probability of 1 has nothing to gain.
    """
    p, o = _probabilities(before=before, inside=inside)
    return float(np.mean(np.maximum(0, o - p) / np.where(p < 1, 1 - p, 1)))


def fidelity(
    before: np.ndarray, inside: np.ndarray, outside: np.ndarray, *, threshold: float | np.ndarray = 0.5
) -> dict:
    """How many accepted tags the evidence keeps, and how many are lost without it.

    Fidelity to the input of Paissan et al. (2024), Listenable Maps for Audio Classifiers, for taggers: instead of "the
    same class wins" it is "the tag is still accepted".

    Parameters
    ----------
    before, inside, outside : np.ndarray [shape=(n,)], in [0, 1]
        Probability of the tag for the input, for its evidence alone and for the rest alone.
    threshold : float or np.ndarray [shape=(n,)]
        A tag is accepted where its probability is greater.

    Returns
    -------
    fidelity : dict
        accepted (number of samples whose tag is accepted), kept and lost (shares of these that are still accepted
        inside, and no longer accepted outside; NaN if none is accepted). Large is good.

    Examples
    --------
    >>> fidelity([0.9, 0.6, 0.2], [0.8, 0.3, 0.9], [0.6, 0.1, 0.1])
    {'accepted': 2, 'kept': 0.5, 'lost': 0.5}
    """
    p, o, rest = _probabilities(before=before, inside=inside, outside=outside)
    accepted = p > threshold
    share = [float(hit[accepted].mean()) if accepted.any() else float("nan")
             for hit in (o > threshold, ~(rest > threshold))]  # fmt: skip
    return {"accepted": int(accepted.sum()), "kept": share[0], "lost": share[1]}


def measures(probabilities: pd.DataFrame, *, threshold: float | np.ndarray = 0.5) -> dict:
    """All measures of masked inputs.

    Parameters
    ----------
    probabilities : pd.DataFrame
        Result of `masked`.
    threshold : float or np.ndarray [shape=(n,)]
        A tag is accepted where its probability is greater.

    Returns
    -------
    measures : dict
        average_drop, average_increase, average_gain, faithfulness (mean of before - outside: Paissan et al. 2024) and
        the values of `fidelity`.
    """
    before, inside, outside = (probabilities[name].to_numpy() for name in ("before", "inside", "outside"))
    return {
        "average_drop": average_drop(before, inside),
        "average_increase": average_increase(before, inside),
        "average_gain": average_gain(before, inside),
        "faithfulness": float(np.mean(before - outside)),
        **fidelity(before, inside, outside, threshold=threshold),
    }


@dataclass(frozen=True)
class _Model:
    """One output a sample of a model, asked in batches."""

    scores: object
    neuron: np.ndarray
    head: str
    batch_size: int

    def __post_init__(self):
        arguments.choice("head", self.head, ("sigmoid", "softmax"))
        arguments.positive("batch_size", self.batch_size)

    def ask(self, make, n):
        """Logits and probabilities of n inputs; ``make(rows)`` gives inputs and the samples they belong to."""
        from scipy.special import expit, softmax

        logit, probability = np.empty(n), np.empty(n)
        for start in range(0, n, self.batch_size):
            rows = np.arange(start, min(n, start + self.batch_size))
            x, sample = make(rows)
            logits = np.asarray(self.scores(x), dtype=np.float64)
            if logits.ndim != 2 or len(logits) != len(x):
                raise ValueError(f"model must return logits of shape ({len(x)}, n_outputs). Got {logits.shape}.")
            if self.neuron.max() >= logits.shape[1]:
                raise ValueError(f"neuron must be below {logits.shape[1]}, the outputs. Got {self.neuron.max()}.")
            at = np.arange(len(x)), self.neuron[sample]
            logit[rows] = logits[at]
            probability[rows] = (expit(logits) if self.head == "sigmoid" else softmax(logits, axis=1))[at]
        return logit, probability


def _walk(model, path, ranks, counts):
    """Logits and probabilities (n, n_points) while blocks, by rank, go from one end of the path to the other."""
    source, target = path

    def perturbed(rows):
        sample, point = np.divmod(rows, len(counts))
        moved = ranks[sample] < counts[point].reshape(-1, *[1] * (ranks.ndim - 1))
        return np.where(moved[..., None], target[sample], source[sample]), sample

    return [values.reshape(len(source), -1) for values in model.ask(perturbed, len(source) * len(counts))]


def _ranks(values, rng):
    """Place of every value in its row, 0 the highest; equal values in random order."""
    order = np.lexsort((rng.random(values.shape), -values), axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(values.shape[1])[None], axis=1)
    return ranks


def _block_sums(relevance, block):
    """Relevance of every block, (n, n_blocks)."""
    cells = relevance.sum(axis=-1, dtype=np.float64).reshape(len(relevance), -1)
    return np.stack([np.bincount(block.ravel(), weights=row) for row in cells])


def _blocks(shape, cell):
    """Number of every cell's block; blocks at the far edges may be smaller."""
    places = [np.arange(n) // size for n, size in zip(shape, _cell(shape, cell), strict=True)]
    return np.ravel_multi_index(np.ix_(*places), [place[-1] + 1 for place in places])


def _cell(shape, cell):
    if cell is None:
        return (4, 4) if len(shape) == 2 else (256,)
    sizes = tuple(np.atleast_1d(cell).tolist())
    if len(sizes) != len(shape) or any(not isinstance(size, int) or size < 1 for size in sizes):
        raise ValueError(f"cell must hold {len(shape)} positive ints, one an axis of the input. Got {cell!r}.")
    return sizes


def _inputs(x, relevance, cell):
    """Check; return inputs and relevance as float32 and the blocks' numbers."""
    x, relevance = arguments.samples("x", x), arguments.samples("relevance", relevance)
    if relevance.shape != x.shape:
        raise ValueError(f"relevance must have x's shape, {x.shape}. Got {relevance.shape}.")
    return x, relevance, _blocks(x.shape[1:-1], cell)


def _probabilities(**arrays):
    values = [np.asarray(a, dtype=np.float64) for a in arrays.values()]
    for name, a in zip(arrays, values, strict=True):
        if a.ndim != 1 or not a.size or a.shape != values[0].shape or not np.all((a >= 0) & (a <= 1)):
            raise ValueError(f"{name} must hold probabilities in [0, 1], one a sample. Got shape {a.shape}, {a}.")
    return values

"""Does the model use what the map shows? Parts of the input are replaced, and the model is asked again.

Conventions
-----------
`x` and `relevance` have one shape, (n, n_bins, n_frames, 1) of spectrograms or (n, n_samples, 1) of waveforms.
`scores` is a callable, x -> logits (n, n_outputs), such as ``explain.logits(model)``; `neuron` is one output for all
samples or one a sample. Probabilities are of that output alone ("sigmoid") or among all ("softmax").

Inputs are replaced in blocks, since single cells are too small to matter: `cell` is (bands, frames), by default (4, 4),
or (samples,), by default (256,). A block's relevance is the sum over its cells, signs included; blocks that tie come in
random order, so that a constant map is worth as much as chance.

What replaces a block decides what is measured: *floor* (0: silence of a spectrogram or waveform), *mean* (the sample's
mean over time, of every band) and *blurred* (the sample under a Gaussian two blocks wide) are all out of the training
data's distribution in their own way. No conclusion should rest on one of them.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["FILLS", "Curves", "average_drop", "average_gain", "average_increase", "curves", "evidence_mask", "fidelity",
           "filled", "masked", "measures"]

FILLS = ("floor", "mean", "blurred")


@dataclass(frozen=True)
class Curves:
    """What happens to the scores while blocks are deleted or inserted, the most relevant first.

    Attributes
    ----------
    kind : {"deletion", "insertion"}
    fill : str
        One of `FILLS`.
    share : np.ndarray [shape=(n_points,)], in [0, 1]
        Share of blocks deleted or inserted.
    logit, probability : np.ndarray [shape=(n, n_points)]
        Of the explained output.
    control_logit, control_probability : np.ndarray [shape=(n, n_points)]
        The same for blocks in random order.
    """

    kind: str
    fill: str
    share: np.ndarray
    logit: np.ndarray
    probability: np.ndarray
    control_logit: np.ndarray
    control_probability: np.ndarray

    def area(self, of="probability"):
        """Area under every sample's curve, np.ndarray [shape=(n,)].

        Small is good in deletion, large in insertion. `of` is "probability", "logit", "control_probability" or
        "control_logit".
        """
        return np.trapezoid(getattr(self, of), self.share, axis=1)

    def advantage(self, of="probability"):
        """How much better than random order, np.ndarray [shape=(n,)]: difference of areas, positive is better.

        `of` is "probability" or "logit".
        """
        better = self.area(of) - self.area(f"control_{of}")
        return -better if self.kind == "deletion" else better


def curves(scores, x, relevance, neuron, *, fill="mean", kind="deletion", steps=20, cell=None, head="sigmoid",
           batch_size=256, seed=0):
    """Deletion or insertion curves beside those of a random order.

    Region perturbation of Samek et al. (2017), which orders blocks; deletion and insertion games of Petsiuk et al.
    (2018), RISE.

    Parameters
    ----------
    scores : callable
        x -> logits, np.ndarray [shape=(n, n_outputs)].
    x, relevance : np.ndarray [shape=(n, n_bins, n_frames, 1) or (n, n_samples, 1)]
    neuron : int or np.ndarray [shape=(n,), int]
    fill : {"floor", "mean", "blurred"}
        What stands where blocks are deleted, or not inserted yet.
    kind : {"deletion", "insertion"}
    steps : int > 0
        Steps from nothing to everything; with fewer blocks, one step a block.
    cell : int, tuple of int > 0, or None
        Size of a block.
    head : {"sigmoid", "softmax"}
    batch_size : int > 0
        Perturbed inputs that the model sees at once.
    seed : int >= 0
        Of random order and ties.

    Returns
    -------
    curves : Curves

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, or `neuron` is no output.
    """
    x, relevance, block = _inputs(x, relevance, cell)
    _choice("kind", kind, ("deletion", "insertion"))
    _positive("steps", steps)
    model = _Model(scores, _neurons(neuron, len(x)), head, batch_size)
    n_blocks = int(block.max()) + 1
    counts = np.unique(np.linspace(0, n_blocks, min(steps, n_blocks) + 1).round().astype(int))
    path = (x, filled(x, fill=fill, cell=cell))[:: 1 if kind == "deletion" else -1]
    rng = np.random.default_rng(seed)
    own = _walk(model, path, _ranks(_block_sums(relevance, block), rng)[:, block], counts)
    control = _walk(model, path, _ranks(np.zeros((len(x), n_blocks)), rng)[:, block], counts)
    return Curves(kind, fill, counts / n_blocks, *own, *control)


def masked(scores, x, relevance, neuron, *, fill="mean", keep=0.2, cell=None, head="sigmoid", batch_size=256, seed=0):
    """Probabilities of whole inputs, of their evidence alone, and of the rest without it.

    Parameters
    ----------
    scores : callable
        x -> logits, np.ndarray [shape=(n, n_outputs)].
    x, relevance : np.ndarray [shape=(n, n_bins, n_frames, 1) or (n, n_samples, 1)]
    neuron : int or np.ndarray [shape=(n,), int]
    fill : {"floor", "mean", "blurred"}
        What stands where the input is masked.
    keep : float in (0, 1), or None
        Of `evidence_mask`.
    cell : int, tuple of int > 0, or None
        Size of a block.
    head : {"sigmoid", "softmax"}
    batch_size : int > 0
    seed : int >= 0
        Of ties.

    Returns
    -------
    probabilities : pd.DataFrame
        A row a sample: before, inside (evidence kept, rest filled), outside (evidence filled, rest kept). `measures`
        takes it.

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, or `neuron` is no output.
    """
    x, relevance, _ = _inputs(x, relevance, cell)
    model = _Model(scores, _neurons(neuron, len(x)), head, batch_size)
    mask, other = evidence_mask(relevance, keep=keep, cell=cell, seed=seed), filled(x, fill=fill, cell=cell)

    def mixed(rows):
        part, sample = np.divmod(rows, len(x))
        part, m = part.reshape(-1, *[1] * (x.ndim - 1)), mask[sample]
        weight = np.where(part == 0, 1, np.where(part == 1, m, 1 - m)).astype(np.float32)
        return weight * x[sample] + (1 - weight) * other[sample], sample

    _, probability = model.ask(mixed, 3 * len(x))
    return pd.DataFrame(probability.reshape(3, -1).T, columns=["before", "inside", "outside"])


def evidence_mask(relevance, *, keep=0.2, cell=None, seed=0):
    """Turn relevance into the mask that says how much of every cell is evidence.

    By default the most relevant blocks, the same share for every map, so that methods with sharp and with soft maps are
    asked the same question. The soft mask of Grad-CAM++ (Chattopadhay et al. 2018) is there too; of a map with one
    sharp peak it keeps next to nothing.

    Parameters
    ----------
    relevance : np.ndarray [shape=(n, n_bins, n_frames, 1) or (n, n_samples, 1)]
    keep : float in (0, 1), or None
        Share of blocks to keep, those without positive relevance never; None: positive relevance divided by its
        maximum.
    cell : int, tuple of int > 0, or None
        Size of a block.
    seed : int >= 0
        Of ties.

    Returns
    -------
    mask : np.ndarray [shape=relevance.shape, float32], in [0, 1]
        0 everywhere for a map without positive relevance.
    """
    relevance = _samples("relevance", relevance)
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


def filled(x, *, fill="mean", cell=None):
    """What stands in the place of inputs that are taken away.

    Parameters
    ----------
    x : np.ndarray [shape=(n, n_bins, n_frames, 1) or (n, n_samples, 1)]
    fill : {"floor", "mean", "blurred"}
        0; the sample's mean over time; the sample under a Gaussian with a deviation of two blocks.
    cell : int, tuple of int > 0, or None
        Size of a block.

    Returns
    -------
    filled : np.ndarray [shape=x.shape, float32]
    """
    x = _samples("x", x)
    _choice("fill", fill, FILLS)
    if fill == "floor":
        return np.zeros_like(x)
    if fill == "mean":
        return np.broadcast_to(x.mean(axis=-2, keepdims=True), x.shape).copy()
    from scipy.ndimage import gaussian_filter

    deviation = [2 * size for size in _cell(x.shape[1:-1], cell)]
    return gaussian_filter(x, (0, *deviation, 0), mode="nearest")


def average_drop(before, inside):
    """Mean share of the probability that is lost when only the evidence is left: mean of max(0, p - o) / p.

    Chattopadhay et al. (2018), Grad-CAM++; here of the explained tag instead of the highest class. Small is good.

    Parameters
    ----------
    before, inside : np.ndarray [shape=(n,)], in [0, 1]
        Probability of the tag for the input (p) and for its evidence alone (o).

    Returns
    -------
    value : float in [0, 1]
        A probability of 0 has nothing to lose.
    """
    p, o = _probabilities(before=before, inside=inside)
    return float(np.mean(np.maximum(0, p - o) / np.where(p > 0, p, 1)))


def average_increase(before, inside):
    """Share of samples whose probability is higher with the evidence alone (Chattopadhay et al. 2018). Large is good.

    Parameters
    ----------
    before, inside : np.ndarray [shape=(n,)], in [0, 1]

    Returns
    -------
    value : float in [0, 1]
    """
    p, o = _probabilities(before=before, inside=inside)
    return float(np.mean(o > p))


def average_gain(before, inside):
    """Mean share of the missing probability that the evidence alone adds: mean of max(0, o - p) / (1 - p).

    Zhang et al. (2024), Opti-CAM. Large is good.

    Parameters
    ----------
    before, inside : np.ndarray [shape=(n,)], in [0, 1]

    Returns
    -------
    value : float in [0, 1]
        A probability of 1 has nothing to gain.
    """
    p, o = _probabilities(before=before, inside=inside)
    return float(np.mean(np.maximum(0, o - p) / np.where(p < 1, 1 - p, 1)))


def fidelity(before, inside, outside, *, threshold=0.5):
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
    """
    p, o, rest = _probabilities(before=before, inside=inside, outside=outside)
    accepted = p > threshold
    share = [float(hit[accepted].mean()) if accepted.any() else float("nan")
             for hit in (o > threshold, ~(rest > threshold))]  # fmt: skip
    return {"accepted": int(accepted.sum()), "kept": share[0], "lost": share[1]}


def measures(probabilities, *, threshold=0.5):
    """All measures of masked inputs.

    Parameters
    ----------
    probabilities : pd.DataFrame
        Of `masked`.
    threshold : float or np.ndarray [shape=(n,)]

    Returns
    -------
    measures : dict
        average_drop, average_increase, average_gain, faithfulness (mean of before - outside: Paissan et al. 2024) and
        those of `fidelity`.
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
        _choice("head", self.head, ("sigmoid", "softmax"))
        _positive("batch_size", self.batch_size)

    def ask(self, make, n):
        """Logits and probabilities of n inputs; ``make(rows)`` gives inputs and the samples they belong to."""
        from scipy.special import expit, softmax

        logit, probability = np.empty(n), np.empty(n)
        for start in range(0, n, self.batch_size):
            rows = np.arange(start, min(n, start + self.batch_size))
            x, sample = make(rows)
            logits = np.asarray(self.scores(x), dtype=np.float64)
            if logits.ndim != 2 or len(logits) != len(x):
                raise ValueError(f"scores must return shape ({len(x)}, n_outputs). Got {logits.shape}.")
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
    places = [np.arange(n) // size for n, size in zip(shape, _cell(shape, cell))]
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
    x, relevance = _samples("x", x), _samples("relevance", relevance)
    if relevance.shape != x.shape:
        raise ValueError(f"relevance must have x's shape, {x.shape}. Got {relevance.shape}.")
    return x, relevance, _blocks(x.shape[1:-1], cell)


def _samples(name, values):
    values = np.asarray(values, dtype=np.float32)
    if values.ndim not in (3, 4) or not values.size:
        raise ValueError(f"{name} must have shape (n, n_bins, n_frames, 1) or (n, n_samples, 1), n > 0. "
                         f"Got {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite. Got NaN or Inf.")
    return values


def _neurons(neuron, n):
    array = np.asarray(neuron)
    if array.dtype.kind not in "iu" or array.shape not in ((), (n,)) or array.min() < 0:
        raise ValueError(f"neuron must be an int of at least 0 or one a sample, {n} in all. Got {neuron!r}.")
    return np.broadcast_to(array, (n,))


def _probabilities(**arrays):
    values = [np.asarray(a, dtype=np.float64) for a in arrays.values()]
    for name, a in zip(arrays, values):
        if a.ndim != 1 or not a.size or a.shape != values[0].shape or not np.all((a >= 0) & (a <= 1)):
            raise ValueError(f"{name} must hold probabilities in [0, 1], one a sample. Got shape {a.shape}, {a}.")
    return values


def _choice(name, value, known):
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}. Got {value!r}.")


def _positive(name, value):
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive int. Got {value!r}.")

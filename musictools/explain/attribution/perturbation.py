"""Model-agnostic attribution by perturbing the input.

Maps are (n, k, ...). Occlusion gives each cell the logit that its patch carries, RISE the mean logit of the masks that
keep the cell (less the mean of all masks), LIME the weight of its segment. Sources: Zeiler & Fergus 2014, Petsiuk et
al. 2018, Ribeiro et al. 2016; Mishra et al. 2017 (SoundLIME) for segments of time and frequency.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from musictools.explain.attribution.baselines import baseline_values
from musictools.explain.attribution.method import Method

__all__ = ["METHODS", "OPTIONS", "Perturber", "ridge_weights"]

OPTIONS = {
    "occlusion": {"patch": (16, 16), "stride": None, "baseline": 0.0},
    "rise": {"n_masks": 256, "grid": (8, 8), "keep": 0.5, "baseline": 0.0},
    "lime": {"grid": (8, 8), "n_samples": 256, "keep": 0.5, "baseline": 0.0, "ridge": 1.0},
}


class Perturber(Method):
    """A method that perturbs inputs, prepared for one model.

    Parameters
    ----------
    logits : callable
        Inputs (m, ...) -> logits (m, n_outputs).
    method : str
        One of `OPTIONS`.
    options : dict
        All of ``OPTIONS[method]``. The sides of patches and grids are bins and frames; for waveforms the last one
        counts. baseline: what replaces parts of the input, see `baselines.baseline_values`.
    seed : int
        Seed of the random masks.
    """

    def __init__(self, logits: Callable[[np.ndarray], np.ndarray], method: str, options: dict[str, Any], seed: int):
        self.logits, self.method, self.options, self.seed = logits, method, options, seed

    def maps(self, x, targets, offset):
        relevance = [METHODS[self.method](self, one, target) for one, target in zip(x, targets, strict=True)]
        return np.stack(relevance).astype(np.float32), None, None

    def scores(self, x: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Compute the logits of the targets.

        Parameters
        ----------
        x : np.ndarray [shape=(m, *input_shape)]
            Inputs.
        targets : np.ndarray [shape=(k, n_outputs)]
            Combinations of outputs.

        Returns
        -------
        scores : np.ndarray [shape=(m, k)]
        """
        return self.logits(x.astype(np.float32)) @ targets.T

    def sides(self, given: int | tuple[int, int], shape: tuple[int, ...]) -> tuple[int, ...]:
        """Fit the sides of a patch or grid to an input.

        Parameters
        ----------
        given : int or (int, int)
            Bins and frames, or one number for both.
        shape : tuple of int
            Shape of the input.

        Returns
        -------
        sides : tuple of int
            Two for spectrograms, one for waveforms; not larger than the input.
        """
        given = tuple(np.broadcast_to(given, 2))
        sides = given if len(shape) == 3 else given[-1:]
        return tuple(min(int(side), n) for side, n in zip(sides, shape[: len(sides)], strict=True))


def _occlusion(self, x, targets):
    """Decrease of the logits when a patch is replaced, shared by its cells; the mean of all patches over a cell."""
    sides = self.sides(self.options["patch"], x.shape)
    stride = self.options["stride"]
    steps = self.sides(stride, x.shape) if stride is not None else sides
    starts = np.meshgrid(
        *(np.arange(0, n, s) for n, s in zip(x.shape[: len(steps)], steps, strict=True)), indexing="ij"
    )
    corners = [axis.ravel() for axis in starts]
    boxes = [tuple(slice(a, a + s) for a, s in zip(start, sides, strict=True)) for start in zip(*corners, strict=True)]
    values, whole = baseline_values(x, self.options["baseline"]), self.scores(x[None], targets)[0]
    total, count = np.zeros((len(targets), *x.shape)), np.zeros(x.shape)
    for begin in range(0, len(boxes), 64):
        some = boxes[begin : begin + 64]
        changed = np.repeat(x[None], len(some), axis=0)
        for one, box in zip(changed, some, strict=True):
            one[box] = values[box]
        for fall, box in zip(whole - self.scores(changed, targets), some, strict=True):
            size = x[box].size
            total[(slice(None), *box)] += fall.reshape(-1, *[1] * x.ndim) / size
            count[box] += 1
    return total / count


def _rise(self, x, targets):
    """Mean logit of randomly masked inputs, weighted by the masks, less the mean logit."""
    rng = np.random.default_rng(self.seed)
    grid, keep = self.sides(self.options["grid"], x.shape), self.options["keep"]
    values, n_masks = baseline_values(x, self.options["baseline"]), self.options["n_masks"]
    weighted, total, scores = np.zeros((len(targets), *x.shape)), np.zeros(x.shape), []
    for begin in range(0, n_masks, 64):
        masks = np.stack([_soft_mask(rng, grid, keep, x.shape) for _ in range(min(64, n_masks - begin))])
        scores.append(self.scores(masks * x + (1 - masks) * values, targets))
        weighted += np.tensordot(scores[-1].T, masks, axes=1)
        total += masks.sum(axis=0)
    mean = np.concatenate(scores).mean(axis=0).reshape(-1, *[1] * x.ndim)
    return weighted / np.maximum(total, 1e-9) - mean


def _soft_mask(rng, grid, keep, shape):
    """A random grid, enlarged and shifted by part of a cell."""
    from scipy.ndimage import zoom

    cells = [-(-n // g) for n, g in zip(shape[: len(grid)], grid, strict=True)]
    coarse = (rng.random([g + 1 for g in grid]) < keep).astype(np.float32)
    fine = zoom(coarse, cells, order=1)
    start = [rng.integers(0, c) if c > 1 else 0 for c in cells]
    return np.clip(fine[tuple(slice(s, s + n) for s, n in zip(start, shape[: len(grid)], strict=True))], 0, 1)[
        ..., None
    ]


def _lime(self, x, targets):
    """Weights of grid segments in a ridge regression of the logits on which of them are present."""
    rng = np.random.default_rng(self.seed)
    grid, options = self.sides(self.options["grid"], x.shape), self.options
    segment = np.zeros(x.shape[:-1], dtype=int)
    for axis, (n, g) in enumerate(zip(x.shape[: len(grid)], grid, strict=True)):
        place = np.arange(n) * g // n
        segment = segment * g + place.reshape([-1 if a == axis else 1 for a in range(segment.ndim)])
    there = rng.random((options["n_samples"], int(np.prod(grid)))) < options["keep"]
    there[0] = True
    values, scores = baseline_values(x, options["baseline"]), []
    for begin in range(0, len(there), 64):
        masks = there[begin : begin + 64][:, segment][..., None]
        scores.append(self.scores(np.where(masks, x, values), targets))
    weights = ridge_weights(there, np.concatenate(scores), ridge=options["ridge"])
    size = np.bincount(segment.ravel(), minlength=weights.shape[1])
    return (weights / size)[:, segment][..., None]


def ridge_weights(there: np.ndarray, scores: np.ndarray, *, ridge: float = 1.0) -> np.ndarray:
    """Compute the weights of segments in a ridge regression, as LIME does.

    Perturbed inputs count more the fewer segments they lack.

    Parameters
    ----------
    there : np.ndarray [shape=(n_samples, n_segments), bool]
        Which segments are present.
    scores : np.ndarray [shape=(n_samples, k)]
        Scores of the perturbed inputs.
    ridge : float >= 0
        Strength of the regularisation.

    Returns
    -------
    weights : np.ndarray [shape=(k, n_segments)]

    Examples
    --------
    >>> there = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], dtype=bool)
    >>> ridge_weights(there, there @ [[2.0], [1.0]], ridge=0.0).round(3)
    array([[2., 1.]])
    """
    from sklearn.linear_model import Ridge

    distance = 1.0 - np.sqrt(there.mean(axis=1))  # cosine distance to the whole input
    nearness = np.exp(-(distance**2) / 0.25**2)
    return np.atleast_2d(Ridge(alpha=ridge).fit(there.astype(float), scores, sample_weight=nearness).coef_)


METHODS = {"occlusion": _occlusion, "rise": _rise, "lime": _lime}

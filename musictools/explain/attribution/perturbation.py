"""Methods that listen to what a network says of changed inputs; any network will do.

Maps are (n, k, ...): occlusion's cells hold the logit that their patch carries, RISE's the mean logit of the masks that
keep them (less the mean of all), LIME's the weight of their segment. Sources: Zeiler & Fergus 2014, Petsiuk et al.
2018, Ribeiro et al. 2016; Mishra et al. 2017 (SoundLIME) for segments of time and frequency.
"""

import numpy as np

__all__ = ["METHODS", "OPTIONS", "Perturber", "fill_values", "ridge_weights"]

OPTIONS = {
    "occlusion": {"patch": (16, 16), "stride": None, "fill": 0.0},
    "rise": {"n_masks": 256, "grid": (8, 8), "keep": 0.5, "fill": 0.0},
    "lime": {"grid": (8, 8), "n_samples": 256, "keep": 0.5, "fill": 0.0, "ridge": 1.0},
}


class Perturber:
    """A method that changes inputs, prepared for one model; `maps` as of `engine.Propagation`.

    Parameters
    ----------
    logits : callable
        Inputs (m, ...) -> logits (m, n_outputs).
    method : str
        One of `OPTIONS`.
    options : dict
        All of ``OPTIONS[method]``. Sides of patches and grids: bins and frames; of waveforms the last one counts.
        fill: a number, or "mean" for each bin's own mean.
    seed : int
    """

    def __init__(self, logits, method, options, seed):
        self.logits, self.method, self.options, self.seed = logits, method, options, seed

    def maps(self, x, targets, offset):
        """Maps (n, k, ...) of a batch; no conservation report and no logits."""
        found = [METHODS[self.method](self, one, t) for one, t in zip(x, targets)]
        return np.stack(found).astype(np.float32), None, None

    def scores(self, x, targets):
        """Logits of the targets, np.ndarray [shape=(m, k)]."""
        return self.logits(x.astype(np.float32)) @ targets.T

    def sides(self, given, shape):
        """A setting's sides, or one for both, for an input's own: the last one for waveforms."""
        given = tuple(np.broadcast_to(given, 2))
        sides = given if len(shape) == 3 else given[-1:]
        return tuple(min(int(s), n) for s, n in zip(sides, shape))


def fill_values(x, fill):
    """What stands where something was taken away.

    Parameters
    ----------
    x : np.ndarray [shape=(n_bins, n_frames, 1) or (n_samples, 1)]
    fill : float or "mean"
        A value, or each bin's mean over time.

    Returns
    -------
    values : np.ndarray [shape of x]
    """
    if isinstance(fill, str):
        if fill != "mean":
            raise ValueError(f"fill must be a number or 'mean'. Got {fill!r}.")
        return np.broadcast_to(x.mean(axis=-2, keepdims=True), x.shape)
    return np.full(x.shape, fill, dtype=np.float32)


def _occlusion(self, x, targets):
    """Fall of the logits when a patch is filled, shared by the patch's cells, mean of the patches over a cell."""
    sides = self.sides(self.options["patch"], x.shape)
    stride = self.options["stride"]
    steps = self.sides(stride, x.shape) if stride is not None else sides
    starts = np.meshgrid(*(np.arange(0, n, s) for n, s in zip(x.shape, steps)), indexing="ij")
    boxes = [tuple(slice(a, a + s) for a, s in zip(start, sides)) for start in zip(*(g.ravel() for g in starts))]
    values, whole = fill_values(x, self.options["fill"]), self.scores(x[None], targets)[0]
    total, count = np.zeros((len(targets), *x.shape)), np.zeros(x.shape)
    for begin in range(0, len(boxes), 64):
        some = boxes[begin : begin + 64]
        changed = np.repeat(x[None], len(some), axis=0)
        for one, box in zip(changed, some):
            one[box] = values[box]
        for fall, box in zip(whole - self.scores(changed, targets), some):
            size = x[box].size
            total[(slice(None), *box)] += fall.reshape(-1, *[1] * x.ndim) / size
            count[box] += 1
    return total / count


def _rise(self, x, targets):
    """Mean logit of randomly masked inputs by the masks, less the mean logit."""
    rng = np.random.default_rng(self.seed)
    grid, keep = self.sides(self.options["grid"], x.shape), self.options["keep"]
    values, n_masks = fill_values(x, self.options["fill"]), self.options["n_masks"]
    weighted, total, scores = np.zeros((len(targets), *x.shape)), np.zeros(x.shape), []
    for begin in range(0, n_masks, 64):
        masks = np.stack([_soft_mask(rng, grid, keep, x.shape) for _ in range(min(64, n_masks - begin))])
        scores.append(self.scores(masks * x + (1 - masks) * values, targets))
        weighted += np.tensordot(scores[-1].T, masks, axes=1)
        total += masks.sum(axis=0)
    mean = np.concatenate(scores).mean(axis=0).reshape(-1, *[1] * x.ndim)
    return weighted / np.maximum(total, 1e-9) - mean


def _soft_mask(rng, grid, keep, shape):
    """A random grid, stretched and shifted by a part of a cell."""
    from scipy.ndimage import zoom

    cells = [-(-n // g) for n, g in zip(shape, grid)]
    coarse = (rng.random([g + 1 for g in grid]) < keep).astype(np.float32)
    fine = zoom(coarse, [(g + 1) * c / (g + 1) for g, c in zip(grid, cells)], order=1)
    start = [rng.integers(0, c) if c > 1 else 0 for c in cells]
    return np.clip(fine[tuple(slice(s, s + n) for s, n in zip(start, shape))], 0, 1)[..., None]


def _lime(self, x, targets):
    """Weights of grid segments in a ridge regression of the logits on which of them are there."""
    rng = np.random.default_rng(self.seed)
    grid, options = self.sides(self.options["grid"], x.shape), self.options
    segment = np.zeros(x.shape[:-1], dtype=int)
    for axis, (n, g) in enumerate(zip(x.shape, grid)):
        place = np.arange(n) * g // n
        segment = segment * g + place.reshape([-1 if a == axis else 1 for a in range(segment.ndim)])
    there = rng.random((options["n_samples"], int(np.prod(grid)))) < options["keep"]
    there[0] = True
    values, scores = fill_values(x, options["fill"]), []
    for begin in range(0, len(there), 64):
        masks = there[begin : begin + 64][:, segment][..., None]
        scores.append(self.scores(np.where(masks, x, values), targets))
    weights = ridge_weights(there, np.concatenate(scores), ridge=options["ridge"])
    size = np.bincount(segment.ravel(), minlength=weights.shape[1])
    return (weights / size)[:, segment][..., None]


def ridge_weights(there, scores, *, ridge=1.0):
    """Weights of parts in a ridge regression, near samples counting more (LIME).

    Parameters
    ----------
    there : np.ndarray [shape=(n_samples, n_parts), bool]
        Which parts are left in.
    scores : np.ndarray [shape=(n_samples, k)]
    ridge : float >= 0

    Returns
    -------
    weights : np.ndarray [shape=(k, n_parts)]
    """
    from sklearn.linear_model import Ridge

    distance = 1.0 - np.sqrt(there.mean(axis=1))  # cosine distance to the whole input
    nearness = np.exp(-(distance**2) / 0.25**2)
    return np.atleast_2d(Ridge(alpha=ridge).fit(there.astype(float), scores, sample_weight=nearness).coef_)


METHODS = {"occlusion": _occlusion, "rise": _rise, "lime": _lime}

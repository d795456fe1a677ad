"""Maps that know nothing of the network: what a method has to beat."""

import zlib

import numpy as np

__all__ = ["METHODS", "OPTIONS", "Baseline", "edge", "energy"]

OPTIONS = {"energy": {}, "edge": {}, "random": {}}


class Baseline:
    """A baseline; `maps` as of `engine.Propagation`.

    Parameters
    ----------
    method : str
        One of `OPTIONS`.
    seed : int
    """

    def __init__(self, method, seed):
        self.method, self.seed = method, seed

    def maps(self, x, targets, offset):
        """Maps (n, k, ...) of a batch, the same for all targets; no conservation report and no logits."""
        found = self.noise(x) if self.method == "random" else METHODS[self.method](x)
        return np.repeat(found[:, None], targets.shape[1], axis=1).astype(np.float32), None, None

    def noise(self, x):
        """Noise that depends on the seed and on each sample alone, np.ndarray [shape of x]."""
        seeds = ((self.seed, zlib.crc32(np.ascontiguousarray(one))) for one in x)
        return np.stack([np.random.default_rng(seed).random(x.shape[1:], dtype=np.float32) for seed in seeds])


def energy(x):
    """How loud: the input itself above its minimum of 0 dB scale, of waveforms the absolute value.

    Parameters
    ----------
    x : np.ndarray [shape=(n, n_bins, n_frames, 1) or (n, n_samples, 1)]

    Returns
    -------
    maps : np.ndarray [shape of x]
    """
    return np.abs(x) if x.ndim == 3 else x - x.min(axis=(1, 2, 3), keepdims=True)


def edge(x):
    """How much it changes: length of the slope over time and frequency (Sobel).

    Parameters
    ----------
    x : np.ndarray
        As of `energy`.

    Returns
    -------
    maps : np.ndarray [shape of x]
    """
    from scipy.ndimage import sobel

    planes = np.moveaxis(x, -1, 1)  # one by one: Sobel's filter smoothes along all other axes
    edges = [
        np.sqrt(sum(np.square(sobel(plane, axis=axis)) for axis in range(plane.ndim)))
        for plane in planes.reshape(-1, *planes.shape[2:])
    ]
    return np.moveaxis(np.reshape(edges, planes.shape), 1, -1)


METHODS = {"energy": energy, "edge": edge}

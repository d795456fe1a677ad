"""Maps that do not depend on the network: what a method of attribution has to beat."""

from __future__ import annotations

import zlib

import numpy as np

from musictools.explain.attribution.method import Method

__all__ = ["METHODS", "OPTIONS", "Control", "edge", "energy"]

OPTIONS = {"energy": {}, "edge": {}, "random": {}}


class Control(Method):
    """A map that does not depend on the network, the same for all targets.

    Parameters
    ----------
    method : str
        One of `OPTIONS`.
    seed : int
        Seed of the method "random".
    """

    def __init__(self, method: str, seed: int):
        self.method, self.seed = method, seed

    def maps(self, x, targets, offset):
        relevance = self.noise(x) if self.method == "random" else METHODS[self.method](x)
        return np.repeat(relevance[:, None], targets.shape[1], axis=1).astype(np.float32), None, None

    def noise(self, x: np.ndarray) -> np.ndarray:
        """Draw noise that depends on the seed and on each input alone.

        Parameters
        ----------
        x : np.ndarray [shape=(n, ...)]
            Inputs.

        Returns
        -------
        noise : np.ndarray [shape=x.shape, float32]
            In [0, 1).
        """
        seeds = ((self.seed, zlib.crc32(np.ascontiguousarray(one))) for one in x)
        return np.stack([np.random.default_rng(seed).random(x.shape[1:], dtype=np.float32) for seed in seeds])


def energy(x: np.ndarray) -> np.ndarray:
    """Compute the level of an input: spectrograms above their minimum, waveforms as absolute values.

    Parameters
    ----------
    x : np.ndarray [shape=(n, n_bins, n_frames, 1) or (n, n_samples, 1)]
        Inputs.

    Returns
    -------
    maps : np.ndarray [shape=x.shape]

    Examples
    --------
    >>> energy(np.array([0.5, -1.0]).reshape(1, 2, 1)).ravel()
    array([0.5, 1. ])
    """
    return np.abs(x) if x.ndim == 3 else x - x.min(axis=(1, 2, 3), keepdims=True)


def edge(x: np.ndarray) -> np.ndarray:
    """Compute the norm of the gradient over time and frequency (Sobel).

    Parameters
    ----------
    x : np.ndarray [shape=(n, n_bins, n_frames, 1) or (n, n_samples, 1)]
        Inputs.

    Returns
    -------
    maps : np.ndarray [shape=x.shape]

    Examples
    --------
    >>> float(edge(np.zeros((1, 4, 6, 1))).max())
    0.0
    """
    from scipy.ndimage import sobel

    planes = np.moveaxis(x, -1, 1)  # one by one, because Sobel's filter smoothes along all other axes
    edges = [
        np.sqrt(sum(np.square(sobel(plane, axis=axis)) for axis in range(plane.ndim)))
        for plane in planes.reshape(-1, *planes.shape[2:])
    ]
    return np.moveaxis(np.reshape(edges, planes.shape), 1, -1)


METHODS = {"energy": energy, "edge": edge}

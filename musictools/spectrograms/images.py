"""Spectrograms as images: resizing, and the bands of silence that `sharma2022` augments its images with.

Conventions
-----------
Images are matrices (rows, columns), low frequency first, or model inputs (n, rows, columns, 1) in [0, 1], where 0 is
silence. A horizontal band silences some frequencies throughout (a frequency mask), a vertical band all frequencies for
some time (a time mask).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["BANDS", "BandedImages", "add_bands", "resize", "resizing_weights"]

BANDS = ("none", "horizontal", "vertical", "both")  # the four versions of an image, in this order


def resizing_weights(n_in: int, n_out: int) -> np.ndarray:
    """Weights of linear interpolation from one number of cells to another, over at least one cell of either grid.

    Cells that are made smaller are averaged with a triangle as wide as two output cells, so that nothing is skipped.

    Parameters
    ----------
    n_in, n_out : int > 0

    Returns
    -------
    weights : np.ndarray [shape=(n_out, n_in)]
        Rows sum to 1. Read-only.

    Examples
    --------
    >>> resizing_weights(2, 3).round(2)
    array([[1. , 0. ],
           [0.5, 0.5],
           [0. , 1. ]])
    """
    return _weights(int(n_in), int(n_out))


@lru_cache(maxsize=32)
def _weights(n_in, n_out):
    cell = n_in / n_out
    centres = (np.arange(n_out) + 0.5) * cell - 0.5
    triangle = np.maximum(0, 1 - np.abs(np.arange(n_in) - centres[:, None]) / max(1.0, cell))
    weights = triangle / triangle.sum(axis=1, keepdims=True)
    weights.flags.writeable = False
    return weights


def resize(S: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a spectrogram by linear interpolation; cells that are made smaller are averaged.

    Parameters
    ----------
    S : np.ndarray [shape=(n_bins, n_frames)]
    shape : tuple of int
        Rows and columns of the image.

    Returns
    -------
    image : np.ndarray [shape=shape, float32]

    Raises
    ------
    ValueError
        If `S` is no matrix.

    Examples
    --------
    >>> resize(np.ones((128, 2584)), (224, 224)).shape
    (224, 224)
    """
    S = np.asarray(S, np.float64)  # in which a constant stays the same constant
    if S.ndim != 2 or S.size == 0:
        raise ValueError(f"S must have shape (n_bins, n_frames). Got {S.shape}.")
    image = resizing_weights(S.shape[0], shape[0]) @ S @ resizing_weights(S.shape[1], shape[1]).T
    return image.astype(np.float32)


def add_bands(x: np.ndarray, *, seed: int | Sequence[int] = 0, largest: float = 0.1) -> np.ndarray:
    """Make four versions of every image: as it is, with a horizontal band of silence, a vertical one, and both.

    Position and thickness of the bands are drawn uniformly (`sharma2022`, 4.1.1).

    Parameters
    ----------
    x : np.ndarray [shape=(n, rows, columns, 1)], in [0, 1]
    seed : int or sequence of int, >= 0
    largest : float in (0, 1]
        Thickness of a band at most, as a share of the rows or columns. A band has at least one row or column.

    Returns
    -------
    x : np.ndarray [shape=(4 * n, rows, columns, 1), float32]
        The four versions of an image follow each other in the order of `BANDS`.

    Raises
    ------
    ValueError
        If `x` holds no images, or `largest` is out of range.

    Examples
    --------
    >>> four = add_bands(np.ones((1, 20, 30, 1)), seed=1)
    >>> four.shape, [bool(version.min() == 0) for version in four]
    ((4, 20, 30, 1), [False, True, True, True])
    """
    x = np.asarray(x, np.float32)
    if x.ndim != 4:
        raise ValueError(f"x must have shape (n, rows, columns, 1). Got {x.shape}.")
    if not 0 < largest <= 1:
        raise ValueError(f"largest must lie in (0, 1]. Got {largest!r}.")
    rng = np.random.default_rng(seed)
    versions = np.repeat(x[:, None], len(BANDS), axis=1)
    for four in versions:
        for version, band in zip(four, BANDS, strict=True):
            if band in ("horizontal", "both"):
                version[_band(rng, version.shape[0], largest)] = 0
            if band in ("vertical", "both"):
                version[:, _band(rng, version.shape[1], largest)] = 0
    return versions.reshape(-1, *x.shape[1:])


def _band(rng, n, largest):
    thickness = rng.integers(1, max(1, int(largest * n)), endpoint=True)
    start = rng.integers(0, n - thickness, endpoint=True)
    return slice(start, start + thickness)


class BandedImages:
    """Images with their three banded versions, as training data for `musictools.training.fit`.

    With a batch size of 4 k, a batch holds the four versions of k songs, in random order, as `sharma2022` trains
    (4.1.2: four songs, 16 images). Bands are drawn anew in every epoch. Targets are those of the images, each four
    times: ``np.repeat(y, 4, axis=0)``.

    Parameters
    ----------
    images : np.ndarray or Segments [shape=(n, rows, columns, 1)]
        One image per song.
    songs : int > 0
        Songs whose versions are mixed with each other: those of a batch.
    largest : float in (0, 1]
        As in `add_bands`.

    Attributes
    ----------
    shape : tuple of int
        (4 * n, rows, columns, 1).

    Raises
    ------
    ValueError
        If `songs` or `largest` is out of range.

    Examples
    --------
    >>> x = BandedImages(np.ones((8, 20, 30, 1)))
    >>> order = x.order(np.random.default_rng(0))
    >>> len(x), sorted(order[:16] // 4) == sorted(4 * list(set(order[:16] // 4)))
    (32, True)
    """

    def __init__(self, images: Any, *, songs: int = 4, largest: float = 0.1):
        if isinstance(songs, bool) or not isinstance(songs, int) or songs < 1:
            raise ValueError(f"songs must be a positive int. Got {songs!r}.")
        if not 0 < largest <= 1:
            raise ValueError(f"largest must lie in (0, 1]. Got {largest!r}.")
        self.images, self.songs, self.largest, self._drawn = images, songs, largest, 0
        self.shape = (len(BANDS) * len(images), *images.shape[1:])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        """Versions by an array of int, np.ndarray [shape=(n, rows, columns, 1), float32]."""
        songs, versions = np.divmod(np.asarray(index), len(BANDS))
        seeds = [[self._drawn, int(song)] for song in songs]
        images = np.asarray(self.images[songs])
        return np.stack(
            [
                add_bands(image[None], seed=seed, largest=self.largest)[version]
                for image, seed, version in zip(images, seeds, versions, strict=True)
            ]
        )

    def order(self, rng: np.random.Generator, *, per_clip: int = 0) -> np.ndarray:
        """Order of an epoch, and the draw of its bands.

        Parameters
        ----------
        rng : np.random.Generator
        per_clip : {0}
            Without meaning here: there is one image per song.

        Returns
        -------
        order : np.ndarray [shape=(4 * n,), int]
            All versions of `songs` songs, shuffled, then those of the next songs.

        Raises
        ------
        ValueError
            If `per_clip` is not 0.
        """
        if per_clip:
            raise ValueError(f"per_clip must be 0 for images of whole songs. Got {per_clip!r}.")
        self._drawn = int(rng.integers(2**32))
        songs = rng.permutation(len(self.images))
        order = (songs[:, None] * len(BANDS) + np.arange(len(BANDS))).ravel()
        batch = np.arange(len(order)) // (self.songs * len(BANDS))
        return order[np.lexsort((rng.random(len(order)), batch))]

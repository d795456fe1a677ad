"""Patches of spectrograms: SLIC segments at several scales, in place on a baseline or enlarged as in ACE.

Inputs are (n, n_bins, n_frames, 1), as a network takes them. A *patch* is one segment of one input. Segments are kept
as label maps (n, n_scales, n_bins, n_frames), one map per input and scale, so that thousands of patches need little
memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Patches", "bounding_box", "segment"]

PLACEMENTS = ("in_place", "resized")


def segment(
    x: np.ndarray, *, n_segments: Sequence[int] = (10, 15, 25), compactness: float = 0.1, sigma: float = 1.0
) -> np.ndarray:
    """Divide spectrograms into superpixels by SLIC (Achanta et al. 2010), once for each number of segments.

    Parameters
    ----------
    x : np.ndarray [shape=(n, n_bins, n_frames) or (n, n_bins, n_frames, 1)]
        Finite. Every spectrogram is scaled to [0, 1] before.
    n_segments : sequence of int > 1
        Approximate number of segments; SLIC may make a few less or more. `sharma2022` takes 10, 15 and 25.
    compactness : float > 0
        The larger, the squarer the segments. Suits levels in [0, 1]; scikit-image's default is for colours.
    sigma : float >= 0
        Width of the Gaussian that smoothes the spectrogram before, in cells.

    Returns
    -------
    labels : np.ndarray [shape=(n, n_scales, n_bins, n_frames), uint16]
        From 0 in every map.

    Raises
    ------
    ValueError
        If `x` has another shape, holds NaN, or a number of segments is below 2.

    Examples
    --------
    >>> x = np.zeros((1, 16, 16))
    >>> x[:, :8] = 1.0
    >>> segment(x, n_segments=[4]).shape
    (1, 1, 16, 16)
    """
    from skimage.segmentation import slic

    x = _images(x)
    if not len(n_segments) or any(isinstance(k, bool) or int(k) != k or k < 2 for k in n_segments):
        raise ValueError(f"n_segments must hold ints of at least 2. Got {list(n_segments)}.")
    labels = np.empty((len(x), len(n_segments), *x.shape[1:]), np.uint16)
    for image, maps in zip(x, labels, strict=True):
        low, high = image.min(), image.max()
        image = (image - low) / (high - low) if high > low else np.zeros_like(image)
        for k, n in enumerate(n_segments):
            maps[k] = slic(image, int(n), compactness=compactness, sigma=sigma, channel_axis=None, start_label=0)
    return labels


def _images(x):
    x = np.asarray(x, dtype=np.float32)
    x = x[..., 0] if x.ndim == 4 and x.shape[-1] == 1 else x
    if x.ndim != 3 or not x.size:
        raise ValueError(f"x must have shape (n, n_bins, n_frames, 1). Got {x.shape}.")
    if not np.isfinite(x).all():
        raise ValueError("x must be finite. It holds NaN or Inf.")
    return x


@dataclass(frozen=True, repr=False)
class Patches:
    """Segments of several inputs, without near-duplicates.

    Attributes
    ----------
    labels : np.ndarray [shape=(n_inputs, n_scales, n_bins, n_frames), uint16]
        Label maps, from `segment`.
    input : np.ndarray [shape=(n,), int]
        Input that each patch is cut from.
    scale : np.ndarray [shape=(n,), int]
        Its label map.
    label : np.ndarray [shape=(n,), int]
        Its label in that map.
    duplicates : int
        Number of segments left out as near-duplicates.

    Examples
    --------
    >>> x = np.random.default_rng(0).random((2, 32, 32, 1))
    >>> patches = Patches.cut(x, n_segments=[4, 9])
    >>> patches
    Patches(23 of 2 inputs, 1 duplicates left out)
    >>> patches.mask(0).shape
    (32, 32)
    """

    labels: np.ndarray
    input: np.ndarray
    scale: np.ndarray
    label: np.ndarray
    duplicates: int = 0

    def __repr__(self):
        return f"Patches({len(self)} of {len(self.labels)} inputs, {self.duplicates} duplicates left out)"

    def __len__(self):
        return len(self.input)

    @classmethod
    def cut(
        cls,
        x: np.ndarray,
        *,
        n_segments: Sequence[int] = (10, 15, 25),
        compactness: float = 0.1,
        sigma: float = 1.0,
        overlap: float = 0.5,
    ) -> Patches:
        """Cut inputs into patches.

        Parameters
        ----------
        x : np.ndarray [shape=(n, n_bins, n_frames, 1)]
        n_segments, compactness, sigma
            As in `segment`.
        overlap : float in (0, 1]
            A segment is a near-duplicate, and left out, if its intersection with a segment of an earlier scale of the
            same input is more than this share of their union (ACE: 0.5).

        Returns
        -------
        patches : Patches
            All other segments, by input and scale.

        Raises
        ------
        ValueError
            As in `segment`, or if `overlap` is out of range.
        """
        if not 0 < overlap <= 1:
            raise ValueError(f"overlap must lie in (0, 1]. Got {overlap!r}.")
        labels = segment(x, n_segments=n_segments, compactness=compactness, sigma=sigma)
        kept = [(i, k, own) for i, maps in enumerate(labels) for k, own in _distinct(maps, overlap)]
        total = sum(int(one.max()) + 1 for maps in labels for one in maps)
        columns = np.array(kept, dtype=int).T
        return cls(labels, *columns, duplicates=total - len(kept))

    def mask(self, index: int) -> np.ndarray:
        """Return the cells of a patch.

        Parameters
        ----------
        index : int

        Returns
        -------
        mask : np.ndarray [shape=(n_bins, n_frames), bool]
        """
        return self.labels[self.input[index], self.scale[index]] == self.label[index]

    def inputs(
        self,
        x: np.ndarray,
        *,
        baseline: float | str | np.ndarray = "mean",
        placement: str = "in_place",
        batch_size: int = 128,
    ) -> Iterator[np.ndarray]:
        """Make network inputs that hold nothing but one patch.

        Parameters
        ----------
        x : np.ndarray [shape=(n_inputs, n_bins, n_frames, 1)]
            What the patches were cut from.
        baseline : float, "mean" or np.ndarray
            Value outside of the patch. "mean": the mean of every bin over all inputs, as ACE takes a mean colour; on a
            baseline of silence (0), a patch of silence could not be seen. An array broadcasts to an input
            (n_bins, n_frames).
        placement : {"in_place", "resized"}
            A patch stays where it is, at its own scale; or its bounding box is enlarged to the whole input as in ACE,
            which changes its pitch, its tempo and its texture.
        batch_size : int > 0

        Yields
        ------
        batch : np.ndarray [shape=(m, n_bins, n_frames, 1), float32]
            In the order of the patches.

        Raises
        ------
        ValueError
            If `placement` is unknown or the baseline is not finite.
        """
        if placement not in PLACEMENTS:
            raise ValueError(f"placement must be one of {', '.join(PLACEMENTS)}. Got {placement!r}.")
        x = _images(x)
        if isinstance(baseline, str):
            if baseline != "mean":
                raise ValueError(f"baseline must be a number, 'mean' or an array. Got {baseline!r}.")
            baseline = x.mean(axis=(0, 2))[:, None]
        baseline = np.broadcast_to(np.asarray(baseline, np.float32), x.shape[1:])
        if not np.isfinite(baseline).all():
            raise ValueError("baseline must be finite. It holds NaN or Inf.")
        for start in range(0, len(self), batch_size):
            rows = range(start, min(start + batch_size, len(self)))
            masks = np.stack([self.mask(i) for i in rows])
            batch = np.where(masks, x[self.input[rows]], baseline)
            if placement == "resized":
                batch = np.stack([_enlarged(one, mask) for one, mask in zip(batch, masks, strict=True)])
            yield batch[..., None].astype(np.float32)


def bounding_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Find the smallest rectangle around a patch.

    Parameters
    ----------
    mask : np.ndarray [shape=(n_bins, n_frames), bool]
        Not empty.

    Returns
    -------
    box : tuple of int
        First bin, first frame, number of bins, number of frames.

    Examples
    --------
    >>> mask = np.zeros((4, 6), bool)
    >>> mask[1:3, 2:5] = True
    >>> bounding_box(mask)
    (1, 2, 2, 3)
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def _enlarged(image, mask):
    from skimage.transform import resize

    row, column, n_rows, n_columns = bounding_box(mask)
    return resize(image[row : row + n_rows, column : column + n_columns], image.shape, order=1, anti_aliasing=False)


def _distinct(maps, overlap):
    """(scale, label) of the segments that are no near-duplicates of earlier ones of other scales."""
    n = [int(one.max()) + 1 for one in maps]
    areas = [np.bincount(one.ravel(), minlength=size) for one, size in zip(maps, n, strict=True)]
    kept = [(0, label) for label in np.flatnonzero(areas[0])]
    for k in range(1, len(maps)):
        repeated = np.zeros(n[k], bool)
        for j in range(k):
            shared = np.bincount(maps[j].ravel().astype(int) * n[k] + maps[k].ravel(), minlength=n[j] * n[k])
            shared = shared.reshape(n[j], n[k])
            union = areas[j][:, None] + areas[k] - shared
            alive = np.isin(np.arange(n[j]), [label for scale, label in kept if scale == j])
            repeated |= (shared > overlap * union)[alive].any(axis=0)
        kept += [(k, label) for label in np.flatnonzero((areas[k] > 0) & ~repeated)]
    return kept

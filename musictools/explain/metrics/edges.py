"""Edge artefacts: how much of a map lies in the outermost rows and columns.

Convolutions pad with zeros. A neuron at the border sees fewer cells, so rules that divide relevance among the inputs
give each of them more. A codec's low-pass adds an edge of its own, which a network may have learnt. Compare a map's
share with that of a uniform map, which is 1, and with that of the input's energy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from musictools.explain.metrics import arguments

__all__ = ["edge_share"]

_SIDES = {"low": (-2, 0), "high": (-2, 1), "start": (-1, 0), "end": (-1, 1)}  # side -> axis, which end of it


def edge_share(
    relevance: np.ndarray, *, width: int = 2, sides: Sequence[str] = ("low", "high", "start", "end")
) -> float | np.ndarray:
    """Share of the absolute relevance at the edges, relative to their share of the area.

    Parameters
    ----------
    relevance : np.ndarray [shape=(..., n_bins, n_frames)]
        Low frequencies first.
    width : int > 0
        Number of outermost rows and columns that count as edge.
    sides : sequence of {"low", "high", "start", "end"}
        Edges that count: lowest and highest frequencies, first and last frames.

    Returns
    -------
    ratio : float or np.ndarray [shape=(...)]
        1 for a uniform map, 0 for a map without relevance at the edges; NaN for a map of zeros.

    Raises
    ------
    ValueError
        If `width` leaves no inner cells, a side is unknown, or relevance is no map or holds NaN or Inf.

    Examples
    --------
    >>> round(edge_share(np.ones((8, 10)), width=1), 3)
    1.0
    >>> R = np.zeros((8, 10))
    >>> R[0], R[4] = 1, 3
    >>> round(edge_share(R, width=1, sides=["low"]), 3)
    2.0
    """
    relevance = np.asarray(relevance)
    if relevance.ndim < 2 or not relevance.size:
        raise ValueError(f"relevance must have shape (..., n_bins, n_frames), none of them 0. Got {relevance.shape}.")
    arguments.finite("relevance", relevance, axes=(-2, -1))
    arguments.positive("width", width)
    outside = np.zeros(relevance.shape[-2:], dtype=bool)
    for side in sides:
        arguments.choice("side", side, tuple(_SIDES))
        axis, end = _SIDES[side]
        np.moveaxis(outside, axis, 0)[slice(-width, None) if end else slice(width)] = True
    if outside.all() or not outside.any():
        raise ValueError(
            f"width and sides must leave cells inside and outside of maps of shape {outside.shape}. Got width {width} "
            f"and sides {list(sides)}."
        )
    size = np.abs(relevance).astype(np.float64)
    total = size.sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = size[..., outside].sum(axis=-1) / total / outside.mean()
    return ratio if ratio.shape else float(ratio)

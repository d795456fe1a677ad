"""Where a descriptor is in a song, in words computed from its heatmap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from musictools.explain.application.system import SongExplanation
    from musictools.spectrograms import FrontEnd

__all__ = ["strongest", "where", "where_of"]

_SECONDS = 2.0  # of the part that is named
_OUTSIDE = 0.15  # share of its relevance below and above the named band


def where(explanation: SongExplanation, tag: str) -> str:
    """Say where a descriptor is strongest.

    Parameters
    ----------
    explanation : SongExplanation
    tag : str
        With a heatmap.

    Returns
    -------
    sentence : str
        Empty if the heatmap is nowhere positive.
    """
    return where_of(explanation.heatmaps[tag], front_end=explanation.front_end)


def where_of(heatmap: np.ndarray, *, front_end: FrontEnd) -> str:
    """Say where a heatmap is strongest.

    Parameters
    ----------
    heatmap : np.ndarray [shape=(n_bins, n_frames)]
    front_end : FrontEnd

    Returns
    -------
    sentence : str
        Empty if it is nowhere positive.
    """
    place = strongest(heatmap, front_end=front_end)
    if place is None:
        return ""
    start, end, share, low, high = place
    words = f"It is strongest at {_clock(start)}–{_clock(end)}, where {share:.0%} of the relevance lies"
    if low is None:
        return f"{words}."
    if low < 150:
        return f"{words}, mostly below {_hertz(high)} Hz."
    if high > 0.4 * front_end.sr:
        return f"{words}, mostly above {_hertz(low)} Hz."
    return f"{words}, mostly between {_hertz(low)} and {_hertz(high)} Hz."


def strongest(
    heatmap: np.ndarray, *, front_end: FrontEnd, seconds: float = _SECONDS
) -> tuple[float, float, float, float | None, float | None] | None:
    """Find the part of a song with the most positive relevance, and its band.

    Parameters
    ----------
    heatmap : np.ndarray [shape=(n_bins, n_frames)]
    front_end : FrontEnd
    seconds : float > 0
        Length of the part.

    Returns
    -------
    place : (float, float, float, float or None, float or None) or None
        Start and end in s, share of the song's positive relevance, and the band in Hz with the middle 70 % of it. A
        heatmap of a waveform has no band. None: nothing is positive.
    """
    positive = np.maximum(heatmap, 0).astype(float)
    if not positive.any():
        return None
    n = min(max(1, round(seconds / front_end.frame_seconds)), positive.shape[1])
    total = np.r_[0, np.cumsum(positive.sum(axis=0))]
    sums = total[n:] - total[:-n]
    start = int(np.argmax(sums))
    times = start * front_end.frame_seconds, (start + n) * front_end.frame_seconds
    if len(positive) == 1:
        return *times, float(sums[start] / total[-1]), None, None
    part = np.cumsum(positive[:, start : start + n].sum(axis=1))
    rows = np.searchsorted(part, [_OUTSIDE * part[-1], (1 - _OUTSIDE) * part[-1]])
    low, high = front_end.frequencies()[rows]
    return *times, float(sums[start] / total[-1]), float(low), float(high)


def _clock(seconds):
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def _hertz(value):
    """Two significant digits."""
    step = 10 ** max(0, int(np.floor(np.log10(max(value, 1)))) - 1)
    return f"{round(value / step) * step:,.0f}"

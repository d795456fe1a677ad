"""Drawings over time: spectrograms, heatmaps, waveforms, taggrams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from musictools.plots.style import PALETTE, SMALL, current_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from musictools.spectrograms import FrontEnd

__all__ = ["heatmap", "spectrogram", "taggram", "waveform"]

_SCALE = 99.5  # percentile of the values at which the colours of a heatmap end: one hot cell does not darken the rest
_GREY = 0.7  # brightness of the loudest cells below a heatmap


def spectrogram(
    S: np.ndarray,
    *,
    front_end: FrontEnd,
    ax: Axes | None = None,
    title: str = "",
    colorbar: bool = True,
    vmin: float | None = None,
    vmax: float | None = None,
) -> Axes:
    """A spectrogram over seconds and Hz.

    Parameters
    ----------
    S : np.ndarray [shape=(n_bins, n_frames)]
        dB.
    front_end : musictools.spectrograms.FrontEnd
    ax : Axes or None
    title : str
    colorbar : bool
    vmin, vmax : float or None
        Ends of the colour scale in dB.

    Returns
    -------
    ax : Axes

    See Also
    --------
    heatmap : Relevance over a spectrogram.

    Examples
    --------
    >>> from musictools import plots
    >>> from musictools.spectrograms import FrontEnd
    >>> fig, ax = plots.figure()
    >>> spectrogram(np.zeros((128, 63)), front_end=FrontEnd(16000, 512, 256, 128), ax=ax).get_xlabel()
    'time (s)'
    """
    ax = current_axes(ax)
    image = _image(ax, S, front_end, cmap="magma", vmin=vmin, vmax=vmax)
    ax.set_title(title)
    if colorbar:
        ax.figure.colorbar(image, ax=ax, label="power (dB)")
    return ax


def heatmap(
    relevance: np.ndarray,
    *,
    S: np.ndarray | None = None,
    front_end: FrontEnd | None = None,
    ax: Axes | None = None,
    title: str = "",
    colorbar: bool = True,
    label: str = "relevance",
    end: float | None = None,
) -> Axes:
    """Relevance over a grey spectrogram (`rotheneder2023` figure 5.3c).

    Values that are nowhere negative are drawn in sequential colours, the more opaque the higher; signed ones in
    diverging colours around 0. They are clipped at the 99.5th percentile of the magnitudes, which the colour bar names;
    where nearly all cells are 0, at the highest magnitude.

    Parameters
    ----------
    relevance : np.ndarray [shape=(n_bins, n_frames)]
        For waveforms shape (1, n): sums over short stretches of time are drawn as columns behind the waveform.
    S : np.ndarray [shape=(n_bins, n_frames)] or None
        What was explained, drawn below in grey: the spectrogram in dB or scaled, or the waveform.
    front_end : musictools.spectrograms.FrontEnd or None
        None: the axes count frames and bands.
    ax : Axes or None
    title : str
        " (zero everywhere)" is added where it is so.
    colorbar : bool
    label : str
        At the colour bar.
    end : float > 0 or None
        Magnitude at which the colours end, so that several heatmaps have one scale; None: as said above.

    Returns
    -------
    ax : Axes

    Raises
    ------
    ValueError
        If `relevance` is no matrix, holds NaN or Inf, or has another shape than `S`.

    See Also
    --------
    musictools.explain.relevance : What is drawn.

    Examples
    --------
    >>> from musictools import plots
    >>> fig, ax = plots.figure()
    >>> heatmap(np.eye(8), S=np.ones((8, 8)), ax=ax, title="rock").get_title()
    'rock'
    """
    from matplotlib.ticker import ScalarFormatter

    relevance = np.asarray(relevance)
    if relevance.ndim != 2 or not np.isfinite(relevance).all():
        raise ValueError(f"relevance must be a finite matrix (n_bins, n_frames). Got shape {relevance.shape}.")
    if S is not None and np.shape(S) != relevance.shape:
        raise ValueError(f"S must have the shape of relevance, {relevance.shape}. Got {np.shape(S)}.")
    ax, wave = current_axes(ax), front_end is not None and front_end.kind == "waveform"
    shown = _sums(relevance) if wave else relevance
    magnitude = np.abs(shown)
    signed = bool(shown.min() < -1e-3 * magnitude.max())  # not by rounding alone
    end = end or float(np.percentile(magnitude, _SCALE)) or float(magnitude.max())
    image = _image(
        ax,
        shown,
        front_end,
        n_frames=relevance.shape[1],
        zorder=1 if wave else 2,
        cmap=_see_through("RdBu_r" if signed else "inferno", signed),
        vmin=-(end or 1) if signed else 0,
        vmax=end or 1,
    )
    if S is not None and wave:
        waveform(np.asarray(S)[0], sr=front_end.sr, ax=ax, color="0.3")
    elif S is not None:
        low, high = np.percentile(S, (1, 99.9))
        _image(ax, S, front_end, cmap="gray", vmin=low, vmax=low + max(high - low, 1e-9) / _GREY)
    ax.set_title(title if magnitude.any() else f"{title} (zero everywhere)".strip())
    if colorbar:
        bar = ax.figure.colorbar(
            image,
            ax=ax,
            extend=("both" if signed else "max") if end else "neither",
            pad=0.015,
            format=ScalarFormatter(),
        )
        bar.formatter.set_powerlimits((-2, 4))
        bar.set_label(f"{label},\n".lstrip(",\n") + f"clipped at {end:.3g}")
    return ax


def waveform(y: np.ndarray, *, sr: int, ax: Axes | None = None, title: str = "", color: str = PALETTE[0]) -> Axes:
    """A waveform as its envelope.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
    sr : int > 0
        Hz.
    ax : Axes or None
    title, color : str

    Returns
    -------
    ax : Axes
    """
    ax = current_axes(ax)
    block = max(1, len(y) // 2000)
    blocks = y[: len(y) // block * block].reshape(-1, block)
    time = np.arange(len(blocks)) * block / sr
    ax.fill_between(time, blocks.min(axis=1), blocks.max(axis=1), linewidth=0, color=color)
    ax.set(xlabel="time (s)", ylabel="amplitude", ylim=(-1, 1), xlim=(0, len(y) / sr), title=title)
    return ax


def taggram(
    scores: np.ndarray,
    *,
    start: np.ndarray,
    seconds: float,
    tags: Sequence[str],
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Tag scores over time (`tagger_slides`, figure 1).

    Parameters
    ----------
    scores : np.ndarray [shape=(n_inputs, n_tags)], in [0, 1]
    start : np.ndarray [shape=(n_inputs,)]
        Start of every input in s. Where inputs overlap, a column reaches from the middle between its centre and the
        one before to the middle between its centre and the next.
    seconds : float > 0
        Length of one input.
    tags : sequence of str
        From top to bottom.
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    ax = current_axes(ax)
    start, end = np.asarray(start, float), float(np.max(start)) + seconds
    middle = start + seconds / 2
    edges = np.r_[0.0, (middle[1:] + middle[:-1]) / 2, end]
    mesh = ax.pcolormesh(edges, np.arange(len(tags) + 1), np.asarray(scores).T, cmap="magma", vmin=0, vmax=1)
    ax.set_yticks(np.arange(len(tags)) + 0.5, tags, fontsize=SMALL)
    ax.invert_yaxis()
    ax.set(xlabel="time (s)", title=title)
    ax.figure.colorbar(mesh, ax=ax, label="score")
    return ax


def _image(ax, values, front_end, *, n_frames=None, **options):
    """Draw a matrix of `n_frames` frames over seconds and Hz; without a front end over frames and bands."""
    wave = front_end is not None and front_end.kind == "waveform"
    end = n_frames or values.shape[1]
    end = end if front_end is None else end * front_end.frame_seconds
    image = ax.imshow(
        values,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        **options,
        extent=(0, end, *((-1, 1) if wave else (-0.5, len(values) - 0.5))),
    )
    ax.set(
        xlabel="frame" if front_end is None else "time (s)",
        ylabel="band" if front_end is None else "amplitude" if wave else "frequency (Hz)",
    )
    if front_end is not None and not wave:
        frequencies = front_end.frequencies()
        wanted = [f for f in (500, 1000, 2000, 4000, 8000, 16000) if frequencies[0] <= f <= frequencies[-1]]
        ax.set_yticks(np.interp(wanted, frequencies, np.arange(len(frequencies))), [f"{f:,}" for f in wanted])
    return image


def _see_through(name, signed):
    """A colour map that is the more opaque the further from 0."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    colours = colormaps[name](np.linspace(0, 1, 256))
    colours[:, 3] = np.minimum(1.5 * (np.abs(np.linspace(-1, 1, 256)) if signed else np.linspace(0, 1, 256)), 1)
    return ListedColormap(colours)


def _sums(values, *, columns=1000):
    """Fewer columns: each the sum of those that it stands for."""
    block = -(-values.shape[1] // columns)
    return np.pad(values, ((0, 0), (0, -values.shape[1] % block))).reshape(len(values), -1, block).sum(axis=2)

"""Drawing: arrays in, Axes out.

Every function takes ``ax=None`` (the current Axes) and returns the Axes. None of them saves, shows, or changes
settings. Maps are perceptual: ``magma`` for levels, ``Blues`` for shares, a diverging one centred at 0 for signed
values. Axes and colour bars carry units. Figures have one width, `WIDTH`, so that on a page their text has one size.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from musictools.spectrograms import FrontEnd

__all__ = [
    "PALETTE",
    "SMALL",
    "WIDTH",
    "bars",
    "confusion",
    "figure",
    "heatmap",
    "history",
    "intervals",
    "layers",
    "legend",
    "spectrogram",
    "table_heatmap",
    "taggram",
    "waveform",
]

# Seaborn's palette "colorblind": lines and bars can be told apart with any colour vision, and in print.
PALETTE = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9")

WIDTH = 10.0  # inches of every figure
SMALL = 8  # points of the smallest text: in cells, legends and boxes; other text has Matplotlib's 10, titles 12

_SCALE = 99.5  # percentile of the values at which the colours of a heatmap end: one hot cell does not darken the rest
_GREY = 0.7  # brightness of the loudest cells below a heatmap


def figure(
    *, width: float = WIDTH, height: float | None = None, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """Make a figure with a constrained layout and the colours of `PALETTE`.

    Parameters
    ----------
    width : float > 0
        Inches. Figures of another width than the default get text of another size when a page scales them.
    height : float > 0 or None
        Inches; None: 0.62 of the width a row and column.
    rows, columns : int > 0
    **options
        Passed to `matplotlib.pyplot.subplots`.

    Returns
    -------
    fig : matplotlib.figure.Figure
    axes : Axes or np.ndarray of Axes

    Examples
    --------
    >>> fig, axes = figure(rows=2)
    >>> axes.shape
    (2,)
    """
    import matplotlib.pyplot as plt

    height = height or 0.62 * width * rows / columns
    with plt.rc_context({"axes.prop_cycle": plt.cycler(color=PALETTE)}):
        return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)


def legend(place: Axes | Figure, *entries: Any, **options: Any) -> None:
    """Add a legend in small text without a frame: into an Axes, or below all Axes of a Figure.

    Parameters
    ----------
    place : Axes or Figure
    *entries : sequence
        Handles and labels; none: those of the Axes.
    **options
        Passed to `legend` of Matplotlib.

    Examples
    --------
    >>> fig, ax = figure()
    >>> _ = ax.plot([0, 1], label="rock")
    >>> legend(fig, *ax.get_legend_handles_labels())
    >>> fig.legends[0].texts[0].get_text()
    'rock'
    """
    below = {} if hasattr(place, "get_xlim") else {"loc": "outside lower center", "ncols": 4}
    place.legend(*entries, **{"frameon": False, "fontsize": SMALL, "title_fontsize": SMALL} | below | options)


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
    >>> from musictools.spectrograms import FrontEnd
    >>> fig, ax = figure()
    >>> spectrogram(np.zeros((128, 63)), front_end=FrontEnd(16000, 512, 256, 128), ax=ax).get_xlabel()
    'time (s)'
    """
    ax = _axes(ax)
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
    >>> fig, ax = figure()
    >>> heatmap(np.eye(8), S=np.ones((8, 8)), ax=ax, title="rock").get_title()
    'rock'
    """
    from matplotlib.ticker import ScalarFormatter

    relevance = np.asarray(relevance)
    if relevance.ndim != 2 or not np.isfinite(relevance).all():
        raise ValueError(f"relevance must be a finite matrix (n_bins, n_frames). Got shape {relevance.shape}.")
    if S is not None and np.shape(S) != relevance.shape:
        raise ValueError(f"S must have the shape of relevance, {relevance.shape}. Got {np.shape(S)}.")
    ax, wave = _axes(ax), front_end is not None and front_end.kind == "waveform"
    shown = _sums(relevance) if wave else relevance
    magnitude = np.abs(shown)
    signed = bool(shown.min() < -1e-3 * magnitude.max())  # not by rounding alone
    end = float(np.percentile(magnitude, _SCALE)) or float(magnitude.max())
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
    ax.set_title(title if end else f"{title} (zero everywhere)".strip())
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
    ax = _axes(ax)
    block = max(1, len(y) // 2000)
    blocks = y[: len(y) // block * block].reshape(-1, block)
    time = np.arange(len(blocks)) * block / sr
    ax.fill_between(time, blocks.min(axis=1), blocks.max(axis=1), linewidth=0, color=color)
    ax.set(xlabel="time (s)", ylabel="amplitude", ylim=(-1, 1), xlim=(0, len(y) / sr), title=title)
    return ax


def bars(
    counts: pd.Series | pd.DataFrame,
    *,
    ax: Axes | None = None,
    horizontal: bool = False,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    log: bool = False,
) -> Axes:
    """Bars of a Series, or groups of bars of a DataFrame.

    Parameters
    ----------
    counts : pd.Series or pd.DataFrame
    ax : Axes or None
    horizontal : bool
        The first row on top.
    xlabel, ylabel, title : str
    log : bool
        Logarithmic values.

    Returns
    -------
    ax : Axes
    """
    ax = _axes(ax)
    color = list(PALETTE) if counts.ndim == 2 else PALETTE[0]
    if horizontal:
        counts.plot.barh(ax=ax, width=0.8, logx=log, color=color)
    else:
        counts.plot.bar(ax=ax, width=0.8, logy=log, color=color)
    if horizontal:
        ax.invert_yaxis()
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    return ax


def confusion(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """A confusion matrix: shares of every true class, counts written in.

    Parameters
    ----------
    table : pd.DataFrame [true x predicted, int]
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    share = table.div(table.sum(axis=1).replace(0, np.nan), axis=0)
    ax = table_heatmap(share, ax=ax, text=table, title=title, label="share of the true class", vmin=0.0, vmax=1.0)
    ax.set(xlabel="predicted", ylabel="true")
    ax.tick_params(axis="x", rotation=45)
    return ax


def table_heatmap(
    table: pd.DataFrame,
    *,
    ax: Axes | None = None,
    text: pd.DataFrame | None = None,
    title: str = "",
    label: str = "",
    vmin: float | None = None,
    vmax: float | None = None,
    diverging: bool = False,
) -> Axes:
    """A table as colours, with the values written in.

    Parameters
    ----------
    table : pd.DataFrame [float]
        NaN stays white.
    ax : Axes or None
    text : pd.DataFrame or None
        What to write into the cells instead of the values.
    title, label : str
        Above the table; at the colour bar.
    vmin, vmax : float or None
    diverging : bool
        Signed values: a diverging map centred at 0.

    Returns
    -------
    ax : Axes
    """
    import seaborn

    if diverging:
        vmax = float(np.nanmax(np.abs(table.to_numpy()))) if vmax is None else vmax
        vmin = -vmax
    text = table.map(lambda value: "" if np.isnan(value) else f"{value:.2f}") if text is None else text
    ax = seaborn.heatmap(
        table,
        ax=_axes(ax),
        annot=text.to_numpy(),
        fmt="",
        cmap="RdBu_r" if diverging else "Blues",
        vmin=vmin,
        vmax=vmax,
        annot_kws={"fontsize": SMALL},
        cbar_kws={"label": label},
    )
    ax.set_title(title)
    ax.tick_params(axis="y", rotation=0)
    return ax


def history(
    histories: dict[str, pd.DataFrame],
    *,
    column: str = "val_loss",
    ax: Axes | None = None,
    title: str = "",
    ylabel: str | None = None,
) -> Axes:
    """Training histories as lines over epochs.

    Parameters
    ----------
    histories : dict of str to pd.DataFrame
        Label -> history of `training.fit`.
    column : str
    ax : Axes or None
    title : str
    ylabel : str or None
        None: the column's name.

    Returns
    -------
    ax : Axes
    """
    ax = _axes(ax)
    for number, (label, table) in enumerate(histories.items()):
        style = "-" if number < 10 else "--"  # ten colours come round
        ax.plot(table["epoch"] + 1, table[column], style, marker=".", label=label)
    ax.set(xlabel="epoch", ylabel=ylabel or column.replace("val_", "validation ").replace("_", " "), title=title)
    ax.xaxis.get_major_locator().set_params(integer=True)
    legend(ax)
    return ax


def intervals(
    table: pd.DataFrame, *, value: str, low: str, high: str, ax: Axes | None = None, xlabel: str = "", title: str = ""
) -> Axes:
    """Values with their intervals, one row each, the first on top.

    Parameters
    ----------
    table : pd.DataFrame
        Its index gives the labels.
    value, low, high : str
        Columns.
    ax : Axes or None
    xlabel, title : str

    Returns
    -------
    ax : Axes
    """
    ax = _axes(ax)
    rows = np.arange(len(table))
    error = np.abs(np.stack([table[value] - table[low], table[high] - table[value]]).astype(float))
    ax.errorbar(table[value], rows, xerr=error, fmt="o", capsize=3)
    ax.set_yticks(rows, [str(i) if not isinstance(i, tuple) else ", ".join(map(str, i)) for i in table.index])
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set(xlabel=xlabel, title=title)
    ax.grid(axis="x", alpha=0.3)
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
    ax = _axes(ax)
    start, end = np.asarray(start, float), float(np.max(start)) + seconds
    middle = start + seconds / 2
    edges = np.r_[0.0, (middle[1:] + middle[:-1]) / 2, end]
    mesh = ax.pcolormesh(edges, np.arange(len(tags) + 1), np.asarray(scores).T, cmap="magma", vmin=0, vmax=1)
    ax.set_yticks(np.arange(len(tags)) + 0.5, tags, fontsize=SMALL)
    ax.invert_yaxis()
    ax.set(xlabel="time (s)", title=title)
    ax.figure.colorbar(mesh, ax=ax, label="score")
    return ax


def layers(model: keras.Model, *, ax: Axes | None = None, title: str = "") -> Axes:
    """A network as stacked volumes, drawn by visualkeras.

    Parameters
    ----------
    model : keras.Model
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    import keras
    import visualkeras
    from matplotlib import font_manager
    from PIL import ImageFont

    ax = _axes(ax)
    copy = keras.models.clone_model(model)
    for layer in copy.layers:  # visualkeras still asks for an attribute that Keras 3 has given up
        layer.output_shape = layer.output.shape
    hidden = [keras.layers.InputLayer, keras.layers.Dropout, keras.layers.Softmax, keras.layers.Flatten]
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), 28)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # visualkeras warns of its own defaults
        image = visualkeras.layered_view(
            copy, legend=True, type_ignore=hidden, scale_xy=2, scale_z=1, max_z=200, max_xy=300, spacing=24, font=font
        )
    ax.imshow(image)
    ax.set_axis_off()
    ax.set_title(title)
    return ax


def _image(ax, values, front_end, *, n_frames=None, **options):
    """Draw a matrix of `n_frames` frames over seconds and Hz; without a front end over frames and bands."""
    wave = front_end is not None and front_end.kind == "waveform"
    end = n_frames or values.shape[1]
    end = end if front_end is None else end * front_end.hop_length / front_end.sr
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


def _axes(ax):
    from matplotlib.axes import Axes

    if ax is None:
        import matplotlib.pyplot as plt

        return plt.gca()
    if not isinstance(ax, Axes):
        raise ValueError(f"ax must be a matplotlib Axes or None. Got {type(ax).__name__}.")
    return ax

"""Many feature maps in one picture: arrays in, Axes out, as in `musictools.plots`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from musictools.plots.style import PALETTE, SMALL, legend

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["jackknifed", "mosaic"]


def mosaic(
    maps: np.ndarray,
    *,
    columns: int | None = None,
    names: Sequence[str] | None = None,
    highlight: dict[int, str] | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """Feature maps side by side, each scaled to its own lowest and highest value.

    Parameters
    ----------
    maps : np.ndarray [shape=(n_maps, height, width)]
        Low frequency first, drawn at the bottom. Maps of waveforms, (n_maps, 1, n), are drawn as bands. A constant map
        is drawn dark.
    columns : int > 0 or None
        Maps in a row; None: about as many as there are rows.
    names : sequence of str or None
        Written below each map.
    highlight : dict of int to str or None
        Place of a map -> label: a box around it, the label in its corner.
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
        Without ticks: what it shows has the axes of the input, coarser.

    Raises
    ------
    ValueError
        If `maps` has not three axes, is empty, or a place to highlight does not exist.
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    maps, highlight = np.asarray(maps, dtype=float), highlight or {}
    if maps.ndim != 3 or not maps.size:
        raise ValueError(f"maps must have shape (n_maps, height, width), none of them 0. Got {maps.shape}.")
    if not all(0 <= place < len(maps) for place in highlight):
        raise ValueError(f"highlight must name places from 0 to {len(maps) - 1}. Got {list(highlight)}.")
    ax = plt.gca() if ax is None else ax
    columns = min(columns or int(np.ceil(np.sqrt(len(maps)))), len(maps))
    for place, values in enumerate(maps):
        row, column = divmod(place, columns)
        low, span = values.min(), np.ptp(values)
        ax.imshow(
            (values - low) / (span or 1),
            cmap="magma",
            vmin=0,
            vmax=1,
            origin="lower",
            aspect="auto",
            interpolation="nearest",
            extent=(column + 0.04, column + 0.96, -row - 0.82, -row),
        )
        if names is not None:
            ax.text(column + 0.5, -row - 0.85, names[place], ha="center", va="top", fontsize=SMALL, color="0.3")
        if place in highlight:
            box = {"fill": False, "linewidth": 2, "edgecolor": PALETTE[9]}
            ax.add_patch(Rectangle((column + 0.02, -row - 0.84), 0.96, 0.86, **box))
            label = textwrap.fill(highlight[place], max(8, 64 // columns))
            behind = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1}
            ax.text(column + 0.06, -row - 0.02, label, ha="left", va="top", fontsize=SMALL, bbox=behind)
    n_rows = 1 + (len(maps) - 1) // columns
    ax.set(xlim=(0, columns), ylim=(-n_rows - 0.1, 0.05), xticks=[], yticks=[], title=title)
    ax.spines[:].set_visible(False)
    return ax


def jackknifed(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """F1 of the best maps with their intervals, and the F1 of the guess, a line a tag.

    Parameters
    ----------
    table : pd.DataFrame
        tag, label, f1, f1_low, f1_high and guess_f1: one point a tag and label.
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    import matplotlib.pyplot as plt

    ax = plt.gca() if ax is None else ax
    tags, labels = list(dict.fromkeys(table["tag"])), list(dict.fromkeys(table["label"]))
    for number, label in enumerate(labels):
        own = table[table["label"] == label].set_index("tag").reindex(tags)
        rows = np.arange(len(tags)) + 0.7 * ((number + 0.5) / len(labels) - 0.5)
        error = np.abs(np.stack([own["f1"] - own["f1_low"], own["f1_high"] - own["f1"]]).astype(float))
        ax.errorbar(own["f1"], rows, xerr=error, fmt="o", markersize=4, capsize=2, linewidth=1, label=label)
    guess = table.groupby("tag", sort=False)["guess_f1"].first()[tags]
    for row, value in enumerate(guess):
        ax.plot(
            [value, value],
            [row - 0.42, row + 0.42],
            color="black",
            linewidth=2,
            label="always yes" if row == 0 else None,
        )
    ax.set_yticks(np.arange(len(tags)), tags)
    ax.invert_yaxis()
    ax.set(xlabel="F1 on test clips", title=title)
    ax.grid(axis="x", alpha=0.3)
    legend(ax, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax

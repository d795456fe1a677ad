"""Drawings of notebook 15: tables and maps in, Axes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from musictools import plots

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from musictools.spectrograms import FrontEnd

__all__ = ["generalisation", "measures", "moved_map"]


def generalisation(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """ROC-AUC of models by deformation as groups of bars, in the form of the slides' figure.

    Parameters
    ----------
    table : pd.DataFrame
        model, and one column for each deformation. NaN has no bar.
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    wide = table.set_index("model").T
    wide.index = [name.replace("_0_", " 0.").replace("_", " ") for name in wide.index]
    ax = plots.bars(wide, ax=ax, ylabel="ROC-AUC", title=title)
    ax.set_ylim(0.5, 1.0)
    ax.tick_params(axis="x", rotation=25)
    ax.legend(frameon=False, fontsize=8, ncols=2)
    return ax


def measures(
    table: pd.DataFrame,
    *,
    value: str,
    others: Sequence[str] = (),
    ax: Axes | None = None,
    xlabel: str = "",
    title: str = "",
) -> Axes:
    """One measure with its interval for each deformation, and others beside it as crosses.

    Parameters
    ----------
    table : pd.DataFrame
        deformation, the measure, its interval ``…_low`` and ``…_high``, and the others.
    value : str
        Column of the measure.
    others : sequence of str
        Further columns.
    ax : Axes or None
    xlabel, title : str

    Returns
    -------
    ax : Axes
    """
    low, high = f"{value}_low", f"{value}_high"
    ax = plots.intervals(
        table.set_index("deformation"), value=value, low=low, high=high, ax=ax, xlabel=xlabel, title=title
    )
    for name, marker, colour in zip(others, "x|+", plots.PALETTE[1:], strict=False):  # at most three are told apart
        ax.plot(table[name], np.arange(len(table)), marker, color=colour, label=name)
    if others:
        ax.legend(frameon=False, fontsize=8)
    return ax


def moved_map(maps: dict[str, np.ndarray], *, front_end: FrontEnd, axes: Sequence[Axes], title: str = "") -> None:
    """What the heatmap of a deformed clip should be, and what it is.

    Parameters
    ----------
    maps : dict of str to np.ndarray [shape=(n_bins, n_frames)]
        ``expected``, ``actual`` and the spectrogram ``S`` in dB.
    front_end : FrontEnd
    axes : sequence of two Axes
    title : str
    """
    for ax, name, words in zip(
        axes, ("expected", "actual"), ("moved as the sound", "of the deformed clip"), strict=True
    ):
        plots.heatmap(maps[name], S=maps["S"], front_end=front_end, ax=ax, title=f"{title}: {words}", label="")

"""Drawings of notebook 09: quality against size and time, areas of single tags; tables in, Axes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from musictools import plots
from musictools.plots.style import current_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["quality", "tags_by_category"]


def quality(table: pd.DataFrame, *, x: str, xlabel: str, ax: Axes | None = None, title: str = "") -> Axes:
    """ROC-AUC of every structure against its size or its training time, with intervals.

    Parameters
    ----------
    table : pd.DataFrame
        structure, roc_auc, low, high, and the column `x`.
    x : str
        Drawn on a logarithmic axis.
    xlabel : str
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    ax = current_axes(ax)
    for (structure, own), marker, colour in zip(
        table.groupby("structure", sort=False), "sd^o", plots.PALETTE, strict=False
    ):
        error = np.stack([own["roc_auc"] - own["low"], own["high"] - own["roc_auc"]]).clip(0)
        ax.errorbar(own[x], own["roc_auc"], yerr=error, marker=marker, color=colour, capsize=3, elinewidth=0.8,
                    label=structure)  # fmt: skip
    ax.set_xscale("log")
    for axis in (ax.xaxis.set_major_formatter, ax.xaxis.set_minor_formatter):
        axis(lambda value, _: f"{value:,.10g}" if f"{value:e}"[0] in "125" else "")
    ax.set(xlabel=xlabel, ylabel="mean ROC-AUC", title=title)
    ax.grid(alpha=0.3)
    plots.legend(ax)
    return ax


def tags_by_category(table: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """ROC-AUC of every tag: k2c1 as a line, k1c2 and the CRNN as bars that begin there, all means as dashed lines.

    Parameters
    ----------
    table : pd.DataFrame
        tag, category, rank, k2c1, k1c2, crnn; sorted by category and k2c1.
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    ax, columns = current_axes(ax), np.arange(len(table))
    drawn = {"k1c2": (-0.2, plots.PALETTE[0]), "crnn": (0.2, plots.PALETTE[2])}
    for name, (shift, colour) in drawn.items():
        ax.bar(columns + shift, table[name] - table["k2c1"], 0.4, bottom=table["k2c1"], color=colour, label=name)
        ax.axhline(table[name].mean(), color=colour, linestyle="--", linewidth=0.8)
    ax.axhline(table["k2c1"].mean(), color=plots.PALETTE[3], linestyle="--", linewidth=0.8)
    place = ax.get_xaxis_transform()
    for k, (category, own) in enumerate(table.groupby("category", sort=False)):
        ax.plot(own.index, own["k2c1"], ".-", color=plots.PALETTE[3], label=None if k else "k2c1")
        if k:
            ax.axvline(own.index[0] - 0.5, color="grey", linewidth=0.8)
        ax.text(own.index[0] - 0.4, 1.02, category, transform=place, fontsize=plots.SMALL, rotation=30)
    names = [f"{tag} ({rank})" for tag, rank in zip(table["tag"], table["rank"], strict=True)]
    ax.set_xticks(columns, names, rotation=90, fontsize=plots.SMALL)
    ax.set_xlim(-0.6, len(table) - 0.4)
    ax.set(ylabel="ROC-AUC")
    ax.set_title(title, pad=50)  # above the names of the categories
    plots.legend(ax, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax

"""Charts of tables: bars, coloured tables, training histories, intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from musictools.plots.style import PALETTE, SMALL, current_axes, legend

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["bars", "confusion", "history", "intervals", "table_heatmap"]


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
    ax = current_axes(ax)
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
        ax=current_axes(ax),
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
    ax = current_axes(ax)
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
    ax = current_axes(ax)
    rows = np.arange(len(table))
    error = np.abs(np.stack([table[value] - table[low], table[high] - table[value]]).astype(float))
    ax.errorbar(table[value], rows, xerr=error, fmt="o", capsize=3)
    ax.set_yticks(rows, [str(i) if not isinstance(i, tuple) else ", ".join(map(str, i)) for i in table.index])
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set(xlabel=xlabel, title=title)
    ax.grid(axis="x", alpha=0.3)
    return ax

"""Drawings of notebooks 08 and 12: labels, label vectors and pairs of tags; tables in, Axes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from musictools import plots
from musictools.plots.style import current_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["counts", "pairs", "square", "tagability", "taggers", "values"]

_FLAT = 6  # names below an axis that fit beside each other


def square(
    table: pd.DataFrame, *, ax: Axes | None = None, half: bool = False, label: str = "", title: str = ""
) -> Axes:
    """A matrix of tags with its values in hundredths; the diagonal is left out.

    Parameters
    ----------
    table : pd.DataFrame [tags x tags]
        Shares between 0 and 1, or signed similarities.
    ax : Axes or None
    half : bool
        Only the part below the diagonal, for symmetric matrices.
    label, title : str

    Returns
    -------
    ax : Axes
    """
    hidden = np.tri(len(table)).T if half else np.eye(len(table))
    shown = table.mask(hidden.astype(bool))
    text = (100 * shown).round().map(lambda value: "" if np.isnan(value) or value == 0 else f"{value:.0f}")
    signed = bool((shown.to_numpy() < 0).any())
    ax = plots.table_heatmap(shown, ax=ax, text=text, label=label, title=title, diverging=signed)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="x", rotation=90)
    return ax


def pairs(table: pd.DataFrame, marked: pd.DataFrame, *, ax: Axes | None = None, title: str = "") -> Axes:
    """Similarity of label vectors against co-occurrence, one point per pair of tags.

    Parameters
    ----------
    table : pd.DataFrame
        co_occurrence, similarity.
    marked : pd.DataFrame
        Rows of the table whose points are numbered; the legend names their tags (first, second).
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    ax = current_axes(ax)
    ax.plot(table["co_occurrence"], table["similarity"], ".", color=plots.PALETTE[7], markersize=3, label="all pairs")
    for number, row in enumerate(marked.itertuples(), start=1):
        label = f"{number}: {row.first}, {row.second}"
        ax.plot(row.co_occurrence, row.similarity, "o", color=plots.PALETTE[3], markersize=5, label=label)
        ax.annotate(str(number), (row.co_occurrence, row.similarity), xytext=(0, 5), textcoords="offset points",
                    fontsize=plots.SMALL, ha="center")  # fmt: skip
    ax.set_xscale("symlog", linthresh=0.01)
    ax.set_xlim(left=0)
    ax.set(xlabel="co-occurrence in the labels", ylabel="similarity of label vectors", title=title)
    plots.legend(ax, loc="center left", bbox_to_anchor=(1, 0.5), handlelength=0.8)
    return ax


def counts(table: pd.DataFrame, *, total: int, ax: Axes | None = None, title: str = "") -> Axes:
    """Corrected counts with their intervals, the labels' counts and the true ones, in shares of all clips.

    Parameters
    ----------
    table : pd.DataFrame
        tag, estimate, estimate_low, estimate_high, labels, true_count.
    total : int > 0
        Number of clips.
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    shares = table.set_index("tag")[["estimate", "estimate_low", "estimate_high", "labels", "true_count"]] / total
    ax = plots.intervals(shares, value="estimate", low="estimate_low", high="estimate_high", ax=ax,
                         xlabel="share of all clips", title=title)  # fmt: skip
    ax.lines[0].set_label("estimate by Eq. 3.2")
    rows = np.arange(len(shares))
    ax.plot(shares["labels"], rows, "x", color=plots.PALETTE[3], label="labels")
    ax.plot(shares["true_count"], rows, "|", color="black", markersize=12, label="truth")
    plots.legend(ax)
    return ax


def tagability(table: pd.DataFrame, others: dict[str, str], *, ax: Axes | None = None, title: str = "") -> Axes:
    """Tagability with its interval, and other values of the same tags, one row per tag.

    Parameters
    ----------
    table : pd.DataFrame
        tag, tagability, low, high, and the other columns.
    others : dict of str to str
        Column -> its name in the legend.
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    ax = plots.intervals(table.set_index("tag"), value="tagability", low="low", high="high", ax=ax, title=title)
    ax.lines[0].set_label("tagability")
    for (column, name), marker, colour in zip(others.items(), "x|+", plots.PALETTE[1:], strict=False):  # at most three
        ax.plot(table[column], np.arange(len(table)), marker, color=colour, markersize=8, label=name)
    plots.legend(ax)
    return ax


def taggers(means: pd.DataFrame, *, rho: dict[str, float], ax: Axes | None = None, title: str = "") -> Axes:
    """Mean ROC-AUC of taggers against labels and truth (figure 3.6).

    Parameters
    ----------
    means : pd.DataFrame [indexed by tagger]
        chosen_truth, chosen_labels, all_labels.
    rho : dict of str to float
        rho_1 and rho_2.
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    ax = current_axes(ax)
    lines = {"chosen_truth": (":", "chosen tags, truth"), "chosen_labels": ("--", "chosen tags, labels"),
             "all_labels": ("-", "all tags, labels")}  # fmt: skip
    for (column, (style, name)), colour in zip(lines.items(), (3, 0, 1), strict=True):
        ax.plot(np.arange(len(means)), means[column], style, marker="o", color=plots.PALETTE[colour], label=name)
    ax.set_xticks(np.arange(len(means)), means.index, rotation=90 if len(means) > _FLAT else 20)
    words = ", ".join(f"ρ{key[-1]} = {rho[key]:.2f}" for key in ("rho_1", "rho_2") if np.isfinite(rho[key]))
    ax.set(ylabel="mean ROC-AUC", title=f"{title} {words}".strip())
    plots.legend(ax)
    return ax


def values(table: pd.DataFrame, *, names: Sequence[str], ax: Axes | None = None, title: str = "") -> Axes:
    """Several values between 0 and 1 of every tag as points, one row per tag, the first on top.

    Parameters
    ----------
    table : pd.DataFrame [indexed by tag]
    names : sequence of str
        Names of its columns in the legend; at most four.
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    ax, rows = current_axes(ax), np.arange(len(table))
    for column, name, marker, colour in zip(table, names, "ox|+", plots.PALETTE, strict=False):
        ax.plot(table[column], rows, marker, color=colour, label=name)
    ax.set_yticks(rows, table.index)
    ax.set_ylim(len(table) - 0.5, -0.5)
    ax.set(xlim=(0, 1.02), title=title)
    ax.grid(axis="x", alpha=0.3)
    plots.legend(ax)
    return ax

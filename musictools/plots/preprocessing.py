"""Drawings of notebook 10: scores of trainings in, Axes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from musictools import plots
from musictools.plots.style import current_axes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["grouped_scores", "repeated"]


def repeated(scores: pd.Series, spread: dict[str, float], *, ax: Axes | None = None, title: str = "") -> Axes:
    """Scores of repeated trainings, their mean and its 95 % interval.

    Parameters
    ----------
    scores : pd.Series
        In the order of the trainings.
    spread : dict
        mean, low, high.
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    ax = current_axes(ax)
    ax.plot(np.arange(1, len(scores) + 1), scores.to_numpy(), "o", color=plots.PALETTE[0])
    ax.axhline(spread["mean"], color=plots.PALETTE[1], label="mean")
    if np.isfinite(spread["low"]):
        ax.axhspan(spread["low"], spread["high"], color=plots.PALETTE[1], alpha=0.2, label="95 % interval of the mean")
    ax.set(xlabel="training", ylabel="ROC-AUC", title=title)
    ax.xaxis.get_major_locator().set_params(integer=True)
    plots.legend(ax)
    return ax


def grouped_scores(
    scores: pd.Series, *, by: list[str], hue: str, ax: Axes | None = None, xlabel: str = "", title: str = ""
) -> Axes:
    """Mean scores as groups of bars; dots are single trainings.

    Parameters
    ----------
    scores : pd.Series
        Indexed by the settings of the trainings.
    by : list of str
        Levels of the index that make the groups.
    hue : str
        Level that makes the bars of a group.
    ax : Axes or None
    xlabel, title : str

    Returns
    -------
    ax : Axes
    """
    wide = scores.groupby(level=[*by, hue], sort=False).mean().unstack(hue)
    ax = plots.bars(wide, ax=ax, xlabel=xlabel, ylabel="mean ROC-AUC over tags", title=title)
    width = 0.8 / wide.shape[1]
    for (name, *group), part in scores.groupby(level=[hue, *by], sort=False):
        place = wide.index.get_loc(tuple(group) if len(group) > 1 else group[0])
        middle = place - 0.4 + (list(wide.columns).index(name) + 0.5) * width
        ax.plot(np.full(len(part), middle), part.to_numpy(), ".", color="black", markersize=4)
    names = [name if isinstance(name, tuple) else (name,) for name in wide.index]
    ax.set_xticklabels([", ".join(f"{word:g}" if isinstance(word, float) else str(word) for word in name)
                        for name in names], rotation=0)  # fmt: skip
    spread = scores.max() - scores.min()
    ax.set_ylim(max(0.0, scores.min() - 0.3 * spread - 0.01), scores.max() + 0.1 * spread + 0.01)
    plots.legend(ax, ncols=wide.shape[1], loc="upper right")
    return ax

"""Drawings of notebook 11: scores of subsets of layers, in the form of figures 6.2 to 6.9 of `choi2018`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from musictools.plots.diagrams import boxes_and_arrows
from musictools.plots.style import PALETTE, SMALL, current_axes, legend

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["class_scores", "extraction", "subset_scores", "summary"]

_RANKED = 7  # best and worst subsets whose rank is written into the bar
_GREY = "#b0b0b0"


def subset_scores(
    table: pd.DataFrame,
    *,
    random: pd.DataFrame | None = None,
    reference: float | None = None,
    chance: float | None = None,
    ax: Axes | None = None,
    ylabel: str = "",
    title: str = "",
) -> Axes:
    """Scores of all subsets of layers as bars, those of random weights as narrow grey bars beside them.

    The ranks of the seven best and the seven worst subsets stand in the bars. Other features follow on the right.

    Parameters
    ----------
    table : pd.DataFrame
        features, score, and, if known, low and high. Features that are digits are subsets of layers.
    random : pd.DataFrame or None
        features, score of the same network with random weights.
    reference : float or None
        A published score, as one more bar.
    chance : float or None
        Score of a constant prediction, as a dotted line.
    ax : Axes or None
    ylabel, title : str

    Returns
    -------
    ax : Axes
    """
    ax = current_axes(ax)
    layers, others = (table[table["features"].str.isdigit() == kind].set_index("features") for kind in (True, False))
    places = np.arange(len(layers))
    colours = dict(zip(("12345+mfcc", "mfcc"), (PALETTE[1], PALETTE[4]), strict=True))
    ax.bar(places - 0.1, layers["score"], 0.6, color=PALETTE[0], yerr=_errors(layers), ecolor="#404040", label="layers")
    if random is not None:
        beside = random.set_index("features")["score"].reindex(layers.index)
        ax.bar(places + 0.3, beside, 0.2, color=_GREY, label="random weights")
    right = len(layers) + 0.5 + np.arange(len(others) + (reference is not None))
    names = [*layers.index, *others.index]
    for place, (name, row) in zip(right, others.iterrows(), strict=False):  # the last place is the reference's
        ax.bar(place, row["score"], 0.7, color=colours.get(name, PALETTE[2]), yerr=_errors(row.to_frame().T))
    if reference is not None:
        ax.bar(right[-1], reference, 0.7, color=PALETTE[3])
        names.append("published")
    values = [table["score"], [] if random is None else random["score"], [reference or np.nan]]
    lowest, highest = np.nanmin(np.concatenate(values)), np.nanmax(np.concatenate(values))
    low = min(lowest, np.nanmin(table["low"])) if "low" in table else lowest
    bottom = max(0.0, low - 0.1 * (highest - low)) if low >= 0 else low * 1.05
    ax.set_ylim(bottom)
    _write_ranks(ax, layers["score"], bottom)
    if chance is not None and chance > bottom:
        ax.axhline(chance, color="black", linestyle=":", linewidth=1)
    ax.set_xticks([*places, *right], names, rotation=90, fontsize=SMALL)
    ax.set(ylabel=ylabel, title=title, xlim=(-0.8, right[-1] + 0.8 if len(right) else len(layers)))
    if random is not None:
        legend(ax, loc="upper left", ncols=2)
        ax.set_ylim(top=ax.get_ylim()[1] + 0.08 * (ax.get_ylim()[1] - bottom))
    return ax


def _errors(table):
    """Distances to the ends of the intervals, if there are any."""
    if "low" not in table:
        return None
    score = table["score"].to_numpy(float)
    return np.abs([score - table["low"].to_numpy(float), table["high"].to_numpy(float) - score])


def _write_ranks(ax, scores, bottom):
    ranks = scores.rank(ascending=False, method="first").astype(int)
    shown = ranks[(ranks <= _RANKED) | (ranks > len(ranks) - _RANKED)]
    for place, name in enumerate(scores.index):
        if name in shown.index:
            height = bottom + 0.02 * (ax.get_ylim()[1] - bottom)
            best = ranks[name] <= _RANKED
            ax.text(place - 0.1, height, str(ranks[name]), ha="center", va="bottom", fontsize=SMALL,
                    color="white" if bottom >= 0 else "black", fontweight="bold" if best else "normal")  # fmt: skip


def summary(table: pd.DataFrame, *, ax: Axes | None = None, ylabel: str = "score", title: str = "") -> Axes:
    """Scores of several kinds of features on several tasks, as groups of bars with intervals.

    Parameters
    ----------
    table : pd.DataFrame
        task, features, score, low, high; the groups are tasks.
    ax : Axes or None
    ylabel, title : str

    Returns
    -------
    ax : Axes
    """
    ax = current_axes(ax)
    kinds, tasks = list(dict.fromkeys(table["features"])), list(dict.fromkeys(table["task"]))
    colours = {"random": _GREY, "mfcc": PALETTE[4]}
    free = iter((PALETTE[0], PALETTE[9], PALETTE[1], PALETTE[2], PALETTE[3], PALETTE[5]))
    width = 0.8 / len(kinds)
    for number, kind in enumerate(kinds):
        rows = table[table["features"] == kind].set_index("task").reindex(tasks)
        places = np.arange(len(tasks)) + (number - (len(kinds) - 1) / 2) * width
        colour = next((c for word, c in colours.items() if kind == word or kind.startswith(f"{word} ")), None)
        ax.bar(places, rows["score"], 0.95 * width, color=colour or next(free), label=kind,
               yerr=_errors(rows), error_kw={"linewidth": 1})  # fmt: skip
    ax.set_xticks(range(len(tasks)), tasks)
    ax.set(ylabel=ylabel, title=title)
    ax.axhline(0, color="black", linewidth=0.8)
    legend(ax, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=len(kinds))
    return ax


def class_scores(first: pd.Series, second: pd.Series, *, ax: Axes | None = None, xlabel: str = "") -> Axes:
    """Scores of every class with two kinds of features, with the difference written beside them (figure 6.5).

    Parameters
    ----------
    first, second : pd.Series [class -> score]
        Their names are the labels.
    ax : Axes or None
    xlabel : str

    Returns
    -------
    ax : Axes
    """
    ax = current_axes(ax)
    rows = np.arange(len(first))
    second = second.reindex(first.index)
    ax.barh(rows - 0.2, first, 0.38, color=PALETTE[0], label=first.name)
    ax.barh(rows + 0.2, second, 0.38, color=PALETTE[9], label=second.name)
    for row, (a, b) in enumerate(zip(first, second, strict=True)):
        ax.text(max(a, b) + 0.01, row, f"{a - b:+.2f}", va="center", fontsize=SMALL)
    ax.set_yticks(rows, first.index)
    ax.set(xlabel=xlabel, xlim=(0, 1.1), ylim=(len(rows) - 0.4, -0.6))
    legend(ax, loc="lower right")
    return ax


def extraction(
    layers: Sequence[tuple[str, int]], *, n_tags: int, ax: Axes | None = None, title: str = "", fontsize: float = 10
) -> Axes:
    """How features are taken from a trained network (figure 6.1).

    Parameters
    ----------
    layers : sequence of (str, int)
        Name and number of feature maps of each layer.
    n_tags : int
        Number of tags that the network was trained for.
    ax : Axes or None
    title : str
    fontsize : float > 0

    Returns
    -------
    ax : Axes

    Examples
    --------
    >>> from musictools import plots
    >>> fig, ax = plots.figure(width=10, height=3)
    >>> extraction([("pool1", 32), ("pool2", 32)], n_tags=50, ax=ax, title="figure 6.1").get_title()
    'figure 6.1'
    """
    n = len(layers)
    boxes = {"input": (0, 0, "spectrogram"), "tags": (n + 1, 0, f"{n_tags} tags\n(source task)")}
    boxes |= {f"layer {k}": (k, 0, f"layer {k}\n{name}") for k, (name, _) in enumerate(layers, start=1)}
    boxes |= {f"mean {k}": (k, 1, f"averages of\n{maps} maps") for k, (_, maps) in enumerate(layers, start=1)}
    boxes |= {
        "features": ((n + 1) / 2, 2, f"{sum(maps for _, maps in layers)} features"),
        "machine": (n + 1, 2, "support vector\nmachine: target\ntask"),
    }
    chain = ["input", *(f"layer {k}" for k in range(1, n + 1)), "tags"]
    arrows = list(zip(chain[:-1], chain[1:], strict=True)) + [("features", "machine")]
    arrows += [pair for k in range(1, n + 1) for pair in ((f"layer {k}", f"mean {k}"), (f"mean {k}", "features"))]
    colours = {f"layer {k}": "#dbe9f6" for k in range(1, n + 1)} | {"features": "#fde5c8", "machine": "#d9efdc"}
    return boxes_and_arrows(boxes, arrows, colours=colours, ax=ax, title=title, fontsize=fontsize)

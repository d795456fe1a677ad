"""Drawings of notebook 13: tables, masks and inputs in, Axes out (the panels of `sharma2022` 4.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from musictools.plots.style import PALETTE, SMALL, current_axes, legend

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from musictools.spectrograms import FrontEnd

__all__ = ["beeswarm", "cluster_map", "patch", "radar", "within_input"]


def beeswarm(
    table: pd.DataFrame, *, value: str = "sensitivity", alpha: float = 0.05, ax: Axes | None = None, title: str = ""
) -> Axes:
    """Concepts as points over their class; filled where q is below `alpha`, ringed in red where flagged.

    Parameters
    ----------
    table : pd.DataFrame
        class, q, the value, and flagged if it is known.
    value : str
        Column on the vertical axis.
    alpha : float in (0, 1)
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    ax = current_axes(ax)
    classes = list(dict.fromkeys(table["class"]))
    low, high = table[value].min(), table[value].max()
    for k, name in enumerate(classes):
        own = table[(table["class"] == name) & table[value].notna()]
        x = k + _spread(own[value].to_numpy(float), (high - low or 1) / 45)
        sure, colour = (own["q"] < alpha).to_numpy(), PALETTE[k % len(PALETTE)]
        ax.scatter(x[sure], own[value][sure], s=26, color=colour)
        ax.scatter(x[~sure], own[value][~sure], s=26, facecolors="none", edgecolors=colour)
        if "flagged" in own:
            flagged = own["flagged"].to_numpy(bool)
            ax.scatter(x[flagged], own[value][flagged], s=90, facecolors="none", edgecolors="crimson", linewidths=1.5)
    ax.axhline(0.5 if value == "score" else 0.0, color="grey", linewidth=1, zorder=0)
    ax.set_xlim(-0.6, len(classes) - 0.4)
    ax.set_xticks(range(len(classes)), classes, rotation=20 if len(classes) > 5 else 0)
    ax.set(ylabel={"score": "TCAV score"}.get(value, value), title=title)
    ax.grid(axis="y", alpha=0.3)
    marks = [
        ax.scatter([], [], s=26, color="grey", label=f"q < {alpha:g}"),
        ax.scatter([], [], s=26, facecolors="none", edgecolors="grey", label="not significant"),
    ]
    if "flagged" in table and table["flagged"].any():
        marks.append(ax.scatter([], [], s=90, facecolors="none", edgecolors="crimson", label="flagged as artefact"))
    legend(ax, marks, [mark.get_label() for mark in marks])
    return ax


def _spread(values, height, width=0.07):
    """Horizontal offsets so that points nearer than `height` stand side by side."""
    offsets, placed = np.zeros(len(values)), []
    for k in np.argsort(values):
        taken = {offsets[j] for j in placed if abs(values[j] - values[k]) < height}
        steps = (width * (-1) ** n * ((n + 1) // 2) for n in range(2 * len(values) + 1))
        offsets[k] = next(step for step in steps if not any(np.isclose(step, other) for other in taken))
        placed.append(k)
    return np.clip(offsets, -0.42, 0.42)


def cluster_map(table: pd.DataFrame, *, marked: Sequence[str] = (), ax: Axes | None = None, title: str = "") -> Axes:
    """Concepts in the plane of their CAVs, coloured by class, with lines to the centres of their clusters.

    Parameters
    ----------
    table : pd.DataFrame [indexed by concept]
        class, cluster, x, y, centre_x, centre_y.
    marked : sequence of str
        Concepts that are ringed and named.
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    ax = current_axes(ax)
    for _, row in table.iterrows():
        ax.plot([row["centre_x"], row["x"]], [row["centre_y"], row["y"]], color="0.85", linewidth=0.7, zorder=0)
    for k, (name, own) in enumerate(table.groupby("class", sort=False)):
        ax.scatter(own["x"], own["y"], s=24, color=PALETTE[k % len(PALETTE)], label=name)
    centres = table.drop_duplicates("cluster")
    ax.scatter(centres["centre_x"], centres["centre_y"], marker="x", s=40, color="black", label="centre of a cluster")
    for name in marked:
        if name in table.index:
            row = table.loc[name]
            ax.scatter(row["x"], row["y"], s=110, facecolors="none", edgecolors="black", linewidths=1.5)
            right = row["x"] > table["x"].median()  # a label to the left of the point stays in the picture
            ax.annotate(
                name, (row["x"], row["y"]), xytext=(-7 if right else 7, 7), textcoords="offset points", fontsize=SMALL,
                ha="right" if right else "left",
            )  # fmt: skip
    ax.set(xticks=[], yticks=[], xlabel="t-SNE 1", ylabel="t-SNE 2", title=title)
    legend(ax, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def patch(
    x: np.ndarray, mask: np.ndarray, *, front_end: FrontEnd | None = None, ax: Axes | None = None, title: str = ""
) -> Axes:
    """An input with the outline of a patch.

    Parameters
    ----------
    x : np.ndarray [shape=(n_bins, n_frames)]
    mask : np.ndarray [shape=(n_bins, n_frames), bool]
    front_end : FrontEnd or None
        Gives the axes seconds; None: they count frames.
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    ax = current_axes(ax)
    extent = _extent(x.shape, front_end)
    ax.imshow(x, origin="lower", aspect="auto", cmap="magma", extent=extent)
    ax.contour(mask.astype(float), levels=[0.5], colors="deepskyblue", linewidths=1.4, extent=extent)
    ax.set_title(title, fontsize=SMALL)
    return ax


def _extent(shape, front_end):
    seconds = 1.0 if front_end is None else front_end.hop_length / front_end.sr
    return (0, shape[1] * seconds, 0, shape[0])


def radar(values: pd.Series, *, ax: Axes | None = None, title: str = "") -> Axes:
    """A polygon over as many spokes as there are values.

    Parameters
    ----------
    values : pd.Series [name -> value]
        In [0, 1]: the middle and the outermost ring.
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    ax = current_axes(ax)
    angles = 2 * np.pi * np.arange(len(values)) / len(values)
    circle = np.append(angles, 0)
    for share in (1 / 3, 2 / 3, 1):
        ax.plot(share * np.sin(circle), share * np.cos(circle), color="0.8", linewidth=0.8)
    for name, angle in zip(values.index, angles, strict=True):
        x, y = np.sin(angle), np.cos(angle)
        ax.plot([0, x], [0, y], color="0.8", linewidth=0.8)
        side = "center" if abs(x) < 0.1 else "left" if x > 0 else "right"
        ax.text(1.12 * x, 1.15 * y, name, ha=side, va="center", fontsize=SMALL)
    level = np.append(values.to_numpy(float), values.iloc[0])
    ax.fill(level * np.sin(circle), level * np.cos(circle), facecolor=PALETTE[0], alpha=0.35, edgecolor=PALETTE[0])
    ax.set(xlim=(-2.6, 2.6), ylim=(-1.35, 1.35), aspect="equal")
    ax.set_axis_off()
    ax.set_title(title, fontsize=SMALL)
    return ax


def within_input(
    x: np.ndarray,
    masks: dict[str, np.ndarray],
    *,
    front_end: FrontEnd | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """An input in grey with the patches of its concepts in colour, labelled (`sharma2022` figure 4.7).

    Parameters
    ----------
    x : np.ndarray [shape=(n_bins, n_frames)]
    masks : dict of str to np.ndarray [shape=(n_bins, n_frames), bool]
        Label -> cells; later ones are drawn over earlier ones.
    front_end : FrontEnd or None
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes
    """
    ax = current_axes(ax)
    extent = _extent(x.shape, front_end)
    ax.imshow(x, origin="lower", aspect="auto", cmap="gray", vmin=-0.2, vmax=1.4, extent=extent)
    shown = np.full(x.shape, np.nan)
    for mask in masks.values():
        shown[mask] = x[mask]
    ax.imshow(np.ma.masked_invalid(shown), origin="lower", aspect="auto", cmap="magma", vmin=0, vmax=1, extent=extent)
    for k, (name, mask) in enumerate(masks.items()):
        colour = PALETTE[k % len(PALETTE)]
        ax.contour(mask.astype(float), levels=[0.5], colors=[colour], linewidths=1.4, extent=extent)
        rows, columns = np.nonzero(mask)
        place = (columns.mean() / x.shape[1] * extent[1], rows.mean() + 0.5)
        ax.annotate(
            name, place, color="white", fontsize=SMALL, ha="center", va="center",
            bbox={"facecolor": colour, "alpha": 0.8, "linewidth": 0, "pad": 1.5},
        )  # fmt: skip
    ax.set(xlabel="time (frames)" if front_end is None else "time (s)", ylabel="bin", title=title)
    return ax

"""Diagrams of boxes and arrows: texts and small pictures in, Axes out, as in `musictools.plots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from musictools.plots.style import SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["boxes_and_arrows", "workflow"]

_GENRE, _DESCRIPTOR, _NEUTRAL = "#dbe9f6", "#fde5c8", "#eeeeee"


def boxes_and_arrows(
    boxes: Mapping[str, tuple[float, float, str]],
    arrows: Sequence[tuple[str, str]],
    *,
    pictures: Mapping[str, np.ndarray] | None = None,
    colours: Mapping[str, str] | None = None,
    size: tuple[float, float] = (0.82, 0.72),
    ax: Axes | None = None,
    title: str = "",
    fontsize: float = SMALL,
) -> Axes:
    """Draw boxes on a grid and arrows between them.

    Parameters
    ----------
    boxes : dict of str to (float, float, str)
        Name -> column and row of the grid (row 0 on top), and the text of the box.
    arrows : sequence of (str, str)
        Names of the boxes from which and to which an arrow goes.
    pictures : dict of str to np.ndarray [shape=(height, width)] or None
        Name -> matrix that is drawn in the upper part of the box, first row at the bottom.
    colours : dict of str to str or None
        Name -> colour of the box; None: light grey.
    size : (float, float)
        Width and height of a box in cells of the grid.
    ax : Axes or None
    title : str
    fontsize : float > 0

    Returns
    -------
    ax : Axes

    Raises
    ------
    ValueError
        If an arrow names a box that does not exist.

    Examples
    --------
    >>> from musictools import plots
    >>> fig, ax = plots.figure()
    >>> ax = boxes_and_arrows({"a": (0, 0, "song"), "b": (1, 0, "genre")}, [("a", "b")], ax=ax)
    >>> [text.get_text() for text in ax.texts if text.get_text()]
    ['song', 'genre']
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyBboxPatch

    pictures, colours = pictures or {}, colours or {}
    unknown = [name for arrow in arrows for name in arrow if name not in boxes]
    if unknown:
        raise ValueError(f"arrows must join boxes: {', '.join(boxes)}. Got {unknown[0]!r}.")
    ax = plt.gca() if ax is None else ax
    width, height = size
    for name, (column, row, text) in boxes.items():
        patch = FancyBboxPatch(
            (column - width / 2, -row - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=colours.get(name, _NEUTRAL),
            edgecolor="0.4",
            linewidth=0.8,
        )
        ax.add_patch(patch)
        drawn = name in pictures
        ax.text(column, -row - (0.22 * height if drawn else 0), text, ha="center", va="center", fontsize=fontsize)
        if drawn:
            extent = (column - 0.44 * width, column + 0.44 * width, -row + 0.02 * height, -row + 0.44 * height)
            ax.imshow(np.asarray(pictures[name]), extent=extent, origin="lower", aspect="auto", cmap="magma", zorder=3)
    for start, end in arrows:
        (x0, y0), (x1, y1) = (_edge(boxes[a], boxes[b], width, height) for a, b in ((start, end), (end, start)))
        ax.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "-|>", "color": "0.3", "linewidth": 1.2})
    columns, rows = ([box[k] for box in boxes.values()] for k in (0, 1))
    ax.set(
        xlim=(min(columns) - 0.55, max(columns) + 0.55),
        ylim=(-max(rows) - 0.55, -min(rows) + 0.55),
        aspect="auto",
        title=title,
    )
    ax.set_axis_off()
    return ax


def _edge(box, other, width, height):
    """Point of a box's border from which an arrow to another box starts: beside, above or below."""
    (x, row, _), (to_x, to_row, _) = box, other
    if x != to_x:
        return x + np.sign(to_x - x) * width / 2, -row
    return x, -row - np.sign(to_row - row) * height / 2


def workflow(
    *,
    song: str,
    genre_steps: Sequence[str],
    descriptor_steps: Sequence[str],
    merged: str,
    pictures: Mapping[str, np.ndarray] | None = None,
    ax: Axes | None = None,
    title: str = "",
) -> Axes:
    """The workflow of the explanation system (`rotheneder2023` figure 5.4).

    The genre of a song is predicted in the upper row, its descriptors in the lower one. The heatmaps of the sections
    are merged into one of the whole song, which explains a descriptor.

    Parameters
    ----------
    song : str
        What is explained.
    genre_steps : sequence of 4 str
        Spectrogram, sections, votes and genre of the genre model.
    descriptor_steps : sequence of 4 str
        Spectrogram, sections, predicted descriptors and the heatmap of a section, of the descriptor model.
    merged : str
        The heatmap of the whole song.
    pictures : dict of str to np.ndarray or None
        Matrices for the boxes "spectrogram", "sections", "heatmap" and "merged" of the descriptor model.
    ax : Axes or None
    title : str

    Returns
    -------
    ax : Axes

    Examples
    --------
    >>> from musictools import plots
    >>> fig, ax = plots.figure(width=12, height=4)
    >>> steps = ["spectrogram", "9 sections", "votes", "classic"]
    >>> ax = workflow(song="song", genre_steps=steps, descriptor_steps=steps, merged="heatmap", ax=ax)
    >>> len(ax.patches)
    10
    """
    upper = [(f"genre {k}", (k, 0, text)) for k, text in enumerate(genre_steps, start=1)]
    names = ("spectrogram", "sections", "descriptors", "heatmap")
    lower = [(name, (k, 1, text)) for k, (name, text) in enumerate(zip(names, descriptor_steps, strict=True), start=1)]
    boxes = {"song": (0, 0.5, song), **dict(upper), **dict(lower), "merged": (5, 1, merged)}
    rows = [["song", *(name for name, _ in row)] for row in (upper, [*lower, ("merged", None)])]
    arrows = [pair for row in rows for pair in zip(row[:-1], row[1:], strict=True)]
    colours = {name: _GENRE for name, _ in upper} | {name: _DESCRIPTOR for name in (*names, "merged")}
    return boxes_and_arrows(boxes, arrows, pictures=pictures, colours=colours, ax=ax, title=title)

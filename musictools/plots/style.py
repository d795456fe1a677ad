"""Style of all figures: width, text sizes, palette."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["PALETTE", "SMALL", "WIDTH", "current_axes", "figure", "legend"]

# Seaborn's palette "colorblind": lines and bars can be told apart with any colour vision, and in print.
PALETTE = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9")

WIDTH = 10.0  # inches of every figure
SMALL = 8  # points of the smallest text: in cells, legends and boxes; other text has Matplotlib's 10, titles 12


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


def current_axes(ax: Axes | None) -> Axes:
    """Return the given Axes, or the current one if none is given.

    Parameters
    ----------
    ax : Axes or None

    Returns
    -------
    ax : Axes

    Raises
    ------
    ValueError
        If `ax` is neither.
    """
    from matplotlib.axes import Axes

    if ax is None:
        import matplotlib.pyplot as plt

        return plt.gca()
    if not isinstance(ax, Axes):
        raise ValueError(f"ax must be a matplotlib Axes or None. Got {type(ax).__name__}.")
    return ax

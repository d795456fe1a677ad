"""Drawing of features: galleries (figures 7.3 and 7.5 to 7.8 of `choi2018`) and first-layer weights (7.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from musictools import plots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from musictools.spectrograms import FrontEnd

__all__ = ["gallery", "weights"]

_DEPTH = 70.0  # dB below the loudest cell of a column's clip


def gallery(
    rows: dict[str, dict[str, np.ndarray]], *, front_end: FrontEnd, axes: np.ndarray, depth: float = _DEPTH
) -> np.ndarray:
    """Spectrograms in rows and columns: the clips on top, features below.

    Every column has the colours of its clip, so that what a feature leaves out is dark.

    Parameters
    ----------
    rows : dict of str to dict of str to np.ndarray [shape=(n_bins, n_frames)]
        Row label -> column label -> dB. The first row is that of the clips.
    front_end : musictools.spectrograms.FrontEnd
    axes : np.ndarray of Axes [shape=(n_rows, n_columns)]
    depth : float > 0
        dB from the brightest colour to the darkest.

    Returns
    -------
    axes : np.ndarray of Axes

    Raises
    ------
    ValueError
        If there are not as many axes as pictures.
    """
    clips = next(iter(rows.values()))
    if np.shape(axes) != (len(rows), len(clips)):
        raise ValueError(f"axes must have shape ({len(rows)}, {len(clips)}). Got {np.shape(axes)}.")
    for i, (label, pictures) in enumerate(rows.items()):
        for j, name in enumerate(clips):
            ax, top = axes[i, j], float(clips[name].max())
            plots.spectrogram(
                pictures[name] - top,
                front_end=front_end,
                ax=ax,
                colorbar=False,
                vmin=-depth,
                vmax=0,
                title=name if i == 0 else "",
            )
            last = i == len(rows) - 1
            ax.set(xlabel="time (s)" if last else "", ylabel=f"{label}\nHz" if j == 0 else "")
            ax.tick_params(labelbottom=last, labelleft=j == 0, labelsize=plots.SMALL)
    bar = axes[0, 0].figure.colorbar(axes[0, -1].images[0], ax=axes, pad=0.01, aspect=40, shrink=0.6)
    bar.set_label("power (dB below the clip's loudest cell)")
    return axes


def weights(kernel: np.ndarray, *, ax: Axes | None = None, title: str = "", end: float | None = None) -> Axes:
    """A first-layer kernel with the sums of its rows and columns (`choi2018` figure 7.4).

    Column sums that change sign make a filter that passes changes over time; row sums of one sign pass what is broad
    in frequency: together an onset detector.

    Parameters
    ----------
    kernel : np.ndarray [shape=(n_bins, n_frames)]
        As Keras applies it: not flipped, low frequency first.
    ax : Axes or None
    title : str
    end : float > 0 or None
        Where the colours are clipped; None: the largest magnitude.

    Returns
    -------
    ax : Axes
    """
    import matplotlib.pyplot as plt

    ax = plt.gca() if ax is None else ax
    kernel = np.asarray(kernel)
    end = float(np.abs(kernel).max()) if end is None else end
    image = ax.imshow(kernel, origin="lower", cmap="RdBu_r", vmin=-(end or 1), vmax=end or 1)
    for (row, column), value in np.ndenumerate(kernel):
        dark = abs(value) > 0.6 * end
        ax.text(
            column,
            row,
            f"{value:.2f}",
            ha="center",
            va="center",
            color="white" if dark else "black",
            fontsize=plots.SMALL,
        )
    rows, columns = kernel.sum(axis=1), kernel.sum(axis=0)
    ax.set_xticks(range(kernel.shape[1]), [f"{k}\nΣ {v:+.2f}" for k, v in enumerate(columns)])
    ax.set_yticks(range(kernel.shape[0]), [f"{k}  Σ {v:+.2f}" for k, v in enumerate(rows)])
    ax.set(xlabel="frame, and sum of its column", ylabel="bin, and sum of its row", title=title)
    ax.figure.colorbar(image, ax=ax, label="weight", shrink=0.8)
    return ax

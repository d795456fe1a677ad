"""Maps of one song: how concentrated they are, how much methods agree, and how they are drawn."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from musictools.explain.application.system import SongExplanation
    from musictools.inference import GenreClassifier, Tagger
    from musictools.spectrograms import FrontEnd

__all__ = ["concentration", "draw_methods", "most_alike", "workflow"]


def concentration(relevance: np.ndarray, share: float = 0.5) -> float:
    """Share of the cells that together hold a share of the positive relevance, the most relevant cells first.

    Parameters
    ----------
    relevance : np.ndarray
    share : float in (0, 1]

    Returns
    -------
    cells : float in [0, 1]
        NaN if no cell has positive relevance.

    Examples
    --------
    >>> concentration(np.array([[8.0, 1.0], [1.0, 0.0]]))
    0.25
    """
    values = np.sort(np.maximum(relevance, 0), axis=None)[::-1].cumsum()
    if not values[-1] > 0:
        return np.nan
    return (int(np.searchsorted(values, share * values[-1])) + 1) / values.size


def most_alike(maps: dict[str, np.ndarray]) -> pd.DataFrame:
    """Rank correlation of the maps of every two methods.

    Parameters
    ----------
    maps : dict of str to np.ndarray
        Method -> map; all of one shape.

    Returns
    -------
    pairs : pd.DataFrame
        first, second, correlation; the most similar pair first. A constant map has no pairs.

    Examples
    --------
    >>> maps = {"a": np.array([1, 2, 3]), "b": np.array([2, 4, 9]), "c": np.array([3, 1, 2])}
    >>> most_alike(maps).head(1).to_dict("records")
    [{'first': 'a', 'second': 'b', 'correlation': 1.0}]
    """
    matrix = pd.DataFrame({name: np.ravel(R) for name, R in maps.items()}).corr("spearman")
    rows = [(a, b, matrix.at[a, b]) for k, a in enumerate(matrix) for b in matrix.columns[k + 1 :]]
    pairs = pd.DataFrame(rows, columns=["first", "second", "correlation"]).dropna()
    return pairs.sort_values("correlation", ascending=False, ignore_index=True)


def draw_methods(maps: dict[str, np.ndarray], x: np.ndarray, *, front_end: FrontEnd) -> Figure:
    """Draw the maps of several methods for one input.

    Parameters
    ----------
    maps : dict of str to np.ndarray [shape=(n_bins, n_frames)]
        Relevance by method.
    x : np.ndarray [shape=(n_bins, n_frames)]
        The input, scaled.
    front_end : musictools.spectrograms.FrontEnd

    Returns
    -------
    fig : Figure
    """
    from musictools import plots

    S = front_end.floor + x * (front_end.ceiling - front_end.floor)
    n_rows = -(-len(maps) // 3)
    fig, axes = plots.figure(rows=n_rows, columns=3, height=0.6 + 1.9 * n_rows, squeeze=False)
    for place, ax in enumerate(axes.ravel()):
        if place >= len(maps):
            ax.set_axis_off()
            continue
        name = list(maps)[place]
        plots.heatmap(maps[name], S=S, front_end=front_end, ax=ax, title=textwrap.fill(name, 22), label="")
        below = place + 3 < len(maps)
        ax.set(xlabel="" if below else "time (s)", ylabel=ax.get_ylabel() if place % 3 == 0 else "")
        ax.tick_params(labelbottom=not below, labelleft=place % 3 == 0)
    return fig


def workflow(
    explanation: SongExplanation,
    tag: str,
    *,
    song: str,
    genre_model: GenreClassifier,
    tagger: Tagger,
    ax: Axes | None = None,
) -> Axes:
    """Draw the workflow of the explanation system with the numbers of one song (`rotheneder2023` figure 5.4).

    Parameters
    ----------
    explanation : SongExplanation
        Explanation of the song with `tag`.
    tag : str
        The descriptor that is visualised.
    song : str
        Title of the song.
    genre_model : GenreClassifier
    tagger : Tagger
    ax : Axes or None

    Returns
    -------
    ax : Axes
    """
    from musictools.plots import diagrams

    votes = explanation.votes["genre"].value_counts()
    predicted = explanation.descriptors.loc[explanation.descriptors["predicted"], "tag"]
    section = int(explanation.sections[tag].argmax())
    cut = slice(section * tagger.step, section * tagger.step + tagger.length)
    heatmap = explanation.heatmaps[tag]
    heatmap = np.minimum(heatmap, np.percentile(heatmap, 99.5) or heatmap.max())  # a few hot cells darken the rest
    listed = textwrap.fill(", ".join(predicted[:8]), 20)
    return diagrams.workflow(
        song=f"song\n{textwrap.fill(song, 18)}",
        genre_steps=[
            *_input_texts(genre_model, len(explanation.votes)),
            "genre of\neach section\n" + "\n".join(f"{n} × {name}" for name, n in votes.head(2).items()),
            f"most frequent:\n{explanation.genre}",
        ],
        descriptor_steps=[
            *_input_texts(tagger, len(explanation.sections)),
            f"{len(predicted)} descriptors\n{listed}",
            f"{tag}:\nheatmap of\neach section",
        ],
        merged="heatmap of\nthe song",
        pictures={
            "spectrogram": explanation.S,
            "sections": explanation.S[:, cut],
            "heatmap": heatmap[:, cut],
            "merged": heatmap,
        },
        ax=ax,
        title=f"How the song gets its genre and the heatmap of {tag}",
    )


def _input_texts(model, n_sections):
    """Texts of the first two boxes of a model: its spectrogram and its sections."""
    f = model.front_end
    return [
        f"{f.sr / 1000:g} kHz\nwindow {f.n_fft}\nhop {f.hop_length}\n{f.n_bins} bands",
        f"{n_sections} sections\n{f.n_bins} × {model.length}",
    ]

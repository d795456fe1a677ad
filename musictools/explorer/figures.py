"""The page's views as pictures, for a notebook that nobody operates."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from musictools import plots
from musictools.explorer import results, sentences, showing, tables
from musictools.explorer.taggers import shared_tags
from musictools.plots import concepts as drawings
from musictools.plots.probing import mosaic

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from musictools.comparison import Comparison
    from musictools.explain.application.system import SongExplanation
    from musictools.explorer.concepts import ConceptPanels
    from musictools.explorer.controller import Explorer
    from musictools.explorer.feature_maps import Thumbnail
    from musictools.explorer.pair import Pair
    from musictools.explorer.songs import Song

__all__ = ["concept", "concepts", "feature_maps", "pair", "result", "song", "taggers"]

_ROW = 0.24  # inches of a tag
_RADARS = 3  # in a row
_TOP = 12  # tags where no tag is shared


def song(explorer: Explorer) -> Figure:
    """Draw the first view: votes, spectrogram with a heatmap for every chosen descriptor, taggram.

    Parameters
    ----------
    explorer : Explorer
        With an explained song.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If no song is explained.
    """
    explanation = explorer.explanation
    if explanation is None:
        raise ValueError("Explain a song first: explorer.open_clip or explorer.open_file, then explorer.wait.")
    tags, chosen = sentences.listed(explorer), [tag for tag in explorer.chosen if tag in explanation.heatmaps]
    heights = [0.6] * bool(len(explanation.votes)) + [2.4] * max(len(chosen), 1) + [1.2 + _ROW * len(tags)]
    fig, axes = plots.figure(height=sum(heights), rows=len(heights), height_ratios=heights)
    end = len(explanation.y) / explanation.front_end.sr
    if len(explanation.votes):
        _votes(explanation, showing.genre_colours(explanation), ax=axes[0], end=end)
    for tag, ax in zip(chosen, axes[-1 - max(len(chosen), 1) :], strict=False):
        explanation.plot(tag, ax=ax)
    if not chosen:
        plots.spectrogram(explanation.S, front_end=explanation.front_end, ax=axes[-2])
    sections = explanation.sections
    seconds = float(sections["end"].iloc[0] - sections["start"].iloc[0])
    plots.taggram(sections[tags].to_numpy(), start=sections["start"], seconds=seconds, tags=tags, ax=axes[-1])
    fig.suptitle(_title(explorer), fontsize=12)
    return fig


def taggers(comparison: Comparison, song: Song) -> Figure:
    """Draw a taggram for each tagger on a common time axis, with the shared tags in the same order.

    Parameters
    ----------
    comparison : Comparison
    song : Song

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    names = list(comparison.taggrams)
    shared = shared_tags(comparison)
    tags = {name: shared or comparison.own(name)[:_TOP] for name in names}
    heights = [1.1 + _ROW * len(own) for own in tags.values()]
    fig, axes = plots.figure(rows=len(names), height=sum(heights), height_ratios=heights, squeeze=False, sharex=True)
    for ax, (name, own) in zip(axes[:, 0], tags.items(), strict=True):
        taggram = comparison.taggrams[name]
        ax.set_facecolor("#cccccc")  # tags that the tagger does not know
        scores = comparison.scores(name, own)
        plots.taggram(scores, start=taggram.start, seconds=taggram.seconds, tags=own, ax=ax, title=name)
        ax.label_outer()
    axes[0, 0].set_xlim(0, len(song.y) / song.sr)  # an input may be longer than the song
    fig.suptitle(_plain(song.title), fontsize=12)
    return fig


def result(folder: str | Path, key: str, *, category: str = "") -> Figure | None:
    """Draw a table of a profile's results as colours, such as the ROC-AUC by tag of notebook 03.

    Parameters
    ----------
    folder : str or Path
        Of the profile.
    key : {"tags", "categories", "drop", "deformed", "kept"}
        One of `results.available` whose cells are coloured on the page.
    category : str
        Only tags of this category; empty: all.

    Returns
    -------
    figure : matplotlib.figure.Figure or None
        None: the table has not been written, or no tag is of this category.
    """
    titles = results.available(folder)
    if key not in titles:
        return None
    table = tables.arranged(results.read(folder, key), category=category)
    if not len(table.values):
        return None
    low, high = table.scale
    fig, ax = plots.figure(height=1.6 + _ROW * len(table.values))
    plots.table_heatmap(table.values, ax=ax, vmin=low, vmax=high, diverging=low < 0)
    ax.set(xlabel="", ylabel="", title=titles[key])
    ax.set_xticks(ax.get_xticks(), ax.get_xticklabels(), rotation=25, ha="right", rotation_mode="anchor")
    return fig


def pair(songs: Pair) -> Figure:
    """Draw the same descriptor of two songs with one scale of colours and of time.

    Parameters
    ----------
    songs : Pair
        Both explained.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If no descriptor has a heatmap for both songs.
    """
    if not songs.tags:
        raise ValueError("Choose a descriptor of both songs first: explorer.choose, pair.follow, then wait for both.")
    tag, both = songs.tags[-1], (songs.first, songs.second)
    colours = showing.genre_colours(*(one.explanation for one in both))
    heights = [0.5, 2.4] * 2
    fig, axes = plots.figure(height=sum(heights) + 0.6, rows=4, height_ratios=heights)
    top = songs.strongest(tag)
    for k, explorer in enumerate(both):
        explanation = explorer.explanation
        _votes(explanation, colours, ax=axes[2 * k], end=songs.span)
        ax = explanation.plot(tag, ax=axes[2 * k + 1], title=f"{_title(explorer)}: {tag}", end=top or None)
        ax.set_xlim(0, songs.span)
    return fig


def feature_maps(thumbnails: list[Thumbnail], *, title: str) -> Figure | None:
    """Draw feature maps that carry a descriptor.

    Parameters
    ----------
    thumbnails : list of Thumbnail
    title : str

    Returns
    -------
    figure : matplotlib.figure.Figure or None
        None: there are none.
    """
    if not thumbnails:
        return None
    columns = min(len(thumbnails), 4)
    rows = -(-len(thumbnails) // columns)
    fig, axes = plots.figure(columns=columns, rows=rows, height=2.4 * rows + 0.6, squeeze=False)
    for ax in axes.ravel()[len(thumbnails) :]:
        ax.set_axis_off()
    for ax, one in zip(axes.ravel(), thumbnails, strict=False):
        mosaic(one.values[None], ax=ax)
        ax.set_title(textwrap.fill(one.name, 34) + "\n" + textwrap.fill(one.measures, 34), fontsize=plots.SMALL)
    fig.suptitle(_plain(title), fontsize=12)
    return fig


def concepts(panels: ConceptPanels, *, value: str = "sensitivity") -> Figure:
    """Draw the concepts of all genres and their clusters: panels 1 and 2.

    Parameters
    ----------
    panels : ConceptPanels
        With concepts. The chosen ones are marked.
    value : {"sensitivity", "score"}

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    fig, axes = plots.figure(rows=2, height=8)
    drawings.beeswarm(panels.table, value=value, ax=axes[0], title="1 · Concepts by genre")
    places = panels.table[panels.table["x"].notna()]
    title = "2 · Clusters of similar concepts"
    drawings.cluster_map(places, marked=panels.chosen, ax=axes[1], title=title)
    return fig


def concept(panels: ConceptPanels, slot: int = 0) -> Figure:
    """Draw a chosen concept: its patches, features of its songs, and concepts within a song (panels 3 to 5).

    Parameters
    ----------
    panels : ConceptPanels
    slot : int
        Which of the chosen concepts.

    Returns
    -------
    figure : matplotlib.figure.Figure
    """
    name, song = panels.chosen[slot], panels.songs[slot]
    songs = [one for one in panels.songs_of(name) if "tempo_bpm" in panels.features.get(one, {})]
    rows = -(-len(songs) // _RADARS)
    heights = [1.7, 1.7] + [2.1 * rows] * bool(songs) + [2.8]
    fig = plots.figure(height=sum(heights) + 0.6, rows=1)[0]
    fig.clear()
    grid = fig.add_gridspec(len(heights), 1, height_ratios=heights)
    few = {"front_end": panels.front_end}
    for row in range(2):
        part = grid[row].subgridspec(1, 5)
        for k, patch in enumerate(panels.patches(name)[5 * row : 5 * row + 5]):
            ax = fig.add_subplot(part[k])
            mask = panels.concepts.patches.mask(patch["index"])
            drawings.patch(panels.input(patch["song"]), mask, ax=ax, title=_plain(patch["title"][:22]), **few)
    part = grid[2].subgridspec(max(rows, 1), _RADARS)
    for k, one in enumerate(songs):
        features = panels.features[one]
        title = f"{panels.title(one)}: {features['source']}, {features['tempo_bpm']:.0f} bpm"
        drawings.radar(_values(features), ax=fig.add_subplot(part[divmod(k, _RADARS)]), title=_plain(title))
    shown = panels.within(name, song)
    masks = {f"{one['name']}{' ' * k}": panels.concepts.patches.mask(one["index"]) for k, one in enumerate(shown)}
    title = f"Concepts within {_plain(panels.title(song))}"
    drawings.within_input(panels.input(song), masks, ax=fig.add_subplot(grid[-1]), title=title, **few)
    fig.suptitle(f"{_plain(name)}. {_plain(panels.facts(name)[1])}", fontsize=plots.SMALL + 2)
    return fig


def _values(features: dict) -> pd.Series:
    import pandas as pd

    from musictools.concepts.song_features import FEATURES

    return pd.Series({name: features[name] for name in FEATURES})


def _votes(explanation: SongExplanation, colours: dict[str, str], *, ax: Axes, end: float) -> None:
    """The sections' genres as a strip, each genre once in the legend."""
    from matplotlib.patches import Patch

    votes = showing.votes(explanation, colours)
    for vote in votes:
        ax.axvspan(vote["start"], vote["end"], color=vote["colour"], linewidth=0)
    ax.set(xlim=(0, end), yticks=[], xticks=[], ylabel="genre")
    names = dict.fromkeys(vote["genre"] for vote in votes)
    handles = [Patch(color=colours[name], label=_plain(name)) for name in names]
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=plots.SMALL)


def _title(explorer):
    genre = explorer.explanation.genre
    return _plain(f"{genre} · {explorer.song.title}" if genre else explorer.song.title)


def _plain(text):
    """Text without Matplotlib's formulas."""
    return text.replace("$", r"\$")

"""What players are given to show: the votes and the taggram of an explained song."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from musictools import plots
from musictools.explorer.networks import NONE
from musictools.explorer.player import COLOURS
from musictools.explorer.taggers import edges

if TYPE_CHECKING:
    from musictools.explain.application.system import SongExplanation

__all__ = ["genre_colours", "taggram", "votes"]

_GREY = "#8a8a8a"


def genre_colours(*explanations: SongExplanation) -> dict[str, str]:
    """Colour of every genre that a section votes for.

    Parameters
    ----------
    *explanations : SongExplanation

    Returns
    -------
    colours : dict of str to str
        The songs' own genres first, then the most frequent ones of each song. No colour is that of a heatmap; sections
        without a genre are grey.
    """
    palette = [colour for colour in plots.PALETTE if colour not in COLOURS]
    names = [one.genre for one in explanations if one.genre]
    for one in explanations:
        if len(one.votes):
            names += list(one.votes["genre"].value_counts().index)
    genres = [name for name in dict.fromkeys(names) if name != NONE]
    colours = {name: palette[min(k, len(palette) - 1)] for k, name in enumerate(genres)}
    return colours | ({NONE: _GREY} if NONE in names else {})


def votes(explanation: SongExplanation, colours: dict[str, str]) -> list[dict[str, Any]]:
    """Sections with their genre.

    Parameters
    ----------
    explanation : SongExplanation
    colours : dict of str to str
        From `genre_colours`.

    Returns
    -------
    votes : list of dict
        As `player.Player.votes`.
    """
    return [
        {"start": float(vote.start), "end": float(vote.end), "genre": vote.genre, "colour": colours[vote.genre]}
        for vote in explanation.votes.itertuples()
    ]


def taggram(explanation: SongExplanation, tags: Sequence[str]) -> dict[str, Any]:
    """Scores of some descriptors over time.

    Parameters
    ----------
    explanation : SongExplanation
    tags : sequence of str

    Returns
    -------
    taggram : dict
        As `player.Player.taggram`.
    """
    sections = explanation.sections
    predicted = explanation.descriptors.set_index("tag")["predicted"]
    return {
        "tags": list(tags),
        "edges": edges(sections["start"], sections["end"]).tolist(),
        "scores": [sections[tag].round(4).tolist() for tag in tags],
        "predicted": [bool(predicted[tag]) for tag in tags],
    }

"""What players are given to show: the votes and the taggram of an explained song."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from musictools import plots
from musictools.explorer.networks import NONE
from musictools.explorer.player import COLOURS, flac
from musictools.explorer.taggers import edges

if TYPE_CHECKING:
    import numpy as np

    from musictools.explain.application.system import SongExplanation

__all__ = ["audible", "genre_colours", "sounds", "taggram", "votes"]

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


def audible(explanation: SongExplanation, tags: Sequence[str]) -> dict[str, tuple[str, np.ndarray]]:
    """Sounds of descriptors: key -> label and waveform of the evidence and of the rest.

    Parameters
    ----------
    explanation : SongExplanation
    tags : sequence of str
        With evidence.

    Returns
    -------
    parts : dict of str to (str, np.ndarray)
    """
    parts = {}
    for tag in tags:
        evidence = explanation.evidence[tag]
        parts[f"evidence:{tag}"] = f"evidence: {tag}", evidence.sound
        parts[f"rest:{tag}"] = f"rest: {tag}", evidence.rest
    return parts


def sounds(
    parts: dict[str, tuple[str, np.ndarray]], *, sr: int, known: dict[str, tuple[np.ndarray, bytes]]
) -> tuple[list[dict[str, Any]], dict[str, tuple[np.ndarray, bytes]]]:
    """Encode sounds for a player; a waveform that is known is not encoded again.

    Parameters
    ----------
    parts : dict of str to (str, np.ndarray)
        Key -> label, waveform.
    sr : int > 0
        Hz.
    known : dict of str to (np.ndarray, bytes)
        Key -> waveform and what it was encoded to, as this function returns it.

    Returns
    -------
    sounds : list of dict
        As `player.Player.sounds`.
    encoded : dict of str to (np.ndarray, bytes)
        For the next call.
    """
    made, encoded = [], {}
    for key, (label, y) in parts.items():
        before = known.get(key)
        content = before[1] if before and before[0] is y else flac(y, sr=sr)
        encoded[key] = y, content
        made.append({"key": key, "label": label, "version": hash(content), "data": content})
    return made, encoded

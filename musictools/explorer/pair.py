"""A second song beside the explorer's: the same networks, method and descriptors, without widgets."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from musictools.explorer import player

if TYPE_CHECKING:
    from musictools.explorer.controller import Explorer

__all__ = ["Pair", "sentence"]


class Pair:
    """Two songs that are explained alike.

    Parameters
    ----------
    first : Explorer

    Attributes
    ----------
    first, second : Explorer
        The second one follows the first: its networks, its method and its chosen descriptors.
    """

    def __init__(self, first: Explorer):
        self.first, self.second = first, first.beside()
        self._given = None, ()  # scores of the second song, and the descriptors that were chosen for it

    def follow(self) -> None:
        """Give the second explorer the first one's networks and descriptors."""
        first, second = self.first, self.second
        choice = {"tagger": first.tagger, "genre": first.genre, "method": first.method}
        if first.tagger and choice != {name: getattr(second, name) for name in choice}:
            second.choose_networks(**choice)
        if first.chosen and second.explanation is not None:
            scores, chosen = self._given
            if scores is not second.explanation.descriptors or chosen != first.chosen:
                self._given = second.explanation.descriptors, first.chosen
                second.choose(first.chosen)

    @property
    def tags(self) -> list[str]:
        """Chosen descriptors whose heatmaps are there for both songs."""
        explained = [one.explanation for one in (self.first, self.second)]
        return [tag for tag in self.first.chosen if all(one is not None and tag in one.heatmaps for one in explained)]

    @property
    def span(self) -> float:
        """Length in s of the time axis of both songs."""
        made = [one.explanation for one in (self.first, self.second) if one.explanation is not None]
        return max((len(one.y) / one.front_end.sr for one in made), default=0.0)

    def strongest(self, tag: str) -> float:
        """Relevance at which the colour of a descriptor is opaque in both songs.

        Parameters
        ----------
        tag : str
            One of `tags`.

        Returns
        -------
        top : float
            0 if neither song has relevance.
        """
        return player.strongest(*(one.explanation.heatmaps[tag] for one in (self.first, self.second)))


def sentence(pair: Pair) -> str:
    """Compare the scores of the chosen descriptors and the genres.

    Parameters
    ----------
    pair : Pair

    Returns
    -------
    html : str
        Empty as long as one of the songs is not explained.
    """
    first, second = pair.first.explanation, pair.second.explanation
    if first is None or second is None:
        return ""
    lines = []
    genres = [escape(str(one.genre)) for one in (first, second) if one.genre]
    if len(genres) == 2:
        if genres[0] == genres[1]:
            lines.append(f"Both songs are <b>{genres[0]}</b>.")
        else:
            lines.append(f"The first song is <b>{genres[0]}</b>, the second one <b>{genres[1]}</b>.")
    for tag in pair.first.chosen:
        scores = [one.descriptors.set_index("tag")["score"].get(tag) for one in (first, second)]
        if None not in scores:
            threshold = first.descriptors.set_index("tag").at[tag, "threshold"]
            lines.append(
                f"<b>{escape(tag)}</b>: score {scores[0]:.2f} in the first song, {scores[1]:.2f} in the second; "
                f"threshold {threshold:.2f}."
            )
        absent = [f"the {name}" for name, one in (("first", first), ("second", second)) if not _somewhere(one, tag)]
        if absent:
            lines.append(f"No section of {' and of '.join(absent)} song predicts {escape(tag)}.")
    return "".join(f"<p>{line}</p>" for line in lines)


def _somewhere(explanation, tag):
    return tag not in explanation.heatmaps or bool((explanation.heatmaps[tag] != 0).any())

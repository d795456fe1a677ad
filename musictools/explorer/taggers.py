"""Several taggers on the explorer's song, without widgets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools import tags as vocabularies
from musictools.explorer.tables import Table
from musictools.explorer.work import Progress, sentence
from musictools.models.card import ModelCard

if TYPE_CHECKING:
    from musictools.comparison import Comparison
    from musictools.explorer.controller import Explorer

__all__ = ["MOST_TAGGERS", "Taggers", "edges", "rows", "score_table", "shared_tags"]

MOST_TAGGERS = 4  # side by side
_TOP = 8  # tags of the taggrams that are there in any case
_MOST_ROWS = 14  # of the shared tags in a taggram; the table has all
_OWN = 4  # at most, of those that only one tagger knows and predicts


class Taggers:
    """The taggers that are compared on the explorer's song.

    Parameters
    ----------
    explorer : Explorer
        Its thread does the work, and it shows the progress and the errors.

    Attributes
    ----------
    names : tuple of str
        At most `MOST_TAGGERS`; at first the explorer's tagger and the next one that is another network.
    """

    def __init__(self, explorer: Explorer):
        self.explorer = explorer
        self.names: tuple[str, ...] = self._first()
        self._loaded, self._taggrams = {}, {}
        self._song = self._made = None

    @property
    def comparison(self) -> Comparison | None:
        """What these taggers say of the explorer's song; None: they have not been asked."""
        song, names, comparison = self._made or (None, None, None)
        return comparison if song is self.explorer.song and names == self.names else None

    def choose(self, names: Sequence[str]) -> None:
        """Choose taggers and ask them.

        Parameters
        ----------
        names : sequence of str
            Unknown ones, and those after the first `MOST_TAGGERS`, are left out.
        """
        self.names = tuple(name for name in dict.fromkeys(names) if name in self.explorer.taggers)[:MOST_TAGGERS]
        self.ask()

    def ask(self) -> None:
        """Ask the taggers, unless they have been asked about this song."""
        song, names = self.explorer.song, self.names
        if song is not None and names and self.comparison is None:
            self.explorer.work(("compare", id(song), names), lambda: self._compare(song, names))

    def _first(self):
        """Notebook 03 writes its best tagger twice, as itself and as ``tagger``: copies have the same card."""
        files, own = self.explorer.files["taggers"], self.explorer.tagger
        if own is None:
            return ()
        cards = {name: ModelCard.read(files[name]) for name in files} if len(files) > 1 else {}
        return own, *[name for name, card in cards.items() if card != cards[own]][:1]

    def _compare(self, song, names) -> Iterator[Progress]:
        from musictools import comparison, released

        if song is not self._song:
            self._song, self._taggrams = song, {}
        self._loaded = {name: tagger for name, tagger in self._loaded.items() if name in names}
        for k, name in enumerate(names):
            yield Progress(f"loading {name}", k / len(names))
            if name not in self._loaded:
                with sentence(f"The tagger {name} cannot be read. Choose another one, or make it again."):
                    self._loaded[name] = released.load(self.explorer.files["taggers"][name])
            yield Progress(f"asking {name}", (k + 0.4) / len(names))
            if name not in self._taggrams:
                with sentence(f"The tagger {name} cannot be applied to {song.title}. Choose another one."):
                    self._taggrams[name] = self._loaded[name].taggram(song.y, sr=song.sr)
        yield Progress("comparing the taggers", 0.99)
        taggers = {name: self._loaded[name] for name in names}
        with sentence("The taggers cannot be compared. Choose others."):
            made = comparison.compare(taggers, song.y, sr=song.sr, taggrams=self._taggrams)
        self._made = song, names, made


def score_table(comparison: Comparison) -> Table:
    """Scores of the song by tag and tagger.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    table : Table
        With a column "largest difference" where several taggers are compared.
    """
    values = comparison.table.copy()
    kinds = pd.Series(
        {tag: "genre" if vocabularies.genre_of(tag) else vocabularies.category(tag) for tag in values.index}
    )
    marks = pd.DataFrame({name: decided["predicted"] for name, decided in comparison.decisions.items()})
    if values.shape[1] > 1:
        spread = comparison.table.max(axis=1) - comparison.table.min(axis=1)
        values["largest difference"] = spread.where(comparison.table.notna().sum(axis=1) > 1)
    note = "Score of the whole song; ● above the tagger's own threshold; –: the tagger does not know the tag."
    return Table(values, "tag", marks=marks, categories=kinds, scale=(0.0, 1.0), note=note)


def edges(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Where the columns of a taggram meet: where inputs overlap, half-way between their middles.

    Parameters
    ----------
    start, end : np.ndarray [shape=(n_inputs,)]
        Of the inputs, in s.

    Returns
    -------
    edges : np.ndarray [shape=(n_inputs + 1,)]

    Examples
    --------
    >>> edges(np.array([0.0, 2.0]), np.array([4.0, 6.0]))
    array([0., 3., 6.])
    """
    middle = (np.asarray(start) + np.asarray(end)) / 2
    return np.r_[0.0, (middle[1:] + middle[:-1]) / 2, float(np.max(end))]


def shared_tags(comparison: Comparison) -> list[str]:
    """Choose the shared tags whose scores over time are shown: the first ones, and those that a tagger predicts.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    tags : list of str
        In the order of the mean score; not so many that the taggrams cannot be compared.
    """
    return comparison.first(comparison.shared, list(comparison.taggrams), _TOP)[:_MOST_ROWS]


def rows(comparison: Comparison) -> dict[str, Any]:
    """Rows of the player: one taggram for each tagger, with the shared tags in the same order.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    taggram : dict
        As `player.Player.taggram`, with a heading for each tagger.
    """
    names = list(comparison.taggrams)
    shared = shared_tags(comparison)
    made = {"tags": [], "edges": [], "scores": [], "predicted": []}
    for name in names:
        taggram, decided = comparison.taggrams[name], comparison.decisions[name]
        data = {"composed": "the composed corpus"}.get(comparison.data[name], comparison.data[name])
        own = comparison.own(name)
        tags = shared + comparison.first(own, [name], 0)[:_OWN] if shared else own[:_TOP]
        where = edges(taggram.start, taggram.start + taggram.seconds).tolist()
        _add(made, f"{name}{data and f', which learnt from {data}'}", [], [], False)
        for tag, scores in zip(tags, comparison.scores(name, tags).T, strict=True):
            if np.isnan(scores).any():
                _add(made, tag, [0.0, where[-1]], [None], False)
            else:
                _add(made, tag, where, scores.round(4).tolist(), bool(decided.at[tag, "predicted"]))
    return made


def _add(made, *values):
    for name, value in zip(("tags", "edges", "scores", "predicted"), values, strict=True):
        made[name].append(value)

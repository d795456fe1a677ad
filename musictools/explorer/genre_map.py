"""Where the genre model finds its genre in the explorer's song: a heatmap of the decision itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools.explorer.places import where_of
from musictools.explorer.player import shown_front_end
from musictools.explorer.work import Progress, sentence

if TYPE_CHECKING:
    from musictools.explain.application.evidence import Evidence
    from musictools.explain.application.system import SongExplanation
    from musictools.explorer.controller import Explorer
    from musictools.spectrograms import FrontEnd

__all__ = ["COLOUR", "GenreMap", "GenreReason", "decided_output", "genre_heatmap", "on_cells"]

COLOUR = "#f0e442"  # Okabe and Ito's yellow: neither that of a descriptor nor that of a vote


@dataclass(frozen=True, eq=False)
class GenreReason:
    """What speaks for the song's genre.

    Attributes
    ----------
    heatmap : np.ndarray [shape=(n_bins, n_frames)]
        On the cells of the picture; 0 in sections with another genre.
    evidence : Evidence or None
        None: nothing is positive.
    scores : pd.DataFrame [indexed by genre]
        song, evidence, rest: mean scores of the genre model.
    """

    heatmap: np.ndarray
    evidence: Evidence | None
    scores: pd.DataFrame


class GenreMap:
    """The heatmap of the genre, made when it is asked for.

    Parameters
    ----------
    explorer : Explorer
        Its thread does the work.
    """

    def __init__(self, explorer: Explorer):
        self.explorer, self._made, self._asked = explorer, None, None

    @property
    def made(self) -> GenreReason | None:
        """What was found for the present song and networks; None: it has not been asked for, or not found yet."""
        return self._made[1] if self._made is not None and self._made[0] == self._key() else None

    def ask(self) -> None:
        """Make it, unless it was asked for before."""
        explorer = self.explorer
        if self.possible and self.made is None and self._asked != self._key():
            self._asked = self._key()
            explorer.work(("genre", *self._asked), self._compute)

    def ask_again(self) -> None:
        """Ask for what failed or was cancelled at the next `ask`."""
        self._asked = None

    @property
    def possible(self) -> bool:
        """Whether the song has a genre, and the network that says so is here."""
        explorer = self.explorer
        return (
            explorer.explanation is not None
            and bool(explorer.explanation.genre)
            and explorer.system is not None
            and explorer.system.genre_model is not None
        )

    @property
    def html(self) -> str:
        """What it tells, in sentences."""
        if not self.possible:
            return ""
        genre, made = escape(self.explorer.explanation.genre), self.made
        if made is None:
            return f"<p>Where the genre model finds {genre} is being computed.</p>" if self.explorer.busy else ""
        if made.evidence is None:
            return f"<p>With this method, nothing in the song speaks for {genre}. Try another method.</p>"
        place = where_of(made.heatmap, front_end=shown_front_end(self.explorer.explanation.front_end))
        scores, alone = made.scores, made.scores["evidence"].idxmax()
        numbers = ", ".join(f"{scores.at[self.explorer.explanation.genre, part]:.2f} {words}" for part, words in _PARTS)
        verdict = (
            f"The evidence alone is still {genre} for the model."
            if alone == self.explorer.explanation.genre
            else f"The evidence alone would be {escape(str(alone))}: what the heatmap marks is not enough."
        )
        return f"<p><b>{genre}</b> (genre model): mean score {numbers}. {verdict} {place}</p>"

    def _key(self):
        explorer = self.explorer
        return id(explorer.song), explorer.tagger, explorer.genre, explorer.method

    def _compute(self) -> Iterator[Progress]:
        explanation, system, key = self.explorer.explanation, self.explorer.system, self._key()
        if explanation is None:
            return
        genre, model = explanation.genre, system.genre_model
        yield Progress(f"finding {genre} in the song", 0.1)
        with sentence(f"The method {explanation.method} cannot find {genre} with the genre model. Try another method."):
            heatmap = genre_heatmap(model, explanation)
            heatmap = on_cells(heatmap, model.front_end, shown_front_end(explanation.front_end), explanation.y.size)
        evidence = None
        parts = {"song": explanation.y}
        if np.any(heatmap > 0):
            yield Progress(f"making {genre} audible", 0.6)
            from musictools.explain.application import evidence as sounds

            with sentence(f"The evidence of {genre} cannot be made audible."):
                evidence = sounds.evidence(explanation.y, heatmap, front_end=shown_front_end(explanation.front_end))
            parts |= {"evidence": evidence.sound, "rest": evidence.rest}
        yield Progress(f"asking about {genre}", 0.8)
        with sentence(f"The genre model cannot be asked about the evidence of {genre}."):
            scores = {name: _scores(model, y, explanation.front_end.sr) for name, y in parts.items()}
        if key == self._key():
            self._made = key, GenreReason(heatmap, evidence, pd.DataFrame(scores))
        yield Progress(f"asking about {genre}", 1.0)


_PARTS = (("song", "of the song"), ("evidence", "of its evidence alone"), ("rest", "of the rest"))


def decided_output(model: Any, genre: str, x: np.ndarray) -> tuple[Any, int]:
    """Find the output that stands for a genre.

    Parameters
    ----------
    model : GenreClassifier or TaggerGenres
    genre : str
    x : np.ndarray
        Inputs.

    Returns
    -------
    network : keras.Model
    output : int
        For the genres among a tagger's tags, the tag of this genre with the highest mean score.
    """
    if not hasattr(model, "members"):
        return model.model, model.tags.index(genre)
    tagger = model.tagger
    means = pd.Series(tagger.scores(x).mean(axis=0), tagger.tags)
    return tagger.model, tagger.tags.index(means[model.members[genre]].idxmax())


def genre_heatmap(model: Any, explanation: SongExplanation) -> np.ndarray:
    """Explain the genre of a song.

    Parameters
    ----------
    model : GenreClassifier or TaggerGenres
        The explanation's genre model.
    explanation : SongExplanation
        With a genre.

    Returns
    -------
    heatmap : np.ndarray [shape=(n_bins, n_frames)]
        On the cells of the genre model's front end. 0 in sections that do not vote for the genre.
    """
    from musictools import explain
    from musictools.explain.application.system import merge

    y = _resampled(explanation.y, explanation.front_end.sr, model.front_end.sr)
    S = model.front_end.compute(y)
    x = model.inputs(y, S=S)
    rows = np.flatnonzero((explanation.votes["genre"] == explanation.genre).to_numpy())
    network, output = decided_output(model, explanation.genre, x[rows])
    options = {"method": explanation.method, "conservation": False}
    if hasattr(model, "members"):  # a sigmoid: what is explained is the score above the tag's threshold
        scores = pd.Series(model.tagger.scores(x[rows]).mean(axis=0), model.tagger.tags)
        thresholds = model.tagger.decide(scores, rule=explanation.rule).set_index("tag")["threshold"]
        options["reference"] = float(np.clip(thresholds[model.tagger.tags[output]], 1e-6, 1 - 1e-6))
    made = explain.relevance(network, x[rows], output, **options).relevance
    maps = made.reshape(len(rows), model.front_end.n_bins, model.length)
    return merge(maps, starts=rows * model.step, n_frames=S.shape[1])


def on_cells(heatmap: np.ndarray, of: FrontEnd, to: FrontEnd, n_samples: int) -> np.ndarray:
    """Carry a heatmap over to the cells of another front end: each takes the value of the nearest cell.

    Parameters
    ----------
    heatmap : np.ndarray [shape=(n_bins, n_frames)]
    of, to : FrontEnd
        Of the heatmap, and of the result.
    n_samples : int > 0
        Of the song at the sampling rate of `to`.

    Returns
    -------
    heatmap : np.ndarray
        On the cells of `to`; 0 at frequencies that `of` does not have. The heatmap of a waveform is the same at all
        frequencies.
    """
    times = np.arange(to.n_frames(n_samples)) * to.frame_seconds
    columns = np.clip(np.rint(times / of.frame_seconds).astype(int), 0, heatmap.shape[1] - 1)
    if len(heatmap) == 1:
        return np.repeat(heatmap[:, columns], to.n_bins, axis=0)
    have, want = of.frequencies(), to.frequencies()
    rows = np.abs(want[:, None] - have[None]).argmin(axis=1)
    return np.where((want <= have[-1] * 1.05)[:, None], heatmap[np.ix_(rows, columns)], 0)


def _resampled(y, orig_sr, sr):
    from musictools import audio

    return y if orig_sr == sr else audio.resample(y, orig_sr=orig_sr, sr=sr)


def _scores(model, y, sr):
    x = model.inputs(_resampled(np.asarray(y, np.float32), sr, model.front_end.sr))
    return pd.Series(model.scores(x).mean(axis=0), model.tags)

"""Trained models with their cards, applied to songs of any length: taggers and genre classifiers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd

from musictools import audio, evaluation
from musictools import tags as vocabularies
from musictools.models.card import ModelCard
from musictools.spectrograms import ModelInput, segments

if TYPE_CHECKING:
    import keras

__all__ = ["AudioModel", "GenreClassifier", "Tagger", "TaggerGenres", "Taggram"]


@dataclass(frozen=True)
class Taggram:
    """Tag scores over time (`tagger_slides`, figure 1).

    Attributes
    ----------
    scores : np.ndarray [shape=(n_inputs, n_tags)], in [0, 1]
    start : np.ndarray [shape=(n_inputs,)]
        Start of every input in s.
    seconds : float
        Length of one input; inputs may overlap.
    tags : list of str

    Examples
    --------
    >>> taggram = Taggram(np.array([[0.25, 0.5], [0.75, 0.5]]), np.array([0.0, 2.0]), 4.0, ["drums", "flute"])
    >>> taggram.joined()["drums"], taggram.joined("union")["drums"]
    (np.float64(0.5), np.float64(0.75))
    >>> list(taggram.to_frame().columns)
    ['start', 'end', 'drums', 'flute']
    """

    scores: np.ndarray
    start: np.ndarray
    seconds: float
    tags: list[str]

    def to_frame(self) -> pd.DataFrame:
        """Return the scores as a table.

        Returns
        -------
        table : pd.DataFrame
            One row for each input: start and end in s, and one column for each tag.
        """
        table = pd.DataFrame(self.scores, columns=self.tags)
        table.insert(0, "start", self.start)
        table.insert(1, "end", self.start + self.seconds)
        return table

    def joined(self, join: str = "mean") -> pd.Series:
        """Scores of the whole clip.

        Parameters
        ----------
        join : {"mean", "union"}
            Mean of all inputs, or the highest score.

        Returns
        -------
        scores : pd.Series [tag -> score]

        Raises
        ------
        ValueError
            If `join` is neither.
        """
        if join not in ("mean", "union"):
            raise ValueError(f"join must be 'mean' or 'union'. Got {join!r}.")
        values = self.scores.mean(axis=0) if join == "mean" else self.scores.max(axis=0)
        return pd.Series(values, index=self.tags, name="score")


class AudioModel:
    """A trained model with its card, applied to waveforms. `Tagger` and `GenreClassifier` are the two kinds.

    Parameters
    ----------
    model : keras.Model
        Scores in (0, 1).
    card : ModelCard

    Attributes
    ----------
    tags : list of str
        Names of the outputs; for a genre classifier, the genres.
    front_end : FrontEnd
    length, step : int
        Frames of one segment, and frames from the start of one segment to the start of the next.

    Raises
    ------
    ValueError
        If model and card do not belong together, or the card has no front end.
    """

    kind: str = "audio model"  # in messages
    task: str | None = None  # in cards

    def __init__(self, model: keras.Model, card: ModelCard):
        if card.task != self.task:
            raise ValueError(f"The model is no {self.kind}: its card says task={card.task!r}.")
        if card.front_end is None:
            raise ValueError(
                "The card's front_end is null: the model was trained on spectrograms that nobody here "
                "can compute, so it cannot be applied to songs."
            )
        self.model, self.card, self.tags = model, card, list(card.outputs)
        self.front_end, self.length, self.step = card.front_end, card.length, card.step
        if model.output_shape[-1] != len(self.tags):
            raise ValueError(f"The card names {len(self.tags)} outputs, the model has {model.output_shape[-1]}.")
        shape = ModelInput(self.front_end, self.length, self.step).shape
        if tuple(model.input_shape[1:]) != shape:
            raise ValueError(f"The card describes inputs of shape {shape}, the model takes {model.input_shape[1:]}.")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a model and its card.

        Parameters
        ----------
        path : str or Path
            The ``.keras`` file that notebook 02 (genres) or 03 (tags) wrote; the card lies beside it, or in the folder
            ``cards`` beside its folder.

        Returns
        -------
        model : AudioModel
            An instance of the class that `load` was called on.

        Raises
        ------
        ValueError
            If there is no such model, it or its card is damaged or missing, or it is of another kind.
        """
        from musictools import models

        card, model = ModelCard.read(path), models.load(path)
        try:
            return cls(model, card)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def inputs(self, y: np.ndarray, *, S: np.ndarray | None = None) -> np.ndarray:
        """Cut a waveform into model inputs.

        Parameters
        ----------
        y : np.ndarray [shape=(n,)]
            Waveform at ``front_end.sr``. If it is shorter than one input, its spectrogram is lengthened by repeating
            the last column; a waveform input is lengthened by silence.
        S : np.ndarray [shape=(n_bins, n_frames)] or None
            Its spectrogram, ``front_end.compute(y)``, if that exists already.

        Returns
        -------
        x : np.ndarray [shape=(n_inputs, ...), float32]
            Trailing frames shorter than one step are dropped.
        """
        S = self.front_end.compute(y) if S is None else S
        if self.front_end.kind == "waveform":
            S = np.pad(S, ((0, 0), (0, max(0, self.length - S.shape[1]))))
        x = self.front_end.scale(segments(S, length=self.length, step=self.step, pad_to=self.length))
        return x.reshape(len(x), *self.model.input_shape[1:])

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Scores of model inputs.

        Parameters
        ----------
        x : np.ndarray [shape=(n_inputs, ...)]
            From `inputs`.

        Returns
        -------
        scores : np.ndarray [shape=(n_inputs, n_tags)]
        """
        return evaluation.predict(self.model, x, batch_size=16)

    @property
    def about(self) -> dict[str, str]:
        """Who speaks: network (the name of its release or architecture), data, licence, source and citation."""
        card = self.card
        network = card.provenance.get("release", card.model)
        return {"network": network, **{name: getattr(card, name) for name in ("data", "licence", "source", "citation")}}

    def taggram(self, y: np.ndarray, *, sr: int) -> Taggram:
        """Tag scores over time.

        Parameters
        ----------
        y : np.ndarray [shape=(n,)]
            Waveform of any length.
        sr : int > 0
            Sampling rate in Hz.

        Returns
        -------
        taggram : Taggram
        """
        if sr != self.front_end.sr:
            y = audio.resample(y, orig_sr=sr, sr=self.front_end.sr)
        scores = self.scores(self.inputs(y))
        hop = self.front_end.frame_seconds
        return Taggram(scores, np.arange(len(scores)) * self.step * hop, self.length * hop, self.tags)


class GenreClassifier(AudioModel):
    """A genre classifier. Its segments follow each other without gaps, even if the card's step is larger.

    Parameters
    ----------
    model : keras.Model
        Scores in (0, 1).
    card : ModelCard
    """

    kind, task = "genre classifier", "genre"

    def __init__(self, model: keras.Model, card: ModelCard):
        super().__init__(model, card)
        self.step = min(self.step, self.length)


class Tagger(AudioModel):
    """A tagger. Its card may hold thresholds, where they have been tuned.

    Parameters
    ----------
    model : keras.Model
        Scores in (0, 1).
    card : ModelCard

    See Also
    --------
    musictools.explain.system.ExplanationSystem : Explains the tags of a song.

    Examples
    --------
    >>> import keras
    >>> from musictools.models.card import ModelCard
    >>> from musictools.spectrograms import FrontEnd
    >>> layers = [keras.Input((40, 30, 1)), keras.layers.Flatten(), keras.layers.Dense(2, activation="sigmoid")]
    >>> card = ModelCard(task="tags", model="tiny", outputs=["drums", "flute"], length=30, step=15,
    ...                  front_end=FrontEnd(8000, 512, 256, 40))
    >>> tagger = Tagger(keras.Sequential(layers), card)
    >>> taggram = tagger.taggram(np.zeros(44100), sr=22050)
    >>> taggram.scores.shape
    (3, 2)
    >>> list(tagger.decide(taggram.joined(), rule="half").columns)
    ['tag', 'score', 'threshold', 'predicted']
    """

    kind, task = "tagger", "tags"

    @property
    def descriptors(self) -> list[str]:
        """Tags that are no genre, see `musictools.tags.genre_of`."""
        return [tag for tag in self.tags if vocabularies.genre_of(tag) is None]

    def decide(self, scores: pd.Series, *, rule: str = "f1") -> pd.DataFrame:
        """Decide which tags a clip gets.

        Parameters
        ----------
        scores : pd.Series [tag -> score]
            Means over the clip's inputs, as `Taggram.joined` gives them: the thresholds were chosen for means.
        rule : str
            One of the card's, or "half" for 0.5.

        Returns
        -------
        table : pd.DataFrame
            tag, score, threshold, predicted; those predicted first, then by score.

        Raises
        ------
        ValueError
            If the card has no thresholds by that rule.
        """
        known = self.card.thresholds
        if rule != "half" and rule not in known:
            raise ValueError(f"rule must be 'half'{''.join(f', {r!r}' for r in known if r != 'half')}. Got {rule!r}.")
        threshold = pd.Series(0.5, scores.index) if rule == "half" else pd.Series(known[rule])[scores.index]
        table = pd.DataFrame({"tag": scores.index, "score": scores.to_numpy(), "threshold": threshold.to_numpy()})
        table["predicted"] = table["score"] > table["threshold"]
        return table.sort_values(["predicted", "score"], ascending=False, ignore_index=True)


class TaggerGenres:
    """The genres among a tagger's tags, used like a `GenreClassifier`: a genre has the highest score of its tags.

    Parameters
    ----------
    tagger : Tagger
        MagnaTagATune's and Last.fm's top tags have genres, the suite's own taggers do not.
    least : dict of str to float or None
        Score that a tag must exceed to count, such as its share of the annotated clips; None: 0.

    Attributes
    ----------
    tags : list of str
        The genres.
    members : dict of str to list of str
        Genre -> the tagger's tags that name it.

    Raises
    ------
    ValueError
        If no tag is a genre.
    """

    def __init__(self, tagger: Tagger, *, least: dict[str, float] | None = None):
        self.members = {}
        for tag in tagger.tags:
            if genre := vocabularies.genre_of(tag):
                self.members.setdefault(genre, []).append(tag)
        if not self.members:
            raise ValueError(f"None of the tagger's tags is a genre: {', '.join(tagger.tags[:5])}, …")
        self.tagger, self.card, self.tags = tagger, tagger.card, list(self.members)
        self.front_end, self.length, self.step = tagger.front_end, tagger.length, tagger.step
        self.about = tagger.about
        self._least = np.array([(least or {}).get(tag, 0.0) for tag in tagger.tags])

    def inputs(self, y: np.ndarray, *, S: np.ndarray | None = None) -> np.ndarray:
        """Cut a waveform into model inputs.

        Parameters
        ----------
        y : np.ndarray [shape=(n,)]
        S : np.ndarray or None
            As in `AudioModel.inputs`.

        Returns
        -------
        x : np.ndarray [shape=(n_inputs, ...), float32]
        """
        return self.tagger.inputs(y, S=S)

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Scores of model inputs.

        Parameters
        ----------
        x : np.ndarray [shape=(n_inputs, ...)]
            From `inputs`.

        Returns
        -------
        scores : np.ndarray [shape=(n_inputs, n_genres)]
            0 where none of a genre's tags counts.
        """
        scores = self.tagger.scores(x)
        scores = pd.DataFrame(np.where(scores > self._least, scores, 0.0), columns=self.tagger.tags)
        return np.stack([scores[tags].to_numpy().max(axis=1) for tags in self.members.values()], axis=1)

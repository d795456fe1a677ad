"""Trained models with their cards, ready for songs of any length: taggers and genre classifiers.

A card (JSON beside the model, or in the folder ``cards`` beside the folder ``models``) says what the model needs:
``tags`` or ``genres``, ``front_end``, ``length``, ``step`` and, of a tagger, by rule, ``thresholds``.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from musictools import audio, evaluation
from musictools.spectrograms import FrontEnd, ModelInput, frames

__all__ = ["GenreClassifier", "Listener", "Tagger", "Taggram"]


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
    """

    scores: np.ndarray
    start: np.ndarray
    seconds: float
    tags: list

    def to_frame(self):
        """As a table: a row an input, start and end in s, a column a tag."""
        table = pd.DataFrame(self.scores, columns=self.tags)
        table.insert(0, "start", self.start)
        table.insert(1, "end", self.start + self.seconds)
        return table

    def joined(self, join="mean"):
        """Scores of the whole clip: the mean of all inputs, or with ``"union"`` the highest, pd.Series by tag."""
        if join not in ("mean", "union"):
            raise ValueError(f"join must be 'mean' or 'union'. Got {join!r}.")
        values = self.scores.mean(axis=0) if join == "mean" else self.scores.max(axis=0)
        return pd.Series(values, index=self.tags, name="score")


class Listener:
    """A model with its card, ready to hear songs; `Tagger` and `GenreClassifier` are the two kinds.

    Parameters
    ----------
    model : keras.Model
        Scores in (0, 1).
    card : dict
        tags or genres, front_end (JSON), length, step.

    Attributes
    ----------
    tags : list of str
        What the outputs stand for, genres of a genre classifier.
    front_end : FrontEnd
    length, step : int
        Frames of one input, and from one to the next.
    """

    kind, task, names = "listener", None, "tags"  # in words, in cards, and the card's key of the outputs' names

    def __init__(self, model, card):
        missing = {self.names, "front_end", "length", "step"} - set(card)
        if missing:
            raise ValueError(f"The card lacks {', '.join(sorted(missing))}; a {self.kind}'s card has them.")
        self.model, self.card, self.tags = model, card, list(card[self.names])
        if model.output_shape[-1] != len(self.tags):
            raise ValueError(f"The card names {len(self.tags)} {self.names}, the model has {model.output_shape[-1]} "
                             "outputs.")
        if card["front_end"] is None:
            raise ValueError("The card's front_end is null: the model was trained on spectrograms that nobody here "
                             "can make, it hears no songs.")
        try:
            self.front_end = FrontEnd.from_json(card["front_end"])
        except (TypeError, ValueError) as error:
            raise ValueError(f"The card's front_end cannot be read ({error}).") from None
        self.length, self.step = int(card["length"]), int(card["step"])
        shape = ModelInput(self.front_end, self.length, self.step).shape
        if tuple(model.input_shape[1:]) != shape:
            raise ValueError(f"The card describes inputs of shape {shape}, the model takes {model.input_shape[1:]}.")

    @classmethod
    def load(cls, path):
        """Read a model and its card.

        Parameters
        ----------
        path : str or Path
            The ``.keras`` file that notebook 02 (genres) or 03 (tags) wrote.

        Returns
        -------
        listener : of the class asked

        Raises
        ------
        ValueError
            If there is no such file, no card, or it belongs to a model of another kind.
        """
        from musictools import models

        path = Path(path)
        places = [path.with_suffix(".json"), path.parent.parent / "cards" / f"{path.stem}.json"]
        card = next((p for p in places if p.is_file()), None)
        if path.is_file() and card is None:
            raise ValueError(f"{path} has no card: neither {places[0]} nor {places[1]} is there.")
        model = models.load(path)
        try:
            content = json.loads(card.read_text())
        except json.JSONDecodeError as error:
            raise ValueError(f"{card}: no JSON ({error}).") from None
        if content.get("task") != cls.task:
            raise ValueError(f"{path} is no {cls.kind}: its card says task={content.get('task')!r}.")
        return cls(model, content)

    def inputs(self, y):
        """Cut a waveform into model inputs.

        Parameters
        ----------
        y : np.ndarray [shape=(n,)]
            At ``front_end.sr``. Shorter than one input: its spectrogram is lengthened by its last column, a waveform
            by silence.

        Returns
        -------
        x : np.ndarray [shape=(n_inputs, ...), float32]
            The last input ends with the last whole step; what is left over is not heard twice.
        """
        if self.front_end.kind == "waveform" and len(y) < self.length:
            y = np.pad(np.asarray(y, np.float32), (0, self.length - len(y)))
        S = self.front_end.compute(y)
        x = self.front_end.scale(frames(S, length=self.length, step=self.step, pad_to=self.length))
        return x.reshape(len(x), *self.model.input_shape[1:])

    def taggram(self, y, *, sr):
        """Tag scores over time.

        Parameters
        ----------
        y : np.ndarray [shape=(n,)]
            Of any length.
        sr : int > 0
            Hz.

        Returns
        -------
        taggram : Taggram
        """
        if sr != self.front_end.sr:
            y = audio.resample(y, orig_sr=sr, sr=self.front_end.sr)
        scores = evaluation.predict(self.model, self.inputs(y), batch_size=16)
        hop = self.front_end.hop_length / self.front_end.sr
        return Taggram(scores, np.arange(len(scores)) * self.step * hop, self.length * hop, self.tags)


class GenreClassifier(Listener):
    """A genre classifier of the suite. Its inputs follow each other without gaps, whatever the card's step."""

    kind, task, names = "genre classifier", "genre", "genres"

    def __init__(self, model, card):
        super().__init__(model, card)
        self.step = min(self.step, self.length)


class Tagger(Listener):
    """A tagger of the suite; its card may hold ``thresholds``: rule -> {tag: threshold}, where it has been tuned."""

    kind, task = "tagger", "tags"

    def decide(self, scores, *, rule="f1"):
        """Which tags a clip gets.

        Parameters
        ----------
        scores : pd.Series [tag -> score]
            As of `Taggram.joined`, joined as the card's thresholds were chosen: by the mean.
        rule : str
            One of the card's, or "half" for 0.5.

        Returns
        -------
        table : pd.DataFrame
            tag, score, threshold, predicted; those predicted first, then by score.
        """
        known = self.card.get("thresholds", {})
        if rule != "half" and rule not in known:
            raise ValueError(f"rule must be 'half'{''.join(f', {r!r}' for r in known if r != 'half')}. Got {rule!r}.")
        threshold = pd.Series(0.5, scores.index) if rule == "half" else pd.Series(known[rule])[scores.index]
        table = pd.DataFrame({"tag": scores.index, "score": scores.to_numpy(), "threshold": threshold.to_numpy()})
        table["predicted"] = table["score"] > table["threshold"]
        return table.sort_values(["predicted", "score"], ascending=False, ignore_index=True)

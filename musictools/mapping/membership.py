"""A trained mapping with its card: sets of descriptors in, membership degrees out. Needs no scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools.models.card import ModelCard

if TYPE_CHECKING:
    import keras

    from musictools.inference import Tagger

__all__ = ["Mapping", "TaggerMapping", "checked", "degrees"]


class Mapping:
    """A trained mapping with its card.

    Parameters
    ----------
    model : keras.Model
    card : ModelCard
        Its inputs are the descriptors, its outputs the genres, in the network's order.

    Attributes
    ----------
    descriptors, genres : list of str

    Raises
    ------
    ValueError
        If the card is not that of a mapping or does not fit the model.

    See Also
    --------
    musictools.mapping.network.DescriptorNetwork : The training of such a model.

    Examples
    --------
    >>> from musictools.models import mapping
    >>> card = ModelCard(task="mapping", model="mapping", inputs=["guitar", "sitar"], outputs=["indian", "pop", "rock"])
    >>> network = Mapping(mapping.build(n_descriptors=2, n_genres=3, units=4, dropout=0.0), card)
    >>> network.membership(["sitar"]).index.tolist()
    ['indian', 'pop', 'rock']
    """

    def __init__(self, model: keras.Model, card: ModelCard) -> None:
        if card.task != "mapping":
            raise ValueError(f"The model is not a mapping: its card says task={card.task!r}.")
        self.model, self.card = model, card
        self.descriptors, self.genres = list(card.inputs), list(card.outputs)
        shape = model.input_shape[-1], model.output_shape[-1]
        if shape != (len(self.descriptors), len(self.genres)):
            raise ValueError(
                f"The card names {len(self.descriptors)} descriptors and {len(self.genres)} genres, the "
                f"model has {shape[0]} inputs and {shape[1]} outputs."
            )

    @classmethod
    def load(cls, path: str | Path) -> Mapping:
        """Read a mapping that notebook 04 wrote.

        Parameters
        ----------
        path : str or Path
            ``models/mapping.keras``; its card lies in the folder ``cards`` beside ``models``.

        Returns
        -------
        mapping : Mapping

        Raises
        ------
        ValueError
            If the model or its card is missing or damaged, or the model is not a mapping.
        """
        from musictools import models

        card, model = ModelCard.read(path), models.load(path)
        try:
            return cls(model, card)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def membership(self, descriptors: pd.DataFrame | Sequence[str]) -> pd.DataFrame | pd.Series:
        """Degree to which sets of descriptors belong to every genre.

        Parameters
        ----------
        descriptors : pd.DataFrame [clips x descriptors, bool] or sequence of str
            A table, in which unknown columns are ignored, or the names of one set.

        Returns
        -------
        membership : pd.DataFrame [clips x genres], or pd.Series [genre -> degree] for one set
            The empty set has a membership too: the network's output for an input of zeros.

        Raises
        ------
        ValueError
            If a named descriptor is unknown.
        """
        if isinstance(descriptors, pd.DataFrame):
            x = descriptors.reindex(columns=self.descriptors, fill_value=False)
            return pd.DataFrame(degrees(self.model, x), index=descriptors.index, columns=self.genres)
        names = list(descriptors)
        unknown = [n for n in names if n not in self.descriptors]
        if isinstance(descriptors, str) or unknown:
            raise ValueError(
                f"descriptors must be a table or names that the mapping knows, such as "
                f"{', '.join(self.descriptors[:5])}. Got {descriptors!r}."
            )
        x = np.isin(self.descriptors, names)[None]
        return pd.Series(degrees(self.model, x)[0], index=self.genres, name="membership")

    def following(self, tagger: Tagger, *, rule: str = "f1") -> TaggerMapping:
        """Join the mapping to a tagger, as `explain.application.system.ExplanationSystem` takes it.

        Parameters
        ----------
        tagger : inference.Tagger
            Tagger whose thresholds turn scores into descriptors.
        rule : str
            Rule of the thresholds.

        Returns
        -------
        mapping : TaggerMapping
            pd.Series [tag -> score] -> pd.Series [genre -> degree]. Tags that the mapping does not know are ignored.
        """
        return TaggerMapping(self, tagger, rule)


@dataclass(frozen=True)
class TaggerMapping:
    """A mapping that takes a tagger's scores.

    Attributes
    ----------
    mapping : Mapping
    tagger : inference.Tagger
    rule : str
    """

    mapping: Mapping
    tagger: Tagger
    rule: str

    def __call__(self, scores: pd.Series) -> pd.Series:
        """Membership of the descriptors that the scores predict, pd.Series [genre -> degree]."""
        table, known = self.tagger.decide(scores, rule=self.rule), self.mapping.descriptors
        return self.mapping.membership([tag for tag in table["tag"][table["predicted"]] if tag in known])

    @property
    def about(self) -> dict[str, Any]:
        """Who speaks: network, data, licence, and the accuracy in cross-validation where it is known."""
        card = self.mapping.card
        about = {"network": card.model} | {n: getattr(card, n) for n in ("data", "licence", "source", "citation")}
        return about | {name: card.provenance[name] for name in ("accuracy", "clips") if name in card.provenance}


def degrees(model: keras.Model, X: np.ndarray) -> np.ndarray:
    """Membership degrees of many sets, the softmax of a mapping network.

    Parameters
    ----------
    model : keras.Model
    X : array [shape=(n, n_descriptors), bool or 0/1]

    Returns
    -------
    degrees : np.ndarray [shape=(n, n_genres), float64]
        Rows that add up to 1.

    Raises
    ------
    ValueError
        If `X` holds other values.
    """
    X = checked(X)
    batches = [np.asarray(model.predict_on_batch(X[k : k + 65536]), float) for k in range(0, len(X), 65536)]
    joined = np.concatenate(batches) if batches else np.zeros((0, model.output_shape[-1]))
    return joined / joined.sum(axis=1, keepdims=True)  # in float32 the softmax adds up to 1 only nearly


def checked(X: np.ndarray) -> np.ndarray:
    """Convert descriptors to the network's input.

    Parameters
    ----------
    X : array [shape=(n, n_descriptors), bool or 0/1]

    Returns
    -------
    X : np.ndarray [shape=(n, n_descriptors), float32]

    Raises
    ------
    ValueError
        If `X` has other dimensions or values.

    Examples
    --------
    >>> checked([[True, False]])
    array([[1., 0.]], dtype=float32)
    """
    X = np.asarray(X, dtype=np.float32)
    if X.ndim != 2 or not np.isin(X, (0, 1)).all():
        raise ValueError(f"descriptors must be a table of True and False (or 1 and 0). Got shape {X.shape}.")
    return X

"""A trained mapping with its card: sets of descriptors in, membership degrees out. Needs no scikit-learn."""

import numpy as np
import pandas as pd

from musictools.models.card import ModelCard

__all__ = ["Mapping", "checked", "degrees"]


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
    """

    def __init__(self, model, card):
        if card.task != "mapping":
            raise ValueError(f"The model is no mapping: its card says task={card.task!r}.")
        self.model, self.card = model, card
        self.descriptors, self.genres = list(card.inputs), list(card.outputs)
        shape = model.input_shape[-1], model.output_shape[-1]
        if shape != (len(self.descriptors), len(self.genres)):
            raise ValueError(
                f"The card names {len(self.descriptors)} descriptors and {len(self.genres)} genres, the "
                f"model has {shape[0]} inputs and {shape[1]} outputs."
            )

    @classmethod
    def load(cls, path):
        """Read what notebook 04 wrote.

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
            If there is no such model, it or its card is damaged or missing, or it is no mapping.
        """
        from musictools import models

        card, model = ModelCard.read(path), models.load(path)
        try:
            return cls(model, card)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def membership(self, descriptors):
        """Degree to which sets of descriptors belong to every genre.

        Parameters
        ----------
        descriptors : pd.DataFrame [clips x descriptors, bool] or sequence of str
            A table, whose columns that the mapping does not know are passed over, or one set by name.

        Returns
        -------
        membership : pd.DataFrame [clips x genres], or pd.Series [genre -> degree] of one set
            Of a set without any known descriptor: what the network makes of nothing.

        Raises
        ------
        ValueError
            If a descriptor of a named set is not known.
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

    def following(self, tagger, *, rule="f1"):
        """The mapping as an `explain.system.ExplanationSystem` wants it.

        Parameters
        ----------
        tagger : inference.Tagger
            Its thresholds make descriptors of scores.
        rule : str
            Which of them.

        Returns
        -------
        mapping : callable
            pd.Series [tag -> score] -> pd.Series [genre -> degree]. Tags that the mapping does not know are passed
            over.
        """

        def membership(scores):
            table = tagger.decide(scores, rule=rule)
            return self.membership([tag for tag in table["tag"][table["predicted"]] if tag in self.descriptors])

        return membership


def degrees(model, X):
    """A mapping network's softmax, np.ndarray [shape=(n, n_genres), float64]; done in one go, however many rows."""
    X = checked(X)
    parts = [np.asarray(model.predict_on_batch(X[k : k + 65536]), float) for k in range(0, len(X), 65536)]
    joined = np.concatenate(parts) if parts else np.zeros((0, model.output_shape[-1]))
    return joined / joined.sum(axis=1, keepdims=True)


def checked(X):
    """Descriptors as the network takes them, np.ndarray [shape=(n, n_descriptors), float32]; ValueError if not 0/1."""
    X = np.asarray(X, dtype=np.float32)
    if X.ndim != 2 or not np.isin(X, (0, 1)).all():
        raise ValueError(f"descriptors must be a table of True and False (or 1 and 0). Got shape {X.shape}.")
    return X

"""The mapping network as a scikit-learn classifier, and as a trained model with its card."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

__all__ = ["DescriptorNetwork", "Mapping"]


class DescriptorNetwork(ClassifierMixin, BaseEstimator):
    """One hidden layer, dropout, softmax (`rotheneder2023` 5.2.2), for scikit-learn's model selection.

    Parameters
    ----------
    units : int > 0
        Of the hidden layer.
    dropout : float in [0, 1)
    batch_size : int > 0
    epochs : int > 0
        The source gives none.
    learning_rate : float > 0
        Of Adam; the source names neither.
    seed : int >= 0
        Of initial weights, dropout and the order of the examples.

    Attributes
    ----------
    classes_ : np.ndarray [shape=(n_genres,)]
        Sorted.
    model_ : keras.Model
    """

    def __init__(self, *, units=200, dropout=0.4, batch_size=20, epochs=10, learning_rate=0.001, seed=0):
        self.units, self.dropout, self.batch_size = units, dropout, batch_size
        self.epochs, self.learning_rate, self.seed = epochs, learning_rate, seed

    def fit(self, X, y):
        """Train.

        Parameters
        ----------
        X : array [shape=(n, n_descriptors), bool or 0/1]
        y : array [shape=(n,)]
            Genres.

        Returns
        -------
        self : DescriptorNetwork

        Raises
        ------
        ValueError
            If there are fewer than two genres, or an argument is out of range.
        """
        from musictools import training
        from musictools.models import mapping

        X = _checked(X)
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"A mapping needs at least two genres. Got {len(self.classes_)}.")
        self.model_ = mapping.build(n_descriptors=X.shape[1], n_genres=len(self.classes_), units=self.units,
                                    dropout=self.dropout, seed=self.seed)
        training.fit(self.model_, X, np.eye(len(self.classes_), dtype=np.float32)[codes], epochs=self.epochs,
                     batch_size=self.batch_size, learning_rate=self.learning_rate, best_by=None, seed=self.seed)
        return self

    def predict_proba(self, X):
        """Membership degrees, np.ndarray [shape=(n, n_genres)], rows that add up to 1."""
        check_is_fitted(self, "model_")
        return degrees(self.model_, X)

    def predict(self, X):
        """The genre of the highest degree, np.ndarray [shape=(n,)]."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


class Mapping:
    """A trained mapping with its card; called with a tagger's scores it is the `mapping` of an `ExplanationSystem`.

    Parameters
    ----------
    model : keras.Model
    card : dict
        descriptors and genres, in the order of the network's inputs and outputs; thresholds: rule -> {tag: threshold},
        by which `__call__` turns scores into descriptors, 0.5 for tags without one.
    rule : str
        Which of the thresholds.

    Attributes
    ----------
    descriptors, genres : list of str
    """

    def __init__(self, model, card, *, rule="f1"):
        missing = {"descriptors", "genres"} - set(card)
        if missing:
            raise ValueError(f"The card lacks {', '.join(sorted(missing))}; a mapping's card has them.")
        self.model, self.card, self.rule = model, card, rule
        self.descriptors, self.genres = list(card["descriptors"]), list(card["genres"])
        shape = model.input_shape[-1], model.output_shape[-1]
        if shape != (len(self.descriptors), len(self.genres)):
            raise ValueError(f"The card names {len(self.descriptors)} descriptors and {len(self.genres)} genres, the "
                             f"model has {shape[0]} inputs and {shape[1]} outputs.")

    @classmethod
    def load(cls, path, *, rule="f1"):
        """Read what notebook 04 wrote.

        Parameters
        ----------
        path : str or Path
            ``models/mapping.keras``; its card lies in the folder ``cards`` beside ``models``.
        rule : str

        Returns
        -------
        mapping : Mapping

        Raises
        ------
        ValueError
            If there is no such model or no card of a mapping.
        """
        from musictools import models

        path = Path(path)
        model = models.load(path)
        card = path.parent.parent / "cards" / f"{path.stem}.json"
        content = json.loads(card.read_text()) if card.is_file() else {}
        if content.get("task") != "mapping":
            raise ValueError(f"{path} is no mapping: {card} "
                             + (f"says task={content.get('task')!r}." if content else "is missing."))
        return cls(model, content, rule=rule)

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
            raise ValueError(f"descriptors must be a table or names that the mapping knows, such as "
                             f"{', '.join(self.descriptors[:5])}. Got {descriptors!r}.")
        x = np.isin(self.descriptors, names)[None]
        return pd.Series(degrees(self.model, x)[0], index=self.genres, name="membership")

    def __call__(self, scores):
        """Membership of what a tagger predicts.

        Parameters
        ----------
        scores : pd.Series [tag -> score]

        Returns
        -------
        membership : pd.Series [genre -> degree]
        """
        limits = pd.Series(self.card.get("thresholds", {}).get(self.rule, {}), dtype=float)
        given = scores > limits.reindex(scores.index).fillna(0.5)
        return self.membership([tag for tag in scores.index[given] if tag in self.descriptors])


def degrees(model, X):
    """A mapping network's softmax, np.ndarray [shape=(n, n_genres), float64]; done in one go, however many rows."""
    X = _checked(X)
    parts = [np.asarray(model.predict_on_batch(X[k : k + 65536]), float) for k in range(0, len(X), 65536)]
    joined = np.concatenate(parts) if parts else np.zeros((0, model.output_shape[-1]))
    return joined / joined.sum(axis=1, keepdims=True)


def _checked(X):
    X = np.asarray(X, dtype=np.float32)
    if X.ndim != 2 or not np.isin(X, (0, 1)).all():
        raise ValueError(f"descriptors must be a table of True and False (or 1 and 0). Got shape {X.shape}.")
    return X

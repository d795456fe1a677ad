"""The mapping network as a scikit-learn classifier."""

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from musictools.mapping.membership import checked, degrees

__all__ = ["DescriptorNetwork"]


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

        X = checked(X)
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"A mapping needs at least two genres. Got {len(self.classes_)}.")
        self.model_ = mapping.build(
            n_descriptors=X.shape[1],
            n_genres=len(self.classes_),
            units=self.units,
            dropout=self.dropout,
            seed=self.seed,
        )
        training.fit(
            self.model_,
            X,
            np.eye(len(self.classes_), dtype=np.float32)[codes],
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            best_by=None,
            seed=self.seed,
        )
        return self

    def predict_proba(self, X):
        """Membership degrees, np.ndarray [shape=(n, n_genres)], rows that add up to 1."""
        check_is_fitted(self, "model_")
        return degrees(self.model_, X)

    def predict(self, X):
        """The genre of the highest degree, np.ndarray [shape=(n,)]."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

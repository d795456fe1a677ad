"""The mapping network as a scikit-learn classifier."""

from __future__ import annotations

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
        Units of the hidden layer.
    dropout : float in [0, 1)
    batch_size : int > 0
    epochs : int > 0
        The source does not give a number.
    learning_rate : float > 0
        Learning rate of Adam; the source names neither.
    seed : int >= 0
        Seed of initial weights, dropout and the order of the examples.

    Attributes
    ----------
    classes_ : np.ndarray [shape=(n_genres,)]
        Genres in alphabetical order.
    model_ : keras.Model

    See Also
    --------
    musictools.mapping.membership.Mapping : The trained network with its card.

    Examples
    --------
    >>> network = DescriptorNetwork(units=4, epochs=1).fit([[1, 0], [0, 1]], ["rock", "pop"])
    >>> network.classes_.tolist(), network.predict_proba([[1, 1]]).shape
    (['pop', 'rock'], (1, 2))
    """

    def __init__(
        self,
        *,
        units: int = 200,
        dropout: float = 0.4,
        batch_size: int = 20,
        epochs: int = 10,
        learning_rate: float = 0.001,
        seed: int = 0,
    ) -> None:
        self.units, self.dropout, self.batch_size = units, dropout, batch_size
        self.epochs, self.learning_rate, self.seed = epochs, learning_rate, seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> DescriptorNetwork:
        """Train the network.

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

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Membership degrees.

        Parameters
        ----------
        X : array [shape=(n, n_descriptors), bool or 0/1]

        Returns
        -------
        degrees : np.ndarray [shape=(n, n_genres), float64]
            Rows that add up to 1.
        """
        check_is_fitted(self, "model_")
        return degrees(self.model_, X)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Genres of the highest degrees.

        Parameters
        ----------
        X : array [shape=(n, n_descriptors), bool or 0/1]

        Returns
        -------
        genres : np.ndarray [shape=(n,)]
        """
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

"""What the builders of models share: seeds of initialisers and dropout."""

from __future__ import annotations

from musictools.models.lazy import keras

__all__ = ["Seeds"]


class Seeds:
    """A stream of seeds for initialisers and dropout; all None when the first is.

    Parameters
    ----------
    seed : int or None
        The first seed that is given out is one larger.

    Examples
    --------
    >>> seeds = Seeds(3)
    >>> seeds.next(), seeds.next()
    (4, 5)
    """

    def __init__(self, seed: int | None):
        self._next = seed

    def next(self) -> int | None:
        """Next seed.

        Returns
        -------
        seed : int or None
        """
        if self._next is None:
            return None
        self._next += 1
        return self._next

    def glorot(self) -> keras.initializers.Initializer:
        """Keras's default initialiser with the next seed.

        Returns
        -------
        initializer : keras.initializers.GlorotUniform
        """
        return keras.initializers.GlorotUniform(seed=self.next())

"""The network of `rotheneder2023` 5.2 that maps a set of descriptors to its membership degree in every genre.

Input: (n_descriptors,), 1 where a descriptor is given and 0 where not. Output: softmax over genres, read as degrees.
"""

from __future__ import annotations

from musictools.models.blocks import Seeds
from musictools.models.lazy import keras, layers

__all__ = ["build"]


def build(
    *, n_descriptors: int, n_genres: int, units: int = 200, dropout: float = 0.4, seed: int | None = None
) -> keras.Model:
    """Build the network: one hidden layer (ReLU), dropout, softmax.

    Parameters
    ----------
    n_descriptors : int > 0
    n_genres : int > 1
    units : int > 0
        Size of the hidden layer; 200 in the source.
    dropout : float in [0, 1)
        Dropout rate; 0.4 in the source.
    seed : int or None
        Seed of the initial weights and of dropout.

    Returns
    -------
    model : keras.Model
        Functional; probabilities, shape (batch, n_genres). The logits are the input of the layer ``softmax``.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> build(n_descriptors=108, n_genres=8).output_shape
    (None, 8)
    """
    for name, value, least in (("n_descriptors", n_descriptors, 1), ("n_genres", n_genres, 2), ("units", units, 1)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{name} must be an int of at least {least}. Got {value!r}.")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must lie in [0, 1). Got {dropout!r}.")
    seeds = Seeds(seed)
    inputs = layers.Input((n_descriptors,), name="descriptors")
    x = layers.Dense(units, activation="relu", name="dense", kernel_initializer=seeds.glorot())(inputs)
    x = layers.Dropout(dropout, name="dropout", seed=seeds.next())(x)
    x = layers.Dense(n_genres, name="logits", kernel_initializer=seeds.glorot())(x)
    return keras.Model(inputs, layers.Softmax(name="softmax")(x), name="mapping")

"""The network of `rotheneder2023` 5.2 that maps a set of descriptors to its membership degree in every genre.

Input: (n_descriptors,), 1 where a descriptor is given and 0 where not. Output: softmax over genres, read as degrees.
"""

import keras
from keras import layers

from musictools.models.blocks import Seeds, check_build

__all__ = ["build"]


def build(*, n_descriptors, n_genres, units=200, dropout=0.4, seed=None):
    """Build the network: one hidden layer (ReLU), dropout, softmax.

    Parameters
    ----------
    n_descriptors : int > 0
    n_genres : int > 1
    units : int > 0
        Of the hidden layer; 200 in the source.
    dropout : float in [0, 1)
        0.4 in the source.
    seed : int or None
        Of the initial weights and of dropout.

    Returns
    -------
    model : keras.Model
        Functional; probabilities, shape (batch, n_genres). The logits are the input of the layer ``softmax``.

    Raises
    ------
    ValueError
        If an argument is out of range.
    """
    check_build("mapping", n_outputs=n_genres, outputs_name="n_genres", smallest=2, width=1.0, norm_momentum=0.0)
    for name, value in (("n_descriptors", n_descriptors), ("units", units)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive int. Got {value!r}.")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must lie in [0, 1). Got {dropout!r}.")
    seeds = Seeds(seed)
    inputs = layers.Input((n_descriptors,), name="descriptors")
    x = layers.Dense(units, activation="relu", name="dense", kernel_initializer=seeds.glorot())(inputs)
    x = layers.Dropout(dropout, name="dropout", seed=seeds.next())(x)
    x = layers.Dense(n_genres, name="logits", kernel_initializer=seeds.glorot())(x)
    return keras.Model(inputs, layers.Softmax(name="softmax")(x), name="mapping")

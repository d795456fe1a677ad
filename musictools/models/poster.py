"""The three networks of the poster `ren_poster`: vanilla, masked, and with global average pooling.

- ``vanilla``: two convolutions, two dense layers.
- ``masked``: the same with an elliptical mask after the second convolution (`layers.EllipticalMask`).
- ``gap``: three convolutions, a transposed one, global average pooling, one dense layer. Its feature maps give class
  activation maps (`explain.relevance` with ``method="cam"``).

The poster gives neither numbers of filters nor sizes of kernels, poolings and hidden layers. It shows filter 16 of the
first layer, so there are at least 16. Dropout and the standardisation of bands are ours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from musictools.models.blocks import Seeds
from musictools.models.lazy import keras, layers

__all__ = ["KINDS", "poster_network"]

KINDS = ("vanilla", "masked", "gap")


def poster_network(
    kind: str,
    *,
    n_outputs: int,
    input_shape: tuple[int, int, int],
    filters: Sequence[int] = (32, 64),
    kernel: int | tuple[int, int] = 3,
    first_pool: int | tuple[int, int] = 4,
    units: int = 64,
    dropout: float = 0.5,
    filter_dropout: float = 0.0,
    batch_norm: bool = False,
    bands: tuple[Sequence[float], Sequence[float]] | None = None,
    axes: tuple[float, float] = (0.5, 0.5),
    edge: float = 1.0,
    filter_loss: float = 0.0,
    sharpness: float = 0.5,
    seed: int | None = None,
) -> keras.Model:
    """Build one of the poster's networks, untrained.

    Parameters
    ----------
    kind : {"vanilla", "masked", "gap"}
    n_outputs : int >= 2
        Number of genres.
    input_shape : (int, int, int)
        Bands, frames, 1.
    filters : sequence of two ints
        Filters of the first convolution, and of every later one.
    kernel : int or (int, int)
        Size of all kernels: bands, frames.
    first_pool : int or (int, int)
        Window of the max-pooling after the first convolution; the next one has 2.
    units : int > 0
        Units of the hidden dense layer. `gap` has none.
    dropout : float in [0, 1)
        Rate of dropout before each dense layer.
    filter_dropout : float in [0, 1)
        Share of the maps of each convolution that are left out in a training step.
    batch_norm : bool
        Whether batch normalisation follows each convolution, before its ReLU.
    bands : (sequence of float, sequence of float) or None
        Mean and variance of each band, by which the input is standardised inside the network. None: it is not.
    axes, edge, filter_loss, sharpness
        Of the mask: see `layers.EllipticalMask`. Only `masked` uses them.
    seed : int or None
        Seed of initial weights and dropout.

    Returns
    -------
    model : keras.Model
        Functional, with a layer ``logits`` before the layer ``softmax``. The activations after the convolutions are
        called ``relu1`` and so on, the mask ``mask``.

    Raises
    ------
    ValueError
        If `kind` is unknown, or the input is too small for the poolings.

    Examples
    --------
    >>> model = poster_network("gap", n_outputs=10, input_shape=(128, 49, 1), seed=0)
    >>> model.output_shape, model.get_layer("relu4").output.shape
    ((None, 10), (None, 32, 12, 64))
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}. Got {kind!r}.")
    first = (first_pool, first_pool) if isinstance(first_pool, int) else tuple(first_pool)
    if len(input_shape) != 3 or any(side < 2 * pool for side, pool in zip(input_shape, first, strict=False)):
        raise ValueError(
            f"input_shape must have at least {2 * first[0]} bands and {2 * first[1]} frames, and channels. "
            f"Got {tuple(input_shape)}."
        )
    seeds = Seeds(seed)
    block = _Block(kernel, batch_norm, filter_dropout, seeds)
    x = inputs = layers.Input(tuple(input_shape), name="spectrogram")
    if bands is not None:
        mean, variance = (np.asarray(values, np.float32) for values in bands)
        x = layers.Normalization(axis=1, mean=mean, variance=variance, name="bands")(x)
    x = layers.MaxPooling2D(first, name="pool1")(block(x, filters[0], 1))
    x = block(x, filters[1], 2)
    if kind == "masked":
        # Imported here: this module is read without Keras.
        from musictools.models.layers import EllipticalMask

        x = EllipticalMask(axes, edge=edge, loss_weight=filter_loss, sharpness=sharpness, name="mask")(x)
    x = layers.MaxPooling2D(2, name="pool2")(x)
    if kind == "gap":
        x = block(x, filters[1], 3)
        x = block(x, filters[1], 4, transposed=True)
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    else:
        x = layers.Flatten(name="flatten")(x)
        x = layers.Dropout(dropout, seed=seeds.next(), name="dropout1")(x)
        x = layers.Dense(units, activation="relu", name="dense", kernel_initializer=seeds.glorot())(x)
    x = layers.Dropout(dropout, seed=seeds.next(), name="dropout")(x)
    x = layers.Dense(n_outputs, name="logits", kernel_initializer=seeds.glorot())(x)
    return keras.Model(inputs, layers.Softmax(name="softmax")(x), name=f"poster_{kind}")


class _Block:
    """A convolution with its normalisation and ReLU; a transposed one doubles the sides.

    The sides of a transposed kernel are rounded up to even numbers. Otherwise the kernel would reach the cells of the
    larger map in turn more often and less often, which shows as a checkerboard (Odena et al. 2016).
    """

    def __init__(self, kernel, batch_norm, dropout, seeds):
        self.kernel = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
        self.batch_norm, self.dropout, self.seeds = batch_norm, dropout, seeds

    def __call__(self, x, filters, number, *, transposed=False):
        make, strides = (layers.Conv2DTranspose, 2) if transposed else (layers.Conv2D, 1)
        x = make(
            filters,
            tuple(side + side % strides for side in self.kernel),
            strides=strides,
            padding="same",
            name=f"conv{number}",
            kernel_initializer=self.seeds.glorot(),
        )(x)
        if self.batch_norm:
            x = layers.BatchNormalization(momentum=0.9, name=f"norm{number}")(x)
        if self.dropout:
            x = layers.SpatialDropout2D(self.dropout, seed=self.seeds.next(), name=f"filters{number}")(x)
        return layers.ReLU(name=f"relu{number}")(x)

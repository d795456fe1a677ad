"""A small decoder that paints where a network finds the voice, trained on the network's own decisions.

After L-MAC (Paissan, Ravanelli and Subakan 2024, Listenable maps for audio classifiers). The decoder reads hidden maps
of the tagger and gives a mask m in [0, 1] over the input. It is trained so that the tagger keeps its decision when the
cells outside the mask are attenuated (*mask in*), and loses it when those inside are (*mask out*)::

    softplus(-z(mask in)) + softplus(z(mask out)) + area * mean(m) + variation * total_variation(m)

z is the logit of the best vocal tag less that of *no vocals*. No stems and no vocal flags are used. The tagger is not
changed. Attenuation is by 40 dB at m = 0, and in proportion between.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras as _keras

__all__ = ["Settings", "build", "masked", "paint", "train"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a decoder is built and trained.

    Attributes
    ----------
    layers : tuple of str
        Layers of the tagger whose maps (n_bands, n_frames, n_maps) the decoder reads.
    filters : int > 0
        Number of maps in each layer of the decoder.
    area, variation : float >= 0
        Weights of the mask's mean and of its total variation.
    drop : float > 0
        How far a cell is attenuated where the mask is 0, in units of the input (40 dB of 150 for Won et al. 2020).
    steps, batch_size : int > 0
    learning_rate : float > 0
    seed : int >= 0
    """

    layers: tuple[str, ...] = ("relu2", "relu3")
    filters: int = 16
    area: float = 1.0
    variation: float = 0.2
    drop: float = 40 / 150
    steps: int = 150
    batch_size: int = 2
    learning_rate: float = 3e-3
    seed: int = 0


def build(model: _keras.Model, settings: Settings) -> _keras.Model:
    """Attach an untrained decoder to a tagger.

    Parameters
    ----------
    model : keras.Model
        Input (n_mels, length, 1). Its weights are not changed.
    settings : Settings

    Returns
    -------
    painter : keras.Model
        Input (n_mels, length, 1) -> mask of the same shape. Its layer ``decoder`` is a model of the hidden maps.
    """
    import keras
    from keras import layers

    seeds = iter(range(settings.seed, settings.seed + 99))

    def convolved(x, filters, size, activation="relu"):
        initial = keras.initializers.GlorotUniform(next(seeds))
        return layers.Conv2D(filters, size, padding="same", activation=activation, kernel_initializer=initial)(x)

    hidden = [model.get_layer(name).output for name in settings.layers]
    inputs = [keras.Input(x.shape[1:]) for x in hidden]
    finest = max((x.shape[1:3] for x in inputs), key=np.prod)
    maps = [layers.Lambda(_resized, arguments={"size": finest}, output_shape=(*finest, settings.filters))(
        convolved(x, settings.filters, 1)) for x in inputs]  # fmt: skip
    x = layers.Concatenate()(maps) if len(maps) > 1 else maps[0]
    x = convolved(convolved(x, settings.filters, 3), 1, 3, "sigmoid")
    size = tuple(model.input_shape[1:3])
    mask = layers.Lambda(_resized, arguments={"size": size}, output_shape=(*size, 1))(x)
    return keras.Model(model.input, keras.Model(inputs, mask, name="decoder")(hidden))


def masked(x: np.ndarray, mask: np.ndarray, drop: float) -> np.ndarray:
    """Attenuate the cells outside a mask.

    Parameters
    ----------
    x, mask : array [shape=(n, n_mels, length, 1)]
        Inputs and masks, both in [0, 1].
    drop : float
        Attenuation at mask 0; not below 0.

    Returns
    -------
    x : array [same shape]

    Examples
    --------
    >>> masked(np.array([1.0, 1.0, 0.5]), np.array([1.0, 0.5, 0.0]), 0.75).tolist()
    [1.0, 0.625, 0.0]
    """
    lowered = x - drop * (1 - mask)
    return (lowered + abs(lowered)) / 2  # for arrays and tensors alike


def train(model: _keras.Model, x: np.ndarray, outputs: np.ndarray, settings: Settings) -> tuple[_keras.Model, dict]:
    """Train a decoder on the decisions of a tagger.

    Parameters
    ----------
    model : keras.Model
        Its outputs are logits.
    x : np.ndarray [shape=(n, n_mels, length, 1)]
    outputs : np.ndarray [shape=(n,), int]
        Output that is kept and lost, for each input.
    settings : Settings

    Returns
    -------
    painter : keras.Model
        Input (n_mels, length, 1) -> mask of the same shape.
    history : dict of str to list of float
        Of every step: kept (logit, mask in), lost (logit, mask out), area, loss.
    """
    import keras
    import tensorflow as tf

    painter = build(model, settings)
    decoder = painter.get_layer("decoder")
    hidden = keras.Model(model.input, [model.get_layer(name).output for name in settings.layers])
    optimizer = keras.optimizers.Adam(settings.learning_rate)
    rng = np.random.default_rng(settings.seed)

    @tf.function(reduce_retracing=True)
    def step(batch, chosen):
        maps = hidden(batch, training=False)
        with tf.GradientTape() as tape:
            mask = decoder(maps)
            both = tf.concat([masked(batch, mask, settings.drop), masked(batch, 1 - mask, settings.drop)], axis=0)
            z = tf.gather(model(both, training=False), tf.concat([chosen, chosen], 0), axis=1, batch_dims=1)
            kept, lost = tf.split(z, 2)
            area = tf.reduce_mean(mask)
            loss = tf.reduce_mean(tf.nn.softplus(-kept) + tf.nn.softplus(lost)) + settings.area * area
            loss += settings.variation * (_variation(mask, 1) + _variation(mask, 2))
        slopes = tape.gradient(loss, decoder.trainable_variables)
        optimizer.apply_gradients(zip(slopes, decoder.trainable_variables, strict=True))
        return tf.reduce_mean(kept), tf.reduce_mean(lost), area, loss

    history = {name: [] for name in ("kept", "lost", "area", "loss")}
    for index in _batches(len(x), settings, rng):
        values = step(tf.constant(x[index]), tf.constant(outputs[index]))
        for name, value in zip(history, values, strict=True):
            history[name].append(float(value))
    return painter, history


def paint(painter: _keras.Model, x: np.ndarray, *, batch_size: int = 8) -> np.ndarray:
    """Masks of inputs.

    Parameters
    ----------
    painter : keras.Model
        From `train`, or an untrained one from `build`.
    x : np.ndarray [shape=(n, n_mels, length, 1)]
    batch_size : int > 0

    Returns
    -------
    masks : np.ndarray [shape=(n, n_mels, length)]
    """
    return painter.predict(x, batch_size=batch_size, verbose=0)[..., 0]


def _batches(n, settings, rng):
    """Indices of every step: random orders of all inputs, one after the other."""
    needed = settings.steps * settings.batch_size
    order = np.concatenate([rng.permutation(n) for _ in range(-(-needed // n))])[:needed]
    return order.reshape(settings.steps, settings.batch_size)


def _variation(mask, axis):
    """Mean absolute difference of neighbours."""
    import tensorflow as tf

    size = mask.shape[axis]
    later, earlier = (tf.gather(mask, tf.range(i, size - 1 + i), axis=axis) for i in (1, 0))
    return tf.reduce_mean(tf.abs(later - earlier))


def _resized(x, size):
    from keras import ops

    return ops.image.resize(x, size, interpolation="bilinear")

"""The networks of Won, Ferraro, Bogdanov and Serra 2020 (WFBS20) that `won2020` releases: FCN, Musicnn and CRNN.

The layers follow from the names and shapes in the authors' state dicts and from their paper (arXiv:2006.00751):

- All begin with a batch normalisation of the spectrogram in dB, of one channel.
- FCN (Choi et al. 2016): five blocks of a 3x3 convolution, batch normalisation, ReLU and pooling; one position is left.
- CRNN (Choi et al. 2017): four such blocks, then two layers of 32 gated recurrent units, whose last state is used.
- Musicnn (Pons and Serra 2019): vertical filters (the maximum over frequency is kept) and horizontal ones (on the mean
  over frequency), three convolutions over time with residual connections, whose outputs are all kept beside those of
  the front end, maximum and mean over time, and 200 dense units.

What a state dict does not tell, the poolings and activations, is checked by the running means and variances in it:
those of real music are the same, layer by layer (``tests/released/test_won2020.py``). PyTorch's poolings leave out what
does not fill a window. Convolutions over time are written as 2-D ones of height 1, as in `musictools.models`. Dropouts
are left out: these networks are not trained here.

The front end scales dB to [0, 1]; the first batch normalisation takes that back, so that the network is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from musictools.models.lazy import keras, layers
from musictools.released.registry import Release

if TYPE_CHECKING:
    import keras as _keras

__all__ = ["convert"]

_EPSILON = 1e-5  # of PyTorch's batch normalisation
_FCN_POOLS = ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4))
_FCN_FILTERS = (64, 128, 128, 128, 64)
_CRNN_POOLS = ((2, 2), (3, 3), (4, 4), (4, 4))
_CRNN_FILTERS = (64, 128, 128, 128)
_UNITS = 32
_VERTICAL, _VERTICAL_FILTERS = (67, 38), 204  # 70 % and 40 % of 96 bands, 7 frames
_HORIZONTAL, _HORIZONTAL_FILTERS = (129, 65, 33), 51  # frames
_FILTER_TOLERANCE = 2e-5  # theirs are computed in single precision


def convert(state: Mapping[str, np.ndarray], release: Release) -> _keras.Model:
    """Build the Keras model of a state dict.

    Parameters
    ----------
    state : mapping of str to np.ndarray
        The authors' arrays, as `musictools.released.checkpoints.read` returns them.
    release : Release
        Which network it is, its input and tags.

    Returns
    -------
    model : keras.Model
        Its last layers are ``logits`` and ``sigmoid``.

    Raises
    ------
    ValueError
        If the state dict is that of another network, or its spectrogram is not that of the release's front end.
    """
    _check_front_end(state, release.front_end)
    inputs = keras.layers.Input(release.input.shape, name="spectrogram")
    network = _Network(inputs)
    body = {"fcn": _fcn, "musicnn": _musicnn, "crnn": _crnn}[release.network]
    last = "dense2" if release.network == "musicnn" else "dense"
    x = network.add(layers.Dense(len(release.tags), name="logits"), body(network), last)
    scores = keras.layers.Activation("sigmoid", name="sigmoid")(x)
    model = keras.Model(inputs, scores, name=f"won2020_{release.network}")
    used = {f"spec.{name}" for name in ("mel_scale.fb", "spectrogram.window")}
    for name, prefix in network.prefixes.items():
        layer = model.get_layer(name)
        weights = _READERS[type(layer).__name__](_Reader(state, prefix, used))
        if name == "norm_input":
            weights = _of_scaled(weights, release.front_end)
        for weight, array in zip(layer.weights, weights, strict=True):
            if tuple(weight.shape) != array.shape:
                raise ValueError(
                    f"{prefix} has weights of shape {array.shape}, {release.network} {tuple(weight.shape)}"
                )
        layer.set_weights(weights)
    if other := [name for name in state if name not in used and not name.endswith("num_batches_tracked")]:
        raise ValueError(f"{other[0]} is no part of {release.network}")
    return model


class _Network:
    """Layers as they are added, and the beginnings of their names in the state dict."""

    def __init__(self, inputs):
        self.prefixes = {}
        self.x = self.add(_norm("norm_input"), inputs, "spec_bn")

    def add(self, layer, x, prefix):
        self.prefixes[layer.name] = prefix
        return layer(x)

    def convolved(self, x, filters, size, suffix, prefix, *, padding="same"):
        """Convolution, batch normalisation, ReLU."""
        x = self.add(layers.Conv2D(filters, size, padding=padding, name=f"conv{suffix}"), x, f"{prefix}.conv")
        x = self.add(_norm(f"norm{suffix}"), x, f"{prefix}.bn")
        return layers.ReLU(name=f"relu{suffix}")(x)


def _norm(name):
    return layers.BatchNormalization(epsilon=_EPSILON, name=name)


def _fcn(network):
    return layers.Flatten(name="flatten")(_blocks(network, _FCN_FILTERS, _FCN_POOLS))


def _blocks(network, all_filters, pools):
    x = network.x
    for block, (filters, pool) in enumerate(zip(all_filters, pools, strict=True), start=1):
        x = network.convolved(x, filters, 3, str(block), f"layer{block}")
        x = layers.MaxPooling2D(pool, name=f"pool{block}")(x)
    return x


def _crnn(network):
    x = _blocks(network, _CRNN_FILTERS, _CRNN_POOLS)
    x = layers.Reshape((x.shape[2], x.shape[3]), name="steps")(x)  # a single band is left
    x = network.add(layers.GRU(_UNITS, return_sequences=True, name="gru1"), x, "layer5.l0")
    return network.add(layers.GRU(_UNITS, name="gru2"), x, "layer5.l1")


def _musicnn(network):
    x, outputs = network.x, []
    n_mels = x.shape[1]
    padded = layers.ZeroPadding2D((0, 3), name="pad_vertical")(x)  # in time only
    for number, height in enumerate(_VERTICAL):
        name = f"_vertical_{height}"
        y = network.convolved(padded, _VERTICAL_FILTERS, (height, 7), name, f"layers.{number}", padding="valid")
        outputs.append(layers.MaxPooling2D((n_mels - height + 1, 1), name=f"pool{name}")(y))
    mean = layers.AveragePooling2D((n_mels, 1), name="pool_horizontal")(x)
    for number, frames in enumerate(_HORIZONTAL, start=len(_VERTICAL)):
        name = f"_horizontal_{frames}"
        outputs.append(network.convolved(mean, _HORIZONTAL_FILTERS, (1, frames), name, f"layers.{number}"))
    front_end = layers.Concatenate(name="front_end")(outputs)
    first = network.convolved(front_end, 64, (1, 7), "1", "layer1")
    second = layers.Add(name="add2")([network.convolved(first, 64, (1, 7), "2", "layer2"), first])
    third = layers.Add(name="add3")([network.convolved(second, 64, (1, 7), "3", "layer3"), second])
    x = layers.Concatenate(name="all_levels")([front_end, first, second, third])
    x = layers.Concatenate(name="global_pools")(
        [layers.GlobalMaxPooling2D(name="global_max")(x), layers.GlobalAveragePooling2D(name="global_mean")(x)]
    )
    x = network.add(layers.Dense(200, name="dense"), x, "dense1")
    x = network.add(_norm("norm"), x, "bn")
    return layers.ReLU(name="relu")(x)


class _Reader:
    """Arrays of one layer from the state dict; remembers which were taken."""

    def __init__(self, state, prefix, used):
        self.state, self.prefix, self.used = state, prefix, used

    def __call__(self, name, n_axes=None):
        return self.named(f"{self.prefix}.{name}", n_axes)

    def named(self, name, n_axes=None):
        if name not in self.state:
            raise ValueError(f"{name} is missing")
        array = self.state[name]
        if n_axes and array.ndim not in n_axes:
            raise ValueError(f"{name} has shape {array.shape}")
        self.used.add(name)
        return array


def _convolution(read):
    kernel = read("weight", (3, 4))
    if kernel.ndim == 3:
        kernel = kernel[:, :, None]
    return [kernel.transpose(2, 3, 1, 0), read("bias")]


def _normalisation(read):
    return [read("weight"), read("bias"), read("running_mean"), read("running_var")]


def _dense(read):
    return [read("weight", (2,)).T, read("bias")]


def _recurrent(read):
    """PyTorch's gates are reset, update, new; Keras's update, reset, new."""
    layer, _, level = read.prefix.partition(".")

    def gates(name, n_axes):
        reset, update, new = np.split(read.named(f"{layer}.{name}_{level}", n_axes), 3)
        return np.concatenate([update, reset, new])

    biases = np.stack([gates("bias_ih", (1,)), gates("bias_hh", (1,))])
    return [gates("weight_ih", (2,)).T, gates("weight_hh", (2,)).T, biases]


_READERS = {"Conv2D": _convolution, "BatchNormalization": _normalisation, "Dense": _dense, "GRU": _recurrent}


def _of_scaled(weights, front_end):
    """Batch normalisation of x = (S - floor) / (ceiling - floor) that equals the given one of S."""
    gamma, beta, mean, variance = (array.astype(np.float64) for array in weights)
    span = front_end.ceiling - front_end.floor
    return [
        array.astype(np.float32)
        for array in (gamma, beta, (mean - front_end.floor) / span, (variance + _EPSILON) / span**2 - _EPSILON)
    ]


def _check_front_end(state, front_end):
    """Refuse a file whose window or mel bands are not those of the front end."""
    n = front_end.n_fft
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)
    for name, expected in (
        ("spec.spectrogram.window", window),
        ("spec.mel_scale.fb", front_end.mel_weights().toarray().T),
    ):
        if name not in state:
            raise ValueError(f"{name} is missing")
        if state[name].shape != expected.shape or not np.abs(state[name] - expected).max() < _FILTER_TOLERANCE:
            raise ValueError(f"{name} is not that of its front end")

"""Deconvolution: a feature projected back to the input, by the switches of max-pooling (Zeiler and Fergus 2014).

Conventions
-----------
A *feature* is one map (layer, index from 0) of a layer whose output has shape (n, n_bins', n_frames', n_features). The
forward pass is that of the network. The backward pass starts from this map alone, with all others set to 0:

- max-pooling puts a value back where its maximum was (the switch); average pooling spreads it, which is its adjoint;
- ReLU, ELU and LeakyReLU set negative values of the backward signal to 0, whatever the sign of the forward value;
- convolutions use the flipped kernels with inputs and outputs exchanged, which is their adjoint. Biases are ignored;
- batch normalisation multiplies by its scale, dropout does nothing, sums and concatenations pass on to each input;
- gates (squeeze and excitation) and the standard deviation of a layer normalisation count as constants.

Without ReLUs, the backward pass is the transpose of the forward pass, linearised at this input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import keras
import numpy as np
from keras import layers, ops

from musictools.models.graph.autodiff import compiled_arrays, pull
from musictools.models.graph.linear import is_linear, make_linear
from musictools.models.graph.reading import RECTIFIERS, Call, Graph, activation_of, calls_before, read

__all__ = ["Deconvolution", "convolutions", "feature_maps"]

_PASSING = {"linear", *RECTIFIERS.values()}
_CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D)
_PLAIN = (
    layers.Activation,
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.Normalization,
    layers.Dropout,
    layers.SpatialDropout2D,
    layers.Identity,
    layers.Rescaling,
    layers.MaxPooling2D,
    layers.AveragePooling2D,
    layers.GlobalMaxPooling2D,
    layers.GlobalAveragePooling2D,
    layers.ZeroPadding2D,
    layers.Cropping2D,
    layers.Reshape,
    layers.Permute,
    layers.Flatten,
    layers.Add,
    layers.Subtract,
    layers.Average,
    layers.Concatenate,
)
_UNPOOLINGS = ("switches", "upsample")


class Deconvolution:
    """Deconvolution from one layer of a model, compiled once for any number of clips and features.

    Parameters
    ----------
    model : keras.Model
        Takes spectrograms, (n_bins, n_frames, 1).
    layer : str
        Name of the layer whose output holds the feature maps, after the layer's own activation if it has one.
    unpool : {"switches", "upsample"}
        "upsample" repeats every value over its pooling window instead of putting it back where the maximum was, as the
        poster `ren_poster` does.
    rectify : bool
        Whether the backward pass has ReLUs. Without them it is linear.

    Attributes
    ----------
    n_features : int
        Number of feature maps of the layer.
    layer : str
        Name of the layer.

    Raises
    ------
    ValueError
        If the model takes waveforms or has no convolution, the layer does not exist or has no maps, or a layer below
        it cannot be deconvolved.

    See Also
    --------
    musictools.auralisation.auralise : Turns the images into sound.
    musictools.auralisation.masked_by_activation : The poster's way for a first layer.

    Examples
    --------
    >>> from musictools import models
    >>> model = models.build("choi_stft", n_outputs=3, width=0.05, input_shape=(33, 40, 1), seed=0)
    >>> x = np.random.default_rng(0).random((2, 33, 40, 1), dtype=np.float32)
    >>> deconvolution = Deconvolution(model, "conv2")
    >>> deconvolution.n_features
    3
    >>> deconvolution.images(x, [0, 2]).shape
    (2, 2, 33, 40)
    """

    def __init__(self, model: keras.Model, layer: str, *, unpool: str = "switches", rectify: bool = True):
        if unpool not in _UNPOOLINGS:
            raise ValueError(f"unpool must be one of {', '.join(_UNPOOLINGS)}. Got {unpool!r}.")
        self.graph, self.layer, self.unpool, self.rectify = read(model), layer, unpool, rectify
        call = feature_maps(self.graph, layer)
        self.value, self.n_features = call.outputs[0], int(call.node.outputs[0].shape[-1])
        self._calls = calls_before(self.graph.calls, self.value)
        self._path = calls_before(self.graph.calls, self.value, inputs=self._signals)
        for below in self._path:
            _check(below, self.graph)
        self._linear = {c.outputs[0]: _adjoint(c) for c in self._path if is_linear(c.layer)}
        self._shapes = (None, *self.graph.input_shape), (None, *call.node.outputs[0].shape[1:])

    @cached_property
    def _maps(self):
        return compiled_arrays(lambda x: self.graph.run(x, upto=self.value), self._shapes[0])

    @cached_property
    def _images(self):
        return compiled_arrays(self._project, self._shapes[0], (None, self.n_features))

    @cached_property
    def _transposed(self):
        return compiled_arrays(lambda x, maps: self._backward(self._forward(x), maps, 1), *self._shapes)

    def maps(self, x: np.ndarray) -> np.ndarray:
        """Compute the layer's feature maps.

        Parameters
        ----------
        x : np.ndarray [shape=(n, n_bins, n_frames, 1)]
            Inputs of the model.

        Returns
        -------
        maps : np.ndarray [shape=(n, n_bins', n_frames', n_features), float32]
        """
        return self._maps(self._check_inputs(x))

    def images(self, x: np.ndarray, features: int | Sequence[int], *, batch_size: int = 8) -> np.ndarray:
        """Project features back to the input.

        Parameters
        ----------
        x : np.ndarray [shape=(n, n_bins, n_frames, 1)]
            Inputs of the model.
        features : int or sequence of int
            Indices of feature maps, from 0.
        batch_size : int > 0
            Number of inputs times features computed at once. It affects speed and memory only.

        Returns
        -------
        images : np.ndarray [shape=(n, k, n_bins, n_frames), float32]
            In the units of the input, of any size and sign.

        Raises
        ------
        ValueError
            If a feature does not exist or `x` does not fit.
        """
        x, features = self._check_inputs(x), self._check_features(features)
        chosen = np.eye(self.n_features, dtype=np.float32)[features]
        step, every = max(1, batch_size // len(features)), max(1, batch_size)
        images = np.empty((len(x), len(features), *x.shape[1:3]), dtype=np.float32)
        for start in range(0, len(x), step):
            for first in range(0, len(features), every):
                part = images[start : start + step, first : first + every]
                part[:] = self._images(x[start : start + step], chosen[first : first + every]).reshape(part.shape)
        return images

    def transposed(self, x: np.ndarray, maps: np.ndarray) -> np.ndarray:
        """Project given maps back, instead of the layer's own.

        Parameters
        ----------
        x : np.ndarray [shape=(n, n_bins, n_frames, 1)]
            Inputs that determine switches, gates and standard deviations.
        maps : np.ndarray [shape=(n, n_bins', n_frames', n_features)]
            What the backward pass starts from.

        Returns
        -------
        images : np.ndarray [shape=(n, n_bins, n_frames), float32]

        Raises
        ------
        ValueError
            If `x` or `maps` does not fit.
        """
        x, maps = self._check_inputs(x), np.asarray(maps, dtype=np.float32)
        if maps.shape != (len(x), *self._shapes[1][1:]):
            raise ValueError(
                f"maps must have shape {(len(x), *self._shapes[1][1:])}, that of {self.layer!r}. Got {maps.shape}."
            )
        return self._transposed(x, maps)[..., 0]

    def _check_features(self, features):
        features = np.atleast_1d(features)
        if (
            features.dtype.kind not in "iu"
            or features.ndim != 1
            or not len(features)
            or not (features.min() >= 0 and features.max() < self.n_features)
        ):
            raise ValueError(
                f"features must lie between 0 and {self.n_features - 1}, the maps of {self.layer!r}. "
                f"Got {features.tolist()}."
            )
        return features

    def _check_inputs(self, x):
        x = np.asarray(x, dtype=np.float32)
        if x.ndim != 4 or x.shape[1:] != self.graph.input_shape or not len(x):
            raise ValueError(
                f"x must have shape (n, {', '.join(map(str, self.graph.input_shape))}), n > 0. Got {x.shape}."
            )
        if not np.isfinite(x).all():
            raise ValueError("x holds NaN or Inf.")
        return x

    def _project(self, x, chosen):
        values = self._forward(x)
        y = values[self.value]
        kept = ops.maximum(y, 0.0) if self.rectify else y
        signal = kept[:, None] * chosen[None, :, None, None, :]
        return self._backward(values, ops.reshape(signal, (-1, *y.shape[1:])), ops.shape(chosen)[0])

    def _forward(self, x):
        values = {0: x}
        for call in self._calls:
            values |= zip(call.outputs, call(*(values[i] for i in call.inputs)), strict=True)
        return values

    def _backward(self, values, signal, k):
        """Signals at the input from those at the layer, (n * k, ...): k for every input."""
        signals = {self.value: signal}
        for call in reversed(self._path):
            xs = [values[i] for i in call.inputs]
            parts = self._through(call, xs, signals.pop(call.outputs[0]), k)
            for number, part in zip(call.inputs, parts, strict=True):
                if part is not None:
                    signals[number] = signals[number] + part if number in signals else part
        return signals[0]

    def _through(self, call, xs, signal, k):
        """Signals at the inputs of a call from that at its output."""
        layer, kind = call.layer, activation_of(call.layer)
        if kind in RECTIFIERS.values() and self.rectify:
            signal = ops.maximum(signal, 0.0)
        if is_linear(layer):
            return [self._linear[call.outputs[0]](signal, (ops.shape(xs[0])[0] * k, *xs[0].shape[1:]))]
        if kind in RECTIFIERS.values():
            return [signal]
        if isinstance(layer, layers.LayerNormalization):
            return [signal * _repeat(_scale(layer, xs[0]), k)]
        if isinstance(layer, layers.Multiply):
            gates = [_repeat(x, k) for i, x in zip(call.inputs, xs, strict=True) if self.graph.is_gate(i)]
            return [None if self.graph.is_gate(i) else signal * math.prod(gates) for i in call.inputs]
        if isinstance(layer, layers.MaxPooling2D) and self.unpool == "upsample":
            return [_upsampled(signal, xs[0].shape, layer.strides)]
        xs = [_repeat(x, k) for x in xs]
        return [pull(lambda v, i=i: call(*xs[:i], v, *xs[i + 1 :])[0], x, signal) for i, x in enumerate(xs)]

    def _signals(self, call):
        """Inputs of a call that the backward pass goes on to: all but the gates of a product."""
        return [i for i in call.inputs if not (isinstance(call.layer, layers.Multiply) and self.graph.is_gate(i))]


def convolutions(model: keras.Model) -> list[str]:
    """Name the layers that convolve over bins and frames.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential.

    Returns
    -------
    names : list of str
        From the input on.

    Examples
    --------
    >>> from musictools import models
    >>> convolutions(models.build("ckn19", n_outputs=8, width=0.1))
    ['conv1', 'conv2', 'conv3']
    """
    return [call.name for call in read(model).calls if isinstance(call.layer, _CONVOLUTIONS)]


def feature_maps(graph: Graph, name: str) -> Call:
    """Find the call of a layer that has feature maps over bins and frames.

    Parameters
    ----------
    graph : Graph
        A model, as read by `models.graph.reading.read`.
    name : str
        Name of the layer.

    Returns
    -------
    call : Call

    Raises
    ------
    ValueError
        If the model takes no spectrograms or has no convolution, or the layer does not exist or has no maps.
    """
    if len(graph.input_shape) != 3:
        raise ValueError(
            f"{graph.name} must take spectrograms (n_bins, n_frames, 1): deconvolution needs maps over "
            f"bins and frames. Got inputs of shape {graph.input_shape}."
        )
    if not any(isinstance(c.layer, _CONVOLUTIONS) for c in graph.calls):
        raise ValueError(f"{graph.name} has no convolution over bins and frames: there is no feature to hear.")
    call = graph.find(name)
    if len(call.outputs) != 1 or len(call.node.outputs[0].shape) != 4:
        raise ValueError(
            f"layer must have feature maps over bins and frames. Got {name!r} with output {call.node.outputs[0].shape}."
        )
    return call


def _check(call, graph):
    """Refuse a layer that cannot be deconvolved."""
    layer, kind = call.layer, activation_of(call.layer)
    gated = isinstance(layer, layers.Multiply) and sum(map(graph.is_gate, call.inputs)) == len(call.inputs) - 1
    if (
        not (is_linear(layer) or isinstance(layer, _PLAIN) or type(layer) in RECTIFIERS or gated)
        or kind not in _PASSING
    ):
        raise ValueError(
            f"Layer {call.name!r} of {graph.name} ({call.kind}, {kind}) cannot be deconvolved: only convolutions, "
            "poolings, ReLU, ELU, LeakyReLU and layers that move values can. Choose a layer below it."
        )


def _adjoint(call):
    """A linear layer's transpose, without its bias: signal and the input's shape -> signal."""
    apply, kernel, _, _ = make_linear(call)
    weights = ops.convert_to_tensor(kernel, dtype="float32")
    return lambda signal, shape: pull(lambda x: apply(x, weights), ops.zeros(shape), signal)


def _scale(layer, x):
    """What a layer normalisation multiplies by: its weights over the standard deviation."""
    deviation = ops.sqrt(ops.var(x, axis=layer.axis, keepdims=True) + layer.epsilon)
    return (layer.gamma if layer.scale else 1.0) / deviation


def _upsampled(signal, shape, strides):
    """Values repeated over their pooling windows, cropped or padded with 0 to the size before the pooling."""
    signal = ops.repeat(ops.repeat(signal, strides[0], axis=1), strides[1], axis=2)[:, : shape[1], : shape[2]]
    missing = [shape[axis] - signal.shape[axis] for axis in (1, 2)]
    return ops.pad(signal, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))


def _repeat(x, k):
    """Every sample k times."""
    return x if isinstance(k, int) and k == 1 else ops.repeat(x, k, axis=0)

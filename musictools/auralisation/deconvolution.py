"""Down from a feature to the input: deconvolution with the switches of max-pooling (Zeiler and Fergus 2014).

Conventions
-----------
A *feature* is one map (layer, index from 0) of a layer whose output has shape (n, n_bins', n_frames', n_features). On
the way up the network runs as it is. On the way down, from that map alone, all others 0:

- max-pooling puts a value back where its maximum was (the switch); average pooling spreads it, which is its adjoint;
- ReLU cuts off what is negative of the signal that comes down, whatever went up. ELU and LeakyReLU do the same;
- convolutions use the flipped kernels with inputs and outputs exchanged, which is their adjoint. Biases play no part;
- batch normalisation multiplies by its scale, dropout does nothing, sums and concatenations hand back to each part;
- gates (squeeze and excitation) and the deviation of a clip that a network standardises count as constants.

So without the ReLUs the way down is the transpose of the linear map that the way up was for this input.
"""

import math
from functools import cached_property

import numpy as np
from keras import layers, ops

from musictools.models.graph import reading as graphs
from musictools.models.graph.autodiff import compiled, pull
from musictools.models.graph.linear import is_linear, make_linear

__all__ = ["Deconvolution", "convolutions"]

_RECTIFIERS = {"relu", "elu", "leaky_relu"}
_RECTIFYING = {layers.ReLU: "relu", layers.ELU: "elu", layers.LeakyReLU: "leaky_relu"}
_GATES = {"sigmoid", "hard_sigmoid", "softmax"}
_PLAIN = (
    layers.BatchNormalization,
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
    """Deconvolution from one layer of one model, compiled once for any number of clips and features.

    Parameters
    ----------
    model : keras.Model
        Takes spectrograms, (n_bins, n_frames, 1).
    layer : str
        Its name. The map is that layer's output: after the ReLU if the convolution has one of its own.
    unpool : {"switches", "upsample"}
        "upsample" repeats every value over its pooling window instead of putting it back to its switch, as the poster
        `ren_poster` does.
    rectify : bool
        False: leave the ReLUs away on the way down; what remains is linear, see the module's head.

    Attributes
    ----------
    n_features : int
    layer : str

    Raises
    ------
    ValueError
        If the model takes waveforms or has no convolution, the layer is not there or has no maps, or something below
        it has no way down.
    """

    def __init__(self, model, layer, *, unpool="switches", rectify=True):
        if unpool not in _UNPOOLINGS:
            raise ValueError(f"unpool must be one of {', '.join(_UNPOOLINGS)}. Got {unpool!r}.")
        self.graph, self.layer, self.unpool, self.rectify = graphs.read(model), layer, unpool, rectify
        call = _with_maps(self.graph, layer)
        self.value, self.n_features = call.outputs[0], int(call.node.outputs[0].shape[-1])
        self._calls, self._path = _below(self.graph, self.value), _below(self.graph, self.value, gates=False)
        for below in self._path:
            _check(below, self.graph)
        self._linear = {c.outputs[0]: _adjoint(c) for c in self._path if is_linear(c.layer)}
        self._shapes = (None, *self.graph.input_shape), (None, *call.node.outputs[0].shape[1:])

    @cached_property
    def _maps(self):
        return _made(lambda x: self.graph.run(x, upto=self.value), self._shapes[0])

    @cached_property
    def _images(self):
        return _made(self._down, self._shapes[0], (None, self.n_features))

    @cached_property
    def _given(self):
        return _made(self._from, *self._shapes)

    def maps(self, x):
        """Feature maps.

        Parameters
        ----------
        x : np.ndarray [shape=(n, n_bins, n_frames, 1)]

        Returns
        -------
        maps : np.ndarray [shape=(n, n_bins', n_frames', n_features), float32]
        """
        return self._maps(self._checked(x))

    def images(self, x, features, *, batch_size=8):
        """Deconvolved images of some features.

        Parameters
        ----------
        x : np.ndarray [shape=(n, n_bins, n_frames, 1)]
        features : int or sequence of int
            From 0.
        batch_size : int > 0
            Inputs times features at once; of speed and memory only.

        Returns
        -------
        images : np.ndarray [shape=(n, k, n_bins, n_frames), float32]
            In the units of the input, but of any size and sign.

        Raises
        ------
        ValueError
            If a feature does not exist or `x` does not fit.
        """
        x, features = self._checked(x), self._known(features)
        chosen = np.eye(self.n_features, dtype=np.float32)[features]
        step, every = max(1, batch_size // len(features)), max(1, batch_size)
        found = np.empty((len(x), len(features), *x.shape[1:3]), dtype=np.float32)
        for start in range(0, len(x), step):
            for first in range(0, len(features), every):
                images = self._images(x[start : start + step], chosen[first : first + every])
                shape = -1, len(chosen[first : first + every]), *x.shape[1:3]
                found[start : start + step, first : first + every] = images.reshape(shape)
        return found

    def transposed(self, x, maps):
        """Send given maps down instead of the layer's own, with the switches of an input.

        Parameters
        ----------
        x : np.ndarray [shape=(n, n_bins, n_frames, 1)]
            Sets the switches, gates and deviations.
        maps : np.ndarray [shape=(n, n_bins', n_frames', n_features)]

        Returns
        -------
        images : np.ndarray [shape=(n, n_bins, n_frames), float32]
        """
        x, maps = self._checked(x), np.asarray(maps, dtype=np.float32)
        if maps.shape != (len(x), *self._shapes[1][1:]):
            raise ValueError(
                f"maps must have shape {(len(x), *self._shapes[1][1:])}, that of {self.layer!r}. Got {maps.shape}."
            )
        return self._given(x, maps)[..., 0]

    def _known(self, features):
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

    def _checked(self, x):
        x = np.asarray(x, dtype=np.float32)
        if x.ndim != 4 or x.shape[1:] != self.graph.input_shape or not len(x):
            raise ValueError(
                f"x must have shape (n, {', '.join(map(str, self.graph.input_shape))}), n > 0. Got {x.shape}."
            )
        if not np.isfinite(x).all():
            raise ValueError("x holds NaN or Inf.")
        return x

    def _down(self, x, chosen):
        values = self._up(x)
        y = values[self.value]
        kept = ops.maximum(y, 0.0) if self.rectify else y
        signal = kept[:, None] * chosen[None, :, None, None, :]
        return self._back(values, ops.reshape(signal, (-1, *y.shape[1:])), ops.shape(chosen)[0])

    def _from(self, x, maps):
        return self._back(self._up(x), maps, 1)

    def _up(self, x):
        values = {0: x}
        for call in self._calls:
            values |= zip(call.outputs, call(*(values[i] for i in call.inputs)))
        return values

    def _back(self, values, signal, k):
        """From signals (n * k, ...) at the layer to those at the input."""
        signals = {self.value: signal}
        for call in reversed(self._path):
            xs = [values[i] for i in call.inputs]
            for number, part in zip(call.inputs, self._through(call, xs, signals.pop(call.outputs[0]), k)):
                if part is not None:
                    signals[number] = signals[number] + part if number in signals else part
        return signals[0]

    def _through(self, call, xs, signal, k):
        """Signals at the inputs of a call from that at its output."""
        layer, kind = call.layer, _activation(call)
        if kind in _RECTIFIERS and self.rectify:
            signal = ops.maximum(signal, 0.0)
        if is_linear(layer):
            return [self._linear[call.outputs[0]](signal, (ops.shape(xs[0])[0] * k, *xs[0].shape[1:]))]
        if kind in _RECTIFIERS:
            return [signal]
        if isinstance(layer, layers.LayerNormalization):
            return [signal * _repeat(_steepness(layer, xs[0]), k)]
        if isinstance(layer, layers.Multiply):
            gates = _gates(self.graph, call)
            others = [_repeat(x, k) for i, x in enumerate(xs) if i in gates]
            return [None if i in gates else signal * math.prod(others) for i in range(len(xs))]
        if isinstance(layer, layers.MaxPooling2D) and self.unpool == "upsample":
            return [_upsampled(signal, xs[0].shape, layer.strides)]
        tall = [_repeat(x, k) for x in xs]
        return [pull(lambda v, i=i: call(*tall[:i], v, *tall[i + 1 :])[0], x, signal) for i, x in enumerate(tall)]


def convolutions(model):
    """Names of the layers that convolve over bins and frames, from the input on, list of str."""
    return [
        call.name for call in graphs.read(model).calls if isinstance(call.layer, layers.Conv2D | layers.DepthwiseConv2D)
    ]


def _with_maps(graph, name):
    if len(graph.input_shape) != 3:
        raise ValueError(
            f"{graph.name} must take spectrograms (n_bins, n_frames, 1): deconvolution needs maps over "
            f"bins and frames. Got inputs of shape {graph.input_shape}."
        )
    if not any(isinstance(c.layer, layers.Conv2D | layers.DepthwiseConv2D) for c in graph.calls):
        raise ValueError(f"{graph.name} has no convolution over bins and frames: there is no feature to hear.")
    call = graph.find(name)
    if len(call.outputs) != 1 or len(call.node.outputs[0].shape) != 4:
        raise ValueError(
            f"layer must have feature maps over bins and frames. Got {name!r} with output {call.node.outputs[0].shape}."
        )
    return call


def _below(graph, value, *, gates=True):
    """The calls that a value depends on, in order; without gates those that a signal goes down through."""
    wanted, needed = {value}, []
    for call in reversed(graph.calls):
        if wanted & set(call.outputs):
            needed.append(call)
            spared = set() if gates or not isinstance(call.layer, layers.Multiply) else set(_gates(graph, call))
            wanted |= {number for i, number in enumerate(call.inputs) if i not in spared}
    return needed[::-1]


def _check(call, graph):
    """Refuse a layer that has no way down."""
    layer, kind = call.layer, _activation(call)
    known = is_linear(layer) or isinstance(layer, (*_PLAIN, layers.LayerNormalization, layers.Activation))
    gated = isinstance(layer, layers.Multiply) and len(_gates(graph, call)) == len(call.inputs) - 1
    if not (known or gated or type(layer) in _RECTIFYING) or kind not in {"linear", *_RECTIFIERS}:
        raise ValueError(
            f"Layer {call.name!r} of {graph.name} ({call.kind}, {kind}) has no way down: deconvolution "
            "knows convolutions, poolings, ReLU and its kin, and what leaves maps in place. Choose a "
            "layer below it."
        )


def _made(function, *shapes):
    """A function of arrays, compiled at once: TensorFlow would take new objects at an old address for retracing."""
    graph = compiled(function, *shapes).get_concrete_function()
    return lambda *arrays: ops.convert_to_numpy(graph(*(ops.convert_to_tensor(a) for a in arrays)))


def _adjoint(call):
    """A linear layer's transpose, without its bias: signal and the input's shape -> signal."""
    apply, kernel, _, _ = make_linear(call)
    weights = ops.convert_to_tensor(kernel, dtype="float32")
    return lambda signal, shape: pull(lambda x: apply(x, weights), ops.zeros(shape), signal)


def _activation(call):
    return _RECTIFYING.get(type(call.layer)) or graphs.activation_of(call.layer)


def _gates(graph, call):
    """Which inputs of a product are gates: those that come from a sigmoid."""
    producer = {c.outputs[0]: c for c in graph.calls}
    found = []
    for i, number in enumerate(call.inputs):
        before = producer.get(number)
        while before is not None and isinstance(
            before.layer, layers.Reshape | layers.Flatten | layers.Permute | layers.Dropout
        ):
            before = producer.get(before.inputs[0])
        if before is not None and _activation(before) in _GATES:
            found.append(i)
    return found


def _steepness(layer, x):
    """One over the deviation that a layer normalisation divides by, times its weights."""
    deviation = ops.sqrt(ops.var(x, axis=layer.axis, keepdims=True) + layer.epsilon)
    return (layer.gamma if layer.scale else 1.0) / deviation


def _upsampled(signal, shape, strides):
    """Every value over its pooling window, cut or filled with 0 to the size before the pooling."""
    tall = ops.repeat(ops.repeat(signal, strides[0], axis=1), strides[1], axis=2)
    signal = tall[:, : shape[1], : shape[2]]
    missing = [shape[axis] - signal.shape[axis] for axis in (1, 2)]
    return ops.pad(signal, ((0, 0), (0, missing[0]), (0, missing[1]), (0, 0)))


def _repeat(x, k):
    """Every sample k times."""
    return x if isinstance(k, int) and k == 1 else ops.repeat(x, k, axis=0)

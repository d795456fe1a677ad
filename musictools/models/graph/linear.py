"""Keras's linear layers as functions of their weights, and what folding does to those weights."""

import numpy as np
from keras import layers, ops

__all__ = ["conv_bias_map", "is_linear", "kernel_scaled", "make_linear"]

_CONVS = (layers.Conv1D, layers.Conv2D)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)


def is_linear(layer):
    """Whether a layer has weights that this module knows, bool."""
    return type(layer) in (layers.Dense, *_CONVS, *_DEPTHWISE)


def make_linear(call):
    """A layer as a function of its weights.

    Parameters
    ----------
    call : musictools.models.graph.reading.Call

    Returns
    -------
    apply : callable
        Input and weights -> output without bias.
    kernel : np.ndarray, float64
    bias : np.ndarray or None
    kind : {"dense", "conv"}

    Raises
    ------
    ValueError
        If the layer pads causally or has its channels first.
    """
    layer = call.layer
    kernel = ops.convert_to_numpy(layer.kernel).astype(np.float64)
    bias = None if layer.bias is None else ops.convert_to_numpy(layer.bias).astype(np.float64)
    if isinstance(layer, layers.Dense):
        return ops.matmul, kernel, bias, "dense"
    if layer.data_format != "channels_last" or layer.padding not in ("same", "valid"):
        raise ValueError(
            f"Layer {layer.name!r} must have its channels last and padding 'same' or 'valid'. "
            f"Got {layer.data_format} and {layer.padding!r}."
        )
    convolve = ops.depthwise_conv if isinstance(layer, _DEPTHWISE) else ops.conv
    options = {
        "strides": _plain(layer.strides),
        "padding": layer.padding,
        "dilation_rate": _plain(layer.dilation_rate),
        "data_format": "channels_last",
    }
    return (lambda x, w: convolve(x, w, **options)), kernel, bias, "conv"


def kernel_scaled(thing, a, *, kernel=None, inputs=False):
    """Weights of a layer whose outputs, or inputs, are multiplied channel by channel.

    Parameters
    ----------
    thing : Linear step (outputs) or Call (inputs)
    a : np.ndarray [shape=(n_channels,)]
    kernel : np.ndarray or None
        None: the step's own.
    inputs : bool

    Returns
    -------
    kernel : np.ndarray
    """
    kernel = thing.kernels[0] if kernel is None else kernel
    depthwise = "Depthwise" in (thing.kind if inputs else thing.layer)
    if not inputs:
        return kernel * (a.reshape(kernel.shape[-2:]) if depthwise else a)
    if depthwise or kernel.ndim == 2:
        return kernel * a[:, None]
    groups = a.size // kernel.shape[-2]
    by_group = a.reshape(groups, kernel.shape[-2])  # output channels come group after group
    return kernel * np.repeat(by_group, kernel.shape[-1] // groups, axis=0).T


def conv_bias_map(call, apply, kernel, b):
    """What a constant input b for every channel adds to a layer's output.

    Parameters
    ----------
    call : musictools.models.graph.reading.Call
    apply, kernel
        As of `make_linear`.
    b : np.ndarray [shape=(n_channels,)]

    Returns
    -------
    added : np.ndarray or None
        Shape (n_outputs,), or with padding (1, ..., n_outputs): borders differ. None where the input's shape is open.
    """
    shape = call.shapes()[0]
    if kernel.ndim == 2:
        return b @ kernel
    if not np.any(b):
        return np.zeros(call.node.outputs[0].shape[-1])
    if None in shape:
        return None
    image = np.broadcast_to(b.astype(np.float32), (1, *shape))
    added = ops.convert_to_numpy(apply(ops.convert_to_tensor(image), ops.convert_to_tensor(kernel, dtype="float32")))
    added = added.astype(np.float64)
    return added[(0,) * (added.ndim - 1)] if call.layer.padding == "valid" else added


def _plain(value):
    return tuple(value) if isinstance(value, list | tuple) else value

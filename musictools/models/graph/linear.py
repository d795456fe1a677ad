"""Keras's linear layers as functions of their weights, and how canonisation changes those weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import layers, ops

if TYPE_CHECKING:
    from musictools.models.graph.reading import Call

__all__ = ["conv_bias_map", "is_linear", "kernel_scaled", "make_linear"]

_CONVS = (layers.Conv1D, layers.Conv2D)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose)


def is_linear(layer: Any) -> bool:
    """Tell whether a layer is linear but for its activation, with weights that this module knows.

    Parameters
    ----------
    layer : keras.Layer
        Subclasses of Keras's layers do not count, as they may compute something else.

    Returns
    -------
    is_linear : bool
        True for dense layers and for convolutions: plain, depthwise, separable and transposed ones.
    """
    return type(layer) in (layers.Dense, *_CONVS, *_DEPTHWISE, *_SEPARABLE, *_TRANSPOSED)


def make_linear(call: Call) -> tuple[Callable, np.ndarray, np.ndarray | None, str]:
    """Turn a layer into a function of its weights.

    A separable convolution has nothing between its two parts, so it is one convolution with the product of their
    weights. The weights of a transposed one are given as (..., inputs, outputs), like those of all others.

    Parameters
    ----------
    call : musictools.models.graph.reading.Call
        The call of a layer for which `is_linear` is True.

    Returns
    -------
    apply : callable
        Input and weights -> output without bias.
    kernel : np.ndarray, float64
        The layer's weights.
    bias : np.ndarray or None
        The layer's bias, float64.
    kind : {"dense", "conv"}

    Raises
    ------
    ValueError
        If the layer pads causally or has its channels first.

    Examples
    --------
    >>> import keras
    >>> from musictools.models.graph.reading import read
    >>> model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    >>> apply, kernel, bias, kind = make_linear(read(model).calls[0])
    >>> x = np.ones((1, 3), dtype=np.float32)
    >>> kind, np.allclose(apply(x, kernel) + bias, model(x), atol=1e-6)
    ('dense', True)
    """
    layer = call.layer
    kernel = _separable_kernel(layer) if isinstance(layer, _SEPARABLE) else _array(layer.kernel)
    bias = None if layer.bias is None else _array(layer.bias)
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
    if isinstance(layer, _TRANSPOSED):
        options["output_padding"] = _plain(layer.output_padding)
        kernel = np.swapaxes(kernel, -1, -2)
        return (lambda x, w: ops.conv_transpose(x, ops.swapaxes(w, -1, -2), **options)), kernel, bias, "conv"
    return (lambda x, w: convolve(x, w, **options)), kernel, bias, "conv"


def kernel_scaled(kernel: np.ndarray, a: np.ndarray, *, depthwise: bool, inputs: bool = False) -> np.ndarray:
    """Compute the weights of a layer whose outputs, or inputs, are multiplied channel by channel.

    Parameters
    ----------
    kernel : np.ndarray
        The layer's weights.
    a : np.ndarray [shape=(n_channels,)]
        Factor of each channel.
    depthwise : bool
        Whether the layer is a depthwise convolution.
    inputs : bool
        Whether the inputs are multiplied, instead of the outputs.

    Returns
    -------
    kernel : np.ndarray
        The new weights.
    """
    if not inputs:
        return kernel * (a.reshape(kernel.shape[-2:]) if depthwise else a)
    if depthwise or kernel.ndim == 2:
        return kernel * a[:, None]
    groups = a.size // kernel.shape[-2]
    by_group = a.reshape(groups, kernel.shape[-2])  # output channels come group after group
    return kernel * np.repeat(by_group, kernel.shape[-1] // groups, axis=0).T


def conv_bias_map(call: Call, apply: Callable, kernel: np.ndarray, b: np.ndarray) -> np.ndarray | None:
    """Compute what a constant input of each channel adds to a layer's output.

    Parameters
    ----------
    call : musictools.models.graph.reading.Call
        The call of the layer.
    apply : callable
        Input and weights -> output without bias, from `make_linear`.
    kernel : np.ndarray
        The layer's weights.
    b : np.ndarray [shape=(n_channels,)]
        The constants.

    Returns
    -------
    added : np.ndarray or None
        Shape (n_outputs,), or with padding (1, ..., n_outputs), since padding is 0 and the borders differ. None if the
        input's shape is not fixed.
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
    alike = call.layer.padding == "valid" and not isinstance(call.layer, _TRANSPOSED)
    return added[(0,) * (added.ndim - 1)] if alike else added


def _separable_kernel(layer):
    depthwise, pointwise = _array(layer.depthwise_kernel), _array(layer.pointwise_kernel)
    n_inputs, multiplier = depthwise.shape[-2:]
    mixed = pointwise.reshape(n_inputs, multiplier, -1)
    return np.einsum("...im,imo->...io", depthwise, mixed)


def _array(variable):
    return ops.convert_to_numpy(variable).astype(np.float64)


def _plain(value):
    return tuple(value) if isinstance(value, list | tuple) else value

"""Operators on Keras tensors, and layers that scale, copy or resize a signal, turned into operations.

``x + y``, ``2 * x``, ``x - ops.mean(x)``, ``x[..., :3]`` and the functions of ``keras.ops`` are calls of operators in a
Functional model. An operator that only moves or copies values passes relevance back along the same way, and copies add
up. A sum or a mean is a linear layer whose weights are 1. A constant that is added or multiplied channel by channel is
an affine map a x + b, which is merged into the linear layers before or after it as a batch normalisation is; other
constants stay an operation of their own. Rules that look at the output count b as a bias, which absorbs its share.

An affine map of the input itself changes nothing for the z^B rule: its bounds go through the same map, and relevance
passes unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import layers, ops

from musictools.explain.attribution.operations import Linear, MaxPool, Move
from musictools.models.graph.reading import KEEPS_ZERO, activation_of

if TYPE_CHECKING:
    from musictools.models.graph.reading import Call

__all__ = ["convert"]

_UPSAMPLING = (layers.UpSampling1D, layers.UpSampling2D)
_BATCHES_MEET = "combines the samples of a batch, and so"


def convert(planner: Any, call: Call, ins: list) -> Any:
    """Add the operations of a layer or operator that this module knows.

    Parameters
    ----------
    planner : planner of `canonisation.plan`
        Receives the operations.
    call : musictools.models.graph.reading.Call
        The call.
    ins : list
        The planner's values of the call's inputs.

    Returns
    -------
    value : object or None
        The planner's value of the output. None if this module does not know the layer.
    """
    layer = call.layer
    if not isinstance(layer, keras.Layer):
        make = _OPERATORS.get(call.kind)
        if make is None and activation_of(layer) in KEEPS_ZERO:
            make = _activated
        if make is None:
            return None
        return make(planner, call, ins) if _keeps_samples_apart(call) else planner.refuse(call, _BATCHES_MEET)
    if isinstance(layer, _UPSAMPLING):
        return _upsampled(planner, call, ins)
    if isinstance(layer, layers.RepeatVector):
        return _moved(planner, call, ins)
    if isinstance(layer, layers.Rescaling):
        return _affine(planner, call, ins[0], layer.scale, layer.offset)
    if isinstance(layer, layers.Normalization):
        return _normalised(planner, call, ins[0])
    if isinstance(layer, layers.PReLU):
        return planner.activation(call, "prelu", planner.bare(ins[0]), layer)
    if _is_from_keras(layer, "LayerScale"):  # of ConvNeXt, as is the next one
        return _affine(planner, call, ins[0], layer.gamma, 0.0)
    if _is_from_keras(layer, "StochasticDepth"):
        return ins[0]
    return None


def _is_from_keras(layer, name):
    """Whether a layer is of a class that Keras does not export."""
    return type(layer).__name__ == name and type(layer).__module__.startswith("keras.")


def _keeps_samples_apart(call):
    """Try an operator: whether the first sample of two comes out as it does alone."""
    rng = np.random.default_rng(0)
    two = [rng.standard_normal((2, *(side or 4 for side in shape))).astype(np.float32) for shape in call.shapes()]
    try:
        together = [ops.convert_to_numpy(y) for y in call(*two)]
        alone = [ops.convert_to_numpy(y) for y in call(*(x[:1] for x in two))]
    except Exception:  # whatever the backend raises
        return False
    return all(
        b.shape[:1] == (1,) and a.shape == (2, *b.shape[1:]) and np.allclose(a[:1], b, atol=1e-5, equal_nan=True)
        for a, b in zip(together, alone, strict=True)
    )


# -- constants --------------------------------------------------------------------------------------------------------


def _added(sign_first, sign_second):
    """Add or subtract: two signals, or a signal and a constant."""

    def make(planner, call, ins):
        first, second = _operands(call)
        if len(ins) == 2:
            return planner.weighted_sum(call, ins, [sign_first, sign_second])
        if _is_signal(first):
            return _affine(planner, call, ins[0], sign_first, sign_second * _number(second))
        return _affine(planner, call, ins[0], sign_second, sign_first * _number(first))

    return make


def _multiplied(planner, call, ins):
    if len(ins) == 2:
        return planner.gated(call, ins)
    first, second = _operands(call)
    return _affine(planner, call, ins[0], _number(second if _is_signal(first) else first), 0.0)


def _divided(planner, call, ins):
    first, second = _operands(call)
    if _is_signal(second):
        return planner.refuse(call, "divides by a signal, and so")
    return _affine(planner, call, ins[0], 1.0 / _number(second), 0.0)


def _negated(planner, call, ins):
    return _affine(planner, call, ins[0], -1.0, 0.0)


def _operands(call):
    arguments = call.node.arguments
    return tuple([*arguments.args, *arguments.kwargs.values()][:2])


def _is_signal(operand):
    return isinstance(operand, keras.KerasTensor)


def _number(constant):
    return ops.convert_to_numpy(constant).astype(np.float64)


def _affine(planner, call, value, a, b):
    """Apply a x + b: channel by channel like a batch normalisation, else an operation of its own."""
    (shape, *_), new = call.shapes(), tuple(call.node.outputs[0].shape[1:])
    a, b = np.asarray(_number(a)), np.asarray(_number(b))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return planner.refuse(call, "scales by NaN or infinity, and so")
    if new == shape and all(side == 1 for one in (a, b) for side in one.shape[:-1]):
        return planner.scaled(call, value, *(np.broadcast_to(one.reshape(-1), shape[-1:]) for one in (a, b)))
    source, first = planner.settled(value), value.first
    if new != shape:  # the constant is larger than the signal, whose values are copied
        ones = np.ones((1, *new), np.float32)
        source = planner.emit(Move, call.name, (source,), forward=lambda x: x * ones)
    return planner.made(
        planner.emit(
            Linear,
            call.name,
            (source,),
            output=call.outputs[0],
            kind="scale",
            apply=ops.multiply,
            kernels=[a],
            bias=b if np.any(b) else None,
            first=first,
            layer=call.kind,
        ),
        first=first,
    )


def _normalised(planner, call, value):
    layer = call.layer
    mean, variance = _number(layer.mean), _number(layer.variance)
    size = np.maximum(np.sqrt(variance), keras.backend.epsilon())
    if layer.invert:
        return _affine(planner, call, value, size, mean)
    return _affine(planner, call, value, 1.0 / size, -mean / size)


# -- moves, sums, maxima ----------------------------------------------------------------------------------------------


def _run(call) -> Callable:
    return lambda *xs: call(*xs)[0]


def _moved(planner, call, ins):
    (value,) = ins
    number = planner.emit(Move, call.name, (planner.settled(value),), output=call.outputs[0], forward=_run(call))
    return planner.made(number, positive=value.positive and value.a is None, first=value.first)


def _padded(planner, call, ins):
    constant = call.node.arguments.kwargs.get("constant_values")
    if constant is not None and np.any(_number(constant)):
        return planner.refuse(call, "pads with numbers other than 0, and so")
    return _moved(planner, call, ins)


def _split(planner, call, ins):
    (value,) = ins
    source, positive = planner.settled(value), value.positive and value.a is None
    for i, output in enumerate(call.outputs):
        planner.emit(Move, call.name, (source,), output=output, forward=lambda x, i=i: call(x)[i])
        planner.values[output] = planner.made(output, positive=positive, first=value.first)
    return planner.values[call.outputs[0]]


def _stacked(planner, call, ins):
    """Stack: every input gets the new axis, and then they are joined."""
    axis, wide = call.layer.axis, []
    for value in ins:
        number = planner.emit(Move, call.name, (planner.settled(value),), forward=lambda x: ops.expand_dims(x, axis))
        wide.append(planner.made(number, positive=value.positive and value.a is None, first=value.first))
    return planner.concatenated(call, wide, axis % len(call.node.outputs[0].shape))


def _upsampled(planner, call, ins):
    """Copies keep a normalisation that is still to be applied; other interpolations are linear maps."""
    if getattr(call.layer, "interpolation", "nearest") != "nearest":
        return _summed(planner, call, [planner.bare(ins[0])])
    if getattr(call.layer, "data_format", "channels_last") != "channels_last":
        return _moved(planner, call, ins)
    number = planner.emit(Move, call.name, (ins[0].source,), output=call.outputs[0], forward=call.layer)
    return replace(ins[0], source=number)


def _summed(planner, call, ins):
    """Sum, mean or interpolation: a linear map without weights."""
    value = planner.bare(ins[0])
    number = planner.emit(
        Linear,
        call.name,
        (value.source,),
        output=call.outputs[0],
        kind="pool",
        kernels=[1.0],
        apply=lambda x, w: w * call(x)[0],
        positive=value.positive,
        first=value.first,
        layer=call.kind,
    )
    return planner.made(number, positive=value.positive)


def _resized(planner, call, ins):
    if call.layer.interpolation not in ("nearest", "bilinear"):  # the others have negative weights
        return planner.refuse(call, f"interpolates by {call.layer.interpolation!r}, and so")
    return _summed(planner, call, ins)


def _maximum(planner, call, ins):
    value = planner.bare(ins[0])
    number = planner.emit(MaxPool, call.name, (value.source,), output=call.outputs[0], forward=_run(call))
    return planner.made(number, positive=value.positive)


def _joined(planner, call, ins):
    return planner.joined(call, ins)


def _activated(planner, call, ins):
    return planner.activation(call, activation_of(call.layer), planner.bare(ins[0]), _run(call))


_OPERATORS = {
    "Add": _added(1.0, 1.0),
    "Subtract": _added(1.0, -1.0),
    "Multiply": _multiplied,
    "Divide": _divided,
    "TrueDivide": _divided,
    "Negative": _negated,
    "Concatenate": _joined,
    "Stack": _stacked,
    "Split": _split,
    "Unstack": _split,
    "Pad": _padded,
    "Resize": _resized,
    **dict.fromkeys(("Mean", "Sum", "AveragePool"), _summed),
    **dict.fromkeys(("Max", "MaxPool"), _maximum),
    **dict.fromkeys(
        ("Reshape", "Transpose", "Swapaxes", "Moveaxis", "ExpandDims", "Squeeze", "GetItem", "Flip", "Roll"), _moved
    ),
    **dict.fromkeys(("Repeat", "Tile"), _moved),
}

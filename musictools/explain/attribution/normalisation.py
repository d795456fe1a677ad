"""Normalisation over features (layer and root-mean-square normalisation), turned into operations.

A layer normalisation is ``(x - mean) / deviation * gamma + beta``. The deviation counts as a constant, so relevance
passes the division unchanged: the identity rule of AttnLRP (Achtibat et al. 2024, proposition 3.4). The scale and shift
are merged into the linear layers after it as those of a batch normalisation are. Where nothing can take them, as before
a sum, they are an operation of their own, and in rules that look at the output the shift absorbs its share.

The subtraction of the mean is linear. The paper leaves it to the epsilon rule, whose quotient has no limit where x is
close to the mean. Here relevance passes it unchanged by default, so that nothing is absorbed. The option
``rules={"LayerNormalization": "epsilon"}`` of `lrp_composite` gives the paper's form.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import layers, ops

from musictools.explain.attribution.operations import Activation, Linear

__all__ = ["Deviation", "convert"]


class Deviation(Activation):
    """Division of features by their root mean square, which counts as a constant: relevance passes unchanged."""


def convert(planner: Any, call: Any, ins: list) -> Any:
    """Add the operations of a layer or root-mean-square normalisation.

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
        The planner's value of the output. None if the layer is of another kind.
    """
    layer = call.layer
    if type(layer) is layers.LayerNormalization:
        if layer.rms_scaling:
            return planner.refuse(call, "divides by the variance (rms_scaling=True), and so")
        gamma, beta, centred = layer.gamma, layer.beta, True
    elif type(layer) is layers.RMSNormalization:
        gamma, beta, centred = layer.scale, None, False
    else:
        return None
    rank = len(call.shapes()[0]) + 1
    axes = tuple(sorted(axis % rank for axis in np.atleast_1d(layer.axis)))
    source = planner.settled(ins[0])
    if centred:
        source = planner.emit(
            Linear,
            call.name,
            (source,),
            kind="centre",
            apply=lambda x, w: w * (x - ops.mean(x, axis=axes, keepdims=True)),
            kernels=[1.0],
            layer=call.kind,
        )
    number = planner.emit(
        Deviation,
        call.name,
        (source,),
        output=call.outputs[0],
        forward=lambda x: x / ops.sqrt(ops.mean(ops.square(x), axis=axes, keepdims=True) + layer.epsilon),
    )
    return _scaled(planner, call, number, gamma, beta, axes)


def _scaled(planner, call, number, gamma, beta, axes):
    """The value gamma x + beta: to be merged where it goes along the channels, else an operation of its own."""
    shape = call.shapes()[0]
    sides = tuple(shape[axis - 1] for axis in axes)
    a = np.ones(sides) if gamma is None else ops.convert_to_numpy(gamma).astype(np.float64)
    b = np.zeros(sides) if beta is None else ops.convert_to_numpy(beta).astype(np.float64)
    if gamma is None and beta is None:
        return planner.made(number)
    if axes == (len(shape),):
        return planner.made(number, a=a, b=b)
    broad = [1] + [shape[axis - 1] if axis in axes else 1 for axis in range(1, len(shape) + 1)]
    scale = planner.emit(
        Linear,
        "normalisation",
        (number,),
        kind="scale",
        apply=ops.multiply,
        kernels=[a.reshape(broad)],
        bias=b.reshape(broad) if np.any(b) else None,
        layer=call.kind,
    )
    return planner.made(scale)

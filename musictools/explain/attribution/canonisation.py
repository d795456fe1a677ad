"""Canonisation: a graph of layer calls turned into operations that relevance can pass, without batch normalisation.

A batch normalisation (y = a x + b for every channel) is merged exactly into the convolution or dense layer before it.
If a ReLU is between them, it is merged into the layers after it, past poolings, flatten, dropout and concatenation:
their weights are multiplied by a, and b is added to their biases. At zero-padded borders the bias becomes a map, since
padding is not normalised. A negative a would turn a maximum into a minimum, so the signal's sign is changed before the
pooling. If no linear layer can take it (before a sum, a gate or the output), it stays an operation of its own. The
model is not changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from keras import layers, ops

from musictools.explain.attribution import (
    attention,
    normalisation,
    operators,
    own_layers,  # noqa: F401 - registers the rules of the package's own layers
    recurrence,
)
from musictools.explain.attribution.operations import (
    Activation,
    Gate,
    Head,
    Join,
    Linear,
    MaxPool,
    Move,
    Opaque,
    Standardise,
)
from musictools.explain.attribution.registry import Registered, registered_rule
from musictools.models.graph.linear import conv_bias_map, is_linear, kernel_scaled, make_linear
from musictools.models.graph.reading import GATES, KEEPS_ZERO, RECTIFIERS, activation_of

if TYPE_CHECKING:
    from musictools.explain.attribution.operations import Operation
    from musictools.models.graph.reading import Graph

__all__ = ["Plan", "plan"]

GRADIENTS = "gradient, smooth_grad, integrated_gradients, occlusion, rise and lime work with any layer"
_SILENT = (
    layers.Dropout,
    layers.Identity,
    layers.ActivityRegularization,
    layers.GaussianNoise,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
)
_MAX_POOLS = (layers.MaxPooling1D, layers.MaxPooling2D, layers.GlobalMaxPooling1D, layers.GlobalMaxPooling2D)
_MEAN_POOLS = (
    layers.AveragePooling1D,
    layers.AveragePooling2D,
    layers.GlobalAveragePooling1D,
    layers.GlobalAveragePooling2D,
)
_PADS = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.Cropping1D, layers.Cropping2D)
_SEVERAL_OUTPUTS = ("Split", "Unstack", "MultiHeadAttention")
_MOVES = (layers.Reshape, layers.Permute, *_PADS)


@dataclass
class Plan:
    """The operations of a canonised network.

    Attributes
    ----------
    operations : list of Operation
        In the order of computation; the last is a `Head`.
    """

    operations: list[Operation]

    def on_path(self) -> list[Operation]:
        """List the operations that relevance passes.

        Returns
        -------
        operations : list of Operation
            In the order of computation.
        """
        wanted, path = {self.operations[-1].output}, []
        for operation in reversed(self.operations):
            if operation.output in wanted:
                path.append(operation)
                wanted |= set(operation.carriers())
        return path[::-1]


@dataclass(frozen=True)
class _Value:
    """An operation's output (`positive`: never negative), with a normalisation a x + b still to be applied."""

    source: int
    positive: bool = False
    first: bool = False
    a: np.ndarray | None = None
    b: np.ndarray | None = None


def plan(graph: Graph, attention: str = "constant") -> Plan:
    """Canonise a graph.

    Parameters
    ----------
    graph : musictools.models.graph.reading.Graph
        The model.
    attention : {"constant", "attnlrp"}
        Whether weights of attention count as constants, or pass relevance as in `musictools.explain.attribution
        .attention`.

    Returns
    -------
    plan : Plan

    Raises
    ------
    ValueError
        If relevance would have to pass a layer that has no rule. The message names it and what works instead.
    """
    made = _Planner(graph, attention).finish()
    for operation in made.on_path():
        if isinstance(operation, Opaque):
            raise ValueError(
                f"Layer {operation.name!r} of {graph.name} {operation.why}: relevance cannot be propagated through "
                f"it. {GRADIENTS[0].upper()}{GRADIENTS[1:]}. A layer of your own can be given a rule by "
                "explain.register_rule."
            )
    return made


class _Planner:
    def __init__(self, graph, attention):
        self.graph, self.attention, self.consumers = graph, attention, graph.consumers()
        self.operations, self.values = [], {0: _Value(0, first=True)}
        self.fresh = 1 + max((o for c in graph.calls for o in c.outputs), default=0)
        self.scales, self.merged = {}, set()  # merged: outputs of normalisations that are part of the layer before

    def finish(self):
        for call in self.graph.calls:
            self.values[call.outputs[0]] = self.convert(call)
        last = self.values[self.graph.output]
        operation = next((s for s in self.operations if s.output == last.source), None)
        if last.a is None and isinstance(operation, Linear) and operation.kind == "dense":
            self.operations.remove(operation)
            self.operations.append(
                Head(**{n: getattr(operation, n) for n in operation.__dataclass_fields__ if n != "forward"})
            )
        else:
            self.emit(
                Head,
                "output",
                (self.settled(last),),
                kind="dense",
                apply=ops.matmul,
                layer="output",
                kernels=[np.eye(self.graph.n_outputs, dtype=np.float32)],
                positive=False,
                first=last.first,
            )
        return Plan(self.operations)

    def convert(self, call):
        """Add the operations of a call; return its value."""
        layer, ins = call.layer, [self.values.get(i) for i in call.inputs]
        if None in ins or len(call.outputs) != 1 and call.kind not in _SEVERAL_OUTPUTS:
            return self.refuse(call, f"({call.kind}) has several outputs")
        if (rule := registered_rule(layer)) is not None:
            return self.registered(call, ins, rule)
        if isinstance(layer, layers.LayerNormalization) and self.is_standardisation(call):
            return self.standardised(call, ins[0])
        for module in (normalisation, attention, recurrence):
            if (value := module.convert(self, call, ins)) is not None:
                return value
        if isinstance(layer, layers.BatchNormalization):
            return self.normalised(call, ins[0])
        if is_linear(layer):
            return self.linear(call, ins[0])
        if isinstance(layer, _SILENT):
            return ins[0]
        if isinstance(layer, _MAX_POOLS):
            return self.pooled(call, ins[0])
        if isinstance(layer, _MEAN_POOLS):
            return self.averaged(call, ins[0])
        if isinstance(layer, layers.Flatten):
            return self.flattened(call, ins[0])
        if isinstance(layer, layers.Concatenate):
            return self.joined(call, ins)
        return self.plain(call, ins)

    def plain(self, call, ins):
        """Layers before which a normalisation has to be applied."""
        layer = call.layer
        if isinstance(layer, _MOVES):
            return self.moved(call, ins[0])
        if isinstance(layer, layers.Add | layers.Average | layers.Subtract):
            return self.summed(call, ins)
        if isinstance(layer, layers.Multiply):
            return self.gated(call, ins)
        if type(layer) in RECTIFIERS or isinstance(layer, layers.Activation):
            return self.activated(call, ins[0], activation_of(layer))
        value = operators.convert(self, call, ins)
        return self.refuse(call, f"is of a kind ({call.kind}) that has no rule") if value is None else value

    # -- what changes no tensor -------------------------------------------------------------------------------------

    def emit(self, make, name, inputs, *, output=None, **options):
        """Add an operation; return the number of its output."""
        if output is None:
            output, self.fresh = self.fresh, self.fresh + 1
        self.operations.append(make(name=name, inputs=tuple(inputs), output=output, **options))
        return output

    def settled(self, value):
        """The number of a value with its normalisation applied, if need be by an operation of its own."""
        if value.a is None:
            return value.source
        key = value.source, value.a.tobytes(), value.b.tobytes()
        if key not in self.scales:
            bias = value.b if np.any(value.b) else None
            self.scales[key] = self.emit(
                Linear,
                "normalisation",
                (value.source,),
                kind="scale",
                bias=bias,
                apply=ops.multiply,
                kernels=[value.a],
                first=value.first,
                layer="BatchNormalization",
            )
        return self.scales[key]

    def bare(self, value):
        """A value with its normalisation applied."""
        return value if value.a is None else _Value(self.settled(value), first=value.first)

    @staticmethod
    def made(number, *, positive=False, first=False, a=None, b=None):
        """The value of an operation that was added, with a normalisation a x + b still to be applied."""
        return _Value(number, positive=positive, first=first, a=a, b=b)

    def refuse(self, call, why):
        inputs = [self.settled(self.values[i]) for i in call.inputs if i in self.values]
        return _Value(
            self.emit(Opaque, call.name, inputs, output=call.outputs[0], forward=lambda *xs: call(*xs)[0], why=why)
        )

    def registered(self, call, ins, rule):
        """A layer with a rule of its own; its output is measured from the lowest, which is added afterwards."""
        low, channels = rule.lowest, call.node.outputs[0].shape[-1]
        number = self.emit(
            Registered,
            call.name,
            [self.settled(v) for v in ins],
            output=call.outputs[0],
            forward=lambda *xs: call(*xs)[0] if low is None else call(*xs)[0] - low,
            layer=call.layer,
            rule=rule,
        )
        return _Value(number) if low is None else _Value(number, a=np.ones(channels), b=np.full(channels, float(low)))

    # -- normalisation ----------------------------------------------------------------------------------------------

    def normalised(self, call, value):
        layer, shape = call.layer, call.shapes()[0]
        if layer.axis not in (-1, len(shape)):
            return self.refuse(call, f"normalises axis {layer.axis}, only the last one can be canonised, and so")
        if call.node.arguments.kwargs.get("training"):
            return self.refuse(call, "normalises by its batch (training=True), and so")
        gamma = 1.0 if layer.gamma is None else _array(layer.gamma)
        beta = 0.0 if layer.beta is None else _array(layer.beta)
        a = gamma / np.sqrt(_array(layer.moving_variance) + layer.epsilon)
        b = beta - _array(layer.moving_mean) * a
        return self.scaled(call, value, np.broadcast_to(a, shape[-1:]), np.broadcast_to(b, shape[-1:]))

    def scaled(self, call, value, a, b):
        """A value under a x + b: merged into the layer before if only this call uses it, else to be applied."""
        if value.a is not None:
            a, b = a * value.a, a * value.b + b
        operation = next((s for s in self.operations if s.output == value.source), None)
        alone = self.consumers.get(call.inputs[0]) == 1 and value.a is None
        if (
            alone
            and isinstance(operation, Linear)
            and operation.kind in ("conv", "dense")
            and call.inputs[0] in (operation.output, *self.merged)
        ):
            self.merged.add(call.outputs[0])
            operation.kernels = [kernel_scaled(operation.kernels[0], a, depthwise="Depthwise" in operation.layer)]
            operation.bias = b if operation.bias is None else operation.bias * a + b
            return value
        return replace(value, a=a, b=b)

    # -- linear layers ----------------------------------------------------------------------------------------------

    def linear(self, call, value):
        apply, kernel, bias, kind = make_linear(call)
        source, positive = value.source, value.positive
        if value.a is not None:
            added = conv_bias_map(call, apply, kernel, value.b)
            if added is None:
                source, positive = self.settled(value), False
            else:
                kernel = kernel_scaled(kernel, value.a, depthwise="Depthwise" in call.kind, inputs=True)
                bias = added if bias is None else bias + added
        number = self.emit(
            Linear,
            call.name,
            (source,),
            output=call.outputs[0],
            kind=kind,
            apply=apply,
            kernels=[kernel],
            bias=bias,
            positive=positive,
            first=value.first,
            layer=call.kind,
        )
        name = "linear" if call.headless else activation_of(call.layer)
        return self.activation(call, name, _Value(number), getattr(call.layer, "activation", None))

    def activated(self, call, value, name):
        if name == "relu" and isinstance(call.layer, layers.ReLU) and getattr(call.layer, "threshold", 0):
            return self.refuse(call, "is a ReLU with a threshold")
        return self.activation(call, name, self.bare(value), call.layer)

    def activation(self, call, name, value, function):
        if name == "linear":
            return value
        if name == "softmax":
            return attention.soften(self, call, value.source)
        if name not in KEEPS_ZERO:
            number = self.emit(
                Opaque,
                call.name,
                (value.source,),
                forward=function,
                why=f"has the activation {name!r}, which is not known to be 0 at 0",
            )
            return _Value(number, positive=name in GATES)
        number = self.emit(Activation, call.name, (value.source,), forward=function)
        slope = getattr(call.layer, "negative_slope", 0.0) or 0.0
        return _Value(number, positive=name in ("relu", "relu6") and slope == 0)

    def averaged(self, call, value):
        layer = call.layer
        number = self.emit(
            Linear,
            call.name,
            (value.source,),
            output=call.outputs[0],
            kind="pool",
            kernels=[1.0],
            apply=lambda x, w: w * layer(x),
            positive=value.positive,
            first=value.first,
            layer=call.kind,
        )
        return replace(value, source=number, first=False)

    def summed(self, call, ins):
        weight = 1.0 / len(ins) if isinstance(call.layer, layers.Average) else 1.0
        kernels = [weight] * len(ins)
        if isinstance(call.layer, layers.Subtract):
            kernels[1] = -weight
        return self.weighted_sum(call, ins, kernels)

    def weighted_sum(self, call, ins, kernels):
        """A sum of values, each times a number; smaller ones are copied along the axes that they lack."""
        shapes, new = set(call.shapes()), tuple(call.node.outputs[0].shape[1:])
        if len({len(shape) for shape in shapes}) != 1 or (len(shapes) != 1 and None in new):
            return self.refuse(call, f"adds shapes {', '.join(map(str, sorted(shapes, key=str)))}, and so")
        ones = np.ones((1, *new), np.float32) if len(shapes) != 1 else 1.0
        positive = all(v.positive and v.a is None for v in ins)
        number = self.emit(
            Linear,
            call.name,
            [self.settled(v) for v in ins],
            output=call.outputs[0],
            kind="sum",
            apply=ops.multiply if len(shapes) == 1 else lambda x, w: x * w * ones,
            kernels=kernels,
            positive=positive,
            layer=call.kind,
        )
        return _Value(number, positive=positive and min(kernels) > 0)

    # -- poolings, moves, gates -------------------------------------------------------------------------------------

    def pooled(self, call, value):
        if value.a is not None and np.any(value.a < 0):
            sign = np.where(value.a < 0, -1.0, 1.0)
            turned = self.emit(
                Linear,
                "sign",
                (value.source,),
                kind="scale",
                apply=ops.multiply,
                kernels=[sign],
                layer="BatchNormalization",
            )
            value = replace(value, source=turned, a=np.abs(value.a), positive=False)
        number = self.emit(MaxPool, call.name, (value.source,), output=call.outputs[0], forward=call.layer)
        return replace(value, source=number, first=False)

    def flattened(self, call, value):
        size, channels = int(np.prod(call.shapes()[0])), call.shapes()[0][-1]
        number = self.emit(Move, call.name, (value.source,), output=call.outputs[0], forward=call.layer)
        if value.a is None:
            return replace(value, source=number)
        return replace(value, source=number, a=np.tile(value.a, size // channels), b=np.tile(value.b, size // channels))

    def moved(self, call, value):
        number = self.emit(Move, call.name, (self.settled(value),), output=call.outputs[0], forward=call.layer)
        return _Value(number, positive=value.positive and value.a is None, first=value.first)

    def joined(self, call, ins):
        return self.concatenated(call, ins, call.layer.axis % len(call.node.outputs[0].shape))

    def concatenated(self, call, ins, axis):
        """Values side by side."""
        shapes = call.shapes()
        if axis != len(shapes[0]) or all(v.a is None for v in ins):
            ins = [self.bare(v) for v in ins]
        number = self.emit(
            Join,
            call.name,
            [v.source for v in ins],
            output=call.outputs[0],
            forward=lambda *xs: ops.concatenate(xs, axis=axis),
            axis=axis,
        )
        value = _Value(number, positive=all(v.positive for v in ins), first=all(v.first for v in ins))
        if all(v.a is None for v in ins):
            return value
        a = [np.ones(s[-1]) if v.a is None else v.a for v, s in zip(ins, shapes, strict=True)]
        b = [np.zeros(s[-1]) if v.a is None else v.b for v, s in zip(ins, shapes, strict=True)]
        return replace(value, a=np.concatenate(a), b=np.concatenate(b))

    def gated(self, call, ins):
        signals = [i for i, number in enumerate(call.inputs) if not self.graph.is_gate(number)]
        if len(signals) != 1:
            return self.refuse(
                call, "multiplies signals none of which is a sigmoid gate" if signals else "multiplies gates only"
            )
        number = self.emit(
            Gate,
            call.name,
            [self.settled(v) for v in ins],
            output=call.outputs[0],
            forward=lambda *xs: call(*xs)[0],
            signal=signals[0],
        )
        return _Value(number, positive=ins[signals[0]].positive and ins[signals[0]].a is None)

    @staticmethod
    def is_standardisation(call):
        """Whether a layer normalisation has no weights and takes a whole sample."""
        layer, rank = call.layer, len(call.node.outputs[0].shape)
        axes = sorted(axis % rank for axis in np.atleast_1d(layer.axis))
        return not (layer.center or layer.scale) and axes == list(range(1, rank))

    def standardised(self, call, value):
        number = self.emit(Standardise, call.name, (self.settled(value),), output=call.outputs[0], forward=call.layer)
        return _Value(number, first=value.first and value.a is None)


def _array(variable):
    return ops.convert_to_numpy(variable).astype(np.float64)

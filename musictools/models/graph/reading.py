"""A Keras model read as a flat list of layer calls.

Nested models are replaced by the calls inside them, and a sigmoid or softmax at the end is removed. Values (tensors)
are numbered: 0 is the input, and every call adds the numbers of its outputs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

__all__ = ["Call", "Graph", "activation_of", "calls_before", "read"]

HEADS = ("sigmoid", "softmax")
GATES = {"sigmoid", "hard_sigmoid", "softmax"}
RECTIFIERS = {layers.ReLU: "relu", layers.ELU: "elu", layers.LeakyReLU: "leaky_relu"}
KEEPS_ZERO = {  # elementwise activations f with f(0) = 0
    "relu", "relu6", "elu", "leaky_relu", "prelu", "selu", "celu", "tanh", "hard_tanh", "softsign", "silu", "hard_silu",
    "gelu", "mish", "soft_shrink", "hard_shrink", "tanh_shrink",
}  # fmt: skip
_MOVES = (layers.Reshape, layers.Flatten, layers.Permute, layers.RepeatVector, layers.Dropout, layers.Identity)
_MOVING = ("Reshape", "Transpose", "ExpandDims", "Squeeze", "Swapaxes", "Moveaxis")  # operators


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Attributes
    ----------
    layer : keras.Layer or keras.Operation
        What is called.
    node : object
        Keras's record of the call.
    inputs, outputs : tuple of int
        Values.
    headless : bool
        Whether the layer's own activation is removed.
    """

    layer: Any
    node: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    headless: bool = False

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.layer.name

    @property
    def kind(self) -> str:
        """The name of the layer's class."""
        return type(self.layer).__name__

    def shapes(self) -> tuple[tuple, ...]:
        """Return the shapes of the inputs.

        Returns
        -------
        shapes : tuple of tuple
            Without the batch axis.
        """
        return tuple(tuple(t.shape[1:]) for t in self.node.input_tensors)

    def __call__(self, *tensors) -> tuple:
        """Compute the layer's outputs for these inputs."""
        if self.headless:
            y = ops.matmul(tensors[0], self.layer.kernel)
            return (y if self.layer.bias is None else ops.add(y, self.layer.bias),)
        known = {id(k): t for k, t in zip(self.node.input_tensors, tensors, strict=True)}
        arguments, options = self.node.arguments.fill_in(known)
        y = self.layer(*arguments, **options)
        return tuple(y) if isinstance(y, list | tuple) else (y,)


@dataclass(frozen=True, repr=False)
class Graph:
    """A model as layer calls, in the order of computation.

    Attributes
    ----------
    name : str
        The model's name.
    calls : list of Call
        The calls that the output depends on.
    output : int
        The value that holds the logits.
    input_shape : tuple
        Without the batch axis.
    n_outputs : int
        Number of logits.
    head : {"sigmoid", "softmax", None}
        The activation at the end, which is removed.
    """

    name: str
    calls: list[Call]
    output: int
    input_shape: tuple
    n_outputs: int
    head: str | None

    def __repr__(self):
        return f"Graph({self.name!r}, {len(self.calls)} calls, {self.input_shape} -> {self.n_outputs} logits)"

    def run(self, x: Any, *, replace: dict[int, Any] | None = None, upto: int | None = None) -> Any:
        """Evaluate the graph.

        Parameters
        ----------
        x : tensor [shape=(n, *input_shape)]
            Inputs.
        replace : dict of int to tensor or None
            Values that are given instead of computed.
        upto : int or None
            The value to return. None: the logits.

        Returns
        -------
        y : tensor
        """
        wanted = self.output if upto is None else upto
        values = {0: x, **(replace or {})}
        for call in self.calls:
            if wanted in values:
                break
            for number, tensor in zip(call.outputs, call(*(values[i] for i in call.inputs)), strict=True):
                values.setdefault(number, tensor)
        return values[wanted]

    def consumers(self) -> dict[int, int]:
        """Count the calls that use each value.

        Returns
        -------
        count : dict of int to int
            By value; the end of the graph counts as one.
        """
        count = {self.output: 1}
        for call in self.calls:
            for value in call.inputs:
                count[value] = count.get(value, 0) + 1
        return count

    def is_gate(self, value: int) -> bool:
        """Tell whether a value is the output of a sigmoid, a hard sigmoid or a softmax, perhaps reshaped since.

        Parameters
        ----------
        value : int
            The value.

        Returns
        -------
        is_gate : bool
            True if multiplying by this value scales a signal by numbers in [0, 1].
        """
        call = self._before_moves(value)
        if call is None or activation_of(call.layer) in GATES:
            return call is not None
        factor = _factor(call)
        behind = None if factor is None else self._before_moves(call.inputs[0])
        # relu6(x + 3) / 6, as MobileNetV3 writes its hard sigmoid
        return behind is not None and 0 <= factor * _ceiling(behind.layer) <= 1 + 1e-6

    def _before_moves(self, value):
        """The call that computes a value, before it was reshaped."""
        producer = {number: call for call in self.calls for number in call.outputs}
        call = producer.get(value)
        while call is not None and (isinstance(call.layer, _MOVES) or call.kind in _MOVING):
            call = producer.get(call.inputs[0])
        return call

    def find(self, name: str) -> Call:
        """Find a call by the name of its layer.

        Parameters
        ----------
        name : str
            Name of a layer.

        Returns
        -------
        call : Call
            The first call of that layer.

        Raises
        ------
        ValueError
            If no layer has that name.
        """
        for call in self.calls:
            if call.name == name:
                return call
        raise ValueError(f"{self.name} has no layer {name!r}. It has: {', '.join(c.name for c in self.calls)}.")


def read(model: keras.Model) -> Graph:
    """Read a Keras model.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, built, with one input and one output of shape (batch, n_outputs).

    Returns
    -------
    graph : Graph
        Refers to the model's layers; nothing is copied.

    Raises
    ------
    ValueError
        If the model has no graph, several inputs or outputs, or an output that is no vector of neurons.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((4,)), layers.Dense(2, activation="sigmoid", name="tags")], name="tiny")
    >>> graph = read(model)
    >>> graph
    Graph('tiny', 1 calls, (4,) -> 2 logits)
    >>> graph.head, [call.name for call in graph.calls]
    ('sigmoid', ['tags'])
    """
    if not isinstance(model, keras.Model):
        raise ValueError(f"model must be a Keras model. Got {type(model).__name__}.")
    try:
        inputs, outputs = model.inputs, model.outputs
    except (AttributeError, ValueError):
        inputs = outputs = None
    if not inputs or not outputs:
        raise ValueError(
            f"{model.name} has no graph of layers: only Functional and Sequential models that are built "
            "can be read. Subclassed models must be rebuilt as one of them."
        )
    if len(inputs) != 1 or len(outputs) != 1:
        raise ValueError(f"{model.name} must have one input and one output. Got {len(inputs)} and {len(outputs)}.")
    if len(outputs[0].shape) != 2 or outputs[0].shape[1] is None:
        raise ValueError(f"The output of {model.name} must have shape (batch, n_outputs). Got {outputs[0].shape}.")
    reader = _Reader(inputs[0])
    output = reader.value(outputs[0], ())
    calls, output, head = _without_head(reader.calls, output)
    return Graph(model.name, calls_before(calls, output), output, tuple(inputs[0].shape[1:]), outputs[0].shape[1], head)


def activation_of(layer: Any) -> str:
    """Name the activation of a layer.

    Parameters
    ----------
    layer : keras.Layer or keras.Operation
        A layer with an activation, or an activation itself.

    Returns
    -------
    name : str
        "linear" if it has none.

    Examples
    --------
    >>> [activation_of(layer) for layer in (layers.Dense(2, activation="relu"), layers.LeakyReLU(), layers.Dense(2))]
    ['relu', 'leaky_relu', 'linear']
    """
    if isinstance(layer, layers.Softmax):
        return "softmax"
    if not isinstance(layer, keras.Layer):  # an operator such as keras.ops.sigmoid
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(layer).__name__).lower()
        return name if name in GATES | KEEPS_ZERO else "linear"
    if type(layer) in RECTIFIERS:
        return RECTIFIERS[type(layer)]
    activation = getattr(layer, "activation", None)
    return "linear" if activation is None else getattr(activation, "__name__", type(activation).__name__)


def calls_before(
    calls: Sequence[Call], value: int, *, inputs: Callable[[Call], Iterable[int]] = lambda call: call.inputs
) -> list[Call]:
    """List the calls that a value depends on.

    Parameters
    ----------
    calls : sequence of Call
        In the order of computation.
    value : int
        The value.
    inputs : callable
        Call -> the inputs that count. By default all of them.

    Returns
    -------
    calls : list of Call
        In the same order.
    """
    wanted, needed = {value}, []
    for call in reversed(calls):
        if wanted & set(call.outputs):
            needed.append(call)
            wanted |= set(inputs(call))
    return needed[::-1]


def _factor(call):
    """The number by which an operator multiplies its input; None if it does something else."""
    operands = [*call.node.arguments.args, *call.node.arguments.kwargs.values()]
    numbers = [operand for operand in operands if isinstance(operand, int | float)]
    if isinstance(call.layer, keras.Layer) or len(operands) != 2 or len(numbers) != 1:
        return None
    if call.kind == "Multiply":
        return numbers[0]
    return 1 / numbers[0] if call.kind in ("Divide", "TrueDivide") and numbers[0] is operands[1] else None


def _ceiling(layer):
    """The largest value that a ReLU gives."""
    if type(layer).__name__ == "Relu6":
        return 6.0
    limit = layer.max_value if isinstance(layer, layers.ReLU) and not layer.negative_slope else None
    return float("inf") if limit is None else float(limit)


class _Reader:
    """Goes from a tensor back to the input and collects calls in the order of computation."""

    def __init__(self, source):
        self.calls, self.count = [], 1
        self.known = {((), id(source)): 0}

    def value(self, tensor, scope):
        key = scope, id(tensor)
        if key not in self.known:
            operation, node_index, tensor_index = tensor._keras_history
            node = operation._inbound_nodes[node_index]
            if isinstance(operation, keras.Model):
                inner = (*scope, (id(operation), node_index))
                for outside, inside in zip(node.input_tensors, operation.inputs, strict=True):
                    self.known[inner, id(inside)] = self.value(outside, scope)
                self.known[key] = self.value(operation.outputs[tensor_index], inner)
            else:
                self._add(operation, node, scope)
        return self.known[key]

    def _add(self, operation, node, scope):
        if not node.input_tensors:
            raise ValueError(
                f"Layer {operation.name!r} ({type(operation).__name__}) has no input that comes from the model's input."
            )
        inputs = tuple(self.value(t, scope) for t in node.input_tensors)
        outputs = tuple(range(self.count, self.count + len(node.outputs)))
        self.count += len(outputs)
        self.calls.append(Call(operation, node, inputs, outputs))
        for tensor, number in zip(node.outputs, outputs, strict=True):
            self.known[scope, id(tensor)] = number


def _without_head(calls, output):
    """Calls and output without a sigmoid or softmax at the end, and its name."""
    last = next((c for c in calls if output in c.outputs), None)
    while last is not None and isinstance(last.layer, layers.Dropout | layers.Identity):
        output = last.inputs[0]
        last = next((c for c in calls if output in c.outputs), None)
    if last is None:
        return calls, output, None
    name = activation_of(last.layer)
    behind = last
    while behind is not None and isinstance(behind.layer, layers.Reshape | layers.Flatten):
        behind = next((c for c in calls if behind.inputs[0] in c.outputs), None)
    if behind not in (None, last) and activation_of(behind.layer) in HEADS:
        raise ValueError(
            f"The {activation_of(behind.layer)} of layer {behind.name!r} cannot be stripped: "
            f"{last.name!r} stands behind it. Put it at the end of the model."
        )
    if name in ("linear", "relu", "leaky_relu", "elu"):
        return calls, output, None
    if name not in HEADS:
        raise ValueError(
            f"The model ends in layer {last.name!r} with activation {name!r}: only sigmoid and softmax "
            "heads can be stripped to the logit. End the model in a linear layer."
        )
    if isinstance(last.layer, layers.Activation | layers.Softmax) or not isinstance(last.layer, keras.Layer):
        return calls, last.inputs[0], name
    if not isinstance(last.layer, layers.Dense):
        raise ValueError(
            f"The {name} of the last layer {last.name!r} ({last.kind}) cannot be stripped. Put it into an "
            "Activation layer of its own."
        )
    headless = Call(last.layer, last.node, last.inputs, last.outputs, headless=True)
    return [headless if c is last else c for c in calls], output, name

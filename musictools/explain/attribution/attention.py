"""Softmax, products of two signals and multi-head attention, turned into operations.

Multi-head attention is taken apart: linear maps to queries, keys and values, the products of queries and keys, a
softmax that makes them weights, the sum of the values by these weights, and a linear map of all heads to the output.
The linear maps have the rule of the method. For the rest there are two ways, named by the option ``attention``:

- ``"attnlrp"``: the rules of Achtibat et al. 2024. A product of two signals gives half of the relevance to either, by
  the epsilon rule (proposition 3.3). A softmax s of x is linearised at x: R_x = x (R - s sum(R)), and the constant of
  that line absorbs the rest (proposition 3.1).
- ``"constant"``: the weights count as constants, so that all relevance goes to the values by the method's own rule, and
  none to queries and keys (conservative propagation, Ali et al. 2022). Relevance is conserved, and by the z+ rule it
  stays positive. Deep Taylor and alpha-beta know no other way, as their rules divide by contributions of one sign.

The paper's quotient is R / (2 y + epsilon); here epsilon has the sign of y, so that it never makes a quotient larger.
Scores that a causal mask hides have the weight 0 and receive nothing.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import layers, ops

from musictools.explain.attribution.operations import Linear, Operation, divide, repeat, summed
from musictools.models.graph.autodiff import pull

__all__ = ["Mix", "Product", "Softmax", "convert", "soften"]

_PRODUCTS = ("Matmul", "Einsum", "Dot", "Tensordot")  # operators, and a layer


@dataclass
class Product(Operation):
    """A product of two signals, linear in either: both receive half of the relevance.

    Attributes
    ----------
    epsilon : float >= 0
        Added to twice the output, with its sign.
    """

    epsilon: float = 1e-6
    reported = True

    def backward(self, xs, y, relevance, k):
        (a, b), y = (repeat(x, k) for x in xs), repeat(y, k)
        added = self.epsilon * (2.0 * ops.cast(y >= 0, "float32") - 1.0)
        steady = 2.0 * y + added
        quotient = ops.divide_no_nan(relevance, steady)
        parts = [
            a * pull(lambda v: self.forward(v, b), a, quotient),
            b * pull(lambda v: self.forward(a, v), b, quotient),
        ]
        lost = summed(ops.where(steady == 0, relevance, 0.0))
        return parts, ops.stack([0.0 * lost, summed(quotient * added), lost], axis=-1)


@dataclass
class Softmax(Operation):
    """A softmax, linearised at its input; the constant of the line absorbs its share.

    Attributes
    ----------
    axis : int or tuple of int
        The axes whose weights sum to 1.
    """

    axis: int | tuple = -1
    reported = True

    def backward(self, xs, y, relevance, k):
        # In double precision: large scores with a common part nearly cancel.
        x, s, R = (
            ops.cast(v, "float64")
            for v in (repeat(xs[0], k), repeat(self.forward(ops.cast(xs[0], "float64")), k), relevance)
        )
        part = x * (R - s * ops.sum(R, axis=self.axis, keepdims=True))
        # s_j = sum_i s_j (d_ij - s_i) x_i + constant_j, and the constant's share of R_j is R_j constant_j / s_j.
        constant = summed(R * (1.0 - (x - ops.sum(s * x, axis=self.axis, keepdims=True))))
        absorbed = ops.stack([constant, 0.0 * constant, 0.0 * constant], axis=-1)
        return [ops.cast(part, "float32")], ops.cast(absorbed, "float32")


@dataclass
class Mix(Linear):
    """A sum of values by weights that count as constants: a linear layer with other weights for every sample.

    Attributes
    ----------
    signal : int
        Index of the input that receives relevance; the other one holds the weights.
    """

    signal: int = 1

    def carriers(self):
        return (self.inputs[self.signal],)

    def prepare(self, rule):
        self.rule = rule

    def _forward(self, *xs):
        return self.apply(xs[self.signal], xs[1 - self.signal])

    def backward(self, xs, y, relevance, k, *, bounds=None, positive=False, conservation=True, shared=False):
        values, weights = xs[self.signal], xs[1 - self.signal]
        groups = self.rule.groups([values], [self.rule.prepare(weights)], None, y, self.positive)
        return divide(
            groups,
            relevance,
            k,
            apply=self.apply,
            transposed=lambda x, w, s: pull(lambda v: self.apply(v, repeat(w, k)), x, s),
            epsilon=self.rule.epsilon,
            conservation=conservation,
        )


def convert(planner: Any, call: Any, ins: list) -> Any:
    """Add the operations of a softmax, a product of two signals or multi-head attention.

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
    if isinstance(layer, layers.MultiHeadAttention):
        return _attention(planner, call)
    if call.kind == "Softmax":  # a layer, or an operator
        if len(ins) > 1:
            return planner.refuse(call, "has a mask, and so")
        return soften(planner, call, planner.settled(ins[0]), layer.axis)
    if call.kind in _PRODUCTS and len(ins) == 2:
        if getattr(layer, "normalize", False):
            return planner.refuse(call, "normalises the signals that it multiplies, and so")
        return _product(planner, call, ins)
    return None


def soften(planner: Any, call: Any, source: int, axis: int | tuple = -1) -> Any:
    """Add a softmax.

    Parameters
    ----------
    planner : planner of `canonisation.plan`
        Receives the operation.
    call : musictools.models.graph.reading.Call
        The call whose output it is.
    source : int
        The value that it takes.
    axis : int or tuple of int
        The axes whose weights sum to 1.

    Returns
    -------
    value : object
        The planner's value of the output.
    """
    axis = tuple(axis) if isinstance(axis, list | tuple) else axis
    number = planner.emit(Softmax, call.name, (source,), forward=lambda x: ops.softmax(x, axis=axis), axis=axis)
    return planner.made(number, positive=True)


def _product(planner, call, ins):
    gates = [planner.graph.is_gate(number) for number in call.inputs]
    return _multiplied(
        planner,
        call,
        call.name,
        [planner.settled(value) for value in ins],
        lambda *xs: call(*xs)[0],
        signal=gates.index(False) if sum(gates) == 1 else None,
        positive=[value.positive and value.a is None for value in ins],
        output=call.outputs[0],
    )


def _multiplied(planner, call, name, sources, forward, *, signal, positive, output=None):
    """A product of two signals, or a sum by constant weights if `signal` says which input is no weight."""
    if planner.attention == "attnlrp" or signal is None:
        number = planner.emit(Product, name, sources, output=output, forward=forward)
        return planner.made(number, positive=all(positive))
    number = planner.emit(
        Mix,
        name,
        sources,
        output=output,
        kind="attention",
        apply=(lambda v, w: forward(w, v)) if signal == 1 else forward,
        positive=positive[signal],
        layer=call.kind,
        signal=signal,
    )
    return planner.made(number, positive=all(positive))


# -- multi-head attention ---------------------------------------------------------------------------------------------


def _attention(planner, call):
    layer, given = call.layer, _arguments(call)
    wrong = _unknown(layer, given, call)
    if wrong:
        return planner.refuse(call, wrong)
    tensors = {id(t): planner.values[i] for t, i in zip(call.node.input_tensors, call.inputs, strict=True)}
    query, value = (tensors[id(given[name])] for name in ("query", "value"))
    key = value if given.get("key") is None else tensors[id(given["key"])]
    scale = 1.0 / np.sqrt(layer.key_dim)
    q, k, v = (
        _projection(planner, call, f"{call.name}/{name}", source, dense, factor)
        for name, source, dense, factor in (
            ("query", query, layer.query_dense, scale),
            ("key", key, layer.key_dense, 1.0),
            ("value", value, layer.value_dense, 1.0),
        )
    )
    scores = planner.emit(
        Product, f"{call.name}/scores", (q, k), forward=lambda q, k: ops.einsum("nthd,nshd->nhts", q, k)
    )
    causal = bool(given.get("use_causal_mask"))
    weights = planner.emit(
        Softmax, f"{call.name}/softmax", (scores,), forward=_causal_softmax if causal else ops.softmax, axis=-1
    )
    mixed = _multiplied(
        planner,
        call,
        f"{call.name}/mix",
        (weights, v),
        lambda w, v: ops.einsum("nhts,nshv->nthv", w, v),
        signal=1,
        positive=[True, False],
    )
    if len(call.outputs) == 2:
        planner.values[call.outputs[1]] = planner.made(weights, positive=True)
    rank = len(call.node.outputs[0].shape) - 2
    return planner.made(
        _linear(
            planner,
            call,
            f"{call.name}/output",
            mixed.source,
            "nthv,hv{0}->nt{0}".format("xyz"[:rank]),
            _array(layer.output_dense.kernel),
            _array(layer.output_dense.bias),
            output=call.outputs[0],
        )
    )


def _arguments(call):
    """The arguments of the call by name."""
    arguments = call.node.arguments
    return inspect.signature(call.layer.call).bind(*arguments.args, **arguments.kwargs).arguments


def _unknown(layer, given, call):
    """What of an attention layer has no rule, as part of a sentence; None if all is known."""
    masks = [name for name, value in given.items() if name.endswith("mask") and name != "use_causal_mask"]
    if any(given[name] is not None for name in masks):
        return "has a mask, and so"
    if type(layer) is not layers.MultiHeadAttention:
        return f"is of a kind ({call.kind}) that has no rule"
    if any(len(shape) != 2 for shape in call.shapes()):
        return "attends over several axes, and so"
    if getattr(layer, "_use_gate", False) or getattr(layer, "_sliding_window", None) is not None:
        return "has a gate or a sliding window, and so"
    return None


def _projection(planner, call, name, value, dense, factor):
    """A linear map to all heads; it takes a normalisation that is still to be applied."""
    kernel, bias = _array(dense.kernel) * factor, None if dense.bias is None else _array(dense.bias) * factor
    if value.a is not None:
        added = np.einsum("c,chd->hd", value.b, kernel)
        bias = added if bias is None else bias + added
        kernel = kernel * value.a[:, None, None]
    positive = value.positive and value.a is None
    return _linear(
        planner, call, name, value.source, "ntc,chd->nthd", kernel, bias, positive=positive, first=value.first
    )


def _linear(planner, call, name, source, equation, kernel, bias, **options):
    return planner.emit(
        Linear,
        name,
        (source,),
        kind="dense",
        apply=lambda x, w: ops.einsum(equation, x, w),
        kernels=[kernel],
        bias=bias,
        layer=call.kind,
        **options,
    )


def _causal_softmax(scores):
    """Softmax over the steps up to the present one."""
    steps, others = scores.shape[-2:]
    seen = ops.convert_to_tensor(np.tril(np.ones((steps, others), bool)))
    return ops.softmax(ops.where(seen, scores, -1e9))


def _array(variable):
    return None if variable is None else ops.convert_to_numpy(variable).astype(np.float64)

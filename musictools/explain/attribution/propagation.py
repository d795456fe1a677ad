"""Relevance propagation through a canonised network, in one compiled pass for k maps of every sample."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from musictools.explain.attribution import rules
from musictools.explain.attribution.attention import Product, Softmax
from musictools.explain.attribution.canonisation import plan
from musictools.explain.attribution.method import Method
from musictools.explain.attribution.operations import Join, Linear, Move, Standardise, repeat
from musictools.explain.attribution.recurrence import Recurrent
from musictools.models.graph.autodiff import compiled_arrays

if TYPE_CHECKING:
    from musictools.models.graph.reading import Graph

__all__ = ["OPTIONS", "Propagation"]

OPTIONS = {
    "deep_taylor": {},
    "deep_taylor_bounded": {"low": None, "high": None},
    "lrp_epsilon": {"epsilon": 1e-6, "attention": "attnlrp"},
    "lrp_gamma": {"gamma": 0.25, "attention": "attnlrp"},
    "lrp_alpha_beta": {"alpha": 2.0},
    "lrp_composite": {
        "dense": "epsilon",
        "conv": "gamma",
        "input": "z_box",
        "epsilon": 1e-6,
        "gamma": 0.25,
        "alpha": 2.0,
        "rules": None,
        "low": None,
        "high": None,
        "attention": "attnlrp",
    },
}
OPTIONS = {method: {**options, "edges": "as_is"} for method, options in OPTIONS.items()}

_BOUND_TOLERANCE = 1e-5  # relative: decibels computed in float32


class Propagation(Method):
    """A method of relevance propagation, prepared for one model.

    Parameters
    ----------
    graph : musictools.models.graph.reading.Graph
        The model.
    method : str
        One of `OPTIONS`.
    options : dict
        All of ``OPTIONS[method]``.
    conservation : bool
        Whether to record what every layer passes on and absorbs.

    Attributes
    ----------
    layers : list of str
        Layers that relevance passes, from the output to the input.
    rules : list of str
        Rule of each layer.

    Raises
    ------
    ValueError
        If relevance cannot pass a layer, or a rule is unknown or does not fit its layer.
    """

    def __init__(self, graph: Graph, method: str, options: dict[str, Any], conservation: bool = True):
        self.graph, self.method, self.options, self.conservation = graph, method, options, conservation
        attention = options.get("attention", "constant")
        if attention not in ("attnlrp", "constant"):
            raise ValueError(f"attention must be 'attnlrp' or 'constant'. Got {attention!r}.")
        self.plan = plan(graph, attention)
        self.head, path = self.plan.operations[-1], self.plan.on_path()
        _prepare_attention(path, method, attention, options)
        self.positive_start = method.startswith("deep_taylor")
        chooser = _Chooser(method, options)
        for operation in self.plan.operations:
            if isinstance(operation, Linear):
                operation.prepare(chooser(operation) if operation in path else rules.Pass())
            elif isinstance(operation, Recurrent) and operation in path:
                operation.prepare(chooser(operation))
        chooser.check_all_used(graph)
        linear = [operation for operation in path if isinstance(operation, Linear | Recurrent)]
        for operation in linear:
            _check_rule(operation)
        reported = [operation for operation in path if operation.reported][::-1]
        self.layers = [*(operation.name for operation in reported), "input"]
        self.rules = [*(operation.rule_name for operation in reported), ""]
        self.needs_bounds = any(isinstance(operation.rule, rules.ZBox) for operation in linear)
        self._graphs = {}

    def maps(self, x, targets, offset):
        low, high = self._bounds(x)
        k, positive = targets.shape[1], bool(x.min() >= 0)
        # Compiling takes longer than some maps: what is there for any number of maps serves for single ones as well.
        key = k == 1 and (False, positive) not in self._graphs, positive
        if key not in self._graphs:  # one for a single map of each sample, one for any number of them
            shape, many = self.graph.input_shape, 1 if key[0] else None
            self._graphs[key] = compiled_arrays(
                lambda *a: self._maps(*a, positive=positive),
                (None, *shape),
                (None, many, self.graph.n_outputs),
                (None, many),
                (),
                (),
            )
        relevance, balance, logit = self._graphs[key](x, targets, offset, np.float32(low), np.float32(high))
        lead = (len(x), k)
        return (
            relevance.reshape(*lead, *x.shape[1:]),
            balance.reshape(*lead, len(self.layers), 5) if self.conservation else None,
            logit,
        )

    def _bounds(self, x):
        if not self.needs_bounds:
            return 0.0, 0.0
        low, high = self.options["low"], self.options["high"]
        usual = (-1.0, 1.0) if x.ndim == 3 else (0.0, 1.0)
        low, high = usual[0] if low is None else low, usual[1] if high is None else high
        slack = _BOUND_TOLERANCE * max(abs(low), abs(high))
        if x.min() < low - slack or x.max() > high + slack:
            raise ValueError(
                f"x must lie in [low, high] = [{low:g}, {high:g}] for the z^B rule. Got values from "
                f"{x.min()!s} to {x.max()!s}: name the front end's bounds by low= and high=."
            )
        return low, high

    def _maps(self, x, targets, offset, low, high, *, positive):
        k = targets.shape[1] or ops.shape(targets)[1]
        inputs = {0} if positive else set()  # values that are the input, only moved
        values, bounds = {0: x}, {}
        if self.needs_bounds:  # widened to x where rounding put it outside
            bounds[0] = ops.minimum(low + 0.0 * x, x), ops.maximum(high + 0.0 * x, x)
        for operation in self.plan.operations[:-1]:
            values[operation.output] = operation.forward(*(values[i] for i in operation.inputs))
            if operation.inputs[0] in inputs and isinstance(operation, Move):
                inputs.add(operation.output)
            if bounds.keys() >= set(operation.inputs) and _keeps_bounds(operation):
                both = zip(*(bounds[i] for i in operation.inputs), strict=True)
                low_high = [_bound(operation, b, values[operation.inputs[0]]) for b in both]
                bounds[operation.output] = ops.minimum(*low_high), ops.maximum(*low_high)  # scaling may swap them
        below = self.head.inputs[0]
        logit = ops.einsum("nko,no->nk", targets, self.head.forward(values[below])) - offset
        start = ops.maximum(logit, 0.0) if self.positive_start else logit
        reached, absorbed = self.head.backward_from(values[below], start, targets, offset, bounds.get(below))
        balance = [self._row(ops.reshape(start, (-1,)), [reached], absorbed)]
        relevance, padding = {below: reached}, 0.0
        for operation in self.plan.operations[-2::-1]:
            if operation.output not in relevance:
                continue
            arrived, xs, more = relevance.pop(operation.output), [values[i] for i in operation.inputs], {}
            if isinstance(operation, Linear):
                boxed = isinstance(operation.rule, rules.ZBox)
                more = {
                    "bounds": [bounds[i] for i in operation.inputs] if boxed else None,
                    "conservation": self.conservation,
                    "positive": set(operation.inputs) <= inputs,
                    "shared": self.options["edges"] == "shared",
                }
            parts, absorbed = operation.backward(xs, values[operation.output], arrived, k, **more)
            for number, part in zip(operation.carriers(), parts, strict=True):
                relevance[number] = relevance[number] + part if number in relevance else part
            if operation.reported:
                balance.append(self._row(arrived, parts, absorbed))
            elif isinstance(operation, Move) and self.conservation:
                padding = padding + _sum(arrived) - _sum(parts[0])
        at_input = relevance.get(0, 0.0 * repeat(x, k))
        return at_input, self._closed(balance, at_input, padding), logit

    def _closed(self, balance, at_input, padding):
        """The rows of all layers, and that of the input."""
        if not self.conservation:
            return ops.zeros(())
        balance, there = ops.stack(balance, axis=1), _sum(at_input)
        due = balance[:, 0, 0] - ops.sum(balance[:, :, 2:], axis=(1, 2))
        none = 0.0 * there
        last = ops.stack([due, there, none, none, padding + none], axis=-1)
        return ops.concatenate([balance, last[:, None]], axis=1)

    def _row(self, arrived, parts, absorbed):
        if not self.conservation:
            return None
        total = _sum(arrived)
        kept = ops.stack([total, sum(_sum(part) for part in parts)], axis=-1)
        return ops.concatenate([kept, 0.0 * ops.stack([total] * 3, axis=-1) if absorbed is None else absorbed], axis=-1)


def _sum(x):
    return ops.sum(x, axis=tuple(range(1, len(x.shape)))) if len(x.shape) > 1 else x


def _keeps_bounds(operation):
    """Whether the bounds of an operation's inputs are known at its output."""
    return (
        isinstance(operation, Move | Join | Standardise) or isinstance(operation, Linear) and operation.kind == "scale"
    )


def _bound(operation, bound, x):
    """What a bound of an operation's inputs is at its output."""
    if not isinstance(operation, Standardise):
        return operation.forward(*bound)
    axes = tuple(range(1, len(x.shape)))
    mean, variance = ops.mean(x, axis=axes, keepdims=True), ops.var(x, axis=axes, keepdims=True)
    return (bound[0] - mean) / ops.sqrt(variance + operation.forward.epsilon)


def _prepare_attention(path, method, attention, options):
    """Give products their epsilon; refuse what relevance cannot pass where weights of attention are constants."""
    for operation in path[::-1]:
        if isinstance(operation, Product | Softmax) and attention == "constant":
            what = "multiplies two signals" if isinstance(operation, Product) else "is a softmax of a signal"
            raise ValueError(
                f"Layer {operation.name!r} {what}, of which none is a gate or a weight of attention: {method} has no "
                "rule for it. lrp_epsilon, lrp_gamma and lrp_composite have one with attention='attnlrp'."
            )
        if isinstance(operation, Product):
            operation.epsilon = options.get("epsilon", operation.epsilon)


def _check_rule(operation):
    if isinstance(operation.rule, rules.ZBox) and not operation.first:
        raise ValueError(f"Layer {operation.name!r} does not see the model's input: it cannot have the rule 'z_box'.")
    if isinstance(operation.rule, rules.Pass) and operation.kind not in ("scale", "centre"):
        raise ValueError(f"Layer {operation.name!r} mixes its inputs: it cannot have the rule 'pass'.")


class _Chooser:
    """Chooses the rule of each operation."""

    def __init__(self, method, options):
        self.method, self.options, self.used = method, options, set()
        self.named = dict(options.get("rules") or {})

    def __call__(self, operation):
        for name in (operation.name, operation.layer):
            if name in self.named:
                self.used.add(name)
                return self.rule(self.named[name])
        if operation.kind == "centre":  # the mean counts as a constant
            return self.rule("pass")
        if operation.kind == "scale":  # one input for each output: only the bias takes a share
            blind = operation.first and self.by_method(operation) in ("z_box", "flat", "w_square")
            passes = operation.bias is None or self.method.startswith("deep_taylor") or blind
            return self.rule("pass" if passes else "epsilon")
        return self.rule(self.by_method(operation))

    def by_method(self, operation):
        method, options = self.method, self.options
        if method == "lrp_composite":
            if operation.first:
                return options["input"]
            return (
                options["conv"]
                if operation.kind == "conv"
                else options["dense"]
                if operation.kind == "dense"
                else "epsilon"
            )
        if method == "deep_taylor_bounded" and operation.first:
            return "z_box"
        if method.startswith("deep_taylor") and operation.kind == "recurrent":  # its sums have either sign
            return "same_sign"
        return {"lrp_epsilon": "epsilon", "lrp_gamma": "gamma", "lrp_alpha_beta": "alpha_beta"}.get(method, "z_plus")

    def rule(self, wanted):
        """A rule by its name, with the method's options; a `Rule` as it is."""
        if isinstance(wanted, rules.Rule):
            return wanted
        if wanted not in rules.RULES:
            raise ValueError(f"rule must be one of {', '.join(rules.RULES)}, or a Rule. Got {wanted!r}.")
        rule = rules.RULES[wanted]()
        fitting = {
            n: self.options[n]
            for n in ("epsilon", "gamma", "alpha")
            if n in self.options and n in rule.__dataclass_fields__ and (n != "epsilon" or wanted == "epsilon")
        }
        return replace(rule, **fitting)

    def check_all_used(self, graph):
        unused = set(self.named) - self.used
        if unused:
            raise ValueError(
                f"rules names {', '.join(map(repr, sorted(unused)))}, which is no layer of {graph.name} "
                "that relevance passes."
            )

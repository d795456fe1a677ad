"""Relevance propagated through a plan: methods, their rules, one compiled pass for k maps of every sample."""

from dataclasses import replace

import numpy as np
from keras import ops

from musictools.explain.attribution import rules
from musictools.explain.attribution.canonisation import plan
from musictools.explain.attribution.operations import Join, Linear, Move, Standardise, repeat
from musictools.models.graph.autodiff import compiled

__all__ = ["OPTIONS", "Propagation"]

OPTIONS = {
    "deep_taylor": {},
    "deep_taylor_bounded": {"low": None, "high": None},
    "lrp_epsilon": {"epsilon": 1e-6},
    "lrp_gamma": {"gamma": 0.25},
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
    },
}


class Propagation:
    """A method of relevance propagation, prepared for one model.

    Parameters
    ----------
    graph : musictools.models.graph.reading.Graph
    method : str
        One of `OPTIONS`.
    options : dict
        All of ``OPTIONS[method]``.
    conservation : bool
        Whether to record what every layer passes on and absorbs.

    Attributes
    ----------
    steps : list of str
        Layers that relevance passes, from the output to the input.
    rules : list of str
        Their rules.
    """

    def __init__(self, graph, method, options, conservation=True):
        self.graph, self.method, self.options, self.conservation = graph, method, options, conservation
        self.plan = plan(graph)
        self.head, path = self.plan.steps[-1], self.plan.on_path()
        self.positive_start = method.startswith("deep_taylor")
        chooser = _Chooser(method, options)
        for step in self.plan.steps:
            if isinstance(step, Linear):
                step.prepare(chooser(step) if step in path else rules.Pass())
        chooser.check_all_used(graph)
        self.on_path = [step for step in path if isinstance(step, Linear)][::-1]
        for step in self.on_path:
            _check_rule(step)
        self.steps = [*(step.name for step in self.on_path), "input"]
        self.rules = [*(step.rule.name for step in self.on_path), ""]
        self.needs_bounds = any(isinstance(step.rule, rules.ZBox) for step in self.on_path)
        self._graphs = {}

    def maps(self, x, targets, offset):
        """Relevance maps of a batch.

        Parameters
        ----------
        x : np.ndarray [shape=(n, *input_shape), float32]
        targets : np.ndarray [shape=(n, k, n_outputs), float32]
            Combinations of outputs that are explained.
        offset : np.ndarray [shape=(n, k), float32]
            Taken off their logits.

        Returns
        -------
        relevance : np.ndarray [shape=(n, k, *input_shape)]
        balance : np.ndarray [shape=(n, k, n_steps, 5)] or None
            For every step: arrived, passed, absorbed by the bias, by the stabiliser, lost. The last row is the input:
            what should arrive by the rows above, what is there, and what padding took.
        logit : np.ndarray [shape=(n, k)]
            Of the targets, less the offset.

        Raises
        ------
        ValueError
            If an input lies outside the bounds of the z^B rule.
        """
        low, high = self._bounds(x)
        k, positive = targets.shape[1], bool(x.min() >= 0)
        key = k == 1, positive
        if key not in self._graphs:  # one for a single map a sample, one for any number of them
            shape, many = self.graph.input_shape, 1 if k == 1 else None
            self._graphs[key] = compiled(
                lambda *a: self._maps(*a, positive=positive),
                (None, *shape),
                (None, many, self.graph.n_outputs),
                (None, many),
                (),
                (),
            )
        found = self._graphs[key](x, targets, offset, np.float32(low), np.float32(high))
        relevance, balance, logit = map(ops.convert_to_numpy, found)
        lead = (len(x), k)
        return (
            relevance.reshape(*lead, *x.shape[1:]),
            balance.reshape(*lead, len(self.steps), 5) if self.conservation else None,
            logit,
        )

    def _bounds(self, x):
        if not self.needs_bounds:
            return 0.0, 0.0
        low, high = self.options["low"], self.options["high"]
        usual = (-1.0, 1.0) if x.ndim == 3 else (0.0, 1.0)
        low, high = usual[0] if low is None else low, usual[1] if high is None else high
        if x.min() < low or x.max() > high:
            raise ValueError(
                f"x must lie in [low, high] = [{low:g}, {high:g}] for the z^B rule. Got values from "
                f"{x.min():.4g} to {x.max():.4g}: name the front end's bounds by low= and high=."
            )
        return low, high

    def _maps(self, x, targets, offset, low, high, *, positive):
        k = targets.shape[1] or ops.shape(targets)[1]
        inputs = {0} if positive else set()  # values that are the input, moved only
        values, bounds = {0: x}, {0: (low + 0.0 * x, high + 0.0 * x)} if self.needs_bounds else {}
        for step in self.plan.steps[:-1]:
            values[step.output] = step.forward(*(values[i] for i in step.inputs))
            if step.inputs[0] in inputs and isinstance(step, Move):
                inputs.add(step.output)
            if bounds.keys() >= set(step.inputs) and isinstance(step, Move | Join | Standardise):
                both = zip(*(bounds[i] for i in step.inputs))
                bounds[step.output] = tuple(_bound(step, b, values[step.inputs[0]]) for b in both)
        below = self.head.inputs[0]
        logit = ops.einsum("nko,no->nk", targets, self.head.forward(values[below])) - offset
        start = ops.maximum(logit, 0.0) if self.positive_start else logit
        reached, absorbed = self.head.backward_from(values[below], start, targets, offset, bounds.get(below))
        balance = [self._row(ops.reshape(start, (-1,)), [reached], absorbed)]
        relevance, padding = {below: reached}, 0.0
        for step in self.plan.steps[-2::-1]:
            if step.output not in relevance:
                continue
            arrived, xs, more = relevance.pop(step.output), [values[i] for i in step.inputs], {}
            if isinstance(step, Linear):
                boxed = isinstance(step.rule, rules.ZBox)
                more = {
                    "bounds": [bounds[i] for i in step.inputs] if boxed else None,
                    "conservation": self.conservation,
                    "positive": set(step.inputs) <= inputs,
                }
            parts, absorbed = step.backward(xs, values[step.output], arrived, k, **more)
            for number, part in zip(step.carriers(), parts):
                relevance[number] = relevance[number] + part if number in relevance else part
            if isinstance(step, Linear):
                balance.append(self._row(arrived, parts, absorbed))
            elif isinstance(step, Move) and self.conservation:
                padding = padding + _sum(arrived) - _sum(parts[0])
        found = relevance.get(0, 0.0 * repeat(x, k))
        return found, self._closed(balance, found, padding), logit

    def _closed(self, balance, found, padding):
        """All rows, and that of the input."""
        if not self.conservation:
            return 0.0
        balance, there = ops.stack(balance, axis=1), _sum(found)
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


def _bound(step, bound, x):
    """A bound of the step's inputs as its output has it."""
    if isinstance(step, Move | Join):
        return step.forward(*bound)
    axes = tuple(range(1, len(x.shape)))
    mean, variance = ops.mean(x, axis=axes, keepdims=True), ops.var(x, axis=axes, keepdims=True)
    return (bound[0] - mean) / ops.sqrt(variance + step.forward.epsilon)


def _check_rule(step):
    if isinstance(step.rule, rules.ZBox) and not step.first:
        raise ValueError(f"Layer {step.name!r} does not see the model's input: it cannot have the rule 'z_box'.")
    if isinstance(step.rule, rules.Pass) and step.kind != "scale":
        raise ValueError(f"Layer {step.name!r} mixes its inputs: it cannot have the rule 'pass'.")


class _Chooser:
    """Which rule a step gets."""

    def __init__(self, method, options):
        self.method, self.options, self.used = method, options, set()
        self.named = dict(options.get("rules") or {})

    def __call__(self, step):
        for name in (step.name, step.layer):
            if name in self.named:
                self.used.add(name)
                return self.rule(self.named[name])
        if step.kind == "scale":  # one input to one output: nothing to divide, but a share for the bias
            return self.rule("pass" if step.bias is None or self.method.startswith("deep_taylor") else "epsilon")
        return self.rule(self.by_method(step))

    def by_method(self, step):
        method, options = self.method, self.options
        if method == "lrp_composite":
            if step.first:
                return options["input"]
            return options["conv"] if step.kind == "conv" else options["dense"] if step.kind == "dense" else "epsilon"
        if method == "deep_taylor_bounded" and step.first:
            return "z_box"
        return {"lrp_epsilon": "epsilon", "lrp_gamma": "gamma", "lrp_alpha_beta": "alpha_beta"}.get(method, "z_plus")

    def rule(self, wanted):
        """A rule by name, with the method's options, or as given."""
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

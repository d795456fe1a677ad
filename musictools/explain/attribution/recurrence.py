"""Recurrent layers: relevance back through time.

The gates of GRU and LSTM count as constants, and the signals that they weigh receive all relevance (Arras et al. 2017
and 2019). What is left of a step is linear but for an activation that relevance passes unchanged:

    GRU        candidate = act(x W + b + r (h U + c))      h' = z h + (1 - z) candidate
    LSTM       candidate = act(x W + h U + b)              c' = f c + i candidate,  h' = o act(c')
    SimpleRNN                                              h' = act(x W + h U + b)

Each of these sums divides its relevance by the rule of the method, the bias included where the rule knows one. By
``lrp_epsilon`` that is the rule of the source, but that biases absorb their share. States and candidates have either
sign, which Deep Taylor's z+ rule does not provide for: a negative sum would lose all relevance. It is replaced by the
rule `SameSign`, by which contributions of the sum's own sign share alike. Where the sum is positive, this is z+.

The initial state is 0 and receives nothing. States of the forward pass are computed again, gates for all steps at once,
and relevance goes back step by step in a loop of the compiled graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import layers, ops

from musictools.explain.attribution.operations import Join, Linear, Move, Operation, divide, repeat
from musictools.models.graph.reading import GATES, KEEPS_ZERO

__all__ = ["Recurrent", "convert"]

_CELLS = {layers.GRU: "gru", layers.LSTM: "lstm", layers.SimpleRNN: "simple"}
_GATES = GATES - {"softmax"}


@dataclass
class Recurrent(Operation):
    """A recurrent layer.

    Attributes
    ----------
    keras_layer : keras.layers.GRU, LSTM or SimpleRNN
        The layer.
    layer : str
        Name of the layer's class.
    rule : Rule or None
        The rule of its sums.
    kind : str
        "recurrent", by which the rule is chosen.
    """

    keras_layer: Any = None
    layer: str = ""
    rule: Any = None
    kind: str = "recurrent"
    first = False
    reported = True

    @property
    def rule_name(self) -> str:
        """The name of the rule in conservation reports."""
        return self.rule.name

    @property
    def cell(self) -> str:
        """The kind of the cell: gru, lstm or simple."""
        return _CELLS[type(self.keras_layer)]

    def prepare(self, rule: Any) -> None:
        """Take a rule and compute once what it needs of the weights.

        Parameters
        ----------
        rule : Rule
            The rule by which sums divide their relevance.
        """
        self.rule, cell = rule, self.keras_layer.cell
        kernel, recurrent = (np.asarray(ops.convert_to_numpy(w)) for w in (cell.kernel, cell.recurrent_kernel))
        bias = np.zeros(kernel.shape[1], np.float32) if cell.bias is None else ops.convert_to_numpy(cell.bias)
        bias = np.atleast_2d(bias)
        self._W, self._U = ops.convert_to_tensor(kernel), ops.convert_to_tensor(recurrent)
        self._b, self._c = (ops.convert_to_tensor(b) for b in (bias[0], bias[1] if len(bias) == 2 else 0 * bias[0]))
        units = self.keras_layer.units
        place = {"gru": 2, "lstm": 2, "simple": 0}[self.cell]  # of the candidate among the gates
        self._of_candidate = slice(place * units, (place + 1) * units)
        self._forms = [rule.prepare(w[:, self._of_candidate]) for w in (self._W, self._U)]

    def backward(self, xs, y, relevance, k):
        x = ops.flip(xs[0], axis=1) if self.keras_layer.go_backwards else xs[0]
        values = self._steps(x)
        if self.keras_layer.return_sequences:
            arriving = _time_first(relevance)
        else:  # at the last step only
            steps = ops.shape(x)[1]
            last = ops.cast(ops.equal(ops.arange(steps), steps - 1), "float32")
            arriving = last[:, None, None] * relevance[None]
        nothing = 0.0 * relevance if len(relevance.shape) == 2 else 0.0 * relevance[:, 0]
        empty = 0.0 * repeat(x[:, 0], k)
        states = (nothing, nothing) if self.cell == "lstm" else (nothing,)

        def step(carry, given):
            back, absorbed = carry[0], carry[2]
            arrived, *rest = given
            back, part, taken = self._back(back, arrived, dict(zip(values, rest, strict=True)), k)
            carry = back, part, absorbed + taken
            return carry, carry

        start = states, empty, 0.0 * ops.stack([nothing[:, 0]] * 3, axis=-1)
        (_, _, absorbed), (_, parts, _) = ops.scan(step, start, (arriving, *values.values()), reverse=True)
        part = _time_first(parts)
        return [ops.flip(part, axis=1) if self.keras_layer.go_backwards else part], absorbed

    # -- the forward pass, all steps --------------------------------------------------------------------------------

    def _steps(self, x):
        """States before every step and what the step made of them, time first."""
        inputs = _time_first(x)
        projected = ops.matmul(inputs, self._W) + self._b
        size = (ops.shape(x)[0], self.keras_layer.units)
        start = tuple(ops.zeros(size) for _ in range(2 if self.cell == "lstm" else 1))

        def step(states, given):
            new = self._step(given, states)["states"]
            return new, new

        _, after = ops.scan(step, start, projected)
        before = tuple(ops.concatenate([first[None], states[:-1]]) for first, states in zip(start, after, strict=True))
        values = self._step(projected, before)
        del values["states"]
        return {"x": inputs, **{f"before{i}": states for i, states in enumerate(before)}, **values}

    def _step(self, projected, states):
        """The values of a step, or of all steps at once."""
        cell, h = self.keras_layer.cell, states[0]
        act = cell.activation
        if self.cell == "simple":
            z = projected + ops.matmul(h, self._U)
            return {"sum": z, "states": (act(z),)}
        gate, units = cell.recurrent_activation, self.keras_layer.units
        if self.cell == "lstm":
            i, f, sum_, o = ops.split(projected + ops.matmul(h, self._U), 4, axis=-1)
            i, f, o = gate(i), gate(f), gate(o)
            new = f * states[1] + i * act(sum_)
            return {"sum": sum_, "i": i, "f": f, "candidate": act(sum_), "new": new, "states": (o * act(new), new)}
        U, c = self._U, self._c
        gates = gate(projected[..., : 2 * units] + ops.matmul(h, U[:, : 2 * units]) + c[: 2 * units])
        z, r = gates[..., :units], gates[..., units:]
        if cell.reset_after:
            recurrent = r * (ops.matmul(h, U[:, 2 * units :]) + c[2 * units :])
        else:
            recurrent = ops.matmul(r * h, U[:, 2 * units :])
        sum_ = projected[..., 2 * units :] + recurrent
        candidate = act(sum_)
        new = z * h + (1 - z) * candidate
        return {"sum": sum_, "z": z, "r": r, "candidate": candidate, "new": new, "states": (new,)}

    # -- one step back ----------------------------------------------------------------------------------------------

    def _back(self, back, arrived, v, k):
        """Relevance of the states before a step, of its input, and what was absorbed."""
        R = back[0] + arrived
        if self.cell == "simple":
            (part, of_state), absorbed = self._sum(R, v, k)
            return (of_state,), part, absorbed
        if self.cell == "lstm":
            weights, signals = (v["f"], v["i"]), (v["before1"], v["candidate"])
            R = R + back[1]
        else:
            weights, signals = (v["z"], 1 - v["z"]), (v["before0"], v["candidate"])
        (kept, of_candidate), shared = self._weighed(R, weights, signals, v["new"], k)
        (part, of_state), absorbed = self._sum(of_candidate, v, k)
        if self.cell == "lstm":
            return (of_state, kept), part, absorbed + shared
        return (of_state + kept,), part, absorbed + shared

    def _weighed(self, R, weights, signals, new, k):
        """A sum of signals whose weights are gates."""
        forms = [self.rule.prepare(w) for w in weights]
        groups = self.rule.groups(list(signals), forms, None, new, False)
        return divide(
            groups, R, k, apply=ops.multiply, transposed=lambda x, w, s: s * repeat(w, k), epsilon=self.rule.epsilon
        )

    def _sum(self, R, v, k):
        """The sum that makes a candidate: input and state by their weights, and the biases."""
        bias, h = self._b[self._of_candidate], v["before0"]
        after = self.cell == "gru" and self.keras_layer.cell.reset_after
        if after:
            bias = bias + v["r"] * self._c[self._of_candidate]
        elif self.cell == "gru":
            h = v["r"] * h
        forms = [{n: (place, w) for n, w in form.items()} for place, form in enumerate(self._forms)]

        def apply(x, weights):
            place, w = weights
            z = ops.matmul(x, w)
            return v["r"] * z if after and place == 1 else z

        def transposed(x, weights, s):
            place, w = weights
            return ops.matmul(s * repeat(v["r"], k) if after and place == 1 else s, ops.transpose(w))

        bias = bias if self.keras_layer.cell.use_bias else None
        groups = self.rule.groups([v["x"], h], forms, bias, v["sum"], False)
        return divide(groups, R, k, apply=apply, transposed=transposed, epsilon=self.rule.epsilon)


def convert(planner: Any, call: Any, ins: list) -> Any:
    """Add the operations of a recurrent layer, in one direction or both.

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
    both = type(layer) is layers.Bidirectional
    if not both and type(layer) not in _CELLS:
        return None
    directions = (layer.forward_layer, layer.backward_layer) if both else (layer,)
    wrong = next(filter(None, (_unknown(one, call, ins) for one in directions)), None)
    if both and layer.merge_mode not in ("concat", "sum", "ave"):
        wrong = f"merges its directions by {layer.merge_mode!r}, and so"
    if wrong:
        return planner.refuse(call, wrong)
    source = planner.settled(ins[0])
    if not both:
        return planner.made(_emitted(planner, layer, call.name, source, output=call.outputs[0]))
    forward, backward = (
        _emitted(planner, one, f"{call.name}/{name}", source)
        for one, name in zip(directions, ("forward", "backward"), strict=True)
    )
    if layer.return_sequences:
        backward = planner.emit(Move, call.name, (backward,), forward=lambda x: ops.flip(x, axis=1))
    return planner.made(_merged(planner, call, forward, backward))


def _emitted(planner, layer, name, source, output=None):
    return planner.emit(
        Recurrent, name, (source,), output=output, forward=layer, keras_layer=layer, layer=type(layer).__name__
    )


def _merged(planner, call, forward, backward):
    if call.layer.merge_mode == "concat":
        return planner.emit(
            Join,
            call.name,
            (forward, backward),
            output=call.outputs[0],
            forward=lambda *xs: ops.concatenate(xs, axis=-1),
            axis=len(call.node.outputs[0].shape) - 1,
        )
    return planner.emit(
        Linear,
        call.name,
        (forward, backward),
        output=call.outputs[0],
        kind="sum",
        apply=ops.multiply,
        kernels=[0.5 if call.layer.merge_mode == "ave" else 1.0] * 2,
        layer=call.kind,
    )


def _unknown(layer, call, ins):
    """What of a recurrent layer has no rule, as part of a sentence; None if all is known."""
    if type(layer) not in _CELLS:
        return f"is of a kind ({call.kind}) that has no rule"
    if len(ins) > 1:
        return "starts from a given state or has a mask, and so"
    if layer.stateful:
        return "keeps its state from batch to batch, and so"
    if None in call.shapes()[0][1:]:
        return "has inputs with an unknown number of features, and so"
    activation = getattr(layer.activation, "__name__", "")
    if activation not in KEEPS_ZERO | {"linear"}:
        return f"has the activation {activation!r}, which is not known to be 0 at 0, and so"
    gate = getattr(getattr(layer, "recurrent_activation", None), "__name__", "sigmoid")
    if gate not in _GATES:
        return f"has gates with the activation {gate!r}, which does not lie in [0, 1], and so"
    return None


def _time_first(x):
    return ops.transpose(x, (1, 0, 2))

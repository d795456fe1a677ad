"""The operations of a network, and how each passes relevance back to its inputs.

The relevance of a value with shape (n, ...) has shape (n * k, ...): k maps of every sample, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from keras import ops

from musictools.explain.attribution.rules import Group, Rule, ZBox
from musictools.models.graph.autodiff import pull

__all__ = ["Activation", "Gate", "Head", "Join", "Linear", "MaxPool", "Move", "Opaque", "Operation", "Standardise"]


@dataclass
class Operation:
    """An operation of a network. Unless a subclass overrides `backward`, it moves values without mixing them.

    Attributes
    ----------
    name : str
        Name of the layer.
    inputs : tuple of int
        Values that it takes.
    output : int
        The value that it computes.
    forward : callable
        Tensors -> tensor.
    """

    name: str
    inputs: tuple[int, ...]
    output: int
    forward: Callable | None = None
    reported = False  # whether conservation reports have a row for it

    @property
    def rule_name(self) -> str:
        """The name of the rule in conservation reports."""
        return type(self).__name__

    def carriers(self) -> tuple[int, ...]:
        """List the inputs that receive relevance.

        Returns
        -------
        inputs : tuple of int
        """
        return self.inputs

    def backward(self, xs: list, y: Any, relevance: Any, k: Any) -> tuple[list, Any]:
        """Pass relevance back to the inputs.

        Parameters
        ----------
        xs : list of tensor
            Inputs of the operation.
        y : tensor
            Its output.
        relevance : tensor [shape=(n * k, ...)]
            Relevance of the output.
        k : int or tensor
            Number of maps of every sample.

        Returns
        -------
        parts : list of tensor
            Relevance of every input in `carriers`.
        absorbed : tensor [shape=(n * k, 3)] or None
            What the bias and the stabiliser absorbed, and what was lost because nothing contributed. None: nothing.
        """
        return [pull(self.forward, repeat(xs[0], k), relevance)], None


class Move(Operation):
    """Reshape, flatten, permute, pad, crop, copy. The relevance of copies adds up."""


class MaxPool(Operation):
    """Max-pooling: the maximum receives all relevance."""


class Activation(Operation):
    """An elementwise activation with f(0) = 0, so relevance passes unchanged.

    The output is x times f(x) / x, and this quotient counts as a constant (the identity rule of Achtibat et al. 2024).
    Since f(0) = 0, nothing is left for a constant to absorb. The quotient is positive for increasing activations. It is
    also positive for SiLU, GELU and hard SiLU, which are x times a gate in [0, 1], although they fall where x is well
    below 0. It is negative only for a PReLU or LeakyReLU with a negative slope.
    """

    def backward(self, xs, y, relevance, k):
        return [relevance], None


class Standardise(Activation):
    """Standardisation of a sample by its mean and deviation, which count as constants: relevance passes unchanged."""


@dataclass
class Gate(Operation):
    """A signal multiplied by gates, which count as constants (squeeze and excitation).

    Attributes
    ----------
    signal : int
        Index of the input that is not a gate.
    """

    signal: int = 0

    def carriers(self):
        return (self.inputs[self.signal],)

    def backward(self, xs, y, relevance, k):
        signal = xs[self.signal]
        if tuple(signal.shape[1:]) == tuple(y.shape[1:]):
            return [relevance], None
        # The gates are larger than the signal: the relevance of its copies adds up.
        return [pull(lambda x: x + ops.zeros_like(relevance), repeat(signal, k), relevance)], None


@dataclass
class Join(Operation):
    """Concatenation.

    Attributes
    ----------
    axis : int
        The axis along which inputs are joined.
    """

    axis: int = -1

    def backward(self, xs, y, relevance, k):
        ends, end = [], 0
        for x in xs[:-1]:
            end += x.shape[self.axis]
            ends.append(end)
        return list(ops.split(relevance, ends, axis=self.axis)), None


@dataclass
class Opaque(Operation):
    """A layer that relevance cannot pass.

    Attributes
    ----------
    why : str
        The reason, as part of a sentence.
    """

    why: str = ""


@dataclass
class Linear(Operation):
    """A linear layer: the sum over its inputs of ``apply(x, w)``, and a bias.

    Attributes
    ----------
    kind : {"dense", "conv", "pool", "sum", "scale"}
        What the layer does.
    apply : callable
        Input and weights -> output; linear in both.
    kernels : list of np.ndarray or float
        Weights of every input; 1.0 if it has none.
    bias : np.ndarray or None
        Added to the output.
    positive : bool
        Whether no input can be negative.
    first : bool
        Whether the layer sees the model's input.
    rule : Rule or None
        The rule by which it passes relevance back.
    layer : str
        Name of the layer's class.
    """

    kind: str = ""
    apply: Callable | None = None
    kernels: list[np.ndarray | float] = field(default_factory=list)
    bias: np.ndarray | None = None
    positive: bool = False
    first: bool = False
    rule: Rule | None = None
    layer: str = ""
    reported = True

    def __post_init__(self):
        self.forward = self._forward

    @property
    def rule_name(self) -> str:
        """The name of the rule in conservation reports."""
        return self.rule.name

    def prepare(self, rule: Rule) -> None:
        """Take a rule and compute once what it needs of the weights.

        Parameters
        ----------
        rule : Rule
            The rule by which relevance is passed back.
        """
        self.rule = rule
        self._w = [ops.convert_to_tensor(w, dtype="float32") for w in self.kernels]
        self.kernels = self._w  # those of double precision would take twice the memory again
        self._b = None if self.bias is None else ops.convert_to_tensor(self.bias, dtype="float32")
        forms = [rule.prepare(w) for w in self._w]
        spare = self.positive and not rule.needs_minus
        self._forms = [{n: t for n, t in form.items() if not (spare and n == "minus")} for form in forms]

    def _forward(self, *xs):
        y = sum(self.apply(x, w) for x, w in zip(xs, self._w, strict=True))
        return y if self._b is None else y + self._b

    def backward(self, xs, y, relevance, k, *, bounds=None, positive=False, conservation=True, shared=False):
        # bounds: lower and upper bound of every input (z^B rule); positive: no input is negative in this batch;
        # shared: the zeros around a padded convolution take a share, which is listed as lost.
        if shared and self.kind == "conv" and "Transpose" not in self.layer:
            inside = relevance * self._inside(xs[0])
            parts, absorbed = self.backward(
                xs, y, inside, k, bounds=bounds, positive=positive, conservation=conservation
            )
            if not conservation:
                return parts, None
            taken = summed(relevance - inside)
            return parts, absorbed + ops.stack([0.0 * taken, 0.0 * taken, taken], axis=-1)
        if bounds is not None:
            groups = self.rule.bounded(xs, self._forms, *zip(*bounds, strict=True))
        else:
            groups = self.rule.groups(xs, self._forms, self._b, y, positive or self.positive)
        if not groups:
            return [relevance for _ in xs], None
        return divide(
            groups,
            relevance,
            k,
            apply=self.apply,
            transposed=self._transposed,
            epsilon=self.rule.epsilon,
            conservation=conservation,
        )

    def _inside(self, x):
        """The share of the kernel's absolute weights that lies inside the input, relative to the best place."""
        covered = self.apply(ops.ones_like(x[:1]), ops.abs(self._w[0]))
        most = ops.max(covered, axis=tuple(range(1, len(covered.shape) - 1)), keepdims=True)
        return ops.where(most > 0, ops.divide_no_nan(covered, most), 1.0)

    def _transposed(self, x, w, s):
        return pull(lambda v: self.apply(v, w), x, s)


@dataclass
class Head(Linear):
    """The last layer, seen from combinations of its outputs: it has weights (n, k, i) for inputs (n, i)."""

    def combine(self, targets: Any, offset: Any) -> tuple[Any, Any]:
        """Compute the weights and biases of the targets.

        Parameters
        ----------
        targets : tensor [shape=(n, k, n_outputs)]
            Combinations of outputs.
        offset : tensor [shape=(n, k)]
            Subtracted from the bias.

        Returns
        -------
        weights : tensor [shape=(n, k, i)]
            One vector for each target.
        bias : tensor [shape=(n, k)]
            One number for each target.
        """
        weights = ops.einsum("nko,io->nki", targets, self._w[0])
        bias = -offset if self._b is None else ops.einsum("nko,o->nk", targets, self._b) - offset
        return weights, bias

    def backward_from(
        self, x: Any, relevance: Any, targets: Any, offset: Any, bounds: tuple | None = None
    ) -> tuple[Any, Any]:
        """Pass the relevance of the targets back to the input of the last layer.

        Parameters
        ----------
        x : tensor [shape=(n, i)]
            Input of the layer.
        relevance : tensor [shape=(n, k)]
            Relevance of the targets.
        targets : tensor [shape=(n, k, n_outputs)]
            Combinations of outputs.
        offset : tensor [shape=(n, k)]
            Subtracted from their logits.
        bounds : (tensor, tensor) or None
            Lower and upper bounds of `x` for the z^B rule.

        Returns
        -------
        relevance : tensor [shape=(n * k, i)]
            Relevance of the input.
        absorbed : tensor [shape=(n * k, 3)]
            What the bias and the stabiliser absorbed, and what was lost.
        """
        weights, bias = self.combine(targets, offset)
        shape = ops.shape(relevance)
        z = ops.sum(x[:, None, :] * weights, axis=-1) + bias
        forms = [self.rule.prepare(weights)]
        if bounds is not None and isinstance(self.rule, ZBox):
            groups = self.rule.bounded([x[:, None, :]], forms, *([b[:, None, :]] for b in bounds))
        else:
            groups = self.rule.groups([x[:, None, :]], forms, bias, z, self.positive)
        parts, absorbed = divide(
            groups,
            relevance,
            1,
            apply=lambda v, w: ops.sum(v * w, axis=-1),
            transposed=lambda v, w, s: s[..., None] * w,
            epsilon=self.rule.epsilon,
            keep=2,
        )
        return (
            ops.reshape(parts[0], (shape[0] * shape[1], x.shape[-1])),
            ops.reshape(absorbed, (shape[0] * shape[1], 3)),
        )


def divide(
    groups: list[Group],
    relevance: Any,
    k: Any,
    *,
    apply: Callable,
    transposed: Callable,
    epsilon: float,
    keep: int = 1,
    conservation: bool = True,
) -> tuple[list, Any]:
    """Divide relevance among inputs in proportion to the contributions of groups.

    Parameters
    ----------
    groups : list of Group
        Contributions, from the layer's rule.
    relevance : tensor [shape=(n * k, ...)]
        Relevance of the output.
    k : int or tensor
        Number of maps of every sample.
    apply : callable
        Input and weights -> their contributions.
    transposed : callable
        Input, weights and quotients -> what reaches the input.
    epsilon : float >= 0
        Added to denominators, with their sign.
    keep : int
        Number of leading axes that sums keep.
    conservation : bool
        Whether to sum up what is absorbed, which takes time.

    Returns
    -------
    parts : list of tensor
        Relevance of every input.
    absorbed : tensor [shape=(n * k, 3)] or None
        What the bias and the stabiliser absorbed, and what was lost.
    """
    sums = [sum(sum(apply(x, w) for x, w in zip(xs, ws, strict=True)) for xs, ws in group.terms) for group in groups]
    totals = [z if g.bias is None else z + g.bias for g, z in zip(groups, sums, strict=True)]
    parts, absorbed = [0.0] * len(groups[0].terms[0][0]), 0.0
    for number, (group, total) in enumerate(zip(groups, totals, strict=True)):
        share = group.share
        if group.alone is not None:
            others = sum(ops.abs(t) for i, t in enumerate(totals) if i != number) == 0
            share = ops.where(total == 0, ops.where(others, share, 0.0), ops.where(others, group.alone, share))
            share = repeat(share, k)
        arrived = relevance if isinstance(share, float) and share == 1.0 else relevance * share
        arrived = arrived if group.mask is None else arrived * repeat(group.mask, k)
        steady = total + epsilon * (2.0 * ops.cast(total >= 0, "float32") - 1.0) if epsilon else total
        steady = repeat(steady, k)
        quotient = ops.divide_no_nan(arrived, steady)
        for xs, ws in group.terms:
            for i, (x, w) in enumerate(zip(xs, ws, strict=True)):
                x = repeat(x, k)
                parts[i] = parts[i] + x * transposed(x, w, quotient)
        if conservation:
            added = steady - repeat(total, k) if epsilon else None
            absorbed = absorbed + _absorbed(group, arrived, quotient, added, steady, keep, k)
    return parts, absorbed if conservation else None


def _absorbed(group, arrived, quotient, added, steady, keep, k):
    b = group.bias
    if b is not None and len(b.shape) == len(quotient.shape) and b.shape[0] != 1:  # one for every sample
        b = repeat(b, k)
    lost = summed(ops.where(steady == 0, arrived, 0.0), keep)
    bias = 0.0 * lost if b is None else summed(quotient * b, keep)
    stabiliser = 0.0 * lost if added is None else summed(quotient * added, keep)
    return ops.stack([bias, stabiliser, lost], axis=-1)


def repeat(x, k):
    """Repeat every sample k times."""
    if isinstance(k, int) and k == 1:
        return x
    sides = tuple(x.shape[1:])
    if None in sides:
        return ops.repeat(x, k, axis=0)
    # As ops.repeat, which takes half of the time of tracing where k is a tensor.
    return ops.reshape(ops.broadcast_to(ops.expand_dims(x, 1), (ops.shape(x)[0], k, *sides)), (-1, *sides))


def summed(x, keep=1):
    """Sum over all but the leading axes."""
    axes = tuple(range(keep, len(x.shape)))
    return ops.sum(x, axis=axes) if axes else x

"""What a network does, step by step, and how each step hands relevance back.

Relevance of a value with shape (n, ...) has shape (n * k, ...): k maps of every sample, one after the other. A step's
`backward` returns the relevance of each input and what it absorbed, an array (n * k, 3): by the bias, by the
stabiliser, and lost because nothing contributed.
"""

from dataclasses import dataclass, field

from keras import ops

from musictools.explain.attribution.rules import ZBox
from musictools.models.graph.autodiff import pull

__all__ = ["Activation", "Gate", "Head", "Join", "Linear", "MaxPool", "Move", "Opaque", "Standardise", "Step"]


@dataclass
class Step:
    """One step.

    Attributes
    ----------
    name : str
        Of the layer that it stands for.
    inputs : tuple of int
        Values that it takes.
    output : int
        The value that it makes.
    forward : callable
        Tensors -> tensor.
    """

    name: str
    inputs: tuple
    output: int
    forward: object = None

    def carriers(self):
        """Inputs that relevance goes on to, tuple of int."""
        return self.inputs

    def backward(self, xs, y, relevance, k):
        """Hand relevance back; see the module's head. Here: a map that moves values and mixes none."""
        return [pull(self.forward, repeat(xs[0], k), relevance)], None


class Move(Step):
    """Reshape, flatten, permute, pad, crop."""


class MaxPool(Step):
    """The winner takes all."""


class Activation(Step):
    """An activation that is 0 at 0 and rises: relevance passes."""

    def backward(self, xs, y, relevance, k):
        """As `Step.backward`."""
        return [relevance], None


class Standardise(Activation):
    """A clip less its mean over its deviation: every value stands for itself, so relevance passes."""


@dataclass
class Gate(Step):
    """A signal times gates that count as constants (squeeze and excitation).

    Attributes
    ----------
    signal : int
        Which of the inputs is no gate.
    """

    signal: int = 0

    def carriers(self):
        """As `Step.carriers`."""
        return (self.inputs[self.signal],)

    def backward(self, xs, y, relevance, k):
        """As `Step.backward`."""
        return [relevance], None


@dataclass
class Join(Step):
    """Concatenation."""

    axis: int = -1

    def backward(self, xs, y, relevance, k):
        """As `Step.backward`."""
        ends, end = [], 0
        for x in xs[:-1]:
            end += x.shape[self.axis]
            ends.append(end)
        return list(ops.split(relevance, ends, axis=self.axis)), None


@dataclass
class Opaque(Step):
    """A layer that relevance cannot go through.

    Attributes
    ----------
    why : str
    """

    why: str = ""


@dataclass
class Linear(Step):
    """A linear layer: the sum over its inputs of ``apply(x, w)``, and a bias.

    Attributes
    ----------
    kind : {"dense", "conv", "pool", "sum", "scale"}
    apply : callable
        Input and weights -> output; linear in both.
    kernels : list of array
        Weights for every input; 1.0 where there are none.
    bias : array or None
    positive : bool
        No input can be negative.
    first : bool
        Sees the model's input.
    rule : Rule or None
    layer : str
        The layer's class.
    """

    kind: str = ""
    apply: object = None
    kernels: list = field(default_factory=list)
    bias: object = None
    positive: bool = False
    first: bool = False
    rule: object = None
    layer: str = ""

    def __post_init__(self):
        self.forward = self._forward

    def prepare(self, rule):
        """Take a rule and make what it needs of the weights, once."""
        self.rule = rule
        self._w = [ops.convert_to_tensor(w, dtype="float32") for w in self.kernels]
        self._b = None if self.bias is None else ops.convert_to_tensor(self.bias, dtype="float32")
        forms = [rule.prepare(w) for w in self._w]
        spare = self.positive and not rule.needs_minus
        self._forms = [{n: t for n, t in form.items() if not (spare and n == "minus")} for form in forms]

    def _forward(self, *xs):
        y = sum(self.apply(x, w) for x, w in zip(xs, self._w))
        return y if self._b is None else y + self._b

    def backward(self, xs, y, relevance, k, *, bounds=None, positive=False, conservation=True):
        """As `Step.backward`; `positive`: no input is negative this time, whatever the layer before."""
        if bounds is not None:
            groups = self.rule.bounded(xs, self._forms, *zip(*bounds))
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

    def _transposed(self, x, w, s):
        return pull(lambda v: self.apply(v, w), x, s)


@dataclass
class Head(Linear):
    """The last layer, seen from chosen combinations of its outputs: weights (n, k, i) for inputs (n, i)."""

    def combine(self, targets, offset):
        """Weights and biases for targets (n, k, n_outputs), the offset taken off the bias."""
        weights = ops.einsum("nko,io->nki", targets, self._w[0])
        bias = -offset if self._b is None else ops.einsum("nko,o->nk", targets, self._b) - offset
        return weights, bias

    def backward_from(self, x, relevance, targets, offset, bounds=None):
        """Relevance (n * k, i) of the input from that of the targets (n, k)."""
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


def divide(groups, relevance, k, *, apply, transposed, epsilon, keep=1, conservation=True):
    """Divide relevance by the contributions of groups.

    Parameters
    ----------
    groups : list of Group
    relevance : tensor [shape=(n * k, ...)]
    k : int or tensor
        Maps of every sample.
    apply : callable
        Input and weights -> their contributions.
    transposed : callable
        Input, weights and quotients -> what reaches the input.
    epsilon : float >= 0
    keep : int
        Leading axes that sums leave.
    conservation : bool
        Whether to sum up what is absorbed; it takes time.

    Returns
    -------
    parts : list of tensor
        Relevance of every input.
    absorbed : tensor [shape=(n * k, 3)] or None
        By the bias, by the stabiliser, and lost.
    """
    sums = [sum(sum(apply(x, w) for x, w in zip(xs, ws)) for xs, ws in group.terms) for group in groups]
    totals = [z if g.bias is None else z + g.bias for g, z in zip(groups, sums)]
    parts, absorbed = [0.0] * len(groups[0].terms[0][0]), 0.0
    for number, (group, total) in enumerate(zip(groups, totals)):
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
            for i, (x, w) in enumerate(zip(xs, ws)):
                x = repeat(x, k)
                parts[i] = parts[i] + x * transposed(x, w, quotient)
        if conservation:
            added = steady - repeat(total, k) if epsilon else None
            absorbed = absorbed + _absorbed(group, arrived, quotient, added, steady, keep)
    return parts, absorbed if conservation else None


def _absorbed(group, arrived, quotient, added, steady, keep):
    lost = _total(ops.where(steady == 0, arrived, 0.0), keep)
    bias = 0.0 * lost if group.bias is None else _total(quotient * group.bias, keep)
    stabiliser = 0.0 * lost if added is None else _total(quotient * added, keep)
    return ops.stack([bias, stabiliser, lost], axis=-1)


def repeat(x, k):
    """Every sample k times."""
    return x if isinstance(k, int) and k == 1 else ops.repeat(x, k, axis=0)


def _total(x, keep):
    """Sum over all but the leading axes."""
    axes = tuple(range(keep, len(x.shape)))
    return ops.sum(x, axis=axes) if axes else x

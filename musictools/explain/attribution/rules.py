"""Rules of layer-wise relevance propagation, each as the contributions in proportion to which it divides relevance.

A rule sees a linear layer as ``z = sum over inputs of f(x, w) + b``. It returns groups; each passes relevance on in
proportion to contributions ``f(x', w')`` of modified inputs and weights:
``R_x = share * x' * f^T(R * mask / (sum of f(x', w') + b'), w')``.

Sources: Bach et al. 2015 (epsilon, alpha-beta), Montavon et al. 2017 (z+, z^B, w^2), Montavon et al. 2019 (gamma,
composites), Lapuschkin 2019 (flat). Gamma is the form for inputs of either sign, as in Andeol et al. 2023.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from keras import ops

__all__ = [
    "RULES",
    "AlphaBeta",
    "Epsilon",
    "Flat",
    "Gamma",
    "Group",
    "Pass",
    "Rule",
    "SameSign",
    "WSquare",
    "ZBox",
    "ZPlus",
]


@dataclass(frozen=True)
class Group:
    """Contributions with one denominator.

    Attributes
    ----------
    terms : list of (inputs, weights)
        Modified inputs and weights: two lists with a tensor for every input of the layer.
    bias : tensor or None
        Counted in the denominator; its share is absorbed.
    share : float
        Share of the relevance that is divided among this group.
    mask : tensor of 0 and 1, or None
        Outputs whose relevance is divided among this group. None: all.
    alone : float or None
        The share if the denominators of all other groups are 0. None: `share`.
    """

    terms: list[tuple[list, list]]
    bias: Any = None
    share: float = 1.0
    mask: Any = None
    alone: float | None = None


@dataclass(frozen=True)
class Rule:
    """Base class of all rules.

    Attributes
    ----------
    epsilon : float >= 0
        Added to denominators, with their sign.
    """

    epsilon: float = field(default=0.0, kw_only=True)
    needs_minus = True  # negative weights are needed even if no input can be negative

    @property
    def name(self) -> str:
        """The rule's name in conservation reports."""
        return type(self).__name__

    def prepare(self, w: Any) -> dict[str, Any]:
        """Compute the forms of a layer's weights that the rule needs.

        Parameters
        ----------
        w : tensor
            The layer's weights.

        Returns
        -------
        forms : dict of str to tensor
            By name, for example the positive weights.
        """
        return {"w": w}

    def groups(self, xs: list, ws: list[dict[str, Any]], bias: Any, z: Any, positive: bool) -> list[Group]:
        """Compute the contributions of a layer's inputs.

        Parameters
        ----------
        xs : list of tensor
            Inputs of the layer.
        ws : list of dict of str to tensor
            For every input, what `prepare` made of its weights.
        bias : tensor or None
            The layer's bias.
        z : tensor
            The layer's output, before its activation.
        positive : bool
            Whether no input can be negative.

        Returns
        -------
        groups : list of Group
            Empty if relevance passes unchanged.

        Raises
        ------
        NotImplementedError
            If the rule needs more than this, as `ZBox` needs bounds.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Epsilon(Rule):
    """LRP-epsilon: all contributions, the bias included in the denominator."""

    epsilon: float = 1e-6

    def groups(self, xs, ws, bias, z, positive):
        return [Group([(xs, [w["w"] for w in ws])], bias)]


@dataclass(frozen=True)
class Pass(Rule):
    """Relevance passes unchanged, through layers that do not mix their inputs."""

    def groups(self, xs, ws, bias, z, positive):
        return []


@dataclass(frozen=True)
class Signed(Rule):
    """Base class of rules that separate contributions by their sign."""

    def prepare(self, w):
        return {"plus": ops.maximum(w, 0.0), "minus": ops.minimum(w, 0.0)}

    @staticmethod
    def excitation(xs, ws, positive):
        """Terms of all positive contributions."""
        terms = [([ops.maximum(x, 0.0) for x in xs] if not positive else xs, [w["plus"] for w in ws])]
        return terms if positive else [*terms, ([ops.minimum(x, 0.0) for x in xs], [w["minus"] for w in ws])]

    @staticmethod
    def inhibition(xs, ws, positive):
        """Terms of all negative contributions."""
        terms = [([ops.maximum(x, 0.0) for x in xs] if not positive else xs, [w["minus"] for w in ws])]
        return terms if positive else [*terms, ([ops.minimum(x, 0.0) for x in xs], [w["plus"] for w in ws])]


@dataclass(frozen=True)
class ZPlus(Signed):
    """Deep Taylor's z+ rule: only positive contributions, without the bias (alpha 1, beta 0)."""

    needs_minus = False

    def groups(self, xs, ws, bias, z, positive):
        return [Group(self.excitation(xs, ws, positive))]


@dataclass(frozen=True)
class SameSign(Signed):
    """The z+ rule for outputs of either sign: only contributions with the output's own sign, without the bias.

    It is LRP-gamma without the bias in the limit of a large gamma.
    """

    def groups(self, xs, ws, bias, z, positive):
        above = ops.cast(z >= 0, "float32")
        up, down = self.excitation(xs, ws, positive), self.inhibition(xs, ws, positive)
        return [Group(up, mask=above), Group(down, mask=1.0 - above)]


@dataclass(frozen=True)
class AlphaBeta(Signed):
    """LRP-alpha-beta: positive contributions times alpha, negative ones times beta = alpha - 1.

    If a neuron has contributions of one sign only, they receive all of its relevance, so that nothing is lost.

    Attributes
    ----------
    alpha : float >= 1
        Factor of the positive contributions.
    """

    alpha: float = 2.0

    def __post_init__(self):
        if not self.alpha >= 1:
            raise ValueError(f"alpha must be at least 1. Got {self.alpha!r}.")

    def groups(self, xs, ws, bias, z, positive):
        up, down = self.excitation(xs, ws, positive), self.inhibition(xs, ws, positive)
        bias_up, bias_down = (None, None) if bias is None else (ops.maximum(bias, 0.0), ops.minimum(bias, 0.0))
        return [Group(up, bias_up, self.alpha, alone=1.0), Group(down, bias_down, 1.0 - self.alpha, alone=1.0)]


@dataclass(frozen=True)
class Gamma(Signed):
    """LRP-gamma: contributions with the sign of the output are favoured by 1 + gamma.

    Attributes
    ----------
    gamma : float >= 0
        0 gives the epsilon rule without epsilon.
    """

    gamma: float = 0.25

    def __post_init__(self):
        if not self.gamma >= 0:
            raise ValueError(f"gamma must not be negative. Got {self.gamma!r}.")

    def prepare(self, w):
        plus, minus = ops.maximum(w, 0.0), ops.minimum(w, 0.0)
        return {"plus": w + self.gamma * plus, "minus": w + self.gamma * minus}

    def groups(self, xs, ws, bias, z, positive):
        up, down = self.excitation(xs, ws, positive), self.inhibition(xs, ws, positive)
        bias_up = bias_down = None
        if bias is not None:
            bias_up = bias + self.gamma * ops.maximum(bias, 0.0)
            bias_down = bias + self.gamma * ops.minimum(bias, 0.0)
        above = ops.cast(z >= 0, "float32")
        return [Group(up, bias_up, mask=above), Group(down, bias_down, mask=1.0 - above)]


@dataclass(frozen=True)
class ZBox(Signed):
    """Deep Taylor's z^B rule for inputs between two bounds, which are options of the method."""

    def prepare(self, w):
        return {"w": w, **Signed.prepare(self, w)}

    def bounded(self, xs: list, ws: list[dict[str, Any]], lows: list, highs: list) -> list[Group]:
        """Compute the contributions of a layer's inputs between bounds.

        Parameters
        ----------
        xs : list of tensor
            Inputs of the layer.
        ws : list of dict of str to tensor
            For every input, what `prepare` made of its weights.
        lows, highs : list of tensor
            Bounds of every input.

        Returns
        -------
        groups : list of Group
            One group.
        """
        return [
            Group([(xs, [w["w"] for w in ws]), (lows, [-w["plus"] for w in ws]), (highs, [-w["minus"] for w in ws])])
        ]


@dataclass(frozen=True)
class WSquare(Rule):
    """Deep Taylor's w^2 rule: contributions are the squared weights, whatever the input."""

    def prepare(self, w):
        return {"square": ops.square(w)}

    def groups(self, xs, ws, bias, z, positive):
        return [Group([([ops.ones_like(x) for x in xs], [w["square"] for w in ws])])]


@dataclass(frozen=True)
class Flat(Rule):
    """All inputs of a neuron receive the same share."""

    def prepare(self, w):
        return {"one": ops.ones_like(w)}

    def groups(self, xs, ws, bias, z, positive):
        return [Group([([ops.ones_like(x) for x in xs], [w["one"] for w in ws])])]


RULES = {
    "epsilon": Epsilon,
    "gamma": Gamma,
    "alpha_beta": AlphaBeta,
    "z_plus": ZPlus,
    "same_sign": SameSign,
    "z_box": ZBox,
    "w_square": WSquare,
    "flat": Flat,
    "pass": Pass,
}

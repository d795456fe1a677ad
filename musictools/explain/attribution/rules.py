"""Rules of layer-wise relevance propagation, each as the contributions that it divides relevance by.

A rule sees a linear layer as ``z = sum over inputs of f(x, w) + b``. It returns groups; each passes relevance on in
proportion to contributions ``f(x', w')`` of modified inputs and weights:
``R_x = share * x' * f^T(R * mask / (sum of f(x', w') + b'), w')``.

Sources: Bach et al. 2015 (epsilon, alpha-beta), Montavon et al. 2017 (z+, z^B, w^2), Montavon et al. 2019 (gamma,
composites), Lapuschkin 2019 (flat). Gamma is the form for inputs of either sign, as in Andeol et al. 2023.
"""

from dataclasses import dataclass, field

from keras import ops

__all__ = ["RULES", "AlphaBeta", "Epsilon", "Flat", "Gamma", "Group", "Pass", "Rule", "WSquare", "ZBox", "ZPlus"]


@dataclass(frozen=True)
class Group:
    """Contributions with one denominator.

    Attributes
    ----------
    terms : list of (inputs, weights)
        Modified ones, a list each: a tensor for every input of the layer.
    bias : tensor or None
        Counted in the denominator: what it takes is absorbed.
    share : float
        Factor on the relevance that goes this way.
    mask : tensor of 0 and 1, or None
        Outputs whose relevance goes this way.
    alone : float or None
        The share where all other groups are empty (their denominators 0); None: `share`.
    """

    terms: list
    bias: object = None
    share: float = 1.0
    mask: object = None
    alone: float | None = None


@dataclass(frozen=True)
class Rule:
    """What all rules have.

    Attributes
    ----------
    epsilon : float >= 0
        Added to denominators, with their sign.
    """

    epsilon: float = field(default=0.0, kw_only=True)
    needs_minus = True  # also where no input can be negative

    @property
    def name(self):
        """The rule's name in conservation reports."""
        return type(self).__name__

    def prepare(self, w):
        """The forms of a weight tensor that the rule needs, by name."""
        return {"w": w}

    def groups(self, xs, ws, bias, z, positive):
        """Contributions of a layer.

        Parameters
        ----------
        xs : list of tensor
            Inputs.
        ws : list of dict of str to tensor
            What `prepare` made of the weights, for every input.
        bias : tensor or None
        z : tensor
            The layer's output.
        positive : bool
            No input can be negative.

        Returns
        -------
        groups : list of Group
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Epsilon(Rule):
    """LRP-epsilon: all contributions, the bias included in the denominator."""

    epsilon: float = 1e-6

    def groups(self, xs, ws, bias, z, positive):
        """As `Rule.groups`."""
        return [Group([(xs, [w["w"] for w in ws])], bias)]


@dataclass(frozen=True)
class Pass(Rule):
    """Layers that do not mix: relevance goes on as it is."""

    def groups(self, xs, ws, bias, z, positive):
        """Nothing to divide by."""
        return []


@dataclass(frozen=True)
class Signed(Rule):
    """What rules that part contributions by their sign share."""

    def prepare(self, w):
        """Positive and negative weights."""
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
    """Deep Taylor's z+ rule: positive contributions only, without bias (alpha 1, beta 0)."""

    needs_minus = False

    def groups(self, xs, ws, bias, z, positive):
        """As `Rule.groups`."""
        return [Group(self.excitation(xs, ws, positive))]


@dataclass(frozen=True)
class AlphaBeta(Signed):
    """LRP-alpha-beta: positive contributions times alpha, negative ones times beta = alpha - 1.

    Where a neuron has contributions of one sign only, they get all of its relevance, so that nothing is lost.
    """

    alpha: float = 2.0

    def __post_init__(self):
        if not self.alpha >= 1:
            raise ValueError(f"alpha must be at least 1. Got {self.alpha!r}.")

    def groups(self, xs, ws, bias, z, positive):
        """As `Rule.groups`."""
        up, down = self.excitation(xs, ws, positive), self.inhibition(xs, ws, positive)
        bias_up, bias_down = (None, None) if bias is None else (ops.maximum(bias, 0.0), ops.minimum(bias, 0.0))
        return [Group(up, bias_up, self.alpha, alone=1.0), Group(down, bias_down, 1.0 - self.alpha, alone=1.0)]


@dataclass(frozen=True)
class Gamma(Signed):
    """LRP-gamma: contributions of the output's own sign are favoured by 1 + gamma."""

    gamma: float = 0.25

    def __post_init__(self):
        if not self.gamma >= 0:
            raise ValueError(f"gamma must not be negative. Got {self.gamma!r}.")

    def prepare(self, w):
        """Weights with the positive, and with the negative ones favoured."""
        plus, minus = ops.maximum(w, 0.0), ops.minimum(w, 0.0)
        return {"plus": w + self.gamma * plus, "minus": w + self.gamma * minus}

    def groups(self, xs, ws, bias, z, positive):
        """As `Rule.groups`."""
        up, down = self.excitation(xs, ws, positive), self.inhibition(xs, ws, positive)
        bias_up = bias_down = None
        if bias is not None:
            bias_up = bias + self.gamma * ops.maximum(bias, 0.0)
            bias_down = bias + self.gamma * ops.minimum(bias, 0.0)
        above = ops.cast(z >= 0, "float32")
        return [Group(up, bias_up, mask=above), Group(down, bias_down, mask=1.0 - above)]


@dataclass(frozen=True)
class ZBox(Signed):
    """Deep Taylor's z^B rule for inputs between two bounds; `low` and `high` come from the explainer."""

    def prepare(self, w):
        """All, positive and negative weights."""
        return {"w": w, **Signed.prepare(self, w)}

    def bounded(self, xs, ws, lows, highs):
        """The group, given the bounds of every input."""
        return [
            Group([(xs, [w["w"] for w in ws]), (lows, [-w["plus"] for w in ws]), (highs, [-w["minus"] for w in ws])])
        ]


@dataclass(frozen=True)
class WSquare(Rule):
    """Deep Taylor's w^2 rule: squared weights, whatever the input."""

    def prepare(self, w):
        """Squares."""
        return {"square": ops.square(w)}

    def groups(self, xs, ws, bias, z, positive):
        """As `Rule.groups`."""
        return [Group([([ops.ones_like(x) for x in xs], [w["square"] for w in ws])])]


@dataclass(frozen=True)
class Flat(Rule):
    """Every input that a neuron sees gets the same."""

    def prepare(self, w):
        """Ones."""
        return {"one": ops.ones_like(w)}

    def groups(self, xs, ws, bias, z, positive):
        """As `Rule.groups`."""
        return [Group([([ops.ones_like(x) for x in xs], [w["one"] for w in ws])])]


RULES = {
    "epsilon": Epsilon,
    "gamma": Gamma,
    "alpha_beta": AlphaBeta,
    "z_plus": ZPlus,
    "z_box": ZBox,
    "w_square": WSquare,
    "flat": Flat,
    "pass": Pass,
}

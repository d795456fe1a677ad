"""Rules for layers of one's own: how a layer class that this package does not know passes relevance back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keras import ops

from musictools.explain.attribution.operations import Operation, repeat, summed

__all__ = ["OwnRule", "Registered", "Shares", "register_rule", "registered_rule", "revision"]

_RULES = {}  # layer class -> OwnRule
_CHANGES = []  # the classes in the order of registration, so that kept explainers notice a new rule


@dataclass(frozen=True)
class Shares:
    """What a rule of one's own returns if the layer's constants take a share.

    Attributes
    ----------
    inputs : list of tensor
        Relevance of every input, each with its input's shape.
    absorbed : tensor
        Relevance that constants of the layer take, such as a bias or a learned token. Its first axis holds the maps.
        Conservation reports list its sum in the column "bias".
    """

    inputs: list
    absorbed: Any


@dataclass(frozen=True)
class OwnRule:
    """A registered rule.

    Attributes
    ----------
    function : callable
        The rule, see `register_rule`.
    lowest : float or None
        The smallest value that the layer puts out, if contributions are to be measured from there.
    """

    function: Callable
    lowest: float | None = None


def register_rule(layer_class: type, rule: Callable | None = None, *, lowest: float | None = None) -> Callable:
    """Tell the methods of relevance propagation how a layer of one's own passes relevance back.

    The rule is a function ``rule(layer, inputs, output, relevance)``. ``layer`` is the layer itself. ``inputs`` is the
    list of its input tensors, ``output`` its output and ``relevance`` the relevance of that output, with the output's
    shape. The first axis of all tensors holds the maps: the inputs are repeated where several neurons are explained.
    The rule returns the relevance of every input, with that input's shape: one tensor, or a list where the layer has
    several inputs. If constants of the layer take a share, it returns `Shares`.

    The rule should conserve relevance: what it returns, with what it declares as absorbed, should sum to what arrived.
    The conservation report has a row for the layer with the name of the rule. What is missing there is listed as open,
    counts in `ConservationReport.error` and in the verdict. A wrong shape raises an error that names the layer.

    Parameters
    ----------
    layer_class : type
        A subclass of keras.Layer, or of keras.Operation. Its own subclasses need rules of their own. A class that has
        a rule already, Keras's included, gets the new one.
    rule : callable or None
        The rule. It runs inside a compiled graph and must use ``keras.ops``. None: return a decorator.
    lowest : float or None
        The smallest value that the layer puts out. Layers after it then divide relevance by ``output - lowest``
        instead of ``output``, which suits outputs whose zero means nothing, such as decibels. None: by the output.

    Returns
    -------
    rule : callable
        The rule, or the decorator.

    Raises
    ------
    ValueError
        If `layer_class` is no class, `rule` is not callable, or `lowest` is no number.

    See Also
    --------
    musictools.explain.relevance : Uses the rule from its next call on.

    Examples
    --------
    A layer that doubles its input and adds a learned offset. The offset takes its share of the relevance.

    >>> import keras, numpy as np
    >>> from keras import ops
    >>> from musictools import explain
    >>> class Shifted(keras.layers.Layer):
    ...     def build(self, shape):
    ...         self.offset = self.add_weight(shape=(), initializer="ones")
    ...
    ...     def call(self, x):
    ...         return 2 * x + self.offset
    >>> @register_rule(Shifted)
    ... def shifted(layer, inputs, output, relevance):
    ...     share = ops.divide_no_nan(relevance, output)
    ...     return Shares([2 * inputs[0] * share], absorbed=layer.offset * share)
    >>> model = keras.Sequential([keras.Input((4,)), Shifted(name="shift"), keras.layers.Dense(3, name="tags")])
    >>> explanation = explain.relevance(model, np.ones((2, 4)), 1, method="lrp_epsilon")
    >>> explanation.conservation.layers, explanation.conservation.rules
    (['tags', 'shift', 'input'], ['Epsilon', 'shifted', ''])
    >>> bool(explanation.conservation.error().max() < 1e-5)
    True
    """
    if not isinstance(layer_class, type):
        raise ValueError(f"layer_class must be a class of layers. Got {layer_class!r}.")
    if lowest is not None and (isinstance(lowest, bool) or not isinstance(lowest, int | float)):
        raise ValueError(f"lowest must be a number or None. Got {lowest!r}.")
    if rule is None:
        return lambda function: register_rule(layer_class, function, lowest=lowest)
    if not callable(rule):
        raise ValueError(f"rule must be a function of (layer, inputs, output, relevance). Got {rule!r}.")
    _RULES[layer_class] = OwnRule(rule, lowest)
    _CHANGES.append(layer_class)
    return rule


def registered_rule(layer: Any) -> OwnRule | None:
    """Find the registered rule of a layer.

    Parameters
    ----------
    layer : keras.Layer or keras.Operation
        The layer.

    Returns
    -------
    rule : OwnRule or None
        None if its class has none.
    """
    return _RULES.get(type(layer))


def revision() -> int:
    """Count the registrations so far.

    Returns
    -------
    revision : int
        Grows when a rule is registered.
    """
    return len(_CHANGES)


@dataclass
class Registered(Operation):
    """A layer that passes relevance by a rule of one's own.

    Attributes
    ----------
    layer : keras.Layer or keras.Operation
        The layer.
    rule : OwnRule or None
        Its rule.
    """

    layer: Any = None
    rule: OwnRule | None = None
    reported = True

    @property
    def rule_name(self) -> str:
        """The name of the rule's function in conservation reports."""
        return getattr(self.rule.function, "__name__", type(self.rule.function).__name__)

    def backward(self, xs, y, relevance, k):
        xs = [repeat(x, k) for x in xs]
        y = repeat(y, k) if self.rule.lowest is None else repeat(y, k) + self.rule.lowest
        shares = self.rule.function(self.layer, xs, y, relevance)
        parts, absorbed = (shares.inputs, shares.absorbed) if isinstance(shares, Shares) else (shares, None)
        parts = list(parts) if isinstance(parts, list | tuple) else [parts]
        self._check(xs, parts)
        if absorbed is None:
            return parts, None
        taken = summed(ops.convert_to_tensor(absorbed, dtype="float32"))
        return parts, ops.stack([taken, 0.0 * taken, 0.0 * taken], axis=-1)

    def _check(self, xs, parts):
        kind = type(self.layer).__name__
        if len(parts) != len(xs):
            raise ValueError(
                f"The rule {self.rule_name!r} of layer {self.name!r} ({kind}) must return the relevance of "
                f"{len(xs)} inputs. Got {len(parts)}."
            )
        for x, part in zip(xs, parts, strict=True):
            shape = getattr(part, "shape", ())
            if len(shape) != len(x.shape) or any(
                a != b for a, b in zip(shape[1:], x.shape[1:], strict=True) if a is not None and b is not None
            ):
                raise ValueError(
                    f"The rule {self.rule_name!r} of layer {self.name!r} ({kind}) must return relevance with its "
                    f"input's shape {tuple(x.shape)}. Got {tuple(shape)}."
                )

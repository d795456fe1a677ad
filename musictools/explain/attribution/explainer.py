"""`relevance` and its prepared form `Explainer`: why is this output high for this input."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import keras
import numpy as np

from musictools.explain.attribution import class_activation, controls, gradients, perturbation, propagation, rollout
from musictools.explain.attribution.conservation import ConservationReport
from musictools.explain.attribution.explanation import Explanation
from musictools.explain.attribution.registry import revision
from musictools.models.graph.autodiff import WeightWatch, compiled_arrays
from musictools.models.graph.reading import read

__all__ = ["METHODS", "Explainer", "logits", "prepared", "relevance"]

_FAMILIES = (propagation.OPTIONS, gradients.OPTIONS, perturbation.OPTIONS, controls.OPTIONS)
_FOR_SOME = (rollout.OPTIONS, class_activation.OPTIONS)  # for networks with certain layers only
METHODS = tuple(name for family in _FAMILIES for name in family)
_DEFAULTS = {name: options for family in (*_FAMILIES, *_FOR_SOME) for name, options in family.items()}
_KEPT_PER_MODEL = 8  # explainers; each may hold several copies of the weights
_KEPT = weakref.WeakKeyDictionary()  # model -> _Kept


def relevance(
    model: keras.Model,
    x: np.ndarray,
    neuron: int | Sequence[int] | np.ndarray,
    *,
    method: str = "deep_taylor",
    reference: float | np.ndarray | None = None,
    contrast: int | list[int] | str | None = None,
    batch_size: int = 32,
    seed: int = 0,
    conservation: bool = True,
    **options: Any,
) -> Explanation:
    """Explain which parts of an input an output of a network depends on.

    The prepared method is kept for the next call with the same model, method and options, until the model's weights
    change.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, with one input and one output (n, n_outputs). A sigmoid or softmax at its end is
        removed: logits are explained, never probabilities. The model is not changed.
    x : np.ndarray [shape=(n, *input_shape)]
        Finite. Spectrograms (n_mels, length, 1), low frequency first, as the front end scales them, or waveforms
        (n_samples, 1).
    neuron : int, np.ndarray [shape=(n,)] or list of int
        One output for all inputs; one for each input; or several outputs of every input.
    method : str
        One of `METHODS`. ``deep_taylor``: z+ rule without bias in every layer, positive logits only (`rotheneder2023`
        5.3); ``deep_taylor_bounded``: z^B rule at the input; ``lrp_epsilon``, ``lrp_gamma``, ``lrp_alpha_beta``;
        ``lrp_composite``: epsilon in dense layers, gamma or z+ in convolutions, z^B, flat or w^2 at the input. For
        networks with self-attention also ``attention_rollout``; for networks that end in global average pooling and one
        dense layer also ``cam``, which sums to the logit minus the bias.
    reference : float, np.ndarray or None
        Probability in (0, 1) of a sigmoid neuron: one for all, one for each input (n,), one for each neuron of the list
        (k,), or (n, k). Use the tag's base rate or threshold. The difference from its logit is explained, so that a tag
        accepted at p < 0.5 has evidence too. None: the logit itself.
    contrast : int, list of int, "others" or None
        Explain the neuron's logit less that of this output, or less the mean of these, or of all others.
    batch_size : int > 0
        Number of inputs that go through the network at once.
    seed : int
        Seed of methods that draw random numbers.
    conservation : bool
        Whether to make the conservation report, which takes about an eighth of the time.
    **options
        Options of the method: epsilon, gamma, alpha, attention (``"attnlrp"``: queries and keys receive relevance by
        the rules of Achtibat et al. 2024; ``"constant"``: weights of attention count as constants), low, high, dense,
        conv, input, rules (name or class of a layer -> rule), edges (``"shared"``: the zeros around a padded
        convolution take a share, so that the outermost rows and columns receive less), n_samples, noise, steps,
        baseline, layer, patch, stride, n_masks, grid, keep, ridge.

    Returns
    -------
    explanation : Explanation
        Relevance, the explained logits and the conservation report.

    Raises
    ------
    ValueError
        If the model has a layer that relevance cannot pass or computes in half precision, x has another shape or holds
        NaN, a neuron does not exist, or an option is unknown or out of range. A layer of one's own is given a rule by
        `register_rule`.

    See Also
    --------
    Explainer : The same, prepared for many calls.
    musictools.explain.badge : Tests of the maps that say how far to trust them.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((8, 12, 1)),
    ...         keras.layers.Conv2D(4, 3, activation="relu", name="conv"),
    ...         keras.layers.GlobalMaxPooling2D(),
    ...         keras.layers.Dense(5, activation="sigmoid", name="tags"),
    ...     ]
    ... )
    >>> x = np.random.default_rng(0).random((2, 8, 12, 1), dtype=np.float32)
    >>> explanation = relevance(model, x, 3, method="lrp_epsilon")
    >>> explanation.relevance.shape
    (2, 8, 12, 1)
    >>> np.allclose(explanation.logit, logits(model)(x)[:, 3], atol=1e-5)
    True
    >>> explanation.conservation.layers
    ['tags', 'conv', 'input']

    Two outputs at once, and why output 3 is higher than output 0:

    >>> relevance(model, x, [3, 4]).relevance.shape
    (2, 2, 8, 12, 1)
    >>> relevance(model, x, 3, contrast=0).relevance.shape
    (2, 8, 12, 1)
    """
    settings = {"method": method, "seed": seed, "conservation": conservation, **options}
    explainer = prepared(model, batch_size=batch_size, **settings)
    return explainer(x, neuron, reference=reference, contrast=contrast)


class Explainer:
    """A method prepared for one model: canonised and compiled once, for many calls.

    Make a new one after training, as it may keep the weights that the model had. `relevance` does so by itself.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, with one input and one output (n, n_outputs).
    method : str
        One of `METHODS`, see `relevance`.
    batch_size : int > 0
        Number of inputs that go through the network at once.
    seed : int
        Seed of methods that draw random numbers.
    conservation : bool
        Whether to make the conservation report.
    **options
        Options of the method, see `relevance`.

    Attributes
    ----------
    graph : musictools.models.graph.reading.Graph
        The model as a list of calls.
    options : dict
        Options of the method, with defaults.

    Raises
    ------
    ValueError
        If the model cannot be read, or an option is unknown or out of range.

    See Also
    --------
    relevance : The same in one call.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.Input((6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    >>> explainer = Explainer(model, method="integrated_gradients", steps=8)
    >>> explanation = explainer(np.ones((1, 6, 1)), neuron=2)
    >>> np.allclose(explanation.relevance.sum(), explanation.logit, atol=1e-5)
    True
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        method: str = "deep_taylor",
        batch_size: int = 32,
        seed: int = 0,
        conservation: bool = True,
        **options: Any,
    ):
        _check_method(method, options)
        self.method, self.seed = method, int(seed)
        self.batch_size = _positive("batch_size", batch_size)
        self.options = {**_DEFAULTS[method], **options}
        _check_values(self.options)
        self.graph = read(model)
        self.logits = _Logits(self.graph)
        if method in propagation.OPTIONS:
            _check_precision(self.graph)
            self._method = propagation.Propagation(self.graph, method, self.options, conservation=conservation)
        elif method in gradients.OPTIONS:
            _check_precision(self.graph)
            self._method = gradients.Differentiator(self.graph, method, self.options, self.seed)
        elif method in perturbation.OPTIONS:
            self._method = perturbation.Perturber(self.logits, method, self.options, self.seed)
        elif method in rollout.OPTIONS:
            self._method = rollout.Rollout(self.graph)
        elif method in class_activation.OPTIONS:
            _check_precision(self.graph)
            self._method = class_activation.ClassActivation(self.graph)
        else:
            self._method = controls.Control(method, self.seed)

    def __call__(
        self,
        x: np.ndarray,
        neuron: int | Sequence[int] | np.ndarray,
        *,
        reference: float | np.ndarray | None = None,
        contrast: int | list[int] | str | None = None,
    ) -> Explanation:
        """Explain inputs; the parameters and the result are those of `relevance`."""
        x = self._checked(x)
        neuron, targets = self._targets(neuron, contrast, len(x))
        many = isinstance(neuron, list)
        reference, offset = self._offset(reference, targets, many, contrast)
        batches = [slice(start, start + self.batch_size) for start in range(0, len(x), self.batch_size)]
        maps, balances, logit = zip(
            *(self._batch(x[batch], targets[batch], offset[batch]) for batch in batches), strict=True
        )
        report = None
        if balances[0] is not None:
            entries = np.concatenate(balances)
            entries = entries.reshape(-1, *entries.shape[2:])
            report = ConservationReport(self._method.layers, self._method.rules, entries)
        maps, logit = np.concatenate(maps), np.concatenate(logit)
        if not many:
            maps, logit, reference = maps[:, 0], logit[:, 0], None if reference is None else reference[:, 0]
        return Explanation(maps, self.method, neuron, logit, reference, contrast, report, dict(self.options))

    def _batch(self, x, targets, offset):
        maps, balance, logit = self._method.maps(x, targets, offset)
        if logit is None:
            logit = np.einsum("nko,no->nk", targets, self.logits(x)) - offset
        return maps, balance, logit

    def _checked(self, x):
        x = np.asarray(x, dtype=np.float32)
        shape = self.graph.input_shape
        if x.ndim != len(shape) + 1 or any(b not in (None, a) for a, b in zip(x.shape[1:], shape, strict=True)):
            hint = " A single input needs a leading axis: x[None]." if x.ndim == len(shape) else ""
            raise ValueError(f"x must have shape (n, {', '.join(map(str, shape))}). Got {x.shape}.{hint}")
        if not len(x):
            raise ValueError("x must hold at least one sample. Got none.")
        if not np.isfinite(x).all():
            raise ValueError("x must be finite. It holds NaN or Inf.")
        return x

    def _targets(self, neuron, contrast, n):
        """The neuron as it is kept, and combinations of outputs (n, k, n_outputs)."""
        n_outputs = self.graph.n_outputs
        if isinstance(neuron, list | tuple):
            neuron = [self._output("neuron", i) for i in neuron]
            if not neuron:
                raise ValueError("neuron must name at least one output. Got an empty list.")
            chosen = np.broadcast_to(neuron, (n, len(neuron)))
        elif np.ndim(neuron) == 0:
            neuron = self._output("neuron", neuron)
            chosen = np.full((n, 1), neuron)
        else:
            neuron = np.asarray(neuron)
            if neuron.shape != (n,):
                raise ValueError(
                    f"neuron must be an int, an array of one int for each of the {n} samples, or a list "
                    f"of outputs. Got an array of shape {neuron.shape}."
                )
            chosen = np.array([self._output("neuron", i) for i in neuron])[:, None]
        targets = np.eye(n_outputs, dtype=np.float32)[chosen]
        return neuron, targets if contrast is None else targets - self._against(contrast, targets)

    def _against(self, contrast, targets):
        """Weights of the outputs that the targets are compared with."""
        if isinstance(contrast, str):
            if contrast != "others" or self.graph.n_outputs < 2:
                raise ValueError(f"contrast must be an int, a list of ints, or 'others' of several. Got {contrast!r}.")
            return (1 - targets) / np.float32(self.graph.n_outputs - 1)
        rivals = [self._output("contrast", i) for i in (contrast if isinstance(contrast, list) else [contrast])]
        if not rivals:
            raise ValueError("contrast must name at least one output. Got an empty list.")
        return np.eye(self.graph.n_outputs, dtype=np.float32)[rivals].mean(axis=0)

    def _output(self, name, value):
        n = self.graph.n_outputs
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer) or not 0 <= value < n:
            raise ValueError(f"{name} must be an int from 0 to {n - 1}. Got {value!r}.")
        return int(value)

    def _offset(self, reference, targets, many, contrast):
        """Reference probabilities and their logits, both (n, k)."""
        n, k = targets.shape[:2]
        if reference is None:
            return None, np.zeros((n, k), dtype=np.float32)
        if self.graph.head == "softmax" or contrast is not None:
            raise ValueError(
                "reference needs a sigmoid neuron of its own: a softmax's logits and differences of "
                "logits have no probability. Take contrast= alone."
            )
        reference = np.asarray(reference, dtype=np.float64)
        if reference.ndim == 1 and not many:
            reference = reference[:, None]
        if not ((reference > 0) & (reference < 1)).all():
            raise ValueError(f"reference must hold probabilities in (0, 1). Got {reference.ravel()[:5]}.")
        try:
            reference = np.broadcast_to(reference, (n, k))
        except ValueError:
            raise ValueError(f"reference must fit {n} samples and {k} neurons. Got shape {reference.shape}.") from None
        return reference, np.log(reference / (1 - reference)).astype(np.float32)


def logits(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """Return a network without its sigmoid or softmax.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, with one input and one output (n, n_outputs).

    Returns
    -------
    logits : callable
        np.ndarray (n, *input_shape) -> np.ndarray (n, n_outputs), float32; in batches of 32.

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="sigmoid")])
    >>> x = np.ones((3, 4))
    >>> np.allclose(1 / (1 + np.exp(-logits(model)(x))), model(x), atol=1e-6)
    True
    """
    return _Logits(read(model))


class _Logits:
    def __init__(self, graph):
        self.graph, self.head = graph, graph.head

    @cached_property
    def _run(self):
        return compiled_arrays(self.graph.run, (None, *self.graph.input_shape))

    def __call__(self, x):
        x = np.asarray(x, dtype=np.float32)
        return np.concatenate([self._run(x[i : i + 32]) for i in range(0, len(x), 32)])


class _Kept:
    """The explainers of one model that were used last, for the weights that it has now."""

    def __init__(self, model):
        self.watch, self.explainers = WeightWatch(model), OrderedDict()

    def get(self, model, key, settings):
        if not self.watch.unchanged(model):
            self.explainers.clear()
        explainer = self.explainers.pop(key, None) or Explainer(model, **settings)
        self.explainers[key] = explainer  # the last one is the one that was used last
        if len(self.explainers) > _KEPT_PER_MODEL:
            self.explainers.popitem(last=False)
        return explainer


def prepared(model: keras.Model, *, batch_size: int = 32, **settings: Any) -> Explainer:
    """Prepare a method for a model, or return the explainer that `relevance` has kept of it.

    Parameters
    ----------
    model : keras.Model
        As in `relevance`.
    batch_size : int > 0
        Number of inputs that go through the network at once.
    **settings
        Method, seed, conservation and options, as in `Explainer`.

    Returns
    -------
    explainer : Explainer
        It is shared by all callers with the same settings, and replaced when the model's weights change.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((6, 1)), keras.layers.Flatten(), keras.layers.Dense(3)])
    >>> prepared(model, method="gradient") is prepared(model, method="gradient")
    True
    """
    batch_size = _positive("batch_size", batch_size)
    try:
        kept = _KEPT.get(model)
        if kept is None and isinstance(model, keras.Model) and model.built:
            kept = _KEPT[model] = _Kept(model)
    except TypeError:  # the model cannot be hashed or weakly referenced
        kept = None
    explainer = (
        Explainer(model, **settings) if kept is None else kept.get(model, (revision(), _key(settings)), settings)
    )
    explainer.batch_size = batch_size
    return explainer


def _key(value):
    """Something hashable that is equal for equal settings only."""
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, dict):
        return tuple((name, _key(value[name])) for name in sorted(value))
    if isinstance(value, list | tuple):
        return type(value).__name__, *map(_key, value)
    return repr(value)


def _check_method(method, options):
    if method not in _DEFAULTS:
        raise ValueError(f"method must be one of {', '.join(_DEFAULTS)}. Got {method!r}.")
    unknown = set(options) - set(_DEFAULTS[method])
    if unknown:
        known = ", ".join(_DEFAULTS[method]) or "none"
        raise ValueError(f"{method} has no option {sorted(unknown)[0]!r}. It has: {known}.")


def _check_precision(graph):
    """Refuse half and double precision: maps are computed in float32."""
    for call in graph.calls:
        dtype = getattr(call.layer, "compute_dtype", None) or "float32"
        if dtype != "float32":
            raise ValueError(
                f"Layer {call.name!r} of {graph.name} computes in {dtype}, but derivatives and relevance need float32. "
                "Build the model with the dtype policy 'float32' and copy the weights with set_weights(get_weights()); "
                "occlusion, rise and lime work as it is."
            )


_COUNTS = ("n_samples", "steps", "n_masks")
_NOT_NEGATIVE = ("epsilon", "gamma", "noise", "ridge")
_SIDES = ("patch", "stride", "grid")


def _check_values(options):
    """Refuse numbers out of range; rules, layers and baselines are checked where they are used."""
    for name, value in options.items():
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if name in _COUNTS:
            _positive(name, value)
        elif name in _NOT_NEGATIVE and not (number and 0 <= value < np.inf):
            raise ValueError(f"{name} must be a number of at least 0. Got {value!r}.")
        elif name == "edges" and value not in ("as_is", "shared"):
            raise ValueError(f"edges must be 'as_is' or 'shared'. Got {value!r}.")
        elif name == "keep" and not (number and 0 < value < 1):
            raise ValueError(f"keep must lie in (0, 1). Got {value!r}.")
        elif name in ("low", "high") and value is not None and not (number and np.isfinite(value)):
            raise ValueError(f"{name} must be a finite number or None. Got {value!r}.")
        elif name in _SIDES and value is not None:
            for side in value if isinstance(value, list | tuple) else [value]:
                _positive(name, side)
    if options.get("stride") is not None:
        pairs = zip(np.broadcast_to(options["stride"], 2), np.broadcast_to(options["patch"], 2), strict=True)
        if any(stride > patch for stride, patch in pairs):
            raise ValueError(
                f"stride must not exceed patch, or cells between the patches would be skipped. Got {options['stride']} "
                f"and {options['patch']}."
            )


def _positive(name, value):
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive int. Got {value!r}.")
    return int(value)

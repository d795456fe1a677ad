"""`relevance` and its prepared form `Explainer`: why does this neuron fire for this input."""

import weakref
import zlib

import numpy as np
from keras import ops

from musictools.explain.attribution import controls as baselines
from musictools.explain.attribution import gradients, perturbation
from musictools.explain.attribution import propagation as engine
from musictools.explain.attribution.conservation import ConservationReport
from musictools.explain.attribution.explanation import Explanation
from musictools.models.graph.autodiff import compiled
from musictools.models.graph.reading import read

__all__ = ["METHODS", "Explainer", "logits", "relevance"]

_FAMILIES = (engine.OPTIONS, gradients.OPTIONS, perturbation.OPTIONS, baselines.OPTIONS)
_DEFAULTS = {name: options for family in _FAMILIES for name, options in family.items()}
METHODS = tuple(_DEFAULTS)
_KEPT = weakref.WeakKeyDictionary()  # model -> {method and options: (fingerprint of its weights, Explainer)}


def relevance(
    model,
    x,
    neuron,
    *,
    method="deep_taylor",
    reference=None,
    contrast=None,
    batch_size=32,
    seed=0,
    conservation=True,
    **options,
):
    """Explain what a network says.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, one input, one output (n, n_outputs). A sigmoid or softmax at its end is left away:
        logits are explained, never probabilities. It is not changed.
    x : np.ndarray [shape=(n, *input_shape)]
        Finite. Spectrograms (n_mels, length, 1), low frequency first, as the front end scales them, or waveforms
        (n_samples, 1).
    neuron : int, np.ndarray [shape=(n,)] or list of int
        One output for all samples; one a sample; or several outputs of every sample.
    method : str
        One of `METHODS`. ``deep_taylor``: z+ rule without bias in every layer, positive logits only (`rotheneder2023`
        5.3); ``deep_taylor_bounded``: z^B rule at the input; ``lrp_epsilon``, ``lrp_gamma``, ``lrp_alpha_beta``;
        ``lrp_composite``: epsilon in dense layers, gamma or z+ in convolutions, z^B, flat or w^2 at the input.
    reference : float or np.ndarray or None
        Probability in (0, 1) of a sigmoid neuron, one for all, one a sample (n,), one a neuron of the list (k,) or
        (n, k): a tag's base rate or threshold. What is explained is the logit above it, so that a tag accepted at
        p < 0.5 has evidence too. None: the logit itself.
    contrast : int, list of int, "others" or None
        Explain the neuron's logit less that of this one, or less the mean of these, or of all others.
    batch_size : int > 0
        Samples that go through the network at once.
    seed : int
        Of methods that draw.
    conservation : bool
        Whether to make the conservation report (about an eighth of the time).
    **options
        Of the method: epsilon, gamma, alpha, low, high, dense, conv, input, rules (layer's name or class -> rule),
        n_samples, noise, steps, baseline, layer, patch, stride, fill, n_masks, grid, keep, ridge.

    Returns
    -------
    explanation : Explanation

    Raises
    ------
    ValueError
        If the model holds a layer that relevance cannot pass (attention, recurrence), x has another shape or holds NaN,
        a neuron does not exist, or an option is unknown or out of range.

    Examples
    --------
    >>> explanation = relevance(model, x, neuron=3)
    >>> explanation.relevance.shape == x.shape
    True
    """
    _check_method(method, options)
    try:
        key = method, seed, conservation, tuple((n, _key(options[n])) for n in sorted(options))
        kept = _KEPT.setdefault(model, {})
    except TypeError:  # no model at all: the explainer says so
        return Explainer(model, method=method)(x, neuron)
    mark = _fingerprint(model)
    if key not in kept or kept[key][0] != mark:
        kept[key] = (
            mark,
            Explainer(model, method=method, batch_size=batch_size, seed=seed, conservation=conservation, **options),
        )
    explainer = kept[key][1]
    explainer.batch_size = _positive("batch_size", batch_size)
    return explainer(x, neuron, reference=reference, contrast=contrast)


class Explainer:
    """A method prepared for one model: weights folded once, passes compiled once.

    It keeps the weights that the model had; after training make a new one (`relevance` does so by itself).

    Parameters
    ----------
    model, method, batch_size, seed, conservation, **options
        As of `relevance`.
    """

    def __init__(self, model, *, method="deep_taylor", batch_size=32, seed=0, conservation=True, **options):
        _check_method(method, options)
        self.method, self.seed = method, int(seed)
        self.batch_size = _positive("batch_size", batch_size)
        self.options = {**_DEFAULTS[method], **options}
        _check_values(self.options)
        self.graph = read(model)
        self.logits = _Logits(self.graph)
        if method in engine.OPTIONS:
            self._method = engine.Propagation(self.graph, method, self.options, conservation=conservation)
        elif method in gradients.OPTIONS:
            self._method = gradients.Differentiator(self.graph, method, self.options, self.seed)
        elif method in perturbation.OPTIONS:
            self._method = perturbation.Perturber(self.logits, method, self.options, self.seed)
        else:
            self._method = baselines.Baseline(method, self.seed)

    def __call__(self, x, neuron, *, reference=None, contrast=None):
        """Explain inputs; parameters and result as of `relevance`."""
        x = self._checked(x)
        neuron, targets = self._targets(neuron, contrast, len(x))
        reference, offset = self._offset(reference, targets, isinstance(neuron, list), contrast)
        many = isinstance(neuron, list)
        maps, balances, found = [], [], []
        for start in range(0, len(x), self.batch_size):
            part = slice(start, start + self.batch_size)
            some, balance, logit = self._method.maps(x[part], targets[part], offset[part])
            if logit is None:
                logit = np.einsum("nko,no->nk", targets[part], self.logits(x[part])) - offset[part]
            found.append(logit)
            maps.append(some if many else some[:, 0])
            balances.append(balance)
        conservation = None
        if balances[0] is not None:  # propagation with a conservation report
            entries = np.concatenate(balances)
            conservation = ConservationReport(
                self._method.steps, self._method.rules, entries.reshape(-1, *entries.shape[2:])
            )
        logit = np.concatenate(found)
        return Explanation(
            np.concatenate(maps),
            self.method,
            neuron,
            logit if many else logit[:, 0],
            None if reference is None else reference if many else reference[:, 0],
            contrast,
            conservation,
            dict(self.options),
        )

    def _checked(self, x):
        x = np.asarray(x, dtype=np.float32)
        shape = self.graph.input_shape
        if x.ndim != len(shape) + 1 or any(b not in (None, a) for a, b in zip(x.shape[1:], shape)):
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
        """Weights of the outputs that the targets are held against."""
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


def logits(model):
    """A network without its sigmoid or softmax.

    Parameters
    ----------
    model : keras.Model
        As of `relevance`.

    Returns
    -------
    logits : callable
        np.ndarray (n, *input_shape) -> np.ndarray (n, n_outputs), float32; in batches of 32.
    """
    return _Logits(read(model))


class _Logits:
    def __init__(self, graph):
        self._run = compiled(graph.run, (None, *graph.input_shape))
        self.head = graph.head

    def __call__(self, x):
        x = np.asarray(x, dtype=np.float32)
        return np.concatenate([ops.convert_to_numpy(self._run(x[i : i + 32])) for i in range(0, len(x), 32)])


def _check_method(method, options):
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}. Got {method!r}.")
    unknown = set(options) - set(_DEFAULTS[method])
    if unknown:
        known = ", ".join(_DEFAULTS[method]) or "none"
        raise ValueError(f"{method} has no option {sorted(unknown)[0]!r}. It has: {known}.")


_COUNTS = ("n_samples", "steps", "n_masks")
_NOT_NEGATIVE = ("epsilon", "gamma", "noise", "ridge")
_SIDES = ("patch", "stride", "grid")


def _check_values(options):
    """Refuse numbers out of range; rules, layers and fills are looked at where they are used."""
    for name, value in options.items():
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if name in _COUNTS:
            _positive(name, value)
        elif name in _NOT_NEGATIVE and not (number and 0 <= value < np.inf):
            raise ValueError(f"{name} must be a number of at least 0. Got {value!r}.")
        elif name == "keep" and not (number and 0 < value < 1):
            raise ValueError(f"keep must lie in (0, 1). Got {value!r}.")
        elif name in ("low", "high") and value is not None and not (number and np.isfinite(value)):
            raise ValueError(f"{name} must be a finite number or None. Got {value!r}.")
        elif name in _SIDES and value is not None:
            for side in value if isinstance(value, list | tuple) else [value]:
                _positive(name, side)
    if options.get("stride") is not None:
        pairs = zip(np.broadcast_to(options["stride"], 2), np.broadcast_to(options["patch"], 2))
        if any(stride > patch for stride, patch in pairs):
            raise ValueError(
                f"stride must not exceed patch, cells between would not be heard. Got {options['stride']} "
                f"and {options['patch']}."
            )


def _positive(name, value):
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive int. Got {value!r}.")
    return int(value)


def _key(value):
    return (value.shape, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)


def _fingerprint(model):
    mark = 0
    for weight in getattr(model, "weights", []):
        mark = zlib.crc32(np.ascontiguousarray(ops.convert_to_numpy(weight)).view(np.uint8), mark)
    return mark

"""The badge of a heatmap: five scores that say whether it can be trusted, each with a limit.

Conventions
-----------
Less is better for every score, and a score passes up to its limit, inclusive. NaN means not tested: the method has no
conservation report, or nothing could be compared. The limits are conventions, not laws. Beside each stands what was
measured on four narrow taggers of the composed corpus (vgg_cnn, fcn4, se_cnn, short_chunk; 10 clips, means over clips):

RANDOMISATION = 0.5
    Rank correlation with the maps of the same model whose later half of the layers is randomised. Energy has 1 by
    definition, Deep Taylor 0.5 to 1.0 (bounded 0.3 to 0.9), guided backpropagation 0.6 to 0.9; gradients, LRP-epsilon
    and composites, Grad-CAM and occlusion have at most 0.2. Only the later half is randomised, since a map that ignores
    the later layers still changes when all are random: Deep Taylor would have 0.2 to 0.7.
CLASS_SENSITIVITY = 0.5
    Rank correlation with the maps of other tags for the same input. Tags share evidence, so some similarity is right,
    but the same methods lie at 0.75 to 1.0 and all others at 0.1 or less. A single coarse map may resemble another by
    chance: single maps of Grad-CAM reach 0.7.
ENERGY_CORRELATION = 0.7
    Absolute rank correlation with the input's energy. Beyond 0.7, energy explains half of the variance of the ranks.
    The highest mean is 0.6 (Deep Taylor), the highest value of a single map 0.75.
STABILITY = 1.0
    Relative change of the map, less its mean, under noise of 1 % of the input's range that leaves the decision
    unchanged. 1 is a correlation of 0.5, unrelated maps have 1.4. Gradients reach 0.95, Deep Taylor 0.5, Grad-CAM 0.3.
CONSERVATION = 1e-4
    Largest unexplained amount of a layer in the conservation report, over what was explained; the worst map counts.
    Measured: 5e-7. More is an error of the implementation, not of the method.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import explain
from musictools.explain.metrics import arguments, randomisation, sanity

if TYPE_CHECKING:
    import keras

    from musictools.explain import Explanation

__all__ = [
    "CLASS_SENSITIVITY",
    "CONSERVATION",
    "ENERGY_CORRELATION",
    "LIMITS",
    "RANDOMISATION",
    "STABILITY",
    "Badge",
    "badge",
    "badges",
]

RANDOMISATION, CLASS_SENSITIVITY, ENERGY_CORRELATION, STABILITY, CONSERVATION = 0.5, 0.5, 0.7, 1.0, 1e-4
LIMITS = {
    "randomisation": RANDOMISATION,
    "class sensitivity": CLASS_SENSITIVITY,
    "energy correlation": ENERGY_CORRELATION,
    "stability": STABILITY,
    "conservation": CONSERVATION,
}
_OTHERS, _DRAWS = 2, 1  # other neurons and noisy inputs a map
_GROUPS = weakref.WeakKeyDictionary()  # model -> names of the layers that are randomised; its weights do not matter


@dataclass(frozen=True)
class Badge:
    """Scores of a map, or of the maps of a method, with their limits.

    Attributes
    ----------
    method : str
    scores : dict of str to float
        By the names of `LIMITS`.
    limits : dict of str to float
    empty : bool
        Whether the relevance is 0 everywhere.

    Examples
    --------
    >>> print(Badge("gradient", {"stability": 0.9, "randomisation": 0.7}, LIMITS))
    gradient fails: passes 1 of 2: stability 0.90; fails: randomisation 0.70 > 0.5
    """

    method: str
    scores: dict
    limits: dict
    empty: bool = False

    @property
    def failed(self) -> list[str]:
        """Names of the scores beyond their limits."""
        return [name for name, value in self.scores.items() if value > self.limits[name]]

    @property
    def tested(self) -> list[str]:
        """Names of the scores that are not NaN."""
        return [name for name, value in self.scores.items() if not np.isnan(value)]

    @property
    def passed(self) -> bool:
        """Whether the map is not empty, something was tested, and nothing that was tested failed."""
        return bool(self.tested) and not self.failed and not self.empty

    @property
    def text(self) -> str:
        """One line, to stand beside the picture."""
        failed = [f"{name} {self._value(name)} > {self.limits[name]:g}" for name in self.failed]
        good = [f"{name} {self._value(name)}" for name in self.tested if name not in self.failed]
        untested = [name for name in self.scores if name not in self.tested]
        lines = [f"passes {len(good)} of {len(self.tested)}" + (f": {', '.join(good)}" if good else "")]
        lines += [f"fails: {', '.join(failed + ['the map is empty'] * self.empty)}"] if failed or self.empty else []
        lines += [f"not tested: {', '.join(untested)}"] if untested else []
        return "; ".join(lines)

    def _value(self, name):
        value = self.scores[name]
        return f"{value:.0e}" if name == "conservation" else f"{value:.2f}"

    def __str__(self):
        return f"{self.method} {'passes' if self.passed else 'fails'}: {self.text}"


def badges(
    model: keras.Model,
    x: np.ndarray,
    neuron: int | np.ndarray,
    *,
    method: str = "deep_taylor",
    reference: float | np.ndarray | None = None,
    explanation: Explanation | None = None,
    limits: dict | None = None,
    batch_size: int = 32,
    seed: int = 0,
    **options,
) -> list[Badge]:
    """Badges of single maps.

    Parameters
    ----------
    model : keras.Model
        As in `explain.relevance`.
    x : np.ndarray [shape=(n, *input_shape)]
        Model inputs. All of them together serve the randomisation test, whose score is the same for every map.
    neuron : int or np.ndarray [shape=(n,)]
        The explained output.
    method : str
        One of `explain.METHODS`.
    reference : float or np.ndarray [shape=(n,)] or None
        Reference of the maps.
    explanation : Explanation or None
        The maps of these inputs, if they have been computed already with the same method, options and reference.
    limits : dict of str to float or None
        Other limits than `LIMITS`.
    batch_size : int > 0
        Samples that go through the network at once.
    seed : int >= 0
        Seed of methods that draw, of the random network, of other neurons and of noise.
    **options
        Options of the method.

    Returns
    -------
    badges : list of Badge
        One a sample.

    Raises
    ------
    ValueError
        If a limit has an unknown name, the explanation is another method's, or for the reasons of `explain.relevance`.

    See Also
    --------
    badge : One badge for a method.
    """
    unknown = set(limits or {}) - set(LIMITS)
    if unknown:
        raise ValueError(f"limits must be among {', '.join(LIMITS)}. Got {', '.join(sorted(unknown))}.")
    if explanation is not None and (explanation.method, explanation.relevance.shape) != (method, np.shape(x)):
        got = f"{explanation.method} of shape {explanation.relevance.shape}"
        raise ValueError(f"explanation must hold maps of {method} of shape {np.shape(x)}. Got maps of {got}.")
    from musictools.explain.attribution.explainer import prepared

    limits = {**LIMITS, **(limits or {})}
    settings = {"method": method, "batch_size": batch_size, "seed": seed, **options}
    explainer = prepared(model, conservation=True, **settings)  # the one that made the explanation, if it is kept
    explanation = explainer(x, neuron, reference=reference) if explanation is None else explanation
    own = explanation.relevance if _serves(explanation) else sanity.explained(explainer, x, neuron)
    ranks = [sanity.ranks(one) for one in own]
    scores = {
        "randomisation": np.full(len(x), _randomisation(model, ranks, x, neuron, settings)),
        "class sensitivity": np.full(len(x), np.nan),
        "energy correlation": np.abs(sanity.energy_correlation(explanation.relevance, x)),
        "stability": sanity.stability(explainer, x, neuron, relevance=own, n_draws=_DRAWS, seed=seed)["change"],
        "conservation": np.full(len(x), np.nan)
        if explanation.conservation is None
        else explanation.conservation.error(),
    }
    if explainer.graph.n_outputs > 1:
        scores["class sensitivity"] = _class_sensitivity(explainer, own, ranks, x, neuron, seed)
    empty = ~explanation.relevance.reshape(len(x), -1).any(axis=1)
    return [
        Badge(method, {name: float(values[i]) for name, values in scores.items()}, limits, bool(empty[i]))
        for i in range(len(x))
    ]


def _serves(explanation):
    """Whether maps with a reference equal those of `sanity.explained` but for a factor near 1, so that they serve.

    The epsilon rule gives an input of the last layer its value times its weight, whatever is subtracted from the logit.
    """
    report = explanation.conservation
    return report is not None and report.rules[0] == "Epsilon" and explanation.contrast is None


def _randomisation(model, ranks, x, neuron, settings):
    """Mean rank correlation with the maps of the model whose later half of the layers is randomised."""
    if model not in _GROUPS:
        _GROUPS[model] = [group[0] for group in randomisation.layer_groups(model)]
    names = _GROUPS[model]
    copy = randomisation.scrambled(model, names[len(names) // 2 :], seed=settings["seed"], x=x)
    other = sanity.explained(explain.Explainer(copy, conservation=False, **settings), x, neuron)
    return pd.Series([sanity.correlation(a, sanity.ranks(b)) for a, b in zip(ranks, other, strict=True)]).mean()


def _class_sensitivity(explainer, own, ranks, x, neuron, seed):
    """Mean rank correlation of each map with those of other neurons for the same input."""
    others = min(_OTHERS, explainer.graph.n_outputs - 1)
    if not explainer.method.startswith(("deep_taylor", "lrp_")):
        alike = sanity.random_logit(explainer, x, neuron, relevance=own, others=others, seed=seed)
        return alike.groupby("sample")["spearman"].mean().to_numpy()
    # The same without measures that no badge needs, and in one call: these methods draw no random numbers.
    rng, outputs = np.random.default_rng(seed), arguments.neurons(neuron, len(x))
    known = [np.delete(np.arange(explainer.graph.n_outputs), output) for output in outputs]
    drawn = np.concatenate([np.sort(rng.choice(some, others, replace=False)) for some in known])
    maps = sanity.explained(explainer, np.repeat(x, others, axis=0), drawn)
    pairs = [(ranks[i // others], sanity.ranks(one)) for i, one in enumerate(maps)]
    table = pd.DataFrame(np.reshape([sanity.correlation(*pair) for pair in pairs], (len(x), others)))
    return table.mean(axis=1).to_numpy()


def badge(model: keras.Model, x: np.ndarray, neuron: int | np.ndarray, **options) -> Badge:
    """Badge of a method on a model: the mean score over several maps, for conservation the worst.

    Parameters
    ----------
    model : keras.Model
        As in `explain.relevance`.
    x : np.ndarray [shape=(n, *input_shape)]
        Some ten model inputs.
    neuron : int or np.ndarray [shape=(n,)]
        The explained output.
    **options
        Keyword arguments of `badges`: method, reference, limits, batch_size, seed, options of the method.

    Returns
    -------
    badge : Badge
        Empty maps are left out; it is empty if all maps are.

    See Also
    --------
    badges : One badge for every map.

    Examples
    --------
    >>> from keras import Sequential, layers
    >>> model = Sequential([layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(3)])
    >>> x = np.random.default_rng(0).random((3, 4, 4, 1))
    >>> badge(model, x, 0, method="energy").failed
    ['randomisation', 'class sensitivity', 'energy correlation']
    """
    single = badges(model, x, neuron, **options)
    some = [one for one in single if not one.empty] or single
    scores = {name: [one.scores[name] for one in some if not np.isnan(one.scores[name])] for name in LIMITS}
    joined = {
        name: float((np.max if name == "conservation" else np.mean)(values)) if values else np.nan
        for name, values in scores.items()
    }
    return Badge(single[0].method, joined, single[0].limits, all(one.empty for one in single))

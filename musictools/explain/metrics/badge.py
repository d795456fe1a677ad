"""The badge of a heatmap: five scores that say whether it may be believed, each with a limit.

Conventions
-----------
All scores are such that less is better; a score passes up to its limit, inclusive. NaN was not tested: the method has
no ledger, or nothing could be compared. The limits are conventions and no laws; beside each is what was measured on
four narrow taggers of the composed corpus (vgg_cnn, fcn4, se_cnn, short_chunk; 10 clips, means over clips):

RANDOMISATION = 0.5
    Rank correlation with the maps of the same model whose later half of the layers is randomised. Energy has 1 by
    definition, Deep Taylor 0.5 to 1.0 (bounded 0.3 to 0.9), guided backpropagation 0.6 to 0.9; gradients, LRP-epsilon
    and composites, Grad-CAM and occlusion at most 0.2. Later half, since a map that ignores the later layers still
    changes when all are random: Deep Taylor would have 0.2 to 0.7.
CLASS_SENSITIVITY = 0.5
    Rank correlation with the maps of other tags for the same input. Tags share evidence, so some likeness is right; but
    the same methods lie at 0.75 to 1.0, and all others at 0.1 or less. A single coarse map may be like another's by
    chance: of Grad-CAM single maps reach 0.7.
ENERGY_CORRELATION = 0.7
    Absolute rank correlation with the input's energy: beyond 0.7, energy says half of the variance of the ranks. The
    highest mean is 0.6 (Deep Taylor), that of single maps 0.75.
STABILITY = 1.0
    Relative change of the map, less its mean, under noise of 1 % of the input's range that leaves the decision. 1 is a
    correlation of 0.5, unrelated maps have 1.4. Gradients reach 0.95, Deep Taylor 0.5, Grad-CAM 0.3.
CONSERVATION = 1e-4
    Largest open amount of a layer in the ledger, over what was explained; the worst map counts. Measured: 5e-7. More is
    an error of the implementation, not of the method.
"""

from dataclasses import dataclass

import numpy as np

from musictools import explain
from musictools.explain.metrics import randomisation as randomised
from musictools.explain.metrics import sanity

__all__ = ["CLASS_SENSITIVITY", "CONSERVATION", "ENERGY_CORRELATION", "LIMITS", "RANDOMISATION", "STABILITY", "Badge",
           "ModelBadge", "badge"]

RANDOMISATION, CLASS_SENSITIVITY, ENERGY_CORRELATION, STABILITY, CONSERVATION = 0.5, 0.5, 0.7, 1.0, 1e-4
LIMITS = {"randomisation": RANDOMISATION, "class sensitivity": CLASS_SENSITIVITY,
          "energy correlation": ENERGY_CORRELATION, "stability": STABILITY, "conservation": CONSERVATION}
_OTHERS, _DRAWS = 2, 1  # other neurons and noisy inputs a map


@dataclass(frozen=True)
class Badge:
    """What is known of a map, or of the maps of a method.

    Attributes
    ----------
    method : str
    scores : dict of str to float
        By the names of `LIMITS`.
    limits : dict of str to float
    empty : bool
        There is no relevance anywhere.
    """

    method: str
    scores: dict
    limits: dict
    empty: bool = False

    @property
    def failed(self):
        """Names of the scores beyond their limits, list of str."""
        return [name for name, value in self.scores.items() if value > self.limits[name]]

    @property
    def tested(self):
        """Names of the scores that could be had, list of str."""
        return [name for name, value in self.scores.items() if not np.isnan(value)]

    @property
    def passed(self):
        """Whether there is a map, and nothing that was tested failed."""
        return bool(self.tested) and not self.failed and not self.empty

    @property
    def text(self):
        """One line, to stand beside the picture."""
        failed = [f"{name} {self._value(name)} > {self.limits[name]:g}" for name in self.failed]
        good = [f"{name} {self._value(name)}" for name in self.tested if name not in self.failed]
        left = [name for name in self.scores if name not in self.tested]
        parts = [f"passes {len(good)} of {len(self.tested)}" + (f": {', '.join(good)}" if good else "")]
        parts += [f"fails: {', '.join(failed + ['the map is empty'] * self.empty)}"] if failed or self.empty else []
        parts += [f"not tested: {', '.join(left)}"] if left else []
        return "; ".join(parts)

    def _value(self, name):
        value = self.scores[name]
        return f"{value:.0e}" if name == "conservation" else f"{value:.2f}"

    def __str__(self):
        return f"{self.method} {'passes' if self.passed else 'fails'}: {self.text}"


class ModelBadge:
    """Badges of the maps of one method on one model: what depends on the model alone is measured once.

    Parameters
    ----------
    model : keras.Model
        As of `explain.relevance`.
    x : np.ndarray [shape=(n, *input_shape)]
        Some ten inputs as the model hears them, for the randomisation test.
    neuron : int or np.ndarray [shape=(n,)]
        What is explained of them.
    method : str
        One of `explain.METHODS`.
    limits : dict of str to float or None
        Other limits than `LIMITS`.
    batch_size, seed, **options
        As of `explain.relevance`.

    Attributes
    ----------
    explainer : Explainer
    randomisation : float
        Similarity of the maps of `x` to those of the model whose later half of the layers is randomised.

    Raises
    ------
    ValueError
        If a limit has an unknown name, or as of `explain.relevance`.
    """

    def __init__(self, model, x, neuron, *, method="deep_taylor", limits=None, batch_size=32, seed=0, **options):
        unknown = set(limits or {}) - set(LIMITS)
        if unknown:
            raise ValueError(f"limits must be among {', '.join(LIMITS)}. Got {', '.join(sorted(unknown))}.")
        self.limits, self.seed = {**LIMITS, **(limits or {})}, seed
        settings = {"method": method, "batch_size": batch_size, "seed": seed, **options}
        self.explainer = explain.Explainer(model, **settings)
        names = [group[0] for group in randomised.layer_groups(model)]
        other = explain.Explainer(randomised.scrambled(model, names[len(names) // 2 :], seed=seed, x=x), ledger=False,
                                  **settings)
        alike = sanity.similarity(*(sanity.explained(e, x, neuron) for e in (self.explainer, other)))
        self.randomisation = float(alike["spearman"].mean())

    def __call__(self, x, neuron, *, reference=None):
        """Badges of maps.

        Parameters
        ----------
        x : np.ndarray [shape=(n, *input_shape)]
        neuron : int or np.ndarray [shape=(n,)]
        reference : float or np.ndarray [shape=(n,)] or None
            As the maps were made with.

        Returns
        -------
        badges : list of Badge
            One a sample.
        """
        explanation = self.explainer(x, neuron, reference=reference)
        alike, others = np.full(len(x), np.nan), min(_OTHERS, self.explainer.graph.n_outputs - 1)
        if others:
            found = sanity.random_logit(self.explainer, x, neuron, others=others, seed=self.seed)
            alike = found.groupby("sample")["spearman"].mean().to_numpy()
        scores = {
            "randomisation": np.full(len(x), self.randomisation),
            "class sensitivity": alike,
            "energy correlation": np.abs(sanity.energy_correlation(explanation.relevance, x)),
            "stability": sanity.stability(self.explainer, x, neuron, n_draws=_DRAWS, seed=self.seed)["change"],
            "conservation": np.full(len(x), np.nan) if explanation.ledger is None else explanation.ledger.error(),
        }
        empty = ~explanation.relevance.reshape(len(x), -1).any(axis=1)
        return [Badge(self.explainer.method, {name: float(values[i]) for name, values in scores.items()}, self.limits,
                      bool(empty[i])) for i in range(len(x))]


def badge(model, x, neuron, *, method="deep_taylor", reference=None, limits=None, batch_size=32, seed=0, **options):
    """The badge of a method on a model: means over several maps, of conservation the worst.

    Parameters
    ----------
    model, x, neuron, method, limits, batch_size, seed, **options
        As of `ModelBadge`.
    reference : float or np.ndarray [shape=(n,)] or None
        As of `explain.relevance`.

    Returns
    -------
    badge : Badge
        Empty maps are left out; it is empty if all are.

    Examples
    --------
    >>> print(badge(model, x, neuron=3, method="energy").text)  # doctest: +SKIP
    passes 1 of 4: stability 0.02; fails: randomisation 1.00 > 0.5, class sensitivity 1.00 > 0.5, ...
    """
    of = ModelBadge(model, x, neuron, method=method, limits=limits, batch_size=batch_size, seed=seed, **options)
    badges = of(x, neuron, reference=reference)
    some = [one for one in badges if not one.empty] or badges
    scores = {name: [one.scores[name] for one in some if not np.isnan(one.scores[name])] for name in LIMITS}
    joined = {name: float((np.max if name == "conservation" else np.mean)(values)) if values else np.nan
              for name, values in scores.items()}
    return Badge(method, joined, of.limits, all(one.empty for one in badges))

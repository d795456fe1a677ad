"""Explanations of Keras networks for music.

`attribution` holds the methods that assign relevance to the input, `metrics` measures how far a map can be trusted, and
`application` explains whole songs. `relevance` works with any Functional or Sequential Keras model, not only with those
of this package. Names are loaded when they are first used, so that metrics alone do not load TensorFlow.
"""

from importlib import import_module

_NAMES = {
    "METHODS": "attribution.explainer",
    "Explainer": "attribution.explainer",
    "logits": "attribution.explainer",
    "relevance": "attribution.explainer",
    "Explanation": "attribution.explanation",
    "ConservationReport": "attribution.conservation",
    "RULES": "attribution.rules",
    "edge_share": "metrics.edges",
    "Shares": "attribution.registry",
    "register_rule": "attribution.registry",
}
_MODULES = {
    "rules": "attribution",
    "badge": "metrics",
    "faithfulness": "metrics",
    "localisation": "metrics",
    "randomisation": "metrics",
    "sanity": "metrics",
    "evidence": "application",
    "page": "application",
    "system": "application",
}

__all__ = [*_NAMES, *_MODULES]


def __getattr__(name: str):
    if name in _MODULES:
        return import_module(f"musictools.explain.{_MODULES[name]}.{name}")
    if name not in _NAMES:
        raise AttributeError(f"musictools.explain has no {name!r}")
    thing = getattr(import_module(f"musictools.explain.{_NAMES[name]}"), name)
    globals()[name] = thing
    return thing

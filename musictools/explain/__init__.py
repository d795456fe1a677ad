"""Explanations of Keras networks that listen to music: relevance, its accounts, its tests, and how it sounds.

`relevance` works with any Functional or Sequential Keras model, not only with those of the suite. Names are loaded when
they are first used, so that metrics alone do not load TensorFlow.
"""

from importlib import import_module

_HOMES = {
    "METHODS": "explainer", "Explainer": "explainer", "logits": "explainer", "relevance": "explainer",
    "Explanation": "explanation", "Ledger": "ledger",
    "RULES": "rules",
}

__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"musictools.explain has no {name!r}")
    found = getattr(import_module(f"musictools.explain.{_HOMES[name]}"), name)
    globals()[name] = found
    return found

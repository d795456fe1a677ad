"""Explanations of Keras networks that listen to music: relevance, its accounts, its tests, and how it sounds.

`relevance` works with any Functional or Sequential Keras model, not only with those of the suite. Names are loaded when
they are first used, so that metrics alone do not load TensorFlow.
"""

from importlib import import_module

_HOMES = {"METHODS": "explainer", "Explainer": "explainer", "logits": "explainer", "relevance": "explainer",
          "Explanation": "explanation", "Ledger": "ledger", "RULES": "rules"}
_MODULES = ("badge", "evidence", "faithfulness", "localisation", "page", "randomised", "rules", "sanity", "sources",
            "survey", "system", "voices")

__all__ = [*_HOMES, *_MODULES]


def __getattr__(name):
    if name in _MODULES:
        return import_module(f"musictools.explain.{name}")
    if name not in _HOMES:
        raise AttributeError(f"musictools.explain has no {name!r}")
    found = getattr(import_module(f"musictools.explain.{_HOMES[name]}"), name)
    globals()[name] = found
    return found

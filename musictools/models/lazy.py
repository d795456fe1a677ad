"""Modules that are imported when they are first used.

Listing models and their front ends must not load TensorFlow, which takes seconds. Modules that define models therefore
take `keras` and `layers` from here instead of importing them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["LazyModule", "keras", "layers"]


class LazyModule:
    """Stand-in for a module, which is imported when one of its attributes is first read.

    Parameters
    ----------
    name : str
        Full name of the module.

    Examples
    --------
    >>> LazyModule("math").sqrt(9)
    3.0
    """

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__"):  # inspection is no use
            raise AttributeError(attribute)
        return getattr(import_module(self._name), attribute)


keras, layers = LazyModule("keras"), LazyModule("keras.layers")

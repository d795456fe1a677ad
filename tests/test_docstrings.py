"""Docstrings of everything that the package exports: numpydoc's rules hold, and every example runs."""

import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pandas as pd
import pytest
from numpydoc import validate

import musictools

# Rules of layout that the project does not follow (the first line stands beside the quotes; no extended summary or See
# Also is forced) and rules that misread types with shapes.
IGNORED = {
    "ES01",
    "EX01",
    "SA01",
    "SA04",
    "GL01",
    "GL02",
    "GL08",
    "SS05",
    "SS06",
    "RT02",
    "RT03",
    "RT04",
    "RT05",
    "PR04",
    "PR05",
    "PR06",
    "PR07",
    "PR08",
    "PR09",
    "PR10",
    "YD01",
}
MODULES = sorted(
    m.name for m in pkgutil.walk_packages(musictools.__path__, "musictools.") if not m.name.endswith("__main__")
)


def exported(name):
    """Names of what a module exports and defines itself."""
    module = importlib.import_module(name)
    for key in getattr(module, "__all__", ()):
        thing = getattr(module, key)
        if (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__ == name:
            yield f"{name}.{key}"
            if inspect.isclass(thing):
                yield from (
                    f"{name}.{key}.{n}"
                    for n, f in vars(thing).items()
                    if not n.startswith("_") and (inspect.isfunction(f) or isinstance(f, classmethod))
                )


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_follow_numpydoc(name):
    faults = [
        f"{thing}: {code} {text}"
        for thing in exported(name)
        for code, text in validate.validate(thing)["errors"]
        if code not in IGNORED
    ]
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(module, extraglobs={"np": np, "pd": pd}, optionflags=flags, report=False)
    assert not result.failed

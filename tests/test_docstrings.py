"""Docstrings of everything that the package exports: numpydoc's rules hold, and every example runs."""

import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pandas as pd
import pytest
from numpydoc import docscrape, validate

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
                    if f.__doc__ or not inherits_documentation(thing, n)
                )


def inherits_documentation(cls, method):
    """Whether a method overrides one that its base class documents, or one of another library."""
    overridden = [(base, getattr(base, method)) for base in cls.__mro__[1:] if hasattr(base, method)]
    return any(f.__doc__ or not base.__module__.startswith("musictools") for base, f in overridden)


def undocumented_parameters(cls):
    """Parameters of a constructor that are in no section Parameters or Attributes of the class or its base classes."""
    documented = {
        name.strip("* ")
        for base in cls.__mro__[:-1]
        for section in ("Parameters", "Attributes")
        for names, *_ in docscrape.NumpyDocString(inspect.cleandoc(base.__doc__ or ""))[section]
        for name in names.split(",")
    }
    return sorted(set(inspect.signature(cls).parameters) - documented)


def faults(thing):
    """Codes and texts of the rules that a docstring breaks."""
    checked = validate.validate(thing)
    for code, text in checked["errors"]:
        if code in IGNORED:
            continue
        if code == "PR01" and checked["type"] == "type":
            missing = undocumented_parameters(validate.Validator._load_obj(thing))
            if not missing:
                continue
            text = f"Parameters {', '.join(missing)} not documented"
        yield f"{thing}: {code} {text}"


@pytest.mark.parametrize("name", MODULES)
def test_docstrings_follow_numpydoc(name):
    broken = [fault for thing in exported(name) for fault in faults(thing)]
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    result = doctest.testmod(module, extraglobs={"np": np, "pd": pd}, optionflags=flags, report=False)
    assert not result.failed

"""What the commands share: types of arguments, and where a model that is named lies."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from musictools import runs

__all__ = ["model_file", "named_values", "positive"]


def positive(text: str) -> int:
    """Read a positive number.

    Parameters
    ----------
    text : str

    Returns
    -------
    number : int

    Raises
    ------
    argparse.ArgumentTypeError
        If it is no positive int.

    Examples
    --------
    >>> positive("8")
    8
    """
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f"must be a positive int. Got {text!r}.")
    return int(text)


def model_file(name: str, *, notebook: str = "03") -> Path:
    """Find the file of a model.

    Parameters
    ----------
    name : str
        A path, the name of a released network, or that of a model of the profile demo.
    notebook : str
        Number of the notebook that makes such models, for the message.

    Returns
    -------
    path : Path

    Raises
    ------
    ValueError
        If there is no such file.

    Examples
    --------
    >>> model_file("unheard-of.keras", notebook="02")
    Traceback (most recent call last):
        ...
    ValueError: unheard-of.keras: no such model. Make one with: musictools rebuild --profile demo --only 02
    """
    from musictools import released

    if name in released.names():
        return released.find(name)
    path, folder = Path(name).expanduser(), runs.root() / "outputs" / "demo" / "models"
    if path.suffix != ".keras" and path.name == name:
        path = folder / f"{name}.keras"
    if not path.is_file():
        others = "; released networks: musictools models list" if notebook == "03" else ""
        make = f"musictools rebuild --profile demo --only {notebook}"
        there = ", ".join(sorted(model.stem for model in folder.glob("*.keras")))
        made = f". Made already: {there}" if there else ""
        raise ValueError(f"{path}: no such model. Make one with: {make}{others}{made}")
    return path


def named_values(texts: Iterable[str]) -> dict[str, Any]:
    """Read arguments of the form name=value.

    Parameters
    ----------
    texts : iterable of str

    Returns
    -------
    values : dict of str to object

    Examples
    --------
    >>> named_values(["epochs=3", "name=a"])
    {'epochs': 3, 'name': 'a'}
    """
    return dict(runs.settings.from_command_line(text) for text in texts)

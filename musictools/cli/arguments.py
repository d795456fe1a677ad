"""What the commands share: types of arguments."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any

from musictools import runs

__all__ = ["named_values", "positive"]


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

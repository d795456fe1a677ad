"""Tabs that a screen reader knows as such; their script lies beside this file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anywidget
import traitlets

__all__ = ["Tabs"]


class Tabs(anywidget.AnyWidget):
    """Views of which one is chosen.

    Parameters
    ----------
    options : sequence of (str, str)
        Text and key of every view; the first one is chosen.
    label : str
        What is chosen, for screen readers.

    Attributes
    ----------
    value : str
        Key of the chosen view.

    Examples
    --------
    >>> Tabs([("One", "1"), ("Two", "2")], label="Views").value
    '1'
    """

    _esm = Path(__file__).with_name("tabs.js")
    options = traitlets.List().tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)
    value = traitlets.Unicode("").tag(sync=True)

    def __init__(self, options: Sequence[tuple[str, str]], *, label: str):
        super().__init__(options=[list(option) for option in options], label=label, value=options[0][1])

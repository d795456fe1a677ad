"""A widget that plays clips and asks whether a tag is true of them; its script lies beside this file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

from musictools.annotation import Session
from musictools.explorer.player import flac

__all__ = ["Annotator"]


class Annotator(anywidget.AnyWidget):
    """Ask the questions of a session, with buttons and with the keys Y, N, U, B (back) and space (play).

    Parameters
    ----------
    session : Session
    load : callable
        From a clip to its waveform and sampling rate, such as the method ``audio`` of a data set.

    Attributes
    ----------
    question : str
        Empty if none is left.
    progress : str
    sound : bytes
        FLAC.

    Examples
    --------
    >>> Annotator(annotation.Session("answers.csv", asked), data.audio)  # doctest: +SKIP
    """

    _esm = Path(__file__).with_name("annotator.js")
    question = traitlets.Unicode("").tag(sync=True)
    progress = traitlets.Unicode("").tag(sync=True)
    sound = traitlets.Bytes(b"").tag(sync=True)

    def __init__(self, session: Session, load: Callable[[Any], tuple[np.ndarray, int]]):
        super().__init__()
        self._session, self._load = session, load
        self.on_msg(lambda _, message, __: self.press(message.get("pressed", "")))
        self._show()

    def press(self, name: str) -> None:
        """What a button or key does.

        Parameters
        ----------
        name : str
            ``"yes"``, ``"no"``, ``"unsure"`` or ``"back"``; after the last question only the last one.
        """
        if name == "back":
            self._session.back()
        elif self._session.current is not None:
            self._session.answer(name)
        self._show()

    def _show(self):
        done, total = self._session.progress
        with self.hold_sync():
            self.progress = f"{done} of {total}"
            if self._session.current is None:
                self.question, self.sound = "", b""
                return
            clip, tag = self._session.current
            y, sr = self._load(clip)
            self.question, self.sound = f"Is “{tag}” true of this clip?", flac(y, sr=sr)

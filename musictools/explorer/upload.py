"""Uploads: one anywidget that refuses wrong files in the browser and sends the others in pieces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

from musictools.explorer import songs
from musictools.explorer.work import ExplorerError

__all__ = ["Upload"]


class Upload(anywidget.AnyWidget):
    """A button and a place to drop a file.

    Name and size are checked before anything is sent. Pieces of 4 MB fit into a message of every Jupyter server.

    Parameters
    ----------
    received : callable
        Called with the name and the bytes of a file.
    failed : callable
        Called with a sentence about a file that is refused.
    ready : callable
        Called when the button is shown.

    Attributes
    ----------
    sent : float in [0, 1]
        Share of the file that has arrived.
    """

    _esm = Path(__file__).with_name("upload.js")
    suffixes = traitlets.List(list(songs.SUFFIXES)).tag(sync=True)
    most = traitlets.Int(songs.MAX_BYTES).tag(sync=True)
    sent = traitlets.Float(1.0).tag(sync=True)

    def __init__(
        self,
        *,
        received: Callable[[str, bytes], None],
        failed: Callable[[str], None],
        ready: Callable[[], None] = lambda: None,
    ):
        super().__init__()
        self._received, self._failed, self._ready = received, failed, ready
        self._name, self._size, self._pieces = "", 0, bytearray()
        self.on_msg(self._message)

    def _message(self, _, content, buffers):
        kind = content.get("kind") if isinstance(content, dict) else None
        if kind == "ready":
            self._ready()
        elif kind == "refused":
            self._failed(str(content.get("text", "")))
        elif kind == "begin":
            size = content.get("size", 0)
            self._begin(str(content.get("name", "")), size if isinstance(size, int) else 0)
        elif kind == "piece" and self._name:
            self._pieces += b"".join(bytes(piece) for piece in buffers)
            self._arrived()

    def _begin(self, name, size):
        self._name, self._size, self._pieces = "", size, bytearray()
        try:
            songs.check(name, size)
        except ExplorerError as error:
            self._failed(str(error))
        else:
            self._name, self.sent = name, 0.0

    def _arrived(self):
        if len(self._pieces) < self._size:
            self.sent = len(self._pieces) / self._size
            return
        name, content = self._name, bytes(self._pieces[: self._size])
        self._name, self._pieces, self.sent = "", bytearray(), 1.0
        self._received(name, content)

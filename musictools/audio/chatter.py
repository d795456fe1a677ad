"""What decoders written in C print on the standard error of the process, kept from the user.

libmpg123, which libsndfile uses for MP3, prints a line for each fault of a file, whatever its caller does. The caller
gets an error or shorter audio anyway, and says so in one sentence.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator

__all__ = ["silenced"]

_CHATTER = re.compile(
    rb"(\[[^\]\n]*libmpg123[^\]\n]*\].*|(Note|Warning|Error): .*"
    rb"(MPEG|[Rr]esync|Skipped|Xing|ID3|stream|frame|header|free format|bit ?rate).*)?"
)
_LOCK = threading.Lock()
_kept: list = []  # one entry for every thread inside: (standard error, temporary file), the same for all


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Drop decoders' messages that are printed in the block; pass everything else on when it ends.

    Threads may enter at the same time. What other threads print meanwhile comes late, and is not lost.

    Examples
    --------
    >>> with silenced():
    ...     pass
    """
    entered = _enter()
    try:
        yield
    finally:
        if entered:
            _leave()


def _enter():
    with _LOCK:
        try:
            if not _kept:
                _flush()
                _kept.append(_redirected())
            else:
                _kept.append(_kept[0])
        except OSError:  # a process without standard error, or without a place for temporary files
            return False
    return True


def _redirected():
    kept = os.dup(2)
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `_leave`
        os.dup2(file.fileno(), 2)
    except OSError:
        os.close(kept)
        raise
    return kept, file


def _leave():
    with _LOCK:
        kept, file = _kept.pop()
        if _kept:
            return
        _flush()
        os.dup2(kept, 2)
        with file:
            file.seek(0)
            others = [line for line in file if not _CHATTER.fullmatch(line.rstrip(b"\r\n"))]
        with contextlib.suppress(OSError):
            os.write(kept, b"".join(others))
        os.close(kept)


def _flush():
    with contextlib.suppress(OSError, ValueError, AttributeError):  # it may be closed or None
        sys.stderr.flush()

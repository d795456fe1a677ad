"""Importing Keras for a command: without what no command needs, and without TensorFlow's messages."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

__all__ = ["import_keras"]


def import_keras() -> None:
    """Import Keras and TensorFlow before anything else does.

    Keras imports scikit-learn and matplotlib for its wrappers and galleries, which takes a fifth of the time; commands
    need neither. While TensorFlow loads, it writes lines on processors and GPUs to the standard error, whatever
    ``TF_CPP_MIN_LOG_LEVEL`` says; they are dropped. An error of the import is raised as usual.

    Examples
    --------
    >>> import_keras()
    """
    if "tensorflow" in sys.modules:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for messages that come later
    unused = {name for name in ("matplotlib.pyplot", "sklearn") if name not in sys.modules}
    sys.modules |= dict.fromkeys(unused)  # importing a module that is None here fails, which Keras allows for
    try:
        with _no_standard_error():
            import keras  # noqa: F401
    finally:
        for name in unused:
            del sys.modules[name]


@contextmanager
def _no_standard_error():
    """Drop what the process, libraries in C included, writes to its standard error."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)

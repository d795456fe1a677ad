"""Files: written whole or not at all, read within limits, found only inside their folder."""

import os
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic", "remove_stale"]

_TEMPORARY = ".tmp-"


@contextmanager
def atomic(path):
    """Give a temporary path to write to, and move it to `path` when the block ends well.

    Parameters
    ----------
    path : str or Path
        Final place. Its folder is made when missing.

    Yields
    ------
    temporary : Path
        In the same folder, with the same suffix. Removed when the block raises.

    Examples
    --------
    >>> with atomic("model.keras") as temporary:  # doctest: +SKIP
    ...     model.save(temporary)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_stale(folder):
    """Remove temporary files below `folder` whose writer is gone."""
    for path in Path(folder).rglob(_TEMPORARY + "*"):
        writer = path.name.removeprefix(_TEMPORARY).split("-")[0]
        if path.is_file() and not (writer.isdigit() and _alive(int(writer))):
            path.unlink(missing_ok=True)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

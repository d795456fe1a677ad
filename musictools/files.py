"""Files: written completely or not at all, read within limits of size, and only from inside their folder."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loaded where it is needed: what rebuilds notebooks imports this module and has to start fast
    import numpy as np

__all__ = ["atomic", "atomic_folder", "fingerprint", "inside", "locked", "read_npz", "remove_stale"]

_TEMPORARY = ".tmp-"


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Give a temporary path to write to, and move it to `path` when the block ends well.

    Parameters
    ----------
    path : str or Path
        Final place. Its folder is made when missing.

    Yields
    ------
    temporary : Path
        In the same folder, with the same suffix. Removed when the block raises.

    See Also
    --------
    atomic_folder : The same for folders.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> with atomic(Path(folder.name) / "notes.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> [path.name for path in Path(folder.name).iterdir()]
    ['notes.txt']
    >>> folder.cleanup()
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: str | Path) -> Iterator[Path]:
    """Give the path of a temporary folder to fill, and move it to `folder` when the block ends well.

    Parameters
    ----------
    folder : str or Path
        Final place. If another process has made a folder there by then, that one stays.

    Yields
    ------
    temporary : Path
        Beside `folder`; not there yet. Removed when the block raises.

    See Also
    --------
    atomic : The same for files.

    Examples
    --------
    >>> with atomic_folder("maps.zarr") as temporary:  # doctest: +SKIP
    ...     zarr.open_group(temporary, mode="w")
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        yield temporary
        try:
            os.replace(temporary, folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Let one process at a time into the block; others wait. The system frees the lock of a process that ends.

    Parameters
    ----------
    path : str or Path
        What is written or built in the block. The lock is a hidden file beside it. Where that cannot be written,
        nothing can be built either, and the block is entered without a lock.

    Examples
    --------
    >>> with locked("maps.zarr"):  # doctest: +SKIP
    ...     build("maps.zarr")
    """
    path = Path(path)
    try:
        import fcntl

        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path.with_name(f".{path.name}.lock"), "a", encoding="utf-8")  # noqa: SIM115 - closed below
    except (ImportError, OSError):
        yield
        return
    with file:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove_stale(folder: str | Path) -> None:
    """Remove temporary files and folders below `folder` whose writer is gone.

    Parameters
    ----------
    folder : str or Path

    See Also
    --------
    atomic : Writes the temporary files.
    """
    for path in list(Path(folder).rglob(_TEMPORARY + "*")):
        writer = path.name.removeprefix(_TEMPORARY).split("-")[0]
        if writer.isdigit() and _alive(int(writer)):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def inside(folder: str | Path, relative: str | Path) -> Path:
    """Path of a file that a table names, which must lie in the table's folder.

    Parameters
    ----------
    folder : str or Path
    relative : str or Path
        As the table names it; Windows paths are checked as well.

    Returns
    -------
    path : Path

    Raises
    ------
    ValueError
        If `relative` is empty, absolute or leaves the folder with ``..``.

    Examples
    --------
    >>> inside("songs", "rock/a.mp3").as_posix()
    'songs/rock/a.mp3'
    >>> inside("songs", "../secret.txt")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    ValueError: '../secret.txt' must be relative and stay in its folder, without '..'. ...
    """
    text = str(relative)
    if not text or text.startswith(("/", "\\")) or PureWindowsPath(text).drive or ".." in re.split(r"[/\\]", text):
        raise ValueError(
            f"{text!r} must be relative and stay in its folder, without '..'. Files elsewhere can be linked into it."
        )
    return Path(folder) / text


def read_npz(path: str | Path, *, max_bytes: int = 2**30) -> dict[str, np.ndarray]:
    """Read the arrays of an ``.npz`` file, never pickles, and only if they are small enough once unpacked.

    Parameters
    ----------
    path : str or Path
    max_bytes : int > 0
        Size of all arrays together. A small file can unpack to any size.

    Returns
    -------
    arrays : dict of str to np.ndarray

    Raises
    ------
    ValueError
        If the file is no ``.npz`` or too large.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(Path(folder) / "labels.npz", clip=["a", "b"])
    ...     read_npz(Path(folder) / "labels.npz")["clip"].tolist()
    ['a', 'b']
    """
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size <= max_bytes:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            if other := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
                raise ValueError(f"{other[0]} is no array")
            return arrays
    # What numpy and zipfile raise for damaged files; memory runs out where an array claims an impossible shape.
    except (
        OSError,
        ValueError,
        EOFError,
        AttributeError,
        TypeError,
        KeyError,
        MemoryError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise ValueError(f"{path}: not an .npz file ({error}).") from None
    raise ValueError(f"{path}: its arrays have {size:,} bytes, more than the {max_bytes:,} allowed.")


def fingerprint(path: str | Path) -> str:
    """Size of a file and a checksum over samples of its bytes; equal files have equal ones.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    fingerprint : str
        ``"absent"`` where the file cannot be read.

    Examples
    --------
    >>> fingerprint("no such file")
    'absent'
    """
    try:
        size = Path(path).stat().st_size
        with Path(path).open("rb") as file:
            crc = 0
            for place in (0, size // 2, size - 4096):  # a silent end alone tells nothing
                file.seek(max(0, place))
                crc = zlib.crc32(file.read(4096), crc)
            return f"{size} {crc}"
    except OSError:
        return "absent"


def _beside(path):
    return path.with_name(f"{_TEMPORARY}{os.getpid()}-{path.name}")


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""Files: written completely or not at all, read within limits of size, and only from inside their folder."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:  # loaded where it is needed: what rebuilds notebooks imports this module and has to start fast
    import numpy as np
    import pandas as pd

__all__ = [
    "atomic",
    "atomic_folder",
    "file_digest",
    "fingerprint",
    "inside",
    "locked",
    "read_npz",
    "read_table",
    "read_text",
    "remove_folder",
    "remove_stale",
    "save_model",
]

_TEMPORARY = ".tmp-"
_MOST_COLUMNS, _LONGEST_LINE = 10_000, 2**20  # of a table
_HOST = f"{zlib.crc32(platform.node().encode()):08x}"  # folders may be shared: process ids mean nothing elsewhere
_WRITER = re.compile(r"\.tmp-(?P<pid>\d+)-(?:(?P<host>[0-9a-f]{8})-)?")


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
        In the same folder, with the same suffix. Removed when the block raises. What a killed process left there is
        removed by the next process that writes into the folder.

    Raises
    ------
    OSError
        If the file cannot be written; the message names `path`, also where that of the system names no file.

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
    _tidy_once(path.parent, os.getpid())
    temporary = _beside(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        _name_file(error, temporary, path)
        raise
    finally:
        with suppress(OSError):  # there is nothing to remove, or the disk cannot be written
            temporary.unlink()


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
    _tidy_once(folder.parent, os.getpid())
    temporary = _beside(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        yield temporary
        try:
            os.replace(temporary, folder)
        except OSError:
            if not folder.is_dir():
                raise
    except OSError as error:
        _name_file(error, temporary, folder)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def locked(path: str | Path) -> Iterator[bool]:
    """Let one process at a time into the block; others wait. The system frees the lock of a process that ends.

    Parameters
    ----------
    path : str or Path
        What is written or built in the block. The lock is a hidden file beside it. Where that cannot be written,
        nothing can be built either, and the block is entered without a lock.

    Yields
    ------
    alone : bool
        False: there is no lock, so that other processes may be in the block as well.

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
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            alone = True
        except OSError:  # some network file systems have no locks
            alone = False
        yield alone


def remove_folder(folder: str | Path) -> None:
    """Remove a folder with all that it holds; a removal that is killed leaves no half folder at its place.

    Parameters
    ----------
    folder : str or Path

    See Also
    --------
    atomic_folder : Makes a folder as a whole.
    """
    folder = Path(folder)
    aside = _beside(folder)
    folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def save_model(path: str | Path, model: Any) -> None:
    """Save a Keras model, complete or not at all, with equal bytes for equal models.

    Parameters
    ----------
    path : str or Path
        Ends in ``.keras``.
    model : keras.Model

    Notes
    -----
    Keras writes the time into the file; here it is always the first one that a zip archive can hold. It tells objects
    that layers share by their addresses in memory; here they are numbered. The optimiser is left out: its state depends
    on whether a training was interrupted, and takes twice the space of the weights.
    """
    optimizer = getattr(model, "optimizer", None)
    with atomic(path) as temporary:
        try:
            if optimizer is not None:
                model.optimizer = None
            model.save(temporary)
        finally:
            if optimizer is not None:
                model.optimizer = optimizer
        with zipfile.ZipFile(temporary) as saved, atomic(temporary) as whole, zipfile.ZipFile(whole, "w") as archive:
            for member in saved.infolist():
                same = zipfile.ZipInfo(member.filename)
                same.file_size = member.file_size  # more than 2 GiB need another header
                with saved.open(member) as source, archive.open(same, "w") as target:
                    if member.filename == "metadata.json":
                        metadata = json.load(source) | {"date_saved": "1980-01-01@00:00:00"}
                        target.write(json.dumps(metadata).encode())
                    elif member.filename == "config.json":
                        config = _numbered(json.load(source) | {"compile_config": None}, {})
                        target.write(json.dumps(config).encode())
                    else:
                        shutil.copyfileobj(source, target, 2**20)


def _numbered(config, numbers):
    """A model's configuration with shared objects numbered in the order in which they appear."""
    if isinstance(config, list):
        return [_numbered(value, numbers) for value in config]
    if not isinstance(config, dict):
        return config
    return {
        key: numbers.setdefault(value, len(numbers)) if key == "shared_object_id" else _numbered(value, numbers)
        for key, value in config.items()
    }


def remove_stale(folder: str | Path, *, below: bool = True) -> None:
    """Remove temporary files and folders whose writer, a process of this machine, is gone.

    Parameters
    ----------
    folder : str or Path
    below : bool
        Also look in the folders below.

    See Also
    --------
    atomic : Writes the temporary files.
    """
    for path in list(getattr(Path(folder), "rglob" if below else "glob")(_TEMPORARY + "*")):
        writer = _WRITER.match(path.name)
        if writer and (writer["host"] not in (None, _HOST) or _alive(int(writer["pid"]))):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()


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
    outside = text.startswith(("/", "\\")) or PureWindowsPath(text).drive or ".." in re.split(r"[/\\]", text)
    if not text or "\0" in text or outside:
        raise ValueError(
            f"{text[:100]!r} must be relative and stay in its folder, without '..'. "
            "Files elsewhere can be linked into it."
        )
    return Path(folder) / text


def read_npz(path: str | Path | BinaryIO, *, max_bytes: int = 2**30) -> dict[str, np.ndarray]:
    """Read the arrays of an ``.npz`` file, never pickles, and only if they are small enough once unpacked.

    Parameters
    ----------
    path : str, Path or binary file
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

    source = path if isinstance(path, str | Path) else "the content"
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size <= max_bytes:
            with np.load(path, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            for name, array in arrays.items():
                if not isinstance(array, np.ndarray):
                    raise ValueError(f"{name} is no array")
                if not _is_text(array):
                    raise ValueError(f"{name} holds characters that do not exist")
            return arrays
    # zipfile, numpy and the codecs raise nearly anything for damaged files; memory runs out where an array claims an
    # impossible shape.
    except Exception as error:  # noqa: BLE001
        raise ValueError(f"{source}: not an .npz file ({_line(error)}).") from None
    raise ValueError(f"{source}: its arrays have {size:,} bytes, more than the {max_bytes:,} allowed.")


def read_text(path: str | Path, *, max_bytes: int = 2**26) -> str:
    """Read a file of text in UTF-8, with or without a byte order mark, if it is not too large.

    Parameters
    ----------
    path : str or Path
    max_bytes : int > 0

    Returns
    -------
    text : str

    Raises
    ------
    ValueError
        If the file is larger, or is no text in UTF-8.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.txt").write_text("words", encoding="utf-8-sig")
    ...     read_text(Path(folder, "a.txt"))
    'words'
    """
    path = Path(path)
    size = path.stat().st_size
    if size > max_bytes:
        raise ValueError(f"{path}: has {size:,} bytes, more than the {max_bytes:,} allowed.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: cannot be read as text in UTF-8 ({error}).") from None


def read_table(path: str | Path, *, kind: str = "a comma separated table", **options: Any) -> pd.DataFrame:
    r"""Read a table of text with at most 10,000 columns.

    Parameters
    ----------
    path : str or Path
    kind : str
        What the file should be, for messages.
    **options
        As for ``pd.read_csv``.

    Returns
    -------
    table : pd.DataFrame

    Raises
    ------
    ValueError
        If the file is no such table, or its first line has more than 10,000 columns.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a.csv").write_text("clip,genre\na.mp3,rock\n")
    ...     read_table(Path(folder, "a.csv"))["genre"].to_list()
    ['rock']
    """
    import pandas as pd

    with Path(path).open("rb") as file:
        first = file.readline(_LONGEST_LINE + 1)
    columns = 1 + first.count(options.get("sep", ",").encode())
    if len(first) > _LONGEST_LINE or columns > _MOST_COLUMNS:
        many = "more" if len(first) > _LONGEST_LINE else f"{columns:,}"
        raise ValueError(f"{path}: not {kind}. Its first line has {many} columns, at most {_MOST_COLUMNS:,} are read.")
    try:
        return pd.read_csv(path, **options)
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 - pandas has many errors of its own, and passes on those of NumPy
        raise ValueError(f"{path}: not {kind} ({_line(error)}).") from None


def _is_text(array):
    """Whether every character of an array of texts exists; Python fails in odd ways where one does not."""
    if array.dtype.kind != "U" or array.size * array.dtype.itemsize == 0:
        return True
    characters = array.reshape(-1).view(f"{array.dtype.byteorder.replace('=', '')}u4")
    return bool(characters.max() <= 0x10FFFF)


def _line(error):
    """Message of an error on one line, cut where it shows too much of a file."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:300]} …"


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    digest : str
        64 hexadecimal digits.

    See Also
    --------
    fingerprint : A faster checksum of large files.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    return path.with_name(f"{_TEMPORARY}{os.getpid()}-{_HOST}-{path.name}")


@functools.lru_cache(maxsize=1024)
def _tidy_once(folder, _):
    """Remove what killed processes left in a folder, when a process first writes there: listing a folder takes time."""
    remove_stale(folder, below=False)


def _name_file(error, temporary, path):
    """Let an error of the system name the file that the user knows."""
    if not isinstance(error, OSError) and type(error).__module__ != "soundfile":
        return
    if getattr(error, "errno", None) is None and type(error).__module__ in (
        "builtins",
        "soundfile",
    ):  # a library's words
        raise OSError(f"{path} cannot be written: {error}") from None
    if error.filename is None or Path(os.fsdecode(error.filename)).is_relative_to(temporary):
        raise OSError(error.errno, error.strerror, str(path)) from None


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""Results of long computations, kept under the hash of everything that they depend on."""

import hashlib
import io
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from musictools.files import atomic, remove_folder, remove_stale

from .manifests import file_digest, package_digest

__all__ = ["PROGRESS", "cached"]

PROGRESS = "progress"  # where a computation keeps what a killed one takes up again
_DIGEST = 32  # bytes


def cached(
    compute: Callable[[Path | None], Any],
    *,
    folder: str | Path | None,
    name: str,
    depends_on: object,
    check: Callable[[Any], Any] | None = None,
) -> Any:
    """Compute something, or read the result of an earlier call with the same dependences.

    Parameters
    ----------
    compute : callable
        Function of a folder (Path, or None), where it may keep files that belong to the result, and its progress in
        the folder `PROGRESS`, which is removed once the result is on disk.
    folder : str, Path or None
        Where results are kept; None: nothing is kept.
    name : str
        Start of the name of the result's folder, for people who look there.
    depends_on : object
        Plain values (nested dicts, sequences, numbers, text); their ``repr`` and the package's source make the key.
    check : callable or None
        Takes a result that was read, returns it or a copy, and raises if it is not valid.

    Returns
    -------
    result : object
        What `compute` returned, now or before.

    Warns
    -----
    UserWarning
        If a file of the result does not fit its checksum, or the result is not valid. It is computed again.

    Examples
    --------
    >>> cached(lambda folder: 6 * 7, folder=None, name="answer", depends_on={"a": 6, "b": 7})
    42
    """
    import joblib

    if folder is None:
        return compute(None)
    key = hashlib.sha256(repr((depends_on, package_digest())).encode()).hexdigest()[:12]
    place = Path(folder) / f"{name}-{key}"
    done = place / "result.joblib"
    if done.is_file():
        try:
            result = _read(done) if check is None else check(_read(done))
        except Exception as error:  # what joblib and `check` raise depends on where the file is damaged
            cause = " ".join(str(error).split())
            warnings.warn(f"{done} is damaged ({cause}). The result is computed again.", stacklevel=2)
            remove_folder(place)
        else:
            shutil.rmtree(place / PROGRESS, ignore_errors=True)  # left by a process that was killed at the end
            return result
    remove_stale(place)
    result = compute(place)
    buffer = io.BytesIO()
    joblib.dump((result, _digests(place)), buffer)
    with atomic(done) as temporary:
        temporary.write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())
    shutil.rmtree(place / PROGRESS, ignore_errors=True)
    return result


def _read(done):
    """A result whose files are as they were when it was written."""
    import joblib

    content = done.read_bytes()
    if hashlib.sha256(content[:-_DIGEST]).digest() != content[-_DIGEST:]:
        raise ValueError("it does not fit its checksum")
    result, digests = joblib.load(io.BytesIO(content[:-_DIGEST]))
    there = _digests(done.parent)
    for name, known in digests.items():
        if there.get(name) != known:
            raise ValueError(f"{name} {'does not fit its checksum' if name in there else 'is missing'}")
    return result


def _digests(place):
    """SHA-256 of the files that belong to a result."""
    paths = [path for path in sorted(place.rglob("*")) if path.is_file() and path.name != "result.joblib"]
    names = {path.relative_to(place).as_posix(): path for path in paths if PROGRESS not in path.parts}
    return {name: file_digest(path) for name, path in names.items()}

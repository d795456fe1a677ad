"""Results of long computations, kept under the hash of everything that they depend on."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from musictools.files import atomic

from .manifests import package_digest

__all__ = ["cached"]


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
        Function of a folder (Path, or None), where it may keep its progress and files that belong to the result.
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

    Raises
    ------
    ValueError
        If the file of a result is damaged.

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
            result = joblib.load(done)
            return result if check is None else check(result)
        except Exception as error:  # what joblib raises depends on where the file is damaged
            raise ValueError(f"{done} is damaged. Delete it to compute it again. The cause: {error!r}.") from error
    result = compute(place)
    with atomic(done) as temporary:
        joblib.dump(result, temporary)
    return result

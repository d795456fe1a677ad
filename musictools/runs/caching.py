"""Results of long computations, kept under the hash of everything that they depend on."""

import hashlib
from pathlib import Path

from musictools.files import atomic

from .manifests import package_digest

__all__ = ["cached"]


def cached(compute, *, folder, name, depends_on):
    """Compute something, or read what an earlier call with the same dependences left.

    Parameters
    ----------
    compute : callable
        Takes a folder (Path, or None) for progress and files that belong to the result; returns the result.
    folder : str, Path or None
        Where results are kept; None: nothing is kept.
    name : str
        Begins the result's folder, for people who look there.
    depends_on : object
        Plain values (nested dicts, sequences, numbers, text); their ``repr`` and the package's source make the key.

    Returns
    -------
    result : object
    """
    import joblib

    if folder is None:
        return compute(None)
    key = hashlib.sha256(repr((depends_on, package_digest())).encode()).hexdigest()[:12]
    place = Path(folder) / f"{name}-{key}"
    done = place / "result.joblib"
    if done.is_file():
        return joblib.load(done)
    result = compute(place)
    with atomic(done) as part:
        joblib.dump(result, part)
    return result

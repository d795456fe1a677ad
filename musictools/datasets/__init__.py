"""Data sets by name: tables in memory, audio on disk, splits, validation.

``load("composed")`` works on any machine: the corpus is composed and rendered on the first call. All others are read
from a folder in their official layout. Every module of this package may define data sets: subclasses of `Dataset` with
a `name` are known without being listed anywhere.
"""

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

from musictools import runs
from musictools.datasets.base import Dataset
from musictools.datasets.splits import leakage

__all__ = ["Dataset", "available", "leakage", "load"]


def available() -> dict[str, str]:
    """Data sets that `load` knows.

    Returns
    -------
    available : dict of str to str
        Name -> one-line description, in alphabetical order.

    Examples
    --------
    >>> available()["mir1k"]
    'karaoke clips of 4–13 s with voice and accompaniment apart (MIR-1K)'
    """
    return {name: cls.description for name, cls in _classes().items()}


def load(name: str, *, data_dir: str | Path = "", **options: Any) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    name : str
        One of `available()`.
    data_dir : str or Path
        Its folder; empty: ``<name>`` in `musictools.runs.data_home()` or in `musictools.runs.shared_data()`.
        For `composed`: where it is built.
    **options
        `composed` takes ``n_clips``, ``seed`` and ``workers``; `fma` ``subset``; `mtg_jamendo` ``subset`` and
        ``split_number``; `million_song` ``top``, ``min_weight`` and ``path_template``.

    Returns
    -------
    data : Dataset

    Raises
    ------
    ValueError
        If the name or an option is unknown, or the folder does not hold the data set; the message says where to get
        it.

    See Also
    --------
    available : The names.
    musictools.spectrograms.open_store : The spectrograms of a data set.

    Examples
    --------
    >>> data = load("composed", n_clips=4)  # doctest: +SKIP
    >>> y, sr = data.audio(data.tracks.index[0])  # doctest: +SKIP
    >>> data.split("random", shares={"train": 0.5, "test": 0.5})  # doctest: +SKIP
    """
    classes = _classes()
    if name not in classes:
        raise ValueError(f"No data set is called {name!r}. Known: {', '.join(classes)}.")
    cls = classes[name]
    unknown = set(options) - (set(inspect.signature(cls).parameters) - {"folder"})
    if unknown:
        raise ValueError(f"{name} takes no {', '.join(sorted(unknown))}.")
    if name == "composed":  # the only one that need not be there
        return cls(Path(data_dir) if data_dir else None, **options)
    if not data_dir and name == "folder":
        raise ValueError("The data set 'folder' needs data_dir, the folder with your songs.")
    folder = Path(data_dir).expanduser() if data_dir else _find(name)
    if not folder.exists():
        raise ValueError(f"{folder}: no such folder. {name}: {cls.where}.")
    try:
        return cls(folder, **options)
    except MemoryError:  # a table of every song and every tag, where a damaged file names millions of tags
        raise ValueError(f"{folder}: there is not enough memory for the tables of {name}.") from None
    except UnicodeError as error:  # half of a surrogate pair, which JSON can hold
        raise ValueError(f"{folder}: the tables of {name} hold characters that are no text ({error}).") from None


def _classes():
    """All data sets by name. Their modules are imported on the first call, not with this package."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    classes, below = {}, [Dataset]
    while below:
        cls = below.pop()
        below += cls.__subclasses__()
        if cls.name and cls.__module__.startswith(__name__):  # not what somebody derives elsewhere
            classes[cls.name] = cls
    return dict(sorted(classes.items()))


def _find(name):
    own = runs.data_home() / name
    shared = runs.shared_data()
    return shared / name if not own.exists() and shared and (shared / name).exists() else own

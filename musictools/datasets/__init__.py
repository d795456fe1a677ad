"""Data sets by name: tables in memory, audio on disk, splits, validation.

``load("composed")`` works on any machine: the corpus is composed and rendered on the first call. All others are read
from a folder in their official layout.
"""

import inspect
from pathlib import Path

from musictools import runs
from musictools.datasets.base import Dataset
from musictools.datasets.splits import leakage

__all__ = ["Dataset", "available", "leakage", "load"]


def _classes():
    from musictools.datasets.composed.dataset import Composed
    from musictools.datasets.folder import Folder
    from musictools.datasets.gtzan import Gtzan, GtzanSpectrograms
    from musictools.datasets.magnatagatune import MagnaTagATune
    from musictools.datasets.million_song import MillionSong
    from musictools.datasets.mir1k import Mir1k
    from musictools.datasets.mtg_jamendo import MtgJamendo

    return {c.name: c for c in (Composed, MagnaTagATune, Gtzan, GtzanSpectrograms, Folder, MtgJamendo, MillionSong,
                                Mir1k)}


def available():
    """Data sets that `load` knows, dict of name to one-line description."""
    return {name: cls.description for name, cls in _classes().items()}


def load(name, *, data_dir="", **options):
    """Load a data set.

    Parameters
    ----------
    name : str
        One of `available()`.
    data_dir : str or Path
        Where it lies; empty: ``<name>`` in `musictools.runs.data_home()`, or among the shared data of the workplace.
        For `composed`: where it is built.
    **options
        `composed` takes ``n_clips``, ``seed`` and ``workers``; `mtg_jamendo` ``subset`` and ``split_number``;
        `million_song` ``top``, ``min_weight`` and ``path_template``.

    Returns
    -------
    data : Dataset

    Raises
    ------
    ValueError
        If the name is unknown, or the folder does not hold the data set; the message says where to get it.
    """
    classes = _classes()
    if name not in classes:
        raise ValueError(f"No data set is called {name!r}. Known: {', '.join(classes)}.")
    cls = classes[name]
    if name == "composed":
        return cls(Path(data_dir) if data_dir else None, **options)
    unknown = set(options) - (set(inspect.signature(cls).parameters) - {"folder"})
    if unknown:
        raise ValueError(f"{name} takes no {', '.join(sorted(unknown))}.")
    if not data_dir and name == "folder":
        raise ValueError("The data set 'folder' needs data_dir, the folder with your songs.")
    folder = Path(data_dir).expanduser() if data_dir else _find(name)
    if not folder.exists():
        raise ValueError(f"{folder}: no such folder. {name}: {cls.where}.")
    return cls(folder, **options)


def _find(name):
    own = runs.data_home() / name
    shared = runs.shared_data()
    return shared / name if not own.exists() and shared and (shared / name).exists() else own

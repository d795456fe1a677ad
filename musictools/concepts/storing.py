"""Concepts in one file, for the explorer and for later: everything but the network.

The file is an ``.npz`` that is read without pickle:

==============  ============================================  ==========================================
array           shape                                         meaning
==============  ============================================  ==========================================
head            ()                                            JSON: names, settings, tables by name
segments        (n_inputs, n_scales, n_bins, n_frames)        label maps of the segments, uint16
input, scale,   (n_patches,)                                  the patch: input, label map, label in it
label
concept         (n_patches,)                                  row of the table ``concepts``
distance        (n_patches,)                                  distance to the concept's centre
vectors         (n_concepts, n_features)                      mean CAVs, float32
labels          (n_inputs,)                                   output that each input belongs to
groups          (n_inputs,)                                   clip of each input
null:<class>    (n_null,)                                     sensitivities of random CAVs
inputs          (n_inputs, n_bins, n_frames)                  the inputs in 256 steps, where they were given
==============  ============================================  ==========================================

Of the tables, ``concepts`` is always there; ``arrangement`` (clusters and positions), ``songs`` (features of the clips)
and others are added by whoever saves them. The explorer also reads ``flags``, ``holds``, ``clips`` (title of every
input, first frame) and ``about`` (data set, its checksum, front end).
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd

from musictools.concepts.discovery import Concepts
from musictools.concepts.patches import Patches
from musictools.files import atomic, read_npz

__all__ = ["load", "load_inputs", "save"]


def save(path: str | Path, concepts: Concepts, *, x: np.ndarray | None = None, **tables: pd.DataFrame) -> Path:
    """Write concepts to a file.

    Parameters
    ----------
    path : str or Path
        Ends in ``.npz``.
    concepts : Concepts
    x : np.ndarray [shape=(n_inputs, n_bins, n_frames, 1)] or None
        The inputs, in [0, 1]. They are rounded to 256 steps, for pictures.
    **tables : pd.DataFrame
        Further tables, such as ``arrangement=arrange(concepts)`` and ``songs=`` the clips' features.

    Returns
    -------
    path : Path

    Raises
    ------
    ValueError
        If the path does not end in ``.npz``.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"path must end in .npz. Got {path}.")
    text = {name: table.to_json(orient="table", double_precision=10) for name, table in tables.items()}
    head = {"names": concepts.names, "settings": {k: _plain(v) for k, v in concepts.settings.items()}}
    head["tables"] = {"concepts": concepts.table.to_json(orient="table", double_precision=15)} | text
    patches = concepts.patches
    arrays = {"segments": patches.labels, "input": patches.input, "scale": patches.scale, "label": patches.label}
    arrays |= {"concept": concepts.concept, "distance": concepts.distance, "labels": concepts.labels}
    arrays |= {"vectors": concepts.vectors.astype(np.float32), "groups": concepts.groups}
    arrays |= {f"null:{name}": values for name, values in concepts.null.items()}
    if arrays["groups"].dtype == object:
        arrays["groups"] = arrays["groups"].astype(str)
    if x is not None:
        arrays["inputs"] = np.round(255 * np.clip(x[..., 0], 0, 1)).astype(np.uint8)
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, head=np.array(json.dumps(head | {"duplicates": patches.duplicates})), **arrays)
    return path


def _plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else list(value) if isinstance(value, tuple) else value


def load(path: str | Path) -> tuple[Concepts, dict[str, pd.DataFrame]]:
    """Read concepts from a file.

    Parameters
    ----------
    path : str or Path
        Written by `save`.

    Returns
    -------
    concepts : Concepts
    tables : dict of str to pd.DataFrame
        The further tables, by name.

    Raises
    ------
    ValueError
        If the file does not exist or holds no concepts.
    """
    try:
        arrays = read_npz(path)
        head = json.loads(str(arrays["head"]))
        tables = {name: pd.read_json(io.StringIO(text), orient="table") for name, text in head["tables"].items()}
        patches = Patches(*(arrays[k] for k in ("segments", "input", "scale", "label")), duplicates=head["duplicates"])
        null = {name.removeprefix("null:"): values for name, values in arrays.items() if name.startswith("null:")}
        rest = (arrays[k] for k in ("concept", "distance", "vectors", "labels", "groups"))
        concepts = Concepts(tables.pop("concepts"), patches, *rest, head["names"], null, head["settings"])
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: no saved concepts ({error}).") from error
    return concepts, tables


def load_inputs(path: str | Path) -> np.ndarray | None:
    """Read the inputs of saved concepts, for pictures.

    Parameters
    ----------
    path : str or Path
        Written by `save`.

    Returns
    -------
    x : np.ndarray [shape=(n_inputs, n_bins, n_frames), float32] or None
        In [0, 1], in 256 steps. None: they were not saved.
    """
    arrays = read_npz(path)
    return arrays["inputs"].astype(np.float32) / 255 if "inputs" in arrays else None

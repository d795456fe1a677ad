"""What a ``.keras`` file holds, looked at before Keras opens it: a model may come from anybody.

Keras itself runs no code of a file in its safe mode. It does read files that a configuration names, and it makes room
for whatever sizes a file declares. Here a file is refused that has anything but the parts of a saved model, compressed
parts, which could unpack to any size, layers that run foreign code or read files, or weights that are not in the file.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

__all__ = ["check"]

_PARTS = {"metadata.json", "config.json", "model.weights.h5"}
_MOST_CONFIG = 2**24  # bytes
_REFUSED = {  # layers that run code from the file or from elsewhere, or read the files that they name
    "FlaxLayer", "IntegerLookup", "JaxLayer", "Lambda", "StringLookup", "TFSMLayer", "TextVectorization",
    "TorchModuleWrapper", "__lambda__", "__typespec__",
}  # fmt: skip


def check(path: str | Path) -> None:
    """Refuse a file that is no saved model, or one that should not be opened.

    Parameters
    ----------
    path : str or Path
        A ``.keras`` file.

    Raises
    ------
    ValueError
        If the file is damaged, has other parts than those of a model, layers that run code or read files, or weights
        outside of it. The message does not name the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            _check_parts(parts)
            config = json.loads(archive.read("config.json"))
            _check_config(config)
            with archive.open("model.weights.h5") as file:
                _check_weights(file, archive.getinfo("model.weights.h5").file_size)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"its configuration is no JSON: {error}") from None
    except ValueError:
        raise
    except RecursionError:
        raise ValueError("its configuration is nested too deeply") from None
    except Exception as error:  # noqa: BLE001 - zipfile and HDF5 raise nearly anything for damaged files
        raise ValueError(f"it is damaged: {' '.join(str(error).split())[:200] or type(error).__name__}") from None


def _check_parts(parts):
    names = [part.filename for part in parts]
    if unknown := [name for name in names if name not in _PARTS]:
        raise ValueError(f"it holds {unknown[0][:100]!r}, which is no part of a model")
    if len(names) != len(_PARTS):
        raise ValueError(f"it must hold {', '.join(sorted(_PARTS))}, each once")
    for part in parts:
        if part.compress_type != zipfile.ZIP_STORED or part.file_size != part.compress_size:
            raise ValueError(f"{part.filename} is compressed, which Keras never does")
        if part.filename != "model.weights.h5" and part.file_size > _MOST_CONFIG:
            raise ValueError(f"{part.filename} has {part.file_size:,} bytes, more than the {_MOST_CONFIG:,} allowed")


def _check_config(value: Any) -> None:
    """Look at every object that a configuration describes."""
    if isinstance(value, dict):
        name, module = value.get("class_name"), value.get("module")
        if name in _REFUSED:
            raise ValueError(f"it has a layer {name}, which may run code or read files, and is not loaded")
        if isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins", "musictools"):
            raise ValueError(f"it uses {module[:100]}.{str(name)[:100]}, which is neither Keras's nor musictools'")
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_config(inner)


def _check_weights(file, size):
    """Refuse links to other files, and arrays that claim more numbers than the file has."""
    import h5py

    declared = 0
    with h5py.File(file, "r") as weights:
        waiting = [weights]
        while waiting:
            group = waiting.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"its weights {name!r} are a link, perhaps to another file")
                member = group[name]
                if isinstance(member, h5py.Group):
                    waiting.append(member)
                    continue
                if member.external or member.is_virtual:
                    raise ValueError(f"its weights {name!r} lie in another file")
                declared += member.size * member.dtype.itemsize
                if declared > size:
                    raise ValueError(f"its weights claim {declared:,} bytes, the file has {size:,} for them")

"""Hashes, strict JSON, and the manifest: one record per notebook, merged into ``manifest.json``."""

import hashlib
import json
import math
import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from musictools.files import atomic, file_digest, locked

from .paths import root

__all__ = ["package_digest"]

PACKAGE = Path(__file__).resolve().parents[1]
VERSIONED = ("musictools", "tensorflow", "keras", "numpy", "scipy", "pandas", "librosa", "scikit-learn", "matplotlib")
REBUILD = "MUSICTOOLS_REBUILD"  # environment variable, set in the kernels of a rebuild
_SOURCES = {".py", ".csv", ".yaml", ".json", ".txt", ".js", ".css", ".html", ".jinja"}


def plain(value: Any) -> Any:
    """Return `value` in JSON's own types: NaN and infinities become None, arrays lists, paths strings."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        entries = sorted(value, key=str) if isinstance(value, set | frozenset) else value
        return [plain(entry) for entry in entries]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` as JSON, complete or not at all."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    with atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Return what the JSON file at `path` holds, or None when it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON-like value."""
    text = json.dumps(plain(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def package_digest(folder: str | Path | None = None) -> str:
    """Return the SHA-256 over the package's sources and data files.

    Parameters
    ----------
    folder : str, Path or None
        None: this package's.

    Returns
    -------
    digest : str
    """
    folder = Path(folder or PACKAGE)
    paths = sorted(path for path in folder.rglob("*") if path.suffix in _SOURCES and "__pycache__" not in path.parts)
    return digest({path.relative_to(folder).as_posix(): file_digest(path) for path in paths})


def notebook_digest(path: str | Path) -> str:
    """Return the SHA-256 over a notebook's cells, without outputs and counters."""
    cells = json.loads(Path(path).read_text(encoding="utf-8"))["cells"]
    sources = [
        [cell["cell_type"], "".join(cell["source"]), sorted(cell.get("metadata", {}).get("tags", []))] for cell in cells
    ]
    return digest(sources)


def folder_stamp(folder: str | Path) -> str | None:
    """Return a cheap fingerprint of a data folder: names, sizes and times of its files, None when it is missing.

    Hidden files and ``*.zarr`` stores are left out: a store is made from the data and does not belong to it.
    """
    folder = Path(folder)
    if not folder.exists():
        return None
    if folder.is_file():
        return digest([folder.stat().st_size, folder.stat().st_mtime_ns])
    entries = []
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not name.endswith(".zarr"))
        for name in sorted(name for name in files if not name.startswith(".")):
            stat = os.stat(os.path.join(here, name))
            entries.append([os.path.relpath(os.path.join(here, name), folder), stat.st_size, stat.st_mtime_ns])
    return digest(entries)


def versions() -> dict[str, str | None]:
    """Return Python's version and those of the packages that results depend on."""
    known = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            known[name] = None
    return known


def device() -> str:
    """Name the GPUs TensorFlow sees, else the CPU. TensorFlow is asked only if it is loaded already."""
    tensorflow = sys.modules.get("tensorflow")
    if hasattr(tensorflow, "config"):  # another thread may still be importing it
        gpus = tensorflow.config.list_physical_devices("GPU")
        names = [tensorflow.config.experimental.get_device_details(gpu).get("device_name", "GPU") for gpu in gpus]
        if names:
            return ", ".join(names)
    return f"CPU ({os.cpu_count()} cores, {platform.machine()})"


def commit() -> str | None:
    """Return the checkout's git commit, with ``+changes`` when files differ from it; None without git."""

    def git(*arguments):
        command = ["git", "-C", str(root()), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def record_path(folder: str | Path, notebook: str) -> Path:
    """Return where the manifest record of `notebook` lies."""
    return Path(folder) / "manifests" / f"{notebook}.json"


def scratch_path(folder: str | Path, notebook: str) -> Path:
    """Return the folder for progress of `notebook` that a killed run takes up again."""
    return Path(folder) / "work" / notebook


def remove_scratch(folder: str | Path, notebook: str) -> None:
    """Remove the progress of `notebook`."""
    shutil.rmtree(scratch_path(folder, notebook), ignore_errors=True)


def read_record(folder: str | Path, notebook: str) -> dict | None:
    """Return the manifest record of `notebook`, or None when it is missing or does not fit its checksum."""
    record = read_json(record_path(folder, notebook))
    if not isinstance(record, dict) or "notebook" not in record:
        return None
    known = record.pop("checksum", None)  # records of earlier versions have none
    return record if known in (None, digest(record)) else None


def read_records(folder: str | Path) -> dict[str, dict]:
    """Return the sound manifest records in an output folder, by notebook, in the order of their names."""
    names = sorted(path.stem for path in (Path(folder) / "manifests").glob("[!.]*.json"))
    records = {name: read_record(folder, name) for name in names}
    return {name: record for name, record in records.items() if record is not None}


def write_record(folder: str | Path, notebook: str, record: dict) -> None:
    """Write one notebook's record and merge all of them into ``manifest.json``."""
    write_json(record_path(folder, notebook), record | {"checksum": digest(record)})
    merge(folder)


def merge(folder: str | Path) -> None:
    """Write ``manifest.json`` from the records."""
    merged = Path(folder) / "manifest.json"
    with locked(merged):  # notebooks that run at the same time
        write_json(merged, {"profile": Path(folder).name, "notebooks": read_records(folder)})

"""The composed corpus on disk, in MagnaTagATune's official layout."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import pathlib

import numpy as np

from musictools.files import atomic, locked, remove_stale

from .annotating import annotate, tag_names
from .genres import GENRES
from .mp3 import encode
from .planning import ClipPlan, plan
from .rendering import N_SAMPLES, SR, mix

__all__ = ["VERSION", "build", "load_plans"]

VERSION = 3  # raise it whenever a note, a sound or a tag changes
INFO_COLUMNS = ("clip_id", "track_number", "title", "artist", "album", "url", "segmentStart", "segmentEnd",
                "original_url", "mp3_path")  # fmt: skip
TABLES = ("annotations_final.csv", "clip_info_final.csv")


def build(folder: str | os.PathLike, *, n_clips: int = 400, seed: int = 0, workers: int | None = None) -> pathlib.Path:
    """Compose, render and write the corpus.

    Parameters
    ----------
    folder : str or os.PathLike
        Where to write it. An interrupted build of the same corpus resumes where it stopped.
    n_clips : int > 0
        Number of clips.
    seed : int >= 0
        Another seed gives another corpus.
    workers : int > 0, optional
        Processes; by default as many as there are cores.

    Returns
    -------
    folder : pathlib.Path
        With ``annotations_final.csv``, ``clip_info_final.csv``, the mp3 files and, written last, ``corpus.json``.

    Raises
    ------
    ValueError
        If a parameter is out of range, `folder` is a file, or holds another corpus or other data.
    """
    plans = plan(n_clips, seed=seed)
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ValueError(f"workers must be a positive int or None. Got {workers!r}.")
    parameters = {"composer": "musictools", "version": VERSION, "n_clips": len(plans), "seed": int(seed)}
    folder = _checked(folder, parameters)
    if _is_complete(folder, plans):
        return folder
    with locked(folder):  # two notebooks may ask for it at the same time
        if not _is_complete(folder, plans):
            _build(folder, plans, parameters, workers)
    return folder


def _is_complete(folder, plans):
    return (folder / "corpus.json").is_file() and all((folder / p.mp3_path).is_file() for p in plans)


def _build(folder, plans, parameters, workers):
    from musictools import runs

    _write(folder / "building.json", json.dumps(parameters, indent=2).encode() + b"\n")
    tags = runs.map(_Writer(str(folder)), plans, workers=workers, description="composing")
    _write(folder / TABLES[0], _annotations(plans, tags))
    _write(folder / TABLES[1], _clip_info(plans))
    _write(folder / "corpus.json", json.dumps({**parameters, **_counts(plans)}, indent=2).encode() + b"\n")
    _tidy(folder)


def _tidy(folder):
    """Remove what a build, or one that was killed, leaves behind."""
    (folder / "building.json").unlink(missing_ok=True)  # another machine may build the same corpus there
    remove_stale(folder)


def _counts(plans):
    """Return what corpus.json says of the corpus besides its parameters."""
    return {
        "sr": SR,
        "samples": N_SAMPLES,
        "tracks": len({p.style.seed for p in plans}),
        "artists": len({p.artist for p in plans}),
        "genres": {genre: sum(genre in p.genres for p in plans) for genre in GENRES},
    }


def load_plans(folder: str | os.PathLike) -> dict[int, ClipPlan]:
    """Return the plans of a built corpus.

    Parameters
    ----------
    folder : str or os.PathLike
        As given to `build`.

    Returns
    -------
    plans : dict of int to ClipPlan
        By clip id; `stems` and `truth` take them.

    Raises
    ------
    ValueError
        If the folder holds no finished corpus, or one of another version of the composer.
    """
    path = pathlib.Path(folder) / "corpus.json"
    if not path.is_file():
        raise ValueError(f"folder must hold a finished composed corpus. {path} is missing; build(...) writes it.")
    report = json.loads(path.read_text())
    if report.get("version") != VERSION:
        raise ValueError(f"The corpus in {folder} is of composer version {report.get('version')}, this is {VERSION}: "
                         "its stems would differ. Delete the folder and build it again.")  # fmt: skip
    return {p.clip_id: p for p in plan(report["n_clips"], seed=report["seed"])}


@dataclasses.dataclass(frozen=True)
class _Writer:
    """Write the mp3 file of a clip unless it is there, and return its annotated tags."""

    folder: str

    def __call__(self, clip):
        path = pathlib.Path(self.folder) / clip.mp3_path
        if not path.is_file():
            _write(path, encode(mix(clip)))
        return annotate(clip)


def _checked(folder, parameters):
    """Return the folder, or refuse it if something else is there."""
    folder = pathlib.Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"folder must be a folder or not exist yet. {folder} is a file.")
    for name in ("corpus.json", "building.json"):
        try:
            there = json.loads((folder / name).read_text())
        except FileNotFoundError:
            continue
        wrong = {key: there.get(key) for key, value in parameters.items() if there.get(key) != value}
        if wrong:
            raise ValueError(f"{folder} holds another composed corpus: {wrong} instead of {parameters}. Choose "
                             "another folder or delete this one.")  # fmt: skip
        return folder
    if any((folder / name).exists() for name in TABLES):
        raise ValueError(f"{folder} holds other data in MagnaTagATune's layout. Choose another folder.")
    return folder


def _write(path, data):
    with atomic(path) as temporary:
        temporary.write_bytes(data)


def _table(rows, *, quoting):
    """Return rows as tab-separated text."""
    text = io.StringIO()
    csv.writer(text, delimiter="\t", quoting=quoting, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _annotations(plans, tags):
    """Return the table of tags, everything quoted as in the original."""
    names = np.array(tag_names())
    rows = [["clip_id", *names, "mp3_path"]]
    rows += [[p.clip_id, *(int(name in t) for name in names), p.mp3_path] for p, t in zip(plans, tags, strict=True)]
    return _table(rows, quoting=csv.QUOTE_ALL)


def _clip_info(plans):
    """Return the table of clips; its addresses lead nowhere."""
    rows = [INFO_COLUMNS]
    for p in plans:
        url = f"composed://{p.mp3_path.split('/')[1].split('-')[0]}/{p.mp3_path.split('-')[1]}/"
        original = f"{url}{p.track_number:02d}"
        rows.append([p.clip_id, f"{p.track_number:02d}", p.title, p.artist, p.album, url, p.start, p.end, original,
                     p.mp3_path])  # fmt: skip
    return _table(rows, quoting=csv.QUOTE_MINIMAL)

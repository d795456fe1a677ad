"""MTG-Jamendo, in its official layout.

Description
    55,609 full songs of Jamendo with 195 tags of three categories, written ``genre---rock``, ``instrument---guitar``
    and ``mood/theme---happy``; five official splits, each in five subsets, that keep artists apart.
Layout
    ``data/autotagging.tsv`` and its subsets ``data/autotagging_<subset>.tsv``, the splits
    ``data/splits/split-<number>/autotagging_<subset>-{train,validation,test}.tsv``, and the songs
    ``<NN>/<id>.mp3`` or ``<NN>/<id>.low.mp3``, beside ``data/`` or in ``audio/``. Any of the files will do; they may
    also lie flat in the folder (split files that lie flat count as split 0). The tables are tab separated, with one
    column a tag, so that rows differ in length; quotation marks mean nothing.
Tags
    A song has all tags that any of the tables that were read gives it. The official splits leave a few tags out, and
    a subset all but its own: choose columns to compare with published numbers.
Licence
    CC BY-NC-SA 4.0 for the tables; each song has its own Creative Commons licence.
Where
    https://github.com/MTG/mtg-jamendo-dataset
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from musictools.datasets.base import Dataset

__all__ = ["SPLITS", "SUBSETS", "MtgJamendo"]

SUBSETS = ("", "genre", "instrument", "moodtheme", "top50tags")
SPLITS = ("train", "validation", "test")
N_SPLITS = 5

_COLUMNS = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]
_TAG = re.compile(r"(genre|instrument|mood/theme)---.+")
_PATH = re.compile(r"\d\d/\d+\.mp3")


class MtgJamendo(Dataset):
    """MTG-Jamendo; see the module for layout and licence.

    A song may have several genres. `descriptors` are the tags of the other two categories.

    Parameters
    ----------
    folder : str or Path
        With ``data/`` or with the tsv files.
    subset : str
        Whose official split is used, one of `SUBSETS`; empty: of the whole set.
    split_number : int
        Which of the five official splits, 0 to 4.

    Raises
    ------
    ValueError
        If a parameter is unknown, or tables are missing, damaged or contradict each other.

    Examples
    --------
    >>> data = MtgJamendo("mtg-jamendo-dataset", subset="top50tags")  # doctest: +SKIP
    >>> data.split("official").unique()  # doctest: +SKIP
    array(['train', 'validation', 'test'], dtype=object)
    """

    name = "mtg_jamendo"
    description = "55,609 songs of Jamendo with genre, instrument and mood tags"
    licence = "CC BY-NC-SA 4.0 (tables); Creative Commons (songs, each its own)"
    where = "https://github.com/MTG/mtg-jamendo-dataset (its folder data, and the audio by its download script)"
    bibtex = """@inproceedings{bogdanov2019mtg,
  title = {The {MTG-Jamendo} Dataset for Automatic Music Tagging},
  author = {Bogdanov, Dmitry and Won, Minz and Tovstogan, Philip and Porter, Alastair and Serra, Xavier},
  booktitle = {Machine Learning for Music Discovery Workshop, ICML}, year = {2019}}"""

    def __init__(self, folder: str | Path, *, subset: str = "top50tags", split_number: int = 0):
        folder = Path(folder)
        if subset not in SUBSETS:
            raise ValueError(f"subset must be one of {', '.join(map(repr, SUBSETS))}. Got {subset!r}.")
        if isinstance(split_number, bool) or split_number not in range(N_SPLITS):
            raise ValueError(f"split_number must be an int from 0 to {N_SPLITS - 1}. Got {split_number!r}.")
        tables, split_files = _find(folder, _stem(subset), split_number)
        rows = {path: _read(path) for path in (*tables, *split_files)}
        self._split = _assign({split: (path, rows[path]) for path, split in split_files.items()})
        complete = [path for path in tables if path.stem in (_stem(""), _stem(subset))]
        if complete:
            known = set().union(*(rows[path] for path in complete))
            _check_known(self._split, known, split_files=split_files, table=complete[0])
        audio_folder = folder / "audio" if (folder / "audio").is_dir() else folder
        super().__init__(folder, **_tables(rows), audio_folder=audio_folder)
        self.split_kinds = ("random", "artist", "official") if split_files else ("random", "artist")
        self.has_audio = any((audio_folder / f"{n:02d}").is_dir() for n in range(100))

    def _place(self, path):
        # The full file, or the one of low quality where only that is there.
        full = super()._place(path)
        low = f"{full.removesuffix('.mp3')}.low.mp3"
        return low if os.path.isfile(low) and not os.path.isfile(full) else full

    def _fixed_split(self, kind):
        return pd.Series(self._split, name="split", dtype=object).reindex(self.tracks.index).dropna()


def _stem(subset):
    return f"autotagging_{subset}" if subset else "autotagging"


def _find(folder, stem, number):
    """The tables there are, and file -> "train", "validation" or "test" of the official split."""

    def first(*places):
        return next((p for p in places if p.is_file()), None)

    roots = (folder / "data", folder)
    tables = [first(*(root / f"{_stem(s)}.tsv" for root in roots)) for s in SUBSETS]
    tables = [path for path in tables if path]
    split_files = {}
    for split in SPLITS:
        name = f"{stem}-{split}.tsv"
        places = [root / "splits" / f"split-{number}" / name for root in roots]
        path = first(*places, *(root / name for root in roots if number == 0))
        if path:
            split_files[path] = split
    if not tables and not split_files:
        raise ValueError(
            f"{folder}: holds neither data/autotagging.tsv, nor one of its subsets, nor "
            f"data/splits/split-{number}/{stem}-{{train,validation,test}}.tsv. Another subset or "
            f"split_number may be there; else get them from {MtgJamendo.where}."
        )
    return tables, split_files


def _read(path):
    """Read one tsv file: track id -> (artist, album, path, duration in s), tags."""
    rows = {}
    with path.open(encoding="utf-8") as file:
        try:
            lines = [line.rstrip("\n").split("\t") for line in file]
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: not a text in UTF-8 ({error}).") from None
    if not lines or lines[0] != _COLUMNS:
        got = "nothing" if not lines else repr("\t".join(lines[0])[:100])
        raise ValueError(
            f"{path}: the first line must be {', '.join(_COLUMNS)}, tab separated. Got {got}. Was the "
            "file saved by another program?"
        )
    for number, fields in enumerate(lines[1:], start=2):
        if fields == [""]:
            continue
        track_id, facts, tags = _row(fields, where=f"{path}, line {number}")
        if track_id in rows:
            raise ValueError(f"{path}, line {number}: {track_id} stands there twice.")
        rows[track_id] = facts, tags
    if not rows:
        raise ValueError(f"{path}: lists no songs.")
    return rows


def _row(fields, *, where):
    if len(fields) < 5 or not all(fields[:5]):
        raise ValueError(
            f"{where}: needs track, artist, album, path and duration, tab separated. Got {str(fields[:5])[:200]}."
        )
    track_id, artist, album, path, duration = fields[:5]
    if not _PATH.fullmatch(path):
        raise ValueError(f"{where}: PATH must look like 14/214.mp3. Got {path[:100]!r}.")
    try:
        seconds = float(duration)
        if not 0 < seconds < np.inf:
            raise ValueError
    except ValueError:
        raise ValueError(f"{where}: DURATION must be a positive number of seconds. Got {duration[:100]!r}.") from None
    tags = [tag for tag in fields[5:] if tag]
    wrong = next((tag for tag in tags if not _TAG.fullmatch(tag)), None)
    if wrong is not None:
        raise ValueError(
            f"{where}: a tag must be genre---, instrument--- or mood/theme--- and a name. Got {wrong[:100]!r}."
        )
    return track_id, (artist, album, path, seconds), tags


def _assign(split_files):
    """Track id -> "train", "validation" or "test", each track in one of them only."""
    assigned = {}
    for split, (path, rows) in split_files.items():
        for track_id in rows:
            if track_id in assigned:
                raise ValueError(
                    f"{path}: {track_id} also stands in the split {assigned[track_id]!r}. Are these files of one split?"
                )
            assigned[track_id] = split
    return assigned


def _check_known(assigned, known, *, split_files, table):
    unknown = sorted(set(assigned) - known)
    if unknown:
        path = next(path for path, split in split_files.items() if split == assigned[unknown[0]])
        raise ValueError(
            f"{path}: names {len(unknown)} tracks that {table} does not have, for example {unknown[0]}. "
            "Are table and split of one release?"
        )


def _tables(files):
    """Tracks, tags, genres and descriptors of all files together, by track id."""
    facts, tags = {}, {}
    for path, rows in files.items():
        for track_id, (row, names) in rows.items():
            if facts.setdefault(track_id, row) != row:
                raise ValueError(
                    f"{path}: {track_id} has {row}, another table {facts[track_id]}. Are they of one release?"
                )
            tags.setdefault(track_id, set()).update(names)
    index = pd.Index(sorted(facts), name="clip_id")
    names = sorted(set().union(*tags.values()))
    column = {name: k for k, name in enumerate(names)}
    values = np.zeros((len(index), len(names)), dtype=bool)
    for row, track_id in zip(values, index, strict=True):
        row[[column[name] for name in tags[track_id]]] = True
    tags = pd.DataFrame(values, index=index, columns=pd.Index(names, dtype=object))
    tracks = pd.DataFrame([facts[i] for i in index], index=index, columns=["artist", "album", "path", "duration"])
    tracks["title"] = tracks["track"] = index
    genres = tags[[name for name in names if name.startswith("genre---")]]
    descriptors = tags[[name for name in names if name not in genres]]
    return {"tracks": tracks, "tags": tags, "genres": genres, "descriptors": descriptors}

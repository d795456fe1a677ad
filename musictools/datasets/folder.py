"""Your own songs: a folder with a sub-folder a genre, or with a table ``labels.csv``.

Layout
    ``<genre>/<anything>.mp3`` (or any audio format, sub-folders allowed; the folder below the genre counts as
    artist), or ``labels.csv`` (comma separated) with the columns ``path`` (relative) and ``genre`` and, if wanted,
    ``artist``, ``album``, ``title`` and ``tags`` (separated by ``;``). A genre cell may hold several genres,
    separated by ``;``, or none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from musictools import audio
from musictools.datasets.base import Dataset
from musictools.files import read_table

__all__ = ["Folder"]

OTHER_SUFFIXES = {".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka"}


class Folder(Dataset):
    r"""Your own songs; see the module for the layout.

    Parameters
    ----------
    folder : str or Path

    Raises
    ------
    ValueError
        If the folder holds no songs, or ``labels.csv`` is no such table or names files outside the folder.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "labels.csv").write_text("path,genre,artist\na.mp3,rock,Ann\nb.mp3,rock;pop,Ben\n")
    ...     Folder(folder)
    <folder: 2 clips, 2 tags, 2 genres>
    """

    name = "folder"
    description = "your own songs: genre sub-folders, or a labels.csv"
    licence = "yours to know"
    where = "put songs into <folder>/<genre>/, or write <folder>/labels.csv"
    split_kinds = ("random", "artist")

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        table = _from_csv(folder) if (folder / "labels.csv").is_file() else _from_folders(folder)
        index = pd.Index(table.pop("clip_id"), name="clip_id")
        table.index = index
        tags, genres = (_one_hot(table.pop(c), index) for c in ("tags", "genre"))
        super().__init__(
            folder,
            tracks=table,
            tags=tags.join(genres[[g for g in genres if g not in tags]]),
            genres=genres,
            descriptors=tags[[t for t in tags if t not in genres]],
        )


def _from_folders(folder):
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder.")
    suffixes = audio.SOUNDFILE_SUFFIXES | OTHER_SUFFIXES
    files = [
        p
        for p in sorted(folder.glob("*/**/*"))
        if p.suffix.lower() in suffixes
        and p.is_file()
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    ]
    if not files:
        raise ValueError(f"{folder}: no audio in sub-folders. Expected <genre>/<song>.mp3, or a labels.csv.")
    rows = []
    for path in files:
        inner = path.relative_to(folder)
        artist = inner.parts[1] if len(inner.parts) > 2 else ""
        rows.append(
            {
                "clip_id": inner.as_posix(),
                "artist": artist,
                "album": "",
                "title": path.stem,
                "path": inner.as_posix(),
                "track": inner.as_posix(),
                "genre": inner.parts[0],
                "tags": "",
            }
        )
    return pd.DataFrame(rows)


def _from_csv(folder):
    path = folder / "labels.csv"
    table = read_table(path, dtype=str, keep_default_na=False)
    missing = {"path", "genre"} - set(table.columns)
    if missing:
        has = ", ".join(table.columns)[:200]
        raise ValueError(f"{path}: lacks the column {', '.join(sorted(missing))}. It has {has}.")
    if table.empty:
        raise ValueError(f"{path}: lists no songs.")
    if table["path"].duplicated().any():
        raise ValueError(f"{path}: {table['path'][table['path'].duplicated()].iloc[0]} stands there twice.")
    for column in ("artist", "album", "title", "tags"):
        if column not in table:
            table[column] = ""
    return table.assign(clip_id=table["path"], track=table["path"])


def _one_hot(cells, index):
    lists = [[t.strip() for t in str(c).split(";") if t.strip()] for c in cells]
    names = sorted({t for row in lists for t in row})
    column, values = {name: k for k, name in enumerate(names)}, np.zeros((len(lists), len(names)), dtype=bool)
    for row, own in zip(values, lists, strict=True):
        row[[column[name] for name in own]] = True
    return pd.DataFrame(values, index=index, columns=names)

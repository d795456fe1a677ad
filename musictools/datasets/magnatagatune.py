"""MagnaTagATune, in its official layout.

Description
    25,863 clips of 29.124 s (16 kHz mono mp3) from 5,405 tracks of the Magnatune label, annotated with 188 tags by
    players of the game TagATune. Three mp3 files are empty; they are left out of the tables here (`unusable`).
Layout
    ``annotations_final.csv``, ``clip_info_final.csv`` (tab separated) and the mp3 files in ``0/`` ... ``f/``, beside
    the tables or in ``mp3/``. Without mp3 files everything that needs no audio works.
Licence
    CC BY-NC-SA 1.0 for the annotations' clips, as Magnatune gives its music.
Where
    https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from musictools import tags as tagging
from musictools.datasets.base import Dataset
from musictools.files import read_table

__all__ = ["CLIP_SAMPLES", "CLIP_SR", "MagnaTagATune", "read_tables"]

CLIP_SAMPLES, CLIP_SR = 465_984, 16_000

# The three files that are empty in every copy of the official archive.
EMPTY = (
    "6/norine_braun-now_and_zen-08-gently-117-146.mp3",
    "8/jacob_heringman-josquin_des_prez_lute_settings-19-gintzler__pater_noster-204-233.mp3",
    "9/american_baroque-dances_and_suites_of_rameau_and_couperin-25-le_petit_rien_xiveme_ordre_couperin-88-117.mp3",
)

_INFO = {
    "artist": "artist",
    "album": "album",
    "title": "title",
    "track_number": "track_number",
    "url": "url",
    "segmentStart": "segment_start",
    "segmentEnd": "segment_end",
}


class MagnaTagATune(Dataset):
    """MagnaTagATune; see the module for layout and licence.

    Parameters
    ----------
    folder : str or Path
        With the two csv files.

    Attributes
    ----------
    unusable : pd.Index
        Clip ids of the known empty files, not in the tables.

    Raises
    ------
    ValueError
        If a table is missing or damaged, or a path leaves the folder.

    Examples
    --------
    >>> data = MagnaTagATune("MagnaTagATune")  # doctest: +SKIP
    >>> data.split("official").value_counts()["train"]  # doctest: +SKIP
    18706
    """

    name = "magnatagatune"
    description = "25,863 clips of 29 s, 188 tags (TagATune game)"
    licence = "CC BY-NC-SA"
    where = "https://mirg.city.ac.uk/codeapps/the-magnatagatune-dataset (csv files and the three zip parts of mp3s)"
    bibtex = """@inproceedings{law2009evaluation,
  title = {Evaluation of Algorithms Using Games: The Case of Music Tagging},
  author = {Law, Edith and West, Kris and Mandel, Michael I. and Bay, Mert and Downie, J. Stephen},
  booktitle = {Proc. of the 10th International Society for Music Information Retrieval Conference},
  pages = {387--392}, year = {2009}}"""
    split_kinds = ("random", "artist", "official")

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        tracks, tags = read_tables(folder)
        self._all_files = tracks["path"]
        audio_folder = folder / "mp3" if (folder / "mp3").is_dir() else folder
        self.has_audio = any((audio_folder / letter).is_dir() for letter in "0123456789abcdef")
        empty = tracks["path"].isin(EMPTY)
        self.unusable = tracks.index[empty]
        tracks, tags = tracks[~empty], tags[~empty]
        vocabulary = tagging.vocabulary("rotheneder2023")
        super().__init__(
            folder,
            tracks=tracks,
            tags=tags,
            genres=vocabulary.genre_table(tags),
            descriptors=vocabulary.descriptor_table(tags),
            audio_folder=audio_folder,
        )

    def clip_seconds(self, ids: Sequence | None = None) -> float:  # noqa: D102 - as in Dataset
        # Equal for all clips by definition; also known where there is no audio.
        return CLIP_SAMPLES / CLIP_SR

    def _fixed_split(self, kind):
        """Folders 0-b train, c validation, d-f test: the split of the literature."""
        letter = self.tracks["path"].str[0]
        subset = np.select([letter.isin(list("0123456789ab")), letter == "c"], ["train", "validation"], "test")
        return pd.Series(subset, index=self.tracks.index, name="split", dtype=object)

    def _files(self):
        return {clip_id: self._audio_folder / path for clip_id, path in self._all_files.items()}


def read_tables(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read and check the two official tables.

    Parameters
    ----------
    folder : Path

    Returns
    -------
    tracks : pd.DataFrame
        By clip id: artist, album, title, track_number, url, segment_start, segment_end (s), path, track.
    tags : pd.DataFrame [bool]
        By clip id, raw tags in the order of the file.

    Raises
    ------
    ValueError
        If a table is missing, not tab separated, lacks columns, names a clip twice or holds values but 0 and 1.
    """
    annotations = _read(folder / "annotations_final.csv", needed={"clip_id", "mp3_path"})
    info = _read(folder / "clip_info_final.csv", needed={"clip_id", *_INFO})
    values = annotations.drop(columns="mp3_path")
    if not values.isin((0, 1)).to_numpy().all():
        wrong = values.columns[~values.isin((0, 1)).all()]
        raise ValueError(f"{folder}/annotations_final.csv: tags must be 0 or 1. Not so: {', '.join(wrong[:5])}.")
    if annotations["mp3_path"].isna().any():
        raise ValueError(
            f"{folder}/annotations_final.csv: clip {annotations.index[annotations['mp3_path'].isna()][0]} "
            "has no mp3_path."
        )
    unknown = annotations.index.difference(info.index)
    if len(unknown):
        raise ValueError(
            f"{folder}/clip_info_final.csv: says nothing of {len(unknown)} annotated clips, for example {unknown[0]}."
        )
    tracks = info.loc[annotations.index, list(_INFO)].rename(columns=_INFO)
    for column in ("artist", "album", "title"):  # all of them may look like numbers
        tracks[column] = tracks[column].where(tracks[column].isna(), tracks[column].astype(str))
    tracks["path"] = annotations["mp3_path"]
    tracks["track"] = (
        tracks["artist"]
        + " / "
        + tracks["album"]
        + " / "
        + tracks["track_number"].astype(str)
        + " "
        + (tracks["title"].fillna(""))
    )
    return tracks, values.astype(bool)


def _read(path, *, needed):
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file. MagnaTagATune's layout has annotations_final.csv and "
            f"clip_info_final.csv in one folder; get them from {MagnaTagATune.where}."
        )
    table = read_table(path, kind="a tab separated table", sep="\t", dtype_backend="numpy_nullable")
    missing = needed - set(table.columns)
    if missing:
        raise ValueError(
            f"{path}: lacks the columns {', '.join(sorted(missing))}. Is it tab separated, as the original?"
        )
    if table["clip_id"].duplicated().any():
        raise ValueError(f"{path}: clip {table['clip_id'][table['clip_id'].duplicated()].iloc[0]} stands there twice.")
    for column in table.columns:
        if pd.api.types.is_integer_dtype(table[column].dtype) and not table[column].isna().any():
            table[column] = table[column].astype(np.int64)
        elif pd.api.types.is_string_dtype(table[column].dtype):
            table[column] = table[column].astype(object)
    return table.set_index("clip_id")

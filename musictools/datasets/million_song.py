"""The Million Song Dataset with Last.fm's tags.

Description
    943,347 songs, 505,216 of them with tags that Last.fm's users chose freely (522,366 different ones). The most
    frequent tags are kept. Some are personal (``favorites``); `choi2018` took the 50 most frequent that describe the
    music.
Layout
    One of two. **JSON**: ``lastfm_train/A/B/C/TRABC....json`` and ``lastfm_test/...``, a file a song with artist,
    title, track_id and tags (name and weight, 0 to 100), as Last.fm and the MSD team gave them out. **Arrays**:
    ``tags.txt`` (a tag a line) and ``{train,valid,test}_y.npy`` (bool, songs x tags), as `choi2018`'s author did; the
    songs have no names there, row 7 of ``valid_y.npy`` is called ``valid-000007``, and there is no audio.
    Pickled lists (``*.cP``, ``*.pkl``) are never read: reading a pickle runs whatever code its writer put in.
Audio
    Not given out with the set. `path_template` says where your own copies are.
Licence
    Last.fm's data for research only, not commercial.
Where
    http://millionsongdataset.com/lastfm
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from string import Formatter

import numpy as np
import pandas as pd

from musictools import runs
from musictools import tags as tagging
from musictools.datasets.base import Dataset
from musictools.files import read_text

__all__ = ["GENRES", "MillionSong"]

FOLDERS = {"lastfm_train": "train", "lastfm_test": "test"}
ARRAYS = {"train": "train", "valid": "validation", "test": "test"}

# The 28 genres that `choi2018` (3.1) counts among its 50 tags; the other 22 are eras, instruments and moods.
GENRES = (
    "rock",
    "pop",
    "alternative",
    "indie",
    "electronic",
    "dance",
    "alternative rock",
    "jazz",
    "metal",
    "classic rock",
    "soul",
    "indie rock",
    "electronica",
    "folk",
    "punk",
    "blues",
    "hard rock",
    "ambient",
    "experimental",
    "hip-hop",
    "country",
    "funk",
    "electro",
    "heavy metal",
    "progressive rock",
    "rnb",
    "indie pop",
    "house",
)

_TRACK_ID = re.compile(r"TR[A-Z]{5}[0-9A-F]{11}")
_FIELD = re.compile(r"track_id(\[(\d|1[0-7])\])?")
_PICKLES = {".cp", ".pkl", ".pickle", ".p"}


class MillionSong(Dataset):
    """The Million Song Dataset with Last.fm's tags; see the module for layout and licence.

    Parameters
    ----------
    folder : str or Path
        With ``lastfm_train`` or ``lastfm_test``, or with ``tags.txt`` and the arrays.
    top : int > 0
        How many tags to keep, the most frequent; fewer where there are fewer.
    min_weight : number from 0 to 100
        Tags of less weight do not count. The arrays have no weights.
    path_template : str
        Where a song's audio lies in `folder`, such as
        ``{track_id[2]}/{track_id[3]}/{track_id[4]}/{track_id}.mp3``; empty: there is no audio.

    Raises
    ------
    ValueError
        If a parameter is out of range, the template holds anything else, or the folder has neither layout.

    Examples
    --------
    >>> data = MillionSong("lastfm", top=50, path_template="{track_id}.mp3")  # doctest: +SKIP
    >>> data.split("official").unique()  # doctest: +SKIP
    array(['train', 'test'], dtype=object)
    """

    name = "million_song"
    description = "Million Song Dataset: Last.fm's tags of 943,347 songs"
    licence = "research only, not commercial (Last.fm)"
    where = "http://millionsongdataset.com/lastfm (lastfm_train.zip and lastfm_test.zip, unpacked)"
    bibtex = """@inproceedings{bertin2011million,
  title = {The Million Song Dataset},
  author = {Bertin-Mahieux, Thierry and Ellis, Daniel P. W. and Whitman, Brian and Lamere, Paul},
  booktitle = {Proc. of the 12th International Society for Music Information Retrieval Conference}, year = {2011}}"""

    def __init__(self, folder: str | Path, *, top: int = 50, min_weight: float = 0, path_template: str = ""):
        folder = Path(folder)
        if isinstance(top, bool) or not isinstance(top, int) or top < 1:
            raise ValueError(f"top must be a positive int. Got {top!r}.")
        if isinstance(min_weight, bool) or not isinstance(min_weight, int | float) or not 0 <= min_weight <= 100:
            raise ValueError(f"min_weight must be a number from 0 to 100. Got {min_weight!r}.")
        if any((folder / name).is_dir() for name in FOLDERS):
            tracks, tags = _from_json(folder, top=top, min_weight=min_weight)
            self.split_kinds = ("random", "artist", "official")
            if path_template:
                _check_template(path_template)
                tracks["path"] = [path_template.format(track_id=i) for i in tracks.index]
        else:
            _check_arrays(folder, min_weight=min_weight, path_template=path_template)
            tracks, tags = _from_arrays(folder, top=top)
            self.split_kinds = ("random", "official")  # nobody knows the artists
        self.has_audio = bool(path_template)
        self._split = tracks.pop("subset").rename("split")
        genres = [tag for tag in tags if tag.lower() in GENRES]
        super().__init__(folder, tracks=tracks, tags=tags, genres=tags[genres], descriptors=tags.drop(columns=genres))

    def _place(self, path):
        if not self.has_audio:
            raise ValueError(f"{self.name} in {self.folder} has no audio files. A path_template says where yours are.")
        return super()._place(path)

    def validate(self) -> tuple[dict, dict]:  # noqa: D102 - as in Dataset
        # Without a path_template there are no files to look at, so none is missing.
        return super().validate() if self.has_audio else ({}, {})

    def _fixed_split(self, kind):
        return self._split


def _check_template(template):
    """Raise ValueError unless a template only fills in the track id, or letters of it."""
    if not isinstance(template, str):
        raise ValueError(f"path_template must be a str. Got {template!r}. On a command line it needs quotation marks.")
    try:
        fields = [field for field in Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        raise ValueError(f"path_template {template!r} has unpaired braces ({error}).") from None
    for _, name, spec, conversion in fields:
        if not _FIELD.fullmatch(name) or spec or conversion:
            raise ValueError(
                "path_template may hold {track_id} and its letters, {track_id[0]} to {track_id[17]}, "
                f"nothing else. Got {name!r} in {template!r}."
            )
    if "track_id" not in [name for _, name, *_ in fields]:
        raise ValueError(f"path_template must hold {{track_id}}, or songs share a file. Got {template!r}.")


def _from_json(folder, *, top, min_weight):
    """Tracks (with their subset) and tags of the JSON files."""
    files = [(path, subset) for name, subset in FOLDERS.items() for path in sorted((folder / name).rglob("TR*.json"))]
    if not files:
        raise ValueError(
            f"{folder}: lastfm_train and lastfm_test hold no files like A/B/C/TRABC....json. Were the zip "
            "files unpacked whole?"
        )
    rows, lists = {}, []
    for path, subset in runs.progress(files, description="Last.fm's tags"):
        track_id, artist, title, names = _read_json(path, min_weight=min_weight)
        if track_id in rows:
            raise ValueError(f"{path}: {track_id} stands there twice. A song may be in one subset only.")
        rows[track_id] = (artist, "", title, "", f"{artist} / {title}", subset)
        lists.append(names)
    index = pd.Index(rows, name="clip_id")
    counts = Counter(name for names in lists for name in names)
    column = {name: k for k, name in enumerate(sorted(counts, key=lambda name: (-counts[name], name))[:top])}
    values = np.zeros((len(index), len(column)), dtype=bool)
    for row, names in zip(values, lists, strict=True):
        row[[column[name] for name in names if name in column]] = True
    tracks = pd.DataFrame(
        list(rows.values()), index=index, columns=["artist", "album", "title", "path", "track", "subset"]
    )
    return tracks, pd.DataFrame(values, index=index, columns=pd.Index(column, dtype=object))


def _read_json(path, *, min_weight):
    try:
        song = json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON ({error}). Was it unpacked whole?") from None
    texts = [song.get(key) if isinstance(song, dict) else None for key in ("track_id", "artist", "title")]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{path}: must hold the texts track_id, artist and title. Got {str(song)[:80]}.")
    track_id, artist, title = texts
    if not _TRACK_ID.fullmatch(track_id) or track_id != path.stem:
        raise ValueError(
            f"{path}: track_id must be the file's name, TR and 16 letters or digits. Got {track_id[:100]!r}."
        )
    try:
        return track_id, artist, title, {str(name) for name, weight in song["tags"] if float(weight) >= min_weight}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(f"{path}: tags must be a list of [name, weight]. Got {str(song.get('tags'))[:80]}.") from None


def _check_arrays(folder, *, min_weight, path_template):
    if not (folder / "tags.txt").is_file():
        pickles = sorted(p.name for p in folder.glob("*") if p.suffix.lower() in _PICKLES)
        if pickles:
            raise ValueError(
                f"{folder}: {pickles[0]} is a pickle, which is not read: it could run anybody's code. Get "
                f"the tags from {MillionSong.where}."
            )
        raise ValueError(
            f"{folder}: holds neither lastfm_train or lastfm_test nor tags.txt. Is it the folder above "
            f"them? Else get them from {MillionSong.where}."
        )
    if min_weight:
        raise ValueError(f"min_weight must be 0 for arrays, which have no weights. Got {min_weight}.")
    if path_template:
        raise ValueError(f"path_template must be empty for arrays, whose songs have no ids. Got {path_template!r}.")


def _from_arrays(folder, *, top):
    """Tracks (with their subset) and tags of the arrays."""
    names = [line.strip() for line in read_text(folder / "tags.txt").splitlines() if line.strip()]
    if not names or len(set(names)) < len(names):
        raise ValueError(
            f"{folder}/tags.txt: must name at least one tag, each once, a tag a line. Got {len(names)}, "
            f"{len(set(names))} different ones."
        )
    paths = {stem: folder / f"{stem}_y.npy" for stem in ARRAYS if (folder / f"{stem}_y.npy").is_file()}
    if not paths:
        raise ValueError(f"{folder}: tags.txt is there, but none of {', '.join(f'{s}_y.npy' for s in ARRAYS)}.")
    arrays = {stem: _read_array(path, n_tags=len(names)) for stem, path in paths.items()}
    ids = [f"{stem}-{row:06d}" for stem, y in arrays.items() for row in range(len(y))]
    index = pd.Index(ids, name="clip_id")
    tags = pd.DataFrame(np.concatenate(list(arrays.values())), index=index, columns=pd.Index(names, dtype=object))
    kept = set(tagging.top(tags, min(top, len(names))))
    subsets = np.repeat([ARRAYS[stem] for stem in arrays], [len(y) for y in arrays.values()]).astype(object)
    tracks = {"artist": "", "album": "", "title": ids, "path": "", "track": ids, "subset": subsets}
    return pd.DataFrame(tracks, index=index), tags[[name for name in names if name in kept]]


def _read_array(path, *, n_tags):
    try:
        y = np.load(path, mmap_mode="r", allow_pickle=False)  # never more than the file holds
    except Exception as error:  # noqa: BLE001 - NumPy parses a text of Python, and raises nearly anything
        raise ValueError(f"{path}: not an array of numbers ({' '.join(str(error).split())[:200]}).") from None
    if not isinstance(y, np.ndarray) or y.ndim != 2 or y.shape[1] != n_tags or not np.isin(y, (0, 1)).all():
        got = f"{y.dtype} {y.shape}" if isinstance(y, np.ndarray) else "an archive of arrays"
        raise ValueError(
            f"{path}: must hold 0 and 1 only, of shape (songs, {n_tags}), as tags.txt names {n_tags} tags. Got {got}."
        )
    return y.astype(bool)

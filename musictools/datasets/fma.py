"""The Free Music Archive data set (FMA), in its official layout.

Description
    106,574 songs of 161 genres; half of them have one of 16 top-level genres. ``small`` has 8,000 clips of 30 s, 1,000
    in each of eight genres; ``medium`` has 25,000 clips of 16 genres; ``large`` has clips of all songs and ``full``
    the whole songs.
Layout
    ``fma_metadata/tracks.csv`` and ``fma_metadata/echonest.csv``, whose columns have two and three rows of names,
    ``fma_metadata/genres.csv``, and the audio of a subset in ``fma_small/000/000002.mp3`` and so on. The tables may
    also lie in the folder itself. Only tracks.csv is needed.
Faults
    Some songs are shorter than their metadata say, and clips were cut beyond their end (mdeff/fma, issue 8). In the
    small subset three files hold no audio and three hold at most 2 s, see `FAULTY`. `Fma.validate` looks for others.
Licence
    CC BY 4.0 for the tables; each song has its own licence.
Where
    https://github.com/mdeff/fma
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from musictools import audio
from musictools.datasets.base import Dataset
from musictools.files import read_table

__all__ = ["FAULTY", "FEATURES", "SUBSETS", "Fma"]

SUBSETS = ("small", "medium", "large", "full")
FEATURES = ("acousticness", "danceability", "energy", "instrumentalness", "liveness", "speechiness", "tempo", "valence")
FAULTY = {  # of the small subset: track id -> why
    98565: "less than 2 s of audio",
    98567: "less than 2 s of audio",
    98569: "less than 2 s of audio",
    99134: "no audio",
    108925: "no audio",
    133297: "no audio",
}
SHORTEST = 29.0  # s of a clip; those of the data set last 29.97 s or more

_SPLITS = {"training": "train", "validation": "validation", "test": "test"}
_NEEDED = {
    ("set", "split"),
    ("set", "subset"),
    ("track", "genre_top"),
    ("track", "title"),
    ("artist", "name"),
    ("album", "title"),
}


class Fma(Dataset):
    """FMA; see the module for layout, faults and licence.

    Clip ids are track ids of six digits, as in the names of the files. `genres` holds the top-level genre, `tags` also
    all narrower genres of a song, if ``genres.csv`` is there to name them. There are no descriptors.

    Parameters
    ----------
    folder : str or Path
    subset : str
        One of `SUBSETS`; smaller ones are parts of larger ones.

    Attributes
    ----------
    echonest : pd.DataFrame
        Features of Echonest by clip id: `FEATURES` in [0, 1], but for tempo in beats per minute. Only clips that have
        them, which are one of six in the small subset.
    faulty : dict of clip id to str
        Clips of this subset whose official files are known to be unusable.

    Raises
    ------
    ValueError
        If a table is missing or damaged, or the subset is unknown or empty.

    See Also
    --------
    musictools.datasets.load : Data sets by name.

    Examples
    --------
    >>> data = Fma("fma")  # doctest: +SKIP
    >>> data.genres.sum().to_dict()["Hip-Hop"], data.echonest.columns[0]  # doctest: +SKIP
    (1000, 'acousticness')
    """

    name = "fma"
    description = "8,000 clips of 30 s in eight genres (fma_small), and its larger subsets"
    licence = "CC BY 4.0 (tables); each song its own"
    where = "https://github.com/mdeff/fma (fma_metadata.zip and fma_small.zip, unpacked beside each other)"
    bibtex = """@inproceedings{defferrard2017fma,
  title = {{FMA}: A Dataset for Music Analysis},
  author = {Defferrard, Micha{\\"e}l and Benzi, Kirell and Vandergheynst, Pierre and Bresson, Xavier},
  booktitle = {18th International Society for Music Information Retrieval Conference}, year = {2017}}"""
    split_kinds = ("random", "artist", "official")

    def __init__(self, folder: str | Path, *, subset: str = "small"):
        folder = Path(folder)
        if subset not in SUBSETS:
            raise ValueError(f"subset must be one of {', '.join(SUBSETS)}. Got {subset!r}.")
        tables = folder / "fma_metadata" if (folder / "fma_metadata").is_dir() else folder
        table = _read(tables / "tracks.csv", header=[0, 1], needed=_NEEDED)
        if subset not in SUBSETS[2:]:
            table = table[table["set", "subset"].isin(SUBSETS[: SUBSETS.index(subset) + 1])]
        if table.empty:
            raise ValueError(f"{tables / 'tracks.csv'}: lists no tracks of the subset {subset!r}.")
        ids = pd.Index([f"{track_id:06d}" for track_id in table.index], name="clip_id")
        self.subset, self._split = subset, table["set", "split"].map(_SPLITS).set_axis(ids)
        self.faulty = {f"{n:06d}": why for n, why in FAULTY.items() if n in table.index}
        self.echonest = _echonest(tables / "echonest.csv").reindex(table.index).set_axis(ids).dropna(how="all")
        tags, genres = _genres(table, tables / "genres.csv")
        audio_folder = _audio_folder(folder, subset)
        self.has_audio = audio_folder.is_dir()
        super().__init__(
            folder,
            tracks=_tracks(table, ids),
            tags=tags.set_axis(ids),
            genres=genres.set_axis(ids),
            descriptors=pd.DataFrame(index=ids),
            audio_folder=audio_folder,
        )

    def _fixed_split(self, kind):
        return self._split.dropna().rename("split").astype(object)

    def clip_seconds(self, ids: Sequence | None = None) -> float:  # noqa: D102 - as in Dataset
        # Clips have equal lengths by definition, so 8,000 headers need not be read.
        return super().clip_seconds(ids) if self.subset == "full" else 30.0

    def validate(self) -> tuple[dict, dict]:
        """Look at every audio file; files shorter than 29 s are invalid too.

        Returns
        -------
        missing, invalid : dict of clip id to str
            As in `Dataset.validate`.
        """
        missing, invalid = super().validate()
        for clip_id, path in self._files().items():
            if self.subset != "full" and clip_id not in missing and clip_id not in invalid:
                seconds = audio.duration(path)
                if seconds < SHORTEST:
                    invalid[clip_id] = f"{path}: holds {seconds:.1f} s instead of 30 s."
        return missing, invalid


def _read(path, *, header, needed):
    """One of the tables with several rows of column names, by track id."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file. FMA's layout has fma_metadata/tracks.csv; get it from {Fma.where}.")
    kind = f"a table with {len(header)} rows of column names"
    table = read_table(path, kind=kind, index_col=0, header=header, low_memory=False)
    missing = needed - set(table.columns)
    if missing:
        named = ", ".join(" / ".join(column) for column in sorted(missing))
        raise ValueError(f"{path}: lacks the columns {named}. Was the file saved by another program?")
    if len(table) and not pd.api.types.is_integer_dtype(table.index):
        raise ValueError(f"{path}: track ids must be int. Got {table.index[0]} first.")
    if table.index.duplicated().any():
        raise ValueError(f"{path}: track {table.index[table.index.duplicated()][0]} stands there twice.")
    return table.sort_index()


def _tracks(table, ids):
    texts = {"artist": ("artist", "name"), "album": ("album", "title"), "title": ("track", "title")}
    tracks = pd.DataFrame(
        {name: table[column].astype(object).fillna("").astype(str).to_numpy() for name, column in texts.items()}
    )
    tracks = tracks.set_axis(ids)
    # A song of an unknown artist has an artist of its own: the split by artist must not put all of them on one side.
    tracks["artist"] = tracks["artist"].where(tracks["artist"] != "", "unknown " + ids.to_series())
    tracks["path"] = [f"{clip_id[:3]}/{clip_id}.mp3" for clip_id in ids]
    tracks["track"] = ids
    return tracks


def _genres(table, path):
    """Tables of all genres and of the top-level ones."""
    top = pd.get_dummies(table["track", "genre_top"], dtype=bool)
    if not path.is_file() or ("track", "genres_all") not in table:
        return top, top
    titles = read_table(path, index_col=0)
    if titles.index.name != "genre_id" or "title" not in titles or titles.index.has_duplicates:
        raise ValueError(f"{path}: must have the columns genre_id, first and each once, and title.")
    titles = titles["title"].astype(object).fillna("").astype(str)
    try:
        numbers = [set(ast.literal_eval(text)) for text in table["track", "genres_all"].astype(object).fillna("[]")]
        named = [{titles[number] for number in chosen} for chosen in numbers]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise ValueError(
            f"{path.with_name('tracks.csv')}: track / genres_all must be lists of ids in {path.name} ({error})."
        ) from None
    narrow = sorted(set().union(*named) - set(top))
    tags = pd.DataFrame({title: [title in chosen for chosen in named] for title in narrow}, table.index, dtype=bool)
    return top.join(tags), top


def _echonest(path):
    """The eight features by track id; empty where there is no file."""
    if not path.is_file():
        return pd.DataFrame(columns=list(FEATURES), dtype=float)
    columns = {("echonest", "audio_features", feature): feature for feature in FEATURES}
    table = _read(path, header=[0, 1, 2], needed=set(columns))
    return table[list(columns)].set_axis(list(FEATURES), axis=1).astype(float)


def _audio_folder(folder, subset):
    """The folder of the subset's audio, or of a larger subset of clips, which has the same files."""
    places = [folder / f"fma_{name}" for name in SUBSETS[SUBSETS.index(subset) :] if subset == "full" or name != "full"]
    return next((place for place in places if place.is_dir()), places[0])

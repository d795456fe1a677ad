"""Sizes of data sets that decide how much work the notebooks have, for `plans`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from musictools import datasets, models, tags
from musictools.spectrograms import FrontEnd

__all__ = ["COMPOSED", "OFFICIAL", "DataSize", "data_size"]

# Sizes of data sets that are not on this machine: clips, seconds of a clip, clips of each single genre, clips with a
# descriptor, single-genre clips with three descriptors, clips with one of the ten descriptors of notebook 06.
OFFICIAL = {
    "magnatagatune": {
        "clips": 25_860,
        "seconds": 465_984 / 16_000,
        "genres": {
            "classic": 5048,
            "electronic": 3254,
            "rock": 1269,
            "indian": 1207,
            "metal": 484,
            "pop": 418,
            "country": 335,
            "new age": 295,
        },
        "described": 20_236,
        "mapped": 5889,
        "probed": 16_069,
        "has_audio": True,
    },
    "gtzan_spectrograms": {
        "clips": 999,
        "seconds": 30.0,
        "genres": dict.fromkeys(
            ("blues", "classical", "country", "disco", "hiphop", "metal", "pop", "reggae", "rock", "jazz"), 100
        ),
        "described": 0,
        "mapped": 0,
        "probed": 0,
        "has_audio": False,
        "frames": 496,
    },
    # Songs of the MSD that Last.fm knows, and those with a tag. The length is that of the usual previews. Nobody has
    # published how many songs have a single genre.
    "million_song": {
        "clips": 943_347,
        "seconds": 30.0,
        "genres": {},
        "described": 505_216,
        "mapped": 0,
        "probed": 0,
        "has_audio": True,
    },
}
# Bytes of a store per cell, once compressed. Measured: 0.67 and 0.70 on composed clips (hop 256 and 512), 0.71 and 0.72
# on GTZAN, 0.72 and 0.75 on other recorded music; single clips differ by 0.03.
STORED_SHARE = 0.71
_ASKED = 200  # clips whose length is read to learn that of a data set's clips
# The composed corpus of 1,000 clips; corpora of other sizes have about the same shares.
COMPOSED = {
    "genres": {
        "electronic": 138,
        "classic": 132,
        "rock": 124,
        "pop": 97,
        "indian": 93,
        "metal": 93,
        "new age": 82,
        "country": 76,
    },
    "described": 998,
    "mapped": 835,
    "probed": 982,
}


@dataclass(frozen=True)
class DataSize:
    """Sizes of a data set that decide how much work a notebook has.

    Parameters
    ----------
    name : str
    clips : int
    seconds : float
        Length of a clip; of whole songs the mean.
    genres : dict of str to int
        Number of clips that have this genre and no other.
    described : int
        Number of clips with a descriptor.
    mapped : int
        Number of single-genre clips with at least three descriptors.
    probed : int
        Number of clips with one of the ten descriptors of notebook 06.
    has_audio : bool
    frames : int
        Frames of a clip, for data sets that come as spectrograms; else 0.
    missing : str
        What is not on this machine; empty if all is there.
    """

    name: str
    clips: int
    seconds: float
    genres: dict[str, int] = field(hash=False)
    described: int
    mapped: int
    probed: int
    has_audio: bool = True
    frames: int = 0
    missing: str = ""

    @property
    def single(self) -> int:
        """Number of clips with exactly one genre."""
        return sum(self.genres.values())

    def segments(self, model: str, *, length: int | None = None, step: int | None = None) -> int:
        """Number of segments that a clip gives to a model.

        Parameters
        ----------
        model : str
        length, step : int > 0 or None
            Columns of a segment, and from one segment to the next; None: the model's own.

        Returns
        -------
        n : int
        """
        shape = models.describe(model).input
        frames = self.frames or shape.front_end.n_frames(round(self.seconds * shape.front_end.sr))
        return max(0, (frames - (length or shape.length)) // (step or shape.step) + 1)

    def store_bytes(self, front_end: FrontEnd) -> int:
        """Bytes of a spectrogram store, compressed as music is on average.

        Parameters
        ----------
        front_end : FrontEnd

        Returns
        -------
        n_bytes : int
        """
        cells = self.clips * front_end.n_bins * front_end.n_frames(round(self.seconds * front_end.sr))
        return round(STORED_SHARE * cells)


def data_size(parameters: dict[str, Any]) -> DataSize:
    """Sizes of the data set that a notebook's parameters name: of its tables if they are here, else the official ones.

    Parameters
    ----------
    parameters : dict
        Resolved parameters of a notebook.

    Returns
    -------
    size : DataSize

    Raises
    ------
    ValueError
        If the data set is not here and its official size is not known.

    Examples
    --------
    >>> data_size({"dataset": "composed", "n_clips": 400}).clips
    400
    """
    name = parameters.get("dataset", "composed")
    if name == "composed":
        clips = parameters.get("n_clips", 400)
        shares = {key: round(COMPOSED[key] * clips / 1000) for key in ("described", "mapped", "probed")}
        counts = {genre: max(1, round(n * clips / 1000)) for genre, n in COMPOSED["genres"].items()}
        return DataSize(name, clips, OFFICIAL["magnatagatune"]["seconds"], counts, **shares)
    try:
        return _of_tables(datasets.load(name, data_dir=parameters.get("data_dir", "")))
    except ValueError as error:
        if name not in OFFICIAL or parameters.get("data_dir"):
            raise
        return DataSize(name=name, missing=f"data set {name}: {error}", **OFFICIAL[name])


def _of_tables(data):
    from musictools.probing.clips import TAGS

    single = tags.single_genre(data).genres
    probed = [tag for tag in TAGS if tag in data.descriptors]
    frames = 0 if data.spectrograms is None else data.spectrograms.shape[2]
    known = data.has_audio or data.name == "magnatagatune"
    return DataSize(
        name=data.name,
        clips=len(data),
        seconds=_seconds(data) if known and not frames else 30.0,
        genres=single.value_counts().to_dict(),
        described=int(data.descriptors.any(axis=1).sum()),
        mapped=len(tags.single_genre(data, min_descriptors=3).genres),
        probed=int(data.descriptors[probed].any(axis=1).sum()),
        has_audio=data.has_audio,
        frames=frames,
    )


def _seconds(data):
    """Mean length of a clip if the tables tell, else of the longest of some: looking at all files takes long."""
    if "duration" in data.tracks:
        return float(data.tracks["duration"].mean())
    return data.clip_seconds(data.tracks.index[:: max(1, len(data) // _ASKED)])

"""The six data sets of chapter 6 of `choi2018` in their official layouts, as targets of notebook 11.

    extended_ballroom    <dance>/<id>.mp3 (Marchand and Peeters 2016)
    gtzan_genre          as `musictools.datasets.gtzan` reads it
    gtzan_speech_music   music_wav/*.wav and speech_wav/*.wav (Tzanetakis; marsyas.info)
    emomusic             clips_45seconds/<id>.mp3, annotations/static_annotations.csv (Soleymani et al. 2013)
    jamendo_vocals       audio/*, labels/<name>.lab, filelists/{train,valid,test} (Ramona, Richard and David 2008)
    urbansound8k         audio/fold<k>/*.wav, metadata/UrbanSound8K.csv (Salamon, Jacoby and Bello 2014)

Of Jamendo, the labelled stretches of singing and of no singing are the clips, as in the source. Stretches of a song and
slices of a recording of UrbanSound8K are groups, so that intervals do not take them for independent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from musictools import audio, datasets
from musictools.experiments.transfer import Target
from musictools.transfer.tasks import Task

__all__ = ["SETS", "Stretch", "read"]

SECONDS = 29.0  # of a clip at most, from its beginning
_SHORTEST = 0.5  # seconds of a stretch of Jamendo that counts


@dataclass(frozen=True, eq=False)
class Stretch:
    """Load a file or a part of it.

    Parameters
    ----------
    folder : Path
    """

    folder: Path

    def __call__(self, clip: str | tuple[str, float, float]) -> tuple[np.ndarray, int]:
        """Load a clip.

        Parameters
        ----------
        clip : str, or tuple of str, float and float
            Path relative to the folder; for a part also its start and end in seconds.

        Returns
        -------
        y : np.ndarray [shape=(n,), float32]
            At most 29 s.
        sr : int
        """
        path, start, end = (clip, 0.0, SECONDS) if isinstance(clip, str) else clip
        y, sr = audio.load(self.folder / path)
        return y[round(start * sr) : round(min(end, start + SECONDS) * sr)], sr


def read(name: str, folder: str | Path) -> Target:
    """Read one of the six data sets.

    Parameters
    ----------
    name : str
        One of `SETS`.
    folder : str or Path
        Where it was unpacked.

    Returns
    -------
    target : Target

    Raises
    ------
    ValueError
        If the name is unknown, or the folder does not hold the data set in its official layout.

    Examples
    --------
    >>> target = read("urbansound8k", "UrbanSound8K")  # doctest: +SKIP
    >>> target.tasks["urbansound"].target.nunique()  # doctest: +SKIP
    10
    """
    if name not in SETS:
        raise ValueError(f"name must be one of {', '.join(SETS)}. Got {name!r}.")
    folder = Path(folder)
    reader, about = SETS[name]
    tasks = reader(folder)
    if not all(len(task) for task in tasks.values()):
        raise ValueError(f"{folder}: no {name} in its official layout; {__name__} describes it.")
    load = Stretch(folder)
    return Target(name, tasks, dict.fromkeys(tasks, load), about)


def _sounds(folder, pattern):
    return [p.relative_to(folder).as_posix() for p in sorted(folder.glob(pattern))
            if p.suffix.lower() in (*audio.SOUNDFILE_SUFFIXES, ".mp3")]  # fmt: skip


def _table(path):
    if not path.is_file():
        raise ValueError(f"{path}: no such file. It belongs to the official layout.")
    return pd.read_csv(path, skipinitialspace=True)


def _ballroom(folder):
    paths = _sounds(folder, "*/*")
    return {"ballroom": Task("ballroom", pd.Series([path.split("/")[0] for path in paths], paths, dtype=object))}


def _gtzan_genre(folder):
    data = datasets.load("gtzan", data_dir=folder)
    paths = data.tracks["path"]
    genres = data.genres.idxmax(axis=1).set_axis(paths)
    parts = data.split("fault_filtered") if "fault_filtered" in data.split_kinds else None
    tasks = {"genre": Task("genre", genres)}
    if parts is not None:
        parts = parts.set_axis(paths[parts.index])
        tasks["genre, fault-filtered"] = Task("genre, fault-filtered", genres[parts.index], parts=parts)
    return tasks


def _speech_music(folder):
    paths = _sounds(folder, "*_wav/*")
    return {"speech_music": Task("speech_music", pd.Series([p.split("_wav/")[0] for p in paths], paths, dtype=object))}


def _emomusic(folder):
    table = _table(folder / "annotations" / "static_annotations.csv").set_index("song_id")
    here = {path: int(Path(path).stem) for path in _sounds(folder, "clips_45seconds/*") if Path(path).stem.isdigit()}
    here = pd.Series(here, dtype=int)
    here = here[here.isin(table.index)]
    return {name: Task(name, here.map(table[f"mean_{name}"]).astype(float)) for name in ("arousal", "valence")}


def _jamendo(folder):
    audio_files = {Path(path).stem: path for path in _sounds(folder, "audio/*")}
    rows, parts = {}, {}
    for short, part in (("train", "train"), ("valid", "validation"), ("test", "test")):
        path = folder / "filelists" / short
        if not path.is_file():
            raise ValueError(f"{path}: no such file. It lists the songs of the part {part}, one a line.")
        for line in filter(None, path.read_text(encoding="utf-8").splitlines()):
            song = Path(line.strip()).stem
            for start, end, label in _labels(folder / "labels" / f"{song}.lab"):
                if end - start >= _SHORTEST and song in audio_files:
                    rows[audio_files[song], start, end], parts[audio_files[song], start, end] = label, part
    index = pd.Index(list(rows), tupleize_cols=False)
    target, split = (pd.Series(list(values.values()), index, dtype=object) for values in (rows, parts))
    songs = pd.Series([path for path, _, _ in rows], index, dtype=object)
    return {"vocals": Task("vocals", target, groups=songs, parts=split if len(split) else None)}


def _labels(path):
    if not path.is_file():
        raise ValueError(f"{path}: no such file. It has the stretches of singing of a song.")
    for line in filter(str.strip, path.read_text(encoding="utf-8").splitlines()):
        start, end, label = line.split()
        yield float(start), float(end), label


def _urbansound(folder):
    table = _table(folder / "metadata" / "UrbanSound8K.csv")
    table.index = [
        f"audio/fold{fold}/{name}" for fold, name in zip(table["fold"], table["slice_file_name"], strict=True)
    ]
    table = table[table.index.isin(_sounds(folder, "audio/fold*/*"))]
    return {"urbansound": Task("urbansound", table["class"], groups=table["fsID"], parts=table["fold"])}


# data set -> (its reader, published table and what is predicted by task)
SETS: dict[str, tuple[Callable[[Path], dict[str, Task]], dict[str, tuple[str, str]]]] = {
    "extended_ballroom": (_ballroom, {"ballroom": ("choi2018_figure_6_3_ballroom", "ballroom dance")}),
    "gtzan_genre": (
        _gtzan_genre,
        {
            "genre": ("choi2018_figure_6_4_gtzan_genre", "genre"),
            "genre, fault-filtered": ("transfer_fault_filtered_genre", "genre, fault-filtered parts"),
        },
    ),
    "gtzan_speech_music": (_speech_music, {"speech_music": ("choi2018_figure_6_6_speech_music", "speech or music")}),
    "emomusic": (
        _emomusic,
        {"arousal": ("choi2018_figure_6_7_arousal", "arousal"), "valence": ("choi2018_figure_6_7_valence", "valence")},
    ),
    "jamendo_vocals": (_jamendo, {"vocals": ("choi2018_figure_6_8_vocals", "vocals or not")}),
    "urbansound8k": (_urbansound, {"urbansound": ("choi2018_figure_6_9_urbansound", "acoustic event")}),
}

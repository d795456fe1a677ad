"""Songs for the explorer: size and length are checked before anything is decoded; errors are sentences.

An upload lies in a private temporary folder only while it is decoded. Titles are plain text and must be escaped where
they are shown.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from musictools import audio
from musictools.audio.chatter import silenced
from musictools.explorer.work import ExplorerError, sentence

if TYPE_CHECKING:
    from musictools.datasets import Dataset

__all__ = [
    "MAX_BYTES",
    "MAX_SECONDS",
    "SUFFIXES",
    "Song",
    "SongError",
    "check",
    "clip",
    "read",
    "read_upload",
    "song",
    "titles",
]

MAX_BYTES = 50 * 2**20
MAX_SECONDS = 15 * 60
SUFFIXES = (".mp3", ".wav", ".flac", ".ogg")
_MAX_SAMPLES = MAX_SECONDS * 48_000 * 2  # of all channels: 15 minutes of stereo at 48 kHz
_MIN_SECONDS = 0.5
_SILENCE = 1e-4  # peak below which nothing can be heard


class SongError(ExplorerError):
    """A song that cannot be used.

    Examples
    --------
    >>> read("none.mp3")
    Traceback (most recent call last):
        ...
    musictools.explorer.songs.SongError: none.mp3: no such file.
    """


@dataclass(frozen=True, eq=False)
class Song:
    """A decoded song.

    Attributes
    ----------
    title : str
        Plain text.
    y : np.ndarray [shape=(n,)]
        The part that is explained.
    sr : int
        Hz.
    length : float
        Duration of the whole song in s.
    note : str
        What is to be known of it, such as that its end is missing; mostly empty.
    """

    title: str
    y: np.ndarray
    sr: int
    length: float
    note: str = ""


def check(name: str, size: int) -> None:
    """Refuse an upload by its name and size, before anything of it is read.

    Parameters
    ----------
    name : str
        As the browser gives it.
    size : int
        Bytes.

    Raises
    ------
    SongError
        If its ending is that of no audio file, or it is too large or empty.

    Examples
    --------
    >>> check("song.mp3", 2_000_000)
    >>> check("song.exe", 2_000_000)
    Traceback (most recent call last):
        ...
    musictools.explorer.songs.SongError: song.exe: the explorer takes .mp3, .wav, .flac, .ogg files.
    """
    if Path(name).suffix.lower() not in SUFFIXES:
        raise SongError(f"{name}: the explorer takes {', '.join(SUFFIXES)} files.")
    _check_size(name, size)


def read_upload(name: str, content: bytes, *, seconds: float = 60.0) -> Song:
    """Read a song that a browser has sent; no file of it is left behind.

    Parameters
    ----------
    name : str
        As the browser gives it. What follows the last slash is the title; no file is called so.
    content : bytes
    seconds : float > 0
        How much of the song is kept, from its start.

    Returns
    -------
    song : Song

    Raises
    ------
    SongError
        As `check` and `read`.
    """
    check(name, len(content))
    with tempfile.TemporaryDirectory(prefix="musictools-explorer-") as folder:  # readable by its owner only
        path = Path(folder) / f"song{Path(name).suffix.lower()}"
        path.touch(mode=0o600)
        path.write_bytes(content)
        return read(path, title=Path(name).name, seconds=seconds)


def titles(data: Dataset) -> dict[str, Any]:
    """Name the songs of a data set.

    Parameters
    ----------
    data : Dataset

    Returns
    -------
    titles : dict of str to (int or str)
        Title -> clip id.
    """
    tracks = data.tracks
    has = data.genres.reindex(tracks.index, fill_value=False).to_numpy(dtype=bool)
    names, found = data.genres.columns.to_numpy(), {}
    for row, own in zip(tracks[["title", "path", "artist"]].itertuples(), has, strict=True):
        genres = "".join(f" · {name}" for name in names[own])
        found[f"{row.Index} · {row.title or row.path} ({row.artist}){genres}"] = row.Index
    return found


def clip(data: Dataset, clip_id: int | str, *, title: str, seconds: float = 60.0) -> Song:
    """Read a song of a data set.

    Parameters
    ----------
    data : Dataset
    clip_id : int or str
    title : str
    seconds : float > 0
        How much of the song is kept, from its start.

    Returns
    -------
    song : Song

    Raises
    ------
    ExplorerError
        If the clip is unknown, or its audio is missing, damaged, too short, too long or silent.
    """
    with sentence(f"{title}: the data set cannot read this clip."):
        try:
            y, sr = data.audio(clip_id)
        except audio.AudioError as error:
            raise SongError(f"{title}: {error}") from None
    return song(y, sr=sr, title=title, seconds=seconds)


def read(path: str | Path, *, title: str | None = None, seconds: float = 60.0) -> Song:
    """Read a song from a file.

    Parameters
    ----------
    path : str or Path
    title : str or None
        Used in messages; None: the file's name.
    seconds : float > 0
        How much of the song is kept, from its start.

    Returns
    -------
    song : Song

    Raises
    ------
    SongError
        If the file is missing, too large, too long, damaged, silent or no audio.

    See Also
    --------
    song : The same for a decoded waveform.
    """
    path = Path(path).expanduser()
    title = path.name if title is None else title
    try:
        if not path.is_file():
            raise SongError(f"{title}: no such file.")
        _check_size(title, path.stat().st_size)
        _check_header(title, path)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            y, sr = audio.load(path)
    except audio.AudioError as error:
        words = str(error).replace(str(path), title)
        raise SongError(re.sub("that (libsndfile|ffmpeg) can read", "that can be read", words)) from None
    except (OSError, RuntimeError, MemoryError, OverflowError) as error:
        raise SongError(f"{title}: cannot be read ({error or type(error).__name__}).") from None
    note = next((str(w.message).replace(str(path), title) for w in caught if "decoded" in str(w.message)), "")
    return song(y, sr=sr, title=title, seconds=seconds, note=note)


def song(y: np.ndarray, *, sr: int, title: str, seconds: float = 60.0, note: str = "") -> Song:
    """Check a decoded song.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
    sr : int > 0
        Hz.
    title : str
    seconds : float > 0
        How much of the song is kept, from its start.
    note : str
        What is to be known of it.

    Returns
    -------
    song : Song

    Raises
    ------
    SongError
        If it is too short, too long or silent.

    Examples
    --------
    >>> song(np.sin(np.arange(16000)), sr=8000, title="tone", seconds=1.5).y.shape
    (12000,)
    """
    length = len(y) / sr
    if length < _MIN_SECONDS:
        raise SongError(f"{title}: too short. It has {length:.2f} s, at least {_MIN_SECONDS} s are needed.")
    _check_length(title, length)
    kept = np.ascontiguousarray(y[: round(seconds * sr)])
    if float(np.abs(kept).max()) < _SILENCE:
        raise SongError(f"{title}: silent. There is nothing to hear in the first {len(kept) / sr:.0f} s.")
    return Song(title, kept, int(sr), length, note)


def _check_size(title, size):
    if size > MAX_BYTES:
        raise SongError(f"{title}: too large. It has {size / 2**20:.0f} MB, at most {MAX_BYTES // 2**20} MB are taken.")
    if size <= 0:
        raise SongError(f"{title}: the file is empty.")


def _check_length(title, length):
    if length > MAX_SECONDS:
        raise SongError(
            f"{title}: too long. It lasts {length / 60:.1f} min, at most {MAX_SECONDS // 60} min are taken."
        )


def _check_header(title, path):
    """What the header says, before memory is taken for the samples. Without a header, decoding says what is wrong."""
    import soundfile

    with contextlib.suppress(soundfile.LibsndfileError):
        with silenced():
            info = soundfile.info(path)
        _check_length(title, info.duration)
        if info.frames * info.channels > _MAX_SAMPLES:
            raise SongError(
                f"{title}: too much audio. {info.channels} channels of {info.duration:.0f} s at {info.samplerate:,} Hz "
                f"are more than {MAX_SECONDS // 60} min of stereo at 48,000 Hz. Convert the file first."
            )

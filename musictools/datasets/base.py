"""The interface of all data sets.

Conventions
-----------
Tables are indexed by clip id (int for MagnaTagATune's layout, else str) and share one order. `tracks` describes the
clips, `tags` holds what annotators wrote (bool), `genres` the genres (bool; a clip may have none or several),
`descriptors` the tags that are no genre, synonyms merged. A *split* is a Series clip id -> subset,
such as ``"train"``.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from musictools import audio, files, runs
from musictools.datasets import splits

__all__ = ["Dataset"]

TRACK_COLUMNS = ("artist", "album", "title", "path")

_PLAIN = re.compile(r"[^/\\:]+(/[^/\\:]+)*")  # a relative path without a drive, which needs no closer look
_SETTLED = 2.0  # seconds after which a file's time of change tells it from a later version, on any file system
_ROWS = 8192  # of a table that are hashed at once


class Dataset:
    """A data set: tables in memory, audio on disk. Subclasses fill the tables.

    Parameters
    ----------
    folder : str or Path
        The data set's folder.
    tracks : pd.DataFrame
        By clip id, with at least artist, album, title and path (relative to `audio_folder`; empty: there is no audio).
    tags : pd.DataFrame [bool]
        What annotators wrote.
    genres : pd.DataFrame [bool]
    descriptors : pd.DataFrame [bool]
    audio_folder : str, Path or None
        What the paths are relative to. None: `folder`.

    Attributes
    ----------
    name, description, licence, bibtex : str
    where : str
        How to get the data set.
    split_kinds : tuple of str
        Kinds that `split` knows.
    has_audio, has_stems : bool
        Whether `audio` and `stems` give something.
    spectrograms : np.ndarray [shape=(n_clips, n_bins, n_frames), uint8] or None
        For data sets that come as spectrograms.

    Raises
    ------
    ValueError
        If a path leaves the folder.

    See Also
    --------
    musictools.datasets.load : Data sets by name.

    Examples
    --------
    >>> tracks = pd.DataFrame({"artist": ["Ann", "Ben"], "album": "", "title": "", "path": ["a.mp3", "b.mp3"]})
    >>> tags = pd.DataFrame({"rock": [True, False], "jazz": [False, True], "loud": [True, True]})
    >>> data = Dataset("songs", tracks=tracks, tags=tags, genres=tags[["rock", "jazz"]], descriptors=tags[["loud"]])
    >>> len(data), data.path(0).as_posix()
    (2, 'songs/a.mp3')
    """

    name = ""
    description = ""
    licence = ""
    bibtex = ""
    where = ""
    split_kinds = ("random",)
    has_audio = True
    has_stems = False
    spectrograms = None

    def __init__(
        self,
        folder: str | Path,
        *,
        tracks: pd.DataFrame,
        tags: pd.DataFrame,
        genres: pd.DataFrame,
        descriptors: pd.DataFrame,
        audio_folder: str | Path | None = None,
    ):
        self.folder = Path(folder)
        self._audio_folder = self.folder if audio_folder is None else Path(audio_folder)
        self.tracks, self.tags, self.genres, self.descriptors = tracks, tags, genres, descriptors
        for clip_id, path in tracks["path"].items():
            if not path or (_PLAIN.fullmatch(text := str(path)) and ".." not in text):
                continue
            try:
                files.inside(self._audio_folder, path)
            except ValueError as error:
                raise ValueError(f"{self.name} in {self.folder}: clip {str(clip_id)[:100]!r}: {error}") from None

    def __repr__(self):
        return f"<{self.name}: {len(self.tracks)} clips, {self.tags.shape[1]} tags, {self.genres.shape[1]} genres>"

    def __len__(self):
        return len(self.tracks)

    def path(self, clip_id: int | str) -> Path:
        """Audio file of a clip.

        Parameters
        ----------
        clip_id : int or str

        Returns
        -------
        path : Path

        Raises
        ------
        ValueError
            If there is no such clip, or the data set has no audio files at all.
        """
        if clip_id not in self.tracks.index:
            raise ValueError(f"{self.name} has no clip {clip_id!r}.")
        return Path(self._place(self.tracks.at[clip_id, "path"]))

    def paths(self, ids: Sequence | None = None) -> dict:
        """Audio files of many clips; faster than one call of `path` per clip.

        Parameters
        ----------
        ids : sequence of clip id or None
            None: all clips.

        Returns
        -------
        paths : dict of clip id to Path
            In the order of `ids`.

        Raises
        ------
        ValueError
            If there is no such clip, or the data set has no audio files at all.
        """
        return {clip_id: Path(self._place(path)) for clip_id, path in self._relative(ids).items()}

    def _relative(self, ids):
        """Paths as the table has them, of some clips."""
        table = self.tracks["path"]
        if ids is None:
            return table
        ids = pd.Index(ids)
        unknown = ids.difference(table.index)
        if len(unknown):
            raise ValueError(f"{self.name} has no clip {unknown.tolist()[0]!r}.")
        return table.loc[ids]

    def _place(self, path):
        """Audio file of a path of the table, as text: a Path takes longer to make than the file's size to read."""
        return os.path.join(self._audio_folder, path)

    def audio(self, clip_id: int | str, *, sr: int | None = None) -> tuple[np.ndarray, int]:
        """Decode a clip.

        Parameters
        ----------
        clip_id : int or str
        sr : int > 0 or None
            Hz; None keeps the file's own.

        Returns
        -------
        y : np.ndarray [shape=(n,), float32]
            In [-1, 1].
        sr : int

        Raises
        ------
        ValueError
            If there is no such clip, or its file cannot be decoded.
        """
        if not self.has_audio:
            raise ValueError(f"{self.name} in {self.folder} has no audio files.")
        return audio.load(self.path(clip_id), sr=sr)

    def stems(self, clip_id: int | str, *, sr: int | None = None) -> tuple[dict[str, np.ndarray], int]:
        """Waveforms of a clip's instruments or voices apart; their sum is the clip.

        Parameters
        ----------
        clip_id : int or str
        sr : int > 0 or None
            Hz; None keeps the stems' own.

        Returns
        -------
        stems : dict of str to np.ndarray [shape=(n,), float32]
            By name.
        sr : int

        Raises
        ------
        ValueError
            If the data set has no stems, see `has_stems`, or no such clip.
        """
        raise ValueError(f"{self.name} has no stems. Data sets with stems: composed, mir1k.")

    def clip_seconds(self, ids: Sequence | None = None) -> float:
        """Length of the longest clip, by the files' headers; files that cannot be read do not count.

        Parameters
        ----------
        ids : sequence of clip id or None
            None: all clips.

        Returns
        -------
        seconds : float

        Raises
        ------
        ValueError
            If no file can be read.
        """
        seconds, reasons = 0.0, []
        for clip_id in self.tracks.index if ids is None else ids:
            try:
                seconds = max(seconds, audio.duration(self.path(clip_id)))
            except audio.AudioError as error:
                reasons.append(str(error))
        if not seconds:
            raise ValueError(f"{self.name} in {self.folder}: no clip can be read. {' '.join(reasons[:1])}")
        return seconds

    def checksum(self, ids: Sequence | None = None) -> str:
        """Hash over the files' names, sizes and samples of their bytes; equal data elsewhere have the same one.

        Parameters
        ----------
        ids : sequence of clip id or None
            None: all clips.

        Returns
        -------
        checksum : str
        """
        relative = self._relative(ids)
        lines = [f"{clip_id} {path} " for clip_id, path in relative.items()]
        if not self.has_audio:
            return _digest(self.name, lines)
        places = [self._place(path) for path in relative]
        known = _remembered(self.name, lines, places)
        if known is not None and (checksum := _read_checksum(known)):
            return checksum
        prints = (f"{line}{files.fingerprint(place)};" for line, place in zip(lines, places, strict=True))
        checksum = _digest(self.name, prints)
        if known is not None:
            with suppress(OSError), files.atomic(known) as temporary:  # it saves time only
                temporary.write_text(checksum, encoding="ascii")
        return checksum

    @cached_property
    def tables_checksum(self) -> str:
        """Hash over tracks, tags and genres."""
        digest = hashlib.sha256(self.name.encode())
        for table in (self.tracks, self.tags, self.genres):
            for start in range(0, len(table), _ROWS):  # as text, a whole table would need much memory
                text = table.iloc[start : start + _ROWS].astype(str)
                digest.update(pd.util.hash_pandas_object(text, index=True).to_numpy().tobytes())
        return digest.hexdigest()

    def split(
        self,
        kind: str = "random",
        *,
        shares: dict[str, float] | None = None,
        seed: int = 0,
        ids: Sequence | None = None,
    ) -> pd.Series:
        """Assign every clip to a subset.

        Parameters
        ----------
        kind : str
            ``"random"`` (stratified by genre), ``"artist"`` (no artist on two sides), or one that the data set
            brings along, see `split_kinds`.
        shares : dict of str to float or None
            Subset -> share of clips; None: 80 % train, 20 % test. Not for splits that come with the data.
        seed : int >= 0
        ids : sequence of clip id or None
            Split these clips only.

        Returns
        -------
        split : pd.Series [clip id -> subset]
            Clips that an official split leaves out are left out here too.

        Raises
        ------
        ValueError
            If the data set has no such split, or the shares do not add up to 1.
        """
        if kind not in self.split_kinds:
            raise ValueError(f"{self.name} has no split {kind!r}. Known: {', '.join(self.split_kinds)}.")
        ids = self.tracks.index if ids is None else pd.Index(ids)
        unknown = ids.difference(self.tracks.index)
        if len(unknown):
            raise ValueError(f"{self.name} has no clip {unknown.tolist()[0]!r}.")
        if kind not in ("random", "artist"):
            if shares is not None:
                raise ValueError(f"The split {kind!r} comes with the data; shares cannot be chosen.")
            fixed = self._fixed_split(kind)
            return fixed[fixed.index.isin(ids)]
        strata = splits.strata(self.genres.loc[ids])
        shares = {"train": 0.8, "test": 0.2} if shares is None else shares
        if kind == "random":
            return splits.random(strata, shares=shares, seed=seed)
        return splits.grouped(strata, self.tracks.loc[ids, "artist"], shares=shares, seed=seed)

    def _fixed_split(self, kind):
        raise NotImplementedError

    def validate(self) -> tuple[dict, dict]:
        """Look at every audio file.

        Returns
        -------
        missing : dict of clip id to str
            Clips whose file is not there, with its path.
        invalid : dict of clip id to str
            Clips whose file cannot be used, with the reason.
        """
        missing, invalid = {}, {}
        for clip_id, path in self._files().items():
            if not path.exists():
                missing[clip_id] = str(path)
                continue
            try:
                if audio.duration(path) <= 0:
                    invalid[clip_id] = f"{path}: holds no audio."
            except audio.AudioError as error:
                invalid[clip_id] = str(error)
        return missing, invalid

    def _files(self):
        return self.paths()


def _digest(name, lines):
    digest = hashlib.sha256(name.encode())
    for line in lines:
        digest.update(line.encode())
    return digest.hexdigest()


def _remembered(name, lines, places):
    """File that remembers the checksum of these audio files; None where one of them may still be changing.

    It is named after size and times of every file. Nothing but the system sets a file's time of change (on Windows it
    is the time of its creation), so that a file that was replaced by one with an older date is noticed as well.
    """
    states, newest = [], 0.0
    for line, place in zip(lines, places, strict=True):
        try:
            state = os.stat(place)
        except OSError:
            return None
        newest = max(newest, state.st_ctime)
        states.append(f"{line}{place} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns};")
    if newest > time.time() - _SETTLED:
        return None
    return runs.data_home() / "checksums" / f"{name}-{_digest(name, states)[:32]}.txt"


def _read_checksum(path):
    """A remembered checksum; None where there is none, or a damaged one."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text if re.fullmatch("[0-9a-f]{64}", text) else None

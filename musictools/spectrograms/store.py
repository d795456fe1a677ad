"""Spectrograms on disk (Zarr, one row per clip); `cutting` cuts model inputs from them.

Conventions
-----------
A store has one row per clip and the number of frames of every row; 0 means that the row is absent. A spectrogram is
kept in 8 bits: level 0 is the front end's `floor`, level 255 its `ceiling`, so that a default front end (120 dB) is
rounded by at most 0.24 dB and a model's input by 0.002. On disk a level is written as its difference from the frame
before and compressed, which is lossless, in chunks of one clip and at most 2,048 frames: a row takes only the chunks
that its clip needs. Waveforms are not kept on disk: their rows are decoded from the audio files whenever they are
asked for, so that models are trained on the same values as they see afterwards.

A row counts only after all of it is written. A killed build therefore leaves complete rows and absent ones, and the
next build makes the absent ones. The name of a store's folder holds the keys of the front end and of the data, so
that other settings or other data have another store. Stores of another format version are built again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from musictools import audio, files, runs
from musictools.spectrograms.frontends import FrontEnd

__all__ = ["ArrayStore", "SpectrogramStore", "compute_file", "open_store"]

VERSION = 2  # of the format; raise it whenever stored values mean something else

_ROWS = 16  # rows that one worker makes at a time and then marks as complete
_CHUNK = 2048  # frames of a chunk at most: 33 s at 16 kHz and a hop of 256 samples


class _Store:
    """The interface that `Segments` reads.

    Attributes
    ----------
    n_bins : int
        Frequency bins of every spectrogram.
    in_memory : bool
        Whether reading a row costs nothing.
    token : hashable
        Equal for stores whose rows are equal.
    """

    def n_frames(self, clip_id: int | str) -> int:
        """Number of frames of a clip's spectrogram.

        Parameters
        ----------
        clip_id : int or str

        Returns
        -------
        n_frames : int
            0 where the spectrogram is absent.
        """
        raise NotImplementedError

    def scale(self, raw: np.ndarray) -> np.ndarray:
        """Map stored values to what models see.

        Parameters
        ----------
        raw : np.ndarray
            As `raw` returns it.

        Returns
        -------
        x : np.ndarray [same shape, float32]
            In [0, 1]; waveforms as they are.
        """
        raise NotImplementedError


class SpectrogramStore(_Store):
    """Spectrograms of many clips on disk; made by `SpectrogramStore.build`, opened by its folder.

    Parameters
    ----------
    folder : str or Path
        With a store, complete or not.
    paths : dict of clip id to path, optional
        Audio files, from which the rows of a waveform front end are decoded; `build` and `open_store` pass them on.

    Attributes
    ----------
    folder : Path
    front_end : FrontEnd
    all_ids : list
        Clip ids in the order of the rows.
    failed : dict of clip id to str
        Clips without a row, and why.

    Raises
    ------
    ValueError
        If the folder holds no store, or one of another format version.

    See Also
    --------
    open_store : The store of a data set.
    Segments : Model inputs cut from a store.

    Examples
    --------
    >>> store = SpectrogramStore.build("songs.zarr", {"a": "a.mp3"}, front_end=FrontEnd(16000, 512, 256, 128),
    ...                                seconds=30)  # doctest: +SKIP
    >>> store["a"].shape  # doctest: +SKIP
    (128, 1876)
    """

    in_memory = False

    def __init__(self, folder: str | Path, paths: dict | None = None):
        import zarr

        self.folder = Path(folder)
        if not (self.folder / "zarr.json").is_file():
            raise ValueError(f"{self.folder}: no spectrogram store. Build one with SpectrogramStore.build.")
        group = zarr.open_group(self.folder, mode="r")
        if group.attrs.get("version") != VERSION:
            raise ValueError(
                f"{self.folder}: a store of format {group.attrs.get('version', 1)}, this is {VERSION}. "
                "SpectrogramStore.build and open_store build it again."
            )
        self.front_end = FrontEnd.from_json(group.attrs["front_end"])
        self.all_ids = group.attrs["ids"]
        self._source, self._columns = group.attrs["source"], group.attrs["columns"]
        self._S = group.get("S")
        self._paths = paths
        self._n_frames = group["n_frames"][:]
        failures = {int(row): why for row, why in _read_failures(self.folder).items()}
        self.failed = {self.all_ids[row]: why for row, why in failures.items() if not self._n_frames[row]}
        self._row = {clip_id: row for row, clip_id in enumerate(self.all_ids)}

    @classmethod
    def build(
        cls,
        folder: str | Path,
        paths: dict,
        *,
        front_end: FrontEnd,
        seconds: float,
        workers: int | None = None,
        scheduler: str = "",
    ) -> SpectrogramStore:
        """Decode and transform every file that has no row yet.

        Parameters
        ----------
        folder : str or Path
        paths : dict of clip id to path
            Clip ids are all int or all str.
        front_end : FrontEnd
        seconds : float > 0
            Length of a row; longer clips are cut, shorter ones keep their own number of frames.
        workers, scheduler
            As in `musictools.runs.map`. With a scheduler the folder must be one that all workers see.

        Returns
        -------
        store : SpectrogramStore
            With the clips that could not be decoded in `failed`.

        Raises
        ------
        ValueError
            If there are no paths, or the folder holds a store of something else.

        Notes
        -----
        A store of the same clips in another format version is removed and built again.
        """
        folder = Path(folder)
        with files.locked(folder):  # two notebooks may ask for it at the same time
            cls._fill(folder, paths, front_end, seconds, workers, scheduler)
        return cls(folder, paths)

    @staticmethod
    def _fill(folder, paths, front_end, seconds, workers, scheduler):
        n_frames = _create(folder, paths, front_end, seconds)
        ids, places = list(paths), [str(p) for p in paths.values()]
        blocks = [range(start, min(start + _ROWS, len(ids))) for start in range(0, len(ids), _ROWS)]
        tasks = [
            (str(folder), front_end, float(seconds), [(row, places[row]) for row in block])
            for block in blocks
            if not n_frames[block.start : block.stop].all()
        ]
        made = runs.map(_make_rows, tasks, workers=workers, scheduler=scheduler, description="spectrograms")
        if tasks:
            with files.atomic(folder / "failed.json") as temporary:
                temporary.write_text(json.dumps({row: why for failures in made for row, why in failures.items()}))

    @cached_property
    def checksum(self) -> str:
        """Hash over format, front end, audio files and which rows are there; results of the store depend on it."""
        text = json.dumps([VERSION, self.front_end.to_json(), self.all_ids, self._source])
        return hashlib.sha256(text.encode() + self._n_frames.tobytes()).hexdigest()

    @property
    def n_bins(self) -> int:
        """Frequency bins of every spectrogram."""
        return self.front_end.n_bins

    @cached_property
    def token(self) -> tuple[str, str]:
        """What identifies the rows in memory."""
        return str(self.folder), self.checksum

    @property
    def ids(self) -> list:
        """Clip ids whose row is complete, in order."""
        return [clip_id for clip_id, n in zip(self.all_ids, self._n_frames, strict=True) if n]

    def n_frames(self, clip_id: int | str) -> int:  # noqa: D102 - as in _Store
        return int(self._n_frames[self._position(clip_id)])

    def raw(self, clip_id: int | str) -> np.ndarray:
        """Spectrogram as stored.

        Parameters
        ----------
        clip_id : int or str

        Returns
        -------
        raw : np.ndarray [shape=(n_bins, n_frames), uint8]
            0 is the front end's floor, 255 its ceiling. For waveform front ends float32, in [-1, 1].

        Raises
        ------
        KeyError
            If the clip is unknown or has no spectrogram; the message says why.
        ValueError
            If the audio file of a waveform is unknown, or is not as long as it was when the store was built.
        """
        row = self._position(clip_id)
        n = int(self._n_frames[row])
        if not n:
            raise KeyError(f"{clip_id}: no spectrogram ({self.failed.get(clip_id, 'not built')}).")
        if self._S is not None:
            return np.cumsum(self._S[row, :, :n], axis=1, dtype=np.uint8)
        if self._paths is None:
            raise ValueError(f"{self.folder}: waveforms are read from the audio files. Open the store with its paths.")
        S = compute_file(self._paths[clip_id], self.front_end, seconds=self._columns / self.front_end.sr)
        if S.shape[1] != n:
            raise ValueError(f"{self._paths[clip_id]}: {S.shape[1]} samples, {n} when the store was built.")
        return S

    def __getitem__(self, clip_id):
        """Spectrogram of a clip in dB, np.ndarray [shape=(n_bins, n_frames), float32]; a waveform as it is."""
        raw, front_end = self.raw(clip_id), self.front_end
        return raw if self._S is None else front_end.floor + (front_end.ceiling - front_end.floor) * self.scale(raw)

    def scale(self, raw: np.ndarray) -> np.ndarray:  # noqa: D102 - as in _Store
        return raw if self._S is None else _from_levels(raw)

    def __len__(self):
        return int(np.count_nonzero(self._n_frames))

    def _position(self, clip_id):
        if clip_id not in self._row:
            raise KeyError(f"{clip_id!r} is no clip of this store ({len(self.all_ids)} clips).")
        return self._row[clip_id]


class ArrayStore(_Store):
    """Spectrograms in an array, for data sets that come as spectrograms; used like a `SpectrogramStore`.

    Parameters
    ----------
    S : np.ndarray [shape=(n_clips, n_bins, n_frames), uint8]
        Scaled per clip; 255 is the clip's maximum.
    ids : sequence of str

    Examples
    --------
    >>> store = ArrayStore(np.full((1, 128, 300), 255, np.uint8), ["a"])
    >>> store["a"].max(), store.n_frames("a")
    (np.float32(1.0), 300)
    """

    front_end = None
    in_memory = True

    def __init__(self, S: np.ndarray, ids: Sequence):
        self._S = np.asarray(S)
        self.n_bins, self.token = self._S.shape[1], object()
        self._row = {clip_id: row for row, clip_id in enumerate(ids)}
        self.ids = list(ids)
        self.failed = {}

    @cached_property
    def checksum(self) -> str:
        """Hash over ids and spectrograms; results of the store depend on it."""
        digest = hashlib.sha256(json.dumps([[str(i) for i in self.ids], self._S.shape, str(self._S.dtype)]).encode())
        digest.update(np.ascontiguousarray(self._S))
        return digest.hexdigest()

    def n_frames(self, clip_id: int | str) -> int:  # noqa: D102 - as in _Store
        return self.raw(clip_id).shape[1]

    def raw(self, clip_id: int | str) -> np.ndarray:
        """Spectrogram as stored.

        Parameters
        ----------
        clip_id : int or str

        Returns
        -------
        raw : np.ndarray [shape=(n_bins, n_frames), uint8]
        """
        return self._S[self._row[clip_id]]

    def __getitem__(self, clip_id):
        """Spectrogram in [0, 1], np.ndarray [shape=(n_bins, n_frames), float32]."""
        return self.scale(self.raw(clip_id))

    def scale(self, raw: np.ndarray) -> np.ndarray:  # noqa: D102 - as in _Store
        return _from_levels(raw)

    def __len__(self):
        return len(self.ids)


def open_store(
    data: Any,
    front_end: FrontEnd,
    *,
    ids: Sequence | None = None,
    folder: str | Path | None = None,
    workers: int | None = None,
    scheduler: str = "",
) -> SpectrogramStore | ArrayStore:
    """The spectrograms of a data set: built on the first call, completed on later ones.

    Parameters
    ----------
    data : Dataset
    front_end : FrontEnd
        Ignored for data sets that come as spectrograms: these are returned.
    ids : sequence of clip id or None
        Build these clips only.
    folder : str, Path or None
        Parent folder; None: ``spectrograms/`` in `musictools.runs.data_home`.
    workers, scheduler
        As in `musictools.runs.map`.

    Returns
    -------
    store : SpectrogramStore or ArrayStore

    Raises
    ------
    ValueError
        If the data set has neither audio nor spectrograms.

    See Also
    --------
    Segments : Model inputs cut from a store.

    Examples
    --------
    >>> from musictools import datasets, models  # doctest: +SKIP
    >>> store = open_store(datasets.load("composed"), models.describe("short_chunk").front_end)  # doctest: +SKIP
    """
    if data.spectrograms is not None:
        return ArrayStore(data.spectrograms, list(data.tracks.index))
    if not data.has_audio:
        raise ValueError(f"{data.name} in {data.folder} has no audio files, so no spectrograms can be computed.")
    chosen = list(data.tracks.index) if ids is None else list(ids)
    key = f"{data.name}-{data.checksum(chosen)[:12]}-{front_end.key}.zarr"
    parent = Path(folder) if folder is not None else runs.data_home() / "spectrograms"
    return SpectrogramStore.build(
        parent / key,
        {_plain(clip_id): data.path(clip_id) for clip_id in chosen},
        front_end=front_end,
        seconds=data.clip_seconds(chosen),
        workers=workers,
        scheduler=scheduler,
    )


def _plain(clip_id):
    return clip_id.item() if isinstance(clip_id, np.generic) else clip_id


def _create(folder, paths, front_end, seconds):
    """Make the empty store if it is not there; return the frames of every row so far."""
    import zarr

    if not paths:
        raise ValueError("No clips to make spectrograms of.")
    attributes = {
        "version": VERSION,
        "front_end": front_end.to_json(),
        "ids": list(paths),
        "columns": front_end.n_frames(round(seconds * front_end.sr)),
    }
    if (folder / "zarr.json").is_file():
        there = dict(zarr.open_group(folder, mode="r").attrs)
        if (there.get("ids"), there.get("front_end")) != (attributes["ids"], attributes["front_end"]):
            raise ValueError(f"{folder}: holds spectrograms of other clips or another front end.")
        if there.get("version") != VERSION:
            _remove(folder)
        elif there["columns"] != attributes["columns"]:
            raise ValueError(f"{folder}: holds rows of another length. Choose another folder.")
    if not (folder / "zarr.json").is_file():
        source = hashlib.sha256(" ".join(files.fingerprint(path) for path in paths.values()).encode()).hexdigest()
        with files.atomic_folder(folder) as temporary:
            group = zarr.open_group(temporary, mode="w", attributes=attributes | {"source": source})
            group.create_array("n_frames", shape=(len(paths),), chunks=(_ROWS,), dtype="int32", fill_value=0)
            if front_end.kind != "waveform":
                shape = (len(paths), front_end.n_bins, attributes["columns"])
                chunks = (1, shape[1], min(shape[2], _CHUNK))
                compressor = zarr.codecs.ZstdCodec(level=1)
                group.create_array("S", shape=shape, chunks=chunks, dtype="uint8", fill_value=0, compressors=compressor)
    return zarr.open_group(folder, mode="r")["n_frames"][:]


def _remove(folder):
    """Remove a store. It is moved away first, so that what is left of a removal that was killed is no store."""
    aside = folder.with_name(f".tmp-{os.getpid()}-{folder.name}")  # as `files.remove_stale` expects them
    folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _make_rows(task):
    """Fill one block of rows, then mark them: in a worker process. Returns {row: why} of the failures."""
    import zarr

    folder, front_end, seconds, rows = task
    group = zarr.open_group(folder, mode="r+")
    S, first = group.get("S"), rows[0][0]
    n_frames, failures = group["n_frames"][first : first + len(rows)], {}
    for row, path in rows:
        if n_frames[row - first]:
            continue
        try:
            values = compute_file(path, front_end, seconds=seconds)
        except (ValueError, OSError) as error:
            failures[row] = str(error)
            continue
        n_frames[row - first] = values.shape[1]
        if S is not None:
            S[row, :, : values.shape[1]] = np.diff(_to_levels(front_end.scale(values)), axis=1, prepend=np.uint8(0))
    group["n_frames"][first : first + len(rows)] = n_frames
    return failures


def _to_levels(x):
    return np.rint(x * np.float32(255)).astype(np.uint8)


def _from_levels(levels):
    return levels.astype(np.float32) / 255.0


def compute_file(path: str | Path, front_end: FrontEnd, *, seconds: float | None = None) -> np.ndarray:
    """Decode a file and compute its spectrogram.

    Parameters
    ----------
    path : str or Path
    front_end : FrontEnd
    seconds : float > 0 or None
        Cut longer files here.

    Returns
    -------
    S : np.ndarray [shape=(n_bins, n_frames), float32]

    Raises
    ------
    musictools.audio.AudioError
        If the file cannot be used; the message names it.

    Examples
    --------
    >>> compute_file("song.mp3", FrontEnd(16000, 512, 256, 128), seconds=30).shape  # doctest: +SKIP
    (128, 1876)
    """
    y, _ = audio.load(path, sr=front_end.sr)
    if seconds is not None:
        y = y[: round(seconds * front_end.sr)]
    return front_end.compute(y)


def _read_failures(folder):
    path = folder / "failed.json"
    return json.loads(path.read_text()) if path.is_file() else {}

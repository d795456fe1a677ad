"""Spectrograms on disk (Zarr, a row a clip) and segments (model inputs) cut from them on demand.

Conventions
-----------
A store holds decibels as float16, or waveforms as float32, of shape (n_clips, n_bins, n_frames), one chunk a clip, and
for every clip its number of frames; 0 means that the row is not there. float16 keeps decibels within 0.03 dB.
Waveforms stay as they are, at twice the size (1.9 MB for 29 s at 16 kHz): rounded, models would be trained on other
values than they see afterwards. A row counts only after all of it is written, so a killed build leaves complete rows
and absent ones, and the next build makes the absent ones. A store's folder name holds the keys of the front end and of
the data: other settings or other data never meet the same store.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from musictools import audio, files, runs
from musictools.spectrograms.frontends import FrontEnd

__all__ = ["ArrayStore", "Segments", "SpectrogramStore", "compute_file", "open_store"]

_ROWS = 16  # rows that one worker makes at a time and then marks as complete


class _Store:
    """The interface that `Segments` reads; a store fills `_S`, an array or Zarr array (n_clips, n_bins, n_frames)."""

    @property
    def n_bins(self) -> int:
        """Rows of every spectrogram."""
        return self._S.shape[1]

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
        If the folder holds no store.

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

    def __init__(self, folder: str | Path):
        import zarr

        self.folder = Path(folder)
        if not (self.folder / "zarr.json").is_file():
            raise ValueError(f"{self.folder}: no spectrogram store. Build one with SpectrogramStore.build.")
        group = zarr.open_group(self.folder, mode="r")
        self.front_end = FrontEnd.from_json(group.attrs["front_end"])
        self.all_ids = group.attrs["ids"]
        self._source = group.attrs.get("source", self.folder.name)  # stores of earlier versions have the name only
        self._S = group["S"]
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
        """
        folder = Path(folder)
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
        return cls(folder)

    @cached_property
    def checksum(self) -> str:
        """Hash over the front end, the audio files and which rows are there; results of the store depend on it."""
        text = json.dumps([self.front_end.to_json(), self.all_ids, self._source])
        return hashlib.sha256(text.encode() + self._n_frames.tobytes()).hexdigest()

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
        raw : np.ndarray [shape=(n_bins, n_frames), float16]
            In dB; of waveform front ends float32, in [-1, 1].

        Raises
        ------
        KeyError
            If the clip is unknown or has no spectrogram; the message says why.
        """
        row = self._position(clip_id)
        if not self._n_frames[row]:
            raise KeyError(f"{clip_id}: no spectrogram ({self.failed.get(clip_id, 'not built')}).")
        return self._S[row, :, : int(self._n_frames[row])]

    def __getitem__(self, clip_id):
        """Spectrogram of a clip in dB, np.ndarray [shape=(n_bins, n_frames), float32]."""
        return self.raw(clip_id).astype(np.float32)

    def scale(self, raw: np.ndarray) -> np.ndarray:  # noqa: D102 - as in _Store
        return self.front_end.scale(raw)

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

    def __init__(self, S: np.ndarray, ids: Sequence):
        self._S = np.asarray(S)
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
        return raw.astype(np.float32) / 255.0

    def __len__(self):
        return len(self.ids)


class Segments:
    """Segments (model inputs) of many clips, cut from a store when asked for; indexes like an array.

    Parameters
    ----------
    store : SpectrogramStore or ArrayStore
    ids : sequence of clip id
        Clips in this order; all segments of a clip follow each other.
    length, step : int > 0
        Frames of one segment, and from the start of one segment to the start of the next.
    cache_bytes : int
        Spectrograms kept in memory, as stored. Larger data are read again when needed.

    Attributes
    ----------
    clip : np.ndarray [shape=(n_segments,), int]
        Position in `ids` of every segment's clip.
    start : np.ndarray [shape=(n_segments,), int]
        First frame of every segment.
    short : list of clip id
        Clips with fewer than `length` frames; they have no segment.

    Raises
    ------
    ValueError
        If `length` or `step` is not a positive int.

    Examples
    --------
    >>> store = ArrayStore(np.zeros((2, 128, 300), np.uint8), ["a", "b"])
    >>> segments = Segments(store, ["a", "b"], length=128, step=64)
    >>> segments.shape, segments[:2].shape, segments.clip.tolist()
    ((6, 128, 128, 1), (2, 128, 128, 1), [0, 0, 0, 1, 1, 1])
    """

    def __init__(
        self, store: SpectrogramStore | ArrayStore, ids: Sequence, *, length: int, step: int, cache_bytes: int = 2**31
    ):
        for name, value in (("length", length), ("step", step)):
            if not isinstance(value, int | np.integer) or value <= 0:
                raise ValueError(f"{name} must be a positive int. Got {value!r}.")
        self.store, self.ids, self.length = store, list(ids), int(length)
        counts = [max(0, (store.n_frames(i) - length) // step + 1) for i in self.ids]
        self.short = [clip_id for clip_id, n in zip(self.ids, counts, strict=True) if n == 0]
        self.clip = np.repeat(np.arange(len(self.ids)), counts)
        self.start = np.concatenate([np.arange(n) * step for n in counts] or [np.zeros(0, int)]).astype(int)
        self._cache = _RowCache(store, cache_bytes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as of an array, (n_segments, n_bins, length, 1); without n_bins for waveforms."""
        bins = () if getattr(self.store.front_end, "kind", "") == "waveform" else (self.store.n_bins,)
        return (len(self.clip), *bins, self.length, 1)

    def __len__(self):
        return len(self.clip)

    def __getitem__(self, index):
        """Segments by int, slice, bool mask or int array, as the model sees them.

        Spectrograms are float32 in [0, 1], shape (…, n_bins, length, 1), waveforms float32 in [-1, 1],
        shape (…, length, 1).
        """
        chosen = np.atleast_1d(np.arange(len(self))[index])
        x = np.empty((len(chosen), *self.shape[1:]), dtype=np.float32)
        for k, i in enumerate(chosen):
            S = self._cache[self.ids[self.clip[i]]][:, self.start[i] : self.start[i] + self.length]
            x[k] = self.store.scale(S).reshape(x.shape[1:])
        return x[0] if np.isscalar(index) or isinstance(index, np.integer) else x

    def take(self, index: np.ndarray) -> Segments:
        """Some of the segments, over the same store and cache.

        Parameters
        ----------
        index : np.ndarray [int or bool]
            As in indexing; ascending.

        Returns
        -------
        segments : Segments
            `clip` still points into the same `ids`.
        """
        some = object.__new__(Segments)
        some.__dict__.update(self.__dict__)
        some.clip, some.start = self.clip[index], self.start[index]
        return some

    def order(self, rng: np.random.Generator, *, per_clip: int = 0, window: int = 512) -> np.ndarray:
        """A random order of the segments that reads every clip once: clips are shuffled, then segments inside windows.

        Parameters
        ----------
        rng : np.random.Generator
        per_clip : int >= 0
            Number of segments of a clip, chosen at random (all where there are fewer); 0: all.
        window : int > 0
            Number of clips whose segments are mixed with each other.

        Returns
        -------
        order : np.ndarray [shape=(n,), int]
            Shorter when `per_clip` > 0; the length is the same in every epoch.
        """
        if not len(self):
            return np.zeros(0, dtype=int)
        clips = rng.permutation(len(self.ids))
        rank = np.empty_like(clips)
        rank[clips] = np.arange(len(clips)) // window
        order = np.lexsort((rng.random(len(self)), rank[self.clip]))
        if per_clip:
            order = order[_place_within(self.clip[order]) < per_clip]
        return order


def _place_within(groups):
    """Number of equal entries before each entry."""
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0]) if len(groups) else np.zeros(0, int)
    place = np.empty(len(groups), dtype=int)
    place[order] = np.arange(len(groups)) - np.repeat(starts, np.diff(np.r_[starts, len(groups)]))
    return place


class _RowCache:
    """Least recently used spectrograms, as stored, within a budget of bytes. Safe for threads."""

    def __init__(self, store, budget):
        self._store, self._budget, self._rows, self._bytes = store, budget, OrderedDict(), 0
        self._lock = threading.Lock()

    def __getitem__(self, clip_id):
        with self._lock:
            if clip_id in self._rows:
                self._rows.move_to_end(clip_id)
                return self._rows[clip_id]
            S = self._rows[clip_id] = self._store.raw(clip_id)
            self._bytes += S.nbytes
            while self._bytes > self._budget and len(self._rows) > 1:
                self._bytes -= self._rows.popitem(last=False)[1].nbytes
            return S


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
    precision = "-float32" if front_end.kind == "waveform" else ""  # earlier versions kept float16
    key = f"{data.name}-{data.checksum(chosen)[:12]}-{front_end.key}{precision}.zarr"
    parent = Path(folder) if folder is not None else runs.data_home() / "spectrograms"
    return SpectrogramStore.build(
        parent / key,
        {_plain(clip_id): data.path(clip_id) for clip_id in chosen},
        front_end=front_end,
        seconds=data.clip_seconds(chosen),
        workers=workers,
        scheduler=scheduler,
    )


def _dtype(front_end):
    return np.dtype("float32" if front_end.kind == "waveform" else "float16")


def _plain(clip_id):
    return clip_id.item() if isinstance(clip_id, np.generic) else clip_id


def _create(folder, paths, front_end, seconds):
    """Make the empty store if it is not there; return the frames of every row so far."""
    import zarr

    if not paths:
        raise ValueError("No clips to make spectrograms of.")
    ids = list(paths)
    columns = front_end.n_frames(round(seconds * front_end.sr))
    if not (folder / "zarr.json").is_file():
        source = hashlib.sha256(" ".join(files.fingerprint(path) for path in paths.values()).encode()).hexdigest()
        attributes = {"front_end": front_end.to_json(), "ids": ids, "source": source}
        shape = (len(ids), front_end.n_bins, columns)
        with files.atomic_folder(folder) as temporary:
            group = zarr.open_group(temporary, mode="w", attributes=attributes)
            # Compression would save a seventh of the space and cost as much time as writing.
            group.create_array(
                "S", shape=shape, chunks=(1, *shape[1:]), dtype=_dtype(front_end), fill_value=0.0, compressors=None
            )
            group.create_array("n_frames", shape=(len(ids),), chunks=(_ROWS,), dtype="int32", fill_value=0)
    group = zarr.open_group(folder, mode="r")
    there = group.attrs["ids"], group.attrs["front_end"], group["S"].shape[2], group["S"].dtype
    if there != (ids, front_end.to_json(), columns, _dtype(front_end)):
        raise ValueError(f"{folder}: holds spectrograms of other clips or another front end.")
    return group["n_frames"][:]


def _make_rows(task):
    """Fill one block of rows, then mark them: in a worker process. Returns {row: why} of the failures."""
    import zarr

    folder, front_end, seconds, rows = task
    group = zarr.open_group(folder, mode="r+")
    S, first = group["S"], rows[0][0]
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
        full = np.full(S.shape[1:], front_end.floor, dtype=S.dtype)
        full[:, : values.shape[1]] = values
        S[row] = full
    group["n_frames"][first : first + len(rows)] = n_frames
    return failures


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

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
that other settings or other data have another store. Stores of another format version are built again, and so are
stores whose description is damaged. Every row has a checksum. A row that does not fit it is computed again from its
audio file, with a warning. `layout` says what lies where.
"""

from __future__ import annotations

import hashlib
import json
import warnings
import zlib
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from musictools import audio, files, runs
from musictools.spectrograms import layout
from musictools.spectrograms.frontends import FrontEnd

__all__ = ["ArrayStore", "SpectrogramStore", "compute_file", "open_store"]


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
        If the folder holds no store, a damaged one, or one of another format version.

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
        self.folder = Path(folder)
        if not (self.folder / "zarr.json").is_file():
            raise ValueError(f"{self.folder}: no spectrogram store. Build one with SpectrogramStore.build.")
        group, known = layout.described(self.folder)
        if known.get("version") != layout.VERSION:
            raise ValueError(
                f"{self.folder}: a store of format {known.get('version', 1)}, this is {layout.VERSION}. "
                "SpectrogramStore.build and open_store build it again."
            )
        self.front_end = FrontEnd.from_json(known["front_end"])
        self.all_ids = known["ids"]
        self._source, self._seconds = known["source"], known["seconds"]
        self._S = group.get("S")
        self._paths = paths
        self._n_frames, self._crc = layout.read_rows(self.folder, group["rows"]).T
        failures = {int(row): why for row, why in layout.read_failures(self.folder).items()}
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
        A store of the same clips in another format version, or whose description is damaged, is removed and built
        again; a warning says so.
        """
        folder = Path(folder)
        with files.locked(folder) as alone:  # two notebooks may ask for it at the same time
            cls._fill(folder, paths, front_end, seconds, workers, scheduler, alone)
        return cls(folder, paths)

    @staticmethod
    def _fill(folder, paths, front_end, seconds, workers, scheduler, alone):
        n_frames = layout.create(folder, paths, front_end, seconds)
        ids, places = list(paths), [str(p) for p in paths.values()]
        tasks = [
            (str(folder), front_end, float(seconds), [(row, places[row]) for row in block])
            for block in layout.blocks(len(ids))
            if not n_frames[block.start : block.stop].all()
        ]
        if alone and tasks:
            layout.remove_partial(folder)
        if len(tasks) == 1 and not scheduler:
            workers = 1  # a few files that failed before: processes would take longer to start
        shared = [folder, places[0]]  # a worker that does not see the audio files would call them damaged
        made = runs.map(
            _make_rows, tasks, workers=workers, scheduler=scheduler, description="spectrograms", shared=shared
        )
        failures = {row: why for some in made for row, why in some.items()}
        if tasks and {str(row): why for row, why in failures.items()} != layout.read_failures(folder):
            with files.atomic(folder / "failed.json") as temporary:
                temporary.write_text(json.dumps(failures))
        if not (folder / layout.LIST).is_file() or len(failures) < np.count_nonzero(n_frames == 0):
            layout.list_rows(folder)

    @cached_property
    def checksum(self) -> str:
        """Hash over format, front end, audio files and which rows are there; results of the store depend on it."""
        text = json.dumps([layout.VERSION, self.front_end.to_json(), self.all_ids, self._source])
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
            If the audio file of a waveform is unknown, or is not as long as it was when the store was built; or if the
            row is damaged and cannot be computed again.

        Warns
        -----
        UserWarning
            If the row is damaged and was computed again.
        """
        row = self._position(clip_id)
        n = int(self._n_frames[row])
        if not n:
            raise KeyError(f"{clip_id}: no spectrogram ({self.failed.get(clip_id, 'not built')}).")
        if self._S is not None:
            stored = self._sound(row, n)
            stored = self._mended(row, clip_id) if stored is None else stored
            return np.cumsum(stored, axis=1, dtype=np.uint8)
        if self._paths is None:
            raise ValueError(f"{self.folder}: waveforms are read from the audio files. Open the store with its paths.")
        return self._computed(row, clip_id)

    def _sound(self, row, n):
        """Differences of levels as stored; None where they do not fit their checksum."""
        try:
            stored = self._S[row, :, :n]
        except (ValueError, RuntimeError):  # the decoder's
            return None
        return stored if zlib.crc32(np.ascontiguousarray(stored)) == self._crc[row] else None

    def _mended(self, row, clip_id):
        """Differences of levels of a damaged row, computed and written again."""
        import zarr

        damaged = f"{self.folder}: the spectrogram of clip {clip_id} is damaged: it does not fit its checksum."
        if self._paths is None:
            raise ValueError(f"{damaged} Open the store with open_store, so that it is computed again.")
        warnings.warn(f"{damaged} It is computed again from {self._paths[clip_id]}.", stacklevel=4)
        values = _differences(self._computed(row, clip_id), self.front_end)
        self._crc[row] = zlib.crc32(values)
        with suppress(OSError):  # where the store cannot be written, the row is computed in every process
            group = zarr.open_group(self.folder, mode="r+")
            layout.write_row(self.folder, group["S"], row, values)
            if self._crc[row] != group["rows"][row, 1]:
                (self.folder / layout.LIST).unlink(missing_ok=True)
                group["rows"][row] = values.shape[1], self._crc[row]
        return values

    def _computed(self, row, clip_id):
        path, n = self._paths[clip_id], int(self._n_frames[row])
        S = compute_file(path, self.front_end, seconds=self._seconds)
        if S.shape[1] != n:
            what = "samples" if self._S is None else "frames"
            raise ValueError(f"{path}: {S.shape[1]} {what}, {n} when the store was built.")
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
        {_plain(clip_id): path for clip_id, path in data.paths(chosen).items()},
        front_end=front_end,
        seconds=_seconds(parent / key) or data.clip_seconds(chosen),
        workers=workers,
        scheduler=scheduler,
    )


def _seconds(folder):
    """Length of the rows of a store that is there; else None. Asking all audio files takes long."""
    with suppress(ValueError):
        return layout.described(folder)[1].get("seconds")
    return None


def _plain(clip_id):
    return clip_id.item() if isinstance(clip_id, np.generic) else clip_id


def _make_rows(task):
    """Fill one block of rows, then mark them: in a worker process. Returns {row: why} of the failures."""
    import zarr

    folder, front_end, seconds, rows = task
    # The arrays alone: reading the group's attributes, which name all clips, for every block would take quadratic time.
    entries, first = zarr.open_array(Path(folder) / "rows", mode="r+"), rows[0][0]
    S = None if front_end.kind == "waveform" else zarr.open_array(Path(folder) / "S", mode="r+")
    try:
        known = entries[first : first + len(rows)]
    except (ValueError, RuntimeError):  # a warning has said so
        known = np.zeros((len(rows), 2), np.uint32)
        (Path(folder) / "rows" / f"c.{first // layout.ROWS}.0").unlink()
    marks, failures = known.copy(), {}
    for row, path in rows:
        if marks[row - first, 0]:
            continue
        try:
            values = compute_file(path, front_end, seconds=seconds)
        except (ValueError, OSError) as error:
            failures[row] = str(error)
            continue
        marks[row - first] = values.shape[1], 0
        if S is not None:
            values = _differences(values, front_end)
            with layout.naming(folder):
                layout.write_row(Path(folder), S, row, values)
            marks[row - first, 1] = zlib.crc32(values)
    if (marks != known).any():  # a complete store may be one that cannot be written
        with layout.naming(folder):
            entries[first : first + len(rows)] = marks
    return failures


def _differences(values, front_end):
    """Levels as they are stored: each minus the one of the frame before."""
    return np.ascontiguousarray(np.diff(_to_levels(front_end.scale(values)), axis=1, prepend=np.uint8(0)))


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

"""Segments (model inputs), cut from stores of spectrograms on demand.

Rows that have been read stay in memory, within the budget that `musictools.runs.memory_budget` tells.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from musictools import runs

if TYPE_CHECKING:
    from musictools.spectrograms.store import ArrayStore, SpectrogramStore

__all__ = ["Segments"]


class Segments:
    """Segments (model inputs) of many clips, cut from a store when asked for; indexes like an array.

    Parameters
    ----------
    store : SpectrogramStore or ArrayStore
    ids : sequence of clip id
        Clips in this order; all segments of a clip follow each other.
    length, step : int > 0
        Frames of one segment, and from the start of one segment to the start of the next.
    cache_bytes : int or None
        Memory for rows that have been read, as stored; rows beyond it are read again when needed. None: all segments
        of this process share half of `musictools.runs.memory_budget`.

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
    >>> from musictools.spectrograms import ArrayStore
    >>> store = ArrayStore(np.zeros((2, 128, 300), np.uint8), ["a", "b"])
    >>> segments = Segments(store, ["a", "b"], length=128, step=64)
    >>> segments.shape, segments[:2].shape, segments.clip.tolist()
    ((6, 128, 128, 1), (2, 128, 128, 1), [0, 0, 0, 1, 1, 1])
    """

    def __init__(
        self,
        store: SpectrogramStore | ArrayStore,
        ids: Sequence,
        *,
        length: int,
        step: int,
        cache_bytes: int | None = None,
    ):
        for name, value in (("length", length), ("step", step)):
            if not isinstance(value, int | np.integer) or value <= 0:
                raise ValueError(f"{name} must be a positive int. Got {value!r}.")
        self.store, self.ids, self.length = store, list(ids), int(length)
        counts = [max(0, (store.n_frames(i) - length) // step + 1) for i in self.ids]
        self.short = [clip_id for clip_id, n in zip(self.ids, counts, strict=True) if n == 0]
        self.clip = np.repeat(np.arange(len(self.ids)), counts)
        self.start = np.concatenate([np.arange(n) * step for n in counts] or [np.zeros(0, int)]).astype(int)
        self._cache = _SHARED if cache_bytes is None else _RowCache(cache_bytes)

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
        single = isinstance(index, int | np.integer)
        if isinstance(index, slice):
            index = np.asarray(range(len(self))[index], dtype=int)
        # Numbers are taken as they are: a list of all segments for every batch would take quadratic time.
        numbers = isinstance(index, np.ndarray) and index.dtype.kind in "iu"
        chosen = np.atleast_1d(index if numbers else np.arange(len(self))[index])
        raw = None
        for k, i in enumerate(chosen):
            S = self._cache.row(self.store, self.ids[self.clip[i]])
            if raw is None:
                raw = np.empty((len(chosen), len(S), self.length), dtype=S.dtype)
            raw[k] = S[:, self.start[i] : self.start[i] + self.length]
        x = np.zeros(0, np.float32) if raw is None else self.store.scale(raw)
        x = x.reshape(len(chosen), *self.shape[1:])
        return x[0] if single else x

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
    """Least recently used rows of stores, within a budget of bytes. Safe for threads."""

    def __init__(self, budget=None):
        self._budget, self._rows, self._bytes = budget, OrderedDict(), 0
        self._lock = threading.Lock()

    def row(self, store, clip_id):
        if self._budget is None and store.in_memory:
            return store.raw(clip_id)
        key = (store.token, clip_id)
        with self._lock:
            if key in self._rows:
                self._rows.move_to_end(key)
                return self._rows[key]
        S = store.raw(clip_id)  # without the lock, so that several threads can decode
        budget = runs.memory_budget() // 2 if self._budget is None else self._budget
        with self._lock:
            if key not in self._rows:
                self._rows[key] = S
                self._bytes += S.nbytes
            while self._bytes > budget and len(self._rows) > 1:
                self._bytes -= self._rows.popitem(last=False)[1].nbytes
        return S


_SHARED = _RowCache()  # of all segments of this process

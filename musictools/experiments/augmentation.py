"""Training clips and randomly deformed copies of them: does a tagger learn more from these?

A copy of clip ``17`` has the id ``17+1``, the next one ``17+2``. A copy has the tags of its clip. What is done to it
follows from the seed, the clip's id and the number of the copy alone.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from musictools import audio, files, runs
from musictools.spectrograms import FrontEnd, SpectrogramStore

__all__ = ["FAMILIES", "Augmentation", "AugmentedStore", "copy_id", "deformed_copies", "with_copies"]

FAMILIES = {  # -> kinds with their lowest and highest amount; in the order in which they happen to music
    "speed and pitch": {"time_stretch": (2**-0.25, 2**0.25), "pitch_shift": (-2, 2)},
    "room": {"room": (0.2, 2.0)},
    "compression": {"compress": (1.5, 8)},
    "noise": {"noise": (0.01, 0.2)},
    "band": {"low_pass": (2000, 7000), "high_pass": (60, 600)},
    "codec": {"mp3": (16, 64), "ogg": (0.0, 0.4)},
}
_LINEAR = ("pitch_shift", "ogg")  # the other amounts are drawn on a logarithmic scale


@dataclass(frozen=True)
class Augmentation:
    """Random deformations of clips: the four of `tagger_slides`, rooms, limited bands and codecs.

    Speed changes by at most a quarter of an octave: at the square root of two, the slides' amount, the tags *fast* and
    *slow* would no longer be true.

    Parameters
    ----------
    most : int > 0
        A copy is deformed in 1 to `most` ways, each of another family.
    seed : int >= 0

    Raises
    ------
    ValueError
        If `most` is no number of families.

    Examples
    --------
    >>> augmentation = Augmentation(most=2)
    >>> augmentation.draw(17, 1) == augmentation.draw(17, 1), augmentation.draw(17, 1) == augmentation.draw(17, 2)
    (True, False)
    """

    most: int = 3
    seed: int = 0

    def __post_init__(self):
        if not 1 <= self.most <= len(FAMILIES):
            raise ValueError(f"most must lie between 1 and {len(FAMILIES)}. Got {self.most!r}.")

    def draw(self, clip_id: Hashable, copy: int) -> tuple[tuple[str, float], ...]:
        """Draw what is done to a copy.

        Parameters
        ----------
        clip_id : int or str
        copy : int > 0
            Number of the copy.

        Returns
        -------
        deformations : tuple of (str, float)
            Kinds and amounts as `audio.deform` takes them, in the order in which they are applied.
        """
        rng = self._rng(clip_id, copy)
        chosen = rng.choice(len(FAMILIES), size=rng.integers(1, self.most + 1), replace=False)
        drawn = []
        for family in sorted(chosen):
            kinds = list(FAMILIES.values())[family]
            kind = list(kinds)[rng.integers(len(kinds))]
            low, high = kinds[kind]
            place = rng.random()
            amount = low + place * (high - low) if kind in _LINEAR else low * (high / low) ** place
            drawn.append((kind, float(amount)))
        return tuple(drawn)

    def apply(self, y: np.ndarray, sr: int, clip_id: Hashable, copy: int) -> np.ndarray:
        """Deform a clip.

        Parameters
        ----------
        y : np.ndarray [shape=(n,)]
        sr : int > 0
            Hz.
        clip_id : int or str
        copy : int > 0

        Returns
        -------
        y : np.ndarray [shape=(m,), float32]
            A slower copy is cut to n samples, a faster one is shorter.
        """
        n, seed = len(y), int(self._rng(clip_id, copy).integers(2**31))
        for kind, amount in self.draw(clip_id, copy):
            y = audio.deform(y, sr=sr, kind=kind, amount=amount, seed=seed)
        return np.asarray(y[:n], dtype=np.float32)

    def _rng(self, clip_id, copy):
        return np.random.default_rng((self.seed, zlib.crc32(repr(_plain(clip_id)).encode()), copy))


def copy_id(clip_id: Hashable, copy: int) -> str:
    """Id of a clip's copy.

    Parameters
    ----------
    clip_id : int or str
    copy : int > 0

    Returns
    -------
    copy_id : str

    Examples
    --------
    >>> copy_id(17, 1)
    '17+1'
    """
    return f"{clip_id}+{copy}"


def with_copies(table: pd.DataFrame | pd.Series, ids: Sequence, *, copies: int) -> pd.DataFrame | pd.Series:
    """Append the rows of copies, which equal those of their clips.

    Parameters
    ----------
    table : pd.DataFrame or pd.Series, by clip id
        Such as labels or a split.
    ids : sequence of clip id
        Clips that have copies.
    copies : int >= 0
        Copies of each clip.

    Returns
    -------
    table : as `table`

    Examples
    --------
    >>> with_copies(pd.Series(["train", "test"], index=[3, 4]), [3], copies=2).to_dict()
    {3: 'train', 4: 'test', '3+1': 'train', '3+2': 'train'}
    """
    parts = [table]
    for copy in range(1, copies + 1):
        rows = table.loc[list(ids)]
        parts.append(rows.set_axis([copy_id(clip_id, copy) for clip_id in rows.index]))
    return pd.concat(parts)


@dataclass(frozen=True)
class _Copy:
    """Spectrogram of one copy, kept in a file; runs in worker processes."""

    load: Callable[..., tuple[np.ndarray, int]]
    front_end: FrontEnd
    augmentation: Augmentation
    folder: Path

    def __call__(self, task):
        clip_id, copy = task
        path = self.folder / f"{copy_id(clip_id, copy)}.npy"
        if not path.is_file():
            sr = self.front_end.sr
            y = self.augmentation.apply(self.load(clip_id, sr=sr)[0], sr, clip_id, copy)
            levels = np.rint(self.front_end.scale(self.front_end.compute(y)) * 255).astype(np.uint8)
            with files.atomic(path) as temporary, open(temporary, "wb") as file:
                np.save(file, levels)
        return np.load(path, mmap_mode="r").shape[1]


def deformed_copies(
    data: Any,
    store: SpectrogramStore,
    ids: Sequence,
    *,
    copies: int,
    folder: str | Path,
    augmentation: Augmentation | None = None,
    workers: int | None = None,
    scheduler: str = "",
) -> AugmentedStore:
    """Add the spectrograms of deformed copies to a store. Those that are in the folder already are not made again.

    Parameters
    ----------
    data : Dataset
        With audio.
    store : SpectrogramStore
        Of this data.
    ids : sequence of clip id
        Clips that are copied.
    copies : int >= 0
        Copies of each clip.
    folder : str or Path
        For the copies' spectrograms; each augmentation and each front end has its own folder inside it.
    augmentation : Augmentation or None
        None: the default one.
    workers, scheduler
        As in `runs.map`.

    Returns
    -------
    store : AugmentedStore
        Of all clips of `store`, and the copies.
    """
    augmentation = Augmentation() if augmentation is None else augmentation
    settings = json.dumps([store.checksum, repr(augmentation), repr(FAMILIES)])
    key = hashlib.sha256(settings.encode()).hexdigest()[:12]
    folder = Path(folder) / f"{data.name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [(_plain(clip_id), copy) for copy in range(1, copies + 1) for clip_id in ids]
    job = _Copy(data.audio, store.front_end, augmentation, folder)
    n_frames = runs.map(job, tasks, workers=workers, scheduler=scheduler, description="deformed copies")
    names = [copy_id(*task) for task in tasks]
    return AugmentedStore(store, folder, dict(zip(names, n_frames, strict=True)))


class AugmentedStore:
    """A store of spectrograms with those of deformed copies, made by `deformed_copies`; used like a `SpectrogramStore`.

    Parameters
    ----------
    store : SpectrogramStore
    folder : Path
        With a file ``<id>.npy`` for each copy.
    n_frames : dict of str to int
        Id of every copy -> its number of frames.

    Attributes
    ----------
    ids : list
        Clips first, then copies.
    """

    in_memory = False

    def __init__(self, store: SpectrogramStore, folder: Path, n_frames: dict[str, int]):
        self.store, self.folder, self._n_frames = store, Path(folder), dict(n_frames)
        self.front_end, self.n_bins = store.front_end, store.n_bins
        self.ids = [*store.ids, *self._n_frames]

    @property
    def checksum(self) -> str:
        """Hash over the store's rows and what was done to the copies; results of the store depend on it."""
        text = json.dumps([self.store.checksum, self.folder.name, self._n_frames])
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def token(self) -> tuple:
        """What identifies the rows in memory."""
        return (str(self.folder), *self.store.token)

    def n_frames(self, clip_id: int | str) -> int:
        """Number of frames of a spectrogram.

        Parameters
        ----------
        clip_id : int or str

        Returns
        -------
        n_frames : int
        """
        return self._n_frames[clip_id] if clip_id in self._n_frames else self.store.n_frames(clip_id)

    def raw(self, clip_id: int | str) -> np.ndarray:
        """Spectrogram as stored.

        Parameters
        ----------
        clip_id : int or str

        Returns
        -------
        raw : np.ndarray [shape=(n_bins, n_frames), uint8]
        """
        if clip_id in self._n_frames:
            return np.load(self.folder / f"{clip_id}.npy")
        return self.store.raw(clip_id)

    def scale(self, raw: np.ndarray) -> np.ndarray:
        """Map stored values to what models see.

        Parameters
        ----------
        raw : np.ndarray
            As `raw` returns it.

        Returns
        -------
        x : np.ndarray [same shape, float32]
            In [0, 1].
        """
        return self.store.scale(raw)

    def __getitem__(self, clip_id):
        """Spectrogram of a clip or copy in dB, np.ndarray [shape=(n_bins, n_frames), float32]."""
        low, high = self.front_end.floor, self.front_end.ceiling
        return low + (high - low) * self.scale(self.raw(clip_id))

    def __len__(self):
        return len(self.ids)


def _plain(clip_id):
    """A clip id as Python has it: NumPy's numbers look different in text."""
    return clip_id.item() if isinstance(clip_id, np.generic) else clip_id

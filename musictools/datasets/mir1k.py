"""MIR-1K: karaoke clips with the voice and the accompaniment apart.

Description
    1,000 clips of 4–13 s from 110 Chinese pop songs, sung by amateurs of both sexes, 16 kHz. Voice and accompaniment
    are on two channels; every 20 ms a label says whether somebody sings.
Layout
    The official one: ``Wavfile/<singer>_<song>_<clip>.wav`` (left: accompaniment, right: voice) and
    ``vocal-nonvocalLabel/<name>.vocal`` (a 0 or 1 a line). Or compact: ``clips/<name>.voice.ogg`` and
    ``clips/<name>.accomp.ogg`` with ``labels.npz`` (clip, length, vocal: all clips' labels one after the other).
Licence
    Free for research.
Where
    http://mirlab.org/dataset/public/ (Hsu and Jang).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from musictools import audio, files
from musictools.audio.chatter import silenced
from musictools.datasets.base import Dataset

__all__ = ["Mir1k"]

HOP_SECONDS = 0.02  # labels stand in the middle of frames of 40 ms


class Mir1k(Dataset):
    """MIR-1K; see the module for its two layouts. There are no tags and no genres.

    Parameters
    ----------
    folder : str or Path

    Raises
    ------
    ValueError
        If the folder holds no clips in one of the two layouts, or no labels.

    Examples
    --------
    >>> data = Mir1k("mir1k")  # doctest: +SKIP
    >>> sorted(data.stems("abjones_1_01")[0])  # doctest: +SKIP
    ['accompaniment', 'voice']
    """

    name = "mir1k"
    description = "karaoke clips of 4–13 s with voice and accompaniment apart (MIR-1K)"
    licence = "free for research"
    where = "http://mirlab.org/dataset/public/; unpack so that Wavfile/abjones_1_01.wav is there"
    bibtex = """@article{hsu2010mir1k,
  title = {On the improvement of singing voice separation for monaural recordings using the {MIR-1K} dataset},
  author = {Hsu, Chao-Ling and Jang, Jyh-Shing Roger}, volume = {18}, number = {2}, year = {2010},
  journal = {IEEE Transactions on Audio, Speech, and Language Processing}}"""
    split_kinds = ("random", "artist")
    has_stems = True

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        self._official = (folder / "Wavfile").is_dir()
        place, ending = ("Wavfile", ".wav") if self._official else ("clips", ".voice.ogg")
        names = sorted(p.name.removesuffix(ending) for p in (folder / place).glob(f"*{ending}"))
        if not names:
            raise ValueError(
                f"{folder}: no MIR-1K clips. Expected Wavfile/abjones_1_01.wav and so on, or "
                "clips/abjones_1_01.voice.ogg."
            )
        index = pd.Index(names, name="clip_id")
        songs = [name.rpartition("_")[0] for name in names]
        tracks = pd.DataFrame(
            {
                "artist": [name.split("_")[0] for name in names],
                "album": "",
                "title": names,
                "path": [f"{place}/{name}{ending}" for name in names],
                "track": songs,
            },
            index=index,
        )
        none = pd.DataFrame(index=index)
        super().__init__(folder, tracks=tracks, tags=none, genres=none.copy(), descriptors=none.copy())
        self._flags = None if self._official else _read_labels(folder / "labels.npz")

    def stems(self, clip_id: str, *, sr: int | None = None) -> tuple[dict[str, np.ndarray], int]:
        """Decode voice and accompaniment.

        Parameters
        ----------
        clip_id : str
        sr : int > 0 or None
            Hz; None keeps the file's own.

        Returns
        -------
        stems : dict of str to np.ndarray [shape=(n,), float32]
            ``voice`` and ``accompaniment``; their sum is the mix.
        sr : int

        Raises
        ------
        ValueError
            If there is no such clip, or its files cannot be decoded or differ in sampling rate.
        """
        path = self.path(clip_id)
        if self._official:
            stems, native = _channels(path)
            if sr not in (None, native):
                stems = {name: audio.resample(y, orig_sr=native, sr=sr) for name, y in stems.items()}
            return stems, native if sr is None else sr
        voice, rate = audio.load(path, sr=sr)
        accompaniment, other = audio.load(self._accompaniment(clip_id), sr=sr)
        if rate != other:
            raise ValueError(f"{path}: sampled at {rate} Hz, its accompaniment at {other} Hz.")
        n = min(len(voice), len(accompaniment))
        return {"voice": voice[:n], "accompaniment": accompaniment[:n]}, rate

    def audio(self, clip_id: str, *, sr: int | None = None) -> tuple[np.ndarray, int]:
        """Mix of voice and accompaniment, which may exceed [-1, 1].

        Parameters
        ----------
        clip_id : str
        sr : int > 0 or None
            Hz; None keeps the file's own.

        Returns
        -------
        y : np.ndarray [shape=(n,), float32]
        sr : int
        """
        stems, sr = self.stems(clip_id, sr=sr)
        return stems["voice"] + stems["accompaniment"], sr

    def flags(self, clip_id: str) -> tuple[np.ndarray, np.ndarray]:
        """When somebody sings.

        Parameters
        ----------
        clip_id : str

        Returns
        -------
        times : np.ndarray [shape=(n,)]
            Seconds; every label stands for 20 ms around it.
        vocal : np.ndarray [shape=(n,), bool]

        Raises
        ------
        ValueError
            If the clip is unknown or has no labels.
        """
        self.path(clip_id)
        if self._official:
            path = self.folder / "vocal-nonvocalLabel" / f"{clip_id}.vocal"
            if not path.is_file():
                raise ValueError(f"{path}: no such file. It should hold the clip's vocal labels.")
            try:
                vocal = np.loadtxt(path, ndmin=1) > 0
            except ValueError as error:
                raise ValueError(f"{path}: must hold a number in every line ({error}).") from None
        elif clip_id not in self._flags:
            raise ValueError(f"{self.folder / 'labels.npz'} has no labels of clip {clip_id!r}.")
        else:
            vocal = self._flags[clip_id]
        return HOP_SECONDS * np.arange(1, len(vocal) + 1), vocal

    def validate(self) -> tuple[dict, dict]:  # noqa: D102 - as in Dataset
        # In the compact layout a clip needs both its files.
        missing, invalid = super().validate()
        if not self._official:
            for clip_id in self.tracks.index:
                if not self._accompaniment(clip_id).exists():
                    missing.setdefault(clip_id, str(self._accompaniment(clip_id)))
        return missing, invalid

    def _accompaniment(self, clip_id):
        return self.folder / "clips" / f"{clip_id}.accomp.ogg"


def _channels(path):
    """(stems, sampling rate) of a stereo file of the official layout."""
    import soundfile

    try:
        with silenced():
            y, sr = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise audio.AudioError(f"{path}: cannot be read ({error}).") from None
    if y.shape[1] != 2:
        raise audio.AudioError(f"{path}: a clip of MIR-1K has two channels, accompaniment and voice. Got {y.shape[1]}.")
    return {"voice": np.ascontiguousarray(y[:, 1]), "accompaniment": np.ascontiguousarray(y[:, 0])}, sr


def _read_labels(path):
    """Vocal flags by clip."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file. It holds the labels of the clips beside it.")
    arrays = files.read_npz(path)
    if missing := {"clip", "length", "vocal"} - set(arrays):
        raise ValueError(f"{path}: lacks {', '.join(sorted(missing))}. It has {', '.join(arrays)}.")
    names, lengths, vocal = (arrays[name] for name in ("clip", "length", "vocal"))
    if lengths.sum() != len(vocal) or len(names) != len(lengths):
        raise ValueError(f"{path}: {len(names)} clips of {lengths.sum()} labels do not fit {len(vocal)} labels.")
    return dict(zip(names.astype(str), np.split(vocal > 0, np.cumsum(lengths)[:-1]), strict=True))

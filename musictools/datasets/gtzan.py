"""GTZAN, in its official layout, and as stored spectrograms.

Description
    1,000 clips of 30 s (22.05 kHz mono), 100 in each of ten genres. Known faults: repeated recordings, wrong
    labels, one damaged file (jazz.00054). The fault-filtered lists (443 / 197 / 290 clips, Kereliuk et al. 2015)
    leave the worst out and keep artists apart.
Layout
    ``genres/<genre>/<genre>.NNNNN.au`` (or wav, mp3, ogg, flac), or the genre folders directly. The lists
    ``fault_filtered_{train,valid,test}.txt`` beside or one folder above give the split ``fault_filtered``.
Licence
    None is known; the recordings are commercial ones.
Where
    The original host is gone; mirdata (``gtzan_genre``) documents the mirrors.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from musictools import files
from musictools.datasets.base import Dataset

__all__ = ["GENRES", "Gtzan", "GtzanSpectrograms"]

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
_NAME = re.compile(r"(?P<genre>[a-z]+)\.(?P<number>\d{5})")
_SUFFIXES = {".au", ".wav", ".mp3", ".ogg", ".flac"}
_MAX_BYTES = 2**34  # of all stored spectrograms; those of GTZAN have 64 MB


class _FaultFiltered(Dataset):
    """A data set whose folder may have the fault-filtered lists."""

    licence = "unknown (commercial recordings)"
    bibtex = """@article{tzanetakis2002musical,
  title = {Musical genre classification of audio signals}, author = {Tzanetakis, George and Cook, Perry},
  journal = {IEEE Transactions on Speech and Audio Processing}, volume = {10}, number = {5}, year = {2002}}"""

    def __init__(self, folder, **tables):
        super().__init__(folder, **tables)
        self._lists = _find_lists(self.folder)
        self.split_kinds = ("random", "fault_filtered") if self._lists else ("random",)

    def _fixed_split(self, kind):
        subsets = {
            Path(line.strip()).stem: subset
            for subset, file in self._lists.items()
            for line in files.read_text(file).splitlines()
            if line.strip()
        }
        return self.tracks.index.to_series().map(subsets).dropna().rename("split")


class Gtzan(_FaultFiltered):
    """GTZAN's audio; see the module for layout and faults.

    Parameters
    ----------
    folder : str or Path

    Raises
    ------
    ValueError
        If the folder holds no GTZAN, or a clip twice.

    Examples
    --------
    >>> data = Gtzan("gtzan")  # doctest: +SKIP
    >>> data.split("fault_filtered").value_counts().to_dict()  # doctest: +SKIP
    {'train': 443, 'test': 290, 'validation': 197}
    """

    name = "gtzan"
    description = "1,000 clips of 30 s in ten genres"
    where = "mirdata documents mirrors of gtzan_genre; unpack so that genres/blues/blues.00000.au is there"

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        root = next((folder / n for n in ("genres", "genres_original") if (folder / n).is_dir()), folder)
        paths = sorted(p for p in root.glob("*/*.*") if p.suffix.lower() in _SUFFIXES and _NAME.fullmatch(p.stem))
        if not paths:
            raise ValueError(
                f"{folder}: no GTZAN files. Expected genres/blues/blues.00000.au and so on (also wav, mp3, ogg, flac)."
            )
        ids = [p.stem for p in paths]
        twice = pd.Index(ids)[pd.Index(ids).duplicated()]
        if len(twice):
            raise ValueError(f"{folder}: clip {twice[0]} is there twice, with two endings. Keep one of them.")
        super().__init__(
            folder,
            **_tables(
                ids, [str(p.relative_to(folder)) for p in paths], genres=[_NAME.fullmatch(i)["genre"] for i in ids]
            ),
        )

    def validate(self) -> tuple[dict, dict]:
        """Look at every audio file; clips of a complete GTZAN that are not there count as missing.

        Returns
        -------
        missing, invalid : dict of clip id to str
            As in `Dataset.validate`.
        """
        missing, invalid = super().validate()
        for genre in GENRES:
            for number in range(100):
                clip_id = f"{genre}.{number:05d}"
                if clip_id not in self.tracks.index:
                    missing[clip_id] = f"{self.folder}/{genre}/{clip_id}.*"
        return missing, invalid


class GtzanSpectrograms(_FaultFiltered):
    """Stored spectrograms of songs: an ``.npz`` with ``spec`` (n, n_bins, n_frames) uint8, ``name`` and ``genre``.

    Other arrays of length n become columns of `tracks`. There is no audio.

    Parameters
    ----------
    folder : str or Path
        Holds exactly one npz file, or is one.

    Raises
    ------
    ValueError
        If there is no such file, or its arrays do not fit together.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "songs.npz"
    ...     np.savez(path, spec=np.zeros((2, 64, 100), np.uint8), name=["a", "b"], genre=["rock", "pop"])
    ...     data = GtzanSpectrograms(path)
    >>> data.spectrograms.shape, list(data.genres)
    ((2, 64, 100), ['pop', 'rock'])
    """

    name = "gtzan_spectrograms"
    description = "999 songs of GTZAN as stored log spectrograms (an .npz with spec, name, genre)"
    where = "an .npz with the arrays spec, name and genre, made by you"
    has_audio = False

    def __init__(self, folder: str | Path):
        folder = Path(folder)
        paths = [folder] if folder.suffix == ".npz" else sorted(folder.glob("*.npz"))
        if len(paths) != 1:
            raise ValueError(f"{folder}: expected one .npz with spec, name and genre. Found {len(paths)}.")
        arrays = _read_npz(paths[0])
        self.spectrograms = arrays.pop("spec")
        ids, genres = (arrays.pop(k).astype(str) for k in ("name", "genre"))
        tables = _tables(list(ids), [paths[0].name] * len(ids), genres=genres)
        for column, values in arrays.items():
            tables["tracks"][column] = values
        super().__init__(paths[0].parent, **tables)

    def validate(self) -> tuple[dict, dict]:
        """Look for spectrograms without any contrast, which are invalid; nothing can be missing.

        Returns
        -------
        missing, invalid : dict of clip id to str
            As in `Dataset.validate`.
        """
        flat = self.spectrograms.reshape(len(self), -1).std(axis=1) == 0
        return {}, {clip_id: "the spectrogram is constant" for clip_id in self.tracks.index[flat]}

    def checksum(self, ids: Sequence | None = None) -> str:  # noqa: D102 - as in Dataset
        # There are no files; the hash is that of names and spectrograms.
        ids = self.tracks.index if ids is None else pd.Index(ids)
        digest = hashlib.sha256("\n".join(ids).encode())
        digest.update(np.ascontiguousarray(self.spectrograms[self.tracks.index.get_indexer(ids)]))
        return digest.hexdigest()


def _read_npz(path):
    arrays = files.read_npz(path, max_bytes=_MAX_BYTES)
    missing = {"spec", "name", "genre"} - set(arrays)
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(sorted(missing))}. It has {', '.join(sorted(arrays))}.")
    spec = arrays["spec"]
    if spec.ndim != 3 or spec.dtype != np.uint8:
        raise ValueError(f"{path}: spec must be uint8 of shape (n, n_bins, n_frames). Got {spec.dtype} {spec.shape}.")
    for column in ("name", "genre"):
        if arrays[column].shape != (len(spec),):
            raise ValueError(
                f"{path}: {column} must have shape ({len(spec)},), as spec has {len(spec)} songs. "
                f"Got {arrays[column].shape}."
            )
    twice = pd.Series(arrays["name"].astype(str)).loc[lambda names: names.duplicated()]
    if len(twice):
        raise ValueError(f"{path}: the name {twice.iloc[0]} stands there twice.")
    return {k: a for k, a in arrays.items() if k == "spec" or a.shape == (len(spec),)}


def _tables(ids, paths, *, genres):
    index = pd.Index(ids, name="clip_id")
    tracks = pd.DataFrame({"artist": "", "album": "", "title": ids, "path": paths, "track": ids}, index=index)
    known = [g for g in GENRES if g in set(genres)] + sorted(set(genres) - set(GENRES))
    table = pd.DataFrame({g: np.asarray(genres) == g for g in known}, index=index)
    return {"tracks": tracks, "tags": table, "genres": table, "descriptors": table[[]]}


def _find_lists(folder):
    """The fault-filtered lists, subset -> file: in the folder, in the one above, or in a `gtzan` beside it."""
    for place in (folder, folder.parent, folder.parent / "gtzan"):
        lists = {
            subset: place / f"fault_filtered_{name}.txt"
            for subset, name in (("train", "train"), ("validation", "valid"), ("test", "test"))
        }
        if all(file.is_file() for file in lists.values()):
            return lists
    return {}

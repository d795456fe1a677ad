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

import re
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from musictools.datasets.base import Dataset

__all__ = ["GENRES", "Gtzan", "GtzanSpectrograms"]

GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")
_NAME = re.compile(r"(?P<genre>[a-z]+)\.(?P<number>\d{5})")
_SUFFIXES = {".au", ".wav", ".mp3", ".ogg", ".flac"}
_BIBTEX = """@article{tzanetakis2002musical,
  title = {Musical genre classification of audio signals}, author = {Tzanetakis, George and Cook, Perry},
  journal = {IEEE Transactions on Speech and Audio Processing}, volume = {10}, number = {5}, year = {2002}}"""


class Gtzan(Dataset):
    """GTZAN's audio; see the module for layout and faults.

    Parameters
    ----------
    folder : str or Path
    """

    name = "gtzan"
    description = "1,000 clips of 30 s in ten genres"
    licence = "unknown (commercial recordings)"
    where = "mirdata documents mirrors of gtzan_genre; unpack so that genres/blues/blues.00000.au is there"
    bibtex = _BIBTEX

    def __init__(self, folder):
        folder = Path(folder)
        root = next((folder / n for n in ("genres", "genres_original") if (folder / n).is_dir()), folder)
        files = sorted(p for p in root.glob("*/*.*") if p.suffix.lower() in _SUFFIXES and _NAME.fullmatch(p.stem))
        if not files:
            raise ValueError(f"{folder}: no GTZAN files. Expected genres/blues/blues.00000.au and so on (also wav, "
                             "mp3, ogg, flac).")
        ids = [p.stem for p in files]
        twice = pd.Index(ids)[pd.Index(ids).duplicated()]
        if len(twice):
            raise ValueError(f"{folder}: clip {twice[0]} is there twice, with two endings. Keep one of them.")
        self._lists = _find_lists(folder)
        super().__init__(folder, **_tables(ids, [str(p.relative_to(folder)) for p in files]))
        self.split_kinds = ("random", "fault_filtered") if self._lists else ("random",)

    def _fixed_split(self, kind):
        return _fault_filtered(self._lists, self.tracks.index)

    def validate(self):
        """As in `Dataset.validate`; clips of a complete GTZAN that are not there count as missing.

        Where the files are the wav copies that mirdata indexes, their MD5 sums are compared with its index.
        """
        missing, invalid = super().validate()
        for genre in GENRES:
            for number in range(100):
                clip_id = f"{genre}.{number:05d}"
                if clip_id not in self.tracks.index:
                    missing[clip_id] = f"{self.folder}/{genre}/{clip_id}.*"
        for clip_id, reason in _wrong_sums(self).items():
            invalid.setdefault(clip_id, reason)
        return missing, invalid


class GtzanSpectrograms(Dataset):
    """Stored spectrograms of songs: an ``.npz`` with ``spec`` (n, n_bins, n_frames) uint8, ``name`` and ``genre``.

    Other arrays of length n become columns of `tracks`. There is no audio.

    Parameters
    ----------
    folder : str or Path
        Holds exactly one npz file, or is one.
    """

    name = "gtzan_spectrograms"
    description = "999 songs of GTZAN as stored log spectrograms (an .npz with spec, name, genre)"
    licence = "unknown (commercial recordings)"
    where = "an .npz with the arrays spec, name and genre, made by you"
    bibtex = _BIBTEX
    has_audio = False

    def __init__(self, folder):
        folder = Path(folder)
        found = [folder] if folder.suffix == ".npz" else sorted(folder.glob("*.npz"))
        if len(found) != 1:
            raise ValueError(f"{folder}: expected one .npz with spec, name and genre. Found {len(found)}.")
        arrays = _read_npz(found[0])
        self.spectrograms = arrays.pop("spec")
        ids, genres = (arrays.pop(k).astype(str) for k in ("name", "genre"))
        tables = _tables(list(ids), [found[0].name] * len(ids), genres=genres)
        for column, values in arrays.items():
            tables["tracks"][column] = values
        self._lists = _find_lists(found[0].parent)
        super().__init__(found[0].parent, **tables)
        self.split_kinds = ("random", "fault_filtered") if self._lists else ("random",)

    def _fixed_split(self, kind):
        return _fault_filtered(self._lists, self.tracks.index)

    def validate(self):
        """Spectrograms without any contrast count as invalid; nothing can be missing."""
        flat = self.spectrograms.reshape(len(self), -1).std(axis=1) == 0
        return {}, {clip_id: "the spectrogram is constant" for clip_id in self.tracks.index[flat]}

    def checksum(self, ids=None):
        """Hash of names and spectrograms, str."""
        import hashlib

        return hashlib.sha256(self.spectrograms.tobytes() + "".join(self.tracks.index).encode()).hexdigest()


def _read_npz(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {k: file[k] for k in file.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, BadZipFile) as error:
        raise ValueError(f"{path}: not an .npz file ({error}).") from None
    missing = {"spec", "name", "genre"} - set(arrays)
    if missing:
        raise ValueError(f"{path}: lacks {', '.join(sorted(missing))}. It has {', '.join(sorted(arrays))}.")
    spec = arrays["spec"]
    if spec.ndim != 3 or spec.dtype != np.uint8:
        raise ValueError(f"{path}: spec must be uint8 of shape (n, n_bins, n_frames). Got {spec.dtype} {spec.shape}.")
    for column in ("name", "genre"):
        if arrays[column].shape != (len(spec),):
            raise ValueError(f"{path}: {column} must have shape ({len(spec)},), as spec has {len(spec)} songs. "
                             f"Got {arrays[column].shape}.")
    twice = pd.Series(arrays["name"].astype(str)).loc[lambda names: names.duplicated()]
    if len(twice):
        raise ValueError(f"{path}: the name {twice.iloc[0]} stands there twice.")
    return {k: a for k, a in arrays.items() if k == "spec" or a.shape == (len(spec),)}


def _tables(ids, paths, genres=None):
    if genres is None:
        genres = [_NAME.fullmatch(i)["genre"] for i in ids]
    index = pd.Index(ids, name="clip_id")
    tracks = pd.DataFrame({"artist": "", "album": "", "title": ids, "path": paths, "track": ids}, index=index)
    known = [g for g in GENRES if g in set(genres)] + sorted(set(genres) - set(GENRES))
    table = pd.DataFrame({g: np.asarray(genres) == g for g in known}, index=index)
    return {"tracks": tracks, "tags": table, "genres": table, "descriptors": table[[]]}


def _find_lists(folder):
    """The folder's fault-filtered lists, part -> file; beside the data, one folder up, or in a `gtzan` beside it."""
    for place in (folder, folder.parent, folder.parent / "gtzan"):
        files = {p: place / f"fault_filtered_{n}.txt" for p, n in
                 (("train", "train"), ("validation", "valid"), ("test", "test"))}
        if all(f.is_file() for f in files.values()):
            return files
    return {}


def _fault_filtered(lists, index):
    parts = {Path(line.strip()).stem: part for part, file in lists.items()
             for line in file.read_text().splitlines() if line.strip()}
    return index.to_series().map(parts).dropna().rename("split")


def _wrong_sums(data):
    """Wav files whose MD5 differs from mirdata's index, where mirdata brings the index along."""
    import hashlib
    import json

    import mirdata

    wav = data.tracks["path"].str.endswith(".wav")
    if not wav.any():
        return {}
    index_path = Path(mirdata.initialize("gtzan_genre", data_home=str(data.folder)).index_path)
    if not index_path.is_file():
        return {}
    index = json.loads(index_path.read_text())["tracks"]
    wrong = {}
    for clip_id in data.tracks.index[wav]:
        expected = index.get(clip_id, {}).get("audio", (None, None))[1]
        if expected and hashlib.md5(data.path(clip_id).read_bytes()).hexdigest() != expected:
            wrong[clip_id] = f"{data.path(clip_id)}: differs from the file that mirdata indexes (MD5)."
    return wrong

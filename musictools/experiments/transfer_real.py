"""Released networks as feature extractors on recordings: genres of GTZAN, voices of MIR-1K (notebook 11).

GTZAN's excerpts may lie in several folders that overlap by clip name. Clips of one name are one group. GTZAN repeats
artists, so the fault-filtered parts are the stricter measure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools import audio
from musictools.datasets import gtzan
from musictools.experiments import transfer
from musictools.experiments.transfer_original import fault_filtered
from musictools.transfer import selection
from musictools.transfer.features import FeatureSet
from musictools.transfer.machines import Grid
from musictools.transfer.tasks import Task

if TYPE_CHECKING:
    from musictools.datasets.mir1k import Mir1k
    from musictools.inference import Tagger

__all__ = ["WOMEN", "AudioFile", "VoiceSound", "genre_tasks", "real_features", "scores", "voice_tasks"]

# The eight women among MIR-1K's nineteen singers. The data set's files do not say; this is the list that public scripts
# for this data set use, and it has as many women and men as its authors state.
WOMEN = frozenset({"Ani", "amy", "annar", "ariel", "heycat", "tammy", "titon", "yifen"})
_LEVEL = 0.1  # root mean square of all sounds


@dataclass(frozen=True)
class AudioFile:
    """Load an audio file of a folder.

    Parameters
    ----------
    folder : str or Path
    """

    folder: str | Path

    def __call__(self, name: str) -> tuple[np.ndarray, int]:
        """Load a file, normalised to the same root mean square.

        Parameters
        ----------
        name : str
            Path relative to the folder.

        Returns
        -------
        y : np.ndarray [shape=(n,), float32]
        sr : int
        """
        y, sr = audio.load(Path(self.folder) / name)
        return _levelled(y), sr


def genre_tasks(folder: str | Path, *, n_clips: int = 0) -> dict[str, Task]:
    """Genres of GTZAN's excerpts in any sub-folders.

    Parameters
    ----------
    folder : str or Path
        With audio files ``…/<genre>.NNNNN.<ending>`` and, for the second task, the fault-filtered lists.
    n_clips : int >= 0
        Number of excerpts, the genres taking turns in the order of the paths; 0: all.

    Returns
    -------
    tasks : dict of str to Task
        ``"genre"``, whose groups are clip names, and ``"genre, fault-filtered"``, with the given parts. The clips are
        paths relative to the folder.

    Raises
    ------
    ValueError
        If there are no such files.
    """
    folder = Path(folder)
    paths = [p for p in sorted(folder.rglob("*.*")) if p.suffix.lower() in audio.SOUNDFILE_SUFFIXES]
    paths = [p for p in paths if p.stem.split(".")[0] in gtzan.GENRES]
    if not paths:
        raise ValueError(f"{folder}: no GTZAN files. Expected files such as prefix15/blues/blues.00000.ogg.")
    genres = pd.Series([p.stem.split(".")[0] for p in paths])
    paths = [paths[k] for k in _turns(genres, n_clips)]
    index = pd.Index([p.relative_to(folder).as_posix() for p in paths])
    names = pd.Series([p.stem for p in paths], index)
    task = Task("genre", names.str.split(".").str[0], groups=names)
    tasks = {"genre": task}
    if (folder / "fault_filtered_train.txt").is_file():
        tasks["genre, fault-filtered"] = fault_filtered(task, folder, names=names)
    return tasks


@dataclass(frozen=True, eq=False)
class VoiceSound:
    """Load a clip of MIR-1K with or without its voice, normalised to the same root mean square.

    Parameters
    ----------
    data : Mir1k
    """

    data: Mir1k

    def __call__(self, clip: tuple[str, str]) -> tuple[np.ndarray, int]:
        """Load a sound.

        Parameters
        ----------
        clip : tuple of str and str
            Clip id, and ``"mix"`` or ``"accompaniment"``.

        Returns
        -------
        y : np.ndarray [shape=(n,), float32]
        sr : int
        """
        name, kind = clip
        stems, sr = self.data.stems(name)
        return _levelled(stems["accompaniment"] + (stems["voice"] if kind == "mix" else 0)), sr


def voice_tasks(data: Mir1k, *, n_clips: int = 0) -> dict[str, Task]:
    """Whether somebody sings, and whether a woman or a man does.

    Parameters
    ----------
    data : Mir1k
    n_clips : int >= 0
        Number of clips, the singers taking turns; 0: all.

    Returns
    -------
    tasks : dict of str to Task
        ``"voice or not"``: each clip with and without its voice; ``"woman or man"``: clips with their voices. Groups
        are singers. The clips are pairs, as `VoiceSound` takes them.
    """
    singers = data.tracks["artist"]
    singers = singers.iloc[_turns(singers, n_clips)]
    pairs = [(clip, kind) for clip in singers.index for kind in ("mix", "accompaniment")]
    index = pd.Index(pairs, tupleize_cols=False)
    groups = pd.Series([singers[clip] for clip, _ in pairs], index)
    voice = pd.Series(["voice" if kind == "mix" else "none" for _, kind in pairs], index)
    sung = index[(voice == "voice").to_numpy()]
    sex = groups[sung].map(lambda singer: "woman" if singer in WOMEN else "man")
    return {"voice or not": Task("voice or not", voice, groups=groups),
            "woman or man": Task("woman or man", sex, groups=groups[sung])}  # fmt: skip


def real_features(
    taggers: dict[str, Tagger],
    load: Callable[[Any], tuple[np.ndarray, int]],
    tasks: dict[str, Task],
    *,
    seed: int = 0,
    workers: int = 1,
) -> dict[str, FeatureSet]:
    """Features of all clips of some tasks, of trained networks and of random ones.

    Parameters
    ----------
    taggers : dict of str to Tagger
    load : callable
        Takes a clip of the tasks.
    tasks : dict of str to Task
    seed : int >= 0
        Seed of the random weights.
    workers : int > 0

    Returns
    -------
    features : dict of str to FeatureSet
        By the name of a network, and by ``"<name>, random"``.
    """
    networks = {name: transfer.Network.of(tagger) for name, tagger in taggers.items()}
    networks |= {f"{name}, random": transfer.random_network(one, seed=seed) for name, one in taggers.items()}
    ids = list(dict.fromkeys(clip for task in tasks.values() for clip in task.ids))
    return transfer.clip_features(networks, load, ids, workers=workers)


def scores(
    features: dict[str, FeatureSet],
    tasks: dict[str, Task],
    *,
    grid: Grid | None = None,
    n_folds: int = 5,
    inner_folds: int = 3,
    repeats: int = 500,
    seed: int = 0,
    workers: int = 1,
) -> pd.DataFrame:
    """Scores of networks, of their random counterparts and of MFCCs by nested selection.

    Parameters
    ----------
    features : dict of str to FeatureSet
        As `real_features` gives them.
    tasks : dict of str to Task
    grid, n_folds, inner_folds, repeats, seed, workers
        As in `musictools.transfer.selection.compare`. There are no more folds than the rarest class has groups.

    Returns
    -------
    table : pd.DataFrame
        task, clips, network, features (all layers, all layers + MFCC, random weights, MFCC), score, low, high, gain
        (of the score over MFCCs), gain_low, gain_high.
    """
    rows = []
    for title, task in tasks.items():
        n_groups = len(task) if task.groups is None else task.groups.groupby(task.target).nunique().min()
        folds = {"n_folds": min(n_folds, n_groups), "inner_folds": max(2, min(inner_folds, n_groups - 1))}
        options = folds | {"grid": grid, "repeats": repeats, "seed": seed, "workers": workers}
        baseline = None
        for name, own in features.items():
            layers, random = tuple(block for block in own.blocks if block != "mfcc"), name.endswith(", random")
            kinds = (
                {"random weights": layers} if random else {"all layers": layers, "all layers + MFCC": (*layers, "mfcc")}
            )
            kinds |= {"MFCC": ("mfcc",)} if baseline is None else {}
            table, outcomes = selection.compare(own, task, list(kinds.values()), **options)
            baseline = list(outcomes.values())[-1] if baseline is None else baseline
            for kind, row, outcome in zip(kinds, table.to_dict("records"), outcomes.values(), strict=True):
                gain, (low, high) = selection.difference(outcome, baseline, repeats=repeats, seed=seed)
                network = "" if kind == "MFCC" else name.removesuffix(", random")
                rows.append({"task": title, "clips": len(outcome.rows), "network": network, "features": kind,
                             "score": row["score"], "low": row["low"], "high": row["high"],
                             "gain": gain, "gain_low": low, "gain_high": high})  # fmt: skip
    return pd.DataFrame(rows).sort_values(["task", "network", "features"], kind="stable", ignore_index=True)


def _turns(groups, n):
    """Positions of `n` rows, the groups taking turns, in the order of the rows; 0: all."""
    turn = groups.reset_index(drop=True).groupby(groups.to_numpy()).cumcount()
    return np.sort(turn.sort_values(kind="stable").index[: n or None].to_numpy())


def _levelled(y):
    return (_LEVEL * y / max(float(np.sqrt(np.mean(y**2))), 1e-6)).astype(np.float32)

"""Chapter 6 of `choi2018` from its author's own features (notebook 11).

The author's repository ``transfer_learning_music`` has the averages of five layers and the MFCC statistics of six data
sets (``data_feats``, numpy arrays), the targets (``data_csv``) and the scores behind the figures of the chapter
(``result_transfer.csv``, which `musictools.published` repeats). The MFCCs of UrbanSound8K are missing there. The order
of the rows is that of the csv files.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from musictools import published, runs
from musictools.transfer import selection
from musictools.transfer.features import FeatureSet, layer_subsets, subset_name
from musictools.transfer.machines import Grid
from musictools.transfer.selection import Outcome, Screening
from musictools.transfer.tasks import Task

__all__ = ["FIGURES", "LAYERS", "TASKS", "fault_filtered", "load", "rank_correlations", "scores", "strictness"]

LAYERS = ("1", "2", "3", "4", "5")
_FILES = {  # task -> (data set, column of the csv file)
    "ballroom": ("ballroom_extended", "label"),
    "gtzan_genre": ("gtzan_genre", "label"),
    "speech_music": ("gtzan_speechmusic", "label"),
    "arousal": ("emoMusic", "label_arousal"),
    "valence": ("emoMusic", "label_valence"),
    "vocals": ("jamendo_vd", "label"),
    "urbansound": ("urbansound", "label"),
}
TASKS = tuple(_FILES)
FIGURES = {  # task -> published table
    "ballroom": "choi2018_figure_6_3_ballroom",
    "gtzan_genre": "choi2018_figure_6_4_gtzan_genre",
    "speech_music": "choi2018_figure_6_6_speech_music",
    "arousal": "choi2018_figure_6_7_arousal",
    "valence": "choi2018_figure_6_7_valence",
    "vocals": "choi2018_figure_6_8_vocals",
    "urbansound": "choi2018_figure_6_9_urbansound",
}
_PARTS = {"train": "train", "valid": "validation", "test": "test"}


def load(folder: str | Path, name: str) -> tuple[FeatureSet, Task]:
    """Read the features and targets of one task.

    Parameters
    ----------
    folder : str or Path
        With the folders ``data_feats`` and ``data_csv`` of the author's repository.
    name : str
        One of `TASKS`.

    Returns
    -------
    features : FeatureSet
        Blocks ``"1"`` to ``"5"``, 32 features each, and ``"mfcc"`` where the repository has it, 120 features.
    task : Task
        With the given parts of Jamendo's and UrbanSound8K's clips; the others have no groups.

    Raises
    ------
    ValueError
        If the task is unknown or a file is missing.

    Examples
    --------
    >>> features, task = load("transfer_learning_music", "gtzan_genre")  # doctest: +SKIP
    >>> features.matrix("12345").shape, len(task)  # doctest: +SKIP
    ((1000, 160), 1000)
    """
    if name not in TASKS:
        raise ValueError(f"name must be one of {', '.join(TASKS)}. Got {name!r}.")
    (data, column), folder = _FILES[name], Path(folder)
    table = folder / "data_csv" / f"{data}.csv"
    if not table.is_file():
        raise ValueError(f"{table}: no such file. github.com/keunwoochoi/transfer_learning_music has it.")
    rows = pd.read_csv(table, index_col=0)
    ids = pd.Index(rows["filepath"].map(lambda path: Path(path).stem) if data == "gtzan_genre" else rows["filepath"])
    files = {number: f"{data}_layer_{int(number) - 1}.npy" for number in LAYERS} | {"mfcc": f"{data}_mfcc.npy"}
    paths = {block: folder / "data_feats" / file for block, file in files.items()}
    missing = [path for block, path in paths.items() if not path.is_file() and block != "mfcc"]
    if missing:
        raise ValueError(f"{missing[0]}: no such file. github.com/keunwoochoi/transfer_learning_music has it.")
    blocks = {block: np.load(path).astype(float) for block, path in paths.items() if path.is_file()}
    parts = rows["fold"] if "fold" in rows else rows["category"].map(_PARTS) if "category" in rows else None
    target = pd.Series(rows[column].to_numpy(), index=ids, name=name)
    parts = None if parts is None else pd.Series(parts.to_numpy(), index=ids)
    return FeatureSet(ids, blocks), Task(name, target, parts=parts)


def fault_filtered(task: Task, folder: str | Path, *, names: pd.Series | None = None) -> Task:
    """GTZAN's genres on the fault-filtered parts, which share no artist (Kereliuk et al. 2015).

    Parameters
    ----------
    task : Task
        Genres of clips of GTZAN.
    folder : str or Path
        With ``fault_filtered_train.txt``, ``…_valid.txt`` and ``…_test.txt``.
    names : pd.Series [clip id -> name] or None
        Names of the clips, such as ``"blues.00000"``; None: their ids.

    Returns
    -------
    task : Task
        Those of the 930 listed clips that are there, in the parts train, validation and test. Groups are names, since
        several excerpts may have one.

    Raises
    ------
    ValueError
        If a list is missing.
    """
    parts = {}
    for short, part in _PARTS.items():
        path = Path(folder) / f"fault_filtered_{short}.txt"
        if not path.is_file():
            raise ValueError(f"{path}: no such file. It lists the clips of the part {part}.")
        parts |= {Path(line).stem: part for line in path.read_text(encoding="utf-8").split()}
    names = task.ids.to_series() if names is None else names[task.ids]
    chosen = names.map(parts).dropna()
    return Task(f"{task.name}, fault-filtered", task.target[chosen.index], groups=names[chosen.index], parts=chosen)


def strictness(
    features: FeatureSet, task: Task, filtered: Task, *, grid: Grid | None = None, repeats: int = 500, seed: int = 0
) -> pd.DataFrame:
    """GTZAN's genres by nested selection on folds of rising strictness, and on parts that control for their sizes.

    Parameters
    ----------
    features : FeatureSet
        Blocks ``"1"`` to ``"5"`` and ``"mfcc"``.
    task : Task
        All clips.
    filtered : Task
        As `fault_filtered` gives it.
    grid : Grid or None
    repeats : int > 0
        Bootstrap resamples.
    seed : int >= 0
        Seed of folds and of the random parts.

    Returns
    -------
    table : pd.DataFrame
        folds (ten shuffled folds; random parts, with the sizes of the fault-filtered ones in every genre, drawn from
        the same clips; fault-filtered parts), features, score, low, high. Features are standardised.
    """
    rng = np.random.default_rng(seed)
    drawn = filtered.parts.groupby(filtered.target.to_numpy()).transform(lambda one: rng.permutation(one.to_numpy()))
    cases = {
        "ten shuffled folds": task,
        "random parts": Task("random parts", filtered.target, parts=drawn),
        "fault-filtered parts": filtered,
    }
    subsets = [LAYERS, ("mfcc",), (*LAYERS, "mfcc")]
    tables = []
    for name, one in cases.items():
        table, _ = selection.compare(features, one, subsets, grid=grid, repeats=repeats, seed=seed)
        tables.append(table.drop(columns="size").assign(folds=name)[["folds", "features", "score", "low", "high"]])
    return pd.concat(tables, ignore_index=True)


def scores(
    features: FeatureSet,
    task: Task,
    *,
    subsets: list[tuple[str, ...]] | None = None,
    grid: Grid | None = None,
    screening: Screening | None = None,
    seed: int = 0,
    workers: int = 1,
) -> tuple[pd.DataFrame, dict[str, Outcome]]:
    """Score subsets of features in the way of the source: best of the grid on its own folds, features not standardised.

    Parameters
    ----------
    features : FeatureSet
    task : Task
    subsets : list of tuple of str or None
        None: all 31 subsets of the layers, MFCCs, and all layers with MFCCs.
    grid, screening, seed
        As in `musictools.transfer.selection.same_folds`.
    workers : int > 0
        Processes.

    Returns
    -------
    table : pd.DataFrame
        features, score (mean over the folds).
    outcomes : dict of str to Outcome
        By the name of the subset.
    """
    if subsets is None:
        subsets = [*layer_subsets(LAYERS), *([("mfcc",), (*LAYERS, "mfcc")] if "mfcc" in features.blocks else [])]
    features = features.take(task.ids)
    job = functools.partial(selection.same_folds, task=task, grid=grid, screening=screening, seed=seed)
    done = runs.map(job, [features.matrix(one) for one in subsets], workers=workers, description=task.name)
    outcomes = dict(zip(map(subset_name, subsets), done, strict=True))
    rows = [(name, np.mean(outcome.folds)) for name, outcome in outcomes.items()]
    return pd.DataFrame(rows, columns=["features", "score"]), outcomes


def rank_correlations(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Compare scores of subsets of layers with the published ones.

    Parameters
    ----------
    tables : dict of str to pd.DataFrame
        Task -> table of `scores`.

    Returns
    -------
    table : pd.DataFrame
        task, subsets (number of layer subsets in both), rank_correlation (NaN where the published scores have at most
        two values, so that their order says nothing), difference (mean of ours less theirs), largest (largest absolute
        difference).
    """
    rows = []
    for name, table in tables.items():
        pair = pd.merge(published.table(FIGURES[name]), table, on="features", suffixes=("_theirs", "_ours"))
        pair = pair[pair["features"].str.isdigit()]
        change = pair["score_ours"] - pair["score_theirs"]
        varied = pair["score_theirs"].nunique() > 2
        rho = pair["score_ours"].corr(pair["score_theirs"], method="spearman") if varied else np.nan
        rows.append({"task": name, "subsets": len(pair), "rank_correlation": rho,
                     "difference": change.mean(), "largest": change.abs().max()})  # fmt: skip
    return pd.DataFrame(rows)

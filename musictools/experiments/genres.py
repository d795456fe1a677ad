"""Genre experiments of notebook 02: the grid of trainings, their clips, their scores.

The procedure is that of `rotheneder2023` 3.1 and 3.4: hold clips out, limit the clips of every genre, split by clip,
and cut segments only afterwards. In the tables the segment level is called ``frame``, as in the source.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from musictools import evaluation
from musictools.datasets import splits
from musictools.experiments.jobs import Job, Result, Task
from musictools.experiments.protocols import genre_protocol

__all__ = ["candidates", "decisions", "grid", "table", "tasks"]


def grid(
    *,
    models: Sequence[str],
    limits: Sequence[str],
    callbacks: Sequence[bool],
    splits: Sequence[str],
    seeds: Sequence[int],
) -> list[Job]:
    """Combine all models, limits and callbacks on the first split; the others get the first model and last limit.

    Parameters
    ----------
    models, limits : sequence of str
        Models, and names of choices of clips.
    callbacks : sequence of bool
        Whether to train with the two callbacks of `rotheneder2023` 3.5; the first is used on the other splits.
    splits : sequence of str
        Ways to divide the clips into training and test.
    seeds : sequence of int
        One training each.

    Returns
    -------
    jobs : list of Job

    Examples
    --------
    >>> jobs = grid(models=["ckn19", "pg20"], limits=["few"], callbacks=[True], splits=["random", "artist"], seeds=[0])
    >>> [job.name for job in jobs]  # doctest: +NORMALIZE_WHITESPACE
    ['ckn19-few-artist-callbacks-0', 'ckn19-few-random-callbacks-0', 'pg20-few-random-callbacks-0']
    """
    protocols = ["callbacks" if with_callbacks else "plain" for with_callbacks in callbacks]
    first = [
        Job(model=m, data=n, split=splits[0], protocol=p, seed=s)
        for m in models
        for n in limits
        for p in protocols
        for s in seeds
    ]
    others = [
        Job(model=models[0], data=limits[-1], split=k, protocol=protocols[0], seed=s) for k in splits[1:] for s in seeds
    ]
    return others + first  # the others take longest: begun first, no core waits for them at the end


def tasks(
    data: Any,
    genres: pd.Series,
    jobs: Sequence[Job],
    store: Any,
    *,
    classes: Sequence[str],
    limits: dict,
    hold_out: int,
    unseen_share: float = 0.0,
    choice: str = "random",
    test_share: float,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    leave_out: str = "",
    seed: int = 0,
    **options: Any,
) -> list[Task]:
    """Make a task of every job: select its clips and divide them.

    Parameters
    ----------
    data : Dataset
    genres : pd.Series [clip id -> genre]
        Single-genre clips.
    jobs : sequence of Job
    store : SpectrogramStore or ArrayStore
        Spectrograms of all clips.
    classes : sequence of str
        Genres in the order of the network's outputs.
    limits : dict of str to int
        Name of a selection of clips -> maximum number of clips per genre; 0: the size of the rarest genre.
    hold_out, unseen_share, choice, test_share
        As in `musictools.datasets.splits.genre_split`.
    epochs, batch_size, learning_rate
        As in `protocols.genre_protocol`.
    leave_out : str
        A column of ``data.tracks``: every job runs a second time without the clips in which it is not 0.
    seed : int >= 0
        Seed of the held-out clips, which all jobs share, and of the limits. The division into training and test
        depends on the job's own seed as well.
    **options
        Other fields of `Task`: length, step, width, norm_momentum, validation_share.

    Returns
    -------
    tasks : list of Task

    Raises
    ------
    ValueError
        If `leave_out` is no column of the tracks.
    """
    if leave_out and leave_out not in data.tracks:
        raise ValueError(f"leave_out={leave_out!r} is no column of the tracks: {', '.join(data.tracks)}.")
    labels = pd.DataFrame({genre: genres == genre for genre in classes})
    made = []
    for job in jobs:
        chosen = splits.genre_split(
            data,
            genres,
            hold_out=hold_out,
            unseen_share=unseen_share,
            choice=choice,
            kind=job.split,
            test_share=test_share,
            seed=seed,
            draw=job.seed,
        )
        protocol = genre_protocol(job.protocol, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate)
        for without in (False, True) if leave_out else (False,):
            kept = genres[data.tracks.loc[genres.index, leave_out] == 0] if without else genres
            ids = {name: kept.index[kept.index.isin(chosen.index[chosen == name])] for name in chosen.unique()}
            limited = splits.limit_per_class(
                kept.loc[[*ids["train"], *ids["test"]]], per_class=limits[job.data], seed=seed
            )
            ids |= {name: ids[name][ids[name].isin(limited.index)] for name in ("train", "test")}
            split = pd.concat([pd.Series(name, ids[name]) for name in ("train", "validation", "test") if name in ids])
            own = dataclasses.replace(job, data=f"{job.data}_without_{leave_out}") if without else job
            made.append(Task(job=own, store=store, labels=labels, split=split, protocol=protocol, **options))
    return made


def candidates(results: Sequence[Result], *, split: str) -> pd.DataFrame:
    """Trainings among which the model to explain is chosen, the highest validation accuracy first.

    These are the trainings with callbacks on one split, as in `rotheneder2023` 3.5, or all trainings on it if none has
    callbacks. The test clips play no part, so the chosen model can be scored on them.

    Parameters
    ----------
    results : sequence of Result
    split : str
        A split of the jobs, such as ``"random"``.

    Returns
    -------
    candidates : pd.DataFrame
        Indexed by the position in `results`: model, data, callbacks, seed, epoch (whose weights the model has, from 1)
        and validation_accuracy (at this epoch, of segments).

    Raises
    ------
    ValueError
        If no result has this split.

    Examples
    --------
    >>> plain, tuned = (Result(job=Job(model="ckn19", split="random", protocol=name), classes=("pop", "rock"),
    ...                        history=pd.DataFrame({"val_accuracy": accuracy}), scores={}, clip={})
    ...                 for name, accuracy in (("plain", [0.8, 0.9]), ("callbacks", [0.7, 0.6])))
    >>> candidates([plain, tuned], split="random")[["callbacks", "epoch", "validation_accuracy"]].to_dict("index")
    {1: {'callbacks': True, 'epoch': 1, 'validation_accuracy': 0.7}}
    """
    rows = {}
    for k, result in enumerate(results):
        if result.job.split != split:
            continue
        accuracy, tuned = result.history["val_accuracy"].to_numpy(), result.job.protocol == "callbacks"
        epoch = int(accuracy.argmax()) if tuned else len(accuracy) - 1
        rows[k] = {
            "model": result.job.model,
            "data": result.job.data,
            "callbacks": tuned,
            "seed": result.job.seed,
            "epoch": epoch + 1,
            "validation_accuracy": float(accuracy[epoch]),
        }
    if not rows:
        raise ValueError(f"No training has the split {split!r}.")
    table = pd.DataFrame.from_dict(rows, orient="index")
    if table["callbacks"].any():
        table = table[table["callbacks"]]
    return table.sort_values("validation_accuracy", ascending=False, kind="stable")


def table(
    results: Sequence[Result], genres: pd.Series, *, artists: pd.Series | None = None, repeats: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Scores of all jobs on segment level and clip level, with 95 % intervals.

    Parameters
    ----------
    results : sequence of Result
    genres : pd.Series [clip id -> genre]
        The truth.
    artists : pd.Series [clip id -> artist] or None
        Intervals resample artists, since clips of one artist resemble each other. None: clips.
    repeats : int > 0
        Number of resamples.
    seed : int >= 0
        Seed of the resampling.

    Returns
    -------
    table : pd.DataFrame
        Two rows per job: model, data, callbacks, split, seed, level ("frame" for segments, "clip"), clips, accuracy,
        accuracy_low, accuracy_high, precision, recall, roc_auc, train_frames (number of training segments).

    Examples
    --------
    >>> result = Result(job=Job(model="ckn19", protocol="plain"), classes=("pop", "rock"), history=pd.DataFrame(),
    ...                 scores={"test": np.array([[0.8, 0.2], [0.6, 0.4], [0.7, 0.3]])},
    ...                 clip={"test": np.array(["a", "a", "b"])})
    >>> table([result], pd.Series({"a": "pop", "b": "rock"}))[["level", "clips", "accuracy"]].round(2)
       level  clips  accuracy
    0  frame      2      0.67
    1   clip      2      0.50
    """
    rows = []
    for result in results:
        job = result.job
        for level, (labels, scores, predicted, clip) in _levels(result, genres).items():
            measures = evaluation.genre_metrics(labels, scores, predicted=predicted)
            right = (labels == predicted).astype(float)
            low, high = evaluation.bootstrap(
                lambda chosen, right=right: right[chosen].mean(),
                clip if artists is None else artists.loc[clip].to_numpy(),
                repeats=repeats,
                seed=seed,
            )
            rows.append(
                {
                    "model": job.model,
                    "data": job.data,
                    "callbacks": job.protocol == "callbacks",
                    "split": job.split,
                    "seed": job.seed,
                    "level": level,
                    "clips": len(np.unique(clip)),
                    "accuracy": measures.pop("accuracy"),
                    "accuracy_low": low,
                    "accuracy_high": high,
                    **measures,
                    "train_frames": result.train_segments,
                }
            )
    return pd.DataFrame(rows)


def decisions(result: Result, genres: pd.Series, *, level: str = "clip") -> tuple[np.ndarray, np.ndarray]:
    """Labels and decisions of the test clips (by majority vote) or of their segments.

    Parameters
    ----------
    result : Result
    genres : pd.Series [clip id -> genre]
        The truth.
    level : {"clip", "frame"}
        ``"frame"`` for segments.

    Returns
    -------
    labels, predicted : np.ndarray [shape=(n,), int]
        Positions in ``result.classes``.
    """
    labels, _, predicted, _ = _levels(result, genres)[level]
    return labels, predicted


def _levels(result, genres):
    """Level -> labels, scores, decisions and clip ids of the test clips."""
    segment_scores, clip = result.scores["test"], result.clip["test"]
    clips, means = evaluation.mean_by_clip(segment_scores, clip)
    _, winners = evaluation.vote(segment_scores, clip)
    classes = pd.Index(result.classes)
    return {
        "frame": (classes.get_indexer(genres.loc[clip]), segment_scores, segment_scores.argmax(axis=1), clip),
        "clip": (classes.get_indexer(genres.loc[clips]), means, winners, clips),
    }

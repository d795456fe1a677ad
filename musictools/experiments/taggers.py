"""Tagger experiments of notebook 03: the labels, the spectrograms, the grid of trainings.

`rotheneder2023` 5.1: single-genre clips are held out for scores of whole clips, and of the others those with a
descriptor are divided 80/20 into training and test, the training clips again 9:1 for validation; segments are cut
afterwards. In addition, half of the held-out clips may be by artists that do not occur in training.

`tagger_slides`: the most frequent 50 tags as annotated, genres included and synonyms not merged, the split that the
data set brings along, and the mean of a song's segments. It is an experiment of its own, see `slides_tasks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from musictools import familiarity, spectrograms, tags
from musictools.experiments.jobs import Job, Result, Task
from musictools.experiments.protocols import Protocol, protocol
from musictools.models import describe
from musictools.models.card import ModelCard

__all__ = ["SLIDES", "grid", "label_table", "model_card", "open_stores", "settings_table", "slides_tasks", "tasks"]

SLIDES = {  # rows of the tables of `tagger_slides` -> networks; its Short-chunk CNN has residual blocks
    "fcn4": "fcn4",
    "musicnn": "musicnn",
    "sample_cnn": "sample_cnn",
    "sample_cnn_se": "sample_cnn_se",
    "crnn": "crnn",
    "self_attention": "self_attention",
    "harmonic_cnn": "harmonic_cnn",
    "short_chunk": "short_chunk_res",
}
_FEWEST = 100  # clips of a reference
_SLIDES_SHARES = {"train": 12 / 16, "validation": 1 / 16, "test": 3 / 16}  # of MagnaTagATune's 16 folders


def label_table(
    data: Any, *, kind: str = "annotated", n_tags: int | None = None, clips: Sequence | None = None
) -> pd.DataFrame:
    """Descriptors of all clips, most frequently annotated first.

    Parameters
    ----------
    data : Dataset
    kind : {"annotated", "complete"}
        Annotated tags, or the complete tags that only the composed corpus knows.
    n_tags : int > 0 or None
        Number of tags, the most frequently annotated ones; None: all.
    clips : sequence of clip id or None
        Clips whose annotations are counted for that. In `rotheneder2023` they are those that are left after the
        hold-out. None: all.

    Returns
    -------
    labels : pd.DataFrame [clips x tags, bool]
        The same columns for both kinds.

    Raises
    ------
    ValueError
        If the data set does not know complete labels, or has fewer tags.
    """
    counted = data.descriptors if clips is None else data.descriptors.loc[clips]
    chosen = data.descriptors if n_tags is None else data.descriptors[tags.top(counted, n_tags).columns]
    if kind == "annotated":
        return chosen
    if kind != "complete" or not hasattr(data, "complete_descriptors"):
        raise ValueError(
            f"labels must be 'annotated', or 'complete' where the data set knows them. Got {kind!r} for {data.name}."
        )
    return data.complete_descriptors[chosen.columns]


def open_stores(data: Any, models: Sequence[str], *, workers: int | None = None, scheduler: str = "") -> dict:
    """Open the spectrograms of every model; models with equal front ends share theirs.

    Parameters
    ----------
    data : Dataset
    models : sequence of str
    workers, scheduler
        As in `musictools.runs.map`.

    Returns
    -------
    stores : dict of str to SpectrogramStore
        By model.
    """
    front_ends = {model: describe(model).front_end for model in models}
    by_key = {
        f.key: spectrograms.open_store(data, f, workers=workers, scheduler=scheduler)
        for f in dict.fromkeys(front_ends.values())
    }
    return {model: by_key[f.key] for model, f in front_ends.items()}


def grid(
    *,
    models: Sequence[str],
    n_tags: Sequence[int],
    labels: Sequence[str] = ("annotated",),
    imbalance: Sequence[str] = ("none",),
    protocol: str = "rotheneder2023",
    extra_model: str | None = None,
    seed: int = 0,
) -> list[Job]:
    """Combine every model with every number of tags; one model also gets the other labels and answers to imbalance.

    Parameters
    ----------
    models : sequence of str
        Taggers.
    n_tags : sequence of int
        Sizes of the tag set.
    labels, imbalance : sequence of str
        The first is for all; the others for `extra_model` and the first number of tags.
    protocol : str
        One of `protocols.PROTOCOLS`.
    extra_model : str or None
        None: the first.
    seed : int
        Seed of every training.

    Returns
    -------
    jobs : list of Job
        Those of all models first.

    Raises
    ------
    ValueError
        If `extra_model` is none of the models.

    Examples
    --------
    >>> jobs = grid(models=["se_cnn", "fcn4"], n_tags=[50], imbalance=["none", "focal"], extra_model="fcn4")
    >>> [(job.model, job.imbalance) for job in jobs]
    [('se_cnn', 'none'), ('fcn4', 'none'), ('fcn4', 'focal')]
    """
    extra_model = extra_model or models[0]
    if extra_model not in models:
        raise ValueError(f"extra_model must be one of the models, {', '.join(models)}. Got {extra_model!r}.")

    def job(model, n, kind=labels[0], answer=imbalance[0]):
        return Job(model=model, n_tags=n, protocol=protocol, imbalance=answer, labels=kind, seed=seed)

    jobs = [job(model, n) for n in n_tags for model in models]
    jobs += [job(extra_model, n_tags[0], kind=kind) for kind in labels[1:]]
    return jobs + [job(extra_model, n_tags[0], answer=answer) for answer in imbalance[1:]]


def tasks(
    jobs: Sequence[Job],
    stores: dict,
    labels: dict,
    split: pd.Series,
    *,
    width: float | dict = 1.0,
    epochs: int | dict | None = None,
    overrides: dict | None = None,
    **options: Any,
) -> list[Task]:
    """Give every job its spectrograms, labels and protocol.

    By the protocol of `rotheneder2023` (5.1.7) whole clips are scored with segments that overlap by half. For SE-CNN
    these are fewer than in training, one of 628 columns instead of four in 911 columns.

    Parameters
    ----------
    jobs : sequence of Job
    stores : dict of str to SpectrogramStore
        By model.
    labels : dict of str to pd.DataFrame [clips x tags, bool]
        By the jobs' `labels`; most frequent tags first.
    split : pd.Series [clip id -> str]
        As in `Task`.
    width, epochs : number or dict of str to number
        For all models, or by model with the key "other" for those not named. Epochs 0 or None: the protocol's.
    overrides : dict or None
        Other arguments of `protocols.protocol`, each a value or by model as above.
    **options
        Other fields of `Task`, such as norm_momentum.

    Returns
    -------
    tasks : list of Task
    """
    made = []
    for job in jobs:
        shape = describe(job.model).input
        changes = {name: _of(value, job.model) for name, value in (overrides or {}).items()}
        made.append(
            Task(
                job=job,
                store=stores[job.model],
                labels=labels[job.labels].iloc[:, : job.n_tags],
                split=split,
                length=shape.length,
                step=shape.step,
                clip_step=shape.length // 2 if job.protocol == "rotheneder2023" else shape.step,
                width=_of(width, job.model),
                protocol=protocol(
                    job.protocol, job.model, n_tags=job.n_tags, epochs=_of(epochs, job.model) or None, **changes
                ),
                **options,
            )
        )
    return made


def slides_tasks(
    data: Any, stores: dict, *, models: Sequence[str], n_tags: int = 50, seed: int = 0, **options: Any
) -> list[Task]:
    """Trainings of the experiment of `tagger_slides` (tables I-III), with its tags, split, inputs and protocol.

    They also learn from the clips that the other experiments hold out, and are used for these tables only: they get no
    card, and no later notebook reads them.

    Parameters
    ----------
    data : Dataset
        Its official split is used; if it has none, clips are drawn in the proportions of MagnaTagATune's.
    stores : dict of str to SpectrogramStore
        By network.
    models : sequence of str
        Rows of the tables, keys of `SLIDES`.
    n_tags : int > 0
        Number of tags, the most frequently annotated ones.
    seed : int >= 0
    **options
        As in `tasks`.

    Returns
    -------
    tasks : list of Task

    Raises
    ------
    ValueError
        If a model is not in the tables.
    """
    if unknown := [model for model in models if model not in SLIDES]:
        raise ValueError(f"models must be among {', '.join(SLIDES)}. Got {unknown[0]!r}.")
    if not models:
        return []
    jobs = grid(models=[SLIDES[model] for model in models], n_tags=[n_tags], protocol="tagger_slides", seed=seed)
    official = "official" in data.split_kinds
    split = data.split("official" if official else "random", shares=None if official else _SLIDES_SHARES, seed=seed)
    split = split[split.index.isin(set.intersection(*(set(store.ids) for store in stores.values())))]
    return tasks(jobs, stores, {"annotated": tags.top(data.tags, n_tags)}, split, **options)


def model_card(task: Task, result: Result, data: Any, *, thresholds: dict, scores: dict) -> ModelCard:
    """Card of a trained tagger.

    Parameters
    ----------
    task : Task
    result : Result
        Of the task.
    data : Dataset
    thresholds : dict of str to dict
        Rule -> tag -> threshold.
    scores : dict
        Scores on the held-out clips, kept in the card's provenance.

    Returns
    -------
    card : ModelCard
        Its step is that of whole clips.
    """
    learned = task.split.index[task.split.isin(("train", "validation"))]
    return ModelCard(
        task="tags",
        model=task.job.model,
        width=task.width,
        outputs=result.classes,
        length=task.length,
        step=task.clip_step or task.step,
        front_end=task.store.front_end,
        thresholds=thresholds,
        data=data.name,
        data_checksum=data.tables_checksum,
        seed=task.job.seed,
        training_clips=learned,
        held_out_clips=task.split.index[task.split == "hold_out"],
        provenance={
            "labels": task.job.labels,
            "protocol": task.job.protocol,
            "scores": scores,
            "parameters": result.parameters,
            **_familiar(task, learned),
        },
    )


def _familiar(task, clips):
    """What the network's training clips are like, for its card; nothing if they are too few."""
    if len(clips) < _FEWEST or task.store.front_end is None:
        return {}
    embeddings = [familiarity.embedding(np.asarray(task.store[clip]), task.store.front_end) for clip in clips]
    reference = familiarity.Reference.fit(embeddings, what=f"the {len(clips)} clips that the network learnt from")
    return {"familiarity": reference.to_text()}


def settings_table(tasks: Sequence[Task]) -> pd.DataFrame:
    """Settings of trainings beside those of their source.

    Parameters
    ----------
    tasks : sequence of Task

    Returns
    -------
    table : pd.DataFrame
        job, model, training_clips, length, step, clip_step, norm_momentum, and width, epochs, batch_size,
        learning_rate, per_clip, dropout and prior_bias, each followed by the source's as source_<name>.
    """
    rows = []
    for task in tasks:
        job = task.job
        used = _settings(task.protocol, width=task.width)
        source = _settings(protocol(job.protocol, job.model, n_tags=job.n_tags), width=1.0)
        pairs = {name: value for key in used for name, value in ((key, used[key]), (f"source_{key}", source[key]))}
        rows.append(
            {"job": job.name, "model": job.model, "training_clips": int((task.split == "train").sum())}
            | {key: getattr(task, key) for key in ("length", "step", "clip_step", "norm_momentum")}
            | pairs
        )
    return pd.DataFrame(rows)


def _settings(plan: Protocol, *, width):
    return {
        "width": width,
        "epochs": sum(phase["epochs"] for phase in plan.phases),
        "learning_rate": plan.phases[0]["learning_rate"],
        **{name: getattr(plan, name) for name in ("batch_size", "per_clip", "dropout", "prior_bias")},
    }


def _of(value, model):
    return value.get(model, value.get("other")) if isinstance(value, dict) else value

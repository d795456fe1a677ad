"""Tagger experiments of notebook 03: the labels, the spectrograms, the grid of trainings.

`rotheneder2023` 5.1: single-genre clips are held out for scores of whole clips, the others are divided 80/20 into
training and test, the training clips again 9:1 for validation; segments are cut afterwards. In addition, half of the
held-out clips may be by artists that do not occur in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from musictools import spectrograms, tags
from musictools.experiments.jobs import Job, Task
from musictools.experiments.protocols import protocol
from musictools.models import describe

__all__ = ["grid", "label_table", "open_stores", "tasks"]


def label_table(data: Any, *, kind: str = "annotated", n_tags: int | None = None) -> pd.DataFrame:
    """Descriptors of all clips, most frequently annotated first.

    Parameters
    ----------
    data : Dataset
    kind : {"annotated", "complete"}
        Annotated tags, or the complete tags that only the composed corpus knows.
    n_tags : int > 0 or None
        Number of tags, the most frequently annotated ones; None: all.

    Returns
    -------
    labels : pd.DataFrame [clips x tags, bool]
        The same columns for both kinds.

    Raises
    ------
    ValueError
        If the data set does not know complete labels, or has fewer tags.
    """
    chosen = data.descriptors if n_tags is None else tags.top(data.descriptors, n_tags)
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
                width=_of(width, job.model),
                protocol=protocol(job.protocol, job.model, epochs=_of(epochs, job.model) or None, **changes),
                **options,
            )
        )
    return made


def _of(value, model):
    return value.get(model, value.get("other")) if isinstance(value, dict) else value

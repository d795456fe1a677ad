"""Tagger experiments of notebook 03: which clips and labels, one training, its scores.

`rotheneder2023` 5.1: single-genre clips are kept aside for scores of whole clips, the others are divided 80/20 into
training and test, the training part again 9:1 for validation; frames are cut afterwards. On top of that half of the
clips kept aside may be by artists that the training never hears.
"""

import functools
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from musictools import runs, spectrograms, tags
from musictools.datasets import splits
from musictools.experiments.protocols import protocol

__all__ = ["IMBALANCE", "Job", "Result", "divide", "grid", "label_table", "open_stores", "run_job", "tasks"]

IMBALANCE = ("none", "positive_weights", "focal")
PARTS = ("validation", "test", "hold_out")


@dataclass(frozen=True)
class Job:
    """One training: a tagger, its tag set and how it is trained.

    Attributes
    ----------
    model : str
        A tagger of `musictools.models`.
    n_tags : int
        Of the most frequent tags.
    protocol : str
        One of `musictools.experiments.protocols.PROTOCOLS`.
    imbalance : str
        One of `IMBALANCE`.
    labels : str
        What is learnt from: ``"annotated"`` or ``"complete"``, as in `label_table`.
    seed : int
        Of initial weights, order and dropout.
    """

    model: str
    n_tags: int
    protocol: str = "rotheneder2023"
    imbalance: str = "none"
    labels: str = "annotated"
    seed: int = 0

    @property
    def name(self):
        """Names files of this job, str."""
        extra = "" if self.imbalance == "none" else f"-{self.imbalance}"
        return f"{self.model}-top{self.n_tags}-{self.labels}-{self.protocol}{extra}-{self.seed}"


@dataclass
class Result:
    """What came of a job.

    Attributes
    ----------
    job : Job
    tags : list of str
    history : pd.DataFrame
    scores : dict of str to np.ndarray [shape=(n_frames, n_tags), float32]
        Part ("validation", "test", "hold_out") -> scores of its frames.
    clip : dict of str to np.ndarray [shape=(n_frames,)]
        Part -> clip id of every frame.
    seconds : float
        Of training.
    clips_per_second : float
        Of scoring the clips kept aside, spectrograms at hand.
    parameters : int
    model_file : Path or None
    """

    job: Job
    tags: list
    history: pd.DataFrame
    scores: dict
    clip: dict
    seconds: float
    clips_per_second: float
    parameters: int
    model_file: Path | None


def label_table(data, *, kind="annotated", n_tags=None):
    """Descriptors of all clips, most frequently annotated first.

    Parameters
    ----------
    data : Dataset
    kind : {"annotated", "complete"}
        What annotators wrote, or what is true: only the composed corpus knows.
    n_tags : int > 0 or None
        The most frequently annotated ones; None: all.

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
        raise ValueError(f"labels must be 'annotated', or 'complete' where the data set knows them. Got {kind!r} for "
                         f"{data.name}.")
    return data.complete_descriptors[chosen.columns]


def divide(data, ids, *, hold_out, unseen_share=0.5, test_share=0.2, validation_share=0.1, seed=0):
    """Divide clips into training, validation, test and a hold-out for scores of whole clips.

    Parameters
    ----------
    data : Dataset
    ids : sequence of clip id
    hold_out : int > 0
        Single-genre clips kept aside (2,000 in `rotheneder2023`).
    unseen_share : float in [0, 1)
        Share of them by artists that are kept out of every other part (0 in the source).
    test_share : float in (0, 1)
        Of the clips that are left.
    validation_share : float in (0, 1)
        Of those that are left then.
    seed : int >= 0

    Returns
    -------
    parts : pd.DataFrame [clip id -> part, artist]
        part: "train", "validation", "test", "hold_out" or "unused" (other clips of unseen artists); artist: "seen" or
        "unseen".

    Raises
    ------
    ValueError
        If there are too few single-genre clips, or a share is out of range.
    """
    ids = pd.Index(ids)
    single = tags.single_genre(data).genres
    single = single[single.index.isin(ids)]
    if not 0 < hold_out < len(single) or not 0 <= unseen_share < 1:
        raise ValueError(f"hold_out must lie between 1 and the number of single-genre clips, {len(single)}, and "
                         f"unseen_share in [0, 1). Got {hold_out} and {unseen_share}.")
    parts = pd.DataFrame({"part": "", "artist": "seen"}, index=ids)
    if unseen_share:
        share = hold_out * unseen_share / len(single)
        kept = data.split("artist", parts={"unseen": share, "rest": 1 - share}, seed=seed, ids=single.index)
        artist = data.tracks.loc[ids, "artist"]
        names = set(artist[kept.index[kept == "unseen"]].dropna()) - {""}  # clips without an artist stand alone
        parts.loc[artist.isin(names), :] = ["unused", "unseen"]
        parts.loc[kept.index[kept == "unseen"], :] = ["hold_out", "unseen"]
    rest = single.index[(parts.loc[single.index, "part"] == "").to_numpy()]
    share = (hold_out - int((parts["part"] == "hold_out").sum())) / max(1, len(rest))
    if 0 < share < 1:
        kept = data.split("random", parts={"hold_out": share, "rest": 1 - share}, seed=seed, ids=rest)
        parts.loc[kept.index[kept == "hold_out"], "part"] = "hold_out"
    for part, share in (("test", test_share), ("validation", validation_share), ("train", None)):
        left = parts.index[parts["part"] == ""]
        chosen = pd.Series(part, left) if share is None else splits.random(
            splits.strata(data.genres.loc[left]), parts={part: share, "": 1 - share}, seed=seed)
        parts.loc[left, "part"] = chosen
    return parts


def open_stores(data, models, *, workers=None, scheduler=""):
    """Spectrograms for every model; models with equal front ends share theirs.

    Parameters
    ----------
    data : Dataset
    models : sequence of str
    workers, scheduler
        As in `musictools.runs.map`.

    Returns
    -------
    stores : dict of str to SpectrogramStore
    """
    front_ends = {model: spectrograms.model_input(model).front_end for model in models}
    by_key = {f.key: spectrograms.open_store(data, f, workers=workers, scheduler=scheduler)
              for f in dict.fromkeys(front_ends.values())}
    return {model: by_key[f.key] for model, f in front_ends.items()}


def grid(*, models, n_tags, labels=("annotated",), imbalance=("none",), protocol="rotheneder2023", extra_model=None,
         seed=0):
    """Every model with every number of tags; one model also with the other labels and answers to imbalance.

    Parameters
    ----------
    models : sequence of str
    n_tags : sequence of int
    labels, imbalance : sequence of str
        The first is for all; the others for `extra_model` and the first number of tags.
    protocol : str
    extra_model : str or None
        None: the first.
    seed : int

    Returns
    -------
    jobs : list of Job
        Main ones first.
    """
    extra_model = extra_model or models[0]
    if extra_model not in models:
        raise ValueError(f"extra_model must be one of the models, {', '.join(models)}. Got {extra_model!r}.")
    jobs = [Job(m, n, protocol, imbalance[0], labels[0], seed) for n in n_tags for m in models]
    jobs += [Job(extra_model, n_tags[0], protocol, imbalance[0], kind, seed) for kind in labels[1:]]
    return jobs + [Job(extra_model, n_tags[0], protocol, kind, labels[0], seed) for kind in imbalance[1:]]


def tasks(jobs, stores, labels, parts, *, width=1.0, epochs=None, overrides=None, **common):
    """What `run_job` needs for every job.

    Parameters
    ----------
    jobs : sequence of Job
    stores : dict of str to SpectrogramStore
        By model.
    labels : dict of str to pd.DataFrame [clips x tags, bool]
        By the jobs' `labels`; most frequent tags first.
    parts : pd.Series [clip id -> part]
    width, epochs : number or dict of str to number
        For all models, or by model with the key "other" for those not named. Epochs 0 or None: the protocol's.
    overrides : dict or None
        Other arguments of `protocol`, each a value or by model as above.
    **common
        norm_momentum, threads, folder.

    Returns
    -------
    tasks : list of dict
    """
    made = []
    for job in jobs:
        shape = spectrograms.model_input(job.model)
        made.append({
            "job": job, "store": stores[job.model], "labels": labels[job.labels].iloc[:, : job.n_tags], "parts": parts,
            "length": shape.length, "step": shape.step, "width": _of(width, job.model),
            "protocol": protocol(job.protocol, job.model, epochs=_of(epochs, job.model) or None,
                                 **{k: _of(v, job.model) for k, v in (overrides or {}).items()}), **common})
    return made


def _of(value, model):
    return value.get(model, value.get("other")) if isinstance(value, dict) else value


def run_job(task):
    """Train and score one tagger; fit for `runs.map`. What is finished already is read from the folder.

    Parameters
    ----------
    task : dict
        job : Job; store : spectrogram store of the model's front end; labels : pd.DataFrame [clips x tags, bool] to
        learn from; parts : pd.Series [clip id -> part]; length, step; width; norm_momentum; protocol : Protocol;
        threads : int or None; folder : where progress, the model and the result are kept, or None.

    Returns
    -------
    result : Result
    """
    settings = {k: task[k] for k in sorted(task) if k not in ("store", "folder", "threads", "labels", "parts")}
    hashes = [int(pd.util.hash_pandas_object(task[k]).sum()) for k in ("labels", "parts")]
    return runs.cached(functools.partial(_train, task), folder=task.get("folder"), name=task["job"].name,
                       depends_on=(settings, hashes, list(task["labels"].columns),
                                   getattr(task["store"], "folder", None)))


def _train(task, folder):
    from musictools import evaluation, models, training
    from musictools.spectrograms import Frames

    if task.get("threads"):
        training.use_threads(task["threads"])
    job, labels, parts = task["job"], task["labels"], task["parts"]
    frames = {part: Frames(task["store"], parts.index[parts == part], length=task["length"], step=task["step"])
              for part in ("train", *PARTS)}
    y = {part: labels.loc[x.ids].to_numpy(np.float32)[x.clip] for part, x in frames.items()}
    model = models.build(job.model, n_tags=labels.shape[1], input_shape=frames["train"].shape[1:], width=task["width"],
                         norm_momentum=task["norm_momentum"], seed=job.seed)
    _prepare(model, y["train"], task["protocol"])
    began = time.perf_counter()
    history = _fit(model, frames, y, task, None if folder is None else folder / "fit")
    seconds = time.perf_counter() - began
    if folder is not None:
        with runs.atomic(folder / "model.keras") as part:
            model.save(part)
    evaluation.predict(model, frames["hold_out"].take(np.arange(1)))  # the first call compiles
    scores, took = {}, 0.0
    for part in PARTS:
        began = time.perf_counter()
        scores[part] = evaluation.predict(model, frames[part], batch_size=task["protocol"].batch_size)
        took = time.perf_counter() - began  # of the last part, the hold-out
    clip = {part: np.asarray(frames[part].ids)[frames[part].clip] for part in PARTS}
    return Result(job, list(labels.columns), history, scores, clip, seconds, len(frames["hold_out"].ids) / took,
                  model.count_params(), None if folder is None else folder / "model.keras")


def _fit(model, frames, y, task, folder):
    from musictools import training

    plan = task["protocol"]
    watched = _some(frames["validation"].clip, plan.per_clip)
    phases = [{k: v for k, v in phase.items() if k not in ("hold", "decay")} | {"schedule": _schedule(phase)}
              for phase in plan.phases]
    return training.fit_phases(
        model, frames["train"], y["train"], phases, folder=folder,
        validation=(frames["validation"].take(watched), y["validation"][watched]),
        batch_size=plan.batch_size, loss=training.tag_loss(task["job"].imbalance, y["train"]),
        metrics=("binary_accuracy",), best_by=plan.best_by, patience=plan.patience, per_clip=plan.per_clip,
        seed=task["job"].seed)


def _schedule(phase):
    from musictools import training

    return training.constant_then_exponential(hold=phase["hold"], decay=phase["decay"]) if "hold" in phase else None


def _prepare(model, y, plan):
    for layer in model._flatten_layers():  # those inside attention, too
        if type(layer).__name__ == "Dropout":
            layer.rate *= plan.dropout
    if plan.prior_bias:  # what the model would spend its first hundreds of steps on
        share = np.clip(y.mean(axis=0), 0.002, 0.998)
        model.get_layer("logits").bias.assign(np.log(share / (1 - share)))


def _some(clip, per_clip):
    """Indices of `per_clip` frames of every clip, spread over it; of all frames where that is 0."""
    if not per_clip:
        return np.arange(len(clip))
    first, counts = np.unique(clip, return_index=True, return_counts=True)[1:]
    return np.concatenate([a + ((np.arange(k := min(per_clip, n)) + 0.5) * n / k).astype(int)
                           for a, n in zip(first, counts)])

"""One training as an experiment: what is trained (`Job`), its data and settings (`Task`), its outcome (`Result`).

Genre classifiers and taggers differ in their data only: a genre job learns exactly one class for every clip (softmax,
categorical cross-entropy), a tagger's job learns any number of tags (sigmoid, binary cross-entropy). `run` trains many
tasks in parallel, resumes what was interrupted, and reads finished results from its folder. Other kinds of training,
such as `mapping.MappingTask`, use the same runner with a task of their own. A task has a ``name``, a ``key`` and a
method ``train``, which returns a dataclass.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from musictools import files, runs
from musictools.datasets import splits
from musictools.experiments.protocols import Protocol

__all__ = ["Job", "Result", "Task", "artists", "checksum", "count_gpus", "run"]

os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # trainings and the notebook share a GPU's memory
_SPLITS = ("train", "validation", "test", "hold_out")
_LOCKS = []  # open files: a lock ends when its file is closed
_TABLES = ConfigDict(arbitrary_types_allowed=True)


@dataclass(frozen=True, kw_only=True)
class Job:
    """Description of one training in plain values, which name files and appear in tables.

    Parameters
    ----------
    model : str
        A model of `musictools.models`.
    protocol : str
        How it is trained: ``"callbacks"`` or ``"plain"`` for genres, else one of `protocols.PROTOCOLS`.
    data : str
        Name of the selection of clips, such as ``"balanced"``; empty: all.
    split : str
        How the clips were divided, such as ``"random"`` or ``"artist"``; empty: by the split of the task.
    n_tags : int >= 0
        Number of most frequent tags to learn; 0: genres.
    labels : {"genre", "annotated", "complete"}
        Labels to learn: genres, annotated tags, or the complete tags that only the composed corpus knows.
    imbalance : {"none", "positive_weights", "focal"}
        As in `training.tag_loss`.
    seed : int >= 0
        Seed of initial weights, order and dropout.

    Examples
    --------
    >>> Job(model="ckn19", data="balanced", split="artist", protocol="plain").name
    'ckn19-balanced-artist-plain-0'
    >>> Job(model="fcn4", n_tags=50, labels="complete", protocol="tagger_slides", imbalance="focal", seed=3).name
    'fcn4-top50-complete-tagger_slides-focal-3'
    """

    model: str = Field(min_length=1)
    protocol: str = Field(min_length=1)
    data: str = ""
    split: str = ""
    n_tags: NonNegativeInt = 0
    labels: Literal["genre", "annotated", "complete"] = "genre"
    imbalance: Literal["none", "positive_weights", "focal"] = "none"
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _is_of_one_kind(self):
        if (self.n_tags == 0) != (self.labels == "genre"):
            raise ValueError(
                f"labels must be 'genre' exactly where n_tags is 0. Got labels={self.labels!r}, n_tags={self.n_tags}."
            )
        return self

    @property
    def name(self) -> str:
        """Name of the job's files."""
        tags = (f"top{self.n_tags}", self.labels) if self.n_tags else ()
        imbalance = () if self.imbalance == "none" else (self.imbalance,)
        return "-".join(
            filter(None, (self.model, self.data, self.split, *tags, self.protocol, *imbalance, str(self.seed)))
        )


@dataclass(frozen=True, kw_only=True, config=_TABLES)
class Task:
    """A job with the data and settings that its training needs.

    Parameters
    ----------
    job : Job
    store : SpectrogramStore or ArrayStore
        Spectrograms by the model's front end.
    labels : pd.DataFrame [clips x classes, bool]
        One class per clip (genres) or any number (tags).
    split : pd.Series [clip id -> str]
        ``"train"``, ``"validation"``, ``"test"`` or ``"hold_out"``; clips with another value are left out.
    length, step : int > 0
        Columns of one segment, and from one segment to the next.
    clip_step : int > 0 or None
        Columns from one segment to the next where whole clips are scored (validation and hold-out); None: `step`.
    protocol : Protocol
    width : float > 0
        Multiplier of the model's filters and units.
    norm_momentum : float in [0, 1)
        Momentum of batch normalisation.
    validation_share : float in [0, 1)
        Share of the training clips that is used for validation if `split` names no validation clips.

    Raises
    ------
    ValueError
        If a value is out of range, a clip of the split has no labels or, for genres, not exactly one, or if there are
        no clips to train, validate and test with.
    """

    job: Job
    store: Any
    labels: pd.DataFrame
    split: pd.Series
    length: PositiveInt
    step: PositiveInt
    clip_step: PositiveInt | None = None
    protocol: Protocol
    width: PositiveFloat = 1.0
    norm_momentum: float = Field(default=0.99, ge=0, lt=1)
    validation_share: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _fits_together(self):
        used = self.split.index[self.split.isin(("train", *self.scored))]
        if missing := list(used.difference(self.labels.index)):
            raise ValueError(f"{len(missing)} clips of the split have no labels, such as {missing[0]!r}.")
        if self.job.labels == "genre" and (self.labels.loc[used].sum(axis=1) != 1).any():
            raise ValueError("Every clip must have exactly one genre.")
        chosen_later = {"validation"} if self.validation_share else set()
        if lacking := {"train", "validation", "test"} - set(self.split) - chosen_later:
            raise ValueError(f"The split has no clips for: {', '.join(sorted(lacking))}.")
        return self

    @property
    def scored(self) -> tuple[str, ...]:
        """Splits whose segments are scored. Thresholds of taggers are chosen on the validation clips."""
        if self.job.labels == "genre":
            return ("test",)
        return ("validation", "test", *(["hold_out"] if (self.split == "hold_out").any() else []))

    @property
    def name(self) -> str:
        """Name of the task's files."""
        return self.job.name

    @property
    def key(self) -> tuple:
        """Everything that the result depends on, in plain values: the key of the cache."""
        hashes = [checksum(table) for table in (self.labels, self.split)]
        return (
            self.job,
            list(self.labels.columns),
            hashes,
            self.store.checksum,
            self.length,
            self.step,
            self.clip_step,
            self.protocol,
            self.width,
            self.norm_momentum,
            self.validation_share,
        )

    def build(self, input_shape: tuple[int, ...]) -> Any:
        """Build the untrained model.

        Parameters
        ----------
        input_shape : tuple of int
            Without the batch.

        Returns
        -------
        model : keras.Model
        """
        from musictools import models

        return models.build(
            self.job.model,
            n_outputs=self.labels.shape[1],
            input_shape=input_shape,
            width=self.width,
            norm_momentum=self.norm_momentum,
            seed=self.job.seed,
        )

    def train(self, folder: Path | None = None) -> Result:
        """Train the model and score its segments.

        Parameters
        ----------
        folder : Path or None
            Folder for the progress and the model; None: nothing is kept.

        Returns
        -------
        result : Result
        """
        from musictools import training

        job = self.job
        with training.deterministic(job.seed):
            x, y = _inputs(self)
            model = self.build(x["train"].shape[1:])
            _prepare(model, y["train"], self.protocol)
            began = time.perf_counter()
            history = _fit(model, x, y, self, None if folder is None else folder / runs.PROGRESS)
            seconds = time.perf_counter() - began
            if folder is not None:
                files.save_model(folder / "model.keras", model)
            scored = _scored_segments(x, self)
            scores, speed = _score(model, scored, self.protocol.batch_size)
        return Result(
            job=job,
            classes=tuple(self.labels.columns),
            history=history,
            scores=scores,
            clip={split: np.asarray(segments.ids)[segments.clip] for split, segments in scored.items()},
            seconds=seconds,
            clips_per_second=speed,
            parameters=model.count_params(),
            train_segments=len(x["train"]),
            model_file=None if folder is None else folder / "model.keras",
        )


@dataclass(frozen=True, kw_only=True, config=_TABLES)
class Result:
    """Outcome of a task.

    Parameters
    ----------
    job : Job
    classes : tuple of str
        Genres or tags, in the order of the scores.
    history : pd.DataFrame
        As `training.fit_phases` returns it.
    scores : dict of str to np.ndarray [shape=(n_segments, n_classes), float32]
        Split, such as ``"test"``, -> scores of its segments.
    clip : dict of str to np.ndarray [shape=(n_segments,)]
        Split -> clip id of every segment.
    seconds : float
        Duration of the training.
    clips_per_second : float
        Speed of scoring the last split from its spectrograms.
    parameters : int
    train_segments : int
        Number of training segments.
    model_file : Path or None
        File of the trained model, if `run` had a folder.

    Raises
    ------
    ValueError
        If scores and clip ids do not belong together, or the scores have other classes.
    """

    job: Job
    classes: tuple[str, ...]
    history: pd.DataFrame
    scores: dict[str, np.ndarray]
    clip: dict[str, np.ndarray]
    seconds: float = 0.0
    clips_per_second: float = 0.0
    parameters: int = 0
    train_segments: int = 0
    model_file: Path | None = None

    @model_validator(mode="after")
    def _fits_together(self):
        for split, scores in self.scores.items():
            wanted = (len(self.clip.get(split, ())), len(self.classes))
            if scores.shape != wanted:
                raise ValueError(f"The scores of {split!r} must have shape {wanted}. Got {scores.shape}.")
        return self


def run(
    tasks: Sequence[Task],
    *,
    folder: str | Path | None = None,
    workers: int | None = None,
    scheduler: str = "",
    threads: int | None = None,
) -> list[Result]:
    """Train and score every task in parallel; results that are finished already are read from the folder.

    Parameters
    ----------
    tasks : sequence of Task
    folder : str, Path or None
        Folder for progress, models and results. Interrupted training resumes from the last completed epoch. None:
        nothing is kept.
    workers : int > 0 or None
        Number of simultaneous trainings, as in `runs.map`. With GPUs at most one for each of them.
    scheduler : str
        Address of a Dask scheduler, as in `runs.map`.
    threads : int > 0 or None
        TensorFlow's threads in each training. None: one if there are several trainings at once, otherwise all.

    Returns
    -------
    results : list of Result
        In the order of the tasks.

    Warns
    -----
    UserWarning
        If a result in the folder is damaged. It is computed again.

    See Also
    --------
    musictools.training.fit_phases : One training.
    musictools.runs.cached : Where the results are kept.

    Examples
    --------
    >>> run([])
    []
    """
    gpus = count_gpus()
    if gpus:
        workers = min(workers or gpus, gpus)
    if threads is None and workers != 1:
        threads = 1
    compute = functools.partial(_run_one, folder=folder, threads=threads)
    shared = []
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        shared = [folder]
    return runs.map(compute, tasks, workers=workers, scheduler=scheduler, description="training", shared=shared)


def count_gpus() -> int:
    """Count the GPUs that Keras may use; its backend is not loaded where there is no NVIDIA driver.

    Returns
    -------
    n : int

    Examples
    --------
    >>> count_gpus()  # doctest: +SKIP
    0
    """
    if shutil.which("nvidia-smi") is None:
        return 0
    import keras

    if keras.backend.backend() == "torch":
        import torch

        return torch.cuda.device_count()
    if keras.backend.backend() == "jax":
        return len(keras.distribution.list_devices("gpu"))
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def artists(tracks: pd.DataFrame) -> pd.Series:
    """Groups for confidence intervals: the artist of every clip, or the clip itself if it has no artist.

    Parameters
    ----------
    tracks : pd.DataFrame
        With the column artist, indexed by clip id.

    Returns
    -------
    groups : pd.Series [clip id -> str]

    See Also
    --------
    musictools.evaluation.bootstrap : Intervals that resample such groups.

    Examples
    --------
    >>> artists(pd.DataFrame({"artist": ["Ann", "Ann", "", None]}, index=[3, 5, 7, 9])).tolist()
    ['Ann', 'Ann', 'clip 7', 'clip 9']
    """
    alone = pd.Series([f"clip {clip_id}" for clip_id in tracks.index], tracks.index)
    named = tracks["artist"].notna() & (tracks["artist"].astype(str) != "")
    return tracks["artist"].astype(object).where(named, alone)


def checksum(table: pd.DataFrame | pd.Series) -> str:
    """SHA-256 of a table's values and index, for the keys of tasks; names of columns are not part of it.

    Parameters
    ----------
    table : pd.DataFrame or pd.Series

    Returns
    -------
    digest : str

    Examples
    --------
    >>> table = pd.Series([1, 2], index=["a", "b"])
    >>> checksum(table) == checksum(table.copy()), checksum(table) == checksum(table[::-1])
    (True, False)
    """
    return hashlib.sha256(pd.util.hash_pandas_object(table).to_numpy().tobytes()).hexdigest()


def _run_one(task, *, folder, threads):
    return runs.cached(
        functools.partial(_train, task, threads),
        folder=folder,
        name=task.name,
        depends_on=task.key,
        check=dataclasses.replace,  # a copy, which is validated like a new result
    )


def _train(task, threads, folder):
    from musictools import training

    if threads:
        training.use_threads(threads)
    if (gpus := count_gpus()) > 1:
        _use_own_gpu(gpus)  # TensorFlow only; another backend sees what CUDA_VISIBLE_DEVICES lists
    return task.train(folder)


@functools.cache
def _use_own_gpu(gpus):
    """Let this process, and no other training on this machine, use one of several GPUs until it ends."""
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    number = _claim(gpus, Path(tempfile.gettempdir()))
    try:
        tf.config.set_visible_devices(devices[number], "GPU")
    except RuntimeError:  # TensorFlow has begun already: this process keeps the GPUs that it sees
        _LOCKS.pop().close()


def _claim(n, folder, *, patience=60.0):
    """Lock the first of `n` numbers that no other process holds; the lock ends with the process.

    A worker that takes the place of another one waits until that one has ended, `patience` seconds at most.
    """
    import fcntl

    deadline = time.monotonic() + patience
    while True:
        for number in range(n):
            file = (folder / f"musictools-gpu-{number}.lock").open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                continue
            _LOCKS.append(file)
            return number
        if time.monotonic() >= deadline:
            raise RuntimeError(f"All {n} GPUs are in use by other trainings of musictools.")
        time.sleep(0.2)


def _inputs(task):
    """Segments and labels of every split; without validation clips some training clips become validation clips."""
    from musictools.spectrograms import Segments

    x = {
        split: Segments(task.store, task.split.index[task.split == split], length=task.length, step=task.step)
        for split in _SPLITS
        if (task.split == split).any()
    }
    y = {split: task.labels.loc[segments.ids].to_numpy(np.float32)[segments.clip] for split, segments in x.items()}
    if "validation" not in x:
        held = splits.choose_groups(x["train"].clip, share=task.validation_share, seed=task.job.seed)
        x["validation"], y["validation"] = x["train"].take(held), y["train"][held]
        x["train"], y["train"] = x["train"].take(~held), y["train"][~held]
    return x, y


def _prepare(model, y, protocol):
    for layer in model._flatten_layers():  # also those inside attention
        if type(layer).__name__ == "Dropout":
            layer.rate *= protocol.dropout
    if protocol.prior_bias:  # otherwise the model spends its first hundreds of steps on learning these
        share = np.clip(y.mean(axis=0), 0.002, 0.998)
        model.get_layer("logits").bias.assign(np.log(share / (1 - share)))


def _fit(model, x, y, task, folder):
    from musictools import training

    protocol, genre = task.protocol, task.job.labels == "genre"
    watched = _spread(x["validation"].clip, protocol.per_clip)
    phases = [
        {k: v for k, v in phase.items() if k not in ("hold", "decay")}
        | {
            "schedule": training.constant_then_exponential(hold=phase["hold"], decay=phase["decay"])
            if "hold" in phase
            else None
        }
        for phase in protocol.phases
    ]
    return training.fit_phases(
        model,
        x["train"],
        y["train"],
        phases,
        folder=folder,
        keep=True,
        validation=(x["validation"].take(watched), y["validation"][watched]),
        batch_size=protocol.batch_size,
        loss="categorical_crossentropy" if genre else training.tag_loss(task.job.imbalance, y["train"]),
        metrics=("accuracy" if genre else "binary_accuracy",),
        best_by=protocol.best_by,
        patience=protocol.patience,
        per_clip=protocol.per_clip,
        seed=task.job.seed,
    )


def _scored_segments(x, task):
    """Segments to score; those of whole clips may follow each other in other steps than those of training."""
    from musictools.spectrograms import Segments

    scored = {split: x[split] for split in task.scored}
    if task.clip_step not in (None, task.step):
        for split in scored.keys() & {"validation", "hold_out"}:
            ids = np.asarray(x[split].ids)[np.unique(x[split].clip)]  # `take` keeps the ids of clips left out
            scored[split] = Segments(task.store, ids.tolist(), length=task.length, step=task.clip_step)
    return scored


def _score(model, scored, batch_size):
    from musictools import evaluation

    last = list(scored)[-1]
    evaluation.predict(model, scored[last].take(np.arange(1)))  # the first call compiles and is not timed
    scores = {}
    for split, segments in scored.items():
        began = time.perf_counter()
        scores[split] = evaluation.predict(model, segments, batch_size=batch_size)
    return scores, len(scored[last].ids) / (time.perf_counter() - began)


def _spread(clip, per_clip):
    """Indices of `per_clip` segments of every clip, spread evenly over it; of all segments where that is 0."""
    if not per_clip:
        return np.arange(len(clip))
    first, counts = np.unique(clip, return_index=True, return_counts=True)[1:]
    return np.concatenate(
        [a + ((np.arange(k := min(per_clip, n)) + 0.5) * n / k).astype(int) for a, n in zip(first, counts, strict=True)]
    )

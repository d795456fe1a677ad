"""Genre experiments of notebook 02: which clips, one training, its scores.

The procedure is that of `rotheneder2023` 3.1 and 3.4: keep clips aside, limit every genre, split by clip, cut frames
only afterwards. The keys of a `Job` are plain values, so that a grid of jobs can go through `runs.map`.
"""

import functools
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from musictools import runs
from musictools.datasets import splits

__all__ = ["Job", "Result", "choose", "clip_decisions", "grid", "limit", "run_job", "table", "tasks"]


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes
    ----------
    model : str
        A genre model of `musictools.models`.
    data : str
        Name of the choice of clips, such as ``"balanced"``.
    callbacks : bool
        Best weights by validation accuracy, and the falling learning rate.
    split : str
        How the test clips were chosen, such as ``"random"`` or ``"artist"``.
    seed : int
        Of initial weights, order and dropout.
    """

    model: str
    data: str
    callbacks: bool
    split: str
    seed: int

    @property
    def name(self):
        """Names files of this job, str."""
        return f"{self.model}-{self.data}-{self.split}-{'callbacks' if self.callbacks else 'plain'}-{self.seed}"


@dataclass
class Result:
    """What came of a job.

    Attributes
    ----------
    job : Job
    history : pd.DataFrame
    scores : np.ndarray [shape=(n_test_frames, n_genres)]
    clip : np.ndarray [shape=(n_test_frames,)]
        Index of every test frame's clip in the job's test clips.
    labels : np.ndarray [shape=(n_test_clips,)]
    seconds : float
        Of training.
    frames : int
        Training frames.
    model_file : Path or None
        The trained model, where the task has a folder.
    """

    job: Job
    history: pd.DataFrame
    scores: np.ndarray
    clip: np.ndarray
    labels: np.ndarray
    seconds: float
    frames: int
    model_file: Path | None


def limit(genres, *, per_genre, seed):
    """At most `per_genre` clips of every genre, chosen at random.

    Parameters
    ----------
    genres : pd.Series [clip id -> genre]
    per_genre : int >= 0
        0: as many as the rarest genre has.
    seed : int >= 0

    Returns
    -------
    genres : pd.Series
        The chosen clips, in the order given.
    """
    if per_genre < 0:
        raise ValueError(f"per_genre must be at least 0. Got {per_genre}.")
    if genres.empty:
        raise ValueError("There are no clips to choose from.")
    n = per_genre or int(genres.value_counts().min())
    rng = np.random.default_rng(seed)
    chosen = [group.index.to_numpy()[rng.permutation(len(group))[:n]] for _, group in genres.groupby(genres)]
    return genres[genres.index.isin(np.concatenate(chosen))]


def choose(data, genres, *, hold_out, split, test_share=0.2, seed=0):
    """Divide single-genre clips into training, test and a hold-out that nothing here ever sees.

    Parameters
    ----------
    data : Dataset
    genres : pd.Series [clip id -> genre]
        Single-genre clips.
    hold_out : int >= 0
        Clips kept aside first, at random (2,000 in `rotheneder2023`).
    split : str
        A split that the data set knows; for ``"random"`` and ``"artist"`` with `test_share`.
    test_share : float in (0, 1)
    seed : int >= 0

    Returns
    -------
    parts : pd.Series [clip id -> "train", "test" or "hold_out"]
        The hold-out is the same for every `split`.
    """
    if not 0 <= hold_out < len(genres):
        raise ValueError(f"hold_out must lie between 0 and the number of single-genre clips, {len(genres)}. "
                         f"Got {hold_out}.")
    parts = pd.Series("", index=genres.index, dtype=object, name="part")
    if hold_out:
        share = hold_out / len(genres)
        first = splits.random(genres, parts={"hold_out": share, "rest": 1 - share}, seed=seed)
        parts[first == "hold_out"] = "hold_out"
    rest = parts.index[parts == ""]
    shares = {"train": 1 - test_share, "test": test_share} if split in ("random", "artist") else None
    inner = data.split(split, ids=rest, parts=shares, seed=seed)
    parts.loc[inner.index] = inner
    return parts[parts != ""]


def grid(*, models, limits, callbacks, splits, seeds):
    """All models, limits and callbacks on the first split; on the others the first model, the last limit.

    Parameters
    ----------
    models, limits, splits : sequence of str
    callbacks : sequence of bool
        The first is used on the other splits.
    seeds : sequence of int

    Returns
    -------
    jobs : list of Job
    """
    first = [Job(m, n, c, splits[0], s) for m in models for n in limits for c in callbacks for s in seeds]
    others = [Job(models[0], limits[-1], callbacks[0], k, s) for k in splits[1:] for s in seeds]
    return others + first  # the others are long ones: begun first, no core waits for them at the end


def tasks(data, genres, jobs, *, limits, hold_out, test_share, leave_out="", seed=0):
    """The clips of every job.

    Parameters
    ----------
    data : Dataset
    genres : pd.Series [clip id -> genre]
        Single-genre clips.
    jobs : sequence of Job
    limits : dict of str to int
        Name of a choice of clips -> clips a genre at most, 0 for as many as the rarest genre has.
    hold_out, test_share, seed
        As in `choose`; every job's own seed chooses its test clips.
    leave_out : str
        A column of ``data.tracks``: every job runs a second time without the clips where it is not 0.

    Returns
    -------
    tasks : list of dict
        job, train, validation (None where the split brings none) and test, for `run_job`.
    """
    if leave_out and leave_out not in data.tracks:
        raise ValueError(f"leave_out={leave_out!r} is no column of the tracks: {', '.join(data.tracks)}.")
    chosen = []
    for job in jobs:
        parts = choose(data, genres, hold_out=hold_out, split=job.split, test_share=test_share, seed=seed + job.seed)
        for without in (False, True) if leave_out else (False,):
            kept = genres[data.tracks.loc[genres.index, leave_out] == 0] if without else genres
            part = {name: kept[kept.index.isin(parts.index[parts == name])] for name in parts.unique()}
            train = limit(pd.concat([part["train"], part["test"]]), per_genre=limits[job.data], seed=seed)
            name = f"{job.data}_without_{leave_out}" if without else job.data
            chosen.append({
                "job": Job(job.model, name, job.callbacks, job.split, job.seed),
                "train": part["train"][part["train"].index.isin(train.index)],
                "validation": part.get("validation"),
                "test": part["test"][part["test"].index.isin(train.index)],
            })
    return chosen


def run_job(task):
    """Train and score one job; fit for `runs.map`. What is finished already is read from the folder.

    Parameters
    ----------
    task : dict
        As made by `tasks`, and: store : spectrogram store; genres : list of str, the classes; length, step, width,
        norm_momentum, epochs, batch_size, learning_rate, validation_share (used where the task has no validation
        clips); threads : int or None; folder : where progress, the model and the result are kept, or None.

    Returns
    -------
    result : Result
    """
    parts = ("train", "validation", "test")
    settings = {k: task[k] for k in sorted(task) if k not in ("store", "folder", "threads", *parts)}
    clips = [None if task.get(k) is None else task[k].to_dict() for k in parts]
    return runs.cached(functools.partial(_train, task), folder=task.get("folder"), name=task["job"].name,
                       depends_on=(settings, clips, getattr(task["store"], "folder", None)))


def _train(task, folder):
    from musictools import evaluation, models, training
    from musictools.spectrograms import Frames

    if task.get("threads"):
        training.use_threads(task["threads"])
    job, genres = task["job"], list(task["genres"])
    frames = {part: Frames(task["store"], task[part].index, length=task["length"], step=task["step"])
              for part in ("train", "validation", "test") if task.get(part) is not None}
    y = {part: np.eye(len(genres), dtype=np.float32)[_codes(task[part], genres)][x.clip] for part, x in frames.items()}
    train, test = frames["train"], frames["test"]
    if "validation" not in frames:
        held = training.split_by_group(train.clip, share=task["validation_share"], seed=job.seed)
        frames["validation"], y["validation"] = train.take(held), y["train"][held]
        frames["train"], y["train"] = train.take(~held), y["train"][~held]
    model = models.build(job.model, n_classes=len(genres), input_shape=train.shape[1:], width=task["width"],
                         norm_momentum=task["norm_momentum"], seed=job.seed)
    began = time.perf_counter()
    history = training.fit(
        model, frames["train"], y["train"], validation=(frames["validation"], y["validation"]), epochs=task["epochs"],
        batch_size=task["batch_size"], learning_rate=task["learning_rate"], seed=job.seed,
        best_by="val_accuracy" if job.callbacks else None,
        schedule=training.constant_then_exponential() if job.callbacks else None,
        folder=None if folder is None else folder / "fit",
    )
    seconds = time.perf_counter() - began
    if folder is not None:
        with runs.atomic(folder / "model.keras") as part:
            model.save(part)
    scores = evaluation.predict(model, test, batch_size=task["batch_size"])
    return Result(job, history, scores, test.clip, _codes(task["test"], genres), seconds, len(frames["train"]),
                  None if folder is None else folder / "model.keras")


def table(results, *, repeats, seed=0):
    """Scores of all jobs, frame level and clip level, with 95 % intervals over clips.

    Parameters
    ----------
    results : sequence of Result
    repeats : int > 0
        Bootstrap repetitions.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        Two rows a job: model, data, callbacks, split, seed, level, clips, accuracy, accuracy_low, accuracy_high,
        precision, recall, roc_auc, train_frames.
    """
    rows = []
    for result in results:
        for level, (labels, scores, predicted, clip) in _levels(result).items():
            rows.append(asdict(result.job) | {"level": level, "clips": len(np.unique(clip))}
                        | _measures(labels, scores, predicted, clip, repeats=repeats, seed=seed)
                        | {"train_frames": result.frames})
    return pd.DataFrame(rows)


def clip_decisions(result):
    """Majority vote of every test clip.

    Parameters
    ----------
    result : Result

    Returns
    -------
    labels, predicted : np.ndarray [shape=(n_clips,), int]
    """
    labels, _, predicted, _ = _levels(result)["clip"]
    return labels, predicted


def _levels(result):
    from musictools import evaluation

    clips, means = evaluation.mean_by_clip(result.scores, result.clip)
    _, winners = evaluation.vote(result.scores, result.clip)
    frame_labels = result.labels[result.clip]
    return {"frame": (frame_labels, result.scores, result.scores.argmax(axis=1), result.clip),
            "clip": (result.labels[clips], means, winners, clips)}


def _measures(labels, scores, predicted, clip, *, repeats, seed):
    from musictools import evaluation

    measures = evaluation.genre_metrics(labels, scores, predicted=predicted)
    right = (labels == predicted).astype(float)
    low, high = evaluation.bootstrap(lambda rows: right[rows].mean(), clip, repeats=repeats, seed=seed)
    return {"accuracy": measures.pop("accuracy"), "accuracy_low": low, "accuracy_high": high, **measures}


def _codes(series, genres):
    position = {genre: k for k, genre in enumerate(genres)}
    return np.array([position[g] for g in series], dtype=int)

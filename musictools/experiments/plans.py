"""What a profile reads, trains and writes, how long that takes on this machine, and what is missing.

Every notebook has a function that turns its parameters into a `NotebookPlan`: the trainings that its grid makes, the
disk and memory it needs, and the amount of other work. `calibration.measure` gives the rates that turn amounts into
hours. Early stopping is not foreseen: hours are those of all epochs. Plots, tables and bootstraps are left out.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from musictools import models, runs
from musictools.datasets.composed import writer
from musictools.experiments import genres, taggers
from musictools.experiments.calibration import Network, Rates
from musictools.experiments.data_sizes import DataSize, data_size
from musictools.experiments.protocols import protocol
from musictools.runs import execution, parallel
from musictools.runs.paths import from_root

__all__ = ["NotebookPlan", "Training", "make", "obstacles", "report"]

COMPOSED_BYTES = 180_000  # of a clip of the composed corpus, as mp3
PROCESS_BYTES = 8 * 10**8  # of a process that has loaded TensorFlow
PASSES = 10  # gradients that one explanation takes on average; smooth gradients take more, most methods one


@dataclass(frozen=True, kw_only=True)
class Training:
    """Equal trainings of a notebook.

    Parameters
    ----------
    network : Network
        Model, width, batch size.
    outputs : int
        Number of classes.
    count : int
        Number of trainings.
    epochs : int
    segments : int
        Training segments of one epoch.
    scored : int
        Segments scored in all: the validation segments of every epoch, and those of the other parts at the end.
    """

    network: Network
    outputs: int
    count: int = 1
    epochs: int
    segments: int
    scored: int = 0

    def seconds(self, rates: Rates) -> float:
        """Seconds of all trainings one after the other, each with the threads of its network.

        Parameters
        ----------
        rates : Rates

        Returns
        -------
        seconds : float
        """
        timing = rates.networks[self.network]
        steps = math.ceil(self.segments / self.network.batch_size)
        return self.count * (timing.start + self.epochs * steps * timing.step + self.scored * timing.forward)


@dataclass(frozen=True, kw_only=True)
class NotebookPlan:
    """What one notebook reads, trains and writes.

    Parameters
    ----------
    notebook : str
    clips : int
        Number of clips read.
    trainings : tuple of Training
    at_once : int
        Number of simultaneous trainings.
    workers : int
        Processes for other work.
    work : dict of str to float
        Amount of other work, by the rates of `calibration.Rates`.
    passes : dict of Network to float
        Number of inputs that networks are run on outside training, forward passes.
    map_work : callable or None
        Rates -> bytes of the feature maps on disk, and the amount of work on them; they depend on the networks.
    disk : int
        Bytes written, but for weights of networks and feature maps.
    missing : tuple of str
        What this machine lacks.
    finished : bool
        Whether the notebook has run and nothing changed.
    """

    notebook: str
    clips: int = 0
    trainings: tuple[Training, ...] = ()
    at_once: int = 1
    workers: int = 1
    work: dict[str, float] = field(default_factory=dict)
    passes: dict[Network, float] = field(default_factory=dict)
    map_work: Callable[[Rates], tuple[float, dict[str, float]]] | None = None
    disk: int = 0
    missing: tuple[str, ...] = ()
    finished: bool = False

    @property
    def networks(self) -> set[Network]:
        """Networks to time."""
        return {training.network for training in self.trainings} | set(self.passes)

    def hours(self, rates: Rates) -> float:
        """Hours on this machine, the notebook running alone.

        Parameters
        ----------
        rates : Rates

        Returns
        -------
        hours : float
        """
        work = dict(self.work)
        if self.map_work:
            for name, amount in self.map_work(rates)[1].items():
                work[name] = work.get(name, 0) + amount
        seconds = sum(training.seconds(rates) for training in self.trainings) / min(self.at_once, rates.cores)
        seconds += sum(n * rates.networks[network].forward for network, n in self.passes.items())
        seconds += sum(getattr(rates, name) * n for name, n in work.items()) / min(self.workers, rates.cores)
        return seconds / 3600

    def disk_bytes(self, rates: Rates | None) -> int:
        """Bytes that the notebook writes: stores, weights with the state of Adam, feature maps.

        Parameters
        ----------
        rates : Rates or None
            None: not measured; networks do not count.

        Returns
        -------
        n_bytes : int
        """
        if rates is None:
            return self.disk
        weights = sum(12 * t.count * rates.networks[t.network].parameters for t in self.trainings)
        return self.disk + weights + round(self.map_work(rates)[0] if self.map_work else 0)

    def memory_bytes(self, rates: Rates | None) -> int:
        """Bytes of memory: rows that are kept, and the largest trainings that run at once.

        Parameters
        ----------
        rates : Rates or None
            None: not measured; networks do not count.

        Returns
        -------
        n_bytes : int
        """
        kept = runs.memory_budget()
        if rates is None or not self.trainings:
            return kept + PROCESS_BYTES
        largest = max(
            16 * timing.parameters + 8 * training.network.batch_size * timing.activations
            for training in self.trainings
            for timing in [rates.networks[training.network]]
        )
        return kept + PROCESS_BYTES + self.at_once * (PROCESS_BYTES + largest)


def _preprocess(p, size):
    """Notebook 01: every clip is decoded once to check it, and once for its spectrogram."""
    return {"work": {"decode": size.clips if size.has_audio else 0}, "stores": (p["model"],) if size.has_audio else ()}


def _held_out(p):
    return p.get("held_out", p).get("hold_out", 0)


def _limited(size, hold_out, limit):
    """Number of single-genre clips in training and test, after some are held out and genres are limited."""
    kept = {genre: n * max(0, 1 - hold_out / size.single) for genre, n in size.genres.items() if n}
    most = limit or min(kept.values())
    return round(sum(min(n, most) for n in kept.values()))


def _train_genres(p, size):
    """Notebook 02: the grid of genre models."""
    jobs = genres.grid(
        models=p["models"], limits=list(p["limits"]), callbacks=p["callbacks"], splits=p["splits"], seeds=p["seeds"]
    )
    at_once = _trainings_at_once(p)
    made = {}
    for job in jobs:
        clips = _limited(size, _held_out(p), p["limits"][job.data])
        training = _genre_training(job.model, p, size, clips, length=p["length"], step=p["step"], at_once=at_once)
        made[training] = made.get(training, 0) + (2 if p["leave_out"] else 1)
    trainings = tuple(replace(training, count=n) for training, n in made.items())
    return {"trainings": trainings, "at_once": at_once, "stores": tuple(p["models"][:1])}


def _genre_training(model, p, size, clips, *, length, step, at_once):
    per_clip = size.segments(model, length=length, step=step)
    train, test = clips * (1 - p["test_share"]), clips * p["test_share"]
    validation = train * p["validation_share"]
    return Training(
        network=Network(model, p["width"], p["batch_size"], length, 0 if at_once == 1 else 1),
        outputs=len(size.genres),
        epochs=p["epochs"],
        segments=round((train - validation) * per_clip),
        scored=round((validation * p["epochs"] + test) * per_clip),
    )


def _compare_taggers(p, size):
    """Notebook 03: the grid of taggers; every clip without a descriptor is left out."""
    names = list(p["models"] or models.names("tagger"))
    jobs = taggers.grid(
        models=names, n_tags=p["n_tags"], labels=p["labels"], imbalance=p["imbalance"], extra_model=p["extra_model"]
    )
    slides = [taggers.SLIDES[name] for name in p["slides_models"]]
    jobs += taggers.grid(models=slides, n_tags=[50], protocol="tagger_slides") if slides else []
    at_once = _trainings_at_once(p)
    made = {}
    for job in jobs:
        training = _tagger_training(job, p, size, threads=0 if at_once == 1 else 1)
        made[training] = made.get(training, 0) + 1
    trainings = tuple(replace(training, count=n) for training, n in made.items())
    return {"trainings": trainings, "at_once": at_once, "stores": (*names, *slides, "short_chunk")}


def _tagger_training(job, p, size, *, threads):
    def of(value):
        return value.get(job.model, value.get("other")) if isinstance(value, dict) else value

    changes = {name: of(value) for name, value in p["overrides"].items()}
    wanted = protocol(job.protocol, job.model, n_tags=job.n_tags, epochs=of(p["epochs"]) or None, **changes)
    epochs = sum(phase["epochs"] for phase in wanted.phases)
    if job.protocol == "tagger_slides":  # the official split; no clip is held out
        train, validation, test, whole = (round(size.clips * n / 16) for n in (12, 1, 3, 0))
    else:
        clips = size.described * (1 - _held_out(p) / size.clips)
        test = clips * p["test_share"]
        validation = (clips - test) * p["validation_share"]
        train, whole = clips - test - validation, _held_out(p)
    per_clip = size.segments(job.model)
    trained = min(per_clip, wanted.per_clip or per_clip)
    length = models.describe(job.model).input.length
    return Training(
        network=Network(job.model, of(p["width"]), wanted.batch_size, length, threads),
        outputs=job.n_tags,
        epochs=epochs,
        segments=round(train * trained),
        scored=round(validation * trained * epochs + (validation + test + whole) * per_clip),
    )


def _map_descriptors(p, size):
    """Notebook 04: fits of the descriptor-to-genre network, in the grid search, the comparison and the folds."""
    combinations = math.prod(len(values) for values in p["choices"].values())
    batch = sum(p["choices"].get("batch_size", [20])) / len(p["choices"].get("batch_size", [20]))
    fits = combinations * p["folds"] + 2 * len(p["seeds"]) + 5 + 1
    steps = fits * p["epochs"] * size.mapped * (1 - p["test_share"]) / batch
    return {"work": {"mapping_fit": fits, "mapping_step": steps}}


def _visualise_descriptors(p, size):
    """Notebook 05: explanations of single inputs; a rough count, each takes some gradients of the tagger."""
    tagger = _assumed_tagger(p)
    n = 10 * p["per_tag"] * (len(p["localise_methods"]) + 3)
    n += 2 * p["sane_clips"] * (len(p["sane_methods"]) + 1) * len(p["orders"]) * 8
    n += 2 * p["sane_clips"] * (len(p["badge_methods"]) + 1) * 30
    n += 5 * p["faithful_clips"] * (len(p["faithful_methods"]) + 2) * 120 / (3 * PASSES)
    n += 5 * p["loop_clips"] * len(p["loop_methods"]) * 3
    return {"passes": {tagger: 3 * PASSES * n}}


def _assumed_tagger(p):
    """The tagger that later notebooks read is chosen by its scores; assume the one that the thesis chose."""
    shape = models.describe("short_chunk").input
    return Network("short_chunk", p.get("tagger_width", 1.0), 16, shape.length)


def _probe_feature_maps(p, size):
    """Notebook 06: feature maps of two networks and two untrained ones, and classifiers on single maps."""
    n_tags = len(p["tags"]) or 10
    clips = min(size.probed, n_tags * p["per_tag"] or size.probed) if p["per_tag"] else size.probed
    train = round(clips * (1 - p["test_share"]))
    genre = Network(p.get("genre_model", "ckn19"), p.get("genre_width", 1.0), 64, 128)
    tagger = _assumed_tagger(p)
    folds, budget = p["n_folds"], p.get("disk_gb", 0.0) * 1e9

    def map_work(rates):
        shapes = {network: rates.networks[network].maps for network in (genre, tagger)}
        cells = {network: [n * h * w for n, h, w in maps.values()] for network, maps in shapes.items()}
        total = 2 * 4 * clips * sum(map(sum, cells.values()))
        counts = 2 * sum(n for maps in shapes.values() for n, _, _ in maps.values())
        pairs = train * train * (folds - 1) / folds + train * (clips - train)  # of the folds, and of the test
        work = {"pair": counts * pairs, "pair_cell": 2 * sum(map(sum, cells.values())) * pairs}
        trees, fit = max(p["n_trees"]), train * (folds - 1) / folds
        layers = [sides for name, sides in shapes[genre].items() if name != "input"]
        chosen = [(min(p["forest_maps"] or n, n), h * w) for n, h, w in layers]
        work["forest"] = folds * n_tags * trees * fit * math.log2(fit) * sum(n * math.sqrt(c) for n, c in chosen)
        n, h, w = layers[-1]
        work["machine"] = folds * n_tags * fit * n * h * w
        return min(total, budget) if budget else total, work

    return {
        "passes": {genre: 2 * clips, tagger: 2 * clips},
        "map_work": map_work,
        "stores": (genre.model, tagger.model),
    }


def _auralise_features(p, size):
    """Notebook 07: one training, and the ablation of every feature."""
    shape = models.describe("choi_stft").input
    clips = _limited(size, _held_out(p), p["per_genre"])
    training = _genre_training("choi_stft", p, size, clips, length=shape.length, step=shape.step, at_once=1)
    features = 5 * max(1, round(64 * p["width"]))
    return {
        "trainings": (training,),
        "passes": {training.network: features * p["prune_inputs"]},
        "stores": ("choi_stft",),
    }


def _trainings_at_once(p):
    """Trainings at once as the parameters say, one per GPU where there are some."""
    return 1 if parallel.has_gpu() else p.get("trainings", p["workers"])


# Functions of the resolved parameters (with what notebooks 05 and 06 need of 02 and 03) and the data set's size; they
# return fields of a `NotebookPlan`, and "stores": models whose spectrograms the notebook needs.
NOTEBOOKS: dict[str, Callable[[dict[str, Any], DataSize], dict[str, Any]]] = {
    "01_preprocess": _preprocess,
    "02_train_genre_model": _train_genres,
    "03_compare_taggers": _compare_taggers,
    "04_map_descriptors_to_genres": _map_descriptors,
    "05_visualise_descriptors": _visualise_descriptors,
    "06_probe_feature_maps": _probe_feature_maps,
    "07_auralise_features": _auralise_features,
}
_NEEDS_SOUND = ("02_train_genre_model", "03_compare_taggers", "06_probe_feature_maps", "07_auralise_features")


def make(
    profile: str,
    *,
    only: list[str] | None = None,
    parameters: dict | None = None,
    output_root: str | Path | None = None,
) -> list[NotebookPlan]:
    """Plan a profile.

    Parameters
    ----------
    profile : str
    only, parameters, output_root
        As in `musictools.runs.rebuild`.

    Returns
    -------
    plans : list of NotebookPlan
        One per notebook of the profile, in their order.

    Raises
    ------
    ValueError
        As in `musictools.runs.rebuild`.

    Examples
    --------
    >>> [plan.notebook for plan in make("demo", only=["02"])]  # doctest: +SKIP
    ['02_train_genre_model']
    """
    folder = from_root(output_root or "outputs") / profile
    jobs = execution.plan(
        profile,
        only=only,
        parameters=parameters,
        notebooks_dir=runs.root() / "notebooks",
        params_dir=runs.root() / "params",
        folder=folder,
    )
    known = {job.name: job.parameters for job in jobs}
    upstream = _upstream_parameters(profile, known)
    sizes, stored, plans = {}, set(), []
    for job in jobs:
        p = upstream | job.parameters
        key = (p.get("dataset", "composed"), p.get("data_dir", ""), p.get("n_clips"))
        if job.name in NOTEBOOKS and key not in sizes:
            sizes[key] = data_size(p)
        size = sizes.get(key)
        fields = NOTEBOOKS[job.name](p, size) if job.name in NOTEBOOKS else {}
        if fields:
            _add_data(fields, size, p.get("corpus_seed", 0), stored)
        plans.append(
            NotebookPlan(
                notebook=job.name,
                clips=size.clips if fields else 0,
                workers=p.get("workers", 1),
                missing=_missing(job.name, size) if fields else (),
                finished=not execution.pending(job),
                **fields,
            )
        )
    return plans


def _add_data(fields, size, seed, stored):
    """Add the corpus and the spectrogram stores that no notebook before has made, and that are not on disk yet."""
    home = runs.data_home()
    work, disk = dict(fields.get("work", {})), 0
    if size.name == "composed" and (size, seed) not in stored:
        if not (home / f"composed-v{writer.VERSION}-{size.clips}-{seed}" / "corpus.json").is_file():
            work["compose"] = size.clips
            disk += size.clips * COMPOSED_BYTES
        stored.add((size, seed))
    front_ends = {models.describe(name).front_end for name in fields.pop("stores", ())}
    for front_end in front_ends if not size.frames else ():
        if front_end.kind == "waveform" or (size, front_end) in stored:
            continue
        stored.add((size, front_end))
        if size.name == "composed" or not any((home / "spectrograms").glob(f"{size.name}-*-{front_end.key}.zarr")):
            work["spectrogram"] = work.get("spectrogram", 0) + size.clips
            disk += size.store_bytes(front_end)
    fields |= {"work": work, "disk": disk}


def _upstream_parameters(profile, known):
    """What notebooks 05 and 06 have to know of 02 and 03: widths and models."""
    found = {}
    for name in ("02_train_genre_model", "03_compare_taggers"):
        path = runs.root() / "params" / profile / f"{name}.yaml"
        if name not in known and path.is_file():
            common = path.with_name("common.yaml")
            known = known | {
                name: runs.resolve(runs.root() / "notebooks" / f"{name}.ipynb", *[common][: common.is_file()], path)
            }
    if "02_train_genre_model" in known:
        p = known["02_train_genre_model"]
        found |= {"genre_model": p["models"][0], "genre_width": p["width"]}
    if "03_compare_taggers" in known:
        width = known["03_compare_taggers"]["width"]
        width = width.get("short_chunk", width.get("other", 1.0)) if isinstance(width, dict) else width
        found["tagger_width"] = width
    return found


def _missing(name, size):
    if size.missing:
        return (size.missing,)
    if name in _NEEDS_SOUND and not size.has_audio and not size.frames:
        return (f"audio of {size.name}",)
    return ()


def obstacles(
    plans: list[NotebookPlan], *, rates: Rates | None = None, output_root: str | Path | None = None
) -> list[str]:
    """Say why the notebooks of a plan cannot end on this machine.

    Parameters
    ----------
    plans : list of NotebookPlan
    rates : Rates or None
        With rates, the weights of networks and the feature maps count as well.
    output_root : str, Path or None
        Where results go. None: ``outputs`` of the checkout.

    Returns
    -------
    reasons : list of str
        Data that are missing, and the disk if it has too little space; empty if there is no obstacle.
    """
    pending = [plan for plan in plans if not plan.finished]
    reasons = list(dict.fromkeys(reason for plan in pending for reason in plan.missing))
    needed = sum(plan.disk_bytes(rates) for plan in pending)
    free = min(
        shutil.disk_usage(_existing(place)).free for place in (from_root(output_root or "outputs"), runs.data_home())
    )
    if needed > free:
        reasons.append(f"about {needed / 1e9:.0f} GB of disk are needed, {free / 1e9:.0f} GB are free")
    return reasons


def _existing(place):
    return place if place.is_dir() else _existing(place.parent)


def report(plans: list[NotebookPlan], rates: Rates | None) -> str:
    """Plan as a table with one line per notebook and group of trainings, and a summary.

    Parameters
    ----------
    plans : list of NotebookPlan
    rates : Rates or None
        None: hours are left out.

    Returns
    -------
    text : str
    """
    header = ["notebook", "clips", "trainings", "epochs", "segments", "disk GB", "memory GiB", "hours"]
    rows = [header]
    for plan in plans:
        hours = _hours(plan.hours(rates) if rates else None)
        disk, memory = plan.disk_bytes(rates) / 1e9, plan.memory_bytes(rates) / 2**30
        count = str(sum(training.count for training in plan.trainings) or "-")
        rows.append([plan.notebook, f"{plan.clips:,}", count, "", "", f"{disk:.1f}", f"{memory:.1f}", hours])
        for training in plan.trainings:
            own = training.seconds(rates) / 3600 / min(plan.at_once, rates.cores) if rates else None
            network = training.network
            name = f"  {network.model}, width {network.width:g}, {training.outputs} classes, batch {network.batch_size}"
            hours = _hours(own)
            rows.append([name, "", str(training.count), str(training.epochs), f"{training.segments:,}", "", "", hours])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(n) if k == 0 else cell.rjust(n) for k, (cell, n) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([*lines, "", *_summary(plans, rates)])


def _hours(hours):
    if hours is None:
        return "-"
    return f"{hours:,.0f}" if hours >= 10 else f"{hours:.3f}" if hours < 0.1 else f"{hours:.2f}"


def _summary(plans, rates):
    count = sum(training.count for plan in plans for training in plan.trainings)
    disk = sum(plan.disk_bytes(rates) for plan in plans) / 1e9
    memory = max((plan.memory_bytes(rates) for plan in plans), default=0) / 2**30
    line = f"{len(plans)} notebooks, {count} trainings, at most {disk:.1f} GB of disk and {memory:.1f} GiB of memory"
    if rates is None:
        lines = [f"{line}. Without calibration there are no hours; weights and feature maps are not counted."]
    else:
        total = sum(plan.hours(rates) for plan in plans)
        lines = [f"{line}, about {_hours(total)} hours one after the other on this machine (no early stopping)."]
    if not parallel.has_gpu():
        lines.append("There is no GPU on this machine." if rates is None else "Measured without a GPU.")
    reasons = obstacles(plans, rates=rates)
    return lines + [f"Missing: {reason}." for reason in reasons]

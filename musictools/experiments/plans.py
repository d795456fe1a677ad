"""What a profile reads, trains and writes, how long that takes on this machine, and what is missing.

A `NotebookPlan` holds the trainings that a notebook's grid makes, the disk and memory that it needs, and the amount of
other work (`workloads`). `calibration.measure` gives the rates that turn amounts into hours: those of all epochs.
Corpora and spectrograms that are stored already are neither made nor written again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from musictools import datasets, models, runs
from musictools.datasets.composed import writer
from musictools.experiments import calibration
from musictools.experiments.calibration import Network, Rates
from musictools.experiments.data_sizes import data_size
from musictools.experiments.workloads import NOTEBOOKS, Training
from musictools.runs import execution, parallel
from musictools.runs.paths import from_root
from musictools.spectrograms import SpectrogramStore

__all__ = ["NotebookPlan", "make", "obstacles", "report"]

COMPOSED_BYTES = 180_000  # of a clip of the composed corpus, as mp3
PROCESS_BYTES = 8 * 10**8  # of a process that has loaded TensorFlow
WIDE = 0.5  # networks below this width are not built to learn whether their trainings fit into the memory


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
    most_map_bytes : float
        Limit of the bytes of the feature maps; infinite if the notebook has none.
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
    most_map_bytes: float = float("inf")
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
        return self.network_hours(rates) + self.core_hours(rates) / min(self.workers, rates.cores)

    def network_hours(self, rates: Rates) -> float:
        """Hours that networks are trained and run on this machine, on its GPU if it has one.

        Parameters
        ----------
        rates : Rates

        Returns
        -------
        hours : float
        """
        seconds = sum(training.seconds(rates) for training in self.trainings) / min(self.at_once, rates.cores)
        seconds += sum(n * rates.networks[network].forward for network, n in self.passes.items())
        return seconds / 3600

    def core_hours(self, rates: Rates) -> float:
        """Hours that all other work takes on one core.

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
        return sum(getattr(rates, name) * n for name, n in work.items()) / 3600

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
        return runs.memory_budget() + PROCESS_BYTES + (self.training_bytes(rates) if rates else 0)

    def training_bytes(self, rates: Rates) -> int:
        """Bytes of memory of the largest trainings that run at once, without the rows that they read.

        Parameters
        ----------
        rates : Rates
            Of times, only sizes of networks are needed.

        Returns
        -------
        n_bytes : int
        """
        if not self.trainings:
            return 0
        largest = max(
            16 * timing.parameters + 8 * training.network.batch_size * timing.activations
            for training in self.trainings
            for timing in [rates.networks[training.network]]
        )
        return self.at_once * (PROCESS_BYTES + largest)


_NEEDS_SOUND = (
    "02_train_genre_model",
    "03_compare_taggers",
    "06_probe_feature_maps",
    "07_auralise_features",
    "08_measure_label_noise",
    "09_compare_network_structures",
    "10_compare_input_preprocessing",
    "12_compare_label_vectors",
    "13_extract_concepts",
    "15_test_robustness",
)
_NEEDS_GENRES = ("02_train_genre_model", "07_auralise_features", "13_extract_concepts", "14_map_class_activations")


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
    sizes, stored, checksums, plans = {}, set(), {}, []
    for job in jobs:
        p = upstream | job.parameters
        key = (p.get("dataset", "composed"), p.get("data_dir", ""), p.get("n_clips"))
        if job.name in NOTEBOOKS and key not in sizes:
            sizes[key] = data_size(p)
        size = sizes.get(key)
        known = size is None or size.genres or job.name not in _NEEDS_GENRES
        fields = NOTEBOOKS[job.name](p, size) if job.name in NOTEBOOKS and known else {}
        if fields.pop("reads_data", bool(fields)):
            _add_data(fields, size, p, stored, checksums)
        plans.append(
            NotebookPlan(
                notebook=job.name,
                clips=size.clips if fields else 0,
                workers=p.get("workers", 1),
                missing=_missing(job.name, size) if fields else () if known else (f"clips per genre of {size.name}",),
                finished=not execution.pending(job),
                **fields,
            )
        )
    return plans


def _add_data(fields, size, p, stored, checksums):
    """Add the corpus and the spectrograms that no notebook before has made, as far as they are not on disk yet."""
    work, disk, seed = dict(fields.get("work", {})), 0, p.get("corpus_seed", 0)
    here = size.name != "composed" or _corpus_is_here(size, seed)
    if (size, seed) not in stored and not here:
        work["compose"] = size.clips
        disk += size.clips * COMPOSED_BYTES
    stored.add((size, seed))
    front_ends = {models.describe(name).front_end for name in fields.pop("stores", ())}
    for front_end in front_ends if not size.frames else ():
        if front_end.kind == "waveform" or (size, seed, front_end) in stored:
            continue
        stored.add((size, seed, front_end))
        left = size.clips - (_stored_clips(size, p, front_end, checksums) if here and not size.missing else 0)
        work["spectrogram"] = work.get("spectrogram", 0) + left
        disk += size.store_bytes(front_end) * left // size.clips
    fields |= {"work": work, "disk": disk}


def _corpus_is_here(size, seed):
    return (runs.data_home() / f"composed-v{writer.VERSION}-{size.clips}-{seed}" / "corpus.json").is_file()


def _stored_clips(size, p, front_end, checksums):
    """Number of a data set's clips whose spectrograms are stored, or are known to be impossible."""
    finished = {}
    for place in (runs.data_home() / "spectrograms").glob(f"{size.name}-*-{front_end.key}.zarr"):
        try:
            store = SpectrogramStore(place)
        except ValueError:  # of another format version: it will be built again
            continue
        if len(store.all_ids) == size.clips:
            finished[place.name] = len(store) + len(store.failed)
    if not finished:
        return 0
    seed = p.get("corpus_seed", 0)
    if (size, seed) not in checksums:  # it takes seconds
        options = {"n_clips": size.clips, "seed": seed} if size.name == "composed" else {}
        checksums[size, seed] = datasets.load(size.name, data_dir=p.get("data_dir", ""), **options).checksum()
    return finished.get(f"{size.name}-{checksums[size, seed][:12]}-{front_end.key}.zarr", 0)


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
        With rates, the weights of networks count as well. Feature maps always count; without rates, networks are
        built to learn the sizes of their maps where the limit of the maps exceeds the free space. So are the networks
        of wide trainings, to learn how much memory they need, except with a GPU, whose memory is not asked for.
    output_root : str, Path or None
        Where results go. None: ``outputs`` of the checkout.

    Returns
    -------
    reasons : list of str
        Data that are missing, the disk if it has too little space, and the memory if simultaneous trainings need more
        than there is; empty if there is no obstacle.
    """
    pending = [plan for plan in plans if not plan.finished]
    reasons = list(dict.fromkeys(reason for plan in pending for reason in plan.missing))
    free = min(
        shutil.disk_usage(_existing(place)).free for place in (from_root(output_root or "outputs"), runs.data_home())
    )
    needed = sum(plan.disk_bytes(rates) for plan in pending)
    with_maps = [plan for plan in pending if plan.map_work]
    if rates is None and needed <= free < needed + sum(plan.most_map_bytes for plan in with_maps):
        sizes = calibration.sizes([network for plan in with_maps for network in plan.networks])
        needed += sum(round(plan.map_work(sizes)[0]) for plan in with_maps)
    if needed > free:
        reasons.append(f"about {needed / 1e9:.0f} GB of disk are needed, {free / 1e9:.0f} GB are free")
    return reasons + _too_large(pending, rates)


def _too_large(pending, rates):
    """Trainings of one notebook that need more memory at once than the machine has; the first is enough."""
    if parallel.has_gpu():
        return []
    memory = runs.machine_memory()
    for plan in pending:
        wide = [training for training in plan.trainings if training.network.width >= WIDE]
        if not wide or plan.missing:
            continue
        wide_plan = replace(plan, trainings=tuple(wide))
        needed = wide_plan.training_bytes(rates or calibration.sizes([training.network for training in wide]))
        if needed > memory:
            return [
                f"{plan.notebook}: {plan.at_once} trainings at once need about {needed / 2**30:.0f} GiB of memory, "
                f"here are {memory / 2**30:.0f} GiB; one at a time needs {needed / plan.at_once / 2**30:.0f} GiB"
            ]
    return []


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
    return lines + [f"Missing: {reason.rstrip('.')}." for reason in reasons]

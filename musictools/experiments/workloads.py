"""The work of each notebook: its trainings, its other work by kind, and the spectrograms it needs.

`NOTEBOOKS` has a function per notebook, which turns its parameters and the sizes of the data set into the fields of a
`plans.NotebookPlan`. Early stopping is not foreseen. Plots, tables and bootstraps are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from musictools import audio, models
from musictools.experiments import genres, poster_networks, preprocessing, taggers
from musictools.experiments.calibration import Network, Rates
from musictools.experiments.data_sizes import DataSize
from musictools.experiments.protocols import protocol
from musictools.models.structures import STRUCTURES
from musictools.runs import parallel

__all__ = ["NOTEBOOKS", "Training"]

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
        "most_map_bytes": budget or math.inf,
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


def _measure_label_noise(p, size):
    """Notebook 08: one tagger on shares of the training clips, about seven of ten clips; as many steps for each."""
    train = 0.7 * size.described
    trainings = (replace(_single_tagger(p, size, train, 0.2 * size.clips), count=len(p["shares"])),)
    return {"trainings": trainings, "at_once": _trainings_at_once(p), "stores": (p["model"],)}


def _compare_structures(p, size):
    """Notebook 09: four structures in some sizes, 70 % of the clips for training and 10 % for validation."""
    train = min(p["clips"] or math.inf, 0.7 * size.clips)
    at_once = _trainings_at_once(p)
    names = [f"{structure}_{own}" for structure in STRUCTURES for own in p["sizes"]]
    trainings = tuple(
        Training(
            network=Network(name, p["width"], p["batch_size"], 1366, 0 if at_once == 1 else 1),
            outputs=p["n_tags"],
            count=len(p["seeds"]),
            epochs=p["epochs"],
            segments=round(train),
            scored=round(size.clips * (0.1 * p["epochs"] + 0.2)),
        )
        for name in names
    )
    return {"trainings": trainings, "at_once": at_once, "stores": (names[0],)}


def _compare_preprocessing(p, size):
    """Notebook 10: one network with every preprocessing; an STFT has more bins than a mel spectrogram."""
    options = {name: p[name] for name in ("initialisations", "repeats", "shares", "share_repeats", "crossed")}
    plans, model = preprocessing.grid(**options), preprocessing.MODEL
    train = min(p["train_clips"] or math.inf, 0.75 * size.clips)
    others = [min(most or math.inf, share * size.clips) for most, share in
              ((p["test_clips"] // 4, 0.05), (p["test_clips"], 0.2))]  # fmt: skip
    wanted = protocol("rotheneder2023", model, n_tags=p["n_tags"], epochs=p["epochs"] or None, **p["overrides"])
    epochs = sum(phase["epochs"] for phase in wanted.phases)
    threads = 0 if _trainings_at_once(p) == 1 else 1
    training = Training(
        network=Network(model, p["width"], wanted.batch_size, models.describe(model).input.length, threads),
        outputs=p["n_tags"],
        count=round(sum(preprocessing.Variant(one.variant.kind).shape[0] for one in plans) / 96),
        epochs=epochs,
        segments=round(train),
        scored=round(others[0] * (1 + epochs) + others[1]),
    )
    return {"trainings": (training,), "at_once": _trainings_at_once(p), "stores": (model,)}


def _compare_label_vectors(p, size):
    """Notebook 12: the same training with several seeds, 80 % of the clips for training and 10 % for validation."""
    training = _single_tagger(p, size, 0.8 * size.clips, 0.2 * size.clips)
    training = replace(training, count=len(p["seeds"]))
    return {"trainings": (training,), "at_once": _trainings_at_once(p), "stores": (p["model"],)}


def _single_tagger(p, size, train, others):
    """A tagger that is trained on raw or merged annotations by the protocol of `rotheneder2023`."""
    wanted = protocol("rotheneder2023", p["model"], n_tags=p["n_tags"], epochs=p["epochs"] or None, **p["overrides"])
    epochs, per_clip = sum(phase["epochs"] for phase in wanted.phases), size.segments(p["model"])
    threads = 0 if _trainings_at_once(p) == 1 else 1
    return Training(
        network=Network(p["model"], p["width"], wanted.batch_size, models.describe(p["model"]).input.length, threads),
        outputs=p["n_tags"],
        epochs=epochs,
        segments=round(train * min(per_clip, wanted.per_clip or per_clip)),
        scored=round(others * per_clip * (1 + epochs / 2)),
    )


def _transfer_features(p, size):
    """Notebook 11: clips and single stems composed for it, through a network and an untrained one; many small fits."""
    shape, clips = models.describe(p["model"]).input, 2 * p["target_clips"]
    network = Network(p["model"], p.get("tagger_width", 1.0), 16, shape.length)
    # A clip is rendered but not encoded, transformed, and its MFCCs take about as long as a spectrogram.
    work = {"compose": clips / 2, "spectrogram": 2 * clips}
    return {"passes": {network: 2 * clips * size.segments(p["model"])}, "work": work, "reads_data": False}


def _extract_concepts(p, size):
    """Notebook 13: patches through the genre model, one small training, stems of the clips; a rough count."""
    network = Network(p.get("genre_model", "ckn19"), p.get("genre_width", 1.0), 64, 128)
    own = Network("ckn19", p["width"], 32, 128)
    n_genres, patches = len(size.genres), 0.7 * sum(p["n_segments"])
    clips = min(p["per_genre"], size.single // n_genres) * n_genres
    training = Training(
        network=own, outputs=n_genres, epochs=p["epochs"], segments=p["training_clips"] * n_genres, scored=2 * clips
    )
    compared = 2 * patches * p["compared"] * p["per_genre"]
    # Smoothed gradients and clustering take about as long as another pass over the patches.
    passes = {network: 2 * (patches * clips + compared), own: 2 * patches * clips}
    return {"trainings": (training,), "passes": passes, "work": {"compose": clips}, "stores": ("ckn19",)}


def _map_class_activations(p, size):
    """Notebook 14: small networks on pieces; a rough count, with a narrow ckn19 in their place."""
    network = Network("ckn19", 0.25, p["recipe"]["batch_size"], p["length"], 0 if _trainings_at_once(p) == 1 else 1)
    clips = _limited(size, _held_out(p), p["per_genre"] or math.inf)
    pieces, n_networks = 10 * clips, len(p["networks"]) or len(poster_networks.NETWORKS)
    count = len(p["seeds"]) * (n_networks * len(p["splits"]) + len(p["more_splits"]) + len(p["kernels"]))
    epochs = p["recipe"]["epochs"]
    training = Training(
        network=network,
        outputs=len(size.genres),
        count=count,
        epochs=epochs,
        segments=round(0.8 * pieces),
        scored=round(pieces * (1 + 0.1 * epochs)),
    )
    maps = n_networks * len(p["methods"]) * (30 * p["explained_pieces"] + 2 * p["stem_clips"])
    return {
        "trainings": (training,),
        "at_once": _trainings_at_once(p),
        "passes": {network: PASSES * maps},
        "work": {"compose": clips + p["stem_clips"]},
        "stores": ("ckn19",),
    }


def _test_robustness(p, size):
    """Notebook 15: deformed clips, their scores, and maps of single inputs; a rough count, as for notebook 05."""
    tagger = _assumed_tagger(p)
    names, per_clip = p["models"] or models.names("tagger"), size.segments(tagger.model)
    clips = min(p["score_clips"] or size.clips // 10, size.clips)
    deformed = clips * (1 + (len(p["deformations"]) or len(audio.DEFORMATIONS)))
    inputs = per_clip * p["reason_seconds"] / 29  # of an excerpt
    maps = p["reason_clips"] * p["per_clip"] * (1 + len(p["reason_deformations"])) + p["adversarial_steps"]
    # A deformation and the spectrograms take about as long as decoding and two of them.
    passes = {tagger: deformed * per_clip * len(names) + 3 * maps * inputs}
    return {"passes": passes, "work": {"spectrogram": 2 * deformed}}


def _trainings_at_once(p):
    """Trainings at once as the parameters say, one per GPU where there are some."""
    return 1 if parallel.has_gpu() else p.get("trainings", p["workers"])


# Functions of the resolved parameters (with what later notebooks need of 02 and 03) and of the data set's size; they
# return fields of a `NotebookPlan`, "stores": models whose spectrograms the notebook needs, and "reads_data": False for
# one that reads no data set.
NOTEBOOKS: dict[str, Callable[[dict[str, Any], DataSize], dict[str, Any]]] = {
    "01_preprocess": _preprocess,
    "02_train_genre_model": _train_genres,
    "03_compare_taggers": _compare_taggers,
    "04_map_descriptors_to_genres": _map_descriptors,
    "05_visualise_descriptors": _visualise_descriptors,
    "06_probe_feature_maps": _probe_feature_maps,
    "07_auralise_features": _auralise_features,
    "08_measure_label_noise": _measure_label_noise,
    "09_compare_network_structures": _compare_structures,
    "10_compare_input_preprocessing": _compare_preprocessing,
    "12_compare_label_vectors": _compare_label_vectors,
    "11_transfer_features": _transfer_features,
    "13_extract_concepts": _extract_concepts,
    "14_map_class_activations": _map_class_activations,
    "15_test_robustness": _test_robustness,
}

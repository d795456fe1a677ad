"""The experiment of notebook 10 in full: chapter 5 of `choi2018` with networks of full width, on one GPU.

    KERAS_BACKEND=jax python tests/benchmarks/bench_preprocessing.py --out DIR [--clips 2400] [--minutes 9]

Composes and renders the clips (kept in `musictools.runs.data_home`), keeps their spectrograms beside them, and trains
in the order of `preprocessing.grid`: 15 initialisations (figure 5.2), every variant with several (5.5), STFT against
mel spectrogram on shares of the training clips (5.3). Trainings run in several processes that share the GPU. None is
begun later than `--minutes` after the start; what is there by then is evaluated.

Writes ``DIR/areas_labels.csv`` and ``areas_truth.csv`` (ROC-AUC of each training and tag, against annotated and
complete tags), ``trainings.csv``, ``effects_*.csv``, ``by_share_*.csv``, ``summary_*.csv``, ``average_magnitudes.csv``,
``histograms.csv``; prints the sentences. ``--evaluate`` only repeats the evaluation of what a former run wrote.
"""

import argparse
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several processes share one GPU
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(tempfile.gettempdir()) / "jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
KINDS, FRAMES = ("mel", "stft"), 1360
_STATE = {}  # of a worker: spectrograms, labels, settings


def spectrogram(task):
    """Scaled spectrograms of one clip in 8 bits, by kind."""
    from musictools.experiments.preprocessing import Variant

    data, clip, kinds = task
    front_ends = [Variant(kind).front_end for kind in kinds]
    y, _ = data.audio(clip, sr=front_ends[0].sr)
    return [np.rint(255 * f.scale(f.compute(y)))[:, :FRAMES].astype(np.uint8) for f in front_ends]


def prepare(options):
    """Labels, truth and split of the clips; their spectrograms are files."""
    from musictools import datasets, runs, tags

    data = datasets.load("composed", n_clips=options.clips, seed=0, workers=options.workers)
    files = {kind: runs.data_home() / f"preprocessing-{options.clips}-{kind}.npy" for kind in options.kinds}
    missing = [kind for kind, file in files.items() if not file.is_file()]
    if missing:
        tasks = [(data, clip, missing) for clip in data.tracks.index]
        made = runs.map(spectrogram, tasks, workers=options.workers, description="spectrograms")
        for kind, arrays in zip(missing, zip(*made, strict=True), strict=True):
            np.save(files[kind], np.stack(arrays))
    labels = tags.top(data.tags, options.tags)
    split = data.split("artist", shares={"train": 0.75, "validation": 0.07, "test": 0.18}, seed=0)
    for part in ("train", "validation"):  # whole batches: one shape to compile
        inside = split.index[split == part]
        split = split.drop(inside[len(inside) // options.batch * options.batch :])
    return files, list(data.tracks.index), labels, data.complete_tags[labels.columns], split


def begin(files, ids, labels, truth, split, options, deadline):
    """Open the spectrograms in a worker."""
    from musictools.spectrograms import ArrayStore

    stores = {kind: ArrayStore(np.load(file, mmap_mode="r"), ids) for kind, file in files.items()}
    _STATE.update(stores=stores, labels=labels, truth=truth, split=split, options=options, deadline=deadline)


def train(plan):
    """Train one plan; (areas on labels, areas on truth, facts), or None after the deadline."""
    from musictools.experiments import preprocessing

    if time.time() > _STATE["deadline"]:
        return None
    o = _STATE["options"]
    overrides = {"learning_rate": o.learning_rate, "batch_size": o.batch, "prior_bias": True}
    task = preprocessing.tasks([plan], _STATE["stores"], _STATE["labels"], _STATE["split"], epochs=o.epochs,
                               overrides=overrides, width=o.width, norm_momentum=0.95)[0]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        result = task.train(Path(folder))
        bias = preprocessing.first_biases(result)
    areas = [preprocessing.results_table([plan], [result], _STATE[kind]) for kind in ("labels", "truth")]
    facts = {"training": task.name, "epochs": len(result.history), "seconds": result.seconds, "first_bias": bias,
             "parameters": result.parameters, "train_segments": result.train_segments,
             "val_loss": result.history["val_loss"].min()}  # fmt: skip
    return *areas, pd.DataFrame([facts], index=areas[0].index)


def train_all(options):
    """Train in parallel, and write the tables again after each training."""
    from musictools.experiments import preprocessing

    began = time.time()
    files, ids, labels, truth, split = prepare(options)
    print(f"{split.value_counts().to_dict()}, {time.time() - began:.0f} s of preparation", flush=True)
    plans = preprocessing.grid(initialisations=options.initialisations, repeats=options.repeats, shares=options.shares,
                               share_repeats=options.share_repeats, kinds=options.kinds)  # fmt: skip
    state = (files, ids, labels, truth, split, options, began + 60 * options.minutes)
    tables = []
    with ProcessPoolExecutor(options.processes, get_context("spawn"), initializer=begin, initargs=state) as pool:
        running = {pool.submit(train, plan): plan for plan in plans}
        for future in as_completed(running):
            try:
                made = future.result()
            except Exception as error:  # noqa: BLE001 - one training that fails must not cost the others
                print(f"{running[future]}: {error!r}"[:500], flush=True)
                continue
            if made is None:
                continue
            tables.append(made)
            for name, parts in zip(
                ("areas_labels", "areas_truth", "trainings"), zip(*tables, strict=True), strict=True
            ):
                pd.concat(parts).sort_index().to_csv(options.out / f"{name}.csv")
            row = made[2].iloc[0]
            print(f"{time.time() - began:5.0f} s  {row['training']}: ROC-AUC {made[0].mean(axis=1).iloc[0]:.4f}, "
                  f"{row['epochs']} epochs, {row['seconds']:.0f} s", flush=True)  # fmt: skip
    print(f"{len(tables)} of {len(plans)} trainings in {time.time() - began:.0f} s", flush=True)
    inputs(options, files, ids, split)


def inputs(options, files, ids, split):
    """Average magnitudes (figure 5.4) and histograms (5.6) of training clips."""
    from musictools.experiments import preprocessing
    from musictools.spectrograms import ArrayStore, Segments

    store, train = ArrayStore(np.load(files["mel"], mmap_mode="r"), ids), split.index[split == "train"]
    x = Segments(store, list(train[:200]), length=FRAMES, step=FRAMES)
    variants = [preprocessing.Variant("mel", decibels, weighting) for decibels in (True, False)
                for weighting in preprocessing.WEIGHTINGS]  # fmt: skip
    networks = {variant.name: preprocessing.network(variant, x) for variant in variants}
    preprocessing.average_magnitudes(networks, x).to_csv(options.out / "average_magnitudes.csv")
    some, tables = x[:100], []
    for variant in (variants[0], variants[3]):
        one = preprocessing.histogram(preprocessing.prepared(networks[variant.name], some))
        tables.append(pd.DataFrame({"variant": variant.name, "left": one["edges"][:-1], **{k: v for k, v in one.items()
                                    if k != "edges"}}))  # fmt: skip
    pd.concat(tables).to_csv(options.out / "histograms.csv", index=False)


def evaluate(options):
    """Tables and sentences of what was trained."""
    from musictools import published
    from musictools.experiments import preprocessing_effects as paired

    margin, keys = published.number("choi2018", "insignificant_difference"), list(range(6))
    for kind in ("labels", "truth"):
        areas = pd.read_csv(options.out / f"areas_{kind}.csv", index_col=keys)
        summary = paired.initialisations(areas)
        print(f"\n{kind}: {len(areas)} trainings; first variant: {summary}")
        means = areas.mean(axis=1).groupby(level=["kind", "decibels", "weighting", "factor", "share"])
        means.agg(["count", "mean", "std"]).to_csv(options.out / f"summary_{kind}.csv")
        for name, function in (("effects", paired.effects), ("by_share", paired.by_share)):
            try:
                table = function(areas, margin=margin)
            except ValueError as error:  # too few trainings
                print(f"{name}: {error}")
                continue
            table.to_csv(options.out / f"{name}_{kind}.csv")
            print(table.round(4).to_string())
            if name == "effects":
                print(paired.answer(table, margin=margin))
        try:
            print("data worth", paired.data_worth(areas))
        except (KeyError, IndexError) as error:
            print(f"data worth: {error!r}")


def main(arguments=None):
    """Render, train, evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=2400)
    parser.add_argument("--tags", type=int, default=50)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS))
    parser.add_argument("--initialisations", type=int, default=15)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.125, 0.25, 0.5, 1.0])
    parser.add_argument("--share-repeats", type=int, default=3)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--minutes", type=float, default=8.5)
    parser.add_argument("--processes", type=int, default=6)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--evaluate", action="store_true")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if not options.evaluate:
        train_all(options)
    evaluate(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())

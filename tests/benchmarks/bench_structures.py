"""The twenty networks of notebook 09 at full size on composed clips; for one GPU, with any backend of Keras.

    KERAS_BACKEND=torch python tests/benchmarks/bench_structures.py --out DIR [--clips 2400] [--seeds 0] [--epochs 25]

Composes the clips and their spectrograms (kept in MUSICTOOLS_DATA), trains k1c2, k2c1, k2c2 and CRNN in five sizes with
the functions of the notebook, several structures at once, and then measures the time of 2,500 training examples of
each network alone. Finished trainings are kept in `--work`, so that an interrupted run resumes. Writes into DIR:
``structures_comparison.csv``, ``structures_true_labels.csv``, ``structures_differences.csv``, ``structures_tags.csv``,
``structures_popularity.csv`` and ``structures_times.csv``. With ``--minutes`` no further training is begun after that
time; the tables use the seeds that all networks have.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # several processes share the GPU
GROUPS = ("crnn", "k2c2,k1c2,k2c1")  # structures of one process


def prepared(options):
    """Data, store, labels, split."""
    from musictools import datasets, tags
    from musictools.experiments import taggers

    data = datasets.load("composed", n_clips=options.clips, seed=0, workers=options.workers)
    store = taggers.open_stores(data, ["k2c2_1m"], workers=options.workers)["k2c2_1m"]
    labels = tags.top(data.tags, options.tags)
    split = data.split("artist", shares={"train": 0.75, "validation": 0.1, "test": 0.15}, seed=0, ids=store.ids)
    return data, store, labels, split


def made_tasks(options, store, labels, split, structures):
    """The trainings of some structures, seed by seed, the small networks first."""
    from musictools.experiments.structures import tasks

    own = {name: getattr(options, name) for name in ("width", "epochs", "patience", "batch_size", "learning_rate")}
    made = tasks(store, labels, split, structures=structures, sizes=options.sizes, seeds=options.seeds, **own)
    return sorted(made, key=lambda task: (task.seed, options.sizes.index(task.model.split("_", 1)[1])))


def train(options):
    """Train the structures of this process."""
    from musictools.experiments import jobs

    _, store, labels, split = prepared(options)
    for task in made_tasks(options, store, labels, split, options.only.split(",")):
        if time.time() > options.until:
            return
        began = time.perf_counter()
        (result,) = jobs.run([task], folder=options.work, workers=1)
        print(f"{task.name}: {len(result.history)} epochs, validation {result.history['val_auc'].max():.3f}, "
              f"{time.perf_counter() - began:.0f} s", flush=True)  # fmt: skip


def times(options):
    """Time of 2,500 training examples of every network, alone on the machine."""
    import keras

    from musictools import models
    from musictools.experiments.structures import SAMPLES
    from musictools.models.structures import BUDGETS, STRUCTURES

    rng, rows = np.random.default_rng(0), []
    n, steps = options.batch_size, 10
    for structure in STRUCTURES:
        for size in options.sizes:
            if time.time() > options.until + 120:
                return pd.DataFrame(rows)
            model = models.build(f"{structure}_{size}", n_outputs=options.tags, width=options.width, seed=0)
            model.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
            x = rng.random((n, *model.input_shape[1:]), np.float32)
            y = (rng.random((n, options.tags)) < 0.1).astype(np.float32)
            seconds = []
            for step in range(steps + 2):
                began = time.perf_counter()
                model.train_on_batch(x, y)
                keras.ops.convert_to_numpy(model.optimizer.iterations)
                seconds += [time.perf_counter() - began] if step >= 2 else []
            rows.append({"structure": structure, "size": size, "budget": BUDGETS[size], "batch_size": n,
                         "seconds": SAMPLES / n * float(np.median(seconds))})  # fmt: skip
            print(rows[-1], flush=True)
            keras.utils.clear_session()
    return pd.DataFrame(rows)


def summarise(options):
    """Tables of all finished trainings."""
    from musictools.experiments import jobs
    from musictools.experiments import structures as experiment
    from musictools.models.structures import STRUCTURES

    data, store, labels, split = prepared(options)
    made = made_tasks(options, store, labels, split, STRUCTURES)
    finished = [task for task in made if any(options.work.glob(f"{task.name}-*/result.joblib"))]
    complete = [
        seed for seed in options.seeds if sum(task.seed == seed for task in finished) == len(made) / len(options.seeds)
    ]
    seeds = complete or options.seeds[:1]  # the same for all networks
    results = jobs.run([task for task in finished if task.seed in seeds], folder=options.work, workers=1)
    print(f"seeds {seeds}, {len(results)} trainings, {(split == 'train').sum()} clips for training", flush=True)
    artists, counts = jobs.artists(data.tracks), labels[split == "train"].sum()
    tables = {}
    for name, truth in (("comparison", labels), ("true_labels", data.complete_tags[labels.columns])):
        areas = experiment.resampled_areas(results, truth, artists, repeats=options.repeats)
        tables[name] = experiment.compare(areas, results)
        if name == "comparison":
            tables["differences"] = experiment.differences(areas)
            tables["popularity"] = experiment.popularity(areas, counts, repeats=options.repeats)
            tables["tags"] = experiment.by_tag(areas, counts, size="1m" if "1m" in options.sizes else options.sizes[-1])
    for name, table in tables.items():
        table.to_csv(options.out / f"structures_{name}.csv", index=False)
        print(name, table.round(4).to_string(index=False), sep="\n", flush=True)


def main(arguments=None):
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("outputs/bench_structures"))
    parser.add_argument("--clips", type=int, default=2400)
    parser.add_argument("--tags", type=int, default=50)
    parser.add_argument("--sizes", nargs="+", default=["0_1m", "0_25m", "0_5m", "1m", "3m"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--patience", type=int, default=3, help="the thesis: 1, with many more clips")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--minutes", type=float, default=7.0)
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only:
        return train(options)
    options.until = time.time() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    prepared(options)
    print(f"{options.clips} clips and spectrograms: {time.perf_counter() - began:.0f} s", flush=True)
    again = [sys.executable, *sys.argv, "--until", str(options.until)]
    running = [subprocess.Popen([*again, "--only", group]) for group in GROUPS]
    failed = [process for process in running if process.wait()]
    summarise(options)
    times(options).to_csv(options.out / "structures_times.csv", index=False)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())

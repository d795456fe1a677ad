"""The twenty networks of notebook 09 at full size on composed clips; for one GPU, with any backend of Keras.

    KERAS_BACKEND=torch python tests/benchmarks/bench_structures.py --out DIR [--clips 2400] [--seeds 0] [--epochs 25]

Composes the clips and their spectrograms (kept in MUSICTOOLS_DATA), trains k1c2, k2c1, k2c2 and CRNN in five sizes with
the functions of the notebook, in several processes, and then measures the time of 2,500 training examples of each
network alone. Finished trainings are kept in `--work`, so that an interrupted run resumes. Writes into DIR:
``structures_comparison.csv``, ``structures_true_labels.csv``, ``structures_differences.csv``, ``structures_tags.csv``,
``structures_popularity.csv`` and ``structures_times.csv``. With ``--minutes`` no further training is begun after that
time; the tables use the seeds that all networks have.

Measured on one H200 with PyTorch: 2,400 clips (1,801 for training), 50 tags, one seed, twelve networks at once.
ROC-AUC on the test clips, with 95 % intervals over artists, and the seconds for 2,500 training examples alone:

    structure  0.25 M                   1 M                      3 M                      seconds
    k1c2       0.781 (0.767 to 0.794)   0.748 (0.734 to 0.761)   0.732 (0.717 to 0.745)   3.5, 4.6, 6.2
    k2c1       0.810 (0.793 to 0.825)   0.808 (0.788 to 0.827)   0.813 (0.796 to 0.828)   3.3, 3.1, 3.5
    k2c2       0.817 (0.801 to 0.831)   0.826 (0.810 to 0.841)   0.830 (0.814 to 0.844)   4.1, 5.5, 7.8
    CRNN       0.828 (0.812 to 0.841)   0.832 (0.816 to 0.846)   0.836 (0.820 to 0.849)   5.6, 9.7, 16.7

Over the three sizes k2c2 is above k2c1 by 0.014 (0.005 to 0.024) and above k1c2 by 0.071 (0.058 to 0.082); the CRNN is
above k2c2 by 0.0075 (-0.0004 to 0.0157), an interval that holds 0. Rank correlations of popularity and ROC-AUC lie
between -0.15 and 0.03, and all their intervals hold 0.
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


def prepared(options):
    """Data, store, labels, split."""
    from musictools import datasets, tags
    from musictools.experiments import taggers

    data = datasets.load("composed", n_clips=options.clips, seed=0, workers=options.workers)
    store = taggers.open_stores(data, ["k2c2_1m"], workers=options.workers)["k2c2_1m"]
    labels = tags.top(data.tags, options.tags)
    split = data.split("artist", shares={"train": 0.75, "validation": 0.1, "test": 0.15}, seed=0, ids=store.ids)
    return data, store, labels, split


def made_tasks(options, store, labels, split):
    """The trainings, seed by seed, the large networks first."""
    from musictools.experiments.structures import tasks

    own = {name: getattr(options, name) for name in ("width", "epochs", "patience", "batch_size", "learning_rate")}
    made = tasks(store, labels, split, structures=options.structures, sizes=options.sizes, seeds=options.seeds, **own)
    return sorted(made, key=lambda task: task.seed)


def train(options):
    """Train every n-th network, from the place of this process on."""
    from musictools.experiments import jobs

    _, store, labels, split = prepared(options)
    for task in made_tasks(options, store, labels, split)[options.place :: options.processes]:
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
    from musictools.models.structures import BUDGETS

    rng, rows = np.random.default_rng(0), []
    n, steps = options.batch_size, 10
    for structure in options.structures:
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

    data, store, labels, split = prepared(options)
    made = made_tasks(options, store, labels, split)
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
    parser.add_argument("--structures", nargs="+", default=["k1c2", "k2c1", "k2c2", "crnn"])
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
    parser.add_argument("--processes", type=int, default=10, help="trainings at once")
    parser.add_argument("--place", type=int, default=-1, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.place >= 0:
        return train(options)
    options.until = time.time() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    prepared(options)
    print(f"{options.clips} clips and spectrograms: {time.perf_counter() - began:.0f} s", flush=True)
    again = [sys.executable, *sys.argv, "--until", str(options.until)]
    running = [subprocess.Popen([*again, "--place", str(place)]) for place in range(options.processes)]
    failed = [process for process in running if process.wait()]
    summarise(options)
    times(options).to_csv(options.out / "structures_times.csv", index=False)
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())

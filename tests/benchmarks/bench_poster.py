"""Train the poster's networks (notebook 14) on the 999 songs of `gtzan_spectrograms`, many at the same time.

    python tests/benchmarks/bench_poster.py --out DIR [--minutes 9] [--workers 12] [--seeds 5] [--epochs 30]

Each song gives ten pieces of 49 columns. Three stages, one after the other until the minutes are over:

1. recipes: vanilla on the poster's split (pieces, seed 0) with each of `RECIPES`; the one with the best validation
   accuracy is used from then on,
2. networks: all of `poster_networks.NETWORKS` on three splits and all seeds,
3. kernels: vanilla and masked with kernels of several sizes, three seeds.

Writes ``recipes.csv``, ``networks.csv``, ``kernels.csv`` (tables of `poster_networks.accuracy_table`), after every
training, and ``histories.csv``. With a GPU, set KERAS_BACKEND=jax: the processes share it.

Measured on one H200 in nine minutes: test accuracy by piece, means over five seeds, with the recipe "without batch
normalisation" (bands standardised, dropout 0.5, 30 epochs, batches of 128, Adam from 0.002). Pooling then had no batch
normalisation either and a transposed kernel of 3 x 3, the filter loss an ellipse of 0.5 and 0.5.

    network                      segment   clip   fault-filtered   entropy before the mask (segment)
    vanilla                      0.727     0.640  0.434            0.42
    masked, wide in time         0.682     0.605  0.441            0.63
    masked, wide in frequency    0.664     0.588  0.425            0.61
    masked, filter loss          0.686     0.606  0.446            0.60
    gap                          0.627     0.550  0.424            0.72

Standard deviations over the seeds: 0.01 by segment, 0.04 to 0.05 by clip, 0.01 fault-filtered.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.join(tempfile.gettempdir(), "jax_cache"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

import pandas as pd

LENGTH = 49
SPLITS = ("segment", "clip", "fault_filtered")
RECIPES = {  # changes to the first
    "plain": {"batch_norm": True, "dropout": 0.3},
    "poster's ten epochs": {"batch_norm": True, "dropout": 0.3, "epochs": 10},
    "bands": {"batch_norm": True, "dropout": 0.3, "standardise": True},
    "bands, dropout": {"batch_norm": True, "standardise": True, "filter_dropout": 0.1},
    "bands, slow": {"batch_norm": True, "standardise": True, "learning_rate": 3e-4},
    "bands, wide": {"batch_norm": True, "standardise": True, "filter_dropout": 0.1, "filters": (64, 128), "units": 128},
    "without batch normalisation": {"standardise": True},
    "without batch normalisation, 60 epochs": {"standardise": True, "epochs": 60},
}
KERNELS = {"3 x 3": 3, "5 x 5": 5, "7 x 7": 7, "11 x 11": 11, "3 x 9": (3, 9), "9 x 3": (9, 3)}
_OF_TASK = ("epochs", "batch_size", "learning_rate", "standardise")
_DATA = {}


def load(every):
    """Load the songs once in each process, every n-th one."""
    from musictools import datasets
    from musictools.spectrograms import open_store

    data = datasets.load("gtzan_spectrograms")
    _DATA.update(data=data, store=open_store(data, None), ids=list(data.tracks.index)[::every])


def train(job):
    """Train one network; returns (stage, label, row of the table, history)."""
    from musictools.experiments import poster_networks as posters

    stage, label, network, split, seed, settings = job
    data, store, ids = (_DATA[key] for key in ("data", "store", "ids"))
    kind, options = posters.NETWORKS[network]
    own = {key: value for key, value in settings.items() if key in _OF_TASK}
    options = options | {key: value for key, value in settings.items() if key not in _OF_TASK}
    part = posters.divide(data, posters.cut(store, ids, LENGTH), split, seed=seed)
    task = posters.PieceTask(network=network, kind=kind, options=options, split=split, store=store, ids=ids,
                             length=LENGTH, part=part, labels=data.genres, seed=seed, **own)  # fmt: skip
    result = task.train()
    row = posters.accuracy_table([result]).assign(label=label)
    return stage, row, posters.histories([result]).assign(stage=stage, label=label)


def stage(pool, jobs, out, deadline):
    """Run the jobs of a stage, writing its table after each; returns the table, shorter if time is over."""
    rows, curves, pending = [], [], pool.imap_unordered(train, jobs)
    for _ in jobs:
        try:
            name, row, curve = pending.next(timeout=max(1.0, deadline - time.monotonic()))
        except multiprocessing.TimeoutError:
            print("time is over", flush=True)
            break
        rows.append(row)
        curves.append(curve)
        table = pd.concat(rows, ignore_index=True).round(5)
        table.to_csv(out / f"{name}.csv", index=False)
        pd.concat(curves, ignore_index=True).round(4).to_csv(out / f"histories_{name}.csv", index=False)
        print(
            f"{name} {len(rows)}/{len(jobs)}",
            row.drop(columns=["parameters"]).round(3).to_dict("records")[0],
            flush=True,
        )
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def main():
    """Read the options, run the stages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--recipe", default="", help="use this recipe and leave the first stage out")
    parser.add_argument("--networks", nargs="*", default=[], help="only these in stage 2, and no stage 3")
    parser.add_argument("--every", type=int, default=1, help="use every n-th song only")
    parser.add_argument("--first", action="store_true", help="one training of each stage only")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + 60 * options.minutes
    base = {"epochs": options.epochs, "batch_size": options.batch_size, "learning_rate": options.learning_rate}
    from musictools.experiments import poster_networks as posters

    some = slice(0, 1 if options.first else None)
    with multiprocessing.get_context("spawn").Pool(
        options.workers, initializer=load, initargs=(options.every,)
    ) as pool:
        best = options.recipe
        if not best:
            jobs = [("recipes", name, "vanilla", "segment", 0, base | recipe) for name, recipe in RECIPES.items()]
            table = stage(pool, jobs[some], options.out, deadline)
            best = table.loc[table["validation"].idxmax(), "label"]
        print("recipe:", best, base | RECIPES[best], flush=True)
        recipe = base | RECIPES[best]
        jobs = [
            ("networks", best, network, split, seed, recipe)
            for seed in range(options.seeds)
            for split in SPLITS
            for network in posters.NETWORKS
        ]
        sharp = [
            ("networks", f"{best}, sharpness 10", "masked, filter loss", split, seed, recipe | {"sharpness": 10.0})
            for seed in range(min(2, options.seeds))
            for split in SPLITS[:2]
        ]
        jobs = [job for job in jobs if not options.networks or job[2] in options.networks]
        sharp = [] if options.networks else sharp
        table = stage(pool, (jobs + sharp)[some], options.out, deadline)
        if table.empty:
            return
        print(posters.beside_published(table).round(3).to_string(), flush=True)
        jobs = [
            ("kernels", name, network, "segment", seed, recipe | {"kernel": kernel})
            for seed in range(min(3, options.seeds))
            for network in ("vanilla", "masked, wide in time")
            for name, kernel in KERNELS.items()
        ]
        table = stage(pool, jobs[some], options.out, deadline)
        if table.empty:
            return
        print(table.groupby(["network", "label"])[["validation", "test"]].mean().round(3).to_string(), flush=True)
        pool.terminate()


if __name__ == "__main__":
    main()

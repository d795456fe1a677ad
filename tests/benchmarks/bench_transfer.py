"""Chapter 6 of choi2018 from its author's features, and released networks as feature extractors on recordings.

    python tests/benchmarks/bench_transfer.py original [--tasks ...] [--minutes M] [--out DIR] [--standardise]
    python tests/benchmarks/bench_transfer.py recordings [--models ...] [--clips N] [--minutes M] [--out DIR]

Needs ``choi2018``, ``gtzan``, ``mir1k`` and, for the networks, ``won2020`` of the shared data. Whatever is finished is
kept in `--out`, so that an interrupted run resumes; after `--minutes` nothing further is begun.

``original`` scores all 31 subsets of layers, MFCCs, and both together, with the source's grid and folds: the best
machine on the folds that are reported. Machines are screened on two folds with at most `--screen` training clips, and
the best three go on to all folds. It prints the rank correlation with the published scores, and for GTZAN nested
selection on shuffled folds, random parts and fault-filtered parts. ``recordings`` measures genres of GTZAN's excerpts
and voices of MIR-1K by nested selection, groups apart.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
NAMES = ["choi2018", "won2020-mtat-musicnn", "won2020-mtat-fcn"]


def original(options, shared):
    """Write and print scores of the author's features."""
    from musictools.experiments import transfer, transfer_original
    from musictools.transfer import selection
    from musictools.transfer.features import subset_name

    path = options.out / ("original_standardised.csv" if options.standardise else "original.csv")
    done = pd.read_csv(path, dtype={"features": str}) if path.is_file() else pd.DataFrame(columns=["task", "features"])
    screening = selection.Screening(n_folds=2, n_train=options.screen, finalists=3)
    end = time.monotonic() + 60 * options.minutes
    for name in options.tasks or transfer_original.TASKS:
        features, task = transfer_original.load(shared / "choi2018", name)
        for subset in transfer.feature_subsets(transfer_original.LAYERS):
            title = subset_name(subset)
            finished = ((done["task"] == name) & (done["features"] == title)).any()
            if finished or not set(subset) <= set(features.blocks) or time.monotonic() > end:
                continue
            start = time.monotonic()
            outcome = selection.same_folds(features.matrix(subset), task, screening=screening,
                                           standardise=options.standardise)  # fmt: skip
            row = {"task": name, "features": title, "score": np.mean(outcome.folds), **outcome.chosen[0]._asdict(),
                   "seconds": time.monotonic() - start}  # fmt: skip
            done = pd.concat([done, pd.DataFrame([row])], ignore_index=True)
            done.to_csv(path, index=False)
    tables = {name: own for name, own in done.groupby("task", sort=False)}
    print(transfer_original.rank_correlations(tables).round(3).to_string(index=False))
    print(done.groupby("task", sort=False)["seconds"].agg(["count", "sum"]).round(0))
    if not options.tasks or "gtzan_genre" in options.tasks:
        nested_gtzan(shared)


def nested_gtzan(shared):
    """Print nested selection on folds of rising strictness."""
    from musictools.experiments import transfer_original

    features, task = transfer_original.load(shared / "choi2018", "gtzan_genre")
    filtered = transfer_original.fault_filtered(task, shared / "gtzan")
    for seed in range(3):
        table = transfer_original.strictness(features, task, filtered, repeats=1000, seed=seed)
        print(f"seed {seed}", table.round(3).to_string(index=False), sep="\n", flush=True)


def recordings(options, shared):
    """Write and print scores of released networks on recordings."""
    from musictools import datasets, released
    from musictools.experiments import transfer_real
    from musictools.released import installation
    from musictools.transfer.features import FeatureSet

    voices = datasets.load("mir1k", data_dir=shared / "mir1k")
    sets = {
        "gtzan": (
            transfer_real.AudioFile(shared / "gtzan"),
            transfer_real.genre_tasks(shared / "gtzan", n_clips=options.clips),
        ),
        "mir1k": (transfer_real.VoiceSound(voices), transfer_real.voice_tasks(voices, n_clips=options.clips // 2)),
    }
    end, tables = time.monotonic() + 60 * options.minutes, []
    for title, (load, tasks) in sets.items():
        features = {}
        for model in options.models:
            files = [options.out / f"{title}_{options.clips}_{model}{kind}.npz" for kind in ("", ", random")]
            if not all(file.is_file() for file in files):
                if time.monotonic() > end:
                    print(f"{title}: {model} was left out for lack of time")
                    continue
                short = model.removeprefix("won2020-").replace("-", "_")
                file = shared / (
                    "choi2018/keras2_model/model_best.hdf5" if model == "choi2018" else f"won2020/{short}.pth"
                )
                tagger = installation.tagger_of(released.describe(model), file)
                own = transfer_real.real_features({model: tagger}, load, tasks)
                for path, one in zip(files, own.values(), strict=True):
                    np.savez(path, **one.blocks)
            ids = list(dict.fromkeys(clip for task in tasks.values() for clip in task.ids))
            index = pd.Index(ids, tupleize_cols=False)
            for kind, path in zip(("", ", random"), files, strict=True):
                with np.load(path) as arrays:
                    features[model + kind] = FeatureSet(index, dict(arrays))
        if features:
            tables.append(transfer_real.scores(features, tasks, repeats=1000))
            print(tables[-1].round(3).to_string(index=False), flush=True)
    if tables:
        pd.concat(tables).to_csv(options.out / "recordings.csv", index=False)


def main():
    """Run one of the two benchmarks."""
    from musictools import runs

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["original", "recordings"])
    parser.add_argument("--tasks", nargs="*", help="tasks of the author's features; all by default")
    parser.add_argument("--models", nargs="*", default=NAMES)
    parser.add_argument("--clips", type=int, default=400, help="sounds of each data set")
    parser.add_argument("--screen", type=int, default=1500, help="training clips of a fold in the first round")
    parser.add_argument("--standardise", action="store_true", help="standardise features; the source does not")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=Path("transfer_benchmark"))
    options = parser.parse_args()
    shared = runs.shared_data()
    if shared is None:
        parser.error("the shared data are not here: set MUSICTOOLS_SHARED_DATA")
    options.out.mkdir(parents=True, exist_ok=True)
    {"original": original, "recordings": recordings}[options.what](options, shared)


if __name__ == "__main__":
    main()

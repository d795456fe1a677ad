"""Probing at the size of `rotheneder2023` for layer 3: 256 maps of 16 x 16, 11,594 training clips, 10 tags, 3 folds.

    python tests/benchmarks/bench_probing.py [--maps 8] [--fits 6] [--svm-maps 2] [--workers 2]

Neighbours: `probes.probe` with k = 3, 5, 7 against one ``KNeighborsClassifier(k).fit(X, y).predict(Q)`` a map, tag
and k. Ours is timed on a few maps, scikit-learn on a few single fits of the first fold, both in one child process with
one thread, in turns; both are extrapolated to all maps, and the predictions compared one by one. Linear support vector
machines are timed on some maps with all tags and folds and extrapolated to all maps on two cores. All seconds are of
computing (CPU), which suffers less than the clock where others work too. Memory is the peak
resident set of a child process that writes the maps, reads and probes them; for the network's pass the same of a child
that runs ckn19 at full width.

Maps are random, of realistic sparsity: sums of twelve factors that smooth patterns spread over the map, and noise, cut
off at 0 so that some 60 % of the cells are 0; one map in eight is dead. Tags depend weakly on the factors; their
frequencies are those of table 6.1. Exit status 1 when neighbours are less than 20 times faster, when memory exceeds
2 GiB, when a prediction differs, or when the linear machines need more than an hour.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

N_MAPS, SIDE, N_CLIPS, N_FOLDS, KS = 256, 16, 14_492, 3, (3, 5, 7)
TABLE_6_1 = (3000, 2071, 2410, 2024, 1536, 1655, 1633, 1801, 2811, 1683)
WANTED, WANTED_GIB, WANTED_MINUTES = 20, 2.0, 60


def draw(folder, n_maps):
    """Maps on disk, labels and folds."""
    import pandas as pd

    from musictools.datasets import splits
    from musictools.probing import clips
    from musictools.probing.maps import FeatureMaps

    rng = np.random.default_rng(0)
    factors = rng.normal(size=(N_CLIPS, 12)).astype(np.float32)
    noisy = factors[:, :10] + 1.5 * rng.normal(size=(N_CLIPS, 10))
    cut = [np.sort(column)[::-1][count] for column, count in zip(noisy.T, TABLE_6_1)]
    labels = pd.DataFrame(noisy > cut, columns=list(clips.TAGS))
    maps = FeatureMaps.create(folder / "maps", {"pool3": (n_maps, SIDE, SIDE)}, range(N_CLIPS), source="random")
    coarse = rng.normal(size=(n_maps, 12, 4, 4))
    patterns = np.kron(coarse, np.ones((4, 4))).reshape(n_maps, 12, SIDE * SIDE).astype(np.float32)
    for rows in maps.missing():
        values = np.einsum("cf,mfd->mcd", factors[rows.start : rows.stop], patterns) / np.sqrt(12)
        values = np.maximum(values + 0.7 * rng.normal(size=values.shape) - 0.35, 0)
        values[::8] = 0.25
        maps.write(rows.start, {"pool3": values.astype(np.float32).reshape(n_maps, len(rows), SIDE, SIDE)})
    train = labels.iloc[np.sort(rng.permutation(N_CLIPS)[: round(0.8 * N_CLIPS)])]
    return maps, train, splits.folds(len(train), n_folds=N_FOLDS)


def neighbours(folder, n_maps, n_fits):
    """Seconds of ours a map and of scikit-learn a fit; runs in a child process."""
    from sklearn.neighbors import KNeighborsClassifier

    from musictools import probing

    maps, train, splits = draw(folder, n_maps)
    labels, rows = train.to_numpy(), maps.rows(train.index)
    first, second = splits[0]
    X = maps.read("pool3", 1)[rows]
    mine = probing.neighbours.predict(X[first], labels[first], X[second], ks=KS)
    ours, theirs, different = [], [], 0
    for number in range(max(n_maps, n_fits)):
        if number < n_maps:
            _, seconds = probing.probes.probe(
                maps, train, splits, methods={"knn": {"ks": KS}}, workers=1, items=[("pool3", number)]
            )
            ours.append(seconds["seconds"].sum())
        if number < n_fits:
            k, tag = KS[number % len(KS)], number % labels.shape[1]
            began = time.process_time()
            predicted = KNeighborsClassifier(k).fit(X[first], labels[first, tag]).predict(X[second])
            theirs.append(time.process_time() - began)
            different += int((predicted != mine[k][:, tag]).sum())
    zeros = float(np.mean([(maps.read("pool3", k) == 0).mean() for k in range(1, n_maps)]))
    return {"ours": ours, "theirs": theirs, "different": different, "zeros": zeros, "fold": [len(first), len(second)]}


def machines(folder, n_maps, workers):
    """Seconds of the linear machines of some maps, in worker processes."""
    from musictools.probing import probes

    maps, train, splits = draw(folder, n_maps + 1)
    began = time.perf_counter()
    _, seconds = probes.probe(
        maps, train, splits, methods={"svm": {}}, workers=workers, items=[("pool3", k) for k in range(1, n_maps + 1)]
    )
    return {"seconds": seconds["seconds"].tolist(), "wall": time.perf_counter() - began}


def network(folder, n_clips):
    """One pass of ckn19 at full width over some clips."""
    from musictools import models
    from musictools.probing.maps import FeatureMaps

    x = np.random.default_rng(0).random((n_clips, 128, 128, 1), dtype=np.float32)
    model = models.build("ckn19", n_outputs=8, seed=0)
    began = time.perf_counter()
    FeatureMaps.build(folder / "maps", model, x, range(n_clips))
    return {"clips": n_clips, "seconds": time.perf_counter() - began}


def child(task, *arguments):
    """Run a task in a process of its own with one thread; its result and its peak memory in GiB."""
    command = [sys.executable, __file__, "--child", json.dumps([task, *arguments])]
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | threads | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maps", type=int, default=8)
    parser.add_argument("--fits", type=int, default=6)
    parser.add_argument("--svm-maps", type=int, default=2)
    parser.add_argument("--network-clips", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.child:
            task, *arguments = json.loads(options.child)
            result = {"neighbours": neighbours, "machines": machines, "network": network}[task](Path(name), *arguments)
            result["gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            print(json.dumps(result))
            return
    load = os.getloadavg()[0]
    found = child("neighbours", options.maps, options.fits)
    ours, theirs = np.mean(found["ours"]), np.mean(found["theirs"])
    whole, naive = ours * N_MAPS, theirs * N_MAPS * N_FOLDS * len(KS) * len(TABLE_6_1)
    print(
        f"maps:       {N_MAPS} of {SIDE} x {SIDE}, {found['zeros']:.0%} of the cells 0, one map in eight dead; folds "
        f"of {found['fold'][0]} and {found['fold'][1]} clips"
    )
    print(
        f"neighbours: {ours:.2f} s a map with one thread ({len(found['ours'])} maps, "
        f"{min(found['ours']):.2f} to {max(found['ours']):.2f}), all maps {whole / 60:.1f} min"
    )
    print(
        f"sklearn:    {theirs:.2f} s a fit and prediction with one thread ({len(found['theirs'])} fits), all "
        f"{N_MAPS * N_FOLDS * len(KS) * len(TABLE_6_1):,} of them {naive / 3600:.1f} h"
    )
    print(
        f"ratio:      {naive / whole:.1f} (wanted: at least {WANTED}); {found['different']} predictions differ; load "
        f"{load:.1f} before, {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} cores"
    )
    svm = child("machines", options.svm_maps, options.workers)
    minutes = np.mean(svm["seconds"]) * N_MAPS / options.workers / 60
    print(
        f"linear SVM: {np.mean(svm['seconds']):.1f} s a map ({N_FOLDS} folds, {len(TABLE_6_1)} tags), all maps with "
        f"{options.workers} workers {minutes:.0f} min; the thesis estimated 52 h; "
        f"by the clock {svm['wall']:.0f} s for {len(svm['seconds'])} maps; load {os.getloadavg()[0]:.1f}"
    )
    passed = child("network", options.network_clips)
    print(f"network:    ckn19 at full width, {passed['clips'] / passed['seconds']:.1f} clips/s with one thread")
    print(
        f"memory:     peak of a process that writes and probes {found['gib']:.2f} GiB, of one that runs the network "
        f"{passed['gib']:.2f} GiB (wanted: at most {WANTED_GIB:.0f})"
    )
    peak = max(found["gib"], passed["gib"])
    sys.exit(int(naive / whole < WANTED or peak > WANTED_GIB or found["different"] > 0 or minutes > WANTED_MINUTES))


if __name__ == "__main__":
    main()

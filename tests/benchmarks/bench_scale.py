"""A corpus of MagnaTagATune's size through loader, store, input pipeline and probing: speed, memory, disk.

    python tests/benchmarks/bench_scale.py [--clips 250 2500 25863] [--workers 2] [--index] [--out DIR] [--folder DIR]

The corpus has the official layout: two csv files (the real ones, in part, where they are at hand, else generated ones),
folders 0 to f, mp3 of 29.124 s at 16 kHz, the known three of them empty. The sounds are 48 composed clips; their files
stand under all the names as hard links. Decoding, transforming, writing and reading take as long as with different
sounds; only the mp3 are read from the memory of the system rather than from a disk.

Every stage runs in a process of its own. *build*: the spectrograms of all clips, 16000/512/256/128, with `--workers`
processes. *open*: the finished store, splits, and the order of an epoch. *input*: an epoch with one segment per clip.
*train*: a narrow tagger on arrays in memory, and on the store. *probe*: feature maps of that tagger, and k-NN on them.
Memory is the largest sum of the proportional set sizes (PSS) of a stage's process and its workers, sampled four times
a second; the rows that training keeps in memory are limited by `--memory`. Disk is compared with `musictools plan`.

With ``--index`` come first 55,609 songs in the layout of MTG-Jamendo and 240,000 in both layouts of the Million Song
Dataset, generated tables without audio: loading, splitting and drawing an epoch. Writes ``scale.csv``,
``scale_index.csv`` and ``scale.png`` into `--out`. The exit status is 1 if a stage needs more than 2 GiB, the disk is
not within a tenth of the plan, or opening the store takes longer than two seconds.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

SECONDS, SOUNDS = 465_984 / 16_000, 48
WANTED_GIB, WANTED_DISK, WANTED_OPEN = 2.0, 0.1, 2.0
MODEL, WIDTH, BATCH, MAPS = "short_chunk", 0.125, 16, 4
STAGES = ("build", "open", "input", "train", "probe")


# --- the corpora ----------------------------------------------------------------------------------------------------


def make_sounds(folder):
    """Composed clips as mp3."""
    from musictools.datasets.composed import mp3, planning, rendering

    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.mp3" for number in range(SOUNDS)]
    for path, plan in zip(paths, planning.plan(SOUNDS, seed=0), strict=True):
        if not path.is_file():
            path.write_bytes(mp3.encode(rendering.mix(plan)))
    return paths


def make_tables(n):
    """Annotations and information of `n` clips, the three empty ones among them, and whether they are real."""
    from musictools import runs
    from musictools.datasets import magnatagatune

    shared = runs.shared_data()
    if shared is not None and (shared / "magnatagatune").is_dir():
        annotations, info = (
            pd.read_csv(shared / "magnatagatune" / f"{name}_final.csv", sep="\t", dtype=str)
            for name in ("annotations", "clip_info")
        )
        empty = annotations["mp3_path"].isin(magnatagatune.EMPTY).to_numpy()
        chosen = np.linspace(0, (~empty).sum() - 1, n - empty.sum()).round().astype(int)
        kept = np.sort(np.r_[np.flatnonzero(~empty)[chosen], np.flatnonzero(empty)])
        return annotations.iloc[kept], info[info["clip_id"].isin(annotations["clip_id"].iloc[kept])], True
    rng, ids = np.random.default_rng(0), [str(2 * k) for k in range(n)]
    paths = [f"{k % 16:x}/artist_{k % 230}-album_{k % 446}-{k}-0-29.mp3" for k in range(n - 3)] + list(
        magnatagatune.EMPTY
    )
    tags = {f"tag {k}": (rng.random(n) < 0.02).astype(int) for k in range(185)}
    tags |= {name: (rng.random(n) < 0.2).astype(int) for name in ("guitar", "rock", "classical")}
    info = {"clip_id": ids, "track_number": 1, "title": "t", "artist": [f"artist {k % 230}" for k in range(n)],
            "album": "a", "url": "", "segmentStart": 0, "segmentEnd": 29, "mp3_path": paths}  # fmt: skip
    return pd.DataFrame({"clip_id": ids, **tags, "mp3_path": paths}), pd.DataFrame(info), False


def make_corpus(folder, n, sounds):
    """Write the tables and the links."""
    from musictools.datasets import magnatagatune

    annotations, info, real = make_tables(n)
    folder.mkdir(parents=True)
    for name, table in (("annotations", annotations), ("clip_info", info)):
        table.to_csv(folder / f"{name}_final.csv", sep="\t", index=False)
    for letter in "0123456789abcdef":
        (folder / letter).mkdir()
    for number, path in enumerate(annotations["mp3_path"]):
        if path in magnatagatune.EMPTY:
            (folder / path).touch()
        else:
            os.link(sounds[number % len(sounds)], folder / path)
    return real


# --- the stages, each in a process of its own -----------------------------------------------------------------------


def timed(times, name, function):
    """Result of a call; its seconds go to `times`."""
    began = time.perf_counter()
    result = function()
    times[name] = time.perf_counter() - began
    return result


def load(times, options):
    """The corpus and the model's input."""
    from musictools import datasets, models

    data = timed(times, "load_s", lambda: datasets.load("magnatagatune", data_dir=options.corpus))
    return data, models.describe(MODEL).input


def open_segments(times, options, *, ids=None):
    """Segments of the store of the whole corpus."""
    from musictools.spectrograms import Segments, open_store

    data, shape = load(times, options)
    store = open_store(data, shape.front_end, workers=options.workers)
    return data, Segments(store, store.ids if ids is None else store.ids[:ids], length=shape.length, step=shape.step)


def build(options):
    """Build the store; seconds of processors are those of the workers."""
    from joblib.externals.loky import get_reusable_executor

    from musictools.spectrograms import open_store

    times = {}
    data, shape = load(times, options)
    store = timed(times, "build_s", lambda: open_store(data, shape.front_end, workers=options.workers))
    assert len(store) == len(data), store.failed
    get_reusable_executor().shutdown(wait=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    times["worker_cpu_s"] = used.ru_utime + used.ru_stime
    files = [path.stat() for path in store.folder.rglob("*")]
    times |= {"store_bytes": sum(state.st_size for state in files), "store_files": len(files)}
    return times | {"disk_bytes": 512 * sum(state.st_blocks for state in files)}


def reopen(options):
    """Open the finished store, split, draw an epoch."""
    from musictools.datasets import splits
    from musictools.spectrograms import Segments, open_store

    times = {}
    data, shape = load(times, options)
    store = timed(times, "open_s", lambda: open_store(data, shape.front_end, workers=options.workers))
    split_and_draw(times, data)
    x = Segments(store, store.ids, length=shape.length, step=shape.step)
    timed(times, "order_s", lambda: x.order(np.random.default_rng(0)))
    timed(times, "held_out_s", lambda: splits.held_out_clips(data, hold_out=len(data) // 20, unseen_share=0.5))
    return times | {"segments": len(x)}


def split_and_draw(times, data):
    """All splits that the data set knows, and a limit of clips per tag."""
    from musictools.datasets import splits

    def both():
        for kind in data.split_kinds:
            data.split(kind)

    timed(times, "split_s", both)
    timed(times, "limit_s", lambda: splits.limit_per_tag(data.descriptors, per_tag=max(1, len(data) // 20)))
    timed(times, "hash_s", lambda: data.tables_checksum)


def stream(options):
    """One segment of every clip, as training reads them."""
    import tensorflow as tf  # noqa: F401 - its import does not count

    from musictools import training

    times = {}
    _, x = open_segments(times, options)
    source = training._Source(x, np.zeros((len(x), 50), np.float32), batch_size=BATCH, seed=0, per_clip=1)
    n = timed(times, "input_s", lambda: sum(len(batch[1]) for batch in source.dataset()))
    return times | {"input_rate": n / times["input_s"]}


def train(options):
    """Segments per second of the model alone, and of a fit from the store."""
    import keras

    from musictools import models, training

    times = {}
    data, x = open_segments(times, options, ids=options.train_clips)
    y = np.random.default_rng(0).random((len(x), 50)).round().astype(np.float32)
    model = models.build(MODEL, n_outputs=50, width=WIDTH, seed=0)
    few = 8 * BATCH
    held = x[:few]

    class Steps(keras.callbacks.Callback):
        """The time of the first step's end: tracing does not count."""

        def on_train_batch_end(self, batch, logs=None):
            self.began = time.perf_counter() if batch == 0 else self.began
            self.n = batch

    steps, rounds = Steps(), -(-min(options.train_clips, len(data)) // few)
    with training.deterministic(0):
        model.compile("adam", "binary_crossentropy")
        repeated = np.tile(np.arange(few), rounds)
        model.fit(held[repeated], y[repeated], batch_size=BATCH, verbose=0, callbacks=[steps])
        times["model_rate"] = steps.n * BATCH / (time.perf_counter() - steps.began)
        source = training._Source(x, y, batch_size=BATCH, seed=0, per_clip=1)
        model.fit(source.dataset(), verbose=0, shuffle=False, callbacks=[steps])
        times["both_rate"] = steps.n * BATCH / (time.perf_counter() - steps.began)
    return times


def probe(options):
    """Feature maps of the middle of every clip, and k-NN on some of them; k-NN compares all clips with all others."""
    from musictools import models
    from musictools.datasets import splits
    from musictools.probing import clips, probes
    from musictools.probing.maps import FeatureMaps, blocks

    times = {}
    data, x = open_segments(times, options)
    x = clips.middle(x)
    model = models.build(MODEL, n_outputs=50, width=WIDTH, seed=0)
    chosen = [(blocks(model)[-1], k) for k in range(MAPS)]
    place = Path(os.environ["MUSICTOOLS_DATA"]) / "maps"
    maps = timed(times, "maps_s", lambda: FeatureMaps.build(place, model, x, x.ids, only=chosen))
    labels = data.tags.loc[x.ids, list(data.tags)[:10]]
    fold = splits.folds(len(labels), n_folds=3)[:1]
    timed(times, "knn_s", lambda: probes.probe(
        maps, labels, fold, methods={"knn": {"ks": [3]}}, only=chosen, workers=options.workers))  # fmt: skip
    return times | {"maps_rate": len(labels) / times["maps_s"]}


class Nothing:
    """A store that knows the length of spectrograms only."""

    front_end, in_memory = None, True

    def n_frames(self, clip_id):
        return 1821


def index(options):
    """Tables without audio: load, split, draw."""
    from musictools import datasets
    from musictools.spectrograms import Segments

    times = {}
    data = timed(times, "load_s", lambda: datasets.load(options.kind, data_dir=options.corpus))
    split_and_draw(times, data)
    x = Segments(Nothing(), list(data.tracks.index), length=230, step=115)
    timed(times, "order_s", lambda: x.order(np.random.default_rng(0)))
    return times | {"clips": len(data), "segments": len(x)}


# --- the parent -------------------------------------------------------------------------------------------------------


def tree_bytes(pid):
    """Sum of the proportional set sizes of a process and of all below it."""
    total, waiting = 0, [pid]
    while waiting:
        pid = waiting.pop()
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += 1024 * int(rollup.partition("\nPss:")[2].split()[0])
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                waiting += map(int, children.read_text().split())
        except (OSError, IndexError, ValueError):  # it has just ended
            continue
    return total


def run_stage(stage, folder, corpus, options, *, kind="magnatagatune"):
    """Measures of a stage, with the peak of its memory."""
    command = [
        sys.executable, __file__, "--stage", stage, "--corpus", str(corpus), "--workers", str(options.workers),
        "--train-clips", str(options.train_clips), "--kind", kind,
    ]  # fmt: skip
    environment = os.environ | {
        "MUSICTOOLS_DATA": str(folder), "MUSICTOOLS_MEMORY": str(options.memory), "TF_CPP_MIN_LOG_LEVEL": "3",
    }  # fmt: skip
    began, peak = time.perf_counter(), [0]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:
        over = threading.Event()

        def watch():
            while not over.wait(0.25):
                peak[0] = max(peak[0], tree_bytes(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        printed, complaint = process.communicate()
        over.set()
        watcher.join()
    if process.returncode:
        sys.exit(f"{stage}: status {process.returncode}\n{complaint}")
    measures = json.loads(printed.splitlines()[-1])
    return measures | {"peak_mib": peak[0] / 2**20, "whole_s": time.perf_counter() - began}


def planned_bytes(folder, corpus):
    """Bytes of the store, as `musictools plan` says before it is built."""
    code = "import sys; from musictools.experiments import plans; print(plans.make('thesis', only=['03'], " \
        f"parameters={{'data_dir': sys.argv[1], 'models': ['{MODEL}'], 'slides_models': []}})[0].disk)"  # fmt: skip
    command = [sys.executable, "-c", code, str(corpus)]
    environment = os.environ | {"MUSICTOOLS_DATA": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return int(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.split()[-1])


def measure(n, sounds, folder, options):
    """All stages of one size, as one row."""
    corpus = folder / "corpus"
    real = make_corpus(corpus, n, sounds)
    row = {
        "clips": n,
        "real_tables": real,
        "load_average": os.getloadavg()[0],
        "planned": planned_bytes(folder, corpus),
    }
    for stage in options.stages:
        measures = run_stage(stage, folder, corpus, options)
        row |= {name: value for name, value in measures.items() if name not in ("peak_mib", "load_s")}
        row[f"{stage}_mib"] = measures["peak_mib"]
        if stage == "open":
            row["load_s"] = measures["load_s"]
        print(f"{n} clips, {stage}: " + ", ".join(f"{k} {v:.4g}" for k, v in measures.items()), flush=True)
    row["rate"] = n / row["build_s"]
    row["rate_per_core"] = n / row["worker_cpu_s"]
    row["peak_mib"] = max(row[f"{stage}_mib"] for stage in options.stages)
    return row


def make_jamendo(folder, n=55_609):
    """The table and the split 0 of MTG-Jamendo, with tags drawn at random."""
    rng = np.random.default_rng(0)
    names = [f"genre---g{k}" for k in range(87)] + [f"instrument---i{k}" for k in range(41)] + [
        f"mood/theme---m{k}" for k in range(67)]  # fmt: skip
    head = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
    rows = [
        f"track_{k:07d}\tartist_{k // 16:06d}\talbum_{k // 5:06d}\t{k % 100:02d}/{k}.mp3\t210.5\t"
        + "\t".join(names[tag] for tag in sorted(set(rng.integers(0, len(names), 4))))
        for k in range(n)
    ]
    parts = {"train": rows[: n * 6 // 10], "validation": rows[n * 6 // 10 : n * 8 // 10], "test": rows[n * 8 // 10 :]}
    for name, some in ({"data/autotagging.tsv": rows} | {
        f"data/splits/split-0/autotagging_top50tags-{part}.tsv": own for part, own in parts.items()
    }).items():  # fmt: skip
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(head + "\n".join(some) + "\n")


def make_arrays(folder, n=240_000):
    """The arrays of `choi2018`'s layout."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    (folder / "tags.txt").write_text("\n".join(["rock", "pop", "jazz", *(f"tag {k}" for k in range(47))]))
    for part, share in (("train", 0.8), ("valid", 0.05), ("test", 0.15)):
        np.save(folder / f"{part}_y.npy", rng.random((round(n * share), 50)) < 0.05)


def make_songs(folder, n=240_000):
    """A JSON file a song, as Last.fm gave them out."""
    rng = np.random.default_rng(0)
    names = ["rock", "pop", "jazz", *(f"tag {k}" for k in range(2000))]
    letters = np.array(list("ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    drawn, tags = letters[rng.integers(0, 26, (n, 3))], (len(names) * rng.random((n, 5)) ** 3).astype(int)
    for k in range(n):
        one, two, three = drawn[k]
        track = f"TR{one}{two}{three}AA{k:011X}"
        place = folder / ("lastfm_train" if k % 10 else "lastfm_test") / one / two / three
        place.mkdir(parents=True, exist_ok=True)
        song = {"artist": f"artist {k % 22_000}", "title": f"title {k}", "track_id": track, "similars": [],
                "tags": [[names[tag], "100"] for tag in set(tags[k].tolist())]}  # fmt: skip
        (place / f"{track}.json").write_text(json.dumps(song))


def measure_index(folder, options):
    """Rows of the large sets without audio."""
    rows = []
    for name, kind, make in (
        ("MTG-Jamendo", "mtg_jamendo", make_jamendo),
        ("Million Song, arrays", "million_song", make_arrays),
        ("Million Song, JSON", "million_song", make_songs),
    ):
        corpus = folder / name.replace(" ", "_").replace(",", "")
        make(corpus)
        rows.append({"layout": name} | run_stage("index", folder / "data", corpus, options, kind=kind))
        shutil.rmtree(corpus)
        print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def markdown(table):
    """A table in Markdown, without further packages."""
    text = table.map(lambda value: f"{value:,.3g}" if isinstance(value, float) else f"{value:,}"
                     if isinstance(value, int) and not isinstance(value, bool) else str(value))  # fmt: skip
    lines = ["| " + " | ".join(text.columns) + " |", "|" + "---|" * len(text.columns)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in text.to_numpy()])


def summary(table):
    """The columns to read first."""
    return pd.DataFrame({
        "clips": table["clips"],
        "clips/s": table["rate"],
        "clips/s of a core": table["rate_per_core"],
        "disk GB": table["store_bytes"] / 1e9,
        "disk / plan": table["store_bytes"] / table["planned"],
        "load s": table["load_s"],
        "open s": table["open_s"],
        "split s": table["split_s"],
        "epoch order s": table["order_s"],
        "input rows/s": table["input_rate"],
        "model segments/s": table["model_rate"],
        "both segments/s": table["both_rate"],
        "maps clips/s": table["maps_rate"],
        "k-NN s": table["knn_s"],
        "peak MiB": table["peak_mib"],
        **{f"{stage} MiB": table[f"{stage}_mib"] for stage in STAGES},
    })  # fmt: skip


def draw(table, path):
    """Time and memory against the number of clips."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for name, label in (("build_s", "build store"), ("input_s", "read an epoch"), ("maps_s", "feature maps"),
                        ("load_s", "load tables"), ("open_s", "open store")):  # fmt: skip
        left.loglog(table["clips"], table[name], "o-", label=label)
    left.set(xlabel="clips", ylabel="seconds", title="Time")
    left.legend(fontsize=8)
    for stage in STAGES:
        middle.semilogx(table["clips"], table[f"{stage}_mib"], "o-", label=stage)
    middle.axhline(1024 * WANTED_GIB, color="0.6", linestyle=":", label="limit")
    middle.set(xlabel="clips", ylabel="MiB, process and workers", title="Peak memory", ylim=(0, 3000))
    middle.legend(fontsize=8, ncols=3, loc="upper center")
    right.loglog(table["clips"], table["store_bytes"] / 1e9, "o-", label="measured")
    right.loglog(table["clips"], table["planned"] / 1e9, "x--", label="musictools plan")
    right.set(xlabel="clips", ylabel="GB", title="Store on disk")
    right.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def failures(table):
    """What is not as wanted, in words."""
    return [
        *(f"{row.clips} clips: peak {row.peak_mib:.0f} MiB" for row in table.itertuples()
          if row.peak_mib > 1024 * WANTED_GIB),
        *(f"{row.clips} clips: {row.store_bytes / row.planned:.2f} of the planned disk" for row in table.itertuples()
          if abs(row.store_bytes / row.planned - 1) > WANTED_DISK),
        *(f"{row.clips} clips: opened in {row.open_s:.1f} s" for row in table.itertuples() if row.open_s > WANTED_OPEN),
    ]  # fmt: skip


def arguments():
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, nargs="*", default=[250, 2500, 25_863])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--memory", type=float, default=1.0, help="GiB, as MUSICTOOLS_MEMORY")
    parser.add_argument("--train-clips", type=int, default=2000, help="clips that are trained on at most")
    parser.add_argument("--index", action="store_true", help="also the large sets without audio")
    parser.add_argument("--out", type=Path, help="folder for tables and figure (default: they are only printed)")
    parser.add_argument("--folder", type=Path, help="on a disk with 5 GB (default: where temporary files go)")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--stage", help=argparse.SUPPRESS)  # what this process does
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    """Measure and print."""
    options = arguments()
    if options.stage:
        stages = {"build": build, "open": reopen, "input": stream, "train": train, "probe": probe, "index": index}
        print(json.dumps(stages[options.stage](options)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        free, needed = shutil.disk_usage(name).free, 200_000 * max(options.clips, default=0) + 2 * 10**9
        if free < needed:
            sys.exit(f"{name}: {free / 1e9:.1f} GB are free, about {needed / 1e9:.1f} GB are needed.")
        large = measure_index(Path(name), options) if options.index else None
        sounds, rows = make_sounds(Path(name) / "sounds"), []
        for n in options.clips:
            rows.append(measure(n, sounds, Path(name) / str(n), options))
            if options.out:  # a later size may be interrupted
                options.out.mkdir(parents=True, exist_ok=True)
                pd.DataFrame(rows).to_csv(options.out / "scale.csv", index=False)
            shutil.rmtree(Path(name) / str(n))
    status = 0
    if rows:
        table = pd.DataFrame(rows)
        print(markdown(summary(table) if set(options.stages) == set(STAGES) else table))
        if options.out and set(options.stages) == set(STAGES):
            draw(table, options.out / "scale.png")
            wrong = failures(table)
            print("\n".join(wrong))
            status = int(bool(wrong))
    if large is not None:
        print(markdown(large))
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            large.to_csv(options.out / "scale_index.csv", index=False)
    sys.exit(status)


if __name__ == "__main__":
    main()

"""Does the evidence for a voice lie where the voice is? choi2018's published network on 420 real songs with stems.

    python tests/benchmarks/bench_voice.py [--out DIR] [--clips 420] [--full 36] [--workers 2] [--cache DIR]

Reads ``choi2018`` and ``mir1k`` of the shared data. Few methods are measured on all clips, all methods on `--full` of
them, equally many of each singer. Finished clips are kept in `--cache`, so that an interrupted run resumes. Prints the
tables and writes ``voice_rows.csv`` (one row per map), ``voice_table.csv`` (methods, targets, forms; intervals by
singer), ``voice_down.csv`` (effect of turning the voice 20 dB down) and ``voice_tags.csv`` (the evidence of every tag
against *instrumental*: that of vocal tags should lie on the voice more than that of others).
Exit status 1 when no blind method beats energy, over all cells or among cells of equal energy, with an interval clear
of it. `musictools.experiments.voices` explains the terms.
"""

import argparse
import copy
import functools
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SHOWN = ["method", "target", "form", "clips", "auc", "auc_low", "auc_high", "auc_over_energy", "auc_over_energy_low",
         "auc_over_energy_high", "auc_equal_energy", "auc_equal_energy_low", "auc_equal_energy_high", "auc_loud",
         "auc_time", "auc_equal_energy_over_shuffled", "auc_equal_energy_over_shuffled_low"]  # fmt: skip


def clips_in_order(data):
    """Clip ids, the singers taking turns, so that any first part of them is balanced."""
    rng = np.random.default_rng(0)
    table = data.tracks[["artist"]].sample(frac=1, random_state=rng)
    return table.assign(turn=table.groupby("artist").cumcount()).sort_values(["turn", "artist"]).index.to_list()


def clip_of(data, clip_id, sr):
    """One clip as a `voices.Clip`."""
    from musictools.experiments import voices

    stems, _ = data.stems(clip_id, sr=sr)
    return voices.Clip(clip_id, data.tracks.at[clip_id, "artist"], stems["voice"], stems["accompaniment"],
                       *data.flags(clip_id))  # fmt: skip


@functools.cache
def prepared(shared):
    """Data and the two probes (few methods, all methods); once a process, one thread each."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from musictools import datasets
    from musictools.experiments import voices
    from musictools.released import choi2018

    data = datasets.load("mir1k", data_dir=Path(shared) / "mir1k")
    tagger = choi2018.load(Path(shared) / "choi2018" / "keras2_model" / "model_best.hdf5")
    mixes = [data.audio(clip_id, sr=tagger.front_end.sr)[0] for clip_id in clips_in_order(data)[:9]]
    examples = np.concatenate([tagger.inputs(y)[:1] for y in mixes])
    everything = voices.Probe(tagger, voices.METHODS, examples=examples)
    few = copy.copy(everything)  # what is compiled is shared
    few.methods, few.targets = voices.DEFAULT_METHODS, voices.TARGETS[:2]
    return data, few, everything


def measured(task):
    """Results of one clip (`what`: few, full or tags), from the cache if they are there."""
    clip_id, what, shared, cache = task
    path = Path(cache) / f"{clip_id}.{what}.json"
    if not path.is_file():
        data, few, everything = prepared(shared)
        clip = clip_of(data, clip_id, few.tagger.front_end.sr)
        if what == "tags":
            result = everything.every_tag(clip)
        else:
            result = (everything if what == "full" else few).measure(clip, down=what == "full")
        part = path.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps(result, default=float))
        part.replace(path)
    return json.loads(path.read_text())


def tag_table(rows):
    """AUC of every tag's evidence against *instrumental*, and the tag's rank among all tags, by method."""
    from musictools.experiments import voices

    table = voices.table(rows)
    table = table[~table["method"].isin(voices.CONTROLS)].sort_values(
        ["method", "auc_equal_energy"], ascending=[True, False], ignore_index=True)  # fmt: skip
    columns = [f"{m}{end}" for m in ("auc", "auc_equal_energy") for end in ("", "_low", "_high")]
    place = table.groupby("method").cumcount() + 1
    return table.assign(place=place)[["method", "place", "target", "clips", *columns]]


def main():
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=None, help="folder for the tables")
    parser.add_argument("--clips", type=int, default=420, help="how many clips")
    parser.add_argument("--full", type=int, default=36, help="how many of them get all methods")
    parser.add_argument("--workers", type=int, default=1, choices=(1, 2))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "bench_voice")
    options = parser.parse_args()
    from musictools import datasets, runs
    from musictools.experiments import voices

    shared = runs.shared_data()
    if shared is None or not (shared / "mir1k").is_dir() or not (shared / "choi2018").is_dir():
        print("No real data here: nothing is measured.")
        return
    os.nice(5)
    options.cache.mkdir(parents=True, exist_ok=True)
    order = clips_in_order(datasets.load("mir1k", data_dir=shared / "mir1k"))[: options.clips]
    whats = [(i, "full" if number < options.full else "few") for number, i in enumerate(order)]
    whats += [(i, "tags") for i in order[: options.full]]
    results = runs.map(measured, [(*what, str(shared), str(options.cache)) for what in whats], workers=options.workers,
                     description="clips")  # fmt: skip
    rows = pd.DataFrame([row for clip_rows, _ in results[: len(order)] for row in clip_rows])
    tags = pd.DataFrame([row for clip_rows in results[len(order) :] for row in clip_rows])
    energy = rows[(rows["method"] == "energy") & rows["clip"].isin(tags["clip"])]
    tables = {"rows": rows, "table": voices.table(rows), "tags": tag_table(pd.concat([tags, energy])),
              "down": voices.down_table(pd.DataFrame([level for _, level in results[: len(order)]]))}  # fmt: skip
    with pd.option_context("display.width", 250, "display.max_columns", 30, "display.max_rows", 500):
        print(tables["table"][SHOWN].round(3).to_string())
        print(tables["down"].round(3).to_string())
        print(tables["tags"].round(3).to_string())
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            table.to_csv(options.out / f"voice_{name}.csv", index=False)
    rivals = tables["table"][tables["table"]["blind"] & ~tables["table"]["method"].isin(voices.CONTROLS)
                             & ~tables["table"]["method"].str.endswith("/shuffled")]  # fmt: skip
    clear = (rivals["auc_over_energy_low"] > 0) | (rivals["auc_equal_energy_over_energy_low"] > 0)
    sys.exit(int(not clear.any()))


if __name__ == "__main__":
    main()

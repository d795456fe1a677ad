"""Concepts measured: planted ones, random networks, real songs. Prints tables; asserts nothing.

python tests/benchmarks/bench_concepts.py planted   # composed clips with planted drums, band and hiss
python tests/benchmarks/bench_concepts.py random    # the same clips, 20 networks with random weights
python tests/benchmarks/bench_concepts.py gtzan     # jazz clips drawn in another mode; needs the shared data
python tests/benchmarks/bench_concepts.py songs     # a released network over real songs; needs the shared data
"""

import argparse
import dataclasses
import time

import keras
import numpy as np
import pandas as pd

from musictools import audio, concepts, datasets, explain, models, released, runs
from musictools.datasets import composed
from musictools.datasets.composed.planning import Player
from musictools.experiments import concept_truth
from musictools.experiments import concepts as experiment

LENGTH, STEP = 128, 190
DRUMS, BAND, HISS = "classical", "country", "new age"


def shown(table, *columns):
    """Print a table in full."""
    print(table[list(columns)].round(4).to_string() if columns else table.round(4).to_string(), flush=True)


def plans_without_drums(per_genre, seed=0):
    """Plans of all genres without their drums; those of one genre get a pattern of their own."""
    chosen = []
    plans = composed.plan(per_genre * 14, seed=seed)
    for genre in composed.GENRES:
        for plan in [p for p in plans if p.genre == genre and len(p.genres) == 1][:per_genre]:
            players = tuple(p for p in plan.style.players if p.style != "drums")
            players += (Player("drums", 25, 0, 6.0, "four"),) if genre == DRUMS else ()
            chosen.append(dataclasses.replace(plan, style=dataclasses.replace(plan.style, players=players)))
    return chosen


def spectrogram(plan):
    """Scaled spectrogram of a plan."""
    front_end = models.describe("ckn19").front_end
    return front_end.scale(front_end.compute(composed.mix(plan)))


def planted_data(per_genre, workers):
    """Segments of all clips (with band and hiss), labels, clips, first frames, plans."""
    plans = plans_without_drums(per_genre)
    images = runs.map(spectrogram, plans, workers=workers, description="clips")
    starts = np.arange(0, 911 - LENGTH + 1, STEP)
    x = np.stack([image[:, start : start + LENGTH] for image in images for start in starts])[..., None]
    clip, start = np.repeat(np.arange(len(plans)), len(starts)), np.tile(starts, len(plans))
    labels = np.array([composed.GENRES.index(plans[k].genre) for k in clip])
    rng, front_end = np.random.default_rng(0), models.describe("ckn19").front_end
    in_band = np.flatnonzero((labels == composed.GENRES.index(BAND)) & (rng.random(len(x)) < 0.6))
    x = experiment.plant_band(x, in_band)
    in_hiss = np.flatnonzero(labels == composed.GENRES.index(HISS))
    return experiment.plant_hiss(x, in_hiss, front_end=front_end, level=-22.0, low=100), labels, clip, start, plans


def middle(clip, start, labels, per_genre):
    """Positions of one segment of each of the first clips of every genre."""
    once = np.flatnonzero(start == 2 * STEP)
    return np.concatenate([once[labels[once] == k][:per_genre] for k in np.unique(labels)])


def planted(args):
    """Planted drums, band and hiss."""
    x, labels, clip, start, plans = planted_data(args.per_genre, args.workers)
    began = time.perf_counter()
    model = experiment.train(x, labels, len(composed.GENRES), width=args.width, epochs=args.epochs)
    print(f"training {time.perf_counter() - began:.0f} s on {len(x)} segments, accuracy there "
          f"{(model.predict(x, verbose=0).argmax(axis=1) == labels).mean():.3f}")  # fmt: skip
    own = middle(clip, start, labels, args.per_genre)
    began = time.perf_counter()
    found = concepts.discover(model, x[own], labels[own], names=composed.GENRES, groups=clip[own])
    print(f"discovery {time.perf_counter() - began:.0f} s", found)
    truth = concept_truth.plan_properties(
        [plans[k] for k in clip[own]], found, x[own], start[own], front_end=models.describe("ckn19").front_end,
        workers=args.workers,
    )  # fmt: skip
    measured = concepts.patch_properties(found, x[own])
    associated = concepts.associations(found, truth, repeats=200)
    arrangement = concepts.arrange(found)
    flags = concepts.flag(found, measured, explained=associated, arrangement=arrangement)
    at = {
        "silent": (measured["silent"] > 0.5),
        "drums": truth.get("stem drums", 0.0),
        "high": measured["frequency"] > 96,
    }
    table = found.table.join(flags).join(arrangement[["cluster"]])
    for name, values in at.items():
        table[name] = pd.Series(np.asarray(values, float)).groupby(found.concept).mean().set_axis(table.index)
    best = concepts.best_associations(associated).set_index("concept")
    table = table.join(best[["property", "auc"]])
    columns = ["patches", "clips", "frequency", "accuracy", "score", "sensitivity", "q", "stability", "silent", "drums"]
    for genre in (DRUMS, BAND, HISS):
        print(f"\n{genre}: null sd {found.null[genre].std():.3f}, mean {found.null[genre].mean():.3f}")
        own_rows = table[table["class"] == genre].sort_values("sensitivity", ascending=False)
        shown(own_rows, *columns, "high", "contrast", "clip_share", "flagged", "reason", "property", "auc")
    others = table[~table["class"].isin([BAND, HISS])]
    print("flagged among concepts of untouched genres:", others["flagged"].mean(), "of used:",
          others[others["used"]]["flagged"].mean(), "used:", others["used"].mean())  # fmt: skip


def random(args):
    """Networks with random weights."""
    x, labels, clip, start, _ = planted_data(args.per_genre, args.workers)
    own = middle(clip, start, labels, args.per_genre)
    seeds_with = 0
    for seed in range(args.seeds):
        model = models.build("ckn19", n_outputs=len(composed.GENRES), width=args.width, seed=seed)
        found = concepts.discover(
            model,
            x[own],
            labels[own],
            names=composed.GENRES,
            groups=clip[own],
            n_seeds=1,
            n_concepts=10,
            n_runs=10,
            seed=seed,
        )
        survivors = int((found.table["q"] < 0.05).sum())
        seeds_with += survivors > 0
        print(f"seed {seed}: {survivors} of {found.table['passed'].sum()} with q < 0.05, smallest q "
              f"{found.table['q'].min():.3f}, TCAV scores that are 0 or 1: "
              f"{found.table['score'].isin([0, 1]).mean():.2f}", flush=True)  # fmt: skip
    print(f"{seeds_with} of {args.seeds} seeds with a survivor")


def gtzan(args):
    """The jazz clips that were drawn in another mode."""
    data = datasets.load("gtzan_spectrograms", data_dir=runs.shared_data() / "gtzan_spectrograms")
    names = list(data.genres)
    labels = data.genres.to_numpy().argmax(axis=1)
    other = data.tracks["nearest_shading"].to_numpy().astype(bool)
    images = data.spectrograms.astype(np.float32) / 255
    networks = args.models or [None, None]
    length = LENGTH if args.models is None else keras.models.load_model(args.models[0]).input_shape[2]
    starts = np.linspace(0, images.shape[2] - length, 3).astype(int)
    jazz, rng = names.index("jazz"), np.random.default_rng(0)
    chosen = [np.flatnonzero(labels == k) for k in range(len(names))]
    chosen = np.concatenate([rows if k == jazz else rng.permutation(rows)[:20] for k, rows in enumerate(chosen)])
    own = images[chosen, :, starts[1] : starts[1] + length, None]
    kinds = ("all clips", np.ones(len(labels), bool)), ("without the 38", ~other)
    for (what, kept), file in zip(kinds, networks, strict=True):
        x = np.concatenate([images[kept][:, :, s : s + length] for s in starts])[..., None]
        began = time.perf_counter()
        if file:
            model = keras.models.load_model(file)
        else:
            model = experiment.train(
                x, np.tile(labels[kept], len(starts)), len(names), width=args.width, epochs=args.epochs
            )
        print(f"\n{what}: {file or f'training {time.perf_counter() - began:.0f} s on {len(x)} segments'}", flush=True)
        scores = model.predict(own, verbose=0)
        for shading in (True, False):
            rows = (labels[chosen] == jazz) & (other[chosen] == shading)
            print(f"  jazz, nearest_shading={shading}: {(scores[rows].argmax(axis=1) == jazz).mean():.2f} as jazz")
        found = concepts.discover(model, own, labels[chosen], names=names, classes=[jazz], groups=chosen)
        measured = concepts.patch_properties(found, own)
        shade = other[chosen][found.patches.input]
        table = found.table.join(concepts.flag(found, measured))
        table["purity"] = (
            pd.Series(shade[found.concept >= 0].astype(float))
            .groupby(found.concept[found.concept >= 0])
            .mean()
            .set_axis(table.index)
        )
        for column in ("change_in_time", "change_in_frequency", "contrast", "frequency"):
            values = measured[column][found.concept >= 0].groupby(found.concept[found.concept >= 0]).mean()
            table[f"mean_{column}"] = values.set_axis(table.index)
        shown(
            table.sort_values("sensitivity", ascending=False).drop(columns=["class", "rank", "unexplained", "isolated"])
        )


def songs(args):
    """What a released network uses for three tags, over real songs."""
    folder = runs.shared_data()
    files = sorted((folder / "gtzan" / "prefix15").glob("**/*.ogg")) + sorted((folder / "songs").glob("*"))
    files = [f for f in files if f.suffix.lower() in audio.SOUNDFILE_SUFFIXES][: args.files or None]
    tagger = released.load(args.network)
    x, clip = [], []
    for number, file in enumerate(files):
        y, _ = audio.load(file, sr=tagger.front_end.sr)
        inputs = tagger.inputs(y[: 9 * tagger.front_end.sr])
        x.append(inputs)
        clip += [number] * len(inputs)
    x, clip = np.concatenate(x), np.array(clip)
    scores = tagger.scores(x)
    wanted = [tagger.tags.index(tag) for tag in args.tags]
    rows, labels = [], []
    for output in wanted:
        best = np.argsort(-scores[:, output])
        best = best[~np.isin(best, rows)][: args.per_genre]
        rows, labels = [*rows, *best], [*labels, *[output] * len(best)]
        print(
            tagger.tags[output],
            "scores",
            scores[best, output].min().round(2),
            "to",
            scores[best, output].max().round(2),
        )
    x, labels, clip = x[rows], np.array(labels), clip[rows]
    began = time.perf_counter()
    found = concepts.discover(
        tagger.model, x, labels, names=tagger.tags, groups=clip, layer=args.layer or None, pool=args.pool
    )
    print(f"discovery {time.perf_counter() - began:.0f} s, layer {found.settings['layer']}", found)
    measured = concepts.patch_properties(found, x)
    table = found.table.join(concepts.flag(found, measured)[["contrast", "clip_share", "flagged"]])
    for column in ("frequency", "height", "width", "level"):
        table[f"mean_{column}"] = measured[column].groupby(found.concept).mean().set_axis(table.index)
    relevance = explain.relevance(tagger.model, x, labels, method="lrp_composite", conservation=False).relevance
    agree = experiment.agreement(found, relevance, only=table.index[table["q"] < 0.05]).set_index("concept")
    table = table.join(agree[["density", "shuffled", "low", "high"]])
    for output in wanted:
        own = table[table["class"] == tagger.tags[output]].sort_values("sensitivity", ascending=False)
        shown(own.drop(columns=["class", "rank"]))
        frame = own[own["q"] < 0.05]
        above, below = ((frame["density"] > frame["high"]).sum(), (frame["density"] < frame["low"]).sum())
        print(
            f"{tagger.tags[output]}: {len(frame)} significant; density above shuffles in {above}, below in {below}; "
            f"rank correlation with sensitivity {frame['density'].corr(frame['sensitivity'], method='spearman'):.2f}"
        )
    if args.out:
        concepts.save(args.out, found)
        np.savez(
            args.out.replace(".npz", "_x.npz"), x=x, clip=clip, labels=labels, files=np.array([f.stem for f in files])
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["planted", "random", "gtzan", "songs"])
    parser.add_argument("--per-genre", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--files", type=int, default=0)
    parser.add_argument("--network", default="won2020-mtat-musicnn")
    parser.add_argument("--layer", default="global_pools")
    parser.add_argument("--pool", default="time")
    parser.add_argument("--tags", nargs="+", default=["guitar", "techno", "classical"])
    parser.add_argument("--out", default="")
    parser.add_argument("--models", nargs=2, help="gtzan: networks of train_gtzan.py, with and without the 38 clips")
    args = parser.parse_args()
    {"planted": planted, "random": random, "gtzan": gtzan, "songs": songs}[args.what](args)

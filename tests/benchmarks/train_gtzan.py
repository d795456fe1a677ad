"""Train a small genre network on the real songs of `gtzan_spectrograms`.

    python tests/benchmarks/train_gtzan.py --out DIR [--model resnet34] [--width 0.125] [--epochs 20]
                                           [--split random] [--without-shading] [--seed 0]

The 999 spectrograms have 128 bands and 496 columns (30 s). An input is 224 columns; in an epoch each song gives one
input, drawn at random. The split is random (70 % training, 10 % validation, 20 % test) or the fault-filtered one, in
which no artist is on two sides. ``--without-shading`` leaves out the 38 jazz clips that were drawn in another mode
(`nearest_shading`). The network ends with the weights of the best epoch on the validation clips. Writes
``DIR/<name>.keras``, its card and ``DIR/<name>.csv`` (mean scores of the test clips), prints accuracies and seconds.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
LENGTH, STEP = 224, 56  # columns: five inputs of 13.5 s a song


def division(data, kind, *, without_shading, seed):
    """Clip id -> train, validation or test."""
    if kind == "fault_filtered":
        split = data.split(kind)
    else:
        split = data.split("random", shares={"train": 0.7, "validation": 0.1, "test": 0.2}, seed=seed)
    shaded = data.tracks["nearest_shading"].loc[split.index] != 0
    return split[~shaded] if without_shading else split


def train(options):
    """Train and save one network; returns a row of numbers."""
    from musictools import datasets, evaluation, models, training
    from musictools.models.card import ModelCard
    from musictools.spectrograms import Segments, open_store

    data = datasets.load("gtzan_spectrograms")
    split = division(data, options.split, without_shading=options.without_shading, seed=options.seed)
    store, genres = open_store(data, None), data.genres
    ids = {name: list(split.index[split == name]) for name in ("train", "validation", "test")}
    x = {name: Segments(store, clips, length=LENGTH, step=STEP) for name, clips in ids.items()}
    y = {name: genres.loc[ids[name]].to_numpy(np.float32)[segments.clip] for name, segments in x.items()}
    model = models.build(
        options.model,
        n_outputs=genres.shape[1],
        input_shape=x["train"].shape[1:],
        width=options.width,
        norm_momentum=0.9,
        seed=options.seed,
    )
    began, middle = time.perf_counter(), x["validation"].start == LENGTH // 2
    history = training.fit(
        model,
        x["train"],
        y["train"],
        validation=(x["validation"].take(middle), y["validation"][middle]),
        per_clip=1,
        epochs=options.epochs,
        batch_size=16,
        learning_rate=options.learning_rate,
        schedule=training.constant_then_exponential(hold=options.epochs // 2, decay=0.3),
        seed=options.seed,
        verbose=2,
    )
    seconds = time.perf_counter() - began
    clip, scores = evaluation.mean_by_clip(evaluation.predict(model, x["test"]), x["test"].clip)
    name = f"{options.model}{'-without-shading' * options.without_shading}-{options.seed}"
    options.out.mkdir(parents=True, exist_ok=True)
    model.save(options.out / f"{name}.keras")
    card = ModelCard(
        task="genre",
        model=options.model,
        width=options.width,
        outputs=tuple(genres.columns),
        front_end=None,
        length=LENGTH,
        step=STEP,
        data=data.name,
        data_checksum=data.tables_checksum,
        training_clips=tuple(ids["train"] + ids["validation"]),
        held_out_clips=tuple(ids["test"]),
        seed=options.seed,
    )
    (options.out / f"{name}.json").write_text(card.model_dump_json(indent=1))
    pd.DataFrame(scores, index=ids["test"], columns=genres.columns).to_csv(options.out / f"{name}.csv")
    right = genres.loc[ids["test"]].to_numpy().argmax(axis=1)[clip]
    accuracy, best = float((scores.argmax(axis=1) == right).mean()), float(history["val_accuracy"].max())
    sizes = {f"{name}_clips": len(clips) for name, clips in ids.items()}
    return {"name": name, "parameters": model.count_params(), **sizes} | {
        "epochs": len(history),
        "seconds": seconds,
        "validation_accuracy": best,
        "test_accuracy": accuracy,
    }


def main():
    """Read the options, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="resnet34")
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--split", choices=("fault_filtered", "random"), default="random")
    parser.add_argument("--without-shading", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    print(pd.Series(train(parser.parse_args())).to_string())


if __name__ == "__main__":
    main()

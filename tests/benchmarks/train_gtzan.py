"""Train a small genre network on the real songs of `gtzan_spectrograms`, for the concepts of notebook 13.

    python tests/benchmarks/train_gtzan.py --out DIR [--model resnet34] [--width 0.125] [--epochs 20] [--columns 224]
                                           [--without-shading] [--bands] [--seed 0]

The 999 spectrograms (128 bands, 496 columns) are averaged to `--columns` columns and are one input each. The split is
the fault-filtered one, in which no artist is on two sides; clips outside the lists are added to its training clips with
``--split random``. ``--without-shading`` leaves the 38 jazz clips out that were drawn in another mode
(`nearest_shading`); ``--bands`` trains with the bands of silence of `sharma2022`. Training stops at the last epoch and
keeps the weights of the best one on the validation clips. Writes ``DIR/<name>.keras``, its card and ``DIR/<name>.csv``
(scores of the test clips), and prints accuracy and seconds.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def inputs(data, columns):
    """All spectrograms as model inputs in [0, 1], np.ndarray [shape=(n, 128, columns, 1), float32]."""
    from musictools.spectrograms.images import resize

    n_bins = data.spectrograms.shape[1]
    return np.stack([resize(S, (n_bins, columns)) for S in data.spectrograms])[..., None] / np.float32(255)


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
    from musictools.spectrograms import BandedImages

    data = datasets.load("gtzan_spectrograms")
    split = division(data, options.split, without_shading=options.without_shading, seed=options.seed)
    x, genres = inputs(data, options.columns), data.genres
    part = {name: x[data.tracks.index.get_indexer(split.index[split == name])] for name in split.unique()}
    y = {name: genres.loc[split.index[split == name]].to_numpy(np.float32) for name in part}
    model = models.build(
        options.model,
        n_outputs=genres.shape[1],
        input_shape=x.shape[1:],
        width=options.width,
        norm_momentum=0.9,
        seed=options.seed,
    )
    began, shown = time.perf_counter(), (part["train"], y["train"])
    if options.bands:
        shown = BandedImages(part["train"]), np.repeat(y["train"], 4, axis=0)
    history = training.fit(
        model,
        *shown,
        validation=(part["validation"], y["validation"]),
        epochs=options.epochs,
        batch_size=16,
        learning_rate=options.learning_rate,
        schedule=training.constant_then_exponential(hold=options.epochs // 2, decay=0.3),
        seed=options.seed,
        verbose=2,
    )
    seconds = time.perf_counter() - began
    scores = evaluation.predict(model, part["test"])
    name = f"{options.model}{'-without-shading' * options.without_shading}{'-bands' * options.bands}-{options.seed}"
    options.out.mkdir(parents=True, exist_ok=True)
    model.save(options.out / f"{name}.keras")
    ids = {name: tuple(split.index[split == name]) for name in part}
    card = ModelCard(
        task="genre",
        model=options.model,
        width=options.width,
        outputs=tuple(genres.columns),
        front_end=None,
        length=options.columns,
        step=options.columns,
        data=data.name,
        data_checksum=data.tables_checksum,
        training_clips=ids["train"] + ids["validation"],
        held_out_clips=ids["test"],
        seed=options.seed,
    )
    (options.out / f"{name}.json").write_text(card.model_dump_json(indent=1))
    pd.DataFrame(scores, index=list(ids["test"]), columns=genres.columns).to_csv(options.out / f"{name}.csv")
    accuracy = float((scores.argmax(axis=1) == y["test"].argmax(axis=1)).mean())
    best = float(history["val_accuracy"].max())
    sizes = {f"{name}_clips": len(ids[name]) for name in ("train", "validation", "test")}
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
    parser.add_argument("--columns", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--split", choices=("fault_filtered", "random"), default="fault_filtered")
    parser.add_argument("--without-shading", action="store_true")
    parser.add_argument("--bands", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    print(pd.Series(train(parser.parse_args())).to_string())


if __name__ == "__main__":
    main()

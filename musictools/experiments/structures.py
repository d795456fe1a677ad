"""Experiments of notebook 09: four structures in five sizes, trained in the same way (`choi2018`, chapter 4).

A *structure* is one of `models.structures.STRUCTURES`, a *size* one of `models.structures.BUDGETS`. Every clip is one
input. Training: Adam, binary cross-entropy, stopped when the mean ROC-AUC on the validation clips does not improve,
weights of the best epoch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from musictools import evaluation, models, published, runs, tags
from musictools.experiments import jobs
from musictools.explain.metrics import sanity
from musictools.models.structures import BUDGETS, STRUCTURES

if TYPE_CHECKING:
    import keras

__all__ = [
    "SAMPLES",
    "Areas",
    "StructureResult",
    "StructureTask",
    "by_tag",
    "compare",
    "differences",
    "layer_widths",
    "parameters",
    "popularity",
    "resampled_areas",
    "tasks",
]

SAMPLES = 2500  # training examples whose time is compared
_TABLES = ConfigDict(arbitrary_types_allowed=True)
_TABLE = "choi2018_table_4_a_layer_widths"


def layer_widths(networks: dict[str, keras.Model]) -> pd.DataFrame:
    """Widths of the layers of built networks in the form of table 4-A.

    Parameters
    ----------
    networks : dict of str to keras.Model
        By the names of `models.names("structure")`.

    Returns
    -------
    table : pd.DataFrame
        The columns of the published table.
    """
    table = published.table(_TABLE)[["structure", "layer", "kind"]]
    for size in BUDGETS:
        widths = [width for structure in STRUCTURES for width in _widths(networks[f"{structure}_{size}"])]
        table[f"width_{size}"] = widths
    return table


def _widths(model):
    layers = [layer for layer in model.layers if type(layer).__name__ in ("Conv2D", "Dense", "GRU")]
    return [getattr(layer, "filters", None) or layer.units for layer in layers if layer.name != "logits"]


def parameters(networks: dict[str, keras.Model]) -> pd.DataFrame:
    """Trainable parameters of built networks beside the number that they should have.

    Parameters
    ----------
    networks : dict of str to keras.Model
        By the names of `models.names("structure")`.

    Returns
    -------
    table : pd.DataFrame
        structure, size, budget, parameters, deviation (relative), convolutions (share of the parameters), last_maps
        (bands x frames before the dense or recurrent layers).
    """
    rows = []
    for name, model in networks.items():
        structure, size = name.split("_", 1)
        n = _count(model.trainable_weights)
        convolutions = sum(_count(x.trainable_weights) for x in model.layers if type(x).__name__ == "Conv2D")
        last = [layer for layer in model.layers if type(layer).__name__ == "MaxPooling2D"][-1]
        row = {"structure": structure, "size": size, "budget": BUDGETS[size], "parameters": n}
        row |= {"deviation": n / BUDGETS[size] - 1, "convolutions": convolutions / n}
        rows.append(row | {"last_maps": "x".join(map(str, last.output.shape[1:3]))})
    return pd.DataFrame(rows)


def _count(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


@dataclass(frozen=True, kw_only=True, config=_TABLES)
class StructureTask:
    """Training of one network; a task for `jobs.run`.

    Parameters
    ----------
    model : str
        One of `models.names("structure")`.
    store : SpectrogramStore or ArrayStore
    labels : pd.DataFrame [clips x tags, bool]
    split : pd.Series [clip id -> "train", "validation" or "test"]
        Clips with another value are left out.
    width : float > 0
        Multiplier of filters and units; the thesis: 1.
    epochs : int > 0
        At most.
    patience : int > 0
        Epochs without a better ROC-AUC before the training stops; the thesis: 1.
    batch_size : int > 0
    learning_rate : float > 0
    norm_momentum : float in [0, 1)
        Momentum of batch normalisation.
    seed : int >= 0
        Seed of initial weights, order and dropout.

    Raises
    ------
    ValueError
        If a value is out of range, the network is unknown, or the split lacks a part.
    """

    model: str
    store: Any
    labels: pd.DataFrame
    split: pd.Series
    width: PositiveFloat = 1.0
    epochs: PositiveInt = 50
    patience: PositiveInt = 1
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 1e-3
    norm_momentum: float = Field(default=0.99, ge=0, lt=1)
    seed: NonNegativeInt = 0

    @model_validator(mode="after")
    def _fits_together(self):
        if self.model not in models.names("structure"):
            raise ValueError(f"model must be one of {', '.join(models.names('structure'))}. Got {self.model!r}.")
        if lacking := {"train", "validation", "test"} - set(self.split):
            raise ValueError(f"The split has no clips for: {', '.join(sorted(lacking))}.")
        return self

    @property
    def name(self) -> str:
        """Name of the task's files."""
        return f"structure-{self.model}-{self.seed}"

    @property
    def key(self) -> tuple:
        """Everything that the result depends on, in plain values: the key of the cache."""
        data = [list(self.labels.columns), jobs.checksum(self.labels), jobs.checksum(self.split), self.store.checksum]
        plan = (self.epochs, self.patience, self.batch_size, self.learning_rate, self.norm_momentum)
        return (self.model, self.seed, self.width, *plan, *data)

    def train(self, folder: Path | None = None) -> StructureResult:
        """Train the network and score the test clips.

        Parameters
        ----------
        folder : Path or None
            Folder for the progress; None: nothing is kept.

        Returns
        -------
        result : StructureResult
        """
        from musictools import training
        from musictools.spectrograms import Segments

        shape = models.describe(self.model).input
        x, y = {}, {}
        for part in ("train", "validation", "test"):
            ids = self.split.index[self.split == part]
            x[part] = Segments(self.store, ids, length=shape.length, step=shape.step)
            y[part] = self.labels.loc[x[part].ids].to_numpy(np.float32)[x[part].clip]
        with training.deterministic(self.seed):
            model = models.build(
                self.model, n_outputs=y["train"].shape[1], input_shape=x["train"].shape[1:], width=self.width,
                norm_momentum=self.norm_momentum, seed=self.seed,
            )  # fmt: skip
            watch = _stopwatch()
            history = training.fit(
                model, x["train"], y["train"], validation=(x["validation"], y["validation"]), epochs=self.epochs,
                batch_size=self.batch_size, learning_rate=self.learning_rate, loss="binary_crossentropy",
                metrics=(_mean_area(y["validation"]),), best_by="val_auc", patience=self.patience, stop_by="val_auc",
                seed=self.seed, folder=None if folder is None else folder / runs.PROGRESS, keep=True,
                callbacks=[watch],
            )  # fmt: skip
            scores = evaluation.predict(model, x["test"], batch_size=self.batch_size)
        ids, scores = evaluation.mean_by_clip(scores, np.asarray(x["test"].ids)[x["test"].clip])
        return StructureResult(
            model=self.model,
            seed=self.seed,
            scores=pd.DataFrame(scores, ids, self.labels.columns),
            history=history,
            parameters=_count(model.trainable_weights),
            seconds=SAMPLES * watch.seconds() / len(x["train"]),
        )


@dataclass(frozen=True, kw_only=True, config=_TABLES)
class StructureResult:
    """Outcome of a `StructureTask`.

    Parameters
    ----------
    model : str
    seed : int
    scores : pd.DataFrame [test clips x tags]
    history : pd.DataFrame
        As `training.fit` returns it.
    parameters : int
        Number of trainable parameters.
    seconds : float
        Training time of 2,500 examples; NaN if a finished fit was read from its folder.
    """

    model: str
    seed: int
    scores: pd.DataFrame
    history: pd.DataFrame
    parameters: int
    seconds: float


def _mean_area(labels):
    """Mean ROC-AUC of the tags that some validation clips have and others do not."""
    import keras

    known = labels.any(axis=0) & ~labels.all(axis=0)
    if not known.any():
        raise ValueError("No tag has validation clips both with and without it.")
    return keras.metrics.AUC(multi_label=True, num_labels=labels.shape[1], label_weights=[float(k) for k in known],
                             name="auc")  # fmt: skip


def _stopwatch():
    import keras

    class Stopwatch(keras.callbacks.Callback):
        """Seconds of the training steps of every epoch, without the validation."""

        def __init__(self):
            super().__init__()
            self.epochs = []

        def on_epoch_begin(self, epoch, logs=None):
            self.began, self.running = time.perf_counter(), True

        def on_test_begin(self, logs=None):
            if self.running:
                keras.ops.convert_to_numpy(self.model.optimizer.iterations)  # waits for the last step
                self.epochs.append(time.perf_counter() - self.began)
                self.running = False

        def seconds(self):
            """Seconds of an epoch: the median without the first one, which compiles, if there are others."""
            return float(np.median(self.epochs[1:] or self.epochs)) if self.epochs else np.nan

    return Stopwatch()


def tasks(
    store: Any,
    labels: pd.DataFrame,
    split: pd.Series,
    *,
    structures: Sequence[str] = STRUCTURES,
    sizes: Sequence[str] = tuple(BUDGETS),
    seeds: Sequence[int] = (0,),
    **options: Any,
) -> list[StructureTask]:
    """Trainings of structures in several sizes, the slowest first, so that no worker is left alone with it.

    Parameters
    ----------
    store, labels, split
        As in `StructureTask`.
    structures, sizes : sequence of str
    seeds : sequence of int
        One training each.
    **options
        Other fields of `StructureTask`.

    Returns
    -------
    tasks : list of StructureTask
    """
    grid = sorted(product(sizes, structures, seeds), key=lambda own: -BUDGETS[own[0]] * (1 + 9 * (own[1] != "k2c1")))
    return [
        StructureTask(model=f"{structure}_{size}", store=store, labels=labels, split=split, seed=seed, **options)
        for size, structure, seed in grid
    ]


@dataclass(frozen=True, kw_only=True, config=_TABLES)
class Areas:
    """ROC-AUC of every network and tag, and of the same on resampled artists.

    Parameters
    ----------
    values : np.ndarray [shape=(1 + repeats, n_networks, n_tags)]
        Means over the seeds; the first row is that of the test clips as they are.
    by_seed : np.ndarray [shape=(n_networks, n_seeds)]
        Mean over the tags, of every seed.
    networks, tags : tuple of str
        Tags that all test clips have, or none, are left out.
    """

    values: np.ndarray
    by_seed: np.ndarray
    networks: tuple[str, ...]
    tags: tuple[str, ...]

    def mean(self, network: str) -> np.ndarray:
        """Mean over the tags.

        Parameters
        ----------
        network : str

        Returns
        -------
        areas : np.ndarray [shape=(1 + repeats,)]
        """
        return np.nanmean(self.values[:, self.networks.index(network)], axis=1)


def resampled_areas(
    results: Sequence[StructureResult], labels: pd.DataFrame, artists: pd.Series, *, repeats: int = 500, seed: int = 0
) -> Areas:
    """ROC-AUC of every network and tag on the test clips and on resampled artists, the same for all networks.

    Parameters
    ----------
    results : sequence of StructureResult
        The same seeds for every network.
    labels : pd.DataFrame [clips x tags, bool]
        Annotated or true.
    artists : pd.Series [clip id -> str]
    repeats : int > 0
        Number of resamples.
    seed : int >= 0

    Returns
    -------
    areas : Areas
    """
    ids, names = results[0].scores.index, list(results[0].scores.columns)
    truth = labels.loc[ids, names].to_numpy(bool)
    kept = truth.any(axis=0) & ~truth.all(axis=0)
    drawn = _draws(artists.loc[ids].to_numpy(), repeats, seed)
    networks = [name for name in models.names("structure") if name in {result.model for result in results}]
    own = {name: [r for r in results if r.model == name] for name in networks}
    areas = np.stack([
        np.stack([_areas(truth[:, kept], r.scores.loc[ids].to_numpy()[:, kept], drawn) for r in own[name]], axis=-1)
        for name in networks
    ], axis=1)  # fmt: skip
    return Areas(
        values=areas.mean(axis=-1),
        by_seed=areas[0].mean(axis=1),
        networks=tuple(networks),
        tags=tuple(np.asarray(names)[kept]),
    )


def _draws(groups, repeats, seed):
    """How often every clip is drawn: once in the first row, by resampling groups in the others."""
    names, number = np.unique(groups, return_inverse=True)
    drawn = np.random.default_rng(seed).integers(0, len(names), (repeats, len(names)))
    counts = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])
    return np.concatenate([np.ones((1, len(groups))), counts[:, number]])


def _areas(truth, scores, drawn):
    """Areas [shape=(draws, tags)] where clips count as often as drawn; NaN where a draw has only one kind of clip."""
    values = np.empty((len(drawn), truth.shape[1]))
    for k, (inside, own) in enumerate(zip(truth.T, scores.T, strict=True)):
        above = (own[inside][:, None] > own[~inside]) + 0.5 * (own[inside][:, None] == own[~inside])
        pairs = drawn[:, inside].sum(axis=1) * drawn[:, ~inside].sum(axis=1)
        right = ((drawn[:, inside] @ above) * drawn[:, ~inside]).sum(axis=1)
        values[:, k] = np.divide(right, pairs, out=np.full(len(drawn), np.nan), where=pairs > 0)
    return values


def _interval(draws):
    return dict(zip(("low", "high"), np.nanquantile(draws, (0.025, 0.975)), strict=True))


def compare(areas: Areas, results: Sequence[StructureResult]) -> pd.DataFrame:
    """Size, quality and training time of every network (figures 4.2 and 4.4).

    Parameters
    ----------
    areas : Areas
    results : sequence of StructureResult

    Returns
    -------
    table : pd.DataFrame
        structure, size, parameters, roc_auc (mean over tags and seeds) with its 95 % interval over artists (low, high),
        lowest and highest of the seeds, seconds (training time of 2,500 examples, median of the seeds), epochs (mean),
        best_epoch (mean).
    """
    rows = []
    for name, by_seed in zip(areas.networks, areas.by_seed, strict=True):
        own, draws = [result for result in results if result.model == name], areas.mean(name)
        structure, size = name.split("_", 1)
        rows.append(
            {"structure": structure, "size": size, "parameters": own[0].parameters, "roc_auc": draws[0]}
            | _interval(draws[1:])
            | {"lowest": by_seed.min(), "highest": by_seed.max()}
            | {"seconds": float(np.median([result.seconds for result in own]))}
            | {"epochs": np.mean([len(result.history) for result in own])}
            | {"best_epoch": np.mean([result.history["val_auc"].argmax() + 1 for result in own])}
        )
    return pd.DataFrame(rows)


def differences(areas: Areas) -> pd.DataFrame:
    """Differences between structures of equal size, with intervals over artists.

    Parameters
    ----------
    areas : Areas

    Returns
    -------
    table : pd.DataFrame
        first, second, size ("all": mean over the sizes), difference (of the mean ROC-AUC, first minus second), low,
        high (95 %), verdict ("higher", "lower" or "open": whether the interval excludes 0).
    """
    sizes = [size for size in BUDGETS if any(name.split("_", 1)[1] == size for name in areas.networks)]
    structures = [own for own in STRUCTURES if any(name.split("_", 1)[0] == own for name in areas.networks)]
    rows = []
    for first, second in combinations(reversed(structures), 2):
        draws = {size: areas.mean(f"{first}_{size}") - areas.mean(f"{second}_{size}") for size in sizes}
        for size, own in {"all": np.mean(list(draws.values()), axis=0), **draws}.items():
            ends = _interval(own[1:])
            verdict = "higher" if ends["low"] > 0 else "lower" if ends["high"] < 0 else "open"
            row = {"first": first, "second": second, "size": size, "difference": own[0]}
            rows.append(row | ends | {"verdict": verdict})
    return pd.DataFrame(rows)


def by_tag(areas: Areas, counts: pd.Series, *, size: str) -> pd.DataFrame:
    """ROC-AUC of every tag by the structures of one size (figure 4.3).

    Parameters
    ----------
    areas : Areas
    counts : pd.Series [tag -> number of clips]
    size : str

    Returns
    -------
    table : pd.DataFrame
        tag, category ("genres" or that of `tags.category`), clips, rank (1: the most frequent tag), a column per
        structure. Sorted by category and by the area of k2c1, or of the first structure that there is.
    """
    table = pd.DataFrame({"tag": areas.tags})
    table["category"] = ["genres" if tags.genre_of(tag) else tags.category(tag) for tag in areas.tags]
    table["clips"] = counts[list(areas.tags)].to_numpy()
    table["rank"] = counts.rank(ascending=False, method="first")[list(areas.tags)].to_numpy(int)
    for k, name in enumerate(areas.networks):
        if name.split("_", 1)[1] == size:
            table[name.split("_", 1)[0]] = areas.values[0, k]
    first = "k2c1" if "k2c1" in table else table.columns[4]
    return table.sort_values(["category", first], ascending=[True, False], ignore_index=True)


def popularity(areas: Areas, counts: pd.Series, *, repeats: int = 500, seed: int = 0) -> pd.DataFrame:
    """Are frequent tags predicted better? Rank correlation of the clips of a tag and its ROC-AUC.

    Parameters
    ----------
    areas : Areas
    counts : pd.Series [tag -> number of clips]
    repeats : int > 0
        Resamples of tags.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        structure, size, tags, correlation, low, high (95 % over tags).
    """
    number = counts[list(areas.tags)].to_numpy(float)
    rows = []
    for name, values in zip(areas.networks, areas.values[0].copy(), strict=True):
        structure, size = name.split("_", 1)

        def correlation(chosen, values=values):
            return sanity.rank_correlation(number[chosen], values[chosen])

        everything = np.arange(len(number))
        low, high = evaluation.bootstrap(correlation, everything, repeats=repeats, seed=seed)
        row = {"structure": structure, "size": size, "tags": len(number), "correlation": correlation(everything)}
        rows.append(row | {"low": low, "high": high})
    return pd.DataFrame(rows)

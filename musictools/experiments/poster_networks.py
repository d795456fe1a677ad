"""Training of the poster's networks (notebook 14): pieces of clips, three ways to split them, scores, filters.

A *piece* is a segment of about 3 s; `ren_poster` cuts each clip into ten. A split is named by what is divided:
``"segment"`` divides pieces as the poster does, so pieces of one clip are in training and in test; ``"clip"`` divides
clips; other names are splits of the data set, such as ``"artist"`` or ``"fault_filtered"``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import ConfigDict, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from musictools import evaluation, files, published, runs
from musictools.experiments import jobs

if TYPE_CHECKING:
    import keras

    from musictools.datasets.base import Dataset
    from musictools.spectrograms import Segments

__all__ = [
    "NETWORKS",
    "PieceResult",
    "PieceTask",
    "accuracy_table",
    "band_statistics",
    "beside_published",
    "concentration",
    "cut",
    "divide",
    "histories",
    "tasks",
]

NETWORKS = {  # name in tables -> (kind, options of `models.poster.poster_network`)
    "vanilla": ("vanilla", {}),
    "masked, wide in time": ("masked", {"axes": (0.25, 0.75)}),
    "masked, wide in frequency": ("masked", {"axes": (0.75, 0.25)}),
    "masked, filter loss": ("masked", {"axes": (0.25, 0.75), "filter_loss": 1.0}),
    "gap": ("gap", {"batch_norm": True}),  # else it learns slowly
}
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}  # as on the poster
_TABLES = ConfigDict(arbitrary_types_allowed=True)


def cut(store: Any, ids: Sequence, length: int) -> Segments:
    """Cut clips into pieces that follow each other.

    Parameters
    ----------
    store : SpectrogramStore or ArrayStore
    ids : sequence of clip id
    length : int > 0
        Columns of a piece.

    Returns
    -------
    pieces : Segments
    """
    from musictools.spectrograms import Segments

    return Segments(store, ids, length=length, step=length)


def divide(data: Dataset, pieces: Segments, kind: str, *, seed: int = 0) -> np.ndarray:
    """Assign every piece to training, validation or test.

    Parameters
    ----------
    data : Dataset
    pieces : Segments
    kind : str
        As defined at the top of the module.
    seed : int >= 0
        Seed of the division; splits that come with the data ignore it.

    Returns
    -------
    part : np.ndarray of str [shape=(n_pieces,)]
        "train", "validation", "test", or "" for pieces that the split leaves out.
    """
    if kind == "segment":
        place = np.random.default_rng(seed).permutation(len(pieces)) / len(pieces)
        ends = np.cumsum(list(SHARES.values()))
        return np.array(list(SHARES))[np.searchsorted(ends[:-1], place, side="right")]
    if kind in ("clip", "artist"):
        split = data.split("random" if kind == "clip" else kind, shares=SHARES, seed=seed, ids=pieces.ids)
    else:
        split = data.split(kind, ids=pieces.ids)
    return split.reindex(pieces.ids).fillna("").to_numpy(dtype=str)[pieces.clip]


def tasks(
    data: Dataset,
    store: Any,
    ids: Sequence,
    labels: pd.DataFrame,
    *,
    networks: Sequence[str],
    splits: Sequence[str],
    seeds: Sequence[int],
    length: int,
    options: Mapping[str, Any] | None = None,
    name: str = "{network}",
    **settings: Any,
) -> list[PieceTask]:
    """Make the tasks of every network, split and seed.

    Parameters
    ----------
    data : Dataset
    store : SpectrogramStore or ArrayStore
    ids : sequence of clip id
    labels : pd.DataFrame [clips x genres, bool]
    networks : sequence of str
        Names in `NETWORKS`.
    splits : sequence of str
        As defined at the top of the module.
    seeds : sequence of int
        One training each; the seed also draws the split.
    length : int > 0
        Columns of a piece.
    options : dict or None
        Arguments of `models.poster.poster_network` for all networks.
    name : str
        Pattern of the name in tables, with ``{network}``.
    **settings
        Other fields of `PieceTask`: epochs, batch_size, learning_rate, standardise.

    Returns
    -------
    tasks : list of PieceTask

    Raises
    ------
    ValueError
        If a network is unknown.
    """
    unknown = [network for network in networks if network not in NETWORKS]
    if unknown:
        raise ValueError(f"networks must be some of {'; '.join(NETWORKS)}. Got {unknown[0]!r}.")
    pieces, made = cut(store, ids, length), []
    for seed in seeds:
        for split in splits:
            part = divide(data, pieces, split, seed=seed)
            for network in networks:
                kind, own = NETWORKS[network]
                made.append(
                    PieceTask(
                        network=name.format(network=network),
                        kind=kind,
                        options={**(options or {}), **own},
                        split=split,
                        store=store,
                        ids=list(ids),
                        length=length,
                        part=part,
                        labels=labels,
                        seed=seed,
                        **settings,
                    )
                )
    return made


@dataclass(frozen=True, kw_only=True, config=_TABLES)
class PieceTask:
    """A network that is trained on pieces; a task for `jobs.run`.

    Parameters
    ----------
    network : str
        Name in tables, such as those of `NETWORKS`.
    kind : str
        One of `models.poster.KINDS`.
    options : dict
        Arguments of `models.poster.poster_network`.
    split : str
        Name of the split in tables.
    store : SpectrogramStore or ArrayStore
    ids : sequence of clip id
    length : int > 0
        Columns of a piece; the next one follows at once.
    part : np.ndarray [shape=(n_pieces,)]
        As `divide` returns it.
    labels : pd.DataFrame [clips x genres, bool]
    epochs, batch_size : int > 0
    learning_rate : float > 0
        Of Adam. It is constant for half of the epochs and then falls to a hundredth.
    standardise : bool
        Whether each band of the input is standardised, by its mean and variance in the training pieces.
    seed : int >= 0
        Seed of initial weights, order and dropout.
    """

    network: str
    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    split: str
    store: Any
    ids: Sequence
    length: PositiveInt
    part: np.ndarray
    labels: pd.DataFrame
    epochs: PositiveInt = 10
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 1e-3
    standardise: bool = False
    seed: NonNegativeInt = 0

    @property
    def name(self) -> str:
        """Name of the task's files."""
        return f"{self.network}-{self.split}-{self.seed}".replace(", ", "_").replace(" ", "_")

    @property
    def key(self) -> tuple:
        """Everything that the result depends on, in plain values: the key of the cache."""
        clips = jobs.checksum(pd.Series(list(self.ids)))
        return (self.network, self.kind, sorted(self.options.items()), self.split, self.store.checksum, clips,
                self.length, jobs.checksum(pd.Series(self.part)), list(self.labels.columns),
                jobs.checksum(self.labels.loc[list(self.ids)]), self.epochs, self.batch_size, self.learning_rate,
                self.standardise, self.seed)  # fmt: skip

    def train(self, folder: Path | None = None) -> PieceResult:
        """Train the network and score its pieces.

        Parameters
        ----------
        folder : Path or None
            Folder for the progress and the model; None: nothing is kept.

        Returns
        -------
        result : PieceResult
        """
        from musictools import training
        from musictools.models.poster import poster_network

        pieces = cut(self.store, self.ids, self.length)
        y = self.labels.loc[pieces.ids].to_numpy(np.float32)[pieces.clip]
        x = {name: pieces.take(self.part == name) for name in SHARES}
        labels = {name: y[self.part == name] for name in SHARES}
        hold = self.epochs // 2
        with training.deterministic(self.seed):
            bands = band_statistics(x["train"]) if self.standardise else None
            model = poster_network(
                self.kind,
                n_outputs=y.shape[1],
                input_shape=pieces.shape[1:],
                bands=bands,
                seed=self.seed,
                **self.options,
            )
            began = time.perf_counter()
            history = training.fit(
                model,
                x["train"],
                labels["train"],
                validation=(x["validation"], labels["validation"]),
                epochs=self.epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                schedule=training.constant_then_exponential(hold=hold, decay=np.log(100) / max(1, self.epochs - hold)),
                seed=self.seed,
                folder=None if folder is None else folder / runs.PROGRESS,
                keep=True,
            )
            seconds = time.perf_counter() - began
            if folder is not None:
                files.save_model(folder / "model.keras", model)
            scores = {name: evaluation.predict(model, own, batch_size=256) for name, own in x.items()}
        return PieceResult(
            network=self.network,
            split=self.split,
            seed=self.seed,
            classes=tuple(self.labels.columns),
            history=history,
            scores=scores,
            labels={name: own.argmax(axis=1) for name, own in labels.items()},
            clip={name: np.asarray(own.ids)[own.clip] for name, own in x.items()},
            filters=concentration(model, x["test"], labels["test"].argmax(axis=1), mask=self.options.get("axes")),
            seconds=seconds,
            parameters=model.count_params(),
            model_file=None if folder is None else folder / "model.keras",
        )


def band_statistics(pieces: Segments, *, limit: int = 1024) -> tuple[list[float], list[float]]:
    """Compute the mean and the variance of each band.

    Parameters
    ----------
    pieces : Segments
    limit : int > 0
        Number of pieces, evenly spread, that are used at most.

    Returns
    -------
    mean, variance : list of float
        Bands that hardly vary have the variance 1e-4.
    """
    x = pieces[np.unique(np.linspace(0, len(pieces) - 1, min(limit, len(pieces))).astype(int))].astype(np.float64)
    return x.mean(axis=(0, 2, 3)).tolist(), np.maximum(x.var(axis=(0, 2, 3)), 1e-4).tolist()


@dataclass(frozen=True, kw_only=True, config=_TABLES)
class PieceResult:
    """Outcome of a task.

    Parameters
    ----------
    network, split : str
    seed : int
    classes : tuple of str
    history : pd.DataFrame
        As `training.fit` returns it.
    scores, labels, clip : dict of str to np.ndarray
        Part, such as "test", -> scores, genres (positions in `classes`) and clip ids of its pieces.
    filters : pd.DataFrame
        From `concentration`, on the test pieces.
    seconds : float
        Duration of the training.
    parameters : int
    model_file : Path or None
    """

    network: str
    split: str
    seed: int
    classes: tuple[str, ...]
    history: pd.DataFrame
    scores: dict[str, np.ndarray]
    labels: dict[str, np.ndarray]
    clip: dict[str, np.ndarray]
    filters: pd.DataFrame
    seconds: float = 0.0
    parameters: int = 0
    model_file: Path | None = None

    def accuracy(self, part: str = "test", *, by_clip: bool = False) -> float:
        """Share of the pieces, or of the clips by the mean score of their pieces, that are classified correctly.

        Parameters
        ----------
        part : {"train", "validation", "test"}
        by_clip : bool

        Returns
        -------
        accuracy : float
            In [0, 1].
        """
        scores, labels = self.scores[part], self.labels[part]
        if by_clip:
            names, scores = evaluation.mean_by_clip(scores, self.clip[part])
            labels = pd.Series(labels, self.clip[part]).groupby(level=0).first().loc[names].to_numpy()
        return float((scores.argmax(axis=1) == labels).mean())


def concentration(
    model: keras.Model, pieces: Segments, labels: np.ndarray, *, mask: Sequence[float] | None = None, limit: int = 512
) -> pd.DataFrame:
    """Measure how concentrated the filters of the second convolution are in space and over classes.

    Parameters
    ----------
    model : keras.Model
        One of the poster's networks.
    pieces : Segments or np.ndarray [shape=(n, n_bins, n_frames, 1)]
    labels : np.ndarray [shape=(n,), int]
        Genre of every piece.
    mask : (float, float) or None
        Semi-axes of the elliptical mask for the column masked_entropy; None: 0.5 and 0.5.
    limit : int > 0
        Number of pieces, evenly spread, that are used at most.

    Returns
    -------
    filters : pd.DataFrame
        One row per filter, all before the mask unless said otherwise: filter; active (share of the pieces with a
        response); entropy (of the map as a distribution over positions, relative to that of a constant map: 1 if the
        response is the same everywhere; mean over pieces with a response); masked_entropy (the same after the mask,
        which a network without one gets for comparison); top_class (the class with the highest mean response), share
        (of this class in the sum of the classes' mean responses), one_class (whether it responds to this class at least
        twice as strongly as to any other).
    """
    import keras

    from musictools.models.layers import EllipticalMask

    chosen = np.unique(np.linspace(0, len(pieces) - 1, min(limit, len(pieces))).astype(int))
    inner = keras.Model(model.inputs, model.get_layer("relu2").output)
    maps = evaluation.predict(inner, pieces[chosen], batch_size=64)
    by_name = {layer.name: layer for layer in model.layers}
    layer = by_name.get("mask") or EllipticalMask(mask or (0.5, 0.5))
    masked = np.concatenate([keras.ops.convert_to_numpy(layer(maps[i : i + 64])) for i in range(0, len(maps), 64)])
    strength = maps.mean(axis=(1, 2))
    present = np.unique(labels[chosen])
    by_class = np.stack([strength[labels[chosen] == k].mean(axis=0) for k in present])
    ranked = np.sort(by_class, axis=0)[::-1]
    runner_up = ranked[1] if len(present) > 1 else np.zeros_like(ranked[0])
    return pd.DataFrame(
        {
            "filter": np.arange(maps.shape[-1]),
            "active": (strength > 0).mean(axis=0),
            "entropy": _entropy(maps),
            "masked_entropy": _entropy(masked),
            "top_class": present[by_class.argmax(axis=0)],
            "share": ranked[0] / np.maximum(by_class.sum(axis=0), 1e-12),
            "one_class": (ranked[0] > 0) & (ranked[0] >= 2 * runner_up),
        }
    )


def _entropy(maps):
    """Relative entropy of each filter's maps, a mean over the pieces in which it responds; NaN if it never does."""
    flat = np.maximum(maps, 0).reshape(len(maps), -1, maps.shape[-1]).astype(np.float64)
    total = flat.sum(axis=1, keepdims=True)
    p = flat / np.where(total > 0, total, 1)
    entropy = -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1) / np.log(flat.shape[1])
    active = total[:, 0] > 0
    return np.where(active, entropy, 0).sum(axis=0) / np.where(active.any(axis=0), active.sum(axis=0), np.nan)


def accuracy_table(results: Sequence[PieceResult]) -> pd.DataFrame:
    """Accuracies, and how concentrated the filters are, of every training.

    Parameters
    ----------
    results : sequence of PieceResult

    Returns
    -------
    table : pd.DataFrame
        network, split, seed; train, validation, test (accuracy by piece, with the weights of the best epoch),
        test_clips (by clip), last_train (accuracy in the last epoch, as a training curve shows it), entropy and
        masked_entropy (means over the filters that respond), one_class (share of the filters that serve one class),
        train_pieces, parameters, seconds.
    """
    rows = []
    for one in results:
        filters = one.filters
        rows.append(
            {
                "network": one.network,
                "split": one.split,
                "seed": one.seed,
                **{part: one.accuracy(part) for part in SHARES},
                "test_clips": one.accuracy(by_clip=True),
                "last_train": one.history["accuracy"].iloc[-1],
                "entropy": filters["entropy"].mean(),
                "masked_entropy": filters["masked_entropy"].mean(),
                "one_class": filters.loc[filters["active"] > 0, "one_class"].mean(),
                "train_pieces": len(one.labels["train"]),
                "parameters": one.parameters,
                "seconds": one.seconds,
            }
        )
    return pd.DataFrame(rows)


def beside_published(table: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracies over seeds beside those of the poster.

    Parameters
    ----------
    table : pd.DataFrame
        From `accuracy_table`.

    Returns
    -------
    means : pd.DataFrame
        network, split, seeds, train, validation, test (means over seeds), test_sd, test_clips, and the poster's
        published_train, published_validation, published_test for its own split, ``"segment"``.
    """
    rows, printed = [], set(published.prose("ren_poster")["key"])
    for (network, split), own in table.groupby(["network", "split"], sort=False):
        row = {"network": network, "split": split, "seeds": len(own)}
        row |= own[["train", "validation", "test"]].mean().to_dict()
        row |= {"test_sd": own["test"].std() if len(own) > 1 else np.nan, "test_clips": own["test_clips"].mean()}
        kind = network.split(",")[0]
        for part, word in (("train", "training"), ("validation", "validation"), ("test", "test")):
            key = f"{kind}_{word}_accuracy"
            known = split == "segment" and key in printed
            row[f"published_{part}"] = published.number("ren_poster", key) if known else np.nan
        rows.append(row)
    return pd.DataFrame(rows)


def histories(results: Sequence[PieceResult]) -> pd.DataFrame:
    """Training curves of all results in one table.

    Parameters
    ----------
    results : sequence of PieceResult

    Returns
    -------
    table : pd.DataFrame
        network, split, seed, and the columns of `training.fit`.
    """
    parts = [one.history.assign(network=one.network, split=one.split, seed=one.seed) for one in results]
    first = ["network", "split", "seed"]
    table = pd.concat(parts, ignore_index=True)
    return table[[*first, *table.columns.difference(first, sort=False)]]

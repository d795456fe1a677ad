"""Experiments of notebook 13: concepts of genres, planted concepts and artefacts, and what the originals cost.

Inputs are segments (n, n_bins, length, 1) as the network takes them, in [0, 1]; one input per clip, unless said
otherwise. The methods are those of `musictools.concepts`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools import evaluation, models, training
from musictools.concepts.artefacts import flag
from musictools.concepts.bottleneck import Bottleneck
from musictools.concepts.correctness import patch_properties
from musictools.concepts.discovery import Concepts, discover
from musictools.concepts.testing import score
from musictools.spectrograms import Segments

if TYPE_CHECKING:
    import keras

    from musictools.spectrograms import FrontEnd

__all__ = [
    "PlantedBand",
    "agreement",
    "cases",
    "compare_placements",
    "original_cost",
    "plant_band",
    "plant_hiss",
    "planted_band",
    "sample_inputs",
    "train",
]


def sample_inputs(
    store: Any, genres: pd.Series, names: Sequence[str], *, per_genre: int, length: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, list, np.ndarray]:
    """One segment from the middle of each of some clips of every genre.

    Parameters
    ----------
    store : SpectrogramStore or ArrayStore
    genres : pd.Series [clip id -> genre]
    names : sequence of str
        Genres in the order of the network's outputs.
    per_genre : int > 0
        Number of clips at most.
    length : int > 0
        Frames.
    seed : int >= 0

    Returns
    -------
    x : np.ndarray [shape=(n, n_bins, length, 1)]
    labels : np.ndarray [shape=(n,), int]
    clips : list of clip id
    starts : np.ndarray [shape=(n,), int]
        First frame of every segment.
    """
    rng = np.random.default_rng(seed)
    x, labels, clips, starts = [], [], [], []
    for label, name in enumerate(names):
        own = genres.index[genres == name]
        for clip in rng.permutation(own)[:per_genre]:
            start = max(0, (store.n_frames(clip) - length) // 2)
            segments = Segments(store, [clip], length=length, step=max(1, start))
            if len(segments):
                at = int(np.argmin(np.abs(segments.start - start)))
                x.append(segments[at])
                labels.append(label)
                clips.append(clip)
                starts.append(segments.start[at])
    return np.stack(x), np.array(labels), clips, np.array(starts)


def train(
    x: np.ndarray,
    labels: np.ndarray,
    n_outputs: int,
    *,
    width: float = 0.125,
    epochs: int = 8,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> keras.Model:
    """Train a narrow genre network (``ckn19``) on segments.

    Parameters
    ----------
    x : np.ndarray [shape=(n, n_bins, length, 1)]
    labels : np.ndarray [shape=(n,), int]
    n_outputs : int > 1
    width, epochs, batch_size, learning_rate, seed
        As in `models.build` and `training.fit`.

    Returns
    -------
    model : keras.Model
    """
    model = models.build(
        "ckn19", n_outputs=n_outputs, width=width, input_shape=x.shape[1:], norm_momentum=0.9, seed=seed
    )
    training.fit(
        model, x, np.eye(n_outputs, dtype=np.float32)[labels],
        epochs=epochs, batch_size=batch_size, learning_rate=learning_rate, best_by="loss", seed=seed,
    )  # fmt: skip
    return model


def plant_band(x: np.ndarray, rows: Sequence[int], *, share: float = 0.1, seed: int = 0) -> np.ndarray:
    """Silence a band of time in some inputs, each elsewhere: the masks of `sharma2022` 4.1.1.

    Parameters
    ----------
    x : np.ndarray [shape=(n, n_bins, n_frames, 1)]
    rows : sequence of int
        Inputs that get a band.
    share : float in (0, 1]
        Width of the band, as a share of the input.
    seed : int >= 0

    Returns
    -------
    changed : np.ndarray
        A copy.
    """
    x, rng = x.copy(), np.random.default_rng(seed)
    width = max(1, round(share * x.shape[2]))
    for row in rows:
        start = rng.integers(0, x.shape[2] - width + 1)
        x[row, :, start : start + width] = 0.0
    return x


def plant_hiss(
    x: np.ndarray, rows: Sequence[int], *, front_end: FrontEnd, level: float, low: int, seed: int = 0
) -> np.ndarray:
    """Add stationary noise above a frequency to some inputs, as a worn tape or a bad cable does.

    Parameters
    ----------
    x : np.ndarray [shape=(n, n_bins, n_frames, 1)]
        Scaled by the front end.
    rows : sequence of int
        Inputs that get the noise.
    front_end : FrontEnd
        Its floor and ceiling give the scale.
    level : float
        Mean power of the noise in every cell, in dB as the front end measures them.
    low : int >= 0
        First bin with noise.
    seed : int >= 0

    Returns
    -------
    changed : np.ndarray
        A copy.
    """
    x, rng = x.copy(), np.random.default_rng(seed)
    rows = np.asarray(rows, int)
    span = front_end.ceiling - front_end.floor
    power = 10 ** ((x[rows, low:] * span + front_end.floor) / 10)
    power += 10 ** (level / 10) * rng.gamma(8.0, 1 / 8, power.shape)  # a mel band averages several bins
    x[rows, low:] = front_end.scale(10 * np.log10(power))
    return x


@dataclass(frozen=True)
class PlantedBand:
    """Concepts of a network whose training data have a band of silence in most clips of one genre.

    Attributes
    ----------
    x : np.ndarray [shape=(n, n_bins, length, 1)]
        The inputs that concepts were discovered in, with bands.
    clips : list of clip id
        Their clips.
    concepts : Concepts
        Of the genre alone.
    table : pd.DataFrame [indexed by concept]
        The concepts' table and flags, and silent_share, the mean share of silent cells in a concept's patches.
    taken : tuple of float
        Share of the other genres' clips that the network takes for this genre, without and with a band.
    """

    x: np.ndarray
    clips: list
    concepts: Concepts
    table: pd.DataFrame
    taken: tuple[float, float]


def planted_band(
    store: Any,
    genres: pd.Series,
    names: Sequence[str],
    genre: str,
    *,
    share: float,
    length: int,
    training_clips: int,
    per_genre: int,
    width: float = 0.125,
    epochs: int = 12,
    seed: int = 0,
    **options: Any,
) -> PlantedBand:
    """Silence a band in clips of one genre, train a network on these data and discover the genre's concepts.

    Parameters
    ----------
    store, genres, names
        As in `sample_inputs`.
    genre : str
        The genre with bands.
    share : float in (0, 1]
        Share of its clips that get one.
    length : int > 0
        As in `sample_inputs`.
    training_clips, per_genre : int > 0
        Clips of each genre for the training, and for the discovery.
    width, epochs
        As in `train`.
    seed : int >= 0
    **options
        Further arguments of `concepts.discover`.

    Returns
    -------
    study : PlantedBand
    """
    clean, labels, clips, _ = sample_inputs(store, genres, names, per_genre=training_clips, length=length, seed=seed)
    own = np.flatnonzero(labels == names.index(genre))
    chosen = np.random.default_rng(seed).permutation(own)[: max(1, round(share * len(own)))]
    x = plant_band(clean, chosen, seed=seed)
    model = train(x, labels, len(names), width=width, epochs=epochs, seed=seed)
    others = np.setdiff1d(np.arange(len(x)), own)
    moved = plant_band(clean, others, seed=seed + 1)
    taken = [
        float((evaluation.predict(model, one[others]).argmax(axis=1) == names.index(genre)).mean())
        for one in (clean, moved)
    ]
    some = np.concatenate([np.flatnonzero(labels == k)[:per_genre] for k in range(len(names))])
    found = discover(model, x[some], labels[some], names=names, classes=[names.index(genre)], seed=seed, **options)
    measured = patch_properties(found, x[some])
    inside = found.concept >= 0
    silent = measured["silent"][inside].groupby(found.concept[inside]).mean()
    table = found.table.join(flag(found, measured)).assign(silent_share=silent.to_numpy())
    return PlantedBand(x[some], [clips[k] for k in some], found, table, tuple(taken))


def cases(concepts: Concepts, flags: pd.DataFrame, *, of: str = "") -> dict[str, str]:
    """Choose the two case studies: the best concept, and the worst of those that are flagged.

    Parameters
    ----------
    concepts : Concepts
    flags : pd.DataFrame
        From `concepts.flag`.
    of : str
        A class; empty: all.

    Returns
    -------
    names : dict of str to str
        ``good``: not flagged, not rare, q < 0.05, of the highest sensitivity. ``bad``: flagged, of the highest
        sensitivity. A case that does not exist is left out.
    """
    table = concepts.table.join(flags[["flagged", "used"]])
    table = table[table["class"] == of] if of else table
    table = table[table["used"]].sort_values("sensitivity", ascending=False)
    chosen = {"good": table[~table["flagged"] & table["kept"]], "bad": table[table["flagged"]]}
    return {case: part.index[0] for case, part in chosen.items() if len(part)}


def compare_placements(
    model: keras.Model,
    x: np.ndarray,
    labels: np.ndarray,
    *,
    names: Sequence[str],
    classes: Sequence[int],
    **options: Any,
) -> pd.DataFrame:
    """Compare patches in place with enlarged ones, as ACE takes them.

    Parameters
    ----------
    model : keras.Model
    x, labels, names, classes
        As in `concepts.discover`.
    **options
        Further arguments of `concepts.discover`.

    Returns
    -------
    table : pd.DataFrame
        placement; recognised (share of the classes' patches that the network gives to their class); distance (median
        distance of a patch's activation to the nearest of a whole input, divided by the median distance between a
        whole input and its nearest neighbour: 1 is as near as real music); accuracy (mean, held-out); passed (share of
        the concepts that pass the gate); significant (number with q < 0.05); stability (mean).
    """
    rows = []
    for placement in ("in_place", "resized"):
        concepts = discover(model, x, labels, names=names, classes=classes, placement=placement, **options)
        own = np.isin(labels[concepts.patches.input], classes)
        bottleneck = Bottleneck(model, options.get("layer"))
        scores, vectors = [], []
        baseline = concepts.settings["baseline"]
        for batch in concepts.patches.inputs(x, baseline=baseline, placement=placement):
            scores.append(model.predict_on_batch(batch).argmax(axis=1))
            vectors.append(bottleneck.activations(batch))
        recognised = (np.concatenate(scores) == labels[concepts.patches.input])[own].mean()
        table = concepts.table
        rows.append(
            {
                "placement": placement, "recognised": recognised,
                "distance": _relative_distance(np.concatenate(vectors)[own], bottleneck.activations(x)),
                "accuracy": table["accuracy"].mean(), "passed": table["passed"].mean(),
                "significant": int((table["q"] < 0.05).sum()), "stability": table["stability"].mean(),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _relative_distance(patches, whole):
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=2).fit(whole)
    between = search.kneighbors(whole)[0][:, 1]
    return float(np.median(search.kneighbors(patches, n_neighbors=1)[0]) / np.median(between))


def original_cost(
    model: keras.Model, x: np.ndarray, concepts: Concepts, *, n_cavs: int = 6, n_runs: int = 20, seed: int = 0
) -> pd.DataFrame:
    """Measure the cost of the original way: a classifier by gradient descent and a gradient pass for each CAV.

    Parameters
    ----------
    model : keras.Model
    x : np.ndarray [shape=(n_inputs, ...)]
        The inputs that the concepts were discovered in.
    concepts : Concepts
    n_cavs : int > 0
        CAVs that are measured; the rest is extrapolated.
    n_runs : int > 0
        Random sets for each concept.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        way ("original" or "here"), cavs (measured), seconds_per_cav, total (seconds for the CAVs of all concepts; here
        with those of the random concepts that they are compared with).
    """
    from sklearn.linear_model import SGDClassifier

    from musictools.concepts.vectors import RandomPool, fit_cavs

    rng = np.random.default_rng(seed)
    bottleneck = Bottleneck(model, concepts.settings["layer"])
    vectors = bottleneck.activations(concepts.patches.inputs(x))
    label = concepts.names.index(concepts.table["class"].iloc[0])
    of_class = x[concepts.labels == label]
    own = concepts.members(concepts.table["patches"].idxmax())[:40]
    bottleneck.gradients(of_class, label)  # compiled before the clock starts
    began = time.perf_counter()
    for _ in range(n_cavs):
        both = np.concatenate([vectors[own], vectors[rng.choice(len(vectors), len(own), replace=False)]])
        fitted = SGDClassifier(alpha=0.1, max_iter=1000, tol=1e-3, random_state=seed).fit(
            both, np.arange(len(both)) < len(own)
        )
        bottleneck.gradients(of_class, label) @ fitted.coef_[0]
    original = (time.perf_counter() - began) / n_cavs
    began = time.perf_counter()
    gradients = bottleneck.gradients(of_class, label)
    pool = RandomPool(vectors[:1500], np.zeros(min(1500, len(vectors)), bool))
    shared = time.perf_counter() - began
    began = time.perf_counter()
    cavs = fit_cavs(vectors[own], np.zeros(len(own), bool), pool, n_runs=n_runs, rng=rng)
    score(gradients, cavs.vectors)
    here = (time.perf_counter() - began) / n_runs
    total, random = len(concepts.table) * n_runs, concepts.settings["n_null"] * n_runs
    every_class = concepts.table["class"].nunique() * shared
    return pd.DataFrame(
        [
            {"way": "original", "cavs": n_cavs, "seconds_per_cav": original, "total": original * total},
            {"way": "here", "cavs": n_runs, "seconds_per_cav": here, "total": here * (total + random) + every_class},
        ]
    )


def agreement(
    concepts: Concepts, relevance: np.ndarray, *, only: Sequence[str] | None = None, repeats: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Compare the patches of concepts with heatmaps of the same inputs and outputs.

    Parameters
    ----------
    concepts : Concepts
    relevance : np.ndarray [shape=(n_inputs, n_bins, n_frames, 1)]
        Relevance of the output that each input is labelled with; its positive part counts.
    only : sequence of str or None
        Concepts; None: all.
    repeats : int > 0
        Shuffles.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        concept; density (share of the positive relevance in a patch, divided by the patch's share of the input's
        cells; mean over patches; 1 is what a uniform heatmap has); shuffled (the same with the heatmap of another input
        of the class, mean over shuffles); low and high (central 95 % of the shuffles); p (share of shuffles that are at
        least as far from their mean, two-sided).
    """
    rng = np.random.default_rng(seed)
    maps = np.maximum(np.asarray(relevance, np.float32)[..., 0], 0).reshape(len(relevance), -1)
    maps = maps / np.maximum(maps.sum(axis=1, keepdims=True), 1e-30)
    rows = []
    for name in concepts.table.index if only is None else only:
        own = concepts.members(name)
        masks = np.stack([concepts.patches.mask(k).ravel() for k in own]).astype(np.float32)
        inputs = np.flatnonzero(concepts.labels == concepts.names.index(concepts.table.at[name, "class"]))
        place = np.searchsorted(inputs, concepts.patches.input[own])
        density = (masks @ maps[inputs].T) / masks.mean(axis=1, keepdims=True)  # of every patch under every heatmap
        actual = density[np.arange(len(own)), place].mean()
        moved = [_others(len(inputs), rng)[place] for _ in range(repeats)]
        null = np.array([density[np.arange(len(own)), one].mean() for one in moved])
        low, high = np.quantile(null, (0.025, 0.975))
        far = np.abs(null - null.mean()) >= abs(actual - null.mean())
        row = {"concept": name, "density": actual, "shuffled": null.mean(), "low": low, "high": high}
        rows.append(row | {"p": (1 + far.sum()) / (1 + repeats)})
    return pd.DataFrame(rows, columns=["concept", "density", "shuffled", "low", "high", "p"])


def _others(n, rng):
    """For each of `n` inputs another one, at random and each once; an only input has itself."""
    order = rng.permutation(n)
    other = np.empty(n, int)
    other[order] = np.roll(order, 1)
    return other

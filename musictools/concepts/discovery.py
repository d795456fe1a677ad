"""Discovery of concepts (ACE, Ghorbani et al. 2019) and their test (TCAV), with what goes wrong there put right.

=====================================  ======================================================================
ACE and TCAV, as published             here
=====================================  ======================================================================
patches are enlarged to the input      they stay in place, at their own scale, on a baseline
40 patches nearest to a centre         all patches are clustered, without near-duplicates of other scales
any classifier counts                  accuracy on inputs that it was not fitted on is a gate
derivative of the probability          derivative of the logit, which does not saturate
t-test over runs that share patches    test against random CAVs, with one false discovery rate over all concepts
one k-means                            stability: how much of a concept other seeds find again
a gradient pass for every CAV          one forward pass for all patches, one gradient for each input
=====================================  ======================================================================
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools import runs
from musictools.concepts import testing
from musictools.concepts.patches import Patches
from musictools.concepts.vectors import LEAST, RandomPool, fit_cavs

if TYPE_CHECKING:
    import keras

    from musictools.concepts.bottleneck import Bottleneck

__all__ = ["Concepts", "discover", "frequency", "tested_concepts"]

RULES = ("high", "medium", "popular", "rare")
_TESTED = ("accuracy", "score", "score_sd", "sensitivity")


@dataclass(frozen=True, repr=False)
class Concepts:
    """Concepts of several classes, their patches and their tests.

    Attributes
    ----------
    table : pd.DataFrame [indexed by concept, such as "rock 3"]
        class, rank (by distance to the cluster's centre, nearest first), patches, clips, frequency (one of "high",
        "medium", "popular", "rare", see `frequency`), kept (not rare), stability (mean over seeds of the largest
        Jaccard index with a cluster of another k-means), accuracy (held-out), passed (whether it reaches the gate),
        score and score_sd (over random sets), sensitivity, p, q. The last three are NaN where the gate is not passed.
    patches : Patches
    concept : np.ndarray [shape=(n_patches,), int]
        Row of the table that each patch belongs to; -1 for patches of other classes.
    distance : np.ndarray [shape=(n_patches,)]
        Distance of each patch to the centre of its concept, in the units of the activations.
    vectors : np.ndarray [shape=(n_concepts, n_features)]
        Mean CAV of every concept; NaN where there are too few patches.
    labels : np.ndarray [shape=(n_inputs,), int]
        Output that each input belongs to.
    groups : np.ndarray [shape=(n_inputs,)]
        Clip of each input.
    names : list of str
        Names of the outputs.
    null : dict of str to np.ndarray
        Class -> sensitivities of random CAVs.
    settings : dict
        Arguments of `discover`.
    """

    table: pd.DataFrame
    patches: Patches
    concept: np.ndarray
    distance: np.ndarray
    vectors: np.ndarray
    labels: np.ndarray
    groups: np.ndarray
    names: list[str]
    null: dict[str, np.ndarray]
    settings: dict[str, Any] = field(default_factory=dict)

    def __repr__(self):
        n = self.table["class"].nunique()
        return f"Concepts({len(self.table)} of {n} classes, {int((self.table['q'] < 0.05).sum())} with q < 0.05)"

    def members(self, name: str) -> np.ndarray:
        """Patches of a concept, nearest to its centre first.

        Parameters
        ----------
        name : str
            A name of the table's index.

        Returns
        -------
        indices : np.ndarray [shape=(n,), int]
            Of `patches`.
        """
        own = np.flatnonzero(self.concept == self.table.index.get_loc(name))
        return own[np.argsort(self.distance[own], kind="stable")]

    def ranked(self, name: str, *, kept: bool = True) -> pd.DataFrame:
        """Concepts of a class by what they do for it, the most supporting first.

        Parameters
        ----------
        name : str
            A class.
        kept : bool
            Leave out rare concepts.

        Returns
        -------
        table : pd.DataFrame
            Rows of `table` that passed the gate, by descending sensitivity.
        """
        own = self.table[(self.table["class"] == name) & self.table["passed"]]
        return (own[own["kept"]] if kept else own).sort_values("sensitivity", ascending=False)


def discover(
    model: keras.Model,
    x: np.ndarray,
    labels: Sequence[int],
    *,
    names: Sequence[str] | None = None,
    groups: Sequence | None = None,
    classes: Sequence[int] | None = None,
    layer: str | None = None,
    pool: str = "time",
    n_segments: Sequence[int] = (10, 15, 25),
    n_concepts: int = 25,
    baseline: float | str | np.ndarray = "mean",
    placement: str = "in_place",
    n_runs: int = 20,
    n_null: int = 200,
    gate: float = 0.7,
    max_members: int = 60,
    max_random: int = 1500,
    ridge: float = 0.01,
    n_seeds: int = 3,
    seed: int = 0,
    batch_size: int = 64,
) -> Concepts:
    """Find the concepts of classes in a network and test which of them its outputs depend on.

    Parameters
    ----------
    model : keras.Model
        Functional or Sequential, with one input and one output (n, n_outputs). It is not changed.
    x : np.ndarray [shape=(n, n_bins, n_frames, 1)]
        Inputs; `sharma2022` takes 50 of a class.
    labels : sequence of int [shape=(n,)]
        The output that each input belongs to. Concepts are sought for every output that occurs.
    names : sequence of str or None
        Names of the outputs; None: their numbers.
    groups : sequence or None
        Clip of each input; accuracies are those on other clips, and clips are counted. None: every input is its own.
    classes : sequence of int or None
        Outputs whose concepts are sought; the inputs of the others are only there for the random sets. None: all that
        occur in `labels`.
    layer : str or None
        The bottleneck, see `Bottleneck`.
    pool : {"time", "all", "none"}
        How activations are averaged before they are clustered, see `Bottleneck.pooled`: a pattern is the same concept
        whenever it is played. CAVs are fitted on all activations.
    n_segments : sequence of int > 1
        As in `Patches.cut`.
    n_concepts : int > 1
        Clusters of a class.
    baseline, placement
        As in `Patches.inputs`.
    n_runs : int > 0
        Random sets for each concept.
    n_null : int > 2
        Random CAVs that concepts are compared with, shared by all classes.
    gate : float in [0, 1]
        Least held-out accuracy of a concept that is tested.
    max_members : int >= 8
        Patches, nearest to the centre, that a CAV is fitted on. All patches are clustered and counted.
    max_random : int > 0
        Patches, of all classes, that random sets are drawn from.
    ridge : float > 0
        As in `fit_cav`.
    n_seeds : int > 0
        Number of k-means whose clusters are compared for the stability; 1: none (NaN).
    seed : int >= 0
    batch_size : int > 0

    Returns
    -------
    concepts : Concepts

    Raises
    ------
    ValueError
        If labels do not fit, a class has no inputs or too few patches for its clusters, or the layer is constant.

    See Also
    --------
    tcav : Tests a concept that is given by examples.
    musictools.concepts.layout.arrange : Clusters and positions of the concepts of all classes.

    Examples
    --------
    >>> from musictools import models
    >>> model = models.build("ckn19", n_outputs=2, width=0.1, input_shape=(32, 32, 1), seed=0)
    >>> x = np.random.default_rng(0).random((12, 32, 32, 1), dtype=np.float32)
    >>> concepts = discover(model, x, [0, 1] * 6, n_segments=[6, 9], n_concepts=3, n_null=20, n_runs=3)
    >>> len(concepts.table), concepts.vectors.shape[0]
    (6, 6)
    """
    from musictools.concepts.bottleneck import Bottleneck

    settings = {k: v for k, v in locals().items() if k in _SAVED}
    x, labels, groups = _checked(x, labels, groups)
    bottleneck = Bottleneck(model, layer, batch_size=batch_size)
    settings["layer"] = bottleneck.layer
    if labels.max() >= bottleneck.n_outputs or labels.min() < 0:
        raise ValueError(f"labels must be ints from 0 to {bottleneck.n_outputs - 1}. Got {np.unique(labels)}.")
    names = [str(k) for k in range(bottleneck.n_outputs)] if names is None else [str(name) for name in names]
    if len(names) != bottleneck.n_outputs:
        raise ValueError(f"names must name the {bottleneck.n_outputs} outputs. Got {len(names)}.")
    classes = np.unique(labels) if classes is None else np.asarray(classes, int)
    empty = [names[k] for k in classes if k not in labels]
    if empty:
        raise ValueError(
            f"Every class needs inputs. {empty[0]} has none; it has no clips, or labels are other numbers."
        )
    patches = Patches.cut(x, n_segments=n_segments)
    vectors = bottleneck.activations(patches.inputs(x, baseline=baseline, placement=placement, batch_size=batch_size))
    if not np.ptp(vectors, axis=0).any():
        raise ValueError(f"Layer {bottleneck.layer!r} has the same activations for all patches. Name another layer.")
    table, concept, distance = _clusters(
        bottleneck.pooled(vectors, pool),
        labels[patches.input],
        groups[patches.input],
        classes,
        names,
        n_concepts,
        n_seeds,
        seed,
    )
    tested, cavs, null = tested_concepts(
        bottleneck, x, labels, vectors, patches.input, concept, distance, table,
        names=names, groups=groups, n_runs=n_runs, n_null=n_null, gate=gate, max_members=max_members,
        max_random=max_random, ridge=ridge,
        seed=seed,
    )  # fmt: skip
    return Concepts(tested, patches, concept, distance, cavs, labels, groups, names, null, settings)


_SAVED = (
    "pool", "n_segments", "n_concepts", "baseline", "placement", "n_runs", "n_null", "gate", "max_members",
    "max_random", "ridge", "seed",
)  # fmt: skip


def _checked(x, labels, groups):
    x, labels = np.asarray(x, np.float32), np.asarray(labels)
    if labels.shape != (len(x),) or labels.dtype.kind not in "iu":
        raise ValueError(f"labels must hold one int for each of the {len(x)} inputs. Got shape {labels.shape}.")
    if not len(x):
        raise ValueError("x must hold at least one input. Got none: no class has a clip.")
    groups = np.arange(len(x)) if groups is None else np.asarray(groups)
    if groups.shape != labels.shape:
        raise ValueError(f"groups must hold one clip for each of the {len(x)} inputs. Got shape {groups.shape}.")
    return x, labels.astype(int), groups


def _clusters(vectors, labels, groups, classes, names, n_concepts, n_seeds, seed):
    """K-means of every class's patches: a table, the concept of every patch and its distance to the centre."""
    rows, concept, distance = [], np.full(len(vectors), -1), np.zeros(len(vectors))
    patches = {label: np.flatnonzero(labels == label) for label in classes}
    for label, own in patches.items():
        if len(own) < 2 * n_concepts:
            raise ValueError(
                f"{names[label]} has {len(own)} patches of {len(np.unique(groups[own]))} clips, too few for "
                f"{n_concepts} concepts. Give more clips or a smaller n_concepts."
            )
    job = functools.partial(_clusterings, n=n_concepts, n_seeds=n_seeds, seed=seed)
    found = runs.map(job, [vectors[own] for own in patches.values()], workers=1, description="clusters")
    for (label, own), (cluster, far, others) in zip(patches.items(), found, strict=True):
        total = len(np.unique(groups[own]))
        spread = [far[cluster == k].mean() if (cluster == k).any() else np.inf for k in range(n_concepts)]
        for rank, k in enumerate(np.argsort(spread, kind="stable")):
            inside = own[cluster == k]
            if not len(inside):
                continue
            concept[inside], distance[inside] = len(rows), far[cluster == k]
            clips = len(np.unique(groups[inside]))
            rule = frequency(len(inside), clips, total)
            row = {"concept": f"{names[label]} {rank + 1}", "class": names[label], "rank": rank + 1}
            row |= {"patches": len(inside), "clips": clips, "frequency": rule, "kept": rule != "rare"}
            rows.append(row | {"stability": _stability(cluster == k, others)})
    return pd.DataFrame(rows).set_index("concept"), concept, distance


def _clusterings(vectors, *, n, n_seeds, seed):
    """The cluster of every vector, its distance from the centre, and the clusters of further seeds."""
    places = _coordinates(vectors)
    cluster, far = _k_means(places, n, seed, n_init=2)
    return cluster, far, [_k_means(places, n, seed + k, n_init=1)[0] for k in range(1, n_seeds)]


def _k_means(vectors, n, seed, n_init):
    from sklearn.cluster import KMeans

    fitted = KMeans(n, n_init=n_init, random_state=seed).fit(vectors)
    far = np.linalg.norm(vectors - fitted.cluster_centers_[fitted.labels_], axis=1)
    return fitted.labels_, far


def _coordinates(vectors):
    """Coordinates with the same distances, at most as many as there are vectors."""
    if vectors.shape[1] <= len(vectors):
        return vectors
    centred = vectors - vectors.mean(axis=0)
    values, axes = np.linalg.eigh(centred @ centred.T)
    kept = values > 1e-6 * max(values[-1], 1e-30)
    if not kept.any():  # all vectors are equal
        return np.zeros((len(vectors), 1), vectors.dtype)
    return axes[:, kept] * np.sqrt(values[kept])


def _stability(inside, others):
    """Mean over other clusterings of the largest Jaccard index between a cluster and one of theirs."""
    if not others:
        return np.nan
    best = []
    for cluster in others:
        shared = np.bincount(cluster[inside], minlength=cluster.max() + 1)
        union = inside.sum() + np.bincount(cluster, minlength=len(shared)) - shared
        best.append((shared / union).max())
    return float(np.mean(best))


def frequency(patches: int, clips: int, total: int) -> str:
    """Tell how frequent a cluster is, by the rules of ACE (Ghorbani et al. 2019, section 3).

    Parameters
    ----------
    patches : int >= 0
        Patches of the cluster.
    clips : int >= 0
        Clips that they come from.
    total : int > 0
        Clips of the class.

    Returns
    -------
    rule : {"high", "medium", "popular", "rare"}
        "high": patches of more than half of the clips; "medium": of more than a quarter, and more patches than clips of
        the class; "popular": more than twice as many patches as clips of the class; "rare": none of these. ACE drops
        rare clusters; here they are tested too, but not counted as concepts.

    Examples
    --------
    >>> frequency(30, 26, 50), frequency(60, 20, 50), frequency(110, 5, 50), frequency(20, 10, 50)
    ('high', 'medium', 'popular', 'rare')
    """
    if clips > total / 2:
        return "high"
    if clips > total / 4 and patches > total:
        return "medium"
    return "popular" if patches > 2 * total else "rare"


def tested_concepts(
    bottleneck: Bottleneck,
    x: np.ndarray,
    labels: np.ndarray,
    vectors: np.ndarray,
    inputs: np.ndarray,
    concept: np.ndarray,
    distance: np.ndarray,
    table: pd.DataFrame,
    *,
    names: Sequence[str],
    groups: np.ndarray,
    n_runs: int,
    n_null: int,
    gate: float,
    max_members: int,
    max_random: int,
    ridge: float,
    seed: int,
) -> tuple[pd.DataFrame, np.ndarray, dict[str, np.ndarray]]:
    """Fit the CAVs of clusters and test them; the second half of `discover`.

    Parameters
    ----------
    bottleneck : Bottleneck
    x, labels
        As in `discover`.
    vectors : np.ndarray [shape=(n_patches, n_features)]
        Activations of the patches.
    inputs : np.ndarray [shape=(n_patches,), int]
        Input of each patch.
    concept, distance : np.ndarray [shape=(n_patches,)]
        As in `Concepts`.
    table : pd.DataFrame
        One row per concept, with the column class.
    names, groups, n_runs, n_null, gate, max_members, max_random, ridge, seed
        As in `discover`.

    Returns
    -------
    table : pd.DataFrame
        With the columns that the tests add.
    cavs : np.ndarray [shape=(n_concepts, n_features)]
    null : dict of str to np.ndarray
    """
    rng = np.random.default_rng([seed, 1])
    clips = np.unique(groups)
    aside = rng.permutation(len(clips))[: len(clips) // 4]  # a quarter of the clips tests the classifiers
    held = np.isin(groups, clips[aside])[inputs]
    gradients = bottleneck.gradients(x, labels)
    of_class = {name: gradients[labels == k] for k, name in enumerate(names)}
    drawn = np.sort(rng.permutation(len(vectors))[:max_random])
    random = RandomPool(vectors[drawn], held[drawn])
    members = [np.flatnonzero(concept == number) for number in range(len(table))]
    members = [own[np.argsort(distance[own], kind="stable")][:max_members] for own in members]
    members = {number: own for number, own in enumerate(members) if (~held[own]).sum() >= LEAST}
    if not members:
        raise ValueError(f"No concept has {LEAST} patches to fit a CAV on. Give more clips or a smaller n_concepts.")
    job = functools.partial(_tested, random=random, of_class=of_class, n_runs=n_runs, ridge=ridge)
    values = [(vectors[own], held[own], table["class"].iloc[k], [seed, 2, k]) for k, own in members.items()]
    tests = dict(zip(members, runs.map(job, values, workers=1, description="concepts"), strict=True))
    cavs = np.full((len(table), vectors.shape[1]), np.nan, np.float32)
    for number, (mean, _) in tests.items():
        cavs[number] = mean
    rows = [tests[k][1] if k in tests else dict.fromkeys(_TESTED, np.nan) for k in range(len(table))]
    table = table.join(pd.DataFrame(rows, index=table.index))
    sizes = [len(own) for own in members.values()]
    mixed = testing.random_cavs(random, size=int(np.median(sizes)), n=n_null, n_runs=n_runs, ridge=ridge, seed=seed)
    null = {name: testing.sensitivity(of_class[name], mixed) for name in table["class"].unique()}
    table["passed"] = table["accuracy"] >= gate
    p = [
        float(testing.two_sided(row["sensitivity"], null[row["class"]])) if row["passed"] else np.nan
        for _, row in table.iterrows()
    ]
    return table.assign(p=p, q=testing.false_discovery(np.array(p))), cavs, null


def _tested(value, *, random, of_class, n_runs, ridge):
    """The mean CAV of one concept, and its row of the table."""
    vectors, held, name, seed = value
    fitted = fit_cavs(vectors, held, random, n_runs=n_runs, ridge=ridge, rng=np.random.default_rng(seed))
    scores = testing.score(of_class[name], fitted.vectors)
    sensitivity = float(testing.sensitivity(of_class[name], fitted.mean))
    return fitted.mean, dict(zip(_TESTED, (fitted.accuracy, scores.mean(), scores.std(), sensitivity), strict=True))

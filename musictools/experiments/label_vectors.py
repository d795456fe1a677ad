"""Experiments of notebook 12: how the output layer of a tagger relates tags to each other (`choi2018` 7.3).

The *label vector* of a tag is its column of weights in the output layer. The similarity of two label vectors is
compared with the co-occurrence of the two tags in the labels, and on the composed corpus with that of the complete
tags. Matrices are DataFrames [tags x tags]. A *pair* is unordered, so a co-occurrence counts in its larger direction.

Pairs that share a tag are not independent. Intervals therefore resample tags, and p-values permute them (Mantel 1967;
Snijders and Borgatti 1999, "Non-parametric standard errors and tests for network statistics", Connections 22).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from musictools import evaluation

if TYPE_CHECKING:
    import keras

    from musictools.experiments.jobs import Result

__all__ = [
    "FIGURE_TAGS",
    "correlations",
    "either_way",
    "figure_tags",
    "label_vectors",
    "overlooked_pairs",
    "pairs",
    "same_meaning",
    "similarity",
    "table_7_c",
    "tagger_roc_auc",
]

FIGURE_TAGS = (  # of figures 3.1, 7.10 and 7.11
    "rock", "heavy metal", "alternative rock", "alternative", "indie rock", "indie", "indie pop", "House", "electronic",
    "electronica", "female vocalist", "female vocalists", "sad", "beautiful", "Mellow", "sexy", "rnb", "soul", "pop",
    "catchy", "happy", "oldies", "60s",
)  # fmt: skip


def label_vectors(model: keras.Model, names: Sequence[str]) -> pd.DataFrame:
    """Weights of the output layer.

    Parameters
    ----------
    model : keras.Model
        A tagger whose layer ``logits`` is dense, as in all models of the package.
    names : sequence of str
        Tags of its outputs.

    Returns
    -------
    W : pd.DataFrame [features x tags]

    Raises
    ------
    ValueError
        If the layer has another number of outputs.

    Examples
    --------
    >>> from musictools import models
    >>> label_vectors(models.build("compact_convnet", n_outputs=2), ["rock", "pop"]).shape
    (32, 2)
    """
    W = np.asarray(model.get_layer("logits").get_weights()[0])
    if W.shape[1] != len(names):
        raise ValueError(f"names must hold the {W.shape[1]} tags of the network. Got {len(names)}.")
    return pd.DataFrame(W, columns=list(names))


def similarity(W: pd.DataFrame, *, cosine: bool = False) -> pd.DataFrame:
    """Similarity of all label vectors, S = WᵀW (Eq. 7.1).

    Parameters
    ----------
    W : pd.DataFrame [features x tags]
    cosine : bool
        Divide by the lengths of the vectors. The length of a vector says how far its tag's logit varies, not what the
        tag resembles.

    Returns
    -------
    S : pd.DataFrame [tags x tags]

    Examples
    --------
    >>> W = pd.DataFrame({"rock": [2.0, 0.0], "pop": [1.0, 1.0]})
    >>> float(similarity(W).loc["rock", "pop"]), round(float(similarity(W, cosine=True).loc["rock", "pop"]), 3)
    (2.0, 0.707)
    """
    values = W.to_numpy(dtype=np.float64)
    if cosine:
        values = values / np.maximum(np.linalg.norm(values, axis=0), 1e-12)
    return pd.DataFrame(values.T @ values, index=W.columns, columns=W.columns)


def either_way(C: pd.DataFrame) -> pd.DataFrame:
    """Larger one of C(i, j) and C(j, i), as in `choi2018` 7.3.3.

    Parameters
    ----------
    C : pd.DataFrame [tags x tags]
        From `tags.co_occurrence`. Tags without clips (NaN) are left out.

    Returns
    -------
    together : pd.DataFrame [tags x tags]
        Symmetric.
    """
    known = C.index[C.notna().all(axis=1)]
    C = C.loc[known, known]
    return pd.DataFrame(np.maximum(C, C.T), index=known, columns=known)


def correlations(
    matrices: Mapping[str, pd.DataFrame],
    reference: pd.DataFrame,
    *,
    baseline: str | None = None,
    repeats: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Rank correlation of similarities with a reference, over all pairs of tags.

    Parameters
    ----------
    matrices : mapping of str to pd.DataFrame [tags x tags]
        Symmetric. Tags that one of them or the reference lacks are left out.
    reference : pd.DataFrame [tags x tags]
        Symmetric.
    baseline : str or None
        One of the matrices, from whose correlation the others' are subtracted.
    repeats : int > 0
        Number of resamples, and of permutations.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        name, tags, pairs, correlation (Pearson's of the ranks), low and high (95 %, over resampled tags), p (one-sided,
        tags permuted). With a baseline also gain (correlation minus that of the baseline) and partial (rank correlation
        of what the baseline does not explain), with the ends of their intervals ``…_low`` and ``…_high``.

    Raises
    ------
    ValueError
        If fewer than three tags are shared, or `baseline` is none of the matrices.

    Examples
    --------
    >>> S = similarity(pd.DataFrame(np.eye(4) + 0.1 * np.arange(4), columns=list("abcd")))
    >>> correlations({"itself": S}, S, repeats=20).round(2)[["pairs", "correlation", "low"]].values.tolist()
    [[6.0, 1.0, 1.0]]
    """
    if baseline is not None and baseline not in matrices:
        raise ValueError(f"baseline must be one of {', '.join(matrices)}. Got {baseline!r}.")
    shared = [tag for tag in reference.index if all(tag in matrix.index for matrix in matrices.values())]
    if len(shared) < 3:
        raise ValueError(f"The matrices must share at least three tags. Got {len(shared)}.")
    values = {name: matrix.loc[shared, shared].to_numpy() for name, matrix in matrices.items()}
    right, upper = reference.loc[shared, shared].to_numpy(), np.triu_indices(len(shared), 1)
    base = None if baseline is None else values[baseline]
    rng = np.random.default_rng(seed)
    drawn = [_distinct(some, upper) for some in rng.integers(0, len(shared), (repeats, len(shared)))]
    orders = [rng.permutation(len(shared)) for _ in range(repeats)]
    rows = []
    for name, matrix in values.items():
        own, *spread = (_measures(matrix, right, base, *ends) for ends in (upper, *drawn))
        chance = [_rank_correlation(matrix[np.ix_(order, order)], right, *upper) for order in orders]
        row = {"name": name, "tags": len(shared), "pairs": len(upper[0]), "correlation": own["correlation"]}
        row["low"], row["high"] = _interval(spread, "correlation")
        row["p"] = (1 + np.sum(np.array(chance) >= own["correlation"])) / (1 + repeats)
        for measure in ("gain", "partial")[: 0 if base is None else 2]:
            row[measure] = own[measure]
            row[f"{measure}_low"], row[f"{measure}_high"] = _interval(spread, measure)
        rows.append(row)
    return pd.DataFrame(rows)


def _measures(matrix, right, base, first, second):
    """Correlation with the reference, and beyond that of a baseline."""
    own = {"correlation": _rank_correlation(matrix, right, first, second)}
    if base is None:
        return own
    rival, shared = _rank_correlation(base, right, first, second), _rank_correlation(matrix, base, first, second)
    left = (1 - rival**2) * (1 - shared**2)
    partial = (own["correlation"] - rival * shared) / np.sqrt(left) if left > 1e-12 else np.nan
    return own | {"gain": own["correlation"] - rival, "partial": partial}


def _interval(spread, measure):
    values = np.array([one[measure] for one in spread])
    return np.nanquantile(values, (0.025, 0.975)) if np.isfinite(values).any() else (np.nan, np.nan)


def _distinct(drawn, upper):
    """Pairs of resampled tags; a tag that was drawn twice is no pair with itself."""
    first, second = drawn[upper[0]], drawn[upper[1]]
    return first[first != second], second[first != second]


def _rank_correlation(a, b, first, second):
    """Pearson correlation of the ranks; ties share their mean rank."""
    if len(first) < 2:
        return np.nan
    ranks = [rankdata(values[first, second]) for values in (a, b)]
    ranks = [r - r.mean() for r in ranks]
    norm = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float(ranks[0] @ ranks[1] / norm) if norm > 0 else np.nan


def pairs(S: pd.DataFrame, C: pd.DataFrame) -> pd.DataFrame:
    """All pairs of tags with the similarity of their label vectors and their co-occurrence.

    Parameters
    ----------
    S : pd.DataFrame [tags x tags]
        From `similarity`.
    C : pd.DataFrame [tags x tags]
        From `tags.co_occurrence`.

    Returns
    -------
    table : pd.DataFrame
        first and second (tag), similarity, co_occurrence (the larger direction, which is that from the first to the
        second tag), similarity_rank and co_occurrence_rank (1: highest); sorted by similarity.

    Examples
    --------
    >>> from musictools import tags
    >>> S = similarity(pd.DataFrame({"rock": [2.0, 0.0], "metal": [1.0, 1.0]}))
    >>> C = tags.co_occurrence(pd.DataFrame({"rock": [True, True], "metal": [True, False]}))
    >>> pairs(S, C)[["first", "second", "similarity", "co_occurrence"]].values.tolist()
    [['metal', 'rock', 2.0, 1.0]]
    """
    known = [tag for tag in either_way(C).index if tag in S.index]
    names, upper = np.array(known, dtype=object), np.triu_indices(len(known), 1)
    forward, backward = (C.loc[known, known].to_numpy()[ends] for ends in (upper, upper[::-1]))
    first, second = names[upper[0]], names[upper[1]]
    ahead = forward >= backward
    table = pd.DataFrame({
        "first": np.where(ahead, first, second), "second": np.where(ahead, second, first),
        "similarity": S.loc[known, known].to_numpy()[upper], "co_occurrence": np.maximum(forward, backward),
    })  # fmt: skip
    for name in ("similarity", "co_occurrence"):
        table[f"{name}_rank"] = table[name].rank(ascending=False, method="first").astype(int)
    return table.sort_values("similarity_rank", ignore_index=True)


def table_7_c(table: pd.DataFrame, *, n: int = 20) -> tuple[pd.DataFrame, int]:
    """The most similar pairs by labels and by label vectors, in the form of table 7-C.

    Parameters
    ----------
    table : pd.DataFrame
        From `pairs`.
    n : int > 0

    Returns
    -------
    top : pd.DataFrame
        rank, by_labels, by_label_vectors ("first, second").
    common : int
        Number of pairs that stand in both columns.
    """
    named = table.assign(pair=table["first"] + ", " + table["second"])
    columns = [named.sort_values(f"{by}_rank")["pair"].head(n).tolist() for by in ("co_occurrence", "similarity")]
    top = pd.DataFrame({"rank": range(1, len(columns[0]) + 1), "by_labels": columns[0], "by_label_vectors": columns[1]})
    return top, len(set(columns[0]) & set(columns[1]))


def overlooked_pairs(table: pd.DataFrame, *, similar: int = 20, n: int = 10) -> pd.DataFrame:
    """Pairs that are similar to the network although the labels seldom show them together.

    Parameters
    ----------
    table : pd.DataFrame
        From `pairs`.
    similar : int > 0
        Only the pairs of the highest similarity are considered.
    n : int > 0
        Number of pairs at most.

    Returns
    -------
    overlooked : pd.DataFrame
        Rows of `table` whose co-occurrence has a lower rank than `similar`, lowest first.
    """
    top = table[(table["similarity_rank"] <= similar) & (table["co_occurrence_rank"] > similar)]
    return top.sort_values("co_occurrence_rank", ascending=False).head(n).reset_index(drop=True)


def same_meaning(
    matrices: Mapping[str, pd.DataFrame], truth: pd.DataFrame, *, repeats: int = 500, seed: int = 0
) -> pd.DataFrame:
    """How far similarities rank pairs of tags that mean the same above all other pairs.

    Parameters
    ----------
    matrices : mapping of str to pd.DataFrame [tags x tags]
    truth : pd.DataFrame [clips x tags, bool]
        Complete tags. Two tags mean the same if they are true of the same clips.
    repeats : int > 0
        Number of resamples of tags.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        name, same (pairs), roc_auc, low, high (95 %). NaN if no pair means the same.

    Examples
    --------
    >>> from musictools import tags
    >>> truth = pd.DataFrame({"drum": [True, False], "drums": [True, False], "slow": [False, True]})
    >>> same_meaning({"true tags": either_way(tags.co_occurrence(truth))}, truth, repeats=20)["roc_auc"].tolist()
    [1.0]
    """
    names = [tag for tag in truth if truth[tag].any() and all(tag in matrix.index for matrix in matrices.values())]
    x = truth[names].to_numpy(dtype=np.float64)
    both, alone = x.T @ x, x.sum(axis=0)
    equal = (both == alone[:, None]) & (both == alone[None, :])
    upper = np.triu_indices(len(names), 1)
    drawn = np.random.default_rng(seed).integers(0, len(names), (repeats, len(names)))
    chosen = [upper, *(_distinct(some, upper) for some in drawn)]
    rows = []
    for name, matrix in matrices.items():
        values = matrix.loc[names, names].to_numpy()
        areas = [_area(equal[pair], values[pair]) for pair in chosen]
        defined = np.isfinite(areas[1:]).any()
        low, high = np.nanquantile(areas[1:], (0.025, 0.975)) if defined else (np.nan, np.nan)
        rows.append({"name": name, "same": int(equal[upper].sum()), "roc_auc": areas[0], "low": low, "high": high})
    return pd.DataFrame(rows)


def _area(labels, scores):
    return float(evaluation.roc_auc(labels[:, None], scores[:, None])[0]) if len(labels) else np.nan


def figure_tags(names: Sequence[str], *, n: int = 23) -> list[str]:
    """Tags for a figure.

    Parameters
    ----------
    names : sequence of str
        Most important first.
    n : int > 0

    Returns
    -------
    chosen : list of str
        `FIGURE_TAGS` if all of them are there, otherwise the first `n`.
    """
    return list(FIGURE_TAGS) if set(FIGURE_TAGS) <= set(names) else list(names[:n])


def tagger_roc_auc(result: Result, labels: pd.DataFrame) -> float:
    """Mean ROC-AUC over tags of a trained tagger on its test clips.

    Parameters
    ----------
    result : Result
    labels : pd.DataFrame [clips x tags, bool]

    Returns
    -------
    roc_auc : float
        Tags that all test clips have, or none, are left out.
    """
    ids, scores = evaluation.mean_by_clip(result.scores["test"], result.clip["test"])
    areas = evaluation.roc_auc(labels.loc[ids, list(result.classes)].to_numpy(), scores)
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else np.nan

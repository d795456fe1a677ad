"""Shapley values: how much each descriptor of a clip contributes to its membership in each genre.

The players of the game are the descriptors that a clip has; the worth of a coalition is the membership degree of just
these descriptors (Shapley 1953; Strumbelj and Kononenko 2010). Descriptors that a clip lacks are not players and have
the value 0. A clip's values add up to its membership minus that of the empty set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import comb

import numpy as np
import pandas as pd

from musictools import evaluation

__all__ = ["contributions", "shapley", "table"]


def shapley(
    worth: Callable[[np.ndarray], np.ndarray],
    n_players: int,
    *,
    exact: int = 14,
    permutations: int = 500,
    seed: int = 0,
) -> np.ndarray:
    """Shapley values of a game.

    Parameters
    ----------
    worth : callable
        Takes coalitions, np.ndarray [shape=(n, n_players), bool], and returns np.ndarray [shape=(n,) or (n, k)], where
        k is the number of games that are solved at once.
    n_players : int >= 0
    exact : int in [0, 24]
        Games of at most this many players are solved exactly, over all 2^n coalitions; larger ones by sampling.
    permutations : int > 0
        Number of orders in which players join a sampled game; half of them are the reverse of the others (Castro et
        al. 2009).
    seed : int >= 0
        Seed of the sampling.

    Returns
    -------
    values : np.ndarray [shape=(n_players,) or (n_players, k)]
        They add up to worth(all) - worth(none), also when they are sampled.

    Raises
    ------
    ValueError
        If a number is out of range.

    Examples
    --------
    One left and two right gloves; a pair is worth 1.

    >>> shapley(lambda gloves: gloves[:, 0] & (gloves[:, 1] | gloves[:, 2]), 3).round(3)
    array([0.667, 0.167, 0.167])
    """
    if n_players < 0 or not 0 <= exact <= 24 or permutations < 1:
        raise ValueError(
            "n_players must be at least 0, exact lie between 0 and 24 and permutations be positive. "
            f"Got {n_players}, {exact} and {permutations}."
        )
    if n_players > exact:
        return _sampled(worth, n_players, permutations, np.random.default_rng(seed))
    coalitions = (np.arange(2**n_players)[:, None] >> np.arange(n_players) & 1).astype(bool)
    worths = np.asarray(worth(coalitions), dtype=float)
    sizes = coalitions.sum(axis=1)
    values = np.zeros((n_players, *worths.shape[1:]))
    for player in range(n_players):
        without = np.flatnonzero(~coalitions[:, player])
        weight = np.array([1 / (n_players * comb(n_players - 1, s)) for s in range(n_players)])[sizes[without]]
        values[player] = np.tensordot(weight, worths[without + 2**player] - worths[without], axes=1)
    return values


def _sampled(worth, n, permutations, rng):
    orders = np.stack([rng.permutation(n) for _ in range(-(-permutations // 2))])
    orders = np.concatenate([orders, orders[:, ::-1]])
    rank = np.argsort(orders, axis=1)  # rank[p, i]: when player i joins
    coalitions = rank[:, None, :] < np.arange(n + 1)[None, :, None]
    worths = np.asarray(worth(coalitions.reshape(-1, n)), dtype=float)
    worths = worths.reshape(len(orders), n + 1, *worths.shape[1:])
    gains = np.diff(worths, axis=1)  # gains[p, k]: what the player that joins in place k adds
    return np.stack([gains[np.arange(len(orders)), rank[:, player]].mean(axis=0) for player in range(n)])


def contributions(
    membership: Callable[[np.ndarray], np.ndarray],
    descriptors: pd.DataFrame,
    *,
    exact: int = 14,
    permutations: int = 500,
    seed: int = 0,
) -> np.ndarray:
    """Shapley values of every clip's descriptors.

    Parameters
    ----------
    membership : callable
        Takes sets of descriptors, np.ndarray [shape=(n, n_descriptors), bool], and returns degrees (n, n_genres).
    descriptors : pd.DataFrame [clips x descriptors, bool]
    exact, permutations, seed
        As in `shapley`.

    Returns
    -------
    values : np.ndarray [shape=(n_clips, n_descriptors, n_genres)]
        0 for descriptors that a clip does not have.

    Examples
    --------
    >>> clips = pd.DataFrame({"sitar": [True, False], "slow": [True, True]})
    >>> contributions(lambda sets: sets @ np.array([[0.5], [0.1]]), clips)[..., 0]
    array([[0.5, 0.1],
           [0. , 0.1]])
    """
    X = descriptors.to_numpy(dtype=bool)
    values = None
    for row, present in enumerate(X):
        players = np.flatnonzero(present)

        def worth(coalitions, players=players):
            sets = np.zeros((len(coalitions), X.shape[1]), dtype=bool)
            sets[:, players] = coalitions
            return membership(sets)

        own = shapley(worth, len(players), exact=exact, permutations=permutations, seed=seed)
        if values is None:
            values = np.zeros((*X.shape, own.shape[-1]))
        values[row, players] = own
    return np.zeros((*X.shape, 0)) if values is None else values


def table(
    values: np.ndarray,
    descriptors: pd.DataFrame,
    *,
    genres: Sequence[str],
    groups: Sequence | None = None,
    smallest: int = 5,
    repeats: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Mean Shapley value of every descriptor for every genre, over the clips that have the descriptor.

    Parameters
    ----------
    values : np.ndarray [shape=(n_clips, n_descriptors, n_genres)]
        Values from `contributions`.
    descriptors : pd.DataFrame [clips x descriptors, bool]
    genres : sequence of str
    groups : sequence or None
        Group of every clip, such as its artist; intervals resample groups. None: clips.
    smallest : int > 0
        Descriptors of fewer clips are left out.
    repeats : int > 0
        Number of resamples.
    seed : int >= 0
        Seed of the resampling.

    Returns
    -------
    table : pd.DataFrame
        One row per descriptor and genre, strongest first: descriptor, genre, clips, value, value_low, value_high (95 %;
        NaN if there is one group only) and clear (whether the interval excludes 0).

    Examples
    --------
    >>> clips = pd.DataFrame({"sitar": [True] * 6})
    >>> row = table(np.full((6, 1, 1), 0.5), clips, genres=["indian"]).iloc[0]
    >>> row["descriptor"], float(row["value"]), bool(row["clear"])
    ('sitar', 0.5, True)
    """
    groups = np.arange(len(descriptors)) if groups is None else np.asarray(groups)
    rows = []
    for k, name in enumerate(descriptors.columns):
        has = descriptors[name].to_numpy()
        if has.sum() < smallest:
            continue
        own, own_groups = values[has, k], groups[has]
        low = high = np.full(len(genres), np.nan)
        if len(np.unique(own_groups)) > 1:
            intervals = evaluation.bootstrap(
                lambda chosen, own=own: dict(enumerate(own[chosen].mean(axis=0))),
                own_groups,
                repeats=repeats,
                seed=seed,
            )
            low, high = np.array([intervals[g] for g in range(len(genres))]).T
        rows += [(name, genre, int(has.sum()), own[:, g].mean(), low[g], high[g]) for g, genre in enumerate(genres)]
    kinds = {"descriptor": str, "genre": str, "clips": int, "value": float, "value_low": float, "value_high": float}
    means = pd.DataFrame(rows, columns=list(kinds)).astype(kinds)
    means["clear"] = (means["value_low"] > 0) | (means["value_high"] < 0)
    return means.sort_values("value", key=np.abs, ascending=False, kind="stable", ignore_index=True)

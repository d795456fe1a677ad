"""Which descriptor of a set speaks for which genre: Shapley values of the game that adds descriptors to nothing.

The players are the descriptors that a clip has; the worth of a coalition is the membership degree of just these
descriptors (Shapley 1953; Strumbelj and Kononenko 2010). Absent descriptors are no players: what a clip lacks never
speaks. A clip's values add up to its membership minus that of the empty set.
"""

from math import comb

import numpy as np
import pandas as pd

from musictools import evaluation

__all__ = ["contributions", "shapley", "table"]


def shapley(worth, n_players, *, exact=14, permutations=500, seed=0):
    """Shapley values of a game.

    Parameters
    ----------
    worth : callable
        Takes coalitions, np.ndarray [shape=(n, n_players), bool], returns np.ndarray [shape=(n,) or (n, k)]: k games
        at once.
    n_players : int >= 0
    exact : int in [0, 24]
        Games of up to so many players are solved exactly, over all 2^n coalitions; larger ones by sampling.
    permutations : int > 0
        Of a sampled game: orders in which players join, half of them the reverse of the others (Castro et al. 2009).
    seed : int >= 0
        Of the sampling.

    Returns
    -------
    values : np.ndarray [shape=(n_players,) or (n_players, k)]
        They add up to worth(all) - worth(none), sampled ones, too.

    Raises
    ------
    ValueError
        If a number is out of range.
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
    steps = np.diff(worths, axis=1)  # what the player that joins at each place adds
    return np.stack([steps[np.arange(len(orders)), rank[:, player]].mean(axis=0) for player in range(n)])


def contributions(membership, descriptors, *, exact=14, permutations=500, seed=0):
    """Shapley values of every clip's descriptors.

    Parameters
    ----------
    membership : callable
        Takes sets of descriptors, np.ndarray [shape=(n, n_descriptors), bool], returns degrees (n, n_genres).
    descriptors : pd.DataFrame [clips x descriptors, bool]
    exact, permutations, seed
        As in `shapley`.

    Returns
    -------
    values : np.ndarray [shape=(n_clips, n_descriptors, n_genres)]
        0 for descriptors that a clip does not have.
    """
    X = descriptors.to_numpy(dtype=bool)
    values = None
    for row, present in enumerate(X):
        players = np.flatnonzero(present)

        def worth(coalitions, players=players):
            sets = np.zeros((len(coalitions), X.shape[1]), dtype=bool)
            sets[:, players] = coalitions
            return membership(sets)

        found = shapley(worth, len(players), exact=exact, permutations=permutations, seed=seed)
        if values is None:
            values = np.zeros((*X.shape, found.shape[-1]))
        values[row, players] = found
    return np.zeros((*X.shape, 0)) if values is None else values


def table(values, descriptors, *, genres, groups=None, smallest=5, repeats=500, seed=0):
    """Which descriptors speak for which genre: mean Shapley value over the clips that have the descriptor.

    Parameters
    ----------
    values : np.ndarray [shape=(n_clips, n_descriptors, n_genres)]
        Of `contributions`.
    descriptors : pd.DataFrame [clips x descriptors, bool]
    genres : sequence of str
    groups : sequence or None
        What clips belong to, such as artists: intervals resample these. None: clips.
    smallest : int > 0
        Descriptors on fewer clips are left out.
    repeats, seed
        Of the bootstrap.

    Returns
    -------
    table : pd.DataFrame
        A row a descriptor and genre: descriptor, genre, clips, value, value_low, value_high (95 %, NaN with one group)
        and clear: the interval excludes 0. Strongest first.
    """
    groups = np.arange(len(descriptors)) if groups is None else np.asarray(groups)
    rows = []
    for k, name in enumerate(descriptors.columns):
        has = descriptors[name].to_numpy()
        if has.sum() < smallest:
            continue
        own, of = values[has, k], groups[has]
        low = high = np.full(len(genres), np.nan)
        if len(np.unique(of)) > 1:
            spread = evaluation.bootstrap(
                lambda chosen, own=own: dict(enumerate(own[chosen].mean(axis=0))), of, repeats=repeats, seed=seed
            )
            low, high = np.array([spread[g] for g in range(len(genres))]).T
        rows += [(name, genre, int(has.sum()), own[:, g].mean(), low[g], high[g]) for g, genre in enumerate(genres)]
    found = pd.DataFrame(rows, columns=["descriptor", "genre", "clips", "value", "value_low", "value_high"])
    found["clear"] = (found["value_low"] > 0) | (found["value_high"] < 0)
    return found.sort_values("value", key=np.abs, ascending=False, kind="stable", ignore_index=True)

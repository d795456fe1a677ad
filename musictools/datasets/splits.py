"""Dividing clips into parts, and counting what leaks from one part into another.

A split is a Series clip id -> part name. Shares are of clips; they are met as closely as whole clips, or whole
artists, allow.
"""

import numpy as np
import pandas as pd

__all__ = ["grouped", "leakage", "random", "strata"]


def strata(genres):
    """One label a clip for stratifying: its genre, `none` or `several`.

    Parameters
    ----------
    genres : pd.DataFrame [clips x genres, bool]

    Returns
    -------
    strata : pd.Series [clip id -> str]
    """
    if not genres.shape[1]:
        return pd.Series("none", index=genres.index)
    count = genres.sum(axis=1).to_numpy()
    names = np.asarray(genres.columns, dtype=object)[genres.to_numpy().argmax(axis=1)]
    names = np.where(count == 1, names, np.where(count == 0, "none", "several"))
    return pd.Series(names, index=genres.index)


def random(strata, *, parts, seed):
    """Random split, every stratum divided by the same shares.

    Parameters
    ----------
    strata : pd.Series [clip id -> label]
    parts : dict of str to float
        Part -> share; the shares add up to 1.
    seed : int >= 0

    Returns
    -------
    split : pd.Series [clip id -> part]
    """
    names, shares = _check(parts)
    rng = np.random.default_rng(seed)
    split = pd.Series(names[0], index=strata.index, dtype=object, name="split")
    carry = np.zeros(len(names))
    for _, group in strata.groupby(strata, sort=True):
        ids = group.index.to_numpy()[rng.permutation(len(group))]
        carry += shares * len(ids)
        take = _whole(carry, len(ids))
        carry -= take
        split.loc[ids] = np.repeat(np.asarray(names, dtype=object), take)
    return split


def grouped(strata, groups, *, parts, seed):
    """Random split that keeps groups together, for example artists, with strata as even as groups allow.

    Parameters
    ----------
    strata : pd.Series [clip id -> label]
    groups : pd.Series [clip id -> group]
        Clips without a group (missing value) stand for themselves.
    parts : dict of str to float
        Part -> share; the shares add up to 1.
    seed : int >= 0

    Returns
    -------
    split : pd.Series [clip id -> part]
        No group has clips in two parts.
    """
    names, shares = _check(parts)
    rng = np.random.default_rng(seed)
    alone = pd.Series([f"\0{i}" for i in range(len(groups))], index=groups.index)
    groups = groups.astype(object).where(groups.notna() & (groups.astype(str) != ""), alone)
    table = pd.crosstab(groups, strata)
    table = table.iloc[rng.permutation(len(table))]
    table = table.iloc[np.argsort(-table.sum(axis=1).to_numpy(), kind="stable")]
    total = table.to_numpy().sum(axis=0)
    wanted = np.outer(shares, np.append(total, total.sum()))
    have = np.zeros_like(wanted)
    chosen = {}
    for group, row in zip(table.index, table.to_numpy()):
        row = np.append(row, row.sum())
        # Each choice is judged by how far it lifts the parts above or below what they should hold.
        cost = [((have[p] + row - wanted[p]) ** 2 - (have[p] - wanted[p]) ** 2) @ (1 / np.maximum(wanted[p], 1))
                for p in range(len(names))]
        part = int(np.argmin(cost))
        have[part] += row
        chosen[group] = names[part]
    return groups.map(chosen).rename("split")


def leakage(split, tracks, *, train="train", columns=("track", "album", "artist")):
    """Share of each other part's clips whose track, album or artist also stands in training.

    Parameters
    ----------
    split : pd.Series [clip id -> part]
    tracks : pd.DataFrame
        With the named columns; albums are told apart by artist and album. A missing or empty artist, album or
        track is shared with nobody.
    train : str
        Name of the training part.
    columns : sequence of str

    Returns
    -------
    leakage : pd.DataFrame
        A row a part: clips, and for every column the share in [0, 1].

    Raises
    ------
    ValueError
        If no clip is in the part `train`.
    """
    if not (split == train).any():
        raise ValueError(f"No clip is in the part {train!r}. Parts: {', '.join(map(str, split.unique()))}.")
    tracks = tracks.loc[split.index].astype(object)
    known = {c: tracks[c].where(tracks[c].notna() & (tracks[c].astype(str) != "")) for c in tracks.columns}
    keys = {c: known[c] for c in columns if c in known}
    if "album" in keys and "artist" in known:
        keys["album"] = known["artist"].astype(str).where(known["album"].notna()) + " / " + known["album"].astype(str)
    rows = []
    for part in [p for p in split.unique() if p != train]:
        inside = split == part
        row = {"part": part, "clips": int(inside.sum())}
        row |= {c: float(k[inside].isin(set(k[split == train].dropna())).mean()) for c, k in keys.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def _check(parts):
    shares = np.array(list(parts.values()), dtype=float)
    if len(parts) < 2 or not (shares > 0).all() or not abs(shares.sum() - 1) <= 1e-9:
        raise ValueError(f"parts must be at least two positive shares that add up to 1. Got {parts}.")
    return list(parts), shares


def _whole(wanted, total):
    """Whole numbers close to `wanted` that add up to `total`."""
    take = np.maximum(np.floor(wanted), 0).astype(int)
    for k in np.argsort(-(wanted - take), kind="stable"):
        if take.sum() < total:
            take[k] += 1
    while take.sum() != total:
        k = int(np.argmax(wanted - take)) if take.sum() < total else int(np.argmax(take - wanted))
        take[k] += np.sign(total - take.sum())
    return take

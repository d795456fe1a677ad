"""Random splits of clips, by clip or by group."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd

__all__ = ["choose_groups", "folds", "grouped", "random", "shuffle_split", "strata", "train_test"]


def strata(genres: pd.DataFrame) -> pd.Series:
    """One label a clip for stratifying: its genre, `none` or `several`.

    Parameters
    ----------
    genres : pd.DataFrame [clips x genres, bool]

    Returns
    -------
    strata : pd.Series [clip id -> str]

    Examples
    --------
    >>> strata(pd.DataFrame({"pop": [True, False, True], "rock": [False, False, True]})).tolist()
    ['pop', 'none', 'several']
    """
    if not genres.shape[1]:
        return pd.Series("none", index=genres.index)
    count = genres.sum(axis=1).to_numpy()
    names = np.asarray(genres.columns, dtype=object)[genres.to_numpy().argmax(axis=1)]
    names = np.where(count == 1, names, np.where(count == 0, "none", "several"))
    return pd.Series(names, index=genres.index)


def random(strata: pd.Series, *, shares: dict[str, float], seed: int) -> pd.Series:
    """Random split, every stratum divided by the same shares.

    Parameters
    ----------
    strata : pd.Series [clip id -> label]
    shares : dict of str to float
        Subset -> share; the shares add up to 1.
    seed : int >= 0

    Returns
    -------
    split : pd.Series [clip id -> subset]

    Raises
    ------
    ValueError
        If the shares do not add up to 1.

    See Also
    --------
    grouped : Keeps artists together.

    Examples
    --------
    >>> genres = pd.Series(["pop"] * 6 + ["rock"] * 4)
    >>> split = random(genres, shares={"train": 0.5, "test": 0.5}, seed=0)
    >>> pd.crosstab(genres, split).loc["rock"].to_dict()
    {'test': 2, 'train': 2}
    """
    names, values = _check_shares(shares)
    rng = np.random.default_rng(seed)
    split = pd.Series(names[0], index=strata.index, dtype=object, name="split")
    carry = np.zeros(len(names))
    for _, group in strata.groupby(strata, sort=True):
        ids = group.index.to_numpy()[rng.permutation(len(group))]
        carry += values * len(ids)
        take = _whole(carry, len(ids))
        carry -= take
        split.loc[ids] = np.repeat(np.asarray(names, dtype=object), take)
    return split


def grouped(strata: pd.Series, groups: pd.Series, *, shares: dict[str, float], seed: int) -> pd.Series:
    """Random split that keeps groups together, for example artists, with strata as even as groups allow.

    Parameters
    ----------
    strata : pd.Series [clip id -> label]
    groups : pd.Series [clip id -> group]
        Clips without a group (missing value) stand for themselves.
    shares : dict of str to float
        Subset -> share; the shares add up to 1.
    seed : int >= 0

    Returns
    -------
    split : pd.Series [clip id -> subset]
        No group has clips in two subsets.

    Raises
    ------
    ValueError
        If the shares do not add up to 1.

    Examples
    --------
    >>> artists = pd.Series(["Ann", "Ann", "Ben", "Ben", "Cid", "Cid"])
    >>> split = grouped(pd.Series(["pop"] * 6), artists, shares={"train": 2 / 3, "test": 1 / 3}, seed=0)
    >>> int(split.groupby(artists).nunique().max())
    1
    """
    names, values = _check_shares(shares)
    rng = np.random.default_rng(seed)
    alone = pd.Series([f"\0{i}" for i in range(len(groups))], index=groups.index)
    groups = groups.astype(object).where(groups.notna() & (groups.astype(str) != ""), alone)
    table = pd.crosstab(groups, strata)
    table = table.iloc[rng.permutation(len(table))]
    table = table.iloc[np.argsort(-table.sum(axis=1).to_numpy(), kind="stable")]
    total = table.to_numpy().sum(axis=0)
    wanted = np.outer(values, np.append(total, total.sum()))
    have = np.zeros_like(wanted)
    chosen = {}
    for group, row in zip(table.index, table.to_numpy(), strict=True):
        row = np.append(row, row.sum())
        # Each choice is judged by how far it lifts the subsets above or below what they should hold.
        cost = [
            ((have[k] + row - wanted[k]) ** 2 - (have[k] - wanted[k]) ** 2) @ (1 / np.maximum(wanted[k], 1))
            for k in range(len(names))
        ]
        best = int(np.argmin(cost))
        have[best] += row
        chosen[group] = names[best]
    return groups.map(chosen).rename("split")


def shuffle_split(
    ids: Sequence, *, groups: pd.Series | None = None, test_share: float = 0.25, seed: int = 0
) -> tuple[pd.Index, pd.Index]:
    """Training and test clips, drawn as scikit-learn does.

    Parameters
    ----------
    ids : sequence of clip id
    groups : pd.Series [clip id -> group] or None
        No group, such as an artist, has clips on both sides. None: clips are drawn one by one.
    test_share : float in (0, 1)
        Share of the clips, or of the groups.
    seed : int >= 0

    Returns
    -------
    train, test : pd.Index
        Clip ids, in the order drawn.

    See Also
    --------
    train_test : As a Series, with clips that go into the test first.

    Examples
    --------
    >>> train, test = shuffle_split(range(8), test_share=0.25)
    >>> len(train), len(test)
    (6, 2)
    """
    from sklearn.model_selection import GroupShuffleSplit, train_test_split

    ids = pd.Index(ids)
    if groups is None:
        train, test = train_test_split(np.arange(len(ids)), test_size=test_share, random_state=seed)
    else:
        cut = GroupShuffleSplit(1, test_size=test_share, random_state=seed)
        train, test = next(cut.split(ids, groups=groups.loc[ids].to_numpy()))
    return ids[train], ids[test]


def train_test(
    ids: Sequence, *, test_share: float = 0.2, first: Collection = (), groups: Sequence | None = None, seed: int = 0
) -> pd.Series:
    """Split clips into training and test.

    Parameters
    ----------
    ids : sequence of clip id
    test_share : float in (0, 1)
    first : collection of clip id
        Clips that are taken for the test before any other: those that no network was trained on.
    groups : sequence or None
        Group of every clip, such as its artist: no group has clips on both sides, and the share is met as nearly as
        whole groups allow. With groups `first` is ignored.
    seed : int >= 0

    Returns
    -------
    split : pd.Series [clip id -> "train" or "test"]
        In the order of `ids`.

    Raises
    ------
    ValueError
        If the share leaves no clip, or no group, on one side.

    Examples
    --------
    >>> train_test([3, 5, 7, 9, 11], first=[9]).to_dict()
    {3: 'train', 5: 'train', 7: 'train', 9: 'test', 11: 'train'}
    """
    ids = pd.Index(ids)
    n_test = round(len(ids) * test_share)
    if not 0 < test_share < 1 or not 0 < n_test < len(ids):
        raise ValueError(
            f"test_share must lie in (0, 1) and leave clips on both sides. Got {test_share!r} of {len(ids)} clips."
        )
    rng, split = np.random.default_rng(seed), pd.Series("train", index=ids, name="part", dtype=object)
    if groups is None:
        drawn = rng.permutation(len(ids))
        order = drawn[np.argsort(~ids.isin(list(first))[drawn], kind="stable")]
        split.iloc[order[:n_test]] = "test"
        return split
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(group) != len(ids) or len(names) < 2:
        raise ValueError(
            f"groups must name two groups or more, one of every clip ({len(ids)}). Got {len(group)} "
            f"clips in {len(names)} groups."
        )
    order = rng.permutation(len(names))
    total = np.bincount(group)[order].cumsum()
    n_groups = 1 + int(np.abs(total[:-1] - n_test).argmin())
    split[np.isin(group, order[:n_groups])] = "test"
    return split


def choose_groups(groups: np.ndarray, *, share: float, seed: int) -> np.ndarray:
    """Choose whole groups, for example clips, until about `share` of them is chosen.

    Parameters
    ----------
    groups : np.ndarray [shape=(n,)]
        Group of every example.
    share : float in (0, 1)
    seed : int >= 0

    Returns
    -------
    chosen : np.ndarray [shape=(n,), bool]
        At least one group is chosen, and at least one is not.

    Raises
    ------
    ValueError
        If the share is out of range, or there are fewer than two groups.

    Examples
    --------
    >>> clip = np.array([0, 0, 1, 1, 2, 2])
    >>> np.unique(clip[choose_groups(clip, share=0.3, seed=0)]).size
    1
    """
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1. Got {share}.")
    names = np.random.default_rng(seed).permutation(np.unique(groups))
    if len(names) < 2:
        raise ValueError(f"To divide groups there must be at least two. Got {len(names)}.")
    return np.isin(groups, names[: min(max(1, round(share * len(names))), len(names) - 1)])


def folds(
    n_clips: int, *, n_folds: int = 3, groups: np.ndarray | None = None, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Divide clips for cross-validation, without regard to their tags.

    Parameters
    ----------
    n_clips : int > 0
    n_folds : int > 1
    groups : np.ndarray [shape=(n_clips,)] or None
        No group, such as an artist, has clips in two folds.
    seed : int >= 0

    Returns
    -------
    folds : list of (np.ndarray, np.ndarray)
        Rows to learn from and rows to test on, a pair a fold.

    Raises
    ------
    ValueError
        If there are fewer clips than folds.

    Examples
    --------
    >>> [test.size for _, test in folds(10, n_folds=3)]
    [4, 3, 3]
    """
    from sklearn.model_selection import GroupKFold, KFold

    if not isinstance(n_folds, int | np.integer) or not 1 < n_folds <= n_clips:
        raise ValueError(f"n_folds must be an int from 2 to the number of clips, {n_clips}. Got {n_folds!r}.")
    cut = (KFold if groups is None else GroupKFold)(n_folds, shuffle=True, random_state=seed)
    return list(cut.split(np.zeros(n_clips), groups=groups))


def _check_shares(shares):
    values = np.array(list(shares.values()), dtype=float)
    if len(shares) < 2 or not (values > 0).all() or not abs(values.sum() - 1) <= 1e-9:
        raise ValueError(f"shares must be at least two positive numbers that add up to 1. Got {shares}.")
    return list(shares), values


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

"""Which clips and tags take part in probing, and how they are divided.

Conventions
-----------
`labels` is a bool DataFrame, clips x tags. All draws are seeded; every choice is by clip.
"""

import numpy as np
import pandas as pd

__all__ = ["TAGS", "divide", "folds", "limited", "middle", "usable"]

# `rotheneder2023` 6.2, in the order of its tables.
TAGS = ("guitar", "string", "drums", "fast", "violin", "piano", "synthesizer", "male vocals", "slow", "female vocals")


def limited(labels, *, per_tag=0, seed=0):
    """Clips that have a tag at all, and no more than a number of every tag.

    `rotheneder2023` 6.2 limits every tag to 3,000 clips and does not say how. Here the tags take turns, the most
    frequent one first: of a tag that has too many, clips drawn at random leave, with all their tags, until the limit
    holds. Later turns only take more away, so no count ever exceeds the limit; tags that occur together with a limited
    one shrink with it, as they do in table 6.1.

    Parameters
    ----------
    labels : pd.DataFrame [clips x tags, bool]
    per_tag : int >= 0
        0: no limit.
    seed : int >= 0

    Returns
    -------
    labels : pd.DataFrame [clips x tags, bool]
        Fewer rows, in the order given.

    Raises
    ------
    ValueError
        If `labels` is not bool, the limit is negative, or no clip has any of the tags.
    """
    _check(labels)
    if not isinstance(per_tag, int | np.integer) or per_tag < 0:
        raise ValueError(f"per_tag must be an int and at least 0. Got {per_tag!r}.")
    labels = labels[labels.any(axis=1)]
    if labels.empty:
        raise ValueError(f"No clip has any of the tags {', '.join(map(str, labels.columns))}.")
    values, keep = labels.to_numpy(), np.ones(len(labels), dtype=bool)
    rng = np.random.default_rng(seed)
    for tag in np.argsort(-values.sum(axis=0), kind="stable") if per_tag else []:
        having = np.flatnonzero(keep & values[:, tag])
        keep[rng.permutation(having)[: max(0, len(having) - per_tag)]] = False
    return labels[keep]


def usable(labels, *, min_positives=10):
    """The tags that can be learned, and why the others cannot.

    Parameters
    ----------
    labels : pd.DataFrame [clips x tags, bool]
    min_positives : int > 0
        Clips that must have the tag, and clips that must not.

    Returns
    -------
    labels : pd.DataFrame [clips x fewer tags, bool]
    left_out : pd.Series [tag -> reason, str]
    """
    _check(labels)
    if not isinstance(min_positives, int | np.integer) or min_positives < 1:
        raise ValueError(f"min_positives must be a positive int. Got {min_positives!r}.")
    counts, reasons = labels.sum(), {}
    for tag, n in counts.items():
        if n < min_positives:
            reasons[tag] = f"{n} clips have it, {min_positives} are needed"
        elif len(labels) - n < min_positives:
            reasons[tag] = f"{len(labels) - n} clips lack it, {min_positives} are needed"
    return labels.drop(columns=list(reasons)), pd.Series(reasons, name="reason", dtype=object)


def middle(frames):
    """One input a clip, the one in the middle of its inputs; of an even number the later of the two.

    `rotheneder2023` does not say which inputs of a clip were probed. One input a clip keeps clips, not inputs, the
    unit of all counts; the middle is where a clip of a longer song is least likely to fade.

    Parameters
    ----------
    frames : Frames

    Returns
    -------
    frames : Frames
        ``clip`` says which clips have an input; those shorter than one have none.
    """
    first = np.flatnonzero(np.r_[True, np.diff(frames.clip) != 0][: len(frames.clip)])
    count = np.diff(np.r_[first, len(frames.clip)])
    return frames.take(first + count // 2)


def divide(ids, *, test_share=0.2, first=(), groups=None, seed=0):
    """Divide clips into training and test.

    Parameters
    ----------
    ids : sequence of clip id
    test_share : float in (0, 1)
    first : collection of clip id
        Clips that are taken for the test before any other: those that no network was trained on.
    groups : sequence or None
        Of every clip, such as its artist: no group stands on both sides, and the share is met as nearly as whole
        groups allow. With groups `first` is not heeded.
    seed : int >= 0

    Returns
    -------
    parts : pd.Series [clip id -> "train" or "test"]
        In the order of `ids`.

    Raises
    ------
    ValueError
        If the share leaves no clip, or no group, on one side.
    """
    ids = pd.Index(ids)
    n_test = round(len(ids) * test_share)
    if not 0 < test_share < 1 or not 0 < n_test < len(ids):
        raise ValueError(f"test_share must lie in (0, 1) and leave clips on both sides. Got {test_share!r} of "
                         f"{len(ids)} clips.")
    rng, parts = np.random.default_rng(seed), pd.Series("train", index=ids, name="part", dtype=object)
    if groups is None:
        drawn = rng.permutation(len(ids))
        order = drawn[np.argsort(~ids.isin(list(first))[drawn], kind="stable")]
        parts.iloc[order[:n_test]] = "test"
        return parts
    names, group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    if len(group) != len(ids) or len(names) < 2:
        raise ValueError(f"groups must name two groups or more, one of every clip ({len(ids)}). Got {len(group)} "
                         f"clips in {len(names)} groups.")
    order = rng.permutation(len(names))
    total = np.bincount(group)[order].cumsum()
    n_groups = 1 + int(np.abs(total[:-1] - n_test).argmin())
    parts[np.isin(group, order[:n_groups])] = "test"
    return parts


def folds(n_clips, *, n_folds=3, seed=0):
    """Divide clips for cross-validation, without regard to their tags.

    Parameters
    ----------
    n_clips : int > 0
    n_folds : int > 1
    seed : int >= 0

    Returns
    -------
    splits : list of (np.ndarray, np.ndarray)
        Rows to learn from and rows to test on, a pair a fold.
    """
    from sklearn.model_selection import KFold

    if not isinstance(n_folds, int | np.integer) or not 1 < n_folds <= n_clips:
        raise ValueError(f"n_folds must be an int from 2 to the number of clips, {n_clips}. Got {n_folds!r}.")
    return list(KFold(n_folds, shuffle=True, random_state=seed).split(np.zeros(n_clips)))


def _check(labels):
    if not isinstance(labels, pd.DataFrame) or not labels.dtypes.eq(bool).all():
        raise ValueError("labels must be a DataFrame of bool, clips x tags.")
    if labels.index.has_duplicates:
        raise ValueError(f"labels must name every clip once. Got {labels.index[labels.index.duplicated()][0]!r} twice.")

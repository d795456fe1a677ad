"""Subsets of clips with at most so many clips of a class or tag."""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["check_labels", "limit_per_class", "limit_per_tag"]


def limit_per_class(classes: pd.Series, *, per_class: int, seed: int) -> pd.Series:
    """At most `per_class` clips of every class, for example genre, chosen at random.

    Parameters
    ----------
    classes : pd.Series [clip id -> class]
    per_class : int >= 0
        0: as many as the rarest class has.
    seed : int >= 0

    Returns
    -------
    classes : pd.Series
        The chosen clips, in the order given.

    Raises
    ------
    ValueError
        If the limit is negative or there are no clips.

    See Also
    --------
    limit_per_tag : For clips with several tags.

    Examples
    --------
    >>> limit_per_class(pd.Series(["pop"] * 5 + ["rock"] * 2), per_class=0, seed=0).value_counts().to_dict()
    {'pop': 2, 'rock': 2}
    """
    if per_class < 0:
        raise ValueError(f"per_class must be at least 0. Got {per_class}.")
    if classes.empty:
        raise ValueError("There are no clips to choose from.")
    n = per_class or int(classes.value_counts().min())
    rng = np.random.default_rng(seed)
    chosen = [group.index.to_numpy()[rng.permutation(len(group))[:n]] for _, group in classes.groupby(classes)]
    return classes[classes.index.isin(np.concatenate(chosen))]


def limit_per_tag(labels: pd.DataFrame, *, per_tag: int = 0, seed: int = 0) -> pd.DataFrame:
    """Clips that have a tag at all, and at most `per_tag` clips of every tag.

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

    Examples
    --------
    >>> labels = pd.DataFrame({"drums": [True] * 4 + [False], "harp": [True] + [False] * 4})
    >>> limit_per_tag(labels, per_tag=2)["drums"].sum()
    np.int64(2)
    """
    check_labels(labels)
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


def check_labels(labels: pd.DataFrame) -> None:
    """Raise ValueError unless `labels` is a bool table that names every clip once.

    Parameters
    ----------
    labels : pd.DataFrame [clips x tags, bool]

    Raises
    ------
    ValueError
        If it is not.
    """
    if not isinstance(labels, pd.DataFrame) or not labels.dtypes.eq(bool).all():
        raise ValueError("labels must be a DataFrame of bool, clips x tags.")
    if labels.index.has_duplicates:
        raise ValueError(f"labels must name every clip once. Got {labels.index[labels.index.duplicated()][0]!r} twice.")

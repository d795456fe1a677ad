"""The procedures by which `rotheneder2023` divides the clips of genre classifiers and taggers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from musictools import tags
from musictools.datasets.splits.drawing import random, strata

if TYPE_CHECKING:
    from musictools.datasets.base import Dataset

__all__ = ["genre_split", "tagger_split"]


def genre_split(
    data: Dataset, genres: pd.Series, *, hold_out: int, kind: str, test_share: float = 0.2, seed: int = 0
) -> pd.Series:
    """Divide single-genre clips into training, test and a hold-out that no genre experiment ever sees.

    Parameters
    ----------
    data : Dataset
    genres : pd.Series [clip id -> genre]
        Single-genre clips.
    hold_out : int >= 0
        Clips kept aside first, at random (2,000 in `rotheneder2023`).
    kind : str
        A split that the data set knows; ``"random"`` and ``"artist"`` use `test_share`.
    test_share : float in (0, 1)
    seed : int >= 0

    Returns
    -------
    split : pd.Series [clip id -> "train", "test" or "hold_out"]
        The hold-out is the same for every `kind`.

    Raises
    ------
    ValueError
        If the hold-out would take all clips, or the data set has no such split.

    See Also
    --------
    musictools.datasets.Dataset.split : The splits of a data set.
    tagger_split : The procedure for taggers.

    Examples
    --------
    >>> from musictools import datasets
    >>> tracks = pd.DataFrame({"artist": list("aabbccdd"), "album": "", "title": "", "path": ""})
    >>> genre = pd.DataFrame({"rock": [True] * 8})
    >>> data = datasets.Dataset("songs", tracks=tracks, tags=genre, genres=genre, descriptors=genre[[]])
    >>> single = tags.single_genre(data).genres
    >>> genre_split(data, single, hold_out=2, kind="random", test_share=0.5).value_counts().sort_index().to_dict()
    {'hold_out': 2, 'test': 3, 'train': 3}
    """
    if not 0 <= hold_out < len(genres):
        raise ValueError(
            f"hold_out must lie between 0 and the number of single-genre clips, {len(genres)}. Got {hold_out}."
        )
    split = pd.Series("", index=genres.index, dtype=object, name="part")
    if hold_out:
        share = hold_out / len(genres)
        first = random(genres, shares={"hold_out": share, "rest": 1 - share}, seed=seed)
        split[first == "hold_out"] = "hold_out"
    rest = split.index[split == ""]
    shares = {"train": 1 - test_share, "test": test_share} if kind in ("random", "artist") else None
    inner = data.split(kind, ids=rest, shares=shares, seed=seed)
    split.loc[inner.index] = inner
    return split[split != ""]


def tagger_split(
    data: Dataset,
    ids: Sequence,
    *,
    hold_out: int,
    unseen_share: float = 0.5,
    test_share: float = 0.2,
    validation_share: float = 0.1,
    seed: int = 0,
) -> pd.DataFrame:
    """Divide clips into training, validation, test and a hold-out for scores of whole clips.

    Parameters
    ----------
    data : Dataset
    ids : sequence of clip id
    hold_out : int > 0
        Single-genre clips kept aside (2,000 in `rotheneder2023`).
    unseen_share : float in [0, 1)
        Share of the hold-out by artists that are kept out of every other subset (0 in the source).
    test_share : float in (0, 1)
        Share of the clips that are left.
    validation_share : float in (0, 1)
        Share of the clips that are left after that.
    seed : int >= 0

    Returns
    -------
    split : pd.DataFrame [clip id -> part, artist]
        part: "train", "validation", "test", "hold_out" or "unused" (other clips of unseen artists); artist: "seen" or
        "unseen".

    Raises
    ------
    ValueError
        If there are too few single-genre clips, or a share is out of range.

    See Also
    --------
    genre_split : The procedure for genre classifiers.

    Examples
    --------
    >>> data = datasets.load("magnatagatune")  # doctest: +SKIP
    >>> tagger_split(data, data.tracks.index, hold_out=2000)["part"].value_counts()  # doctest: +SKIP
    """
    ids = pd.Index(ids)
    single = tags.single_genre(data).genres
    single = single[single.index.isin(ids)]
    if not 0 < hold_out < len(single) or not 0 <= unseen_share < 1:
        raise ValueError(
            f"hold_out must lie between 1 and the number of single-genre clips, {len(single)}, and "
            f"unseen_share in [0, 1). Got {hold_out} and {unseen_share}."
        )
    split = pd.DataFrame({"part": "", "artist": "seen"}, index=ids)
    if unseen_share:
        share = hold_out * unseen_share / len(single)
        kept = data.split("artist", shares={"unseen": share, "rest": 1 - share}, seed=seed, ids=single.index)
        artist = data.tracks.loc[ids, "artist"]
        names = set(artist[kept.index[kept == "unseen"]].dropna()) - {""}  # clips without an artist stand alone
        split.loc[artist.isin(names), :] = ["unused", "unseen"]
        split.loc[kept.index[kept == "unseen"], :] = ["hold_out", "unseen"]
    rest = single.index[(split.loc[single.index, "part"] == "").to_numpy()]
    share = (hold_out - int((split["part"] == "hold_out").sum())) / max(1, len(rest))
    if 0 < share < 1:
        kept = data.split("random", shares={"hold_out": share, "rest": 1 - share}, seed=seed, ids=rest)
        split.loc[kept.index[kept == "hold_out"], "part"] = "hold_out"
    for subset, share in (("test", test_share), ("validation", validation_share)):
        left = split.index[split["part"] == ""]
        shares = {subset: share, "": 1 - share}
        split.loc[left, "part"] = random(strata(data.genres.loc[left]), shares=shares, seed=seed)
    split.loc[split["part"] == "", "part"] = "train"
    return split

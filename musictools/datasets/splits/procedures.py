"""The procedures by which `rotheneder2023` divides the clips of genre classifiers and taggers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from musictools.datasets.splits.drawing import random, strata
from musictools.datasets.splits.held_out import held_out_clips

if TYPE_CHECKING:
    from musictools.datasets.base import Dataset

__all__ = ["genre_split", "tagger_split"]


def genre_split(
    data: Dataset,
    genres: pd.Series,
    *,
    hold_out: int,
    unseen_share: float = 0.0,
    choice: str = "random",
    kind: str,
    test_share: float = 0.2,
    seed: int = 0,
    draw: int = 0,
) -> pd.Series:
    """Divide single-genre clips into training, test and the held-out clips of `held_out_clips`.

    Parameters
    ----------
    data : Dataset
    genres : pd.Series [clip id -> genre]
        Single-genre clips.
    hold_out, unseen_share, choice
        As in `held_out_clips`.
    kind : str
        A split that the data set knows; ``"random"`` and ``"artist"`` use `test_share`.
    test_share : float in (0, 1)
    seed : int >= 0
        Seed of the held-out clips.
    draw : int >= 0
        Number of the division into training and test; the held-out clips are the same for all.

    Returns
    -------
    split : pd.Series [clip id -> "train", "test" or "hold_out"]

    Raises
    ------
    ValueError
        If there are too few single-genre clips, or the data set has no such split.

    See Also
    --------
    musictools.datasets.Dataset.split : The splits of a data set.
    tagger_split : The procedure for taggers.

    Examples
    --------
    >>> from musictools import datasets, tags
    >>> tracks = pd.DataFrame({"artist": list("aabbccdd"), "album": "", "title": "", "path": ""})
    >>> genre = pd.DataFrame({"rock": [True] * 8})
    >>> data = datasets.Dataset("songs", tracks=tracks, tags=genre, genres=genre, descriptors=genre[[]])
    >>> single = tags.single_genre(data).genres
    >>> genre_split(data, single, hold_out=2, kind="random", test_share=0.5).value_counts().sort_index().to_dict()
    {'hold_out': 2, 'test': 3, 'train': 3}
    """
    held_out = held_out_clips(data, hold_out=hold_out, unseen_share=unseen_share, choice=choice, seed=seed)
    split = pd.Series("", index=genres.index, dtype=object, name="part")
    split[split.index.isin(held_out.index)] = "hold_out"
    rest = split.index[split == ""]
    shares = {"train": 1 - test_share, "test": test_share} if kind in ("random", "artist") else None
    inner = data.split(kind, ids=rest, shares=shares, seed=seed + draw)
    split.loc[inner.index] = inner
    return split[split != ""]


def tagger_split(
    data: Dataset,
    ids: Sequence,
    *,
    hold_out: int,
    unseen_share: float = 0.0,
    choice: str = "random",
    labels: pd.DataFrame | None = None,
    test_share: float = 0.2,
    validation_share: float = 0.1,
    seed: int = 0,
) -> pd.DataFrame:
    """Divide clips into training, validation, test and the held-out clips of `held_out_clips`.

    Parameters
    ----------
    data : Dataset
    ids : sequence of clip id
    hold_out, unseen_share, choice
        As in `held_out_clips`; at least one clip is held out. The other clips of the unseen artists are left unused.
    labels : pd.DataFrame [clips x tags, bool] or None
        Clips without any of these tags are left unused unless they are held out, as in `rotheneder2023` 5.1.1. None:
        all clips are used.
    test_share : float in (0, 1)
        Share of the clips that are left.
    validation_share : float in (0, 1)
        Share of the clips that are left after that.
    seed : int >= 0

    Returns
    -------
    split : pd.DataFrame [clip id -> part, artist]
        part: "train", "validation", "test", "hold_out" or "unused"; artist: "seen" or "unseen".

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
    if hold_out < 1:
        raise ValueError(f"hold_out must be at least 1. Got {hold_out}.")
    ids = pd.Index(ids)
    held_out = held_out_clips(data, hold_out=hold_out, unseen_share=unseen_share, choice=choice, seed=seed)
    split = pd.DataFrame({"part": "", "artist": "seen"}, index=ids)
    if labels is not None:
        split.loc[~labels.loc[ids].any(axis=1), "part"] = "unused"
    artist = data.tracks["artist"]
    unseen = set(artist[held_out.index[held_out == "unseen"]].dropna()) - {""}  # clips without an artist stand alone
    split.loc[artist.loc[ids].isin(unseen), :] = ["unused", "unseen"]
    held_out = held_out[held_out.index.isin(ids)]
    split.loc[held_out.index, "part"] = "hold_out"
    split.loc[held_out.index, "artist"] = held_out
    for subset, share in (("test", test_share), ("validation", validation_share)):
        left = split.index[split["part"] == ""]
        shares = {subset: share, "": 1 - share}
        split.loc[left, "part"] = random(strata(data.genres.loc[left]), shares=shares, seed=seed)
    split.loc[split["part"] == "", "part"] = "train"
    return split

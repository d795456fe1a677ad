"""Clips that no model is trained on, the same ones for the genre models and the taggers."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import pandas as pd

from musictools import tags
from musictools.datasets.splits.drawing import grouped, random

if TYPE_CHECKING:
    from musictools.datasets.base import Dataset

__all__ = ["check_held_out", "held_out_clips"]


def held_out_clips(
    data: Dataset, *, hold_out: int, unseen_share: float = 0.0, choice: str = "random", seed: int = 0
) -> pd.Series:
    """Choose the single-genre clips that no model is trained on.

    The choice depends on the arguments only. It is independent of models, of the seeds of their trainings and of the
    clips that could be decoded, so all notebooks with the same arguments hold out the same clips.

    Parameters
    ----------
    data : Dataset
    hold_out : int >= 0
        Number of clips (2,000 in `rotheneder2023`).
    unseen_share : float in [0, 1)
        Share of these clips by artists whose other single-genre clips are held out as well (0 in the source).
    choice : {"random", "last"}
        ``"random"``: drawn, every genre by the same share. ``"last"``: the last clips of the tables. On MagnaTagATune
        only the latter gives the counts that `rotheneder2023` prints.
    seed : int >= 0
        Seed of the draw.

    Returns
    -------
    held_out : pd.Series [clip id -> "seen" or "unseen"]
        In the order of the data set; "unseen" for the artists above.

    Raises
    ------
    ValueError
        If there are too few single-genre clips, or an argument is out of range.

    See Also
    --------
    check_held_out : Compares the clips with those that a model was trained on.

    Examples
    --------
    >>> from musictools import datasets
    >>> tracks = pd.DataFrame({"artist": list("aabbccdd"), "album": "", "title": "", "path": ""})
    >>> genre = pd.DataFrame({"rock": [True] * 8})
    >>> data = datasets.Dataset("songs", tracks=tracks, tags=genre, genres=genre, descriptors=genre[[]])
    >>> held_out_clips(data, hold_out=2, choice="last").to_dict()
    {6: 'seen', 7: 'seen'}
    >>> held_out_clips(data, hold_out=4, unseen_share=0.5).value_counts().sort_index().to_dict()
    {'seen': 2, 'unseen': 2}
    """
    single = tags.single_genre(data).genres
    if not 0 <= hold_out < max(1, len(single)) or not 0 <= unseen_share < 1:
        raise ValueError(
            f"hold_out must lie between 0 and the number of single-genre clips, {len(single)}, and "
            f"unseen_share in [0, 1). Got {hold_out} and {unseen_share}."
        )
    if choice not in ("random", "last"):
        raise ValueError(f"choice must be 'random' or 'last'. Got {choice!r}.")
    if choice == "last":
        if unseen_share:
            raise ValueError(f"unseen_share must be 0 where choice='last'. Got {unseen_share}.")
        return pd.Series("seen", single.index[len(single) - hold_out :], dtype=object, name="artist")
    kind = pd.Series("", single.index, dtype=object, name="artist")
    if hold_out and unseen_share:
        artist = data.tracks.loc[single.index, "artist"]
        kind[_drawn(grouped, single, artist, n=hold_out * unseen_share, seed=seed)] = "unseen"
    rest = single[kind == ""]
    if (n := hold_out - int((kind == "unseen").sum())) > 0:
        kind[_drawn(random, rest, n=n, seed=seed)] = "seen"
    return kind[kind != ""]


def check_held_out(card: Any, ids: Collection) -> None:
    """Raise ValueError if a model was trained on one of the clips that are to be unseen.

    Parameters
    ----------
    card : ModelCard
        Card of a model that was trained on the same data set.
    ids : collection of clip id
        Clips that are to be unseen.

    Raises
    ------
    ValueError
        If the model was trained on one of them, or the card names the held-out clips of its training and one of `ids`
        is not among them.

    Examples
    --------
    >>> from musictools.models.card import ModelCard
    >>> card = ModelCard(task="genre", model="ckn19", outputs=["jazz", "rock"], front_end=None, length=128, step=64,
    ...                  training_clips=[1, 2, 3], held_out_clips=[4, 5])
    >>> check_held_out(card, [4, 5])
    >>> check_held_out(card, [3, 4])
    Traceback (most recent call last):
        ...
    ValueError: ckn19 was trained on 1 of the 2 clips that are to be unseen, such as 3.
    """
    ids = pd.Index(ids)
    learned = ids[ids.isin(card.training_clips)]
    if len(learned):
        raise ValueError(
            f"{card.model} was trained on {len(learned)} of the {len(ids)} clips that are to be unseen, such as "
            f"{learned[0]}."
        )
    other = ids[~ids.isin(card.held_out_clips)] if card.held_out_clips else ()
    if len(other):
        raise ValueError(
            f"{len(other)} of the {len(ids)} clips, such as {other[0]}, were not held out when {card.model} was "
            "trained. All notebooks of a profile must have the same held_out and seed."
        )


def _drawn(draw, *clips, n, seed):
    """Ids of about `n` of the clips."""
    share = n / len(clips[0])
    split = draw(*clips, shares={"held_out": share, "rest": 1 - share}, seed=seed)
    return split.index[split == "held_out"]

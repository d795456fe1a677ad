"""What leaks from the training subset of a split into the others."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

__all__ = ["leakage"]


def leakage(
    split: pd.Series,
    tracks: pd.DataFrame,
    *,
    train: str = "train",
    columns: Sequence[str] = ("track", "album", "artist"),
) -> pd.DataFrame:
    """Share of each other subset's clips whose track, album or artist also stands in training.

    Parameters
    ----------
    split : pd.Series [clip id -> subset]
    tracks : pd.DataFrame
        With the named columns; albums are told apart by artist and album. A missing or empty artist, album or
        track is shared with nobody.
    train : str
        Name of the training subset.
    columns : sequence of str

    Returns
    -------
    leakage : pd.DataFrame
        A row for every other subset: part (its name), clips, and for every column the share in [0, 1].

    Raises
    ------
    ValueError
        If no clip is in the subset `train`.

    Examples
    --------
    >>> split = pd.Series(["train", "train", "test", "test"])
    >>> leakage(split, pd.DataFrame({"artist": ["Ann", "Ben", "Ann", "Cid"]})).to_dict("records")
    [{'part': 'test', 'clips': 2, 'artist': 0.5}]
    """
    if not (split == train).any():
        raise ValueError(f"No clip is in the subset {train!r}. Subsets: {', '.join(map(str, split.unique()))}.")
    tracks = tracks.loc[split.index].astype(object)
    known = {c: tracks[c].where(tracks[c].notna() & (tracks[c].astype(str) != "")) for c in tracks.columns}
    keys = {c: known[c] for c in columns if c in known}
    if "album" in keys and "artist" in known:
        keys["album"] = known["artist"].astype(str).where(known["album"].notna()) + " / " + known["album"].astype(str)
    rows = []
    for subset in [name for name in split.unique() if name != train]:
        inside = split == subset
        row = {"part": subset, "clips": int(inside.sum())}
        row |= {c: float(k[inside].isin(set(k[split == train].dropna())).mean()) for c, k in keys.items()}
        rows.append(row)
    return pd.DataFrame(rows)

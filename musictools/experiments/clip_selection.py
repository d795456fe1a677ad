"""Choice of clips that contrast in their tags (`choi2018`, table 7-B; `rotheneder2023`, figures 6.1 to 6.6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

__all__ = ["SONGS", "WANTED", "choose", "choose_songs"]

# The tags of the chapter's four songs, the most important first; a tag with a minus must be absent.
WANTED = {
    "piano": ("piano", "solo", "piano solo", "classical", "-drums", "-vocals"),
    "female": ("female", "pop", "vocals", "piano", "bass"),
    "male": ("male", "pop", "vocals", "drums", "piano", "bass"),
    "rap": ("hip hop", "rap", "male", "drums", "beat", "piano", "bass"),
}

# Pair, genre and descriptors of the thesis' songs. It names descriptors for the second pair only; those of the first
# are what the annotators wrote most often for these two songs.
SONGS = (
    (1, "country", ("guitar", "male vocals")),
    (1, "classic", ("string", "female vocals")),
    (2, "metal", ("guitar", "drums", "male vocals")),
    (2, "classic", ("piano", "string", "violin")),
)


def choose(
    tags: pd.DataFrame, wanted: Mapping[str, Sequence[str]] | None = None, *, groups: pd.Series | None = None
) -> pd.DataFrame:
    """Choose for every name the clip that has most of the tags wanted, a different clip for each.

    Parameters
    ----------
    tags : pd.DataFrame [clip x tag, bool]
        Tags of the clips to choose from.
    wanted : dict of str to sequence of str or None
        Name -> tags, each with 1.5 times the weight of the next one; ``"-tag"`` must be absent. None: `WANTED`.
    groups : pd.Series [clip -> group] or None
        No two chosen clips come from the same group, such as an artist. None: every clip is its own group.

    Returns
    -------
    chosen : pd.DataFrame
        By name: clip, has and lacks (tags, comma-separated). Names are served in their order; of equally good clips the
        first one is taken.

    Raises
    ------
    ValueError
        If there are fewer clips, or groups of them, than names.

    Examples
    --------
    >>> tags = pd.DataFrame({"piano": [1, 0, 0], "drums": [1, 1, 0]}, index=["a", "b", "c"]).astype(bool)
    >>> choose(tags, {"quiet": ["piano", "-drums"], "loud": ["drums"]})["clip"].to_dict()
    {'quiet': 'a', 'loud': 'b'}
    """
    wanted = WANTED if wanted is None else wanted
    groups = pd.Series(tags.index, index=tags.index) if groups is None else groups.loc[tags.index]
    if groups.nunique() < len(wanted):
        raise ValueError(
            f"tags must hold at least {len(wanted)} clips, one for each name and from different groups. "
            f"Got {groups.nunique()}."
        )
    free, rows = tags.astype(bool), {}
    for name, names in wanted.items():
        met = pd.DataFrame({tag: _met(free, tag) for tag in names})
        clip = (met * 1.5 ** -np.arange(len(names))).sum(axis=1).idxmax()
        rows[name] = {
            "clip": clip,
            "has": ", ".join(t for t in names if met.at[clip, t]).replace("-", "no "),
            "lacks": ", ".join(t for t in names if not met.at[clip, t]).replace("-", "no "),
        }
        free = free[groups[free.index] != groups[clip]]
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def choose_songs(labels: pd.DataFrame, genres: pd.DataFrame, *, named: Sequence = ()) -> pd.DataFrame:
    """Choose two pairs of contrasting songs for the pictures of feature maps (`rotheneder2023`, figures 6.1 to 6.6).

    Parameters
    ----------
    labels : pd.DataFrame [clips x descriptors, bool]
        Clips to choose from.
    genres : pd.DataFrame [clips x genres, bool]
        Genres of at least these clips.
    named : sequence of clip id
        The four songs, in the order of `SONGS`; empty: those with most of the wanted descriptors, half a point more for
        the genre.

    Returns
    -------
    songs : pd.DataFrame
        One row per song: pair (1 or 2), clip, tags (tuple of the wanted descriptors that `labels` knows).

    Raises
    ------
    ValueError
        If there are not four songs, or a named one is unknown.

    Examples
    --------
    >>> labels = pd.DataFrame({"guitar": [1, 1, 0, 0], "string": [0, 0, 1, 1], "drums": [0, 1, 0, 0]}).astype(bool)
    >>> genres = pd.DataFrame({"metal": [0, 1, 0, 0], "classic": [0, 0, 1, 1]}).astype(bool)
    >>> choose_songs(labels, genres)["clip"].tolist()
    [0, 2, 1, 3]
    """
    if named and (len(named) != len(SONGS) or not set(named) <= set(genres.index)):
        raise ValueError(f"named must hold the ids of {len(SONGS)} clips of the data set, or none. Got {list(named)}.")
    if len(labels) < len(SONGS):
        raise ValueError(f"There must be at least {len(SONGS)} clips to choose from. Got {len(labels)}.")
    free, rows = labels, []
    for place, (pair, genre, wanted) in enumerate(SONGS):
        if named:
            clip = named[place]
        else:
            fit = free.reindex(columns=wanted, fill_value=False).sum(axis=1)
            clip = (fit + 0.5 * genres.loc[free.index].get(genre, 0)).idxmax()
            free = free.drop(index=clip)
        rows.append({"pair": pair, "clip": clip, "tags": tuple(tag for tag in wanted if tag in labels)})
    return pd.DataFrame(rows)


def _met(tags, tag):
    present = tags[tag.lstrip("-")] if tag.lstrip("-") in tags else pd.Series(False, tags.index)
    return ~present if tag.startswith("-") else present

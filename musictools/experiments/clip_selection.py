"""Choice of clips that contrast in their tags (`choi2018`, table 7-B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

__all__ = ["WANTED", "choose"]

# The tags of the chapter's four songs, the most important first; a tag with a minus must be absent.
WANTED = {
    "piano": ("piano", "solo", "piano solo", "classical", "-drums", "-vocals"),
    "female": ("female", "pop", "vocals", "piano", "bass"),
    "male": ("male", "pop", "vocals", "drums", "piano", "bass"),
    "rap": ("hip hop", "rap", "male", "drums", "beat", "piano", "bass"),
}


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


def _met(tags, tag):
    present = tags[tag.lstrip("-")] if tag.lstrip("-") in tags else pd.Series(False, tags.index)
    return ~present if tag.startswith("-") else present

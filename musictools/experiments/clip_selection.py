"""Clips that contrast, chosen by their tags (`choi2018`, table 7-B)."""

import numpy as np
import pandas as pd

__all__ = ["WANTED", "choose"]

# The chapter's four songs, the most important tags first; a minus: must not be there.
WANTED = {
    "piano": ("piano", "solo", "piano solo", "classical", "-drums", "-vocals"),
    "female": ("female", "pop", "vocals", "piano", "bass"),
    "male": ("male", "pop", "vocals", "drums", "piano", "bass"),
    "rap": ("hip hop", "rap", "male", "drums", "beat", "piano", "bass"),
}


def choose(tags, wanted=None, *, groups=None):
    """The clip that has most of what is wanted, for every item another one.

    Parameters
    ----------
    tags : pd.DataFrame [clip x tag, bool]
        Of the clips to choose among.
    wanted : dict of str to sequence of str or None
        Item -> tags, each counting half as much again as the next; ``"-tag"``: shall be absent. None: `WANTED`.
    groups : pd.Series [clip -> group] or None
        Such as artists: no two items come from the same one.

    Returns
    -------
    items : pd.DataFrame
        By item: clip, has and lacks (tags, comma-separated). Items are served in their order; ties go to the clip that
        stands first.

    Raises
    ------
    ValueError
        If there are fewer clips, or groups of them, than items.
    """
    wanted = WANTED if wanted is None else wanted
    groups = pd.Series(tags.index, index=tags.index) if groups is None else groups.loc[tags.index]
    if groups.nunique() < len(wanted):
        raise ValueError(
            f"tags must hold at least {len(wanted)} clips, one an item and of different groups. Got {groups.nunique()}."
        )
    left, rows = tags.astype(bool), {}
    for name, names in wanted.items():
        met = pd.DataFrame({tag: _met(left, tag) for tag in names})
        clip = (met * 1.5 ** -np.arange(len(names))).sum(axis=1).idxmax()
        rows[name] = {
            "clip": clip,
            "has": ", ".join(t for t in names if met.at[clip, t]).replace("-", "no "),
            "lacks": ", ".join(t for t in names if not met.at[clip, t]).replace("-", "no "),
        }
        left = left[groups[left.index] != groups[clip]]
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def _met(tags, tag):
    there = tags[tag.lstrip("-")] if tag.lstrip("-") in tags else pd.Series(False, tags.index)
    return ~there if tag.startswith("-") else there

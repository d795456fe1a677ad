"""How frequent the tags of the released networks are, and thresholds made of it.

None of the networks came with thresholds, and at 0.5 they accept few tags: a player of a game, or a listener, names
few of the tags that fit. Their scores are learnt as probabilities, so a tag's share of the annotated clips is the score
of a network that knows nothing of the song. Twice that share is the threshold here: a convention, not tuned on music.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib import resources

__all__ = ["DATA", "LIFT", "shares", "thresholds"]

DATA = ("magnatagatune", "million_song", "mtg_jamendo")
LIFT = 2.0
_HIGHEST = 0.5


def shares(data: str) -> dict[str, float]:
    """Share of the annotated clips that have each tag.

    Parameters
    ----------
    data : str
        One of `DATA`.
        MagnaTagATune: all 25,863 clips. Million Song: the 41,174 songs for validation and test. MTG-Jamendo: the tracks
        of the split "top 50".

    Returns
    -------
    shares : dict of str to float

    Raises
    ------
    ValueError
        If no network was trained on this data.

    Examples
    --------
    >>> shares("magnatagatune")["guitar"]
    0.1876
    """
    if data not in DATA:
        raise ValueError(f"data must be one of {', '.join(DATA)}. Got {data!r}.")
    return dict(_table()[data])


def thresholds(data: str) -> dict[str, float]:
    """Thresholds at `LIFT` times each tag's share, at most 0.5.

    Parameters
    ----------
    data : str
        As in `shares`.

    Returns
    -------
    thresholds : dict of str to float

    Examples
    --------
    >>> thresholds("magnatagatune")["guitar"]
    0.3752
    """
    return {tag: min(LIFT * share, _HIGHEST) for tag, share in shares(data).items()}


@cache
def _table():
    table = {}
    text = (resources.files("musictools.released") / "tag_shares.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        table.setdefault(row["data"], {})[row["tag"]] = float(row["share"])
    return table

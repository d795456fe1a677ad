"""What would change the decision: the song with some evidence turned down, and what the networks say of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from musictools.explain.application.system import SongExplanation

__all__ = ["LOWEST", "Changed", "compared", "turned_down"]

LOWEST = -60.0  # dB; here evidence counts as removed


@dataclasses.dataclass(frozen=True, eq=False)
class Changed:
    """What the networks say when evidence is turned down.

    Attributes
    ----------
    y : np.ndarray [shape=(n,)]
        The changed song, at the tagger's sampling rate.
    descriptors : pd.DataFrame [indexed by tag]
        before, after, threshold.
    genres : pd.DataFrame [indexed by genre]
        before, after: mean score of the sections. Empty without a genre model.
    genre : tuple of (str or None, str or None)
        The decision before and after.
    """

    y: np.ndarray
    descriptors: pd.DataFrame
    genres: pd.DataFrame
    genre: tuple[str | None, str | None]


def turned_down(explanation: SongExplanation, gains: dict[str, float]) -> np.ndarray:
    """Turn the evidence of descriptors down: where a mask is 1, only the gain passes.

    Parameters
    ----------
    explanation : SongExplanation
    gains : dict of str to float
        Descriptor -> dB; `LOWEST` and less removes the evidence.

    Returns
    -------
    y : np.ndarray [shape=(n,)]
    """
    from musictools.explain.application import evidence

    passed = np.ones_like(explanation.S)
    for tag, gain in gains.items():
        factor = 0.0 if gain <= LOWEST else 10 ** (gain / 20)
        passed *= 1 - (1 - factor) * explanation.evidence[tag].mask
    return evidence.resynthesise(explanation.y, 1 - passed, front_end=explanation.front_end)[1]


def compared(before: SongExplanation, after: SongExplanation, y: np.ndarray) -> Changed:
    """Compare what the networks say of the song and of the changed song.

    Parameters
    ----------
    before, after : SongExplanation
    y : np.ndarray [shape=(n,)]
        The changed song.

    Returns
    -------
    changed : Changed
    """
    genres = pd.DataFrame(columns=["before", "after"])
    descriptors = before.descriptors.set_index("tag")[["score", "threshold"]].rename(columns={"score": "before"})
    descriptors["after"] = after.descriptors.set_index("tag")["score"]
    if len(before.votes):
        names = [name for name in before.votes.columns if name not in ("start", "end", "genre", "score")]
        genres = pd.DataFrame({"before": before.votes[names].mean(), "after": after.votes[names].mean()})
    return Changed(y, descriptors[["before", "after", "threshold"]], genres, (before.genre, after.genre))

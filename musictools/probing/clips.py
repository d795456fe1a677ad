"""Which tags are probed for, and which segment of every clip.

Conventions
-----------
`labels` is a bool DataFrame, clips x tags. `musictools.datasets.splits` limits and splits the clips.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools.datasets.splits.limits import check_labels

if TYPE_CHECKING:
    from musictools.spectrograms import Segments

__all__ = ["TAGS", "middle", "usable"]

# `rotheneder2023` 6.2, in the order of its tables.
TAGS = ("guitar", "string", "drums", "fast", "violin", "piano", "synthesizer", "male vocals", "slow", "female vocals")


def usable(labels: pd.DataFrame, *, min_positives: int = 10) -> tuple[pd.DataFrame, pd.Series]:
    """Keep the tags that enough clips have and enough clips lack.

    Parameters
    ----------
    labels : pd.DataFrame [clips x tags, bool]
    min_positives : int > 0
        Number of clips that must have a tag, and of clips that must lack it.

    Returns
    -------
    labels : pd.DataFrame [clips x fewer tags, bool]
    left_out : pd.Series [tag -> str]
        Why the other tags are left out.

    Raises
    ------
    ValueError
        If the labels are not bool or `min_positives` is no positive int.

    Examples
    --------
    >>> labels = pd.DataFrame({"guitar": [True, False, True, False], "sitar": [True, False, False, False]})
    >>> kept, left_out = usable(labels, min_positives=2)
    >>> list(kept), left_out.to_dict()
    (['guitar'], {'sitar': '1 clips have it, 2 are needed'})
    """
    check_labels(labels)
    if not isinstance(min_positives, int | np.integer) or min_positives < 1:
        raise ValueError(f"min_positives must be a positive int. Got {min_positives!r}.")
    counts, reasons = labels.sum(), {}
    for tag, n in counts.items():
        if n < min_positives:
            reasons[tag] = f"{n} clips have it, {min_positives} are needed"
        elif len(labels) - n < min_positives:
            reasons[tag] = f"{len(labels) - n} clips lack it, {min_positives} are needed"
    return labels.drop(columns=list(reasons)), pd.Series(reasons, name="reason", dtype=object)


def middle(segments: Segments) -> Segments:
    """The middle segment of every clip; where a clip has an even number, the later of the two.

    `rotheneder2023` does not say which segments of a clip were probed. With one segment a clip all counts are numbers
    of clips, and music in the middle of a clip is least likely to fade.

    Parameters
    ----------
    segments : Segments
        Of any number of clips, all segments of a clip in a row.

    Returns
    -------
    segments : Segments
        ``clip`` says which clips have a segment; clips shorter than one segment have none.

    Examples
    --------
    >>> from musictools.spectrograms import Segments, SpectrogramStore
    >>> segments = Segments(SpectrogramStore("spectrograms.zarr"), [1, 2], length=128, step=64)  # doctest: +SKIP
    >>> middle(segments).shape  # doctest: +SKIP
    (2, 128, 128, 1)
    """
    first = np.flatnonzero(np.r_[True, np.diff(segments.clip) != 0][: len(segments.clip)])
    count = np.diff(np.r_[first, len(segments.clip)])
    return segments.take(first + count // 2)

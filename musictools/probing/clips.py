"""Which tags take part in probing, and which input of every clip.

Conventions
-----------
`labels` is a bool DataFrame, clips x tags. `musictools.datasets.splits` draws and divides the clips.
"""

import numpy as np
import pandas as pd

from musictools.datasets.splits.limits import check_labels

__all__ = ["TAGS", "middle", "usable"]

# `rotheneder2023` 6.2, in the order of its tables.
TAGS = ("guitar", "string", "drums", "fast", "violin", "piano", "synthesizer", "male vocals", "slow", "female vocals")


def usable(labels, *, min_positives=10):
    """The tags that can be learned, and why the others cannot.

    Parameters
    ----------
    labels : pd.DataFrame [clips x tags, bool]
    min_positives : int > 0
        Clips that must have the tag, and clips that must not.

    Returns
    -------
    labels : pd.DataFrame [clips x fewer tags, bool]
    left_out : pd.Series [tag -> reason, str]
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


def middle(frames):
    """One input a clip, the one in the middle of its inputs; of an even number the later of the two.

    `rotheneder2023` does not say which inputs of a clip were probed. One input a clip keeps clips, not inputs, the
    unit of all counts; the middle is where a clip of a longer song is least likely to fade.

    Parameters
    ----------
    frames : Segments

    Returns
    -------
    frames : Segments
        ``clip`` says which clips have an input; those shorter than one have none.
    """
    first = np.flatnonzero(np.r_[True, np.diff(frames.clip) != 0][: len(frames.clip)])
    count = np.diff(np.r_[first, len(frames.clip)])
    return frames.take(first + count // 2)

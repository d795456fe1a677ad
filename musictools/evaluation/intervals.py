"""Intervals of measures, by resampling groups of examples."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["Interval", "bootstrap"]


class Interval(namedtuple("Interval", "low high")):
    """A pair (low, high), with the number of resamples that could not be used.

    Parameters
    ----------
    low, high : float
        Ends of the interval; NaN where the measure is never defined.
    undefined : int >= 0
        Number of resamples in which the measure is undefined; the ends are quantiles of the others.

    Examples
    --------
    >>> low, high = interval = Interval(0.2, 0.4, undefined=3)
    >>> low, high, interval.undefined
    (0.2, 0.4, 3)
    """

    def __new__(cls, low: float, high: float, undefined: int = 0):  # noqa: D102
        interval = super().__new__(cls, float(low), float(high))
        interval.undefined = undefined
        return interval


def bootstrap(
    metric: Callable[[np.ndarray], Any], groups: np.ndarray, *, repeats: int = 500, seed: int = 0, level: float = 0.95
) -> Any:
    """Percentile interval of a measure by resampling whole groups of examples, such as clips or artists.

    Parameters
    ----------
    metric : callable
        Takes indices of the chosen examples (with repetition), returns a float or a dict of floats.
    groups : np.ndarray [shape=(n,)]
        Group of every example. Examples that resemble each other belong in one group: segments of a clip, clips of an
        artist. ``np.arange(n)`` if all are independent.
    repeats : int > 0
        Number of resamples.
    seed : int >= 0
    level : float in (0, 1)
        Share of the resamples inside the interval.

    Returns
    -------
    interval : Interval, or dict of str to Interval
        (low, high), and as an attribute the number of resamples in which the measure was undefined.

    Raises
    ------
    ValueError
        If `level` or `repeats` is out of range.

    Examples
    --------
    >>> right = np.array([1, 1, 0, 1, 1, 0, 1, 1])
    >>> artist = ["a", "a", "b", "b", "c", "c", "d", "d"]
    >>> low, high = bootstrap(lambda chosen: right[chosen].mean(), artist)
    >>> low, high
    (0.5, 1.0)
    """
    if not 0 < level < 1 or repeats < 1:
        raise ValueError(f"level must lie in (0, 1) and repeats be positive. Got level={level}, repeats={repeats}.")
    groups = np.asarray(groups)
    rows = pd.Series(np.arange(len(groups))).groupby(groups).apply(np.asarray).to_list()
    rng = np.random.default_rng(seed)
    values = [metric(np.concatenate([rows[i] for i in rng.integers(0, len(rows), len(rows))])) for _ in range(repeats)]
    tails = [(1 - level) / 2, (1 + level) / 2]
    if not isinstance(values[0], dict):
        return _interval(values, tails)
    return {name: _interval([v[name] for v in values], tails) for name in values[0]}


def _interval(values, tails):
    values = np.asarray(values, dtype=float)
    defined = values[np.isfinite(values)]
    ends = np.quantile(defined, tails) if len(defined) else (np.nan, np.nan)
    return Interval(*ends, undefined=len(values) - len(defined))

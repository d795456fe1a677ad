"""Tables over many clips, with intervals that resample singers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import evaluation
from musictools.experiments.voices.clips import Clip
from musictools.experiments.voices.probe import Probe
from musictools.experiments.voices.terms import DEFAULT_METHODS, MEASURES, ORACLE, TARGETS

if TYPE_CHECKING:
    from musictools.released.choi2018 import Choi2018

__all__ = ["compare", "down_table", "table"]


def compare(
    tagger: Choi2018,
    clips: Iterable[Clip],
    methods: Sequence[str] = DEFAULT_METHODS,
    *,
    targets: Sequence[str] = TARGETS,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure all methods on all clips.

    Parameters
    ----------
    tagger : Choi2018
        As for `Probe`.
    clips : iterable of Clip
    methods, targets : sequence of str
        As for `Probe`.

    Returns
    -------
    rows : pd.DataFrame
        Input of `table`.
    levels : pd.DataFrame
        Input of `down_table`.
    """
    clips = list(clips)
    examples = np.concatenate([tagger.inputs(c.voice + c.accompaniment)[:1] for c in clips[:9]])
    probe = Probe(tagger, methods, targets=targets, examples=examples)
    measured = [probe.measure(clip) for clip in clips]
    return pd.DataFrame([row for rows, _ in measured for row in rows]), pd.DataFrame([levels for _, levels in measured])


def table(rows: pd.DataFrame, *, repeats: int = 500, seed: int = 0) -> pd.DataFrame:
    """Means over clips, with intervals that resample singers.

    Parameters
    ----------
    rows : pd.DataFrame
        Rows from `compare`, with the method ``energy`` for all clips.
    repeats : int > 0
        Number of resamples.
    seed : int >= 0
        Seed of the resampling.

    Returns
    -------
    table : pd.DataFrame
        One row per method, target and form, best first: clips; blind (False for the oracle); for every measure its mean
        and 95 % interval (``…_low``, ``…_high``), the mean difference from energy on the same clips
        (``…_over_energy``) and from the same method on the shuffled network (``…_over_shuffled``, NaN where that was
        not measured), both with intervals; mass and area.
    """
    keys = ["method", "target", "form"]
    values = rows.set_index(["clip", *keys])[list(MEASURES)]
    energy = values.xs(("energy", "vocals", "raw"), level=keys)
    singer = rows.drop_duplicates("clip").set_index("clip")["singer"]
    measured, lines = set(values.index.droplevel("clip")), []
    for (method, target, form), group in rows.groupby(keys, sort=False):
        own = group.set_index("clip")
        differences = {"": own[list(MEASURES)], "_over_energy": own[list(MEASURES)] - energy.loc[own.index]}
        if (f"{method}/shuffled", target, form) in measured:
            shuffled = values.xs((f"{method}/shuffled", target, form), level=keys)
            both = own.index.intersection(shuffled.index)
            differences["_over_shuffled"] = own.loc[both, list(MEASURES)] - shuffled.loc[both]
        line = {"method": method, "target": target, "form": form, "blind": method != ORACLE, "clips": len(own)}
        for suffix, difference in differences.items():
            line |= _intervals(difference.add_suffix(suffix), singer, repeats, seed)
        lines.append(line | {"mass": own["mass"].mean(), "area": own["area"].mean()})
    return pd.DataFrame(lines).sort_values("auc", ascending=False, ignore_index=True)


def down_table(levels: pd.DataFrame, *, repeats: int = 500, seed: int = 0) -> pd.DataFrame:
    """Effect of turning the voice down by 20 dB, with intervals that resample singers.

    Parameters
    ----------
    levels : pd.DataFrame
        Levels from `compare`.
    repeats : int > 0
        Number of resamples.
    seed : int >= 0
        Seed of the resampling.

    Returns
    -------
    table : pd.DataFrame
        One row per logit (``logit …``) or mass of a method in voice cells (``mass …``): clips, means before and after,
        mean change with its interval, and falls, the share of the clips in which the value falls, with its interval.
    """
    levels = levels.set_index("clip")
    before = {c: c if c.startswith("mass ") else f"logit {c}" for c in levels if f"{c} down" in levels}
    both = {name: (levels[c], levels[f"{c} down"]) for c, name in before.items()}
    both["logit vocals"] = tuple(pd.Series([levels.at[i, c + end] for i, c in levels["best"].items()], levels.index)
                                 for end in ("", " down"))  # fmt: skip
    lines = []
    for name, (high, low) in both.items():
        known = high.notna() & low.notna()
        change = pd.DataFrame({"change": (low - high)[known], "falls": (low < high)[known].astype(float)})
        line = {"what": name, "clips": int(known.sum()), "before": high[known].mean(), "after": low[known].mean()}
        lines.append(line | _intervals(change, levels["singer"], repeats, seed))
    return pd.DataFrame(lines)


def _intervals(values, singer, repeats, seed):
    """Mean of every column and its interval, singers resampled."""
    values = values.dropna(how="all")
    array, means = values.to_numpy(), values.mean()
    intervals = evaluation.bootstrap(lambda i: dict(zip(values, np.nanmean(array[i], axis=0), strict=True)),
                                     singer.loc[values.index].to_numpy(), repeats=repeats, seed=seed)  # fmt: skip
    return {k: v for name, (low, high) in intervals.items()
            for k, v in ((name, means[name]), (f"{name}_low", low), (f"{name}_high", high))}  # fmt: skip

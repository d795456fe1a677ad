"""Paired tests of notebook 10: which steps of the preprocessing change a tagger's scores, and by how much.

Tables of areas are those of `preprocessing.results_table`. Two trainings make a pair if they differ in one step only.
The mean difference is tested twice: over tags, by random signs, and over trainings, by a paired t-test. It counts as
significant only if both tests say so after Holm's correction for all steps. The interval spans those of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from musictools.experiments import label_noise_scores

__all__ = ["EFFECTS", "answer", "by_share", "chosen", "data_worth", "effects", "holm", "initialisations", "reliability"]

EFFECTS = {  # name -> what differs, with, without
    "decibels": ("decibels", True, False),
    "factor 10": ("factor", 10, 1),
    "A-weighting": ("weighting", "a_weighting", "bypass"),
    "standardisation per frequency": ("weighting", "per_frequency", "bypass"),
}
LEVEL = 0.05
_FEWEST = 3  # initialisations that can be told apart from chance by themselves


def chosen(areas: pd.DataFrame | pd.Series, **settings: Any) -> pd.DataFrame | pd.Series:
    """Trainings of the first variant on all clips, but for some settings.

    Parameters
    ----------
    areas : pd.DataFrame or pd.Series
        Indexed as `preprocessing.results_table`.
    **settings
        Levels of the index with another value, or None for any value.

    Returns
    -------
    areas : as given
    """
    wanted = {"kind": "mel", "decibels": True, "weighting": "bypass", "factor": 1, "share": 1.0} | settings
    inside = np.ones(len(areas), bool)
    for level, value in wanted.items():
        if value is not None:
            inside &= areas.index.get_level_values(level) == value
    return areas[inside]


def reliability(
    labels: pd.DataFrame, truth: pd.DataFrame, *, tags: Sequence[str], **settings: Any
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Whether labels rank trainings as the truth does (`choi2018` figure 3.6).

    Parameters
    ----------
    labels, truth : pd.DataFrame
        From `preprocessing.results_table`, on labels and on complete tags.
    tags : sequence of str
        The re-annotated tags.
    **settings
        Of `chosen`, which select the trainings.

    Returns
    -------
    means : pd.DataFrame [indexed by training, a text of its share and variant]
    rho : dict of str to float
        Both from `label_noise_scores.reliability`.
    """
    parts = []
    for kind, table in (("labels", labels), ("truth", truth)):
        some = chosen(table, **settings).sort_index(level=["share", "initialisation"], sort_remaining=False)
        names = [" ".join(map(str, row)) for row in some.index]
        some = some.set_axis(pd.Index(names, name="tagger")).rename_axis(columns="tag")
        parts.append(some.stack(future_stack=True).rename(kind))
    return label_noise_scores.reliability(pd.concat(parts, axis=1).reset_index(), chosen=tags)


def holm(p: Sequence[float]) -> np.ndarray:
    """Adjust p-values for several tests, after Holm (1979).

    Parameters
    ----------
    p : sequence of float

    Returns
    -------
    adjusted : np.ndarray

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, float)
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def effects(
    areas: pd.DataFrame, *, margin: float, steps: dict[str, tuple] = EFFECTS, repeats: int = 5000, seed: int = 0
) -> pd.DataFrame:
    """Mean difference of ROC-AUC that each step makes, over all settings of the others.

    Parameters
    ----------
    areas : pd.DataFrame
        Trainings with other kinds of spectrogram or fewer clips are left out where they have no partner.
    margin : float > 0
        Differences below it do not count.
    steps : dict of str to tuple
        Name -> (level of the index, value with the step, value without).
    repeats : int > 0
        Random signs, and bootstrap resamples of tags.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame [indexed by step]
        difference, low, high (95 %), p_tags, p_trainings, p (the larger one, after Holm's correction), pairs,
        trainings, tags, verdict: "changes the score", "less than the margin" or "undecided".
    """
    rng = np.random.default_rng(seed)
    rows = {name: _difference(_pairs(areas, *step), repeats, rng) for name, step in steps.items()}
    return _judged(pd.DataFrame(rows.values(), pd.Index(rows, name="step")), margin)


def by_share(
    areas: pd.DataFrame, *, margin: float, kinds: tuple[str, str] = ("stft", "mel"), repeats: int = 5000, seed: int = 0
) -> pd.DataFrame:
    """Difference of two kinds of spectrogram on each share of the training clips (figure 5.3).

    Parameters
    ----------
    areas : pd.DataFrame
    margin : float > 0
    kinds : (str, str)
        The difference is that of the first minus that of the second.
    repeats : int > 0
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame [indexed by share]
        As of `effects`, and the mean ROC-AUC of each kind.
    """
    rng, rows = np.random.default_rng(seed), {}
    for share, part in areas.groupby(level="share"):
        pairs = _pairs(part, "kind", *kinds)
        if not len(pairs):
            continue
        shared = pairs.index.get_level_values("initialisation")
        plain = part[part.index.isin(shared, level="initialisation")]
        means = {kind: _mean(chosen(plain, kind=kind, share=share)) for kind in kinds}
        rows[share] = means | _difference(pairs, repeats, rng)
    if not rows:
        raise ValueError(f"There are no two trainings that differ in {' and '.join(kinds)} only.")
    return _judged(pd.DataFrame(rows.values(), pd.Index(rows, name="share")), margin)


def initialisations(areas: pd.DataFrame) -> dict[str, float]:
    """Spread of the mean ROC-AUC over initialisations of the first variant (figure 5.2).

    Parameters
    ----------
    areas : pd.DataFrame

    Returns
    -------
    spread : dict
        trainings, mean, deviation, low and high (95 % interval of the mean), largest (deviation from the mean), range.
    """
    from scipy import stats

    scores = chosen(areas).mean(axis=1)
    n, deviation = len(scores), scores.std(ddof=1)
    half = stats.t.ppf(0.975, n - 1) * deviation / np.sqrt(n) if n > 1 else np.nan
    away = (scores - scores.mean()).abs().max()
    return {
        "trainings": n,
        "mean": scores.mean(),
        "deviation": deviation,
        "low": scores.mean() - half,
        "high": scores.mean() + half,
        "largest": away,
        "range": scores.max() - scores.min(),
    }


def data_worth(areas: pd.DataFrame) -> dict[str, float]:
    """Share of the training clips on which decibels reach what magnitudes reach on all of them.

    Parameters
    ----------
    areas : pd.DataFrame

    Returns
    -------
    worth : dict
        linear (mean ROC-AUC of magnitudes on all clips), decibels (the same), share: interpolated in the logarithm of
        the share; NaN where the smallest share is better already, infinite where all clips are not enough.
    """
    curve = chosen(areas, share=None).mean(axis=1).groupby(level="share").mean()
    linear = _mean(chosen(areas, decibels=False))
    best = np.maximum.accumulate(curve.to_numpy())  # more clips are never worse
    share = np.exp(np.interp(linear, best, np.log(curve.index.to_numpy()), left=np.nan, right=np.inf))
    return {"linear": linear, "decibels": curve.loc[1.0], "share": float(share)}


def answer(table: pd.DataFrame, *, margin: float) -> str:
    """Say whether decibels matter and the other steps hardly do, as `choi2018` 5.3 has it.

    Parameters
    ----------
    table : pd.DataFrame
        As `effects` gives it.
    margin : float > 0

    Returns
    -------
    sentence : str
    """
    row, others = table.loc["decibels"], table.drop("decibels")
    by = f"{row['difference']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f}, p = {row['p']:.2g})"
    if row["verdict"] == "changes the score":
        first = f"Decibels {'raise' if row['difference'] > 0 else 'lower'} ROC-AUC by {by}."
    elif row["verdict"] == "undecided":
        first = f"These trainings do not decide whether decibels matter: they change ROC-AUC by {by}."
    else:
        first = f"Decibels change ROC-AUC by less than {margin:g}: {by}."
    groups = {name: list(part.index) for name, part in others.groupby("verdict", sort=False)}
    words = {
        "less than the margin": f"the effect is less than {margin:g} for",
        "undecided": "it is undecided for",
        "changes the score": "the score is changed by",
    }
    rest = "; ".join(f"{words[name]} {', '.join(groups[name])}" for name in words if name in groups)
    holds = row["verdict"] == "changes the score" and row["difference"] > 0
    if holds and set(groups) == {"less than the margin"}:
        end = "So decibels matter and the rest hardly does, as the thesis says."
    elif holds and "changes the score" not in groups:
        end = "So decibels matter; that the rest hardly does is not shown."
    else:
        end = "The thesis' sentence, that decibels matter and the rest hardly does, is not confirmed here."
    return f"{first} Of the other steps, {rest}. {end}"


def _mean(areas):
    return float(areas.mean(axis=1).mean())


def _pairs(areas, level, first, second):
    """Differences of the areas of all pairs of trainings, in the order of the other settings."""
    both = [areas.xs(value, level=level) if value in areas.index.get_level_values(level) else areas.iloc[:0].droplevel(
        level) for value in (first, second)]  # fmt: skip
    shared = both[0].index.intersection(both[1].index)
    return both[0].loc[shared] - both[1].loc[shared]


def _difference(pairs, repeats, rng):
    from scipy import stats

    tags = pairs.mean(axis=0).dropna().to_numpy()
    trainings = pairs.mean(axis=1)
    by_weights = trainings.groupby(level="initialisation").mean()
    trainings = (by_weights if len(by_weights) >= _FEWEST else trainings).to_numpy()
    if not len(tags):
        raise ValueError("There are no two trainings that differ in this step only.")
    mean, n = tags.mean(), len(trainings)
    signs = rng.choice((-1.0, 1.0), (repeats, len(tags)))
    p_tags = (1 + np.sum(np.abs((signs * tags).mean(axis=1)) >= np.abs(mean) - 1e-12)) / (1 + repeats)
    drawn = tags[rng.integers(0, len(tags), (repeats, len(tags)))].mean(axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    p_trainings = np.nan
    if n > 1:
        error = trainings.std(ddof=1) / np.sqrt(n)
        half = stats.t.ppf(0.975, n - 1) * error
        low, high = min(low, mean - half), max(high, mean + half)
        p_trainings = 2 * stats.t.sf(np.abs(mean) / error, n - 1) if error else float(mean == 0)
    return {
        "difference": mean,
        "low": low,
        "high": high,
        "p_tags": p_tags,
        "p_trainings": p_trainings,
        "pairs": len(pairs),
        "trainings": n,
        "tags": len(tags),
    }


def _judged(table, margin):
    """Add the corrected p-value and the verdict. A single pair of trainings decides nothing."""
    table = table.copy()
    table["p"] = holm(table[["p_tags", "p_trainings"]].max(axis=1).where(table["trainings"] > 1, 1.0))
    small = (table["low"] > -margin) & (table["high"] < margin) & (table["trainings"] > 1)
    table["verdict"] = np.where(small, "less than the margin", np.where(table["p"] < LEVEL, "changes the score",
                                "undecided"))  # fmt: skip
    return table

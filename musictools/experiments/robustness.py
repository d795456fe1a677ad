"""Experiments of notebook 15: what deformations of the sound change in tags.

A *deformation* is a name of `audio.DEFORMATIONS`; `CLEAN` stands for the clip as it is. Scores are means of a clip's
segments. ``taggers`` are `inference.Tagger` by name. ``load(clip)`` returns a waveform and its sampling rate, such as
the method ``audio`` of a data set. What deformations change in the reasons for tags is in `robustness_reasons`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools import audio, comparison, evaluation, runs
from musictools.explain.metrics import sanity

if TYPE_CHECKING:
    from musictools.inference import Tagger
    from musictools.spectrograms import FrontEnd

__all__ = [
    "CLEAN",
    "MEASURES",
    "Excerpt",
    "as_published",
    "changes",
    "clip_scores",
    "deformed",
    "performance",
    "survival",
    "thresholds",
]

CLEAN = "none"
MEASURES = ("roc_auc", "pr_auc", "average_precision", "mcc")
_COLUMNS = {  # of the published figure -> deformations that it stands for
    "clean": (CLEAN,), "time_stretch": ("faster", "slower"), "pitch_shift": ("pitch up", "pitch down"),
    "dynamic_range": ("compressed lightly", "compressed strongly"),
    "white_noise_0_1": ("noise 0.1",), "white_noise_0_4": ("noise 0.4",),
}  # fmt: skip


@dataclass(frozen=True)
class Excerpt:
    """Load the beginning of an audio file.

    Parameters
    ----------
    sr : int > 0
        Sampling rate in Hz.
    seconds : float > 0
        Length at most.
    """

    sr: int = 22050
    seconds: float = 30.0

    def __call__(self, path: str | Path) -> tuple[np.ndarray, int]:
        """Load the beginning of a file.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        y : np.ndarray [shape=(n,), float32]
        sr : int
        """
        y, sr = audio.load(path, sr=self.sr)
        return y[: round(self.seconds * sr)], sr


def clip_scores(
    taggers: dict[str, Tagger],
    load: Callable[[Any], tuple[np.ndarray, int]],
    ids: Sequence[Hashable],
    *,
    deformations: Sequence[str] = tuple(audio.DEFORMATIONS),
    seed: int = 0,
    workers: int = 1,
    scheduler: str = "",
) -> pd.DataFrame:
    """Score clips as they are and after every deformation.

    Parameters
    ----------
    taggers : dict of str to Tagger
    load : callable
    ids : sequence
        What `load` takes.
    deformations : sequence of str
    seed : int >= 0
        Seed of the noise, the same for every clip.
    workers : int > 0
        Processes that deform and transform clips.
    scheduler : str
        Address of a Dask scheduler, or empty.

    Returns
    -------
    scores : pd.DataFrame [indexed by model, deformation, clip]
        One column per tag; NaN for tags that a model does not know. The clips as they are have the deformation `CLEAN`.
    """
    front_ends = list(dict.fromkeys(tagger.front_end for tagger in taggers.values()))
    job = _Spectrograms(load, (CLEAN, *deformations), tuple(front_ends), seed)
    rows = {}
    stream = runs.map(job, ids, workers=workers, scheduler=scheduler, description="deformations", stream=True)
    for clip, spectrograms in zip(ids, stream, strict=True):
        for name, tagger in taggers.items():
            x = [tagger.inputs(None, S=one[tagger.front_end]) for one in spectrograms.values()]
            scores = evaluation.predict(tagger.model, np.concatenate(x), batch_size=16)
            parts = np.split(scores, np.cumsum([len(part) for part in x])[:-1])
            for deformation, part in zip(spectrograms, parts, strict=True):
                rows[name, deformation, clip] = pd.Series(part.mean(axis=0), tagger.tags)
    table = pd.DataFrame(rows).T.rename_axis(["model", "deformation", "clip"])
    return table.reindex(pd.MultiIndex.from_product([taggers, job.deformations, ids], names=table.index.names))


@dataclass(frozen=True)
class _Spectrograms:
    """Spectrograms of a clip by deformation and front end; runs in processes that have no network."""

    load: Callable
    deformations: tuple[str, ...]
    front_ends: tuple[FrontEnd, ...]
    seed: int

    def __call__(self, clip):
        y, sr = self.load(clip)
        return {name: self._transformed(deformed(y, sr, name, seed=self.seed), sr) for name in self.deformations}

    def _transformed(self, y, sr):
        rates = {f.sr for f in self.front_ends}
        waves = {rate: y if rate == sr else audio.resample(y, orig_sr=sr, sr=rate) for rate in rates}
        return {f: f.compute(waves[f.sr]) for f in self.front_ends}


def deformed(y: np.ndarray, sr: int, name: str, *, seed: int = 0) -> np.ndarray:
    """Apply a deformation by its name.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
    sr : int > 0
        Hz.
    name : str
        A name of `audio.DEFORMATIONS`, or `CLEAN`.
    seed : int >= 0
        Seed of the noise.

    Returns
    -------
    y : np.ndarray [shape=(m,), float32]
    """
    if name == CLEAN:
        return np.asarray(y, dtype=np.float32)
    kind, amount = audio.DEFORMATIONS[name]
    return audio.deform(y, sr=sr, kind=kind, amount=amount, seed=seed)


def performance(
    scores: pd.DataFrame,
    truth: pd.DataFrame,
    *,
    thresholds: dict[str, pd.Series],
    artists: pd.Series,
    repeats: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Four measures of every model after every deformation, and the loss of ROC-AUC, with intervals over artists.

    Parameters
    ----------
    scores : pd.DataFrame
        As `clip_scores` gives them.
    truth : pd.DataFrame [clips x tags, bool]
        Tags that it does not hold are left out.
    thresholds : dict of str to pd.Series
        Threshold of every tag, by model; for the Matthews correlation coefficient.
    artists : pd.Series [clip -> artist]
        Artists are resampled, the same for all rows.
    repeats : int > 0
        Number of resamples.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        model, deformation, clips, tags, roc_auc, pr_auc, average_precision, mcc, drop (of ROC-AUC, against the clips as
        they are), the last five with their 95 % intervals ``…_low`` and ``…_high``.
    """
    rows = []
    for model, part in scores.groupby(level="model", sort=False):
        known, threshold = part.dropna(axis=1, how="all"), thresholds[model]
        known = known[[tag for tag in known if tag in truth]]
        ids = known.xs(CLEAN, level="deformation").droplevel("model").index
        weights = _resamples(artists.loc[ids].to_numpy(), repeats, seed)
        labels = truth.loc[ids, known.columns].to_numpy(dtype=bool)
        clean = None
        for deformation, own in known.groupby(level="deformation", sort=False):
            own = own.droplevel(["model", "deformation"]).loc[ids]
            values = _measures(labels, own.to_numpy(), threshold[known.columns].to_numpy(), weights)
            clean = values["roc_auc"] if deformation == CLEAN else clean
            values["drop"] = clean - values["roc_auc"]
            row = {"model": model, "deformation": deformation, "clips": len(ids), "tags": labels.shape[1]}
            for name, (value, *others) in values.items():
                low, high = np.nanquantile(others, (0.025, 0.975)) if np.isfinite(others).any() else (np.nan, np.nan)
                row |= {name: value, f"{name}_low": low, f"{name}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def _resamples(groups, repeats, seed):
    """How often each example is drawn: once in the first row, by resampling groups in the others."""
    names, number = np.unique(groups, return_inverse=True)
    drawn = np.random.default_rng(seed).integers(0, len(names), (repeats, len(names)))
    counts = np.stack([np.bincount(row, minlength=len(names)) for row in drawn])
    return np.concatenate([np.ones((1, len(groups))), counts[:, number]])


def _measures(labels, scores, thresholds, weights):
    """Macro means as in `evaluation.tag_metrics`, for all resamples at once: examples count as often as drawn."""
    order = np.argsort(-scores, axis=0, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=0)
    # Where scores are equal, no threshold divides the examples: all stand at the end of their group.
    ends = np.concatenate([ranked[1:] != ranked[:-1], np.ones((1, scores.shape[1]), bool)])
    last = np.where(ends, np.arange(len(scores))[:, None], len(scores))
    last = np.minimum.accumulate(last[::-1], axis=0)[::-1]
    inside = np.take_along_axis(labels, order, axis=0)
    count = weights[:, order]

    def above(chosen):
        total = np.cumsum(count * chosen, axis=1)
        total = np.take_along_axis(total, np.broadcast_to(last, total.shape), axis=1)
        return np.concatenate([np.zeros_like(total[:, :1]), total], axis=1)

    hits, misses = above(inside), above(~inside)
    present, absent = hits[:, -1], misses[:, -1]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(hits + misses > 0, hits / (hits + misses), 1.0)
        recall = np.diff(hits, axis=1) / present[:, None]
        roc = (np.diff(misses, axis=1) * (hits[:, 1:] + hits[:, :-1]) / 2).sum(axis=1) / (present * absent)
        curve = (recall * (precision[:, 1:] + precision[:, :-1]) / 2).sum(axis=1)
        average = (recall * precision[:, 1:]).sum(axis=1)
        predicted = scores > thresholds
        right, positive = weights @ (predicted & labels), weights @ predicted
        n = weights.sum(axis=1, keepdims=True)
        spread = np.sqrt(positive * (n - positive) * present * (n - present))
        mcc = np.where(spread > 0, (n * right - positive * present) / spread, 0.0)
    defined = (present > 0) & (absent > 0)
    areas = dict(zip(MEASURES, (roc, curve, average, mcc), strict=True))
    count = np.where(defined.any(axis=1), defined.sum(axis=1), np.nan)
    return {name: np.where(defined, values, 0.0).sum(axis=1) / count for name, values in areas.items()}


def as_published(table: pd.DataFrame, *, names: dict[str, str]) -> pd.DataFrame:
    """ROC-AUC in the form of the slides' figure.

    Parameters
    ----------
    table : pd.DataFrame
        As `performance` gives it.
    names : dict of str to str
        The slides' names of models -> names in the table.

    Returns
    -------
    figure : pd.DataFrame
        model and the columns of the published table, without those of deformations that were not tried. Where two
        amounts of a deformation were tried, their mean.
    """
    wide = table.pivot(index="model", columns="deformation", values="roc_auc")
    rows = [
        {"model": name}
        | {
            column: wide.reindex(columns=list(deformations)).loc[own].mean()
            for column, deformations in _COLUMNS.items()
        }
        for name, own in names.items()
        if own in wide.index
    ]
    return pd.DataFrame(rows, columns=["model", *_COLUMNS]).dropna(axis="columns", how="all")


def changes(scores: pd.DataFrame, *, thresholds: dict[str, pd.Series], top: int = 5) -> pd.DataFrame:
    """What a deformation changes in the tags, without knowing which tags are true.

    Parameters
    ----------
    scores : pd.DataFrame
        As `clip_scores` gives them.
    thresholds : dict of str to pd.Series
        Threshold of every tag, by model.
    top : int > 0
        Number of highest tags that are compared.

    Returns
    -------
    table : pd.DataFrame
        model, deformation; means over clips of: change (mean absolute difference of the scores), correlation (rank
        correlation over the tags), top (share of the highest tags that stay among the highest), kept (share of the
        predicted tags that stay predicted), added (tags predicted only now).
    """
    rows = []
    for model, part in scores.groupby(level="model", sort=False):
        known = part.dropna(axis=1, how="all").droplevel("model")
        before, threshold = known.loc[CLEAN], thresholds[model][known.columns]
        for deformation in known.index.unique("deformation"):
            if deformation == CLEAN:
                continue
            after = known.loc[deformation].loc[before.index]
            had, has = before > threshold, after > threshold
            share = (had & has).sum(axis=1) / had.sum(axis=1).replace(0, np.nan)
            pairs = list(zip(before.to_numpy(), after.to_numpy(), strict=True))
            highest = [np.intersect1d(*(np.argsort(-one)[:top] for one in pair)).size / top for pair in pairs]
            row = {
                "change": (after - before).abs().to_numpy().mean(),
                "correlation": np.mean([sanity.rank_correlation(*pair) for pair in pairs]),
                "top": np.mean(highest),
                "kept": share.mean(),
                "added": (has & ~had).sum(axis=1).mean(),
            }
            rows.append({"model": model, "deformation": deformation, **row})
    return pd.DataFrame(rows)


def survival(tagger: Tagger, y: np.ndarray, tag: str, *, seed: int = 0) -> pd.Series:
    """Score of a tag after what may happen to a sound on its way.

    Parameters
    ----------
    tagger : Tagger
    y : np.ndarray [shape=(n,)]
        Sound at the front end's sampling rate.
    tag : str
    seed : int >= 0

    Returns
    -------
    scores : pd.Series [what happens -> score]
    """
    ways = {"as it is": None, "16 bits": None, "mp3, 64 kbit/s": ("mp3", 64), "ogg, lowest quality": ("ogg", 0.0),
            "noise at 30 dB": ("white_noise", 30)}  # fmt: skip
    scores = {}
    for name, way in ways.items():
        sound = np.round(y * 32767) / 32767 if name == "16 bits" else y
        if way is not None:
            sound = audio.deform(y, sr=tagger.front_end.sr, kind=way[0], amount=way[1], seed=seed)
        scores[name] = float(tagger.taggram(sound, sr=tagger.front_end.sr).joined()[tag])
    return pd.Series(scores, name="score")


def thresholds(tagger: Tagger) -> pd.Series:
    """Thresholds of a tagger's tags, by the `comparison.default_rule` of the tagger.

    Parameters
    ----------
    tagger : Tagger

    Returns
    -------
    thresholds : pd.Series [tag -> threshold]
    """
    decided = tagger.decide(pd.Series(0.0, tagger.tags), rule=comparison.default_rule(tagger))
    return decided.set_index("tag")["threshold"][tagger.tags]

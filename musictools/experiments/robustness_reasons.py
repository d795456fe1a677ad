"""Experiments of notebook 15: what deformations of the sound change in the reasons for tags.

The conventions are those of `musictools.experiments.robustness`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools import audio, evaluation, runs
from musictools.experiments import explanations, robustness
from musictools.explain.attribution.explainer import Explainer
from musictools.explain.metrics import equivariance
from musictools.spectrograms import ModelInput

if TYPE_CHECKING:
    from musictools.inference import Tagger

__all__ = ["before_and_after", "excerpt", "moved_maps", "reasons", "reasons_table"]


def reasons(
    tagger: Tagger,
    load: Callable[[Any], tuple[np.ndarray, int]],
    ids: Sequence[Hashable],
    *,
    deformations: Sequence[str],
    thresholds: pd.Series,
    truth: pd.DataFrame | None = None,
    per_clip: int = 2,
    seconds: float = 10.0,
    method: str = "lrp_composite",
    seed: int = 0,
) -> pd.DataFrame:
    """Compare the heatmap of a tag before and after each deformation, moved as the sound moved.

    Parameters
    ----------
    tagger : Tagger
    load : callable
    ids : sequence
        What `load` takes.
    deformations : sequence of str
    thresholds : pd.Series [tag -> threshold]
    truth : pd.DataFrame [clips x tags, bool] or None
        Only tags that are true of a clip are explained; None: all predicted ones.
    per_clip : int > 0
        Number of tags of a clip, those whose scores exceed their thresholds most.
    seconds : float > 0
        Length of the excerpt from a clip's middle; at least one input of the network.
    method : str
        One of `explain.METHODS`.
    seed : int >= 0
        Seed of the noise, and of methods that draw.

    Returns
    -------
    rows : pd.DataFrame
        clip, tag, deformation, before and after (scores), kept (still predicted), correlation, control and overlap (see
        `equivariance.correlation_after_move`), energy (the correlation of the network's inputs, taken as maps).
    """
    labels = {"wanted": {"method": method}, "energy": {}}
    methods = explanations.explainers(tagger.model, labels, seed=seed, conservation=False)
    job = _Reasons(tagger, load, tuple(deformations), thresholds, truth, per_clip, seconds, methods, seed)
    return pd.DataFrame(sum(runs.map(job, ids, workers=1, description="reasons"), []))


@dataclass(frozen=True)
class _Reasons:
    """Rows of one clip."""

    tagger: Tagger
    load: Callable
    deformations: tuple[str, ...]
    thresholds: pd.Series
    truth: pd.DataFrame | None
    per_clip: int
    seconds: float
    methods: dict[str, Callable]
    seed: int

    def __call__(self, clip):
        tagger, thresholds, sr, rows = self.tagger, self.thresholds, self.tagger.front_end.sr, []
        y = excerpt(*self.load(clip), tagger, self.seconds)
        before = tagger.taggram(y, sr=sr).joined()
        known = [tag for tag in tagger.tags if self.truth is None or self.truth.at[clip, tag]]
        above = (before - thresholds)[known]
        tags = list(above[above > 0].nlargest(self.per_clip).index)
        maps = self._maps(y, tags) if tags else {}
        for deformation in self.deformations if tags else ():
            kind, amount = audio.DEFORMATIONS[deformation]
            changed = robustness.deformed(y, sr, deformation, seed=self.seed)
            after = tagger.taggram(changed, sr=sr).joined()
            others = self._maps(changed, tags)
            compared = {
                name: equivariance.correlation_after_move(
                    maps[name], others[name], front_end=tagger.front_end, kind=kind, amount=amount
                )
                for name in maps
            }
            for tag in tags:
                row = {"clip": clip, "tag": tag, "deformation": deformation, "before": before[tag], "after": after[tag]}
                own = {name: compared[tag][name] for name in ("correlation", "control", "overlap")}
                kept = bool(after[tag] > thresholds[tag])
                rows.append(row | {"kept": kept} | own | {"energy": compared[None]["correlation"]})
        return rows

    def _maps(self, y, tags):
        model_input = ModelInput(self.tagger.front_end, self.tagger.length, self.tagger.step)
        method, energy = (prepared.explainer for prepared in self.methods.values())
        return _tag_maps(method, energy, y, tags, self.tagger, model_input)


def excerpt(y: np.ndarray, sr: int, tagger: Tagger, seconds: float) -> np.ndarray:
    """Cut the middle of a clip at the tagger's sampling rate, at least as long as one input.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
    sr : int > 0
        Hz.
    tagger : Tagger
    seconds : float > 0

    Returns
    -------
    y : np.ndarray [shape=(m,), float32]
    """
    own = tagger.front_end
    y = y if sr == own.sr else audio.resample(y, orig_sr=sr, sr=own.sr)
    n = max(round(seconds * own.sr), tagger.length * own.hop_length)
    start = max(0, (len(y) - n) // 2)
    return np.asarray(y[start : start + n], dtype=np.float32)


def _tag_maps(explainer, energy, y, tags, tagger, model_input):
    """Maps of a clip by tag; that of the key None is the clip's energy."""
    maps = {tag: equivariance.clip_map(explainer, y, tagger.tags.index(tag), model_input=model_input) for tag in tags}
    return maps | {None: equivariance.clip_map(energy, y, 0, model_input=model_input)}


def reasons_table(rows: pd.DataFrame, *, repeats: int = 200, seed: int = 0) -> pd.DataFrame:
    """Means over the clips by deformation, with intervals.

    Parameters
    ----------
    rows : pd.DataFrame
        As `reasons` gives them.
    repeats : int > 0
        Resamples of clips.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        deformation, maps (of tags that are kept), kept (share of the tags), lowered (mean loss of score); over the kept
        tags: correlation with its 95 % interval, control, overlap, energy.
    """
    table = []
    for deformation, part in rows.groupby("deformation", sort=False):
        kept = part[part["kept"]].dropna(subset="correlation")
        row = {
            "deformation": deformation,
            "maps": len(kept),
            "kept": part["kept"].mean(),
            "lowered": (part["before"] - part["after"]).mean(),
            **kept[["correlation", "control", "overlap", "energy"]].mean(),
        }
        low, high = np.nan, np.nan
        if len(kept):
            values = kept["correlation"].to_numpy()
            low, high = evaluation.bootstrap(
                lambda chosen, values=values: values[chosen].mean(), kept["clip"].to_numpy(), repeats=repeats, seed=seed
            )
        table.append(row | {"correlation_low": low, "correlation_high": high})
    return pd.DataFrame(table)


def moved_maps(
    tagger: Tagger,
    y: np.ndarray,
    tag: str,
    *,
    deformations: Sequence[str],
    method: str = "lrp_composite",
    seed: int = 0,
) -> dict[str, dict[str, np.ndarray]]:
    """Maps of one clip to look at: what the deformed clip's map should be, and what it is.

    Parameters
    ----------
    tagger : Tagger
    y : np.ndarray [shape=(n,)]
        Clip at the front end's sampling rate.
    tag : str
    deformations : sequence of str
    method : str
        One of `explain.METHODS`.
    seed : int >= 0
        Seed of the noise, and of methods that draw.

    Returns
    -------
    maps : dict of str to dict of str to np.ndarray [shape=(n_bins, n_frames)]
        By deformation: ``expected`` (the clip's map, moved as the sound; 0 where it came from outside), ``actual``, and
        ``S`` (the deformed clip's spectrogram in dB). The clip as it is comes first, as `robustness.CLEAN`.
    """
    explainer = Explainer(tagger.model, method=method, seed=seed, conservation=False)
    model_input, neuron = ModelInput(tagger.front_end, tagger.length, tagger.step), tagger.tags.index(tag)
    maps, clean = {}, None
    for name in (robustness.CLEAN, *deformations):
        changed = robustness.deformed(y, tagger.front_end.sr, name, seed=seed)
        own = equivariance.clip_map(explainer, changed, neuron, model_input=model_input)
        clean = own if clean is None else clean
        kind, amount = audio.DEFORMATIONS.get(name, ("noise", 0))
        expected = equivariance.moved(
            clean, front_end=tagger.front_end, kind=kind, amount=amount, n_frames=own.shape[1]
        )
        S = tagger.front_end.compute(changed)[:, : own.shape[1]]
        maps[name] = {"expected": np.nan_to_num(expected), "actual": own, "S": S}
    return maps


def before_and_after(
    tagger: Tagger,
    y: np.ndarray,
    changed: np.ndarray,
    tags: Sequence[str],
    *,
    method: str = "lrp_composite",
    seed: int = 0,
) -> pd.DataFrame:
    """Compare scores and heatmaps of a clip with those of a changed clip in which nothing moved.

    Parameters
    ----------
    tagger : Tagger
    y, changed : np.ndarray [shape=(n,)]
        Clips at the front end's sampling rate.
    tags : sequence of str
    method : str
        One of `explain.METHODS`.
    seed : int >= 0
        Seed of methods that draw.

    Returns
    -------
    table : pd.DataFrame
        tag, before, after (scores), correlation and overlap of the heatmaps, energy (the correlation of the inputs).
    """
    explainer = Explainer(tagger.model, method=method, seed=seed, conservation=False)
    energy = Explainer(tagger.model, method="energy", conservation=False)
    model_input = ModelInput(tagger.front_end, tagger.length, tagger.step)
    scores = [tagger.taggram(one, sr=tagger.front_end.sr).joined() for one in (y, changed)]
    maps = [_tag_maps(explainer, energy, one, tags, tagger, model_input) for one in (y, changed)]
    still = {"front_end": tagger.front_end, "kind": "noise", "amount": 0}
    compared = {name: equivariance.correlation_after_move(maps[0][name], maps[1][name], **still) for name in maps[0]}
    rows = [
        {"tag": tag, "before": scores[0][tag], "after": scores[1][tag]}
        | {name: compared[tag][name] for name in ("correlation", "overlap")}
        | {"energy": compared[None]["correlation"]}
        for tag in tags
    ]
    return pd.DataFrame(rows)

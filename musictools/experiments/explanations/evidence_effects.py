"""What happens to the prediction without the evidence, and with the evidence alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import evaluation, runs
from musictools.experiments.explanations.inputs import thresholds_of, without_channel
from musictools.explain.application import evidence
from musictools.explain.application.system import merge
from musictools.explain.metrics import faithfulness

if TYPE_CHECKING:
    from musictools.datasets.base import Dataset
    from musictools.inference import Tagger

__all__ = ["faithfulness_tables", "feedback_table"]


def faithfulness_tables(
    tagger: Tagger,
    x: np.ndarray,
    table: pd.DataFrame,
    *,
    methods: dict[str, Callable],
    baselines: Sequence[str] = faithfulness.BASELINES,
    steps: int = 10,
    seed: int = 0,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Curves of deletion and insertion, and scores of the evidence alone and of the rest alone.

    Parameters
    ----------
    tagger : Tagger
    x : np.ndarray [shape=(n, ...)]
        Inputs from `accepted_inputs`.
    table : pd.DataFrame
        Their table.
    methods : dict of str to callable
        Methods from `explainers`.
    baselines : sequence of str
        Some of `faithfulness.BASELINES`.
    steps : int > 0
        Number of steps of a curve.
    seed : int >= 0
        Seed of the random order and of the resampling.

    Returns
    -------
    curves : pd.DataFrame
        method, fill (the baseline), kind, share, probability, control: means over the inputs.
    scores : pd.DataFrame
        method, fill, deletion, insertion (areas relative to a random order; positive is better), their intervals
        ``…_low`` and ``…_high`` over clips, and `faithfulness.measures` of the evidence.
    """
    job = _Faithfulness(tagger, x, table, tuple(baselines), steps, seed)
    parts = runs.map(job, methods.items(), workers=1, description="faithfulness")
    lines, scores = (sum((part[k] for part in parts), []) for k in (0, 1))
    return pd.concat(lines, ignore_index=True), pd.DataFrame(scores)


@dataclass(frozen=True)
class _Faithfulness:
    """Curves and scores of one method."""

    tagger: Tagger
    x: np.ndarray
    table: pd.DataFrame
    baselines: tuple[str, ...]
    steps: int
    seed: int

    def __call__(self, method):
        from musictools.explain.attribution.explainer import logits

        (label, method), table, seed = method, self.table, self.seed
        network, neuron = logits(self.tagger.model), table["neuron"].to_numpy()
        relevance = method(self.x, neuron, reference=table["threshold"].to_numpy().clip(1e-6, 1 - 1e-6)).relevance
        lines, scores = [], []
        for fill in self.baselines:
            row = {"method": label, "fill": fill}
            for kind in ("deletion", "insertion"):
                curve = faithfulness.curves(
                    network, self.x, neuron, relevance, baseline=fill, kind=kind, steps=self.steps, seed=seed
                )
                lines.append(
                    pd.DataFrame(
                        {
                            "method": label,
                            "fill": fill,
                            "kind": kind,
                            "share": curve.share,
                            "probability": curve.probability.mean(axis=0),
                            "control": curve.control_probability.mean(axis=0),
                        }
                    )
                )
                advantage = pd.Series(curve.advantage()).groupby(table["clip"].to_numpy()).mean().to_numpy()
                low, high = evaluation.bootstrap(
                    lambda some, a=advantage: a[some].mean(), np.arange(len(advantage)), repeats=300, seed=seed
                )
                row |= {kind: advantage.mean(), f"{kind}_low": low, f"{kind}_high": high}
            inside = faithfulness.masked(network, self.x, neuron, relevance, baseline=fill, seed=seed)
            scores.append(row | dict(faithfulness.measures(inside, threshold=table["threshold"].to_numpy())))
        return lines, scores


def feedback_table(
    tagger: Tagger,
    data: Dataset,
    ids: Sequence,
    *,
    method: Callable,
    mask: dict | None = None,
    rule: str = "f1",
    control: bool = True,
) -> pd.DataFrame:
    """Feed the evidence of whole clips back to the model, for predicted tags that some stems carry.

    If the data set does not know which stems carry a tag, all predicted tags are explained.

    Parameters
    ----------
    tagger : Tagger
    data : Dataset
    ids : sequence of clip id
    method : callable
        A method from `explainers`.
    mask : dict or None
        Options of `evidence.mask_from`.
    rule : str
        Rule of the thresholds.
    control : bool
        Whether to feed back a control: the same mask, shifted by half a clip.

    Returns
    -------
    table : pd.DataFrame
        Rows of `evidence.feed_back` with clip and place ("evidence" or "moved").

    Raises
    ------
    ValueError
        If the model predicts no tag of these clips, or none that a stem carries.
    """
    job = _FeedBack(tagger, data, method, mask or {}, thresholds_of(tagger, rule), control)
    tables = sum(runs.map(job, ids, workers=1, description="evidence"), [])
    if not tables:
        raise ValueError("The model predicts no tag of these clips that a stem carries.")
    return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True)
class _FeedBack:
    """Tables of one clip, one for each place."""

    tagger: Tagger
    data: Dataset
    method: Callable
    mask: dict
    thresholds: pd.Series
    control: bool

    def __call__(self, clip_id):
        tagger, thresholds, front_end = self.tagger, self.thresholds, self.tagger.front_end
        y, _ = self.data.audio(clip_id, sr=front_end.sr)
        said = self._scores(y)
        tags = [tag for tag in tagger.tags if said[tag] > thresholds[tag]]
        if hasattr(self.data, "tag_stems"):
            tags = [tag for tag in tags if self.data.tag_stems(clip_id, tag)]
        if not tags:
            return []
        x, n_frames = tagger.inputs(y), front_end.n_frames(len(y))
        neurons = [tagger.tags.index(tag) for tag in tags]
        reference = thresholds[tags].to_numpy().clip(1e-6, 1 - 1e-6)
        maps = without_channel(self.method(x, neurons, reference=reference).relevance)
        starts = np.arange(len(x)) * tagger.step
        merged = {tag: merge(maps[:, k], starts=starts, n_frames=n_frames) for k, tag in enumerate(tags)}
        places, tables = {"evidence": 0, "moved": n_frames // 2} if self.control else {"evidence": 0}, []
        for place, shift in places.items():
            shifted = {tag: np.roll(R, shift, axis=1) for tag, R in merged.items()}
            sounds = evidence.evidences(y, shifted, front_end=front_end, **self.mask)
            scored = evidence.feed_back(self._scores, said, sounds, thresholds=thresholds)
            tables.append(scored.assign(clip=clip_id, place=place))
        return tables

    def _scores(self, y):
        scores = evaluation.predict(self.tagger.model, self.tagger.inputs(y), batch_size=16)
        return pd.Series(scores.mean(axis=0), self.tagger.tags)

"""Relevance against the stems of composed clips."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import runs
from musictools.experiments.explanations.inputs import without_channel
from musictools.explain.metrics import localisation
from musictools.spectrograms import ModelInput

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from musictools.datasets.composed.dataset import Composed
    from musictools.inference import Tagger

__all__ = ["choose_clips", "draw_instruments", "localisation_rows", "stem_tags"]

_NEVER_BLANK = 1e-6  # a reference below any score


def stem_tags(tagger: Tagger, data: Composed, ids: Sequence) -> pd.DataFrame:
    """Tags of each clip that some of its stems carry and others do not, such as its instruments.

    Parameters
    ----------
    tagger : Tagger
    data : Composed
    ids : sequence of clip id

    Returns
    -------
    table : pd.DataFrame [clips x tags, bool]
        Tags that no clip has are left out.
    """
    table = pd.DataFrame(False, index=list(ids), columns=tagger.tags)
    for clip_id in ids:
        table.loc[clip_id, list(_carriers(tagger, data, clip_id))] = True
    return table.loc[:, table.any()]


def choose_clips(table: pd.DataFrame, n: int) -> list:
    """Choose few clips that contain every tag several times.

    Parameters
    ----------
    table : pd.DataFrame [clips x tags, bool]
    n : int > 0
        Number of clips for each tag; all clips of a tag that has fewer.

    Returns
    -------
    ids : list of clip id
        In the order in which they were chosen: rare tags first.

    Examples
    --------
    >>> table = pd.DataFrame({"rare": [0, 0, 1], "frequent": [1, 1, 1]}, index=["a", "b", "c"]).astype(bool)
    >>> choose_clips(table, 2)
    ['c', 'a']
    """
    chosen = []
    for tag in table.sum().sort_values(kind="stable").index:
        there = table.index[table[tag]]
        have = sum(clip in chosen for clip in there)
        chosen += [clip for clip in there if clip not in chosen][: max(0, n - have)]
    return chosen


def localisation_rows(
    tagger: Tagger, data: Composed, ids: Sequence, *, methods: dict[str, Callable], per_clip: int = 2
) -> pd.DataFrame:
    """Compare where relevance lies with the stems that carry each tag.

    Parameters
    ----------
    tagger : Tagger
    data : Composed
    ids : sequence of clip id
    methods : dict of str to callable
        Methods from `explainers`.
    per_clip : int > 0
        Number of inputs of a clip, evenly spread.

    Returns
    -------
    rows : pd.DataFrame
        Rows of `localisation.localise` with clip, tag and method. Clips with one instrument, and tags that all stems
        carry, have no rows.

    Raises
    ------
    ValueError
        If no clip has a tag that some of its stems carry and others do not.
    """
    job = _Localise(tagger, data, methods, per_clip)
    rows = [part for part in runs.map(job, ids, workers=1, description="localisation") if part is not None]
    if not rows:
        raise ValueError("No clip has a tag that some of its stems carry and others do not.")
    return pd.concat(rows, ignore_index=True)


@dataclass(frozen=True)
class _Localise:
    """Rows of one clip, or None."""

    tagger: Tagger
    data: Composed
    methods: dict[str, Callable]
    per_clip: int

    def __call__(self, clip_id):
        tagger = self.tagger
        carriers = _carriers(tagger, self.data, clip_id)
        if not carriers:
            return None
        stems, _ = self.data.stems(clip_id, sr=tagger.front_end.sr)
        shares = localisation.stem_shares(stems, tagger.front_end)
        x = tagger.inputs(sum(stems.values()))
        chosen = np.linspace(0, len(x) - 1, min(self.per_clip, len(x))).astype(int)
        x, neurons = x[chosen], [tagger.tags.index(tag) for tag in carriers]
        masks = [localisation.target_mask(shares, names) for names in carriers.values()]
        maps = [method(x, neurons, reference=_reference(label)).relevance for label, method in self.methods.items()]
        model_input = ModelInput(tagger.front_end, tagger.length, tagger.step)
        return _localised(
            np.stack([without_channel(R).swapaxes(0, 1) for R in maps]),
            np.stack([localisation.cut(mask, model_input)[chosen] for mask in masks]),
            energy=without_channel(x),
            clip=clip_id,
            tags=list(carriers),
            methods=list(self.methods),
        )


def _reference(label):
    """Deep Taylor is asked even where the logit is negative; its maps differ by a factor only."""
    return _NEVER_BLANK if label.startswith("deep_taylor") else None


def _localised(maps, masks, *, energy, clip, tags, methods):
    """Rows of `localisation.localise` for maps [methods x tags x inputs], one method and tag after the other."""
    n = maps.shape[2]
    rows = localisation.localise(
        maps,
        masks,
        energy=energy,
        clip=clip,
        tag=np.tile(np.repeat(tags, n), len(methods)),
        method=np.repeat(methods, n * len(tags)),
    )
    rows = rows.iloc[np.argsort(rows["map"] // n, kind="stable")]
    return rows.assign(map=rows["map"] % n)


def _carriers(tagger, data, clip_id):
    """Tags of a clip that some stems carry and others do not, with those stems."""
    true, n_stems = data.complete_descriptors.loc[clip_id], len(data.truth(clip_id)["instruments"])
    stems = {tag: data.tag_stems(clip_id, tag) for tag in tagger.tags if true.get(tag, False)}
    return {tag: names for tag, names in stems.items() if 0 < len(names) < n_stems}


def draw_instruments(by_tag: pd.DataFrame, *, min_clips: int = 4) -> Figure:
    """Draw the rank accuracy over energy of every instrument and method as a coloured table.

    Parameters
    ----------
    by_tag : pd.DataFrame
        Rows of `localisation.table` by tag and method.
    min_clips : int > 0
        Instruments in fewer clips are left out, unless all are.

    Returns
    -------
    fig : Figure
    """
    from musictools import plots

    enough = by_tag[(by_tag["clips"] >= min_clips) & ~by_tag["method"].isin(("edge", "random"))]
    enough = enough if len(enough) else by_tag
    wide = enough.pivot(index="tag", columns="method", values="over_energy")
    order = wide.max(axis=1).dropna().sort_values(ascending=False).index
    pairs = zip(enough["over_energy"], enough["clear"], strict=True)
    stars = enough.assign(text=[f"{value:.2f}{'*' if clear else ''}" for value, clear in pairs])
    fig, ax = plots.figure(height=1.6 + 0.3 * len(order))
    plots.table_heatmap(
        wide.loc[order],
        ax=ax,
        text=stars.pivot(index="tag", columns="method", values="text").loc[order],
        diverging=True,
        label="difference of rank accuracy",
        title="Rank accuracy minus that of energy (*: intervals above energy and above chance)",
    )
    ax.set(xlabel="", ylabel="")
    for label in ax.get_xticklabels():
        label.set(rotation=20, horizontalalignment="right", rotation_mode="anchor")
    return fig

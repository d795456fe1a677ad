"""What the composed corpus knows of patches (notebook 13): instruments, beat, tempo and key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from musictools import runs
from musictools.datasets import composed

if TYPE_CHECKING:
    from musictools.concepts.discovery import Concepts
    from musictools.datasets.composed import ClipPlan, Composed
    from musictools.spectrograms import FrontEnd

__all__ = ["musical_properties", "plan_properties"]

_MARGIN = 4  # frames before a segment, so that its first windows are complete


def musical_properties(
    data: Composed,
    concepts: Concepts,
    x: np.ndarray,
    clips: Sequence,
    starts: Sequence[int],
    *,
    front_end: FrontEnd,
    min_clips: int = 4,
    workers: int = 1,
    scheduler: str = "",
) -> pd.DataFrame:
    """Properties of patches that the composer knows.

    Parameters
    ----------
    data : Composed
    concepts : Concepts
    x : np.ndarray [shape=(n_inputs, n_bins, n_frames, 1)]
        The inputs.
    clips : sequence of clip id [shape=(n_inputs,)]
    starts : sequence of int [shape=(n_inputs,)]
        First frame of each input in its clip.
    front_end : FrontEnd
    min_clips : int > 0
        Stems that play in fewer clips are left out.
    workers : int > 0
        Processes that render stems.
    scheduler : str
        Address of a Dask scheduler, or empty.

    Returns
    -------
    table : pd.DataFrame [n_patches rows]
        As `plan_properties`.
    """
    plans = composed.load_plans(data.folder)
    return plan_properties(
        [plans[int(clip)] for clip in clips], concepts, x, starts,
        front_end=front_end, min_clips=min_clips, workers=workers, scheduler=scheduler,
    )  # fmt: skip


def plan_properties(
    plans: Sequence[ClipPlan],
    concepts: Concepts,
    x: np.ndarray,
    starts: Sequence[int],
    *,
    front_end: FrontEnd,
    min_clips: int = 4,
    workers: int = 1,
    scheduler: str = "",
) -> pd.DataFrame:
    """Properties of patches of composed clips, from their plans.

    Parameters
    ----------
    plans : sequence of ClipPlan [shape=(n_inputs,)]
    concepts, x, starts, front_end, min_clips, workers, scheduler
        As in `musical_properties`.

    Returns
    -------
    table : pd.DataFrame [n_patches rows]
        ``stem <name>`` (share of the stems' power inside the patch), ``on the beat`` and ``on the downbeat`` (cosine of
        the phase at which the patch's level rises most: 1 on it, -1 in the middle between two), tempo (bpm), minor (0
        or 1) and ``key <tonic>`` (0 or 1).
    """
    of_input = [np.flatnonzero(concepts.patches.input == i) for i in range(len(plans))]
    tasks = [
        _Input(plan, int(start), one[..., 0], np.stack([concepts.patches.mask(k) for k in own]), front_end)
        for plan, start, one, own in zip(plans, starts, x, of_input, strict=True)
        if len(own)
    ]
    parts = runs.map(_measure, tasks, workers=workers, scheduler=scheduler, description="stems")
    table = pd.DataFrame([row for part in parts for row in part], index=np.concatenate(of_input)).sort_index()
    stems = [name for name in table if name.startswith("stem ")]
    table[stems] = table[stems].fillna(0.0)
    groups = concepts.groups[concepts.patches.input]
    rare = [name for name in stems if len(np.unique(groups[table[name] > 0.01])) < min_clips]
    keys = [name for name in table if name.startswith("key ")]
    table[keys] = table[keys].fillna(0.0)
    return table.drop(columns=rare).reset_index(drop=True)


@dataclass(frozen=True)
class _Input:
    """One input and its patches; runs in processes that have no network."""

    plan: ClipPlan
    start: int
    x: np.ndarray
    masks: np.ndarray
    front_end: FrontEnd


def _measure(task: _Input) -> list[dict[str, Any]]:
    plan, front_end = task.plan, task.front_end
    score, powers = composed.compose(plan), _stem_powers(plan, task.start, task.x.shape[1], front_end)
    flat = {name: power.ravel() for name, power in powers.items()}
    masks = task.masks.reshape(len(task.masks), -1).astype(np.float32)
    inside = {name: masks @ power for name, power in flat.items()}
    total = np.maximum(sum(inside.values()), 1e-20)
    tonic, mode = score.key.split()
    bar = score.beats * 60 / score.tempo
    first = score.downbeats[0] if score.downbeats else 0.0
    rise = np.maximum(np.diff(task.x, axis=1, prepend=task.x[:, :1]), 0)
    rows = []
    for k, mask in enumerate(task.masks):
        frame = int((rise * mask).sum(axis=0).argmax())
        at = (task.start + frame) * front_end.hop_length / front_end.sr - first
        row = {f"stem {name}": float(part[k] / total[k]) for name, part in inside.items()}
        row |= {
            "on the beat": np.cos(2 * np.pi * at * score.tempo / 60),
            "on the downbeat": np.cos(2 * np.pi * at / bar),
        }
        rows.append(row | {"tempo": score.tempo, "minor": float(plan.style.mode in _MINOR), f"key {tonic}": 1.0})
    return rows


_MINOR = ("minor", "dorian", "phrygian")


def _stem_powers(plan, start, length, front_end):
    """Power of every stem in the cells of a segment (n_bins, length)."""
    from musictools import audio

    before = min(start, _MARGIN)
    low = (start - before) * front_end.hop_length
    high = (start + length + _MARGIN) * front_end.hop_length
    powers = {}
    for name, y in composed.stems(plan).items():
        y = y if front_end.sr == composed.SR else audio.resample(y, orig_sr=composed.SR, sr=front_end.sr)
        S = front_end.compute(y[low:high])[:, before : before + length]
        S = np.pad(S, ((0, 0), (0, length - S.shape[1])), constant_values=front_end.floor)
        powers[name] = np.where(front_end.floor + 0.1 < S, 10 ** (S / 10), 0.0).astype(np.float32)
    return powers

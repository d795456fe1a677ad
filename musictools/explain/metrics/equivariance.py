"""Equivariance: does the evidence move with the sound? Maps of a deformed clip against the deformed map of the clip.

Shift the pitch of a clip by a ratio, and evidence that lay at a frequency must lie at that frequency times the ratio.
Play it faster, and evidence must come earlier. The model need not be right for that, only its explanation consistent.
Convolutions and poolings make a map equivariant to small shifts in part by themselves, and bands that carry energy stay
energetic. The correlation therefore stands beside that with the map that has not been moved.

Pitch shift and time stretch move the sound; the other kinds of `audio.deform` leave it where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import audio
from musictools.explain.metrics import arguments, sanity
from musictools.spectrograms import segments

if TYPE_CHECKING:
    import keras

    from musictools.explain import Explainer
    from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["clip_map", "correlation_after_move", "equivariance", "moved"]


def equivariance(
    model: keras.Model | Explainer,
    y: Sequence[np.ndarray],
    neuron: int | np.ndarray,
    *,
    model_input: ModelInput,
    kind: str = "pitch_shift",
    amount: float = 2.0,
    blur: float = 1.0,
    method: str = "deep_taylor",
    seed: int = 0,
    **options,
) -> pd.DataFrame:
    """Correlation of the evidence in deformed clips with the evidence of the clips, moved and not moved.

    Parameters
    ----------
    model : keras.Model or Explainer
        An Explainer keeps its own method, seed and options.
    y : sequence of np.ndarray [shape=(n,)]
        Clips at the front end's sampling rate.
    neuron : int or np.ndarray [shape=(n_clips,)]
        The explained output.
    model_input : ModelInput
        Front end, length and step of the model's inputs.
    kind : str
        One of `audio.KINDS`.
    amount : float
        As in `audio.deform`.
    blur : float >= 0
        Option of `correlation_after_move`.
    method : str
        One of `explain.METHODS`.
    seed : int >= 0
        Seed of methods that draw.
    **options
        Options of the method.

    Returns
    -------
    table : pd.DataFrame
        One row a clip: kind, amount, correlation, control, gain, overlap (see `correlation_after_move`).

    See Also
    --------
    correlation_after_move : The comparison of two maps.
    """
    explainer, rows = arguments.explainer(model, method, seed, options), []
    _check(kind, model_input.front_end)
    for clip, output in zip(y, arguments.neurons(neuron, len(y)), strict=True):
        deformed = audio.deform(clip, sr=model_input.front_end.sr, kind=kind, amount=amount)
        maps = [clip_map(explainer, one, int(output), model_input=model_input) for one in (clip, deformed)]
        rows.append(correlation_after_move(*maps, front_end=model_input.front_end, kind=kind, amount=amount, blur=blur))
    return pd.DataFrame(rows)


def correlation_after_move(
    relevance: np.ndarray,
    deformed: np.ndarray,
    *,
    front_end: FrontEnd,
    kind: str = "pitch_shift",
    amount: float = 2.0,
    blur: float = 1.0,
    share: float = 0.05,
) -> dict:
    """Rank correlation of a deformed clip's map with the clip's map, moved and not moved.

    Parameters
    ----------
    relevance : np.ndarray [shape=(n_bins, n_frames)]
        Map of the clip.
    deformed : np.ndarray [shape=(n_bins, other n_frames)]
        Map of the deformed clip.
    front_end : FrontEnd
        Front end of the maps.
    kind : str
        One of `audio.KINDS`.
    amount : float
        As in `audio.deform`.
    blur : float >= 0
        Deviation in cells of the Gaussian under which maps are compared, since no map is exact to the cell. With a much
        larger one the tails of few spots rank all other cells, which raises correlation and control alike.
    share : float in (0, 1)
        Share of the cells that count as the most relevant ones.

    Returns
    -------
    result : dict
        kind, amount, correlation (with the moved map), control (with the map as it was, over the same cells), gain
        (their difference), overlap (how many of the most relevant cells of the moved map are among those of the
        deformed clip's; by chance it is `share`). NaN for constant maps.

    Raises
    ------
    ValueError
        If the kind is no such deformation, `blur` is negative, `share` not in (0, 1), or nothing is left to compare.

    Examples
    --------
    >>> from musictools.spectrograms import FrontEnd
    >>> front_end = FrontEnd(16000, 1024, 512, 8)
    >>> slow = np.random.default_rng(0).random((8, 21))
    >>> result = correlation_after_move(slow, slow[:, ::2], front_end=front_end, kind="time_stretch", amount=2, blur=0)
    >>> round(result["correlation"], 3)
    1.0
    """
    from scipy.ndimage import gaussian_filter

    if not blur >= 0:
        raise ValueError(f"blur must be at least 0. Got {blur!r}.")
    if not 0 < share < 1:
        raise ValueError(f"share must lie between 0 and 1. Got {share!r}.")
    own, other = (gaussian_filter(np.asarray(one, dtype=np.float64), blur) for one in (relevance, deformed))
    there = moved(own, front_end=front_end, kind=kind, amount=amount, n_frames=other.shape[1])
    length = min(own.shape[1], other.shape[1])
    there, other, own = there[:, :length], other[:, :length], own[:, :length]
    cells = np.isfinite(there)
    if np.count_nonzero(cells) < 2:
        raise ValueError(f"amount must leave something of the map to compare. Got {amount!r}.")
    correlation, control = (sanity.rank_correlation(other[cells], one[cells]) for one in (there, own))
    return {
        "kind": kind,
        "amount": amount,
        "correlation": correlation,
        "control": control,
        "gain": correlation - control,
        "overlap": np.nan if np.isnan(correlation) else _overlap(there[cells], other[cells], share),
    }


def moved(
    values: np.ndarray, *, front_end: FrontEnd, kind: str, amount: float, n_frames: int | None = None
) -> np.ndarray:
    """Move a map as a deformation moves the sound.

    Parameters
    ----------
    values : np.ndarray [shape=(n_bins, n_frames)]
        Map of the clip.
    front_end : FrontEnd
        Front end of the map.
    kind : str
        One of `audio.KINDS`.
    amount : float
        As in `audio.deform`.
    n_frames : int > 0 or None
        Frames of the result; None: as many as there were, over the speed of a time stretch.

    Returns
    -------
    values : np.ndarray [shape=(n_bins, n_frames)]
        Interpolated linearly; NaN in cells that came from outside the map.

    Raises
    ------
    ValueError
        If the kind is no such deformation, or the map has not the front end's bins.

    Examples
    --------
    >>> from musictools.spectrograms import FrontEnd
    >>> moved(np.array([[0.0, 1.0, 2.0, 3.0]]), front_end=FrontEnd(16000, 2, 1, 1, kind="waveform"),
    ...       kind="time_stretch", amount=2)
    array([[0., 2.]])
    """
    _check(kind, front_end)
    values = np.asarray(values, dtype=np.float64)
    if kind == "pitch_shift":
        frequencies = front_end.frequencies()
        if len(frequencies) != len(values):
            raise ValueError(f"values must have the front end's {len(frequencies)} bins. Got {len(values)}.")
        known = np.arange(len(values), dtype=float)
        before = np.interp(frequencies / 2 ** (amount / 12), frequencies, known, left=np.nan, right=np.nan)
        values = _at(values, before)
    speed = amount if kind == "time_stretch" else 1
    if n_frames is None:
        n_frames = round(values.shape[1] / speed)
    return _at(values.T, np.arange(n_frames) * speed).T


def clip_map(explainer: Explainer, y: np.ndarray, neuron: int, *, model_input: ModelInput) -> np.ndarray:
    """Map of a whole clip: the mean of its inputs' maps where inputs overlap.

    Parameters
    ----------
    explainer : Explainer
    y : np.ndarray [shape=(n,)]
        Clip at the front end's sampling rate. A clip shorter than one input is lengthened by its last frame.
    neuron : int
        The explained output.
    model_input : ModelInput
        Front end, length and step of the model's inputs.

    Returns
    -------
    relevance : np.ndarray [shape=(n_bins, n_frames)]
        Up to the end of the last whole input, and no longer than the clip.
    """
    front_end, length, step = model_input.front_end, model_input.length, model_input.step
    S = front_end.compute(y)
    x = front_end.scale(segments(S, length=length, step=step, pad_to=length))
    maps = sanity.explained(explainer, x.reshape(len(x), *model_input.shape), neuron).reshape(x.shape)
    n_frames = (len(x) - 1) * step + length
    total, count = np.zeros((x.shape[1], n_frames)), np.zeros(n_frames)
    for number, one in enumerate(maps):
        here = slice(number * step, number * step + length)
        total[:, here] += one
        count[here] += 1
    return (total / np.maximum(count, 1))[:, : S.shape[1]]


def _at(values, places):
    """Rows of a matrix at fractional places, NaN outside."""
    inside = (places >= 0) & (places <= len(values) - 1)
    safe = np.where(inside, places, 0.0)
    low = np.floor(safe).astype(int)
    share = (safe - low)[:, None]
    result = values[low] * (1 - share) + values[np.minimum(low + 1, len(values) - 1)] * share
    return np.where(inside[:, None], result, np.nan)


def _overlap(first, second, share):
    k = max(1, round(share * first.size))
    top = [np.argsort(-values, kind="stable")[:k] for values in (first, second)]
    return np.intersect1d(*top).size / k


def _check(kind, front_end):
    arguments.choice("kind", kind, audio.KINDS)
    if kind == "pitch_shift" and front_end.kind == "waveform":
        raise ValueError("kind must not be 'pitch_shift' for a waveform, whose map has no frequencies.")

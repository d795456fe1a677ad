"""Localisation: does relevance lie where the sound is? Maps are compared with the stems of a mix.

Conventions
-----------
The last two axes of `relevance` are one map: (n_bins, n_frames) for a spectrogram input, that is ``relevance[..., 0]``
of an explanation, or (n_samples, 1) for a waveform input. `mask` says which cells belong to the target. It has the same
last two axes and is broadcast over the leading ones, as NumPy does. Every measure returns one value a map, in the shape
of the leading axes.

Maps are ranked with their signs: negative relevance ranks below zero. Pass ``np.maximum(relevance, 0)`` to rank
positive relevance alone. Ties are counted as if their order were drawn at random, so a constant map scores exactly at
chance. An empty mask gives NaN.

*Chance* is the expected value for a map whose cells are shuffled: the mask's share of the area, and 0.5 for the AUC. To
beat chance is not enough, since a map of the input's energy finds most stems better than chance. Every measure is
therefore also taken of an energy map, and the difference is reported.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import evaluation, spectrograms
from musictools.explain.metrics import arguments

if TYPE_CHECKING:
    from musictools.spectrograms import FrontEnd, ModelInput

__all__ = [
    "MEASURES",
    "auc",
    "cut",
    "localise",
    "mass_accuracy",
    "pointing_game",
    "rank_accuracy",
    "stem_shares",
    "table",
    "target_mask",
    "target_share",
    "top_k_intersection",
]

_LOWEST = -300.0  # dB: as good as no floor, and well inside float32


def stem_shares(stems: Mapping[str, np.ndarray], front_end: FrontEnd) -> dict[str, np.ndarray]:
    """Share of every stem's power in every cell of a spectrogram.

    Parameters
    ----------
    stems : dict of str to np.ndarray [shape=(n,)]
        Waveforms at the front end's sampling rate; their sum is the mix.
    front_end : FrontEnd
        Power is linear and taken in its bands; for a waveform front end it is the squared sample.

    Returns
    -------
    shares : dict of str to np.ndarray [shape=(n_bins, n_frames), float32], in [0, 1]
        They add up to 1 where the mix lies above the front end's floor, and are all 0 elsewhere.

    Raises
    ------
    ValueError
        If there is no stem, or the waveforms differ in length.

    Examples
    --------
    >>> from musictools.spectrograms import FrontEnd
    >>> loud, soft = np.full(512, 0.3, dtype=np.float32), np.full(512, 0.1, dtype=np.float32)
    >>> shares = stem_shares({"guitar": loud, "flute": soft}, FrontEnd(16000, 2, 1, 1, kind="waveform"))
    >>> shares["guitar"].shape, round(float(shares["guitar"][0, 0]), 3)
    ((1, 512), 0.9)
    """
    lengths = {np.shape(y) for y in stems.values()}
    if len(lengths) != 1:
        raise ValueError(f"stems must be one or more waveforms of one length. Got shapes {sorted(lengths)}.")
    power = {name: _power(y, front_end) for name, y in stems.items()}
    total = np.sum(list(power.values()), axis=0)
    mix = front_end.compute(np.sum(list(stems.values()), axis=0, dtype=np.float32))
    above = total > 0 if front_end.kind == "waveform" else (total > 0) & (mix > front_end.floor)
    total[~above] = np.inf
    return {name: (p / total).astype(np.float32) for name, p in power.items()}


def _power(y, front_end):
    if front_end.kind == "waveform":
        return np.square(front_end.compute(y), dtype=np.float64)
    S = dataclasses.replace(front_end, ref=1.0, floor=_LOWEST).compute(y).astype(np.float64)
    return np.where(S > _LOWEST, 10 ** (S / 10), 0.0)


def target_share(shares: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    """Share of some stems together, in every cell.

    Parameters
    ----------
    shares : dict of str to np.ndarray [shape=(n_bins, n_frames)]
        Result of `stem_shares`.
    names : sequence of str
        The target's stems; without any the share is 0 everywhere.

    Returns
    -------
    share : np.ndarray [shape=(n_bins, n_frames)], in [0, 1]

    Raises
    ------
    ValueError
        If a name is none of the stems.
    """
    unknown = [name for name in names if name not in shares]
    if isinstance(names, str) or unknown:
        raise ValueError(f"names must be a list of stems among {', '.join(shares)}. Got {names!r}.")
    return np.sum([shares[name] for name in names] or [np.zeros_like(next(iter(shares.values())))], axis=0)


def target_mask(shares: Mapping[str, np.ndarray], names: Sequence[str], *, share: float = 0.5) -> np.ndarray:
    """Cells in which some stems together have more than a share of the power.

    Parameters
    ----------
    shares : dict of str to np.ndarray [shape=(n_bins, n_frames)]
        Result of `stem_shares`.
    names : sequence of str
        The target's stems.
    share : float in [0, 1)
        With 0.5 the target is louder than all other stems together.

    Returns
    -------
    mask : np.ndarray [shape=(n_bins, n_frames), bool]

    Raises
    ------
    ValueError
        If `share` lies outside [0, 1) or a name is none of the stems.

    Examples
    --------
    >>> target_mask({"guitar": np.array([[0.9, 0.2]]), "flute": np.array([[0.1, 0.8]])}, ["guitar"])
    array([[ True, False]])
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must lie in [0, 1). Got {share!r}.")
    return target_share(shares, names) > share


def cut(values: np.ndarray, model_input: ModelInput) -> np.ndarray:
    """Cut a mask or shares of a whole clip exactly as its spectrogram is cut into model inputs.

    Parameters
    ----------
    values : np.ndarray [shape=(n_bins, n_frames)]
    model_input : ModelInput

    Returns
    -------
    segments : np.ndarray [shape=(n_inputs, n_bins, length)]
        Read-only. For a waveform the shape is (n_inputs, length, 1). The measures take both.
    """
    segments = spectrograms.segments(values, length=model_input.length, step=model_input.step)
    return segments.swapaxes(1, 2) if model_input.front_end.kind == "waveform" else segments


def mass_accuracy(relevance: np.ndarray, mask: np.ndarray) -> float | np.ndarray:
    """Share of the positive relevance that lies inside the mask.

    Relevance mass accuracy of Arras et al. (2022), CLEVR-XAI; the same number is the inside-total relevance ratio of
    Kohlbrenner et al. (2020).

    Parameters
    ----------
    relevance : np.ndarray [shape=(..., n_bins, n_frames)]
    mask : np.ndarray [shape=(..., n_bins, n_frames), bool or float in [0, 1]]
        Shares count cells in part.

    Returns
    -------
    values : float or np.ndarray [shape=(...)], in [0, 1]
        NaN without positive relevance or for an empty mask; 1 for a full mask.

    Examples
    --------
    >>> mass_accuracy(np.array([[3.0, 1.0], [-5.0, 0.0]]), np.array([[True, False], [False, False]]))
    0.75
    """
    R, M, shape = _cells(relevance, mask, soft=True)
    positive = np.maximum(R, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = (positive * M).sum(axis=1) / positive.sum(axis=1)
    return _shaped(np.where(M.any(axis=1), values, np.nan), shape)


def rank_accuracy(relevance: np.ndarray, mask: np.ndarray) -> float | np.ndarray:
    """Share of the K most relevant cells that lie inside a mask of K cells.

    Relevance rank accuracy of Arras et al. (2022), CLEVR-XAI.

    Parameters
    ----------
    relevance : np.ndarray [shape=(..., n_bins, n_frames)]
    mask : np.ndarray [shape=(..., n_bins, n_frames), bool]

    Returns
    -------
    values : float or np.ndarray [shape=(...)], in [0, 1]
        NaN for an empty mask; 1 for a full mask; the mask's share of the area for a constant map.

    Examples
    --------
    >>> rank_accuracy(np.array([[3.0, 1.0], [2.0, 0.0]]), np.array([[True, True], [False, False]]))
    0.5
    """
    R, M, shape = _cells(relevance, mask)
    size = M.sum(axis=1)
    return _shaped(_hits(R, M, np.maximum(size, 1)) / np.where(size, size, np.nan), shape)


def pointing_game(relevance: np.ndarray, mask: np.ndarray) -> float | np.ndarray:
    """Whether the most relevant cell lies inside the mask.

    Zhang et al. (2018), Top-down neural attention by excitation backprop; here without a margin around the mask.

    Parameters
    ----------
    relevance : np.ndarray [shape=(..., n_bins, n_frames)]
    mask : np.ndarray [shape=(..., n_bins, n_frames), bool]

    Returns
    -------
    values : float or np.ndarray [shape=(...)], in [0, 1]
        1 or 0; where several cells share the maximum, the share of them inside. NaN for an empty mask.
    """
    return top_k_intersection(relevance, mask, k=1)


def top_k_intersection(relevance: np.ndarray, mask: np.ndarray, *, k: int | float = 0.05) -> float | np.ndarray:
    """Share of the k most relevant cells that lie inside the mask.

    Theiner et al. (2022), Interpretable semantic photo geolocation. With more cells than the mask has, 1 cannot be
    reached.

    Parameters
    ----------
    relevance : np.ndarray [shape=(..., n_bins, n_frames)]
    mask : np.ndarray [shape=(..., n_bins, n_frames), bool]
    k : int > 0 or float in (0, 1)
        Number of cells, or share of all cells.

    Returns
    -------
    values : float or np.ndarray [shape=(...)], in [0, 1]
        NaN for an empty mask.

    Raises
    ------
    ValueError
        If `k` is neither, or exceeds the number of cells.
    """
    R, M, shape = _cells(relevance, mask)
    count = max(1, round(k * R.shape[1])) if isinstance(k, float) and 0 < k < 1 else k
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or not 0 < count <= R.shape[1]:
        raise ValueError(f"k must be a positive int of at most {R.shape[1]} cells or a float in (0, 1). Got {k!r}.")
    values = _hits(R, M, np.full(len(R), count)) / count
    return _shaped(np.where(M.any(axis=1), values, np.nan), shape)


def auc(relevance: np.ndarray, mask: np.ndarray) -> float | np.ndarray:
    """Area under the ROC curve of relevance as a score of the mask's cells (Fawcett 2006).

    Parameters
    ----------
    relevance : np.ndarray [shape=(..., n_bins, n_frames)]
    mask : np.ndarray [shape=(..., n_bins, n_frames), bool]

    Returns
    -------
    values : float or np.ndarray [shape=(...)], in [0, 1]
        Ties count half: 0.5 for a constant map. NaN for an empty or full mask.

    See Also
    --------
    musictools.evaluation.roc_auc : The same area for the scores of tags.

    Examples
    --------
    >>> auc(np.array([[3.0, 1.0], [2.0, 0.0]]), np.array([[True, True], [False, False]]))
    0.75
    """
    R, M, shape = _cells(relevance, mask)
    return _shaped(evaluation.roc_auc(M.T, R.T), shape)


MEASURES = {"mass_accuracy": mass_accuracy, "rank_accuracy": rank_accuracy, "pointing_game": pointing_game,
            "top_k_intersection": top_k_intersection, "auc": auc}  # fmt: skip


def localise(
    relevance: np.ndarray, mask: np.ndarray, *, energy: np.ndarray, k: int | float = 0.05, **labels
) -> pd.DataFrame:
    """All measures of some maps, beside chance and an energy map.

    Parameters
    ----------
    relevance : np.ndarray [shape=(..., n_bins, n_frames)]
    mask : np.ndarray [shape=(..., n_bins, n_frames), bool]
    energy : np.ndarray [shape=(..., n_bins, n_frames)]
        Map to compare with: the input itself, or its power.
    k : int > 0 or float in (0, 1)
        Option of `top_k_intersection`.
    **labels : scalar or sequence of one value a map
        Further columns, such as ``clip=``, ``method=`` and ``instrument=``.

    Returns
    -------
    rows : pd.DataFrame
        One row for each map and measure: labels, map (number), measure, value, chance, corrected ((value - chance) /
        (1 - chance), NaN for a full mask), energy (the measure of the energy map), over_chance and over_energy
        (differences).

    See Also
    --------
    table : Means over clips with intervals.

    Examples
    --------
    >>> S = np.array([[1.0, 4.0], [2.0, 3.0]])
    >>> rows = localise(S > 1, S > 2, energy=S, clip="a", method="loud cells")
    >>> rows.loc[rows["measure"] == "auc", ["clip", "method", "value", "chance", "energy"]].to_dict("records")
    [{'clip': 'a', 'method': 'loud cells', 'value': 0.75, 'chance': 0.5, 'energy': 1.0}]
    """
    R, M, _ = _cells(relevance, mask)
    _fitted("energy", energy, np.shape(relevance))
    arguments.finite("energy", np.asarray(energy), axes=(-2, -1))
    area = np.where(M.any(axis=1), M.mean(axis=1), np.nan)
    R, M = R[:, None], M[:, None]  # maps with one row each
    shape = np.broadcast_shapes(np.shape(energy), np.shape(mask))  # what maps share is measured once
    E, E_mask = np.broadcast_to(energy, shape), np.broadcast_to(mask, shape)
    leading, tables = np.shape(relevance)[:-2], []
    for name, function in MEASURES.items():
        measure = functools.partial(function, k=k) if function is top_k_intersection else function
        rows = pd.DataFrame({**labels, "map": np.arange(len(R)), "measure": name, "value": measure(R, M)})
        rows["chance"] = np.where(area < 1, 0.5, np.nan) if name == "auc" else area
        rows["corrected"] = (rows["value"] - rows["chance"]) / (1 - rows["chance"]).replace(0, np.nan)
        rows["energy"] = np.broadcast_to(measure(E, E_mask), leading).ravel()
        rows["over_chance"], rows["over_energy"] = rows["value"] - rows["chance"], rows["value"] - rows["energy"]
        tables.append(rows)
    return pd.concat(tables, ignore_index=True)


def table(rows: pd.DataFrame, *, by: Sequence[str] = ("method",), repeats: int = 500, seed: int = 0) -> pd.DataFrame:
    """Mean of every measure over clips, with bootstrap intervals that resample clips.

    Parameters
    ----------
    rows : pd.DataFrame
        Tables of `localise` below each other, with a column ``clip`` and those of `by`. All maps of a clip count as
        one: their mean.
    by : sequence of str
        Columns that tell apart what is compared.
    repeats : int > 0
        Resamples of the bootstrap.
    seed : int >= 0
        Seed of the bootstrap; groups with the same clips draw the same resamples.

    Returns
    -------
    table : pd.DataFrame
        One row for each group and measure: `by`, measure, clips, maps, undefined (maps without a value, left out), the
        means of value, chance, corrected, energy, over_chance and over_energy, 95 % intervals ``…_low`` and ``…_high``
        of value and of the two paired differences, and clear: both differences' intervals lie above 0. With fewer than
        two clips there is no interval (NaN).

    Raises
    ------
    ValueError
        If a column is missing.
    """
    by = [by] if isinstance(by, str) else list(by)
    missing = [c for c in (*by, "clip", "measure", "value", "over_energy") if c not in rows]
    if missing:
        raise ValueError(f"rows must have the columns of localise, clip and {', '.join(by)}. Got none of {missing}.")
    lines = []
    for key, group in rows.groupby([*by, "measure"], sort=False):
        defined = group.dropna(subset=["over_chance", "over_energy"])
        line = dict(zip([*by, "measure"], key, strict=True))
        line |= {"maps": len(group), "undefined": len(group) - len(defined)}
        lines.append(line | _summary(defined, repeats=repeats, seed=seed))
    return pd.DataFrame(lines)


def _summary(rows, *, repeats, seed):
    """Means over clips and their intervals."""
    names = ["value", "chance", "corrected", "energy", "over_chance", "over_energy"]
    clips = rows.groupby("clip")[names].mean()
    line = {"clips": len(clips), **clips.mean().to_dict()}
    values = clips[["value", "over_chance", "over_energy"]]
    intervals = dict.fromkeys(values, (np.nan, np.nan))
    if len(clips) > 1:
        array = values.to_numpy()
        intervals = evaluation.bootstrap(lambda chosen: dict(zip(values, array[chosen].mean(axis=0), strict=True)),
                                         np.arange(len(clips)), repeats=repeats, seed=seed)  # fmt: skip
    for name, (low, high) in intervals.items():
        line |= {f"{name}_low": low, f"{name}_high": high}
    return line | {"clear": bool(line["over_chance_low"] > 0 and line["over_energy_low"] > 0)}


def _hits(relevance, mask, k):
    """Mask cells among the k[i] highest of row i; where the k-th ties with others, those expected of a random order."""
    places = relevance.shape[1] - k  # of the k[i]-th highest in ascending order
    cutoff = np.array([[np.partition(row, place)[place]] for row, place in zip(relevance, places, strict=True)])
    above, tied = relevance > cutoff, relevance == cutoff
    drawn = (k - above.sum(axis=1)) / tied.sum(axis=1)
    return (above & mask).sum(axis=1) + drawn * (tied & mask).sum(axis=1)


def _cells(relevance, mask, *, soft=False):
    """Check; return relevance and mask as (n_maps, n_cells), and the shape of the leading axes."""
    relevance = np.asarray(relevance)
    if relevance.ndim < 2 or not relevance.size:
        raise ValueError(f"relevance must have shape (..., n_bins, n_frames), none of them 0. Got {relevance.shape}.")
    arguments.finite("relevance", relevance, axes=(-2, -1))
    mask = _fitted("mask", mask, relevance.shape)
    if mask.dtype != bool and not (soft and mask.dtype.kind == "f" and np.all((mask >= 0) & (mask <= 1))):
        rule = "bool or hold shares in [0, 1]" if soft else "bool"
        raise ValueError(f"mask must be {rule}. Got {mask.dtype} from {mask.min():g} to {mask.max():g}.")
    flat = (-1, relevance.shape[-2] * relevance.shape[-1])
    return relevance.reshape(flat).astype(np.float64), mask.reshape(flat), relevance.shape[:-2]


def _fitted(name, values, shape):
    values = np.asarray(values)
    if values.shape[-2:] == shape[-2:]:
        try:
            return np.broadcast_to(values, shape)
        except ValueError:
            pass
    raise ValueError(
        f"{name} must have the last two axes of relevance, {shape}, and fit the others. Got "
        f"{values.shape}. For spectrogram inputs with a channel take relevance[..., 0]."
    )


def _shaped(values, shape):
    return values.reshape(shape) if shape else float(values[0])

"""Is the evidence where the sound is? Relevance against the stems of a mix.

Conventions
-----------
The last two axes of `relevance` are one map: (n_bins, n_frames) of a spectrogram input, that is ``relevance[..., 0]``
of an explanation, or (n_samples, 1) of a waveform input as it is. `mask` says which cells belong to the target; it has
the same last two axes and is broadcast over the leading ones, as NumPy does. Every measure gives a value a map, shape
of the leading axes.

Maps are ranked as they are, signs included: negative relevance ranks below none. Pass ``np.maximum(relevance, 0)`` to
rank positive relevance alone. Cells that tie are counted as if their order were drawn at random, so that a constant
map, a zero map too, is worth exactly as much as chance. An empty mask gives NaN.

*Chance* is the expected value of a map whose cells are shuffled: the mask's share of the area, 0.5 for the AUC. It is
not enough: a map that simply shows where the input is loud finds most stems better than chance. So every measure is
also taken of an energy map of the input, and the difference is reported.
"""

import dataclasses
import functools

import numpy as np
import pandas as pd

from musictools import evaluation, spectrograms

__all__ = ["MEASURES", "auc", "cut", "localise", "mass_accuracy", "pointing_game", "rank_accuracy", "stem_shares",
           "table", "target_mask", "target_share", "top_k_intersection"]

_LOWEST = -300.0  # dB: as good as no floor, and well inside float32


def stem_shares(stems, front_end):
    """Share of every stem's power in every cell of a spectrogram.

    Parameters
    ----------
    stems : dict of str to np.ndarray [shape=(n,)]
        Waveforms at the front end's sampling rate; their sum is the mix.
    front_end : FrontEnd
        Power is linear and in its bands; of a waveform front end it is the squared sample.

    Returns
    -------
    shares : dict of str to np.ndarray [shape=(n_bins, n_frames), float32], in [0, 1]
        They add up to 1 where the mix can be seen; where it lies on the front end's floor all are 0.

    Raises
    ------
    ValueError
        If there is no stem, or the waveforms differ in length.
    """
    lengths = {np.shape(y) for y in stems.values()}
    if len(lengths) != 1:
        raise ValueError(f"stems must be one or more waveforms of one length. Got shapes {sorted(lengths)}.")
    power = {name: _power(y, front_end) for name, y in stems.items()}
    total = np.sum(list(power.values()), axis=0)
    mix = front_end.compute(np.sum(list(stems.values()), axis=0, dtype=np.float32))
    seen = total > 0 if front_end.kind == "waveform" else (total > 0) & (mix > front_end.floor)
    total[~seen] = np.inf
    return {name: (p / total).astype(np.float32) for name, p in power.items()}


def _power(y, front_end):
    if front_end.kind == "waveform":
        return np.square(front_end.compute(y), dtype=np.float64)
    S = dataclasses.replace(front_end, ref=1.0, floor=_LOWEST).compute(y).astype(np.float64)
    return np.where(S > _LOWEST, 10 ** (S / 10), 0.0)


def target_share(shares, names):
    """Share of some stems together, in every cell.

    Parameters
    ----------
    shares : dict of str to np.ndarray [shape=(n_bins, n_frames)]
        Of `stem_shares`.
    names : sequence of str
        The target's stems; none gives 0 everywhere.

    Returns
    -------
    share : np.ndarray [shape=(n_bins, n_frames)], in [0, 1]
    """
    unknown = [name for name in names if name not in shares]
    if isinstance(names, str) or unknown:
        raise ValueError(f"names must be a list of stems among {', '.join(shares)}. Got {names!r}.")
    return np.sum([shares[name] for name in names] or [np.zeros_like(next(iter(shares.values())))], axis=0)


def target_mask(shares, names, *, share=0.5):
    """Cells in which some stems together have more than a share of the power.

    Parameters
    ----------
    shares : dict of str to np.ndarray [shape=(n_bins, n_frames)]
        Of `stem_shares`.
    names : sequence of str
        The target's stems.
    share : float in [0, 1)
        0.5: the target is louder than all others together.

    Returns
    -------
    mask : np.ndarray [shape=(n_bins, n_frames), bool]
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must lie in [0, 1). Got {share!r}.")
    return target_share(shares, names) > share


def cut(values, model_input):
    """Cut a mask or shares of a whole clip exactly as its spectrogram is cut into model inputs.

    Parameters
    ----------
    values : np.ndarray [shape=(n_bins, n_frames)]
    model_input : ModelInput

    Returns
    -------
    pieces : np.ndarray [shape=(n_inputs, n_bins, length)]
        For a waveform (n_inputs, length, 1): in both cases what the measures take. Read-only.
    """
    pieces = spectrograms.frames(values, length=model_input.length, step=model_input.step)
    return pieces.swapaxes(1, 2) if model_input.front_end.kind == "waveform" else pieces


def mass_accuracy(relevance, mask):
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
    """
    R, M, shape = _cells(relevance, mask, soft=True)
    positive = np.maximum(R, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = (positive * M).sum(axis=1) / positive.sum(axis=1)
    return _shaped(np.where(M.any(axis=1), values, np.nan), shape)


def rank_accuracy(relevance, mask):
    """Share of the K most relevant cells that lie inside a mask of K cells.

    Relevance rank accuracy of Arras et al. (2022), CLEVR-XAI.

    Parameters
    ----------
    relevance : np.ndarray [shape=(..., n_bins, n_frames)]
    mask : np.ndarray [shape=(..., n_bins, n_frames), bool]

    Returns
    -------
    values : float or np.ndarray [shape=(...)], in [0, 1]
        NaN for an empty mask; 1 for a full mask; a constant map gets the mask's share of the area.
    """
    R, M, shape = _cells(relevance, mask)
    size = M.sum(axis=1)
    return _shaped(_hits(R, M, np.maximum(size, 1)) / np.where(size, size, np.nan), shape)


def pointing_game(relevance, mask):
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


def top_k_intersection(relevance, mask, *, k=0.05):
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
    """
    R, M, shape = _cells(relevance, mask)
    count = max(1, round(k * R.shape[1])) if isinstance(k, float) and 0 < k < 1 else k
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or not 0 < count <= R.shape[1]:
        raise ValueError(f"k must be a positive int of at most {R.shape[1]} cells or a float in (0, 1). Got {k!r}.")
    values = _hits(R, M, np.full(len(R), count)) / count
    return _shaped(np.where(M.any(axis=1), values, np.nan), shape)


def auc(relevance, mask):
    """Area under the ROC curve of relevance as a score of the mask's cells (Fawcett 2006).

    Parameters
    ----------
    relevance : np.ndarray [shape=(..., n_bins, n_frames)]
    mask : np.ndarray [shape=(..., n_bins, n_frames), bool]

    Returns
    -------
    values : float or np.ndarray [shape=(...)], in [0, 1]
        Ties count half: 0.5 for a constant map. NaN for an empty or full mask.
    """
    R, M, shape = _cells(relevance, mask)
    return _shaped(np.array([_area(r[m], r[~m]) for r, m in zip(R, M)]), shape)


MEASURES = {"mass_accuracy": mass_accuracy, "rank_accuracy": rank_accuracy, "pointing_game": pointing_game,
            "top_k_intersection": top_k_intersection, "auc": auc}  # fmt: skip


def localise(relevance, mask, *, energy, k=0.05, **labels):
    """All measures of some maps, beside chance and an energy map.

    Parameters
    ----------
    relevance : np.ndarray [shape=(..., n_bins, n_frames)]
    mask : np.ndarray [shape=(..., n_bins, n_frames), bool]
    energy : np.ndarray [shape=(..., n_bins, n_frames)]
        Baseline map of the input: the input itself, or its power.
    k : int > 0 or float in (0, 1)
        Of `top_k_intersection`.
    **labels : scalar or sequence of one value a map
        Further columns, such as ``clip=``, ``method=`` and ``instrument=``.

    Returns
    -------
    rows : pd.DataFrame
        A row a map and measure: labels, map (number), measure, value, chance, corrected ((value - chance) /
        (1 - chance), NaN for a full mask), energy (the measure of the energy map), over_chance and over_energy
        (differences).
    """
    R, M, _ = _cells(relevance, mask)
    energy = _fitted("energy", energy, np.shape(relevance))
    _check_finite("energy", energy)
    area = np.where(M.any(axis=1), M.mean(axis=1), np.nan)
    R, E, M = R[:, None], energy.reshape(R.shape)[:, None], M[:, None]  # maps of one row
    parts = []
    for name, function in MEASURES.items():
        measure = functools.partial(function, k=k) if function is top_k_intersection else function
        rows = pd.DataFrame({**labels, "map": np.arange(len(R)), "measure": name, "value": measure(R, M)})
        rows["chance"] = np.where(area < 1, 0.5, np.nan) if name == "auc" else area
        rows["corrected"] = (rows["value"] - rows["chance"]) / (1 - rows["chance"]).replace(0, np.nan)
        rows["energy"] = measure(E, M)
        rows["over_chance"], rows["over_energy"] = rows["value"] - rows["chance"], rows["value"] - rows["energy"]
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def table(rows, *, by=("method",), repeats=500, seed=0):
    """Mean of every measure over clips, with intervals that resample clips.

    Parameters
    ----------
    rows : pd.DataFrame
        Of `localise`, one or several below each other, with a column ``clip`` and those of `by`. All maps of a clip
        count as one: their mean.
    by : sequence of str
        Columns that tell apart what is compared.
    repeats : int > 0
    seed : int >= 0
        Of the bootstrap; all groups with the same clips draw the same ones.

    Returns
    -------
    table : pd.DataFrame
        A row a group and measure: `by`, measure, clips, maps, undefined (maps without a value, left out), the means of
        value, chance, corrected, energy, over_chance and over_energy, 95 % intervals ``…_low`` and ``…_high`` of value
        and of the two paired differences, and clear: both differences' intervals lie above 0. Without two clips there
        is no interval (NaN).
    """
    by = [by] if isinstance(by, str) else list(by)
    missing = [c for c in (*by, "clip", "measure", "value", "over_energy") if c not in rows]
    if missing:
        raise ValueError(f"rows must have the columns of localise, clip and {', '.join(by)}. Got none of {missing}.")
    lines = []
    for key, group in rows.groupby([*by, "measure"], sort=False):
        defined = group.dropna(subset=["over_chance", "over_energy"])
        line = dict(zip([*by, "measure"], key))
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
        intervals = evaluation.bootstrap(lambda chosen: dict(zip(values, array[chosen].mean(axis=0))),
                                         np.arange(len(clips)), repeats=repeats, seed=seed)  # fmt: skip
    for name, (low, high) in intervals.items():
        line |= {f"{name}_low": low, f"{name}_high": high}
    return line | {"clear": bool(line["over_chance_low"] > 0 and line["over_energy_low"] > 0)}


def _area(inside, outside):
    """Share of the pairs that are ranked right; five times faster than by the ranks of all cells."""
    if not (inside.size and outside.size):
        return np.nan
    inside, outside = np.sort(inside), np.sort(outside)
    below = [np.searchsorted(outside, inside, side=side).sum() for side in ("left", "right")]
    return sum(below) / (2 * inside.size * outside.size)


def _hits(relevance, mask, k):
    """Mask cells among the k[i] highest of row i; where the k-th ties with others, those expected of a random order."""
    cutoff = -np.take_along_axis(np.sort(-relevance, axis=1), k[:, None] - 1, axis=1)
    above, tied = relevance > cutoff, relevance == cutoff
    drawn = (k - above.sum(axis=1)) / tied.sum(axis=1)
    return (above & mask).sum(axis=1) + drawn * (tied & mask).sum(axis=1)


def _cells(relevance, mask, *, soft=False):
    """Check; return relevance and mask as (n_maps, n_cells), and the shape of the leading axes."""
    relevance = np.asarray(relevance)
    if relevance.ndim < 2 or not relevance.size:
        raise ValueError(f"relevance must have shape (..., n_bins, n_frames), none of them 0. Got {relevance.shape}.")
    _check_finite("relevance", relevance)
    mask = _fitted("mask", mask, relevance.shape)
    if mask.dtype != bool and not (soft and mask.dtype.kind == "f" and np.all((mask >= 0) & (mask <= 1))):
        rule = "bool or hold shares in [0, 1]" if soft else "bool"
        raise ValueError(f"mask must be {rule}. Got {mask.dtype} from {mask.min():g} to {mask.max():g}.")
    flat = (-1, relevance.shape[-2] * relevance.shape[-1])
    return relevance.reshape(flat).astype(np.float64), mask.reshape(flat), relevance.shape[:-2]


def _fitted(name, values, shape):
    values = np.asarray(values)
    try:
        if values.shape[-2:] != shape[-2:]:
            raise ValueError
        return np.broadcast_to(values, shape)
    except ValueError:
        raise ValueError(
            f"{name} must have the last two axes of relevance, {shape}, and fit the others. Got {values.shape}. "
            "Of spectrogram inputs with a channel take relevance[..., 0]."
        ) from None


def _check_finite(name, values):
    bad = ~np.isfinite(values).all(axis=(-2, -1))
    if bad.any():
        raise ValueError(f"{name} must be finite. Got NaN or Inf in {bad.sum()} of {bad.size} maps.")


def _shaped(values, shape):
    return values.reshape(shape) if shape else float(values[0])

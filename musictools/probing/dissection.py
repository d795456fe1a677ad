"""Network dissection against stems: is a feature map active where the instrument sounds?

After Bau et al. (2017), Network dissection, with masks computed from stems instead of labelled by hand: a cell of the
input belongs to a descriptor if the stems that carry it have more than half of the power
(`explain.metrics.localisation`).

Conventions
-----------
A map is resized to the grid of the input: each of its cells counts for all cells that it covers.

*AUC* of an input: the probability that the map is higher in a cell of the descriptor than in another one, ties counted
half; 0.5 is chance. *IoU* over all inputs of a descriptor: cells where the map exceeds its threshold and cells of the
mask, intersection over union. The threshold is the map's own top quantile over all these inputs. Bau et al. take the
top 0.5 %; instruments cover more, and such a map could not reach an IoU above 0.005 over the mask's share of the area.
So the quantile is that share, unless one is given.

There are two baselines for both. *Energy*: the input itself taken as a map. *Shuffled*: the masks of other clips with
the same descriptor, which tell where such an instrument usually plays, but nothing about this clip.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import evaluation, runs
from musictools.explain.metrics import localisation
from musictools.probing.maps import INPUT, FeatureMaps

if TYPE_CHECKING:
    from musictools.datasets.base import Dataset
    from musictools.probing.streams import StreamedMaps
    from musictools.spectrograms import Segments

__all__ = ["Masks", "dissect", "masks", "planted", "summary"]

_STEMS_SR = 16000  # Hz, of the composed corpus


@dataclass(frozen=True)
class Masks:
    """Where descriptors sound, one entry per clip and descriptor.

    Parameters
    ----------
    clip : list of clip id
        The clip of every entry.
    tag : list of str
        The descriptor of every entry.
    mask : np.ndarray [shape=(n_entries, n_bins, n_frames), bool]
        Cells of the input that belong to the descriptor.

    Raises
    ------
    ValueError
        If the lengths differ or the mask is not bool with three axes.
    """

    clip: list
    tag: list[str]
    mask: np.ndarray

    def __post_init__(self):
        if not len(self.clip) == len(self.tag) == len(self.mask) or self.mask.ndim != 3 or self.mask.dtype != bool:
            raise ValueError(
                f"clip, tag and mask must be equally long, mask bool with three axes. Got "
                f"{len(self.clip)}, {len(self.tag)} and {self.mask.dtype} {self.mask.shape}."
            )


def masks(
    data: Dataset,
    inputs: dict[str, Segments],
    ids: Sequence,
    tags: Sequence[str],
    *,
    workers: int | None = None,
    scheduler: str = "",
) -> dict[str, Masks]:
    """Compute masks of the instruments of clips, on the inputs of several models.

    Parameters
    ----------
    data : Dataset
        A data set with stems, such as the composed corpus. It has ``stems(clip_id)``, at 16 kHz, and
        ``tag_stems(clip_id, tag)``, the names of the stems that carry a tag.
    inputs : dict of str to Segments
        Name of a model -> its inputs, one per clip as from `clips.middle`, of a spectrogram front end. Stems are
        rendered once for all models.
    ids : sequence of clip id
        Some of their clips.
    tags : sequence of str
        Descriptors. A clip has a mask for every tag that some of its stems carry and others do not.
    workers : int > 0 or None
        Processes, as in `runs.map`.
    scheduler : str
        Address of a Dask scheduler, as in `runs.map`.

    Returns
    -------
    masks : dict of str to Masks
        By model. Masks that are empty or full are left out.

    Raises
    ------
    ValueError
        If a front end makes no spectrograms, a clip has no input, or no clip has such a tag.
    """
    task = {"data": data, "tags": list(tags), "models": {}}
    for name, own in inputs.items():
        front_end = own.store.front_end
        if front_end is None or front_end.kind == "waveform":
            raise ValueError(
                f"Dissection needs the front end of a spectrogram model. {name!r} has "
                f"{'none' if front_end is None else 'a waveform'}."
            )
        start = {own.ids[clip]: int(first) for clip, first in zip(own.clip, own.start, strict=True)}
        absent = [i for i in ids if i not in start]
        if absent:
            raise ValueError(f"{name!r} has no input of {len(absent)} clips, first {absent[0]!r}.")
        task["models"][name] = (front_end, start, own.length)
    by_clip = runs.map(
        functools.partial(_clip_masks, task), list(ids), workers=workers, scheduler=scheduler, description="stems"
    )
    masks = {}
    for name in inputs:
        entries = [entry for masks_of_clip in by_clip for entry in masks_of_clip[name]]
        if not entries:
            raise ValueError("No clip has a tag that some of its stems carry and others do not.")
        clip, tag, mask = zip(*entries, strict=True)
        masks[name] = Masks(list(clip), list(tag), np.stack(mask))
    return masks


def _clip_masks(task, clip_id):
    """Masks of one clip: model -> list of (clip, tag, mask)."""
    data, entries = task["data"], {name: [] for name in task["models"]}
    carriers = {tag: data.tag_stems(clip_id, tag) for tag in task["tags"]}
    stems = data.stems(clip_id)[0] if any(carriers.values()) else {}
    carriers = {tag: names for tag, names in carriers.items() if 0 < len(names) < len(stems)}
    for name, (front_end, start, length) in task["models"].items() if carriers else ():
        shares = _shares(stems, front_end)
        for tag, names in carriers.items():
            mask = localisation.target_mask(shares, names)[:, start[clip_id] : start[clip_id] + length]
            if mask.any() and not mask.all():
                entries[name].append((clip_id, tag, mask))
    return entries


def _shares(stems, front_end):
    import soxr

    if front_end.sr != _STEMS_SR:
        stems = {name: soxr.resample(y, _STEMS_SR, front_end.sr, quality="HQ") for name, y in stems.items()}
    return localisation.stem_shares(stems, front_end)


def dissect(
    maps: FeatureMaps | StreamedMaps,
    masks: Masks,
    *,
    only: Sequence[tuple[str, int]] | None = None,
    top: float | None = None,
    workers: int | None = None,
    scheduler: str = "",
) -> pd.DataFrame:
    """Compare maps with masks.

    Parameters
    ----------
    maps : FeatureMaps or StreamedMaps
        Maps of the masks' clips, with inputs of the masks' shape.
    masks : Masks
        Where descriptors sound.
    only : sequence of (str, int) or None
        Layer and index of the maps to compare, as from `FeatureMaps.names`; None: all that have more than one cell. The
        input, as energy, is included in any case.
    top : float in (0, 1) or None
        Share of cells above a map's threshold; None: the share of the descriptor's masks.
    workers : int > 0 or None
        Processes, as in `runs.map`.
    scheduler : str
        Address of a Dask scheduler, as in `runs.map`.

    Returns
    -------
    rows : pd.DataFrame
        One row per map and entry: layer, map, clip, tag, auc, shared and joined (numbers of cells, intersection and
        union of the IoU), and the same three with the prefix ``shuffled_``, NaN for a descriptor of one clip.

    Raises
    ------
    ValueError
        If the masks do not fit the input, or `top` is out of range.

    See Also
    --------
    summary : The best map of every layer and descriptor.

    Examples
    --------
    A map that is active in the left half of the input, where the guitar sounds.

    >>> import tempfile
    >>> mask = np.zeros((4, 6, 8), dtype=bool)
    >>> mask[:, :, :4] = True
    >>> x = np.random.default_rng(0).random((1, 4, 6, 8), dtype=np.float32)
    >>> maps = FeatureMaps.create(tempfile.mkdtemp(), {"input": (1, 6, 8), "conv": (1, 6, 8)}, range(4))
    >>> maps.write(0, {"input": x, "conv": mask[None].astype(np.float32)})
    >>> rows = dissect(maps, Masks(list(range(4)), ["guitar"] * 4, mask), workers=1)
    >>> rows.loc[rows["layer"] == "conv", "auc"].tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if maps.shapes[INPUT][1:] != masks.mask.shape[1:]:
        raise ValueError(
            f"masks must have the shape of the input, {maps.shapes[INPUT][1:]}. Got {masks.mask.shape[1:]}."
        )
    if top is not None and not 0 < top < 1:
        raise ValueError(f"top must lie in (0, 1) or be None. Got {top!r}.")
    tags = np.array(masks.tag, dtype=object)
    other = np.arange(len(tags))
    for tag in dict.fromkeys(masks.tag):
        places = np.flatnonzero(tags == tag)
        other[places] = np.roll(places, 1)
    if only is None:
        only = maps.names([layer for layer, (_, h, w) in maps.shapes.items() if h * w > 1])
    names = [(INPUT, 0), *(name for name in only if name[0] != INPUT)]
    whole = np.ones((1, *masks.mask.shape[1:]), dtype=bool)
    grids = {
        layer: (_covered(masks.mask, maps.shapes[layer][1:]), _covered(whole, maps.shapes[layer][1:])[0])
        for layer in dict(names)
    }
    task = {"rows": maps.rows(masks.clip), "tags": tags, "grids": grids, "other": other, "top": top}
    done = []
    for stored, group in maps.passes(names):
        own = functools.partial(_dissect, task | {"maps": stored})
        done += runs.map(own, group, workers=workers, scheduler=scheduler, description="dissection")
    parts = [
        pd.DataFrame(rows).assign(layer=layer, map=index, clip=masks.clip, tag=masks.tag)
        for (layer, index), rows in zip(names, done, strict=True)
    ]
    columns = ["auc", "shared", "joined"]
    columns = ["layer", "map", "clip", "tag", *columns, *(f"shuffled_{column}" for column in columns)]
    return pd.concat(parts, ignore_index=True)[columns]


def _dissect(task, name):
    values = task["maps"].read(*name)[task["rows"]].astype(np.float64)
    (inside, size), cutoff = task["grids"][name[0]], np.empty(len(values))
    for tag in dict.fromkeys(task["tags"]):
        places = task["tags"] == tag
        share = task["top"] if task["top"] is not None else inside[places].sum() / (places.sum() * size.sum())
        cutoff[places] = _top(values[places], size, share)
    alone = task["other"] == np.arange(len(values))
    shuffled = _compare(values, inside[task["other"]], size, cutoff)
    rows = _compare(values, inside, size, cutoff)
    return rows | {f"shuffled_{name}": np.where(alone, np.nan, column) for name, column in shuffled.items()}


def planted(
    folder: str | Path,
    maps: FeatureMaps | StreamedMaps,
    masks: Masks,
    *,
    tag: str,
    layer: str,
    noise: int = 4,
    seed: int = 0,
) -> tuple[FeatureMaps, pd.DataFrame]:
    """Add a map that is known to carry a descriptor to a layer, to test whether probing finds it.

    Parameters
    ----------
    folder : str or Path
        Where the new maps are stored.
    maps : FeatureMaps or StreamedMaps
        Maps of the masks' clips.
    masks : Masks
        Where descriptors sound. Their clips are used.
    tag : str
        The descriptor to plant, one of the masks'.
    layer : str
        Layer whose maps are copied, and whose size the planted map has.
    noise : int >= 0
        Number of maps with random numbers.
    seed : int >= 0
        Seed of the random numbers.

    Returns
    -------
    planted : FeatureMaps
        One layer, "planted": the maps of `layer`, then the planted one (the share of each cell that the descriptor's
        mask covers; 0 in clips without it), then noise.
    labels : pd.DataFrame [clips x 1, bool]
        Which clips the descriptor sounds in.

    Raises
    ------
    ValueError
        If no mask has the tag, or the folder holds other maps.
    """
    if tag not in masks.tag:
        raise ValueError(f"tag must be one of {', '.join(dict.fromkeys(masks.tag))}. Got {tag!r}.")
    clips = list(dict.fromkeys(masks.clip))
    n_maps, height, width = maps.shapes[layer]
    size = _covered(np.ones((1, *masks.mask.shape[1:]), bool), (height, width))
    values = np.zeros((n_maps + 1 + noise, len(clips), height, width), np.float32)
    rows = maps.rows(clips)
    for stored, group in maps.passes(maps.names([layer])):
        for _, index in group:
            values[index] = stored.read(layer, index)[rows].reshape(-1, height, width)
    for clip, name, mask in zip(masks.clip, masks.tag, masks.mask, strict=True):
        if name == tag:
            share = _covered(mask[None], (height, width)) / size
            values[n_maps, clips.index(clip)] = share.reshape(height, width)
    values[n_maps + 1 :] = np.random.default_rng(seed).random(values[n_maps + 1 :].shape)
    source = f"{maps.source} {tag} {layer} {noise} {seed} {masks.mask.sum()}"
    new = FeatureMaps.create(folder, {"planted": (len(values), height, width)}, clips, source=source)
    for rows in new.missing():
        new.write(rows.start, {"planted": values[:, rows.start : rows.stop]})
    return new, pd.DataFrame({tag: values[n_maps].any(axis=(1, 2))}, index=clips)


def _compare(values, inside, size, cutoff):
    active = values > cutoff[:, None]
    shared = (inside * active).sum(axis=1)
    return {
        "auc": np.array([_auc(v, i, size - i) for v, i in zip(values, inside, strict=True)]),
        "shared": shared,
        "joined": inside.sum(axis=1) + (size * active).sum(axis=1) - shared,
    }


def _covered(mask, shape):
    """Number of a mask's cells that each cell of a map covers, np.ndarray [shape=(n, height * width)]."""
    for axis, n in ((1, shape[0]), (2, shape[1])):
        first = -(-np.arange(n) * mask.shape[axis] // n)  # cell i of N belongs to cell i * n // N of n
        mask = np.add.reduceat(mask, first, axis=axis, dtype=np.int32)
    return mask.reshape(len(mask), -1)


def _top(values, size, share):
    """The value above which a share of the cells lies, cells weighted by how many input cells they cover."""
    order = np.argsort(values, axis=None)[::-1]
    weight = np.broadcast_to(size, values.shape).ravel()[order].cumsum()
    place = min(int(np.searchsorted(weight, share * weight[-1], side="right")), len(order) - 1)
    return values.ravel()[order[place]]


def _auc(values, inside, outside):
    """ROC-AUC of weighted cells."""
    levels, place = np.unique(values, return_inverse=True)
    wins, losses = (np.bincount(place, weights=w, minlength=len(levels)) for w in (inside, outside))
    below = losses.cumsum() - losses
    return float((wins * (below + losses / 2)).sum() / (wins.sum() * losses.sum()))


def summary(rows: pd.DataFrame, *, repeats: int = 500, seed: int = 0) -> pd.DataFrame:
    """Find the best map of every layer and descriptor, chosen on half of the clips and measured on the others.

    Parameters
    ----------
    rows : pd.DataFrame
        As returned by `dissect`.
    repeats : int > 0
        Resamples of the bootstrap over clips.
    seed : int >= 0
        Seed of the halves and the bootstrap.

    Returns
    -------
    table : pd.DataFrame
        One row per descriptor and layer, and one with layer "all": tag, layer, clips (number measured on), maps,
        feature_map (highest mean AUC on the other clips; with "all" the layer and the index), auc and iou, both also
        with the prefixes ``energy_`` and ``shuffled_``, over_energy and over_shuffled (differences of AUC) with 95 %
        intervals ``…_low`` and ``…_high``, clear (both intervals lie above 0). Descriptors of fewer than four clips are
        left out.

    Raises
    ------
    ValueError
        If no descriptor has four clips.
    """
    lines = []
    for tag, group in rows.groupby("tag", sort=False):
        clips = np.random.default_rng(seed).permutation(group["clip"].unique())
        if len(clips) < 4:
            continue
        first, held = (group[group["clip"].isin(half)] for half in (clips[::2], clips[1::2]))
        energy = held[held["layer"] == INPUT].set_index("clip")
        mean = first[first["layer"] != INPUT].groupby(["layer", "map"], sort=False)["auc"].mean()
        for layer in [*mean.index.unique("layer"), "all"]:
            part = mean if layer == "all" else mean.loc[[layer]]
            best_layer, best = part.idxmax()
            own = held[(held["layer"] == best_layer) & (held["map"] == best)].set_index("clip")
            lines.append(
                {
                    "tag": tag,
                    "layer": layer,
                    "clips": len(own),
                    "maps": len(part),
                    "feature_map": f"{best_layer} {best}" if layer == "all" else str(best),
                    **_line(own, energy.loc[own.index], repeats=repeats, seed=seed),
                }
            )
    if not lines:
        raise ValueError("No descriptor has masks in four clips or more. Dissect more clips.")
    return pd.DataFrame(lines)


def _line(own, energy, *, repeats, seed):
    line = {}
    for name, part, prefix in (("", own, ""), ("energy_", energy, ""), ("shuffled_", own, "shuffled_")):
        line |= {
            f"{name}auc": part[f"{prefix}auc"].mean(),
            f"{name}iou": part[f"{prefix}shared"].sum() / part[f"{prefix}joined"].sum(),
        }
    differences = {
        "over_energy": (own["auc"] - energy["auc"]).to_numpy(),
        "over_shuffled": (own["auc"] - own["shuffled_auc"]).to_numpy(),
    }
    for name, values in differences.items():
        low, high = evaluation.bootstrap(
            lambda chosen, v=values: float(v[chosen].mean()), np.arange(len(values)), repeats=repeats, seed=seed
        )
        line |= {name: values.mean(), f"{name}_low": low, f"{name}_high": high}
    return line | {"clear": bool(line["over_energy_low"] > 0 and line["over_shuffled_low"] > 0)}

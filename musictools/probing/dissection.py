"""Network dissection against stems: does a feature map light up where the instrument sounds?

Bau et al. (2017), Network dissection, with masks that are known instead of labelled: a cell of the input belongs to a
descriptor where the stems that carry it have more than half of the power (`explain.localisation`).

Conventions
-----------
A map is stretched to the grid of the input, each of its cells over the cells that it covers. Then:

*AUC* of an input: how well the map ranks cells of the descriptor before the others, ties counted half; 0.5 is chance.
*IoU* over all inputs of a descriptor: cells above the map's threshold and cells of the mask, what they share over what
they cover together. The threshold is the map's own top quantile over all these inputs. Bau et al. take the top 0.5 %;
instruments are larger than that, and such a map could not reach an IoU above 0.005 over the mask's share of the area.
So the quantile is that share, unless one is given.

Two comparisons stand beside both. *Energy*: the input itself taken as a map. *Shuffled*: the masks of other clips with
the same descriptor, which knows where such an instrument usually plays and nothing of this clip.
"""

import functools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from musictools import evaluation, runs
from musictools.explain.metrics import localisation
from musictools.probing.maps import INPUT, FeatureMaps

__all__ = ["Masks", "dissect", "masks", "planted", "summary"]

_STEMS_SR = 16000  # Hz, of the composed corpus


@dataclass(frozen=True)
class Masks:
    """Where descriptors sound, an entry a clip and descriptor.

    Attributes
    ----------
    clip : list of clip id
    tag : list of str
    mask : np.ndarray [shape=(n_entries, n_bins, n_frames), bool]
    """

    clip: list
    tag: list
    mask: np.ndarray

    def __post_init__(self):
        if not len(self.clip) == len(self.tag) == len(self.mask) or self.mask.ndim != 3 or self.mask.dtype != bool:
            raise ValueError(
                f"clip, tag and mask must be equally long, mask bool with three axes. Got "
                f"{len(self.clip)}, {len(self.tag)} and {self.mask.dtype} {self.mask.shape}."
            )


def masks(data, frames, ids, tags, *, workers=None, scheduler=""):
    """Masks of the instruments of clips, cut as the inputs of each of several models are.

    Parameters
    ----------
    data : Dataset
        That knows stems, such as the composed corpus: ``stems(clip_id)``, at 16 kHz, ``tag_stems(clip_id, tag)``.
    frames : dict of str to Segments
        Name of a model -> its inputs, one a clip, as of `clips.middle`; of a spectrogram front end. Stems are rendered
        once for all models.
    ids : sequence of clip id
        Some of their clips.
    tags : sequence of str
        A clip has a mask of every tag that some of its stems carry and others do not.
    workers, scheduler
        As in `runs.map`.

    Returns
    -------
    masks : dict of str to Masks
        By model. Masks that are empty or full in an input are left out.

    Raises
    ------
    ValueError
        If a front end makes no spectrograms, a clip has no input, or no clip has such a tag.
    """
    task = {"data": data, "tags": list(tags), "models": {}}
    for name, own in frames.items():
        front_end = own.store.front_end
        if front_end is None or front_end.kind == "waveform":
            raise ValueError(
                f"Dissection needs the front end of a spectrogram model. {name!r} has "
                f"{'none' if front_end is None else 'a waveform'}."
            )
        start = {own.ids[clip]: int(first) for clip, first in zip(own.clip, own.start)}
        absent = [i for i in ids if i not in start]
        if absent:
            raise ValueError(f"{name!r} has no input of {len(absent)} clips, first {absent[0]!r}.")
        task["models"][name] = (front_end, start, own.length)
    found = runs.map(
        functools.partial(_clip_masks, task), list(ids), workers=workers, scheduler=scheduler, description="stems"
    )
    masks = {}
    for name in frames:
        entries = [entry for clip in found for entry in clip[name]]
        if not entries:
            raise ValueError("No clip has a tag that some of its stems carry and others do not.")
        clip, tag, mask = zip(*entries)
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


def dissect(maps, masks, *, items=None, top=None, workers=None, scheduler=""):
    """Hold maps against masks.

    Parameters
    ----------
    maps : FeatureMaps
        With the clips of the masks; its input has the masks' grid.
    masks : Masks
    items : sequence of (str, int) or None
        Maps; None: all that have more than one cell. The input, as energy, comes in any case.
    top : float in (0, 1) or None
        Share of cells above a map's threshold; None: the share that the descriptor's masks have.
    workers, scheduler
        As in `runs.map`.

    Returns
    -------
    rows : pd.DataFrame
        A row a map and entry: layer, map, clip, tag, auc, shared, joined (cells, for the IoU), and the same three with
        ``shuffled_`` before them: NaN for a descriptor of one clip.

    Raises
    ------
    ValueError
        If the masks do not fit the input, or `top` is out of range.
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
    if items is None:
        items = maps.items([layer for layer, (_, h, w) in maps.shapes.items() if h * w > 1 and layer != INPUT])
    items = [(INPUT, 0), *(item for item in items if item[0] != INPUT)]
    whole = np.ones((1, *masks.mask.shape[1:]), dtype=bool)
    grids = {
        layer: (_covered(masks.mask, maps.shapes[layer][1:]), _covered(whole, maps.shapes[layer][1:])[0])
        for layer in dict(items)
    }
    task = {"maps": maps, "rows": maps.rows(masks.clip), "tags": tags, "grids": grids, "other": other, "top": top}
    done = runs.map(
        functools.partial(_dissect, task), items, workers=workers, scheduler=scheduler, description="dissection"
    )
    parts = [
        pd.DataFrame(rows).assign(layer=layer, map=index, clip=masks.clip, tag=masks.tag)
        for (layer, index), rows in zip(items, done)
    ]
    names = ["auc", "shared", "joined"]
    return pd.concat(parts, ignore_index=True)[
        ["layer", "map", "clip", "tag", *names, *(f"shuffled_{name}" for name in names)]
    ]


def _dissect(task, item):
    values = task["maps"].read(*item)[task["rows"]].astype(np.float64)
    (inside, size), cutoff = task["grids"][item[0]], np.empty(len(values))
    for tag in dict.fromkeys(task["tags"]):
        places = task["tags"] == tag
        share = task["top"] if task["top"] is not None else inside[places].sum() / (places.sum() * size.sum())
        cutoff[places] = _top(values[places], size, share)
    alone = task["other"] == np.arange(len(values))
    shuffled = _hold(values, inside[task["other"]], size, cutoff)
    rows = _hold(values, inside, size, cutoff)
    return rows | {f"shuffled_{name}": np.where(alone, np.nan, column) for name, column in shuffled.items()}


def planted(folder, maps, masks, *, tag, layer, noise=4, seed=0):
    """A layer among whose maps one is known to carry a descriptor: does probing find it?

    Parameters
    ----------
    folder : str or Path
        For the new maps.
    maps : FeatureMaps
    masks : Masks
        Their clips take part.
    tag : str
        One of theirs.
    layer : str
        Whose maps stand beside the planted one, and whose size it has.
    noise : int >= 0
        Maps of random numbers.
    seed : int >= 0
        Of those.

    Returns
    -------
    found : FeatureMaps
        One layer, "planted": the maps of `layer`, then the planted one (which share of each cell the descriptor's
        stems sound in; 0 in clips without it), then noise.
    labels : pd.DataFrame [clips x 1, bool]
        Which clips the descriptor sounds in.
    """
    if tag not in masks.tag:
        raise ValueError(f"tag must be one of {', '.join(dict.fromkeys(masks.tag))}. Got {tag!r}.")
    clips = list(dict.fromkeys(masks.clip))
    n_maps, height, width = maps.shapes[layer]
    size = _covered(np.ones((1, *masks.mask.shape[1:]), bool), (height, width))
    values = np.zeros((n_maps + 1 + noise, len(clips), height, width), np.float32)
    for index in range(n_maps):
        values[index] = maps.read(layer, index)[maps.rows(clips)].reshape(-1, height, width)
    for clip, name, mask in zip(masks.clip, masks.tag, masks.mask):
        if name == tag:
            share = _covered(mask[None], (height, width)) / size
            values[n_maps, clips.index(clip)] = share.reshape(height, width)
    values[n_maps + 1 :] = np.random.default_rng(seed).random(values[n_maps + 1 :].shape)
    source = f"{maps.source} {tag} {layer} {noise} {seed} {masks.mask.sum()}"
    found = FeatureMaps.create(folder, {"planted": (len(values), height, width)}, clips, source=source)
    for rows in found.missing():
        found.write(rows.start, {"planted": values[:, rows.start : rows.stop]})
    return found, pd.DataFrame({tag: values[n_maps].any(axis=(1, 2))}, index=clips)


def _hold(values, inside, size, cutoff):
    lit = values > cutoff[:, None]
    shared = (inside * lit).sum(axis=1)
    return {
        "auc": np.array([_area(v, i, size - i) for v, i in zip(values, inside)]),
        "shared": shared,
        "joined": inside.sum(axis=1) + (size * lit).sum(axis=1) - shared,
    }


def _covered(mask, shape):
    """Cells of a mask under each cell of a map of some shape, np.ndarray [shape=(n, height * width)]."""
    for axis, n in ((1, shape[0]), (2, shape[1])):
        first = -(-np.arange(n) * mask.shape[axis] // n)  # cell i of N belongs to cell i * n // N of n
        mask = np.add.reduceat(mask, first, axis=axis, dtype=np.int32)
    return mask.reshape(len(mask), -1)


def _top(values, size, share):
    """The value above which a share of the cells lies, cells weighted by what they cover."""
    order = np.argsort(values, axis=None)[::-1]
    weight = np.broadcast_to(size, values.shape).ravel()[order].cumsum()
    place = min(int(np.searchsorted(weight, share * weight[-1], side="right")), len(order) - 1)
    return values.ravel()[order[place]]


def _area(values, inside, outside):
    """ROC-AUC of weighted cells."""
    levels, place = np.unique(values, return_inverse=True)
    wins, losses = (np.bincount(place, weights=w, minlength=len(levels)) for w in (inside, outside))
    below = losses.cumsum() - losses
    return float((wins * (below + losses / 2)).sum() / (wins.sum() * losses.sum()))


def summary(rows, *, repeats=500, seed=0):
    """The best map of every layer and descriptor, chosen on half of the clips and measured on the others.

    Parameters
    ----------
    rows : pd.DataFrame
        Of `dissect`.
    repeats : int > 0
        Of the bootstrap over clips.
    seed : int >= 0
        Of the halves and the bootstrap.

    Returns
    -------
    table : pd.DataFrame
        A row a descriptor and layer, and one with layer "all": tag, layer, clips (measured on), maps, feature_map
        (highest mean AUC on the other clips; with "all" the layer and the index), auc and iou, the same of energy and
        of the shuffled masks, over_energy and over_shuffled (differences of AUC) with 95 % intervals ``…_low`` and
        ``…_high``, clear: both lie above 0. Descriptors of fewer than four clips are left out.

    Raises
    ------
    ValueError
        If that leaves none.
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
            home, top = part.idxmax()
            own = held[(held["layer"] == home) & (held["map"] == top)].set_index("clip")
            lines.append(
                {
                    "tag": tag,
                    "layer": layer,
                    "clips": len(own),
                    "maps": len(part),
                    "feature_map": f"{home} {top}" if layer == "all" else str(top),
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

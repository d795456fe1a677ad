"""What a concept holds: association between belonging to a concept and known properties of the patches.

A property is a number for every patch, such as the share of its energy that a stem has, its centre frequency, or 0 and
1 for a key. The measure is the area under the ROC curve (AUC): the chance that the property is larger in a patch of the
concept than in another patch of the same class. 0.5 is no association. Intervals resample clips, because the patches of
one clip are no independent observations.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from musictools.concepts.discovery import Concepts

__all__ = ["associations", "best_associations", "patch_properties"]


def patch_properties(concepts: Concepts, x: np.ndarray, *, silence: float = 0.0) -> pd.DataFrame:
    """Measure patches: what can be said of them without any knowledge about the music.

    Parameters
    ----------
    concepts : Concepts
    x : np.ndarray [shape=(n_inputs, n_bins, n_frames, 1)]
        The inputs that concepts were discovered in.
    silence : float
        Value of silence.

    Returns
    -------
    table : pd.DataFrame [n_patches rows]
        frequency (mean bin), height and width (extent in bins and frames), level (mean value), contrast (standard
        deviation of the values), silent (share of the cells that are), change_in_time and
        change_in_frequency (mean absolute difference of neighbouring cells, divided by the contrast).
    """
    from musictools.concepts.patches import bounding_box

    x = np.asarray(x, float)[..., 0]
    changes = [np.abs(np.diff(x, axis=axis, append=np.take(x, [-1], axis))) for axis in (2, 1)]
    rows = []
    for index in range(len(concepts.patches)):
        mask, own = concepts.patches.mask(index), concepts.patches.input[index]
        values, (_, _, height, width) = x[own][mask], bounding_box(mask)
        contrast = values.std()
        in_time, in_frequency = (change[own][mask].mean() / max(contrast, 1e-3) for change in changes)
        centre = np.nonzero(mask)[0].mean()
        rows.append((centre, height, width, values.mean(), contrast, (values <= silence).mean(), in_time, in_frequency))
    columns = ["frequency", "height", "width", "level", "contrast", "silent", "change_in_time"]
    return pd.DataFrame(rows, columns=[*columns, "change_in_frequency"])


def associations(
    concepts: Concepts,
    properties: pd.DataFrame,
    *,
    only: Sequence[str] | None = None,
    repeats: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Measure how strongly every concept is associated with every property.

    Parameters
    ----------
    concepts : Concepts
    properties : pd.DataFrame [n_patches rows]
        One column per property. Patches with NaN are left out of that property.
    only : sequence of str or None
        Concepts; None: all.
    repeats : int > 0
        Bootstrap resamples of the concept's clips.
    seed : int >= 0

    Returns
    -------
    table : pd.DataFrame
        concept, property, auc, low and high (95 % interval), and mean and rest (of the property in the concept's
        patches and in the others of its class). A property that does not vary has 0.5.

    Raises
    ------
    ValueError
        If there is not one row for each patch.

    See Also
    --------
    best_associations : The strongest of every concept.
    """
    if len(properties) != len(concepts.patches):
        raise ValueError(f"properties must have {len(concepts.patches)} rows, one a patch. Got {len(properties)}.")
    rng = np.random.default_rng(seed)
    labels, groups = concepts.labels[concepts.patches.input], concepts.groups[concepts.patches.input]
    rows = []
    for number, (name, row) in enumerate(concepts.table.iterrows()):
        if only is not None and name not in only:
            continue
        label = concepts.names.index(row["class"])
        inside, outside = concepts.concept == number, (labels == label) & (concepts.concept != number)
        draws = _draws(groups[inside], repeats, rng)
        for column, values in properties.items():
            values = values.to_numpy(float)
            rows.append({"concept": name, "property": column} | _association(values[inside], values[outside], draws))
    return pd.DataFrame(rows, columns=["concept", "property", "auc", "low", "high", "mean", "rest"])


def _draws(groups, repeats, rng):
    """How often each patch counts in every resample of the clips (repeats, n_patches)."""
    names, number = np.unique(groups, return_inverse=True)
    drawn = rng.integers(0, len(names), (repeats, len(names)))
    return np.stack([np.bincount(row, minlength=len(names)) for row in drawn])[:, number]


def _association(inside, outside, draws):
    known, others = ~np.isnan(inside), np.sort(outside[~np.isnan(outside)])
    if not known.any() or not len(others):
        return dict.fromkeys(("auc", "low", "high", "mean", "rest"), np.nan)
    below, upto = (np.searchsorted(others, inside[known], side) for side in ("left", "right"))
    places = (below + upto) / 2 / len(others)  # the mean of these is the AUC
    counts = draws[:, known]
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile(counts @ places / counts.sum(axis=1), (0.025, 0.975))
    return {
        "auc": places.mean(), "low": low, "high": high, "mean": inside[known].mean(), "rest": others.mean(),
    }  # fmt: skip


def best_associations(table: pd.DataFrame, *, n: int = 1) -> pd.DataFrame:
    """Choose what concepts hold: the properties that are larger in their patches, with the surest first.

    Parameters
    ----------
    table : pd.DataFrame
        From `associations`.
    n : int > 0
        Number per concept.

    Returns
    -------
    best : pd.DataFrame
        Rows whose interval lies above 0.5, by concept and descending lower end; concepts without one are left out.
    """
    order = {name: k for k, name in enumerate(table["concept"].unique())}
    chosen = table[table["low"] > 0.5].sort_values("low", ascending=False)
    chosen = chosen.groupby("concept", sort=False).head(n)
    return chosen.sort_values("concept", key=lambda names: names.map(order), kind="stable").reset_index(drop=True)

"""Bad concepts: concepts that an output depends on, but that no musical property explains (`sharma2022` 5.2).

Signs of an artefact of the data, for a concept that the network uses (q below `alpha`, raises the logit):

``flat``
    Its patches hold nearly constant values, far less contrast than those of its class: a hiss, a mask.
``silent``
    Its patches are mostly silence, those of its class are not: a gap, or the band that an augmentation left.
``confined``
    Its patches come from far fewer clips than as many patches drawn at random would: clips that were recorded or drawn
    otherwise. An instrument that only some clips have looks the same, so this counts only where nothing explains the
    concept.
``isolated``
    Its CAV lies in a small cluster of those of all classes, as that of the bad concept of `sharma2022` did. This too
    counts only where nothing explains the concept.
``unexplained``
    No musical property that is known of the patches is associated with it, see `associations`.

A flag asks for a look at the patches; it proves nothing.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from musictools.concepts.discovery import Concepts

__all__ = ["flag"]


def flag(
    concepts: Concepts,
    properties: pd.DataFrame,
    *,
    explained: pd.DataFrame | None = None,
    arrangement: pd.DataFrame | None = None,
    alpha: float = 0.05,
    flat: float = 0.3,
    silent: float = 0.5,
    confined: float = 0.7,
    explains: float = 0.58,
    small: float = 0.05,
) -> pd.DataFrame:
    """Mark concepts that look like artefacts of the data.

    Parameters
    ----------
    concepts : Concepts
    properties : pd.DataFrame [n_patches rows]
        With the columns contrast and silent, from `patch_properties`.
    explained : pd.DataFrame or None
        Associations with musical properties, from `associations`; None: nothing explains any concept.
    arrangement : pd.DataFrame or None
        From `arrange`; None: not judged.
    alpha : float in (0, 1)
        Largest q of a concept that the network uses.
    flat : float > 0
        Largest median contrast, as a share of that of the other patches of the class.
    silent : float in (0, 1)
        Least median share of silent cells; the other patches of the class must have less than half of it.
    confined : float in (0, 1)
        Largest number of clips, as a share of the number that is expected of as many random patches of the class.
    explains : float in (0.5, 1)
        A property explains a concept if the interval of its AUC lies above this, or below 1 less this.
    small : float in (0, 1)
        Largest share of all concepts in a small cluster.

    Returns
    -------
    table : pd.DataFrame [indexed by concept]
        used, flat, silent, confined, unexplained, isolated (bool), contrast (share of that of the class's other
        patches), clip_share (number of clips, as a share of the expected number), flagged, and reason (in words).
    """
    groups = concepts.groups[concepts.patches.input]
    labels = concepts.labels[concepts.patches.input]
    contrast, silence, rows = properties["contrast"].to_numpy(float), properties["silent"].to_numpy(float), []
    for number, (_, row) in enumerate(concepts.table.iterrows()):
        of_class = labels == concepts.names.index(row["class"])
        inside = concepts.concept == number
        rest = of_class & ~inside if (of_class & ~inside).any() else of_class
        share = np.unique(groups[of_class], return_counts=True)[1] / of_class.sum()
        expected = (1 - (1 - share) ** inside.sum()).sum()
        rows.append(
            {
                "used": bool(row["q"] < alpha and row["sensitivity"] > 0),
                "contrast": np.median(contrast[inside]) / max(np.median(contrast[rest]), 1e-9),
                "silent": np.median(silence[inside]) >= silent > 2 * np.median(silence[rest]),
                "clip_share": len(np.unique(groups[inside])) / max(expected, 1e-9),
            }
        )
    table = pd.DataFrame(rows, index=concepts.table.index)
    table["flat"] = table["contrast"] <= flat
    table["confined"] = table["clip_share"] <= confined
    table["unexplained"] = _unexplained(explained, explains, table.index)
    table["isolated"] = False
    if arrangement is not None:
        sizes = arrangement["cluster"].map(arrangement["cluster"].value_counts())
        table["isolated"] = (sizes <= small * len(arrangement)).reindex(table.index, fill_value=False)
    alone = table["unexplained"] & (table["confined"] | table["isolated"])
    table["flagged"] = table["used"] & (table["flat"] | table["silent"] | alone)
    words = {
        "flat": "constant patches",
        "silent": "silence",
        "confined": "few clips",
        "isolated": "unlike other concepts",
    }
    words |= {} if explained is None else {"unexplained": "no musical property"}
    table["reason"] = [
        ", ".join(text for sign, text in words.items() if row[sign]) if row["flagged"] else ""
        for _, row in table.iterrows()
    ]
    return table


def _unexplained(explained, least, index):
    if explained is None:
        return True
    # That an instrument is missing in all patches of a concept and in most others (an interval without width) is no
    # explanation; a complete separation is.
    known = (explained["high"] > explained["low"]) | explained["auc"].isin([0, 1])
    sure = np.maximum(explained["low"] - 0.5, 0.5 - explained["high"]).where(known, 0.0)
    best = sure.groupby(explained["concept"]).max().reindex(index)
    return (best < least - 0.5).fillna(False)

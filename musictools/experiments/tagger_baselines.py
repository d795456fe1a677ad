"""Baselines of the taggers, and an ensemble: scores of clips that no single network gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from musictools import evaluation
from musictools.experiments.tagger_scores import Clips

__all__ = ["ensemble", "mfcc_baseline", "mfcc_table", "prior_baseline"]


def prior_baseline(labels: pd.DataFrame, *, validation: Sequence, hold_out: Sequence) -> Clips:
    """Baseline: score every clip by each tag's share of the training clips.

    Parameters
    ----------
    labels : pd.DataFrame [training clips x tags, bool]
    validation, hold_out : sequence of clip id

    Returns
    -------
    clips : Clips
    """
    share = labels.mean().to_numpy()
    return Clips(
        "tag frequency",
        *(
            pd.DataFrame(np.tile(share, (len(ids), 1)), index=ids, columns=labels.columns)
            for ids in (validation, hold_out)
        ),
    )


def mfcc_table(store: Any, ids: Sequence, *, n_mfcc: int = 20) -> pd.DataFrame:
    """Mean over time of every clip's mel-frequency cepstral coefficients, from its mel-spectrogram in dB.

    Parameters
    ----------
    store : SpectrogramStore
    ids : sequence of clip id
    n_mfcc : int > 0

    Returns
    -------
    mfcc : pd.DataFrame [clips x coefficients]
    """
    import librosa

    means = np.stack([store[clip_id].mean(axis=1) for clip_id in ids], axis=1)  # the transform is linear
    return pd.DataFrame(librosa.feature.mfcc(S=means, n_mfcc=n_mfcc).T, index=list(ids))


def mfcc_baseline(
    mfcc: pd.DataFrame, labels: pd.DataFrame, *, validation: Sequence, hold_out: Sequence, seed: int = 0
) -> Clips:
    """Baseline: logistic regression, tag by tag, on the mean over time of every clip's MFCCs.

    Parameters
    ----------
    mfcc : pd.DataFrame [clips x coefficients]
    labels : pd.DataFrame [training clips x tags, bool]
    validation, hold_out : sequence of clip id
    seed : int >= 0

    Returns
    -------
    clips : Clips
        A tag that all training clips have, or none, gets that as its score.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    tables = {
        split: pd.DataFrame(0.0, index=ids, columns=labels.columns)
        for split, ids in (("validation", validation), ("hold_out", hold_out))
    }
    for tag in labels.columns:
        y = labels[tag].to_numpy()
        model = None
        if y.any() and not y.all():
            model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000, random_state=seed))
            model.fit(mfcc.loc[labels.index], y)
        for table in tables.values():
            table[tag] = y.mean() if model is None else model.predict_proba(mfcc.loc[table.index])[:, 1]
    return Clips("MFCC and logistic regression", **tables)


def ensemble(
    taggers: Sequence[Clips], labels: pd.DataFrame, *, shrink: float = 10.0, name: str = "best model for each tag"
) -> tuple[Clips, pd.Series]:
    """Take for each tag the tagger that is best on the validation clips (`rotheneder2023` chapter 7, future work).

    A few positive clips hardly show which tagger is best. Therefore a tag's average precision is shrunk towards the
    tagger's mean over all tags, with the weight of `shrink` positive clips.

    Parameters
    ----------
    taggers : sequence of Clips
        With the same clips and tags.
    labels : pd.DataFrame [clips x tags, bool]
        Used at the validation clips only.
    shrink : float >= 0
        0: every tag is judged by its own average precision alone.
    name : str
        Name of the ensemble.

    Returns
    -------
    clips : Clips
    chosen : pd.Series [tag -> tagger]
        A tag without positive validation clips is decided by the mean alone.
    """
    precision = {}
    for clips in taggers:
        y = clips.truth(labels, split="validation")
        table = evaluation.tag_table(y, clips.validation.to_numpy(), names=clips.tags)
        precision[clips.name] = table.set_index("tag")["average_precision"]
    precision = pd.DataFrame(precision)
    n_positive = labels.loc[taggers[0].validation.index, precision.index].sum()
    weight = (n_positive / (n_positive + shrink).clip(lower=1)).where(precision.notna().all(axis=1), 0.0)
    mixed = precision.fillna(0.0).mul(weight, axis=0).add(np.outer(1 - weight, precision.mean()))
    chosen = mixed.idxmax(axis=1)
    by_name = {clips.name: clips for clips in taggers}
    tables = {
        split: pd.DataFrame({tag: getattr(by_name[model], split)[tag] for tag, model in chosen.items()})
        for split in ("validation", "hold_out")
    }
    return Clips(name, **tables), chosen

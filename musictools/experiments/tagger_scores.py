"""Scores of clips from those of their segments, and thresholds that are chosen on the validation clips.

The scores of a clip's segments are joined by ``union`` (`rotheneder2023`: every tag of any segment, so that the highest
score decides) or by their ``mean`` (`tagger_slides`). Thresholds are 0.5 or chosen on the validation clips, with scores
that are joined in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from musictools import evaluation
from musictools.experiments.jobs import Result

__all__ = ["Clips", "JOINS", "RULES", "clip_scores", "rule_thresholds"]

JOINS = {"union": evaluation.max_by_clip, "mean": evaluation.mean_by_clip}
RULES = ("half", "f1", "precision")


@dataclass(frozen=True)
class Clips:
    """Scores of whole clips by one tagger.

    Parameters
    ----------
    name : str
        Name of the tagger.
    validation, hold_out : pd.DataFrame [clips x tags]
        Scores in [0, 1].
    """

    name: str
    validation: pd.DataFrame
    hold_out: pd.DataFrame

    @property
    def tags(self) -> list[str]:
        """Names of the tags."""
        return list(self.hold_out.columns)

    def truth(self, labels: pd.DataFrame, *, split: str = "hold_out") -> np.ndarray:
        """Labels of the clips, in the order of the scores.

        Parameters
        ----------
        labels : pd.DataFrame [clips x tags, bool]
        split : {"hold_out", "validation"}

        Returns
        -------
        labels : np.ndarray [shape=(n_clips, n_tags), bool]
        """
        return labels.loc[getattr(self, split).index, self.tags].to_numpy()


def clip_scores(result: Result, *, join: str = "mean") -> Clips:
    """Join the scores of a result's segments to scores of clips.

    Parameters
    ----------
    result : Result
    join : {"mean", "union"}

    Returns
    -------
    clips : Clips

    Examples
    --------
    >>> from musictools.experiments.jobs import Job
    >>> scores, clip = np.array([[0.25], [0.75]]), np.array(["a", "a"])
    >>> job = Job(model="se_cnn", n_tags=1, labels="annotated", protocol="tagger_slides")
    >>> result = Result(job=job, classes=("guitar",), history=pd.DataFrame(),
    ...                 scores={"validation": scores, "hold_out": scores}, clip={"validation": clip, "hold_out": clip})
    >>> clip_scores(result, join="mean").hold_out.at["a", "guitar"]
    np.float64(0.5)
    """
    tables = {}
    for split in ("validation", "hold_out"):
        ids, scores = JOINS[join](result.scores[split], result.clip[split])
        tables[split] = pd.DataFrame(scores, index=ids, columns=list(result.classes))
    return Clips(result.job.model, **tables)


def rule_thresholds(clips: Clips, labels: pd.DataFrame, *, rule: str, precision: float = 0.5) -> pd.Series:
    """Thresholds of one tagger by a rule, from its validation clips.

    Parameters
    ----------
    clips : Clips
    labels : pd.DataFrame [clips x tags, bool]
    rule : {"half", "f1", "precision"}
    precision : float in (0, 1]

    Returns
    -------
    thresholds : pd.Series [tag -> float]

    Raises
    ------
    ValueError
        If the rule is unknown.
    """
    if rule not in RULES:
        raise ValueError(f"rule must be one of {', '.join(RULES)}. Got {rule!r}.")
    values = (
        np.full(len(clips.tags), 0.5)
        if rule == "half"
        else evaluation.choose_thresholds(
            clips.truth(labels, split="validation"), clips.validation.to_numpy(), rule=rule, precision=precision
        )
    )
    return pd.Series(values, index=clips.tags, name=rule)

"""Tables of notebook 03 from the results of jobs: segments, clips, thresholds, tags, ensemble, baselines.

The scores of a clip's segments are joined by ``union`` (`rotheneder2023`: every tag of any segment, so that the highest
score decides) or by their ``mean`` (`tagger_slides`). Thresholds are 0.5 or chosen on the validation clips, with scores
that are joined in the same way. Predictions may be compared with more complete labels than those that were learnt from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from musictools import evaluation
from musictools.experiments.jobs import Result
from musictools.experiments.taggers import SLIDES

__all__ = [
    "JOINS",
    "RULES",
    "Clips",
    "accuracy_oddity",
    "clip_scores",
    "clip_table",
    "ensemble",
    "extra_table",
    "interval_table",
    "mfcc_baseline",
    "mfcc_table",
    "per_tag",
    "prior_baseline",
    "rule_thresholds",
    "segment_table",
    "slides_oddities",
    "slides_table",
    "threshold_table",
    "top_tags",
]

JOINS = {"union": evaluation.max_by_clip, "mean": evaluation.mean_by_clip}
RULES = ("half", "f1", "precision")
_RATES = ("micro_precision", "micro_recall", "macro_precision", "macro_recall")


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


def extra_table(results: Sequence[Result], labels: dict, *, precision: float = 0.5) -> pd.DataFrame:
    """Compare trainings of one model with other labels or answers to imbalance, scored against every kind of labels.

    Parameters
    ----------
    results : sequence of Result
        Results of one model and tag set.
    labels : dict of str to pd.DataFrame [clips x tags, bool]
        Labels by kind. Thresholds are chosen on the validation clips, with the labels that a result learnt from.
    precision : float in (0, 1]

    Returns
    -------
    table : pd.DataFrame
        learnt and scored (kinds of labels), imbalance, rule, roc_auc, average_tags, micro_precision, micro_recall,
        macro_precision, macro_recall, macro_f1.
    """
    tables = []
    for result in results:
        clips = clip_scores(result)
        for kind, scored in labels.items():
            table = threshold_table([clips], scored, choose_labels=labels[result.job.labels], precision=precision)
            y = clips.truth(scored)
            table.insert(2, "roc_auc", _mean(evaluation.roc_auc(y, clips.hold_out.to_numpy())))
            for column, value in (("scored", kind), ("imbalance", result.job.imbalance), ("learnt", result.job.labels)):
                table.insert(0, column, value)
            tables.append(table.drop(columns="model"))
    return pd.concat(tables, ignore_index=True)


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


def segment_table(results: Sequence[Result], labels: pd.DataFrame, *, split: str = "test") -> pd.DataFrame:
    """Scores of segments at the threshold 0.5, as in `rotheneder2023` tables 5.6-5.16 (its frame level).

    Parameters
    ----------
    results : sequence of Result
    labels : pd.DataFrame [clips x tags, bool]
    split : {"test", "validation", "hold_out"}

    Returns
    -------
    table : pd.DataFrame
        model, tags, roc_auc, accuracy, micro_precision, micro_recall, macro_precision, macro_recall, undefined.
    """
    rows = []
    for result in results:
        y = labels.loc[result.clip[split], list(result.classes)].to_numpy()
        measures = evaluation.tag_metrics(y, result.scores[split])
        rows.append(
            {"model": result.job.model, "tags": result.job.n_tags}
            | {k: measures[k] for k in ("roc_auc", "accuracy", *_RATES, "undefined")}
        )
    return pd.DataFrame(rows)


def slides_table(results: Sequence[Result], labels: pd.DataFrame) -> pd.DataFrame:
    """Scores of whole test songs, joined by the mean, as in `tagger_slides` tables I-III.

    Parameters
    ----------
    results : sequence of Result
        Of `taggers.slides_tasks`.
    labels : pd.DataFrame [clips x tags, bool]

    Returns
    -------
    table : pd.DataFrame
        model (as in the slides), roc_auc, pr_auc, average_precision, mcc.
    """
    names = {network: row for row, network in SLIDES.items()}
    rows = []
    for result in results:
        ids, scores = JOINS["mean"](result.scores["test"], result.clip["test"])
        measures = evaluation.tag_metrics(labels.loc[ids, list(result.classes)].to_numpy(), scores)
        rows.append(
            {"model": names[result.job.model]}
            | {k: measures[k] for k in ("roc_auc", "pr_auc", "average_precision", "mcc")}
        )
    return pd.DataFrame(rows)


def top_tags(clips: Clips, labels: pd.DataFrame, presence: pd.Series, *, n: int = 10) -> pd.DataFrame:
    """The tags with the highest recall on the held-out clips, as in `rotheneder2023` tables 5.7-5.17.

    Parameters
    ----------
    clips : Clips
    labels : pd.DataFrame [clips x tags, bool]
    presence : pd.Series [tag -> int]
        Number of clips with the tag. The source counts the clips for training, validation and test, not the held-out
        ones.
    n : int > 0

    Returns
    -------
    table : pd.DataFrame
        tag, presence, recall, precision.
    """
    table = evaluation.tag_table(clips.truth(labels), clips.hold_out.to_numpy(), names=clips.tags)
    table["presence"] = presence.loc[clips.tags].to_numpy()
    return table.nlargest(n, "recall")[["tag", "presence", "recall", "precision"]]


def accuracy_oddity(tables: dict) -> str:
    """Say which published accuracy does not fit the precision and recall beside it (`rotheneder2023` table 5.8).

    The share of wrong cells is q (1 - recall + recall (1 - precision) / precision), where q is the share of positive
    cells. All models were tested on the same cells, so that q is the same.

    Parameters
    ----------
    tables : dict of str to pd.DataFrame
        The published scores by segment of every model: tags, accuracy, micro_precision, micro_recall.

    Returns
    -------
    sentence : str
    """
    together = pd.concat({model: table.set_index("tags") for model, table in tables.items()}, names=["model"])
    precision, recall = together["micro_precision"], together["micro_recall"]
    wrong = 1 - recall + recall * (1 - precision) / precision
    positive = ((1 - together["accuracy"]) / wrong).groupby("tags").transform("median")
    implied = 1 - positive * wrong
    model, n_tags = (implied - together["accuracy"]).abs().idxmax()
    others = together["accuracy"].xs(n_tags, level="tags").drop(model)
    return (
        f"The accuracy of {model} at {n_tags} tags, {together['accuracy'][model, n_tags]:.1%}, seems to be a misprint: "
        f"its precision and recall imply {implied[model, n_tags]:.1%}, and the other models have {others.min():.1%} to "
        f"{others.max():.1%}."
    )


def slides_oddities(tables: dict) -> list[str]:
    """Say what is odd about the published tables I-III of `tagger_slides`: equal values, and the size of the MCC.

    Parameters
    ----------
    tables : dict of str to pd.DataFrame [indexed by model]
        By data set: roc_auc, pr_auc, mcc.

    Returns
    -------
    sentences : list of str
    """
    together = pd.concat(tables, axis=1)
    areas = together.xs("roc_auc", axis=1, level=1)
    distinct = areas.nunique(axis=1)
    equal = [f"{model} ({areas.loc[model].iloc[0]:.4f})" for model in areas.index[distinct == 1]]
    twice = list(areas.index[distinct == 2])
    mcc, area = (together.xs(name, axis=1, level=1).stack() for name in ("mcc", "pr_auc"))
    return [
        f"{' and '.join(equal)} have the same ROC-AUC on all {areas.shape[1]} data sets, {' and '.join(twice)} on two "
        "of them, which independent test data hardly give.",
        f"The MCC lies between {mcc.min():.2f} and {mcc.max():.2f}. It is at most the geometric mean of precision and "
        f"recall at the threshold, and areas under the precision-recall curve of {area.min():.2f} to {area.max():.2f} "
        "leave no room for such a pair, so it cannot be the mean over the tags of the formula in the slides.",
    ]


def clip_table(
    taggers: Sequence[Clips], labels: pd.DataFrame, *, groups: pd.Series | None = None, threshold: float = 0.5
) -> pd.DataFrame:
    """All measures on the held-out clips, and on groups of them.

    Parameters
    ----------
    taggers : sequence of Clips
    labels : pd.DataFrame [clips x tags, bool]
    groups : pd.Series [clip id -> group] or None
        Groups that have a row each besides the row "all", for example clips by "seen" and "unseen" artists.
    threshold : float

    Returns
    -------
    table : pd.DataFrame
        model, clips ("all" or the group), n_clips, and the measures of `evaluation.tag_metrics`.
    """
    rows = []
    for clips in taggers:
        y, scores = clips.truth(labels), clips.hold_out.to_numpy()
        masks = {"all": np.ones(len(y), bool)}
        if groups is not None:
            own = groups.loc[clips.hold_out.index].to_numpy()
            masks |= {name: own == name for name in pd.unique(own)}
        for name, mask in masks.items():
            rows.append(
                {"model": clips.name, "clips": name, "n_clips": int(mask.sum())}
                | evaluation.tag_metrics(y[mask], scores[mask], thresholds=threshold)
            )
    return pd.DataFrame(rows)


def interval_table(
    taggers: Sequence[Clips],
    labels: pd.DataFrame,
    *,
    artists: pd.Series | None = None,
    repeats: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Macro ROC-AUC of every tagger with its 95 % interval, all on the same resamples.

    Parameters
    ----------
    taggers : sequence of Clips
    labels : pd.DataFrame [clips x tags, bool]
    artists : pd.Series [clip id -> artist] or None
        Artists are resampled, since clips of one artist resemble each other. None: clips.
    repeats : int > 0
        Number of resamples.
    seed : int >= 0
        Seed of the resampling.

    Returns
    -------
    table : pd.DataFrame [indexed by model]
        roc_auc, roc_auc_low, roc_auc_high, roc_auc_undefined (resamples in which no tag has both classes; the
        interval is that of the others).
    """
    rows = {}
    for clips in taggers:
        y, scores = clips.truth(labels), clips.hold_out.to_numpy()
        groups = np.arange(len(y)) if artists is None else artists.loc[clips.hold_out.index].to_numpy()
        interval = evaluation.bootstrap(
            lambda rows, y=y, s=scores: _mean(evaluation.roc_auc(y[rows], s[rows])), groups, repeats=repeats, seed=seed
        )
        rows[clips.name] = {
            "roc_auc": _mean(evaluation.roc_auc(y, scores)),
            "roc_auc_low": interval.low,
            "roc_auc_high": interval.high,
            "roc_auc_undefined": interval.undefined,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def threshold_table(
    taggers: Sequence[Clips], labels: pd.DataFrame, *, choose_labels: pd.DataFrame | None = None, precision: float = 0.5
) -> pd.DataFrame:
    """Compare the rules for thresholds by precision, recall and the number of tags per clip.

    Parameters
    ----------
    taggers : sequence of Clips
    labels : pd.DataFrame [clips x tags, bool]
        Labels of the held-out clips.
    choose_labels : pd.DataFrame or None
        Labels of the validation clips, with which thresholds are chosen; None: `labels`.
    precision : float in (0, 1]
        Precision that the rule "precision" aims at.

    Returns
    -------
    table : pd.DataFrame
        model, rule, average_tags, micro_precision, micro_recall, macro_precision, macro_recall, macro_f1.
    """
    rows = []
    for clips in taggers:
        y = clips.truth(labels)
        for rule in RULES:
            chosen = rule_thresholds(
                clips, labels if choose_labels is None else choose_labels, rule=rule, precision=precision
            )
            measures = evaluation.tag_metrics(y, clips.hold_out.to_numpy(), thresholds=chosen.to_numpy())
            rows.append(
                {"model": clips.name, "rule": rule} | {k: measures[k] for k in ("average_tags", *_RATES, "macro_f1")}
            )
    return pd.DataFrame(rows)


def per_tag(
    taggers: Sequence[Clips], labels: pd.DataFrame, *, measure: str = "roc_auc", threshold: float = 0.5
) -> pd.DataFrame:
    """One measure of every tagger for every tag.

    Parameters
    ----------
    taggers : sequence of Clips
    labels : pd.DataFrame [clips x tags, bool]
    measure : str
        A column of `evaluation.tag_table`.
    threshold : float

    Returns
    -------
    table : pd.DataFrame [models x tags]
    """
    rows = {}
    for clips in taggers:
        table = evaluation.tag_table(
            clips.truth(labels), clips.hold_out.to_numpy(), names=clips.tags, thresholds=threshold
        )
        rows[clips.name] = table.set_index("tag")[measure]
    return pd.DataFrame(rows).T.rename_axis("model")


def _mean(values):
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

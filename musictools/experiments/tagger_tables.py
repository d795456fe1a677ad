"""Tables of notebook 03 from the results of jobs: segments, clips, thresholds, tags.

Predictions may be compared with more complete labels than those that were learnt from. `tagger_scores` joins the scores
of segments, `tagger_baselines` has the ensemble and the baselines.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from musictools import evaluation
from musictools.experiments.jobs import Result
from musictools.experiments.tagger_baselines import ensemble, mfcc_baseline, mfcc_table, prior_baseline
from musictools.experiments.tagger_scores import JOINS, RULES, Clips, clip_scores, rule_thresholds
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

_RATES = ("micro_precision", "micro_recall", "macro_precision", "macro_recall")


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

"""Scores of taggers on labels and on the truth, and what they owe to tagability (`choi2018` 3.2.2, notebook 08)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from musictools import evaluation
from musictools.experiments import taggers
from musictools.experiments.jobs import Job, Task
from musictools.explain.metrics import sanity

__all__ = ["auc_by_tag", "reliability", "sized_tasks", "tag_correlations"]


def sized_tasks(
    store: Any,
    labels: pd.DataFrame,
    split: pd.Series,
    *,
    model: str,
    shares: Sequence[float],
    epochs: int = 0,
    seed: int = 0,
    **options: Any,
) -> list[Task]:
    """Trainings of one tagger with annotated labels on nested shares of the training clips.

    Parameters
    ----------
    store : SpectrogramStore
        Of the model's front end.
    labels : pd.DataFrame [clips x tags, bool]
    split : pd.Series [clip id -> "train", "validation" or "test"]
    model : str
    shares : sequence of float in (0, 1]
    epochs : int >= 0
        Of the whole share; smaller ones get more epochs, so that all take as many steps. 0: the protocol's, for all.
    seed : int >= 0
        Seed of the trainings and of the choice of clips.
    **options
        Passed to `taggers.tasks`.

    Returns
    -------
    tasks : list of Task
        In the order of `shares`.
    """
    train = split.index[split == "train"]
    rank = pd.Series(np.random.default_rng(seed).permutation(len(train)), index=train)
    made = []
    for share in shares:
        left = rank.index[rank >= max(1, round(share * len(train)))]
        job = Job(model=model, n_tags=labels.shape[1], protocol="rotheneder2023", labels="annotated", seed=seed,
                  data=f"share{share:g}")  # fmt: skip
        own = options | {"epochs": round(epochs / share)}
        made += taggers.tasks([job], {model: store}, {"annotated": labels}, split.drop(left), **own)
    return made


def auc_by_tag(scores: dict[str, pd.DataFrame], labels: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """ROC-AUC of every tag and tagger on the labels and on the truth.

    Parameters
    ----------
    scores : dict of str to pd.DataFrame [clips x tags]
        By tagger.
    labels, truth : pd.DataFrame [clips x tags, bool]

    Returns
    -------
    table : pd.DataFrame
        tagger, tag, labels (ROC-AUC against the labels), truth (against the truth), clips (with the label),
        true_clips. NaN where all clips have the tag, or none.
    """
    rows = []
    for name, own in scores.items():
        kinds = {"labels": labels, "truth": truth}
        areas = {
            kind: evaluation.roc_auc(table.loc[own.index, own.columns].to_numpy(), own.to_numpy())
            for kind, table in kinds.items()
        }
        counts = {
            "clips": labels.loc[own.index, own.columns].sum(),
            "true_clips": truth.loc[own.index, own.columns].sum(),
        }
        part = pd.DataFrame({"tag": own.columns, **areas, **{k: v.to_numpy() for k, v in counts.items()}})
        part.insert(0, "tagger", name)
        rows.append(part)
    return pd.concat(rows, ignore_index=True)


def reliability(table: pd.DataFrame, *, chosen: Sequence[str]) -> tuple[pd.DataFrame, dict[str, float]]:
    """Whether labels rank taggers as the truth does (figure 3.6).

    Parameters
    ----------
    table : pd.DataFrame
        From `auc_by_tag`.
    chosen : sequence of str
        The re-annotated tags, of which those that have a ROC-AUC for every tagger are used.

    Returns
    -------
    means : pd.DataFrame [indexed by tagger]
        chosen_truth, chosen_labels, all_labels, all_truth: mean ROC-AUC of the chosen or of all tags.
    rho : dict of str to float
        Pearson correlations over taggers: rho_1 (chosen_truth, chosen_labels), rho_2 (chosen_labels, all_labels), and
        what the thesis could not know, all (all_truth, all_labels). NaN for fewer than three taggers.
    """
    wide = table.pivot(index="tagger", columns="tag", values=["labels", "truth"]).reindex(table["tagger"].unique())
    known = [tag for tag in wide["labels"] if wide.xs(tag, axis=1, level=1).notna().all(axis=None)]
    some = [tag for tag in chosen if tag in known]
    means = pd.DataFrame({
        f"{which}_{kind}": wide[kind][tags].mean(axis=1)
        for which, tags in (("chosen", some), ("all", known)) for kind in ("truth", "labels")
    })  # fmt: skip
    pairs = {"rho_1": ("chosen_truth", "chosen_labels"), "rho_2": ("chosen_labels", "all_labels"),
             "all": ("all_truth", "all_labels")}  # fmt: skip
    few = len(means) < 3
    return means, {name: np.nan if few else means[a].corr(means[b]) for name, (a, b) in pairs.items()}


def tag_correlations(
    table: pd.DataFrame, pairs: Sequence[tuple[str, str]], *, repeats: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Rank correlations of two columns over tags, with intervals.

    Parameters
    ----------
    table : pd.DataFrame
        One row per tag. Tags with NaN in one of the two columns are left out.
    pairs : sequence of (str, str)
        Columns.
    repeats : int > 0
        Number of resamples of tags.
    seed : int >= 0

    Returns
    -------
    correlations : pd.DataFrame
        first, second, tags, correlation (Spearman's), low and high (95 %). NaN for fewer than three tags, or where a
        column does not vary.

    Examples
    --------
    >>> table = pd.DataFrame({"count": [1, 2, 3, 4], "roc_auc": [0.5, 0.6, 0.7, 0.9]})
    >>> tag_correlations(table, [("count", "roc_auc")], repeats=50)[["tags", "correlation"]].values.tolist()
    [[4.0, 1.0]]
    """
    rows = []
    for first, second in pairs:
        own = table[[first, second]].dropna().to_numpy(float)
        row = {"first": first, "second": second, "tags": len(own), "correlation": np.nan, "low": np.nan, "high": np.nan}
        if len(own) > 2:
            row["correlation"] = sanity.rank_correlation(*own.T)
            row["low"], row["high"] = evaluation.bootstrap(
                lambda chosen, own=own: sanity.rank_correlation(*own[chosen].T),
                np.arange(len(own)), repeats=repeats, seed=seed,
            )  # fmt: skip
        rows.append(row)
    return pd.DataFrame(rows)

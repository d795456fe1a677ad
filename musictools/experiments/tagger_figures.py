"""Figures of notebook 03: tables of taggers in, figures out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from musictools import plots, tags

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["precision_of_rules", "scores_by_tag"]

_PER_ROW = 27  # tags side by side


def scores_by_tag(scores: pd.DataFrame) -> Figure:
    """Draw the ROC-AUC of every model and tag as coloured tables, tags sorted by category.

    Parameters
    ----------
    scores : pd.DataFrame [models x tags, float]
        Table from `tagger_tables.per_tag`.

    Returns
    -------
    fig : Figure
    """
    order = [*tags.CATEGORIES, "mood and style"]
    columns = sorted(scores.columns, key=lambda tag: (order.index(tags.category(tag)), tag))
    n_rows = -(-len(columns) // _PER_ROW)
    fig, axes = plots.figure(rows=n_rows, height=n_rows * (0.26 * len(scores) + 2.6), squeeze=False)
    for ax, some in zip(axes[:, 0], np.array_split(np.array(columns, dtype=object), n_rows), strict=True):
        view = scores[list(some)].rename(columns=lambda tag: f"{tag} · {tags.category(tag)}")
        plots.table_heatmap(view, ax=ax, label="ROC-AUC", vmin=0.5, vmax=1.0)
        ax.set(xlabel="", ylabel="")
    axes[0, 0].set_title("How well each tag is predicted on the held-out clips")
    return fig


def precision_of_rules(rules: pd.DataFrame, *, joined: str, true_tags: float, labels: dict[str, str]) -> Figure:
    """Draw the precision of every model and threshold rule over the number of tags that it predicts.

    Parameters
    ----------
    rules : pd.DataFrame
        Table from `tagger_tables.threshold_table`.
    joined : str
        Model whose rules are joined by a line.
    true_tags : float
        Mean number of true tags per clip, drawn as a vertical line.
    labels : dict of str to str
        Rule -> its name in the legend.

    Returns
    -------
    fig : Figure
    """
    fig, ax = plots.figure(height=4.6)
    for rule, group in rules.groupby("rule", sort=False):
        ax.scatter(group["average_tags"], group["micro_precision"], label=labels[rule])
    line = rules[rules["model"] == joined]
    ax.plot(line["average_tags"], line["micro_precision"], color="grey", linewidth=1, label=joined)
    ax.axvline(true_tags, linestyle=":", color="black", label="true tags per clip")
    ax.set(
        xlabel="predicted tags per clip",
        ylabel="precision",
        ylim=(0, 1),
        title="Precision and number of the predicted tags, one point per model",
    )
    plots.legend(ax, title="threshold")
    return fig

"""Drawings of notebook 04: arrays and trees in, Axes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from sklearn.tree import DecisionTreeClassifier

__all__ = ["tree"]


def tree(classifier: DecisionTreeClassifier, *, descriptors: Sequence[str], ax: Axes, title: str = "") -> Axes:
    """A decision tree on descriptors as questions: down to the left for no, to the right for yes.

    Parameters
    ----------
    classifier : sklearn.tree.DecisionTreeClassifier
        Trained on 0 and 1.
    descriptors : sequence of str
        In the order of the inputs.
    ax : Axes
    title : str

    Returns
    -------
    ax : Axes
    """
    from sklearn.tree import plot_tree

    inner, ends = classifier.tree_, list(classifier.classes_)
    drawn = plot_tree(
        classifier, impurity=False, label="none", node_ids=True, filled=True, rounded=True, fontsize=8, ax=ax
    )
    for text in drawn:
        words = text.get_text().split()
        if words[0] in ("True", "False"):
            text.set_text("no" if words[0] == "True" else "yes")
            continue
        node = int(words[1].lstrip("#") if words[0] == "node" else words[0].lstrip("#"))
        shares = inner.value[node, 0] / inner.value[node, 0].sum()
        clips = f"{inner.weighted_n_node_samples[node]:.0f} clips"
        own = f"{ends[shares.argmax()]} {shares.max():.0%}\n{clips}"
        text.set_text(own if inner.feature[node] < 0 else f"{descriptors[inner.feature[node]]}?\n{own}")
    ax.set_title(title)
    return ax

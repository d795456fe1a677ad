"""Drawings of notebook 04: arrays and trees in, Axes out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from musictools.plots.style import PALETTE, SMALL

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
    from matplotlib.colors import to_rgb
    from sklearn.tree import plot_tree

    inner, ends = classifier.tree_, list(classifier.classes_)
    drawn = plot_tree(classifier, impurity=False, label="none", node_ids=True, rounded=True, fontsize=SMALL, ax=ax)
    for text in drawn:
        words = text.get_text().split()
        if words[0] in ("True", "False"):
            text.set(text="no" if words[0] == "True" else "yes", backgroundcolor="white")
            continue
        node = int(words[1].lstrip("#") if words[0] == "node" else words[0].lstrip("#"))
        shares = inner.value[node, 0] / inner.value[node, 0].sum()
        own = f"{ends[shares.argmax()]}\n{shares.max():.0%} of\n{inner.weighted_n_node_samples[node]:.0f} clips"
        text.set_text(own if inner.feature[node] < 0 else f"{descriptors[inner.feature[node]]}?\n{own}")
        strength = 0.6 * shares.max() ** 2  # the purer a node, the stronger its colour; black text stays readable
        colour = np.array(to_rgb(PALETTE[shares.argmax() % len(PALETTE)]))
        text.get_bbox_patch().set_facecolor(1 - strength * (1 - colour))
    ax.set_title(title)
    return ax

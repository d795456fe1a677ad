"""One style for all figures: width, text sizes, palette; drawings of the experiments."""

import ast
import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from sklearn.tree import DecisionTreeClassifier

from musictools import plots
from musictools.experiments import explanations, feature_maps, tagger_figures
from musictools.plots import mapping, probing
from musictools.spectrograms import FrontEnd

ROOT = Path(__file__).resolve().parents[2]
FRONT_END = FrontEnd(16000, 512, 256, 32)
SOURCES = {p.name: p.read_text() for p in sorted((ROOT / "musictools" / "plots").glob("*.py"))} | {
    path.name: "\n".join(
        "".join(c["source"]) for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"
    )
    for path in sorted((ROOT / "notebooks").glob("0*.ipynb"))
}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def sizes(fig):
    """Sizes of all texts that a figure shows."""
    fig.canvas.draw()
    return {t.get_fontsize() for t in fig.findobj(Text) if t.get_visible() and t.get_text()}


def overlaps(fig, ax):
    """Pairs of tick labels of the x axis that overlap."""
    fig.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
    return [(a, b) for a, b in zip(boxes, boxes[1:], strict=False) if a.overlaps(b)]


@pytest.mark.parametrize("name", SOURCES)
def test_all_figures_have_one_width_and_no_text_has_its_own_size(name):
    for node in ast.walk(ast.parse(SOURCES[name])):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "figure":
            assert not [word for word in node.keywords if word.arg in ("width", "figsize")], ast.unparse(node)
        if isinstance(node, ast.keyword) and node.arg in ("fontsize", "labelsize", "title_fontsize"):
            assert re.fullmatch(r"(plots\.)?SMALL|fontsize|8", ast.unparse(node.value)), ast.unparse(node)


def test_a_figure_has_the_common_width():
    assert plots.figure()[0].get_size_inches()[0] == plots.WIDTH
    fig, axes = plots.figure(rows=2, columns=3, height=4)
    assert tuple(fig.get_size_inches()) == (plots.WIDTH, 4)
    assert axes.shape == (2, 3)


def test_a_legend_stands_in_its_axes_or_below_the_figure():
    fig, ax = plots.figure()
    ax.plot([0, 1], label="rock")
    plots.legend(ax, title="genre")
    plots.legend(fig, *ax.get_legend_handles_labels())
    assert sizes(fig) <= {plots.SMALL, 10.0}
    below = fig.legends[0].get_window_extent()
    assert below.y1 <= ax.get_window_extent().y0


@pytest.mark.parametrize("n_tags", [5, 30])
def test_scores_by_tag_can_be_read_for_any_number_of_tags(n_tags):
    rng = np.random.default_rng(0)
    scores = pd.DataFrame(rng.random((8, n_tags)), columns=[f"tag {k:03d}" for k in range(n_tags)])
    fig = tagger_figures.scores_by_tag(scores)
    shown = [ax for ax in fig.axes if ax.get_xticklabels() and ax.get_ylabel() != "ROC-AUC"]
    assert sum(len(ax.get_xticklabels()) for ax in shown) == n_tags
    assert not [pair for ax in shown for pair in overlaps(fig, ax)]
    assert sizes(fig) <= {plots.SMALL, 10.0, 12.0}


def test_precision_is_drawn_for_every_rule():
    rules = pd.DataFrame(
        [(model, rule, k + 1.0, 0.5) for model in ("a", "b") for k, rule in enumerate(("half", "f1"))],
        columns=["model", "rule", "average_tags", "micro_precision"],
    )
    fig = tagger_figures.precision_of_rules(rules, joined="b", true_tags=3.0, labels={"half": "0.5", "f1": "F1"})
    [ax] = fig.axes
    assert [text.get_text() for text in ax.get_legend().texts] == ["0.5", "F1", "b", "true tags per clip"]
    assert [len(points.get_offsets()) for points in ax.collections] == [2, 2]


@pytest.mark.parametrize("n_methods", [1, 3, 7])
def test_maps_of_methods_have_no_empty_frames(n_methods):
    rng = np.random.default_rng(0)
    maps = {f"method {k}": rng.normal(size=(32, 64)) for k in range(n_methods)}
    fig = explanations.draw_methods(maps, rng.random((32, 64)), front_end=FRONT_END)
    titled = [ax for ax in fig.axes if ax.get_title()]
    assert [ax.get_title() for ax in titled] == list(maps)
    frames = [ax for ax in fig.axes if ax.axison and ax not in titled and not hasattr(ax, "_colorbar")]
    assert frames == []
    assert [ax.get_xlabel() for ax in titled] == [""] * max(0, n_methods - 3) + ["time (s)"] * min(3, n_methods)


def test_instruments_without_values_have_no_row():
    table = pd.DataFrame(
        [("guitar", "a", 5, 0.1, True), ("piano", "a", 5, np.nan, False)],
        columns=["tag", "method", "clips", "over_energy", "clear"],
    )
    fig = explanations.draw_instruments(table)
    assert [label.get_text() for label in fig.axes[0].get_yticklabels()] == ["guitar"]
    assert "0.10*" in [text.get_text() for text in fig.axes[0].texts]


def test_dissection_is_drawn_beside_the_energy():
    table = pd.DataFrame(
        [("guitar", "all", "genre", 0.75, 0.5), ("guitar", "pool1", "genre", 0.7, 0.5)],
        columns=["tag", "layer", "network", "auc", "energy_auc"],
    )
    ax = feature_maps.draw_dissection(table).axes[0]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["genre", "energy"]
    assert [text.get_text() for text in ax.texts] == ["0.75", "0.50"]


def test_labels_of_maps_lie_within_their_maps():
    fig, ax = plots.figure()
    probing.mosaic(np.random.default_rng(0).random((16, 8, 8)), highlight={0: "guitar, female vocals"}, ax=ax)
    fig.canvas.draw()
    [label] = [text for text in ax.texts if "guitar" in text.get_text()]
    box = label.get_window_extent().transformed(ax.transData.inverted())
    assert 0 <= box.x0 < box.x1 < 1
    assert -0.84 < box.y0 < box.y1 < 0.02


def test_boxes_of_a_tree_do_not_overlap():
    rng = np.random.default_rng(0)
    genres = np.array(["electronic", "new age", "classic", "country"])
    y = rng.integers(0, 4, 400)
    X = rng.random((400, 12)) < 0.3
    for genre in range(4):
        X[:, genre] |= (y == genre) & (rng.random(400) < 0.7)
    tree = DecisionTreeClassifier(max_leaf_nodes=12, random_state=0).fit(X, genres[y])
    fig, ax = plots.figure(height=7)
    mapping.tree(tree, descriptors=[f"acoustic guitar {k}"[:15] for k in range(12)], ax=ax)
    fig.canvas.draw()
    boxes = [t.get_bbox_patch().get_window_extent() for t in ax.texts if "clips" in t.get_text()]
    assert len(boxes) == 23
    assert not [1 for k, a in enumerate(boxes) for b in boxes[k + 1 :] if a.overlaps(b)]
    assert {t.get_text() for t in ax.texts} >= {"no", "yes"}


def test_numbers_in_a_table_have_two_digits():
    ax = plots.table_heatmap(pd.DataFrame([[0.5, np.nan]]), ax=plots.figure()[1])
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["0.50"]

"""Drawings of notebooks 08 and 12."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from musictools.plots import labels as drawings


@pytest.fixture
def ax():
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


def words(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


def test_a_matrix_without_its_diagonal(ax):
    table = pd.DataFrame([[1.0, 0.25], [0.5, 1.0]], index=["rock", "pop"], columns=["rock", "pop"])
    assert words(drawings.square(table, ax=ax)) == ["25", "50"]


def test_half_of_a_symmetric_matrix(ax):
    table = pd.DataFrame([[9.0, -0.2, 0], [-0.2, 9, 0.3], [0, 0.3, 9]], index=list("abc"), columns=list("abc"))
    assert words(drawings.square(table, ax=ax, half=True)) == ["-20", "30"]
    low, high = ax.collections[0].get_clim()
    assert low == -high, "signed values are centred at 0"


def test_pairs_name_the_marked_ones(ax):
    table = pd.DataFrame(
        {"first": ["a", "b"], "second": ["c", "d"], "co_occurrence": [0.0, 0.5], "similarity": [0.9, 0.1]}
    )
    drawings.pairs(table, table[:1], ax=ax)
    assert words(ax) == ["1"]
    assert [text.get_text() for text in ax.get_legend().texts] == ["all pairs", "1: a, c"]
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 1]
    drawings.pairs(table, table[:0], ax=ax)


def test_counts_are_shares_of_all_clips(ax):
    row = {"tag": "guitar", "estimate": 50, "estimate_low": 30, "estimate_high": 80, "labels": 10, "true_count": 60}
    drawings.counts(pd.DataFrame([row]), total=100, ax=ax)
    shown = {line.get_label(): line.get_xdata()[0] for line in ax.lines if not line.get_label().startswith("_")}
    assert shown["labels"] == 0.1
    assert shown["truth"] == 0.6
    assert {text.get_text() for text in ax.get_legend().texts} == {"estimate by Eq. 3.2", "labels", "truth"}


def test_tagability_and_what_stands_beside_it(ax):
    table = pd.DataFrame(
        {"tag": ["x", "y"], "tagability": [0.5, 0.1], "low": [0.4, 0.0], "high": [0.6, 0.2], "truth": 0.3}
    )
    drawings.tagability(table, {"truth": "true recall"}, ax=ax)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["x", "y"]
    assert [text.get_text() for text in ax.get_legend().texts] == ["tagability", "true recall"]


def test_taggers_and_their_correlations(ax):
    means = pd.DataFrame(
        {"chosen_truth": [0.5, 0.6], "chosen_labels": [0.6, 0.7], "all_labels": 0.8}, index=["10%", "100%"]
    )
    drawings.taggers(means, rho={"rho_1": 0.5, "rho_2": np.nan}, ax=ax, title="sizes")
    assert ax.get_title() == "sizes ρ1 = 0.50"
    assert len(ax.lines) == 3


def test_many_taggers_have_upright_names_that_do_not_overlap(ax):
    names = [f"a_rather_long_name_{i}" for i in range(13)]
    means = pd.DataFrame({"chosen_truth": 0.9, "chosen_labels": 0.7, "all_labels": 0.8}, index=names)
    drawings.taggers(means, rho={"rho_1": 0.5, "rho_2": 0.4}, ax=ax)
    ax.figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in zip(boxes, boxes[1:], strict=False))


def test_values_of_tags(ax):
    drawings.values(pd.DataFrame({"p": [0.1, 0.9], "q": [0.5, 0.5]}, index=["x", "y"]), names=["P", "Q"], ax=ax)
    assert [text.get_text() for text in ax.get_legend().texts] == ["P", "Q"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first tag is on top"

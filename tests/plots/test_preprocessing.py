"""Figures of notebook 10."""

import pandas as pd
import pytest

from musictools import plots
from musictools.plots import preprocessing as drawings


def scores():
    index = pd.MultiIndex.from_tuples(
        [("decibels", 1, "bypass", 0), ("decibels", 1, "bypass", 1), ("decibels", 1, "A-weighting", 0),
         ("linear", 1, "bypass", 0), ("linear", 1, "A-weighting", 0)],
        names=["decibels", "factor", "weighting", "initialisation"],
    )  # fmt: skip
    return pd.Series([0.8, 0.84, 0.81, 0.7, 0.72], index)


def test_bars_are_means_and_dots_are_trainings_in_the_middle_of_their_bar():
    fig, ax = plots.figure()
    drawings.grouped_scores(scores(), by=["decibels", "factor"], hue="weighting", ax=ax)
    bars = {container.get_label(): list(container) for container in ax.containers}
    assert {name: [bar.get_height() for bar in own] for name, own in bars.items()} == {
        "bypass": pytest.approx([0.82, 0.7]),
        "A-weighting": pytest.approx([0.81, 0.72]),
    }
    dots = [line.get_xydata().tolist() for line in ax.lines]
    middles = {name: [bar.get_x() + bar.get_width() / 2 for bar in own] for name, own in bars.items()}
    assert [[pytest.approx(middles["bypass"][0]), 0.8], [pytest.approx(middles["bypass"][0]), 0.84]] in dots
    assert [[pytest.approx(middles["A-weighting"][1]), 0.72]] in dots
    assert [label.get_text() for label in ax.get_xticklabels()] == ["decibels, 1", "linear, 1"]


def test_groups_of_one_level_are_named_by_it():
    table = pd.Series([0.7, 0.8], pd.MultiIndex.from_tuples([(0.5, "mel"), (1.0, "mel")], names=["share", "kind"]))
    fig, ax = plots.figure()
    drawings.grouped_scores(table, by=["share"], hue="kind", ax=ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.5", "1"]


def test_repeated_trainings_have_a_mean_and_a_band():
    fig, ax = plots.figure()
    drawings.repeated(pd.Series([0.8, 0.82]), {"mean": 0.81, "low": 0.79, "high": 0.83}, ax=ax)
    assert ax.lines[0].get_xydata().tolist() == [[1, 0.8], [2, 0.82]]
    assert ax.lines[1].get_ydata() == [0.81, 0.81]
    assert len(ax.patches) == 1
    fig, ax = plots.figure()
    drawings.repeated(pd.Series([0.8]), {"mean": 0.8, "low": float("nan"), "high": float("nan")}, ax=ax)
    assert not ax.patches

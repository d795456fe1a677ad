"""Drawings of notebook 11: what is drawn are the numbers that go in."""

import pandas as pd
import pytest

from musictools import plots
from musictools.plots import transfer


@pytest.fixture
def ax():
    import matplotlib.pyplot as plt

    fig, ax = plots.figure()
    yield ax
    plt.close(fig)


def scores():
    names = ["1", "2", "12", "mfcc", "12+mfcc"]
    return pd.DataFrame({"features": names, "score": [0.5, 0.7, 0.8, 0.4, 0.75]})


def test_bars_have_the_heights_of_the_scores_and_ranks_stand_in_them(ax):
    table = scores().assign(low=lambda t: t["score"] - 0.1, high=lambda t: t["score"] + 0.1)
    random = pd.DataFrame({"features": ["12", "1"], "score": [0.3, 0.2]})
    transfer.subset_scores(table, random=random, reference=0.9, chance=0.25, ax=ax, title="genre")
    heights = [round(patch.get_height() + patch.get_y(), 6) for patch in ax.patches]
    assert [h for h in heights if h == h] == [0.5, 0.7, 0.8, 0.2, 0.3, 0.4, 0.75, 0.9]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "2", "12", "mfcc", "12+mfcc", "published"]
    assert [text.get_text() for text in ax.texts] == ["3", "2", "1"]


def test_only_the_seven_best_and_the_seven_worst_have_ranks(ax):
    table = pd.DataFrame({"features": [f"{k}" for k in range(11, 31)], "score": [k / 30 for k in range(11, 31)]})
    transfer.subset_scores(table, ax=ax)
    assert [text.get_text() for text in ax.texts] == [str(k) for k in (*range(20, 13, -1), *range(7, 0, -1))]


def test_negative_scores_stay_inside(ax):
    transfer.subset_scores(pd.DataFrame({"features": ["1", "2"], "score": [-0.4, 0.3]}), ax=ax)
    assert ax.get_ylim()[0] < -0.4


def test_groups_of_the_summary_are_tasks(ax):
    rows = [(task, kind, 0.5, 0.4, 0.6) for task in ("genre", "tempo") for kind in ("all layers", "random weights")]
    transfer.summary(pd.DataFrame(rows, columns=["task", "features", "score", "low", "high"]), ax=ax)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["genre", "tempo"]
    assert len(ax.patches) == 4


def test_class_scores_say_by_how_much_they_differ(ax):
    first, second = pd.Series({"rock": 0.9, "jazz": 0.5}, name="12345"), pd.Series({"jazz": 0.7, "rock": 0.6}, name="5")
    transfer.class_scores(first, second, ax=ax)
    assert [text.get_text() for text in ax.texts] == ["+0.30", "-0.20"]


def test_extraction_counts_the_features(ax):
    transfer.extraction([("pool1", 8), ("pool2", 16)], n_tags=5, ax=ax)
    assert "24 features" in [text.get_text() for text in ax.texts]

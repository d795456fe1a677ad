"""Drawings of notebook 13."""

import numpy as np
import pandas as pd
import pytest

from musictools import plots
from musictools.plots import concepts as drawings
from musictools.spectrograms import FrontEnd


@pytest.fixture
def ax():
    return plots.figure()[1]


def test_beeswarm_has_every_concept_at_its_value_and_near_its_class(ax):
    rng = np.random.default_rng(0)
    values = np.round(rng.random(40), 1)
    table = pd.DataFrame({"class": ["a", "b"] * 20, "q": rng.random(40) / 10, "sensitivity": values})
    table["flagged"] = table["q"] < 0.01
    drawings.beeswarm(table, ax=ax)
    points = np.concatenate([c.get_offsets() for c in ax.collections[:6]])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b"]
    assert len(points) == 40 + table["flagged"].sum()
    for k, name in enumerate("ab"):
        own = np.concatenate([c.get_offsets() for c in ax.collections[3 * k : 3 * k + 2]])
        assert np.abs(own[:, 0] - k).max() < 0.45
        assert sorted(own[:, 1].round(6)) == sorted(values[table["class"] == name].round(6))
        assert len(np.unique(own.round(4), axis=0)) == 20


def test_cluster_map_names_the_marked(ax):
    table = pd.DataFrame(
        {
            "class": list("aab"),
            "cluster": [0, 0, 1],
            "x": [0.0, 1, 2],
            "y": 0.0,
            "centre_x": [0.5, 0.5, 2],
            "centre_y": 0.0,
        },
        ["a 1", "a 2", "b 1"],
    )
    drawings.cluster_map(table, marked=["b 1", "gone"], ax=ax)
    assert [text.get_text() for text in ax.texts] == ["b 1"]
    assert [text.get_text() for text in ax.get_legend().texts] == ["a", "b", "centre of a cluster"]


def test_patches_are_outlined_in_seconds(ax):
    front_end, mask = FrontEnd(16000, 512, 256, 16), np.zeros((16, 50), bool)
    mask[4:8, 10:20] = True
    drawings.patch(np.random.default_rng(0).random((16, 50)), mask, front_end=front_end, ax=ax, title="song")
    assert ax.get_title() == "song"
    outline = np.concatenate([path.vertices for path in ax.collections[0].get_paths()])
    assert outline[:, 0].min() == pytest.approx(10 * 256 / 16000, abs=0.02)
    assert outline[:, 1].max() == pytest.approx(8, abs=0.6)


def test_concepts_within_an_input_are_labelled_where_they_are(ax):
    masks = {name: np.zeros((16, 50), bool) for name in ("rock 1", "rock 2")}
    masks["rock 1"][2:6, 5:15] = masks["rock 2"][10:14, 30:40] = True
    drawings.within_input(np.ones((16, 50)), masks, ax=ax)
    places = {text.get_text(): text.xy for text in ax.texts}
    assert places["rock 1"] == pytest.approx((9.5, 4))
    assert places["rock 2"] == pytest.approx((34.5, 12))
    assert ax.get_xlabel() == "time (frames)"

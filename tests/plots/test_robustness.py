"""Drawings of notebook 15 show the numbers of their tables."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from musictools import plots, published
from musictools.plots import robustness
from musictools.spectrograms import FrontEnd


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_bars_have_the_heights_of_the_table():
    table = published.table("tagger_slides_figure_generalisation_roc_auc")
    _, ax = plots.figure()
    robustness.generalisation(table, ax=ax, title="slides")
    heights = [[bar.get_height() for bar in group] for group in ax.containers]
    np.testing.assert_allclose(heights, table.set_index("model").to_numpy())
    assert [text.get_text() for text in ax.get_xticklabels()][-2:] == ["white noise 0.1", "white noise 0.4"]


def test_measures_and_what_stands_beside_them():
    table = pd.DataFrame(
        {
            "deformation": ["faster", "noise"],
            "r": [0.5, 0.7],
            "r_low": [0.4, 0.6],
            "r_high": [0.6, 0.9],
            "energy": [0.8, 0.9],
        }
    )
    _, ax = plots.figure()
    robustness.measures(table, value="r", others=["energy"], ax=ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["faster", "noise"]
    assert ax.lines[-1].get_xdata().tolist() == [0.8, 0.9]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["energy"]


def test_maps_before_and_after():
    values = np.random.default_rng(0).random((40, 20))
    _, axes = plots.figure(columns=2)
    robustness.moved_map(
        {"expected": values, "actual": -values, "S": values},
        front_end=FrontEnd(8000, 512, 256, 40),
        axes=axes,
        title="faster",
    )
    assert [ax.get_title() for ax in axes] == ["faster: moved as the sound", "faster: of the deformed clip"]
    drawn = [max(ax.images, key=lambda image: image.zorder).get_array() for ax in axes]
    np.testing.assert_allclose(drawn[0], values)
    np.testing.assert_allclose(drawn[1], -values)

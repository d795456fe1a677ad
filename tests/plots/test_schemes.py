"""Schematic figures: every component is there, arrows lead where the sources say."""

import matplotlib.pyplot as plt
import pytest

from musictools import models, plots
from musictools.plots import schemes


@pytest.fixture
def ax():
    fig, ax = plots.figure(width=10, height=4)
    yield ax
    plt.close(fig)


def texts(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]


def test_the_explanation_system_has_the_components_of_figure_2_1(ax):
    shown = texts(schemes.explanation_system(ax=ax, title="a"))
    assert ax.get_title() == "a"
    words = " ".join(" ".join(shown).split())
    for component in ("genre CNN", "descriptor model", "mapping of descriptors to genres", "membership degree"):
        assert component in words
    assert "fit the" not in words


def test_figure_5_2_adds_both_evaluations(ax):
    shown = texts(schemes.explanation_system(evaluation=("recall 0.53", ""), ax=ax))
    assert "do descriptors\nfit the audio?\nrecall 0.53" in shown
    assert "do descriptors\nfit the genre?" in shown


def test_a_network_is_a_chain_of_its_blocks(ax):
    model = models.build("choi_stft", n_outputs=3, width=0.125, seed=0)
    shown = texts(schemes.network(model, ax=ax))
    assert shown[0] == "input\n257 × 173 × 1"
    assert shown[1] == "convolution 3×3\nmax-pooling 2×2\n128 × 86 × 8"
    assert [text.split("\n")[0] for text in shown] == [
        "input",
        *["convolution 3×3"] * 5,
        "fully connected",
        "fully connected",
        "output",
    ]
    assert shown[-1] == "output\n3"


def test_every_map_of_every_layer_has_its_classifier(ax):
    shapes = {"pool1": (64, 64, 64), "pool2": (128, 32, 32), "pool3": (256, 16, 16)}
    shown = texts(schemes.feature_map_probing(shapes, ax=ax, title="figure 2.2"))
    assert {"64 maps of\n64×64", "128 maps of\n32×32", "256 maps of\n16×16"} <= set(shown)
    assert "genre model:\npool2" in shown
    assert len(ax.texts) - len(shown) == 2 + 3 * len(shapes)  # arrows

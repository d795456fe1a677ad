"""Diagrams: every box has its text, arrows end at boxes, pictures stand in their boxes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from musictools import plots
from musictools.plots import diagrams


@pytest.fixture
def ax():
    yield plots.figure(width=12, height=4)[1]
    plt.close("all")


def test_arrows_go_from_edge_to_edge(ax):
    boxes = {"left": (0, 0, "song"), "right": (2, 0, "genre"), "below": (2, 1, "heatmap")}
    diagrams.boxes_and_arrows(boxes, [("left", "right"), ("right", "below")], size=(0.8, 0.6), ax=ax, title="t")
    arrows = [(text.xyann, text.xy) for text in ax.texts if not text.get_text()]
    np.testing.assert_allclose(arrows, [[(0.4, 0), (1.6, 0)], [(2, -0.3), (2, -0.7)]])
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["song", "genre", "heatmap"]
    assert ax.get_title() == "t"
    with pytest.raises(ValueError, match="arrows must join boxes: left, right, below. Got 'nowhere'"):
        diagrams.boxes_and_arrows(boxes, [("left", "nowhere")], ax=ax)


def test_the_workflow_has_two_rows_and_its_pictures(ax):
    picture = np.arange(6.0).reshape(2, 3)
    diagrams.workflow(
        song="a song",
        genre_steps=["16 kHz", "7 sections", "7 genres", "classic"],
        descriptor_steps=["16 kHz, too", "9 sections", "harp, flute", "heatmap of a section"],
        merged="heatmap of the song",
        pictures={"merged": picture, "sections": picture},
        ax=ax,
    )
    texts = {text.get_text(): text.get_position() for text in ax.texts if text.get_text()}
    assert len(texts) == 10
    assert texts["classic"][1] > texts["heatmap of the song"][1], "the genre is in the upper row"
    assert texts["harp, flute"][0] == texts["7 genres"][0]
    assert len(ax.images) == 2
    assert len([text for text in ax.texts if not text.get_text()]) == 9
    for image in ax.images:
        np.testing.assert_array_equal(image.get_array(), picture)
        assert image.origin == "lower"

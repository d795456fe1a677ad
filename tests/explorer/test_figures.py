"""The page's views as pictures for a notebook."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from support import explanations

from musictools.comparison import Comparison
from musictools.explorer import figures, showing
from musictools.explorer.controller import Explorer
from musictools.explorer.feature_maps import Thumbnail
from musictools.explorer.pair import Pair
from musictools.explorer.songs import Song
from musictools.inference import Taggram

ODD = "cost $5 & $6_x"


@pytest.fixture
def explorer():
    explorer = Explorer(files={"taggers": {}, "genres": {}, "mappings": {}})
    explorer.song = Song(ODD, np.zeros(16000), 16000, 6.0)
    explorer.explanation = explanations.explanation(("low", "high", "never"), genres=("rock", "birds"))
    explorer.explanation.sections["unasked"] = 0.1
    explorer.chosen = ("low", "high")
    yield explorer
    explorer.close()


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def drawn(fig):
    """The figure's texts, after everything was drawn."""
    fig.canvas.draw()
    return [text.get_text() for text in fig.findobj(plt.Text)]


def test_the_first_view_has_votes_heatmaps_and_taggram(explorer):
    fig = figures.song(explorer)
    texts = drawn(fig)
    assert [ax.get_title() for ax in fig.axes if ax.get_title()] == ["low", "high"]
    assert r"rock · cost \$5 & \$6_x" in texts
    assert {"rock", "birds", "genre"} <= set(texts)
    strip = fig.axes[0]
    assert len(strip.patches) == len(explorer.explanation.votes)
    assert strip.get_xlim() == (0, explanations.SECONDS)


def test_the_first_view_without_heatmaps_and_votes(explorer):
    explorer.chosen = ()
    explorer.explanation.votes = explorer.explanation.votes[:0]
    assert "genre" not in drawn(figures.song(explorer))
    explorer.explanation = None
    with pytest.raises(ValueError, match="Explain a song first"):
        figures.song(explorer)


def comparison():
    """Two taggers, of which each knows one tag alone."""
    import pandas as pd

    decisions, taggrams = {}, {}
    for k, (name, own) in enumerate((("first", "harp"), ("second", "flute"))):
        tags = ["drums", own]
        scores = np.full((3 + k, 2), 0.75 - 0.5 * k)
        taggrams[name] = Taggram(scores, np.arange(3.0 + k) * 2, 4.0, tags)
        decisions[name] = pd.DataFrame(
            {"tag": tags, "score": scores[0], "threshold": 0.5, "predicted": [k == 0, False]}, index=tags
        )
    table = pd.DataFrame({name: one["score"] for name, one in decisions.items()}).loc[["drums", "harp", "flute"]]
    return Comparison(taggrams, decisions, table, ["drums"], {"first": "", "second": ""})


def test_taggrams_have_one_time_axis():
    fig = figures.taggers(comparison(), Song(ODD, np.zeros(50), 10, 5.0))
    drawn(fig)
    first, second = (ax for ax in fig.axes if ax.get_title())
    assert (first.get_title(), second.get_title()) == ("first", "second")
    assert first.get_xlim() == second.get_xlim() == (0, 5), "up to the end of the song"
    for ax in (first, second):
        assert [label.get_text() for label in ax.get_yticklabels()] == ["drums"], "shared tags only"


def test_figures_of_results(tmp_path):
    assert figures.result(tmp_path, "tags") is None
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "tagger_tags_roc_auc.csv").write_text("model,drums,fast\nfcn4,0.75,0.5\n")
    texts = drawn(figures.result(tmp_path, "tags"))
    assert {"drums", "fast", "fcn4", "0.75", "ROC-AUC by tag (notebook 03)"} <= set(texts)
    assert "drums" not in drawn(figures.result(tmp_path, "tags", category="tempo"))
    assert figures.result(tmp_path, "tags", category="voice") is None
    rows = "model,deformation,drop\nfcn4,none,0\nfcn4,slower,0.25\n"
    (tmp_path / "tables" / "robustness_scores.csv").write_text(rows)
    mesh = figures.result(tmp_path, "drop").axes[0].collections[0]
    assert mesh.get_clim() == (-0.25, 0.25)


def test_two_songs_have_one_scale_of_colours_and_time(explorer):
    songs = Pair(explorer)
    with pytest.raises(ValueError, match="Choose a descriptor of both songs first"):
        figures.pair(songs)
    second = songs.second
    second.song, second.explanation = Song("other", np.zeros(16000), 16000, 3.0), explanations.explanation(("low", "x"))
    second.explanation.heatmaps["low"] *= 4
    second.explanation.y = second.explanation.y[: explanations.SR * 3]
    explorer.chosen = ("low",)
    fig = figures.pair(songs)
    maps = [ax for ax in fig.axes if ax.get_title().endswith(": low")]
    assert len(maps) == 2
    assert {ax.get_xlim() for ax in maps} == {(0, explanations.SECONDS)}
    ends = {image.get_clim() for ax in maps for image in ax.images if image.get_cmap().name != "gray"}
    assert ends == {(0.0, 4.0)}
    second.close()


def test_feature_maps_with_their_measures():
    assert figures.feature_maps([], title="x") is None
    one = Thumbnail("tagger", "pool1", 3, np.eye(4), 1.0, 2.0, 0.75, 0.5, np.nan)
    texts = drawn(figures.feature_maps([one] * 5, title=ODD))
    assert texts.count("tagger, pool1, map 3\nF1 0.75 (always yes 0.50)") == 5


def test_genres_of_two_songs_share_their_colours():
    one, other = explanations.explanation(genres=("rock", "pop")), explanations.explanation(genres=("pop", "jazz"))
    colours = showing.genre_colours(one, other)
    assert list(colours) == ["rock", "pop", "jazz"]
    assert len(set(colours.values())) == 3
    assert showing.votes(other, colours)[0] == {"start": 0.0, "end": 0.5, "genre": "pop", "colour": colours["pop"]}
    none = explanations.explanation(genres=("rock", "no genre"))
    assert showing.genre_colours(none, other)["no genre"] == "#8a8a8a"
    assert showing.genre_colours(none, one)["pop"] != "#8a8a8a"

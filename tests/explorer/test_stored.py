"""Stored explanations: the same after writing and reading, small, and damaged ones are sentences."""

import json

import ipywidgets
import numpy as np
import pandas as pd
import pytest
from support import explanations

from musictools.explorer import stored, view
from musictools.explorer.controller import Explorer
from musictools.explorer.songs import Song
from musictools.explorer.work import ExplorerError
from musictools.familiarity import Familiarity
from musictools.runs import root


@pytest.fixture
def explanation():
    made = explanations.explanation(genres=("bass & co", "birds"))
    made.loop["rest"] = 0.25
    made.sections["unasked"] = 0.2
    made.familiarity = Familiarity(12.5, "400 clips")
    ramp = np.linspace(-1, 1, made.heatmaps["low"].shape[1])
    made.heatmaps["low"] = made.heatmaps["low"] * np.abs(ramp) * 8 - np.where(made.S < 0, 0.5, 0)
    return made


@pytest.fixture
def folder(explanation, tmp_path):
    song = Song("A <b>tune</b>", explanation.y, explanations.SR, 90.0)
    stored.write(tmp_path / "song", explanation, song=song, note="Composed & played.")
    return tmp_path / "song"


def test_what_is_written_is_read(explanation, folder):
    song, read = stored.read(folder)
    assert (song.title, song.length, song.note) == ("A <b>tune</b>", 90.0, "Composed & played.")
    assert (read.genre, read.method, read.rule, read.heard) == ("bass & co", "deep_taylor", "f1", 5.5)
    assert (read.badges, read.familiarity) == (explanation.badges, explanation.familiarity)
    assert read.front_end == explanation.front_end
    for name in ("votes", "descriptors", "sections", "loop"):
        pd.testing.assert_frame_equal(getattr(read, name), getattr(explanation, name).round(4), check_dtype=False)
    pd.testing.assert_series_equal(read.membership, explanation.membership, check_names=False)
    assert read.y.shape == explanation.y.shape
    assert np.corrcoef(read.y, explanation.y)[0, 1] > 0.8  # noise is what Vorbis keeps worst
    for tag, before in explanation.heatmaps.items():
        positive = np.maximum(before, 0)
        top = np.percentile(positive, 99.9)
        expected = np.where(positive < 0.02 * top, 0, np.minimum(positive, top))
        assert np.abs(np.sqrt(read.heatmaps[tag]) - np.sqrt(expected)).max() <= np.sqrt(top) / 29
        assert read.evidence[tag].mask.shape == read.S.shape == explanation.S.shape


def test_the_explorer_shows_it_and_says_what_is_missing(folder):
    explorer = Explorer(files={"taggers": {}, "genres": {}, "mappings": {}})
    explorer.open_stored(folder)
    page = view.show(explorer)
    assert explorer.chosen == ("low",)
    assert "make demo" in page.answer.value
    assert "A &lt;b&gt;tune&lt;/b&gt;" in page.answer.value
    assert "Composed &amp; played." in page.answer.value
    assert [layer["tag"] for layer in page.player.layers] == ["low"]
    assert page.choices.layout.display == "none"
    assert page.sliders.children == ()
    chips = {
        chip.description: chip.disabled for chip in page.chips.children if isinstance(chip, ipywidgets.ToggleButton)
    }
    assert chips == {"low": False, "high": False, "never": False, "unasked": True}
    explorer.choose(["low", "high"])
    assert explorer.chosen == ("low", "high")
    assert len(page.player.layers) == 2
    explorer.choose(["low", "unasked"])
    assert explorer.chosen == ("low",)
    assert "The heatmap of unasked is not stored, only those of low, high, never." in explorer.error
    explorer.turn_down({"low": -6.0})
    assert explorer.gains == {}
    explorer.close()


def test_nothing_stored_is_no_error(tmp_path):
    explorer = Explorer(files={"taggers": {}, "genres": {}, "mappings": {}})
    explorer.open_stored(tmp_path)
    assert (explorer.song, explorer.explanation, explorer.error) == (None, None, "")
    explorer.close()


@pytest.mark.parametrize("damage", ["no picture", "no song", "not JSON", "another size"])
def test_damaged_files_are_a_sentence(folder, damage):
    if damage == "no picture":
        (folder / "heatmap-high.png").unlink()
    elif damage == "no song":
        (folder / "song.ogg").unlink()
    elif damage == "not JSON":
        (folder / stored.NAME).write_text("{")
    else:
        values = json.loads((folder / stored.NAME).read_text())
        values["n"] //= 2
        (folder / stored.NAME).write_text(json.dumps(values))
    with pytest.raises(ExplorerError, match="The song that is stored in song cannot be read"):
        stored.read(folder)
    explorer = Explorer(files={"taggers": {}, "genres": {}, "mappings": {}})
    explorer.open_stored(folder)
    assert explorer.error.startswith("The song that is stored in song cannot be read")
    explorer.close()


def test_a_large_one_is_refused(explanation, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "LIMIT", 1000)
    with pytest.raises(ValueError, match=r"must not exceed 1000 bytes\. Got \d+"):
        stored.write(tmp_path, explanation, song=Song("a", explanation.y, explanations.SR, 6.0), note="")


def test_the_checkout_has_one():
    song, explanation = stored.read(root() / stored.FOLDER)
    assert sum(path.stat().st_size for path in (root() / stored.FOLDER).iterdir()) <= stored.LIMIT
    assert len(explanation.heatmaps) >= 2
    assert set(explanation.heatmaps) == set(explanation.badges) <= set(explanation.descriptors["tag"])
    assert all(heatmap.max() > 0 for heatmap in explanation.heatmaps.values())
    assert "composed" in song.note

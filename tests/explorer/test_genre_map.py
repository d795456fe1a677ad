"""The heatmap of the genre, for networks that listen for tones."""

import types

import numpy as np
import pandas as pd
import pytest
import soundfile
from support import explanations, tones

from musictools.explorer import genre_map, networks, view
from musictools.explorer.controller import Explorer
from musictools.spectrograms import FrontEnd

BASS, BIRDS = "bass & co", "birds"


@pytest.fixture(scope="module")
def system():
    return tones.system()


@pytest.fixture
def explorer(tmp_path, system, monkeypatch):
    monkeypatch.setattr(networks.released, "installed", lambda: ())
    for kind in ("models", "cards"):
        (tmp_path / kind).mkdir()
    for name, task in (("tagger", "tags"), ("genre_model", "genre")):
        (tmp_path / "models" / f"{name}.keras").touch()
        (tmp_path / "cards" / f"{name}.json").write_text(tones.card(task).model_dump_json())
    soundfile.write(tmp_path / "song.wav", tones.song(), tones.SR)
    explorer = Explorer(tmp_path, load=lambda *_: system, method="gradient")
    explorer.open_file(tmp_path / "song.wav")
    assert explorer.wait(120)
    yield explorer
    explorer.close()


def test_it_lies_where_the_tone_of_the_genre_is(explorer, system):
    explanation = explorer.explanation
    heatmap = genre_map.genre_heatmap(system.genre_model, explanation)
    assert heatmap.shape == explanation.S.shape
    rows = np.flatnonzero(np.maximum(heatmap, 0).sum(axis=1))
    hz = dict(zip((BASS, BIRDS), tones.TONES.values(), strict=False))[explanation.genre]
    assert np.abs(tones.MEL.frequencies()[rows] - hz).min() < 200
    others = explanation.votes[explanation.votes["genre"] != explanation.genre]
    assert len(others)
    for vote in others.itertuples():
        start = round(vote.start * tones.SR / 256)
        assert not heatmap[:, start : start + 32].any(), "these sections vote for another genre"


def test_it_is_made_once_and_told_in_sentences(explorer):
    one, genre = genre_map.GenreMap(explorer), explorer.explanation.genre
    assert one.possible
    assert (one.made, one.html) == (None, "")
    one.ask()
    one.ask()
    assert explorer.wait(120)
    made = one.made
    assert made.scores.loc[genre, "evidence"] > made.scores.loc[genre, "rest"]
    assert list(made.scores) == ["song", "evidence", "rest"]
    words = one.html
    assert words.startswith(f"<p><b>{genre.replace('&', '&amp;')}</b> (genre model): mean score ")
    assert f"{made.scores.at[genre, 'song']:.2f} of the song, " in words
    assert "It is strongest at 0:0" in words
    explorer.choose_networks(method="input_x_gradient")
    assert one.made is None, "another method gives another map"
    assert explorer.wait(120)


@pytest.mark.parametrize(("alone", "words"), [(0.9, "alone is still rock for"), (0.1, "alone would be pop: what")])
def test_the_evidence_alone_is_enough_or_not(alone, words):
    explorer = types.SimpleNamespace(
        explanation=explanations.explanation(genres=("rock", "pop")), system=types.SimpleNamespace(genre_model=1),
        busy=False, song=None, tagger="", genre="", method="",
    )  # fmt: skip
    scores = pd.DataFrame({"song": [0.8, 0.2], "evidence": [alone, 1 - alone], "rest": [0.4, 0.6]}, ["rock", "pop"])
    one = genre_map.GenreMap(explorer)
    made = genre_map.GenreReason(explorer.explanation.heatmaps["low"], "sound", scores)
    one._made = one._key(), made
    assert words in one.html
    assert "0.80 of the song, " in one.html
    one._made = one._key(), genre_map.GenreReason(np.zeros((32, 10)), None, scores[["song"]])
    assert "nothing in the song speaks for rock. Try another method." in one.html
    explorer.explanation.genre = None
    assert not one.possible
    assert one.html == ""


def test_cells_of_another_front_end():
    coarse, fine = FrontEnd(16000, 512, 512, 16), FrontEnd(16000, 512, 256, 32)
    heatmap = np.zeros((16, 1 + 16000 // 512))
    heatmap[3, 10] = 1
    moved = genre_map.on_cells(heatmap, coarse, fine, 16000)
    assert moved.shape == (32, 1 + 16000 // 256)
    rows, columns = np.nonzero(moved)
    assert set(columns) <= {19, 20, 21}
    assert 20 in columns
    nearest = np.abs(fine.frequencies()[:, None] - coarse.frequencies()[None]).argmin(axis=1)
    np.testing.assert_array_equal(np.unique(rows), np.flatnonzero(nearest == 3))
    narrow = FrontEnd(8000, 512, 256, 16)
    below = genre_map.on_cells(np.ones((16, 32)), narrow, fine, 16000)
    assert below[fine.frequencies() < 3500].all()
    assert not below[fine.frequencies() > 4500].any()
    waveform = FrontEnd(16000, 2, 1, 1, kind="waveform")
    line = genre_map.on_cells(np.arange(16000.0)[None], waveform, fine, 16000)
    np.testing.assert_array_equal(line[5, :3], [0, 256, 512])


def test_the_tag_that_stands_for_a_genre():
    scores = np.array([[0.1, 0.6, 0.9], [0.2, 0.5, 0.9]])
    tagger = types.SimpleNamespace(tags=["rock", "hard rock", "flute"], scores=lambda x: scores, model="network")
    model = types.SimpleNamespace(tagger=tagger, members={"rock": ["rock", "hard rock"]})
    assert genre_map.decided_output(model, "rock", None) == ("network", 1)
    assert genre_map.decided_output(types.SimpleNamespace(model="net", tags=["pop", "rock"]), "rock", None) == (
        "net",
        1,
    )


def test_the_page_shows_and_plays_it(explorer):
    shown, genre = view.show(explorer), explorer.explanation.genre
    before = len(shown.player.layers)
    assert shown.show_genre.description == f"genre: {genre}"
    assert shown.show_genre in shown.chips.children
    shown.show_genre.value = True
    assert explorer.wait(120)
    layer = shown.player.layers[0]
    assert (layer["tag"], layer["label"]) == ("genre", f"where the genre model finds {genre}")
    assert len(shown.player.layers) == before + 1
    assert {"evidence:genre", "rest:genre"} <= {sound["key"] for sound in shown.player.sounds}
    assert f"the genre {genre}" in shown.player.alt
    assert "genre model" in shown.genre_words.value
    shown.show_genre.value = False
    assert len(shown.player.layers) == before
    assert shown.genre_words.value == ""
    assert "evidence:genre" not in {sound["key"] for sound in shown.player.sounds}

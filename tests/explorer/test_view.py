"""The widgets without a browser: what is shown, what is passed on, and that every text is escaped."""

import base64
import io
import os
import re
import subprocess
import sys
import tempfile
import types
import xml.dom.minidom
import zipfile

import ipywidgets
import numpy as np
import pytest
from PIL import Image
from support import explanations, tones

from musictools.explorer import player, sentences, serving, songs, tabs, view
from musictools.explorer.changes import Changed, compared
from musictools.explorer.controller import Explorer
from musictools.explorer.work import Progress
from musictools.familiarity import Familiarity

ODD = "<img src=x onerror=alert(1)> & 'co'"


def no_networks():
    return {"taggers": {}, "genres": {}, "mappings": {}}


@pytest.fixture
def explorer():
    """An explorer that knows an explanation, made without any network; badges are there already."""
    explorer = Explorer(files=no_networks())
    explorer.tagger, explorer.genre = "tagger", "genre_model"
    explorer.files["taggers"]["tagger"] = explorer.files["genres"]["genre_model"] = None
    explorer.song = songs.Song(ODD, tones.song(), tones.SR, 90.0, note=ODD)
    explorer.explanation = explanations.explanation((ODD, "high", "never"), genres=(ODD, "birds"))
    explorer.explanation.sections["unasked"] = 0.1
    explorer.explanation.badges |= {
        "high": f"{ODD} passes: passes 3 of 4: stability 0.10",
        "never": "a fails: passes 0",
    }
    explorer.chosen = (ODD, "high")
    yield explorer
    explorer.close()


@pytest.fixture
def shown(explorer, monkeypatch):
    monkeypatch.setattr(Explorer, "genres", ["genre_model"])
    return view.show(explorer)


def texts(widget):
    """What all HTML widgets of a page say."""
    if isinstance(widget, ipywidgets.HTML):
        yield widget.value
    for child in getattr(widget, "children", ()):
        yield from texts(child)


def test_texts_from_outside_are_escaped_and_tags_closed(shown, explorer):
    explorer.error = ODD
    shown.update()
    explorer.error = ""
    explorer.explanation.familiarity = Familiarity(99.5, ODD)
    explorer.explanation.networks["descriptors"] = {"network": ODD, "data": ODD}
    explorer.gains = {ODD: -6.0}
    explorer.changed = compared(explorer.explanation, explorer.explanation, explorer.explanation.y)
    before = sentences.status(explorer)
    shown.update()
    said = [*texts(shown.page), before]
    assert sum("&lt;img" in text for text in said) >= 4
    for text in said:
        assert "<img" not in text
        if not text.startswith("<style>"):
            bare = text.replace("&nbsp;", " ").replace("class=mt-under", 'class="mt-under"')
            xml.dom.minidom.parseString(f"<div>{bare}</div>")  # every tag that is opened is closed


def test_what_is_said_of_a_song(shown, explorer):
    assert "the first 6 s of 90 s" in shown.answer.value
    assert "6 of 11 sections say so. Highest mean scores: " in shown.answer.value
    words = re.sub("<abbr.*?>|</abbr>", "", shown.reasons.value)
    assert "score 0.75 of the song, 0.62 of its evidence alone" in words
    assert "depends on what the network learnt" in shown.reasons.value
    assert "Whether the song is like the music that the network knows is not known" in shown.answer.value
    explorer.explanation.familiarity = Familiarity(99.5, "400 clips")
    explorer.chosen = ("never",)
    shown.update()
    assert "unlike what the network knows" in shown.answer.value
    assert "mt-error" in shown.answer.value
    assert "is not known" not in shown.answer.value
    assert "<b>Be careful with this heatmap:</b>" in shown.reasons.value
    assert "a passes 0." in shown.reasons.value
    assert "No section of the song predicts it" in shown.reasons.value


@pytest.mark.parametrize(
    ("passes", "accepted", "kept", "words"),
    [
        ("fails", True, True, "<b>Be careful with this heatmap:</b>"),
        ("passes", True, True, "<b>The heatmap is reliable:</b>"),
        ("passes", True, False, "<b>The heatmap tells a part:</b>"),
        ("passes", False, False, "The heatmap depends on what the network learnt. Whether"),
    ],
)
def test_tests_of_the_heatmap_and_its_evidence_make_one_verdict(shown, explorer, passes, accepted, kept, words):
    row = explorer.explanation.loop["tag"] == "high"
    explorer.explanation.loop.loc[row, ["accepted", "kept"]] = accepted, kept
    explorer.explanation.badges["high"] = f"a {passes}: passes 1 of 2"
    explorer.chosen = ("high",)
    shown.update()
    assert words in shown.reasons.value
    assert shown.reasons.value.count("Whether the network is right is another matter.") == 1


def test_a_changed_song_is_said_to_have_gaps(explorer):
    explorer.gains = {"high": -6.0}
    assert "gaps" not in sentences.effect(explorer)
    explorer.changed = compared(explorer.explanation, explorer.explanation, explorer.explanation.y)
    assert "may come from the gaps" in sentences.effect(explorer)
    assert "has the score 0" not in sentences.effect(explorer)
    explorer.genre = "its own genres"
    assert "has the score 0" in sentences.effect(explorer)


def test_the_page_that_was_saved_can_be_taken_along(shown, explorer, tmp_path):
    assert shown.saved.value == ""
    (tmp_path / "a <song>").mkdir()
    for name in ("index.html", "song.flac"):
        (tmp_path / "a <song>" / name).write_text(name)
    explorer.saved = tmp_path / "a <song>" / "index.html"
    shown.update()
    assert "<song>" not in shown.saved.value
    (address,) = re.findall(
        r'download="a &lt;song&gt;.zip" href="data:application/zip;base64,(.*?)"', shown.saved.value
    )
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(address))) as archive:
        assert sorted(archive.namelist()) == ["a <song>/index.html", "a <song>/song.flac"]
    explorer.saved = None
    shown.update()
    assert shown.saved.value == ""


def test_words_are_explained_and_places_named(shown, explorer):
    assert '<abbr title="a score above it counts as predicted' in shown.scores.value
    assert '<th scope="col"></th>' in shown.scores.value
    assert "It is strongest at 0:0" in shown.reasons.value


def test_explain_is_offered_after_it_was_cancelled(shown, explorer):
    assert shown.again.layout.display == "none"
    explorer.explanation = None
    shown.update()
    assert (shown.again.layout.display, shown.again.disabled) == ("", False)


def test_small_scores_have_three_digits(shown, explorer):
    explorer.explanation.descriptors.loc[0, ["score", "threshold"]] = 0.0428, 0.0385
    shown.update()
    text = sentences.scores(explorer)
    assert ">0.043<" in text
    assert ">0.038<" in text or ">0.039<" in text


def test_the_player_gets_pictures_and_sounds(shown, explorer):
    one = shown.player
    assert [layer["tag"] for layer in one.layers] == [ODD, "high"]
    assert len({layer["colour"] for layer in one.layers}) == 2
    assert [sound["key"] for sound in one.sounds] == [f"{k}:{t}" for t in (ODD, "high") for k in ("evidence", "rest")]
    assert one.song.startswith(b"fLaC")
    assert one.duration == pytest.approx(explanations.SECONDS)
    assert one.taggram["tags"] == [ODD, "high", "never", "unasked"][: len(one.taggram["tags"])]
    assert len(one.taggram["edges"]) == len(one.taggram["scores"][0]) + 1
    assert sorted(one.taggram["edges"]) == one.taggram["edges"]
    assert {vote["genre"] for vote in one.votes} == {ODD, "birds"}


def test_what_is_chosen_is_passed_on(shown, explorer, monkeypatch):
    chosen, gains, opened = [], [], []
    monkeypatch.setattr(explorer, "choose", chosen.append)
    monkeypatch.setattr(explorer, "turn_down", gains.append)
    monkeypatch.setattr(explorer, "open_upload", lambda *given: opened.append(given))
    chips = {chip.description: chip for chip in shown.chips.children if isinstance(chip, ipywidgets.ToggleButton)}
    chips["never"].value = True
    chips["high"].value = False
    shown.sliders.children[0].value = -12.0
    shown.upload._handle_custom_msg({"kind": "begin", "name": "a.wav", "size": 3}, [])
    shown.upload._handle_custom_msg({"kind": "piece"}, [memoryview(b"abc")])
    assert chosen == [[ODD, "high", "never"], [ODD]]
    assert gains == [{ODD: -12.0}]
    assert opened == [("a.wav", b"abc")]


def test_progress_is_shown_and_hidden(shown, explorer, monkeypatch):
    assert shown._work.layout.visibility == "hidden"
    monkeypatch.setattr(Explorer, "busy", True)
    monkeypatch.setattr(Explorer, "progress", Progress("finding <b>", 0.4))
    shown.update()
    assert shown._work.layout.visibility == "visible"
    assert shown.bar.value == 0.4
    assert "Finding &lt;b&gt; … 40%" in shown.step.value
    assert shown.again.disabled


def test_nothing_is_sent_again_when_nothing_changed(shown, explorer):
    sent = []
    shown.player.observe(lambda change: sent.append(change["name"]))
    shown.update()
    assert sent == []


def test_a_second_song_takes_the_place_of_the_first(shown, explorer):
    explorer.explanation = explanations.explanation(("piano", "high", "never"))
    explorer.explanation.sections["unasked"] = 0.2
    explorer.chosen = ("piano",)
    shown.update()
    assert [layer["tag"] for layer in shown.player.layers] == ["piano"]
    chips = [chip.description for chip in shown.chips.children if isinstance(chip, ipywidgets.ToggleButton)]
    assert chips[0] == "piano", "no network is here that could be asked about the genre"
    assert ODD not in chips


def test_the_effect_of_turning_down(shown, explorer):
    assert "Turn down the evidence" in shown.effect.value
    explorer.gains = {ODD: -6.0}
    shown.update()
    assert "is being scored" in shown.effect.value
    made = compared(explorer.explanation, explorer.explanation, explorer.explanation.y)
    explorer.changed = Changed(made.y, made.descriptors, made.genres, ("rock", "jazz"))
    shown.update()
    assert "The genre changes from rock to <b>jazz</b>." in shown.effect.value
    assert shown.player.sounds[-1]["key"] == "changed"


def test_without_networks_the_page_says_what_to_do():
    explorer = Explorer(files=no_networks())
    page = view.show(explorer)
    assert "make demo" in page.answer.value
    assert page.player.layout.display == "none"
    explorer.close()


def test_the_other_views_are_made_when_they_are_shown(shown, explorer):
    count = len(shown.page.children)
    shown.views.value = "taggers"
    assert shown.result.layout.display == "none"
    assert len(shown.page.children) == count + 1
    compare = shown.page.children[-1]
    assert compare.layout.display == ""
    shown.views.value = "songs"
    assert (compare.layout.display, shown.page.children[-1].layout.display) == ("none", "")
    shown.views.value = "why"
    assert shown.result.layout.display == ""
    assert len(shown.page.children) == count + 2
    assert [child.layout.display for child in shown.page.children[-2:]] == ["none", "none"]


def test_feature_maps_are_asked_for_by_a_button(shown, explorer, monkeypatch):
    assert shown.maps.value == ""
    asked = []
    monkeypatch.setattr(shown._maps, "ask", lambda: asked.append(True))
    shown.show_maps.value = True
    assert asked
    assert "notebook 06" in shown.maps.value
    shown.show_maps.value = False
    assert shown.maps.value == ""


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_a_heatmap_is_opaque_where_relevance_is_and_upright():
    relevance = np.zeros((4, 10))
    relevance[0, 2], relevance[3, 7], relevance[1, 1] = 1.0, 0.25, -1.0
    picture = pixels(player.layer(relevance, colour="#56b4e9"))
    assert picture.shape == (4, 10, 4)
    assert (picture[..., :3] == (0x56, 0xB4, 0xE9)).all()
    alpha = picture[..., 3]
    assert alpha[3, 2] == 255  # the lowest band is the last row
    assert 0 < alpha[0, 7] < 255
    assert np.count_nonzero(alpha) == 2, "negative relevance is not drawn"


def test_long_pictures_are_narrowed_without_losing_a_peak():
    relevance = np.zeros((2, 20_001))
    relevance[1, 20_000] = 1.0
    alpha = pixels(player.layer(relevance, colour="#de8f05"))[..., 3]
    assert alpha.shape[1] <= 6000
    assert alpha[0, -1] == 255
    assert not alpha[:, :-1].any()


def test_sounds_that_would_clip_are_quieter(tmp_path):
    import soundfile

    y, sr = soundfile.read(io.BytesIO(player.flac(np.array([0.0, 2.0, -1.0] * 100), sr=8000)))
    assert np.abs(y).max() == pytest.approx(1.0, abs=1e-3)
    assert sr == 8000


# --- Serving ----------------------------------------------------------------------------------------------------------


def test_the_browser_is_opened_without_a_file(tmp_path, monkeypatch):
    app = pytest.importorskip("musictools.explorer.voila_app")
    opened = []
    browser = types.SimpleNamespace(open=lambda address, new: opened.append(address))
    monkeypatch.setattr(app.webbrowser, "get", lambda name: browser)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    page = app.Page()
    page.port, page.ip = 8866, "127.0.0.1"
    monkeypatch.setattr(app.threading, "Thread", lambda target: types.SimpleNamespace(start=target))
    page.launch_browser()
    page.identity_provider = types.SimpleNamespace(token="a b")
    page.launch_browser()
    assert opened == ["http://127.0.0.1:8866/", "http://127.0.0.1:8866/?token=a%20b"]
    assert list(tmp_path.iterdir()) == []


def test_tabs_are_known_as_such():
    one = tabs.Tabs([("One", "1"), ("Two", "2")], label="Views")
    assert (one.value, one.options) == ("1", [["One", "1"], ["Two", "2"]])
    script = one._esm if isinstance(one._esm, str) else str(one._esm)
    for word in ('"tablist"', '"tab"', '"aria-selected"', "ArrowRight"):
        assert word in script


def test_the_page_is_served_on_this_machine_only(tmp_path):
    command = serving.command()
    assert "--Voila.ip=127.0.0.1" in command
    song = tmp_path / "a song.wav"
    song.touch()
    values = serving.environment(song)
    assert values[serving.SONG] == str(song)
    assert serving.SONG not in serving.environment()
    with pytest.raises(ValueError, match="none.wav: no such file"):
        serving.environment("none.wav")


@pytest.mark.parametrize("arguments", [["--help"], ["a.wav", "b.wav"]])
def test_the_command_says_how_it_is_used(monkeypatch, arguments):
    monkeypatch.setattr(sys, "argv", ["serving", *arguments])
    with pytest.raises(SystemExit, match="usage: python -m musictools.explorer.serving"):
        serving.main()


def test_options_are_those_of_the_page_s_server(monkeypatch, tmp_path):
    called, song = [], tmp_path / "song.wav"
    song.touch()
    monkeypatch.setattr(os, "execve", lambda *arguments: called.append(arguments))
    monkeypatch.setattr(serving.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(sys, "argv", ["serving", "--no-browser", str(song)])
    serving.main()
    ((_, command, values),) = called
    assert command[-1] == "--no-browser"
    assert values[serving.SONG] == str(song)


def test_the_command_without_voila_or_song_is_a_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "musictools.explorer.serving", str(tmp_path / "none.wav")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.search("no such file|Voilà is not installed", done.stderr)
    assert "Traceback" not in done.stderr


def test_the_package_asks_no_other_server():
    for path in (view.Path(view.__file__).parent).rglob("*"):
        if path.suffix in (".js", ".css", ".j2", ".json"):
            text = path.read_text(encoding="utf-8").replace('"https://cdn" not in line', "")
            assert "http" not in text, path.name

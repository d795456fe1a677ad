"""Two songs with the same networks, descriptors and scales, without a browser."""

import io

import numpy as np
import pytest
import soundfile
from PIL import Image
from support import explanations, tones

from musictools.explorer import networks, pair, pair_view, player
from musictools.explorer.controller import Explorer
from musictools.explorer.work import Progress

LOW, HIGH, NEVER = tones.TONES


@pytest.fixture(scope="module")
def system():
    return tones.system()


@pytest.fixture
def explorer(tmp_path, system, monkeypatch):
    monkeypatch.setattr(networks.released, "installed", lambda: ())
    for kind in ("models", "cards"):
        (tmp_path / kind).mkdir()
    for name, task in (("tagger", "tags"), ("tagger_other", "tags"), ("genre_model", "genre")):
        (tmp_path / "models" / f"{name}.keras").touch()
        (tmp_path / "cards" / f"{name}.json").write_text(tones.card(task).model_dump_json())
    soundfile.write(tmp_path / "long.wav", tones.song(), tones.SR)
    soundfile.write(tmp_path / "short.wav", 0.5 * tones.song(seconds=4.0), tones.SR)
    loaded = []
    explorer = Explorer(tmp_path, load=lambda *which: loaded.append(which) or system, method="gradient")
    explorer.loaded = loaded
    yield explorer
    explorer.close()


@pytest.fixture
def both(explorer):
    """A pair of explained songs."""
    songs = pair.Pair(explorer)
    explorer.listeners.append(songs.follow)
    songs.second.listeners.append(songs.follow)
    explorer.open_file(explorer.folder / "long.wav")
    songs.second.open_file(explorer.folder / "short.wav")
    assert explorer.wait(120)
    assert songs.second.wait(120)
    yield songs
    songs.second.close()


def settled(songs):
    """Wait until both explorers have nothing to do."""
    for _ in range(3):
        assert songs.first.wait(120)
        assert songs.second.wait(120)


def test_the_second_song_has_the_networks_and_the_descriptors_of_the_first(both):
    settled(both)
    first, second = both.first, both.second
    assert first.error == second.error == ""
    assert len(first.loaded) == 1, "the networks are loaded once for both"
    assert second.chosen == first.chosen
    first.choose([HIGH, NEVER])
    settled(both)
    assert second.chosen == (HIGH, NEVER)
    assert both.tags == [HIGH, NEVER]
    first.choose_networks(tagger="tagger_other")
    settled(both)
    assert second.tagger == "tagger_other"
    assert second.explanation is not None
    assert second.chosen == first.chosen
    assert len(first.loaded) == 2


def test_both_have_one_scale(both):
    both.first.choose([LOW])
    settled(both)
    assert both.span == pytest.approx(6.0)
    maps = [one.explanation.heatmaps[LOW] for one in (both.first, both.second)]
    assert both.strongest(LOW) == max(player.strongest(one) for one in maps)
    strong = np.array([[0.0, 4.0]])
    assert player.strongest(strong, 0.5 * strong) == player.strongest(strong)
    assert player.strongest(-strong) == 0.0
    alpha = [
        np.asarray(Image.open(io.BytesIO(player.layer(m, colour="#de8f05", top=8.0))))[..., 3]
        for m in (strong, 2 * strong)
    ]
    assert alpha[1].max() > alpha[0].max() == 191, "half of the scale, times 1.5"


def test_steps_of_the_two_do_not_overlap(both):
    settled(both)
    inside, overlaps = [], []

    def job(name):
        for _ in range(20):
            inside.append(name)
            overlaps.append(len(inside) > 1)
            np.linalg.svd(np.ones((40, 40)))
            inside.remove(name)
            yield Progress(name)

    both.first.work("a", lambda: job("a"))
    both.second.work("b", lambda: job("b"))
    settled(both)
    assert len(overlaps) == 40
    assert not any(overlaps)


def test_scores_are_compared_in_words(both):
    both.first.choose([LOW, NEVER])
    settled(both)
    html = pair.sentence(both)
    scores = [one.explanation.descriptors.set_index("tag").at[LOW, "score"] for one in (both.first, both.second)]
    assert f"<b>low &lt;b&gt;</b>: score {scores[0]:.2f} in the first song, {scores[1]:.2f} in the second" in html
    assert "No section of the first and of the second song predicts never." in html
    both.second.explanation = None
    assert pair.sentence(both) == ""


# --- The view ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def shown(explorer):
    view = pair_view.PairView(explorer)
    explorer.listeners.append(view.update)
    view.pair.second.listeners.append(view.update)
    yield view
    view.pair.second.close()


def test_the_view_asks_for_what_is_missing(shown, explorer):
    shown.update()
    assert "Choose the first song" in shown.status.value
    explorer.open_file(explorer.folder / "long.wav")
    explorer.wait(120)
    shown.update()
    assert "Choose a second song" in shown.status.value
    assert shown.songs.layout.display == "none"
    shown.pair.second.open_file(explorer.folder / "none.wav")
    assert "none.wav: no such file" in shown.status.value


def test_a_second_song_that_was_cancelled_is_explained_by_a_button(shown, explorer):
    second = shown.pair.second
    explorer.open_file(explorer.folder / "long.wav")
    second.open_file(explorer.folder / "short.wav")
    settled(shown.pair)
    assert shown.again.layout.display == "none"
    second.explanation = None
    shown.update()
    assert "The second song is not explained" in shown.status.value
    assert shown.again.layout.display == ""
    shown.again.click()
    settled(shown.pair)
    assert second.explanation is not None
    assert shown.again.layout.display == "none"


def test_both_players_show_the_same_descriptor_on_one_scale(shown, explorer):
    explorer.open_file(explorer.folder / "long.wav")
    shown.pair.second.open_file(explorer.folder / "short.wav")
    settled(shown.pair)
    explorer.choose([HIGH])
    settled(shown.pair)
    first, second = shown.players
    assert [layer["tag"] for layer in first.layers] == [layer["tag"] for layer in second.layers] == [HIGH]
    assert first.layers[0]["colour"] == second.layers[0]["colour"]
    assert (first.span, second.span) == (6.0, 6.0)
    assert (first.duration, second.duration) == (6.0, 4.0)
    assert first.taggram["tags"] == second.taggram["tags"] == [HIGH]
    assert first.song != second.song
    assert "First song: long" in shown.titles[0].value
    colours = {v["genre"]: v["colour"] for one in shown.players for v in one.votes}
    assert all(v["colour"] == colours[v["genre"]] for one in shown.players for v in one.votes)
    sent = []
    for one in shown.players:
        one.observe(lambda change: sent.append(change["name"]))
    shown.update()
    assert sent == []


def test_descriptors_are_chosen_here_and_their_evidence_is_heard(shown, explorer):
    explorer.open_file(explorer.folder / "long.wav")
    shown.pair.second.open_file(explorer.folder / "short.wav")
    settled(shown.pair)
    first, other = shown.tags
    assert (first.value, other.value) == (explorer.chosen[0], "")
    assert [value for _, value in first.options] == ["", HIGH, LOW, NEVER]
    first.value = LOW
    other.value = HIGH
    settled(shown.pair)
    assert explorer.chosen == shown.pair.second.chosen == (LOW, HIGH)
    wanted = [f"{kind}:{tag}" for tag in (LOW, HIGH) for kind in ("evidence", "rest")]
    for one in shown.players:
        assert [sound["key"] for sound in one.sounds] == wanted
    y, _ = soundfile.read(io.BytesIO(shown.players[1].sounds[0]["data"]))
    assert len(y) == 4 * tones.SR, "the second song's own evidence"
    other.value = ""
    settled(shown.pair)
    assert [sound["key"] for sound in shown.players[0].sounds] == wanted[:2]


def test_titles_are_escaped_and_the_grey_scale_is_common(shown, explorer):
    from musictools.explorer.songs import Song

    odd = "<img src=x onerror=alert(1)>"
    loud, quiet = explanations.explanation(), explanations.explanation()
    quiet.S = quiet.S - 40
    for one, made in ((explorer, loud), (shown.pair.second, quiet)):
        one.song, one.explanation, one.chosen = Song(odd, made.y, 16000, 6.0), made, ("low",)
    shown._show([loud, quiet])
    assert "<img" not in shown.titles[0].value + shown.titles[1].value
    grey = [np.asarray(Image.open(io.BytesIO(one.spectrogram))).mean() for one in shown.players]
    assert grey[0] > grey[1] + 30, "a quiet song is darker"

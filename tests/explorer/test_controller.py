"""The explorer without a browser: tones planted in a song, errors as sentences, cancelling, nothing twice."""

import logging
import tempfile
import threading

import numpy as np
import pytest
import soundfile
from support import tones

from musictools.explorer import answers, networks, songs
from musictools.explorer.changes import LOWEST
from musictools.explorer.controller import MOST, Explorer
from musictools.explorer.work import Progress, Worker
from musictools.models.card import ModelCard

LOW, HIGH, NEVER = tones.TONES


@pytest.fixture(scope="module")
def system():
    return tones.system()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A profile's folder whose networks are named but not read, and a song."""
    folder = tmp_path_factory.mktemp("explorer")
    (folder / "models").mkdir()
    (folder / "cards").mkdir()
    for name, task in (("tagger", "tags"), ("tagger_other", "tags"), ("genre_model", "genre")):
        (folder / "models" / f"{name}.keras").touch()
        (folder / "cards" / f"{name}.json").write_text(tones.card(task).model_dump_json())
    soundfile.write(folder / "two tones.wav", tones.song(), tones.SR)
    return folder


@pytest.fixture
def explorer(folder, system, monkeypatch):
    monkeypatch.setattr(networks.released, "installed", lambda: ())
    asked = []

    def load(*which):
        asked.append(which)
        return system

    explorer = Explorer(folder, load=load, method="gradient")
    explorer.asked = asked
    yield explorer
    explorer.close()


@pytest.fixture
def opened(explorer, folder):
    explorer.open_file(folder / "two tones.wav")
    assert explorer.wait(120)
    assert explorer.error == ""
    return explorer


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files, empty at first."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def test_networks_are_those_of_the_profile(explorer, folder):
    assert explorer.taggers == ["tagger", "tagger_other"]
    assert explorer.genres == ["genre_model", networks.NONE]
    assert (explorer.tagger, explorer.genre, explorer.advice) == ("tagger", "genre_model", "")


def test_without_networks_there_is_advice_and_a_song_still_opens(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(networks.released, "installed", lambda: ())
    explorer = Explorer(tmp_path)
    assert "make demo" in explorer.advice
    explorer.open_file(folder / "two tones.wav")
    explorer.explain()
    assert explorer.wait(60)
    assert explorer.song.title == "two tones"
    assert explorer.explanation is None
    explorer.close()


def test_a_tagger_with_genres_among_its_tags_brings_its_own(tmp_path):
    (tmp_path / "cards").mkdir()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.keras").touch()
    fields = tones.card("tags").model_dump() | {"outputs": ["rock", "guitar"], "thresholds": {}}
    (tmp_path / "cards" / "a.json").write_text(ModelCard(**fields).model_dump_json())
    assert networks.genres_of(tmp_path / "models" / "a.keras", {}) == [networks.OWN, networks.NONE]


def test_a_song_is_explained_and_its_best_descriptor_shown(opened):
    explanation = opened.explanation
    assert opened.song.title == "two tones"
    assert explanation.genre in ("bass & co", "birds")
    predicted = list(explanation.descriptors.loc[explanation.descriptors["predicted"], "tag"])
    assert set(predicted) == {LOW, HIGH}
    assert opened.chosen == (predicted[0],) == tuple(explanation.heatmaps)
    assert set(explanation.badges) == set(opened.chosen)
    assert (opened.busy, opened.progress) == (False, Progress())


def test_descriptors_that_are_chosen_get_heatmaps_where_their_tones_are(opened):
    opened.choose([LOW, HIGH])
    assert opened.wait(120)
    time = np.arange(opened.explanation.S.shape[1]) * tones.MEL.hop_length / tones.SR
    for tag, start, end in ((LOW, 1, 3), (HIGH, 2.5, 5)):
        relevance = np.maximum(opened.explanation.heatmaps[tag], 0)
        inside = relevance[:, (time > start - 0.6) & (time < end + 0.6)]
        assert inside.sum() > 0.99 * relevance.sum()
    assert set(opened.explanation.loop["tag"]) == set(opened.explanation.badges) == {LOW, HIGH}
    opened.choose([LOW, HIGH, NEVER])
    assert opened.chosen == (HIGH, NEVER)
    assert len(opened.chosen) == MOST
    opened.choose(["no such descriptor"])
    assert opened.chosen == ()


def test_a_descriptor_chosen_again_is_not_computed_again(opened, monkeypatch):
    opened.choose([LOW, HIGH])
    assert opened.wait(120)
    before = opened.explanation.heatmaps[LOW]
    monkeypatch.setattr(opened, "_map", lambda tag: pytest.fail("computed twice"))
    opened.choose([LOW])
    assert opened.wait(60)
    assert opened.explanation.heatmaps[LOW] is before


def test_turning_a_tone_down_lowers_its_score_alone(opened):
    opened.choose([LOW, HIGH])
    opened.wait(120)
    opened.turn_down({LOW: LOWEST})
    assert opened.wait(120)
    table = opened.changed.descriptors
    assert table.at[LOW, "after"] < table.at[LOW, "before"] - 0.1
    assert table.at[HIGH, "after"] == pytest.approx(table.at[HIGH, "before"], abs=0.02)
    expected = opened.explanation.evidence[LOW].rest
    np.testing.assert_allclose(opened.changed.y, expected, atol=1e-5)  # removed entirely: the rest remains
    before = opened.explanation.descriptors.set_index("tag")["score"]
    np.testing.assert_allclose(table["before"], before[table.index], atol=1e-6)
    assert opened.changed.genres.loc["birds"].diff()["after"] > 0
    opened.turn_down({LOW: 0.0})
    assert opened.changed is None
    assert opened.gains == {}


def test_gains_in_between_and_of_two_descriptors(opened):
    opened.choose([LOW, HIGH])
    opened.wait(120)
    opened.turn_down({LOW: -6.0})
    opened.wait(120)
    part = opened.explanation.evidence[LOW].sound
    expected = opened.explanation.y - (1 - 10 ** (-6 / 20)) * part
    np.testing.assert_allclose(opened.changed.y, expected, atol=1e-5)
    opened.turn_down({LOW: -200.0, HIGH: LOWEST})
    opened.wait(120)
    assert opened.gains == {LOW: LOWEST, HIGH: LOWEST}
    assert (opened.changed.descriptors.loc[[LOW, HIGH], "after"] < 0.15).all()
    opened.choose([HIGH])
    assert opened.wait(60)
    assert opened.gains == {HIGH: LOWEST}


def test_other_networks_explain_the_song_anew(opened):
    opened.choose_networks(tagger="tagger_other", genre=networks.NONE)
    assert opened.wait(120)
    assert [path.stem for path, *_ in opened.asked] == ["tagger", "tagger_other"]
    assert opened.explanation is not None
    count = len(opened.asked)
    opened.choose_networks(method="input_x_gradient")
    assert opened.wait(120)
    assert opened.explanation.method == "input_x_gradient"
    assert len(opened.asked) == count, "the networks are loaded already"
    with pytest.raises(ValueError, match="No tagger is called 'none'. Known: tagger, tagger_other"):
        opened.choose_networks(tagger="none")


def test_the_page_is_saved_with_all_heatmaps(opened, tmp_path):
    opened.choose([LOW, HIGH])
    opened.save(tmp_path / "page")
    assert opened.wait(120)
    page = opened.saved.read_text()
    assert "two tones" in page
    assert page.count('class="map"') == 2
    assert "low <b>" not in page


def test_songs_of_a_data_set(folder, system, explorer):
    from musictools.datasets.folder import Folder

    place = folder / "songs" / "birds"
    place.mkdir(parents=True)
    soundfile.write(place / "tweet.wav", tones.song(), tones.SR)
    explorer.data = Folder(folder / "songs")
    ((title, clip_id),) = explorer.clips.items()
    assert "tweet" in title
    assert "birds" in title
    explorer.open_clip(clip_id)
    assert explorer.wait(120)
    assert explorer.explanation is not None
    assert explorer.song.title == title
    explorer.open_clip("no such clip")
    assert explorer.wait(60)
    assert explorer.error == "no such clip: the data set cannot read this clip."


# --- Uploads and errors -----------------------------------------------------------------------------------------------


def encoded(y, sr=tones.SR, kind="WAV", **options):
    import io

    buffer = io.BytesIO()
    soundfile.write(buffer, y, sr, format=kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_an_upload_is_explained_and_its_file_removed(explorer, kind, temporary):
    explorer.open_upload(f"../<i>song</i>.{kind}", encoded(tones.song(), kind=kind))
    assert explorer.wait(120)
    assert explorer.error == ""
    assert explorer.song.title == f"i>.{kind}"  # what follows the last slash, as plain text
    assert explorer.explanation is not None
    assert list(temporary.iterdir()) == []


BAD = {
    "empty": (b"", "song.wav: the file is empty."),
    "text": (b"no audio at all", "song.wav: not an audio file that can be read"),
    "silent": (encoded(np.zeros(16000)), "song.wav: silent. There is nothing to hear"),
    "one sample": (encoded(np.ones(1)), "song.wav: too short. It has 0.00 s"),
    "long": (encoded(np.zeros(901), sr=1), "song.wav: too long. It lasts 15.0 min, at most 15 min are taken."),
    "NaN": (encoded(np.full(16000, np.nan), subtype="FLOAT"), "song.wav: 16000 of 16000 samples are NaN or Inf."),
    "zip": (b"PK\x03\x04" + bytes(200), "song.wav: not an audio file"),
    "large": (bytes(songs.MAX_BYTES + 1), "song.wav: too large. It has 50 MB, at most 50 MB are taken."),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_uploads_are_sentences_and_leave_the_explorer_alive(explorer, kind, folder, temporary):
    content, message = BAD[kind]
    explorer.open_upload("song.wav", content)
    assert explorer.wait(60)
    assert explorer.error.startswith(message)
    assert str(temporary) not in explorer.error
    assert explorer.song is explorer.explanation is None
    assert list(temporary.iterdir()) == []
    explorer.open_file(folder / "two tones.wav")
    assert explorer.wait(120)
    assert (explorer.error, explorer.song.title) == ("", "two tones")


def test_too_many_channels_are_refused_by_the_header(explorer, monkeypatch):
    monkeypatch.setattr(songs, "_MAX_SAMPLES", 8 * tones.SR)
    explorer.open_upload("song.flac", encoded(np.zeros((2 * tones.SR, 8)), kind="FLAC"))
    assert explorer.wait(60)
    assert explorer.error.startswith("song.flac: too much audio. 8 channels of 2 s at 16,000 Hz are more than")


def test_other_endings_and_missing_files(explorer):
    explorer.open_upload("song.exe", b"MZ")
    assert explorer.error == "song.exe: the explorer takes .mp3, .wav, .flac, .ogg files."
    explorer.open_file("/no/such/song.wav")
    assert explorer.error == "song.wav: no such file."


def test_a_truncated_upload_is_explained_with_a_note(explorer):
    explorer.open_upload("song.wav", encoded(tones.song())[:100_000])
    assert explorer.wait(120)
    assert explorer.error == ""
    assert "could be decoded" in explorer.song.note


def test_only_the_first_part_is_explained(explorer, folder):
    explorer.seconds = 2.0
    explorer.open_file(folder / "two tones.wav")
    assert explorer.wait(120)
    assert len(explorer.explanation.y) == 2 * tones.SR
    assert explorer.song.length == pytest.approx(6.0)


def raising(error):
    def fail(*arguments, **options):
        raise error

    return fail


DEVELOPERS = ValueError("x must have shape (n, <b>). Got (3,).")


@pytest.mark.parametrize(
    ("place", "name", "error", "sentence"),
    [
        ("explorer", "_load", RuntimeError("internal <b>"), "The networks tagger and genre_model cannot be read."),
        (
            "system",
            "explain",
            DEVELOPERS,
            "two tones cannot be explained by tagger. Try another tagger or another song.",
        ),
        ("answers", "heatmap", DEVELOPERS, "The method gradient cannot find high with tagger. Try another method."),
        ("answers", "evidence", DEVELOPERS, "The evidence of high cannot be made audible with tagger."),
        ("answers", "badge", DEVELOPERS, "The heatmap of high could not be tested."),
        ("answers", "heatmap", MemoryError(), "There is not enough memory for this."),
        ("songs", "read", RuntimeError("internal <b>"), "Something went wrong. The song could not be explained."),
    ],
)
def test_what_fails_is_said_in_sentences_and_logged(
    explorer, system, folder, monkeypatch, caplog, place, name, error, sentence
):
    where = {"explorer": explorer, "system": type(system), "answers": answers, "songs": songs}[place]
    monkeypatch.setattr(where, name, raising(error))
    explorer.open_file(folder / "two tones.wav")
    assert explorer.wait(60)
    assert explorer.error.startswith(sentence)
    assert not explorer.busy
    assert str(error) not in explorer.error or not str(error)
    assert str(error) in caplog.text


def test_an_upload_lies_in_a_private_folder_while_it_is_read(explorer, temporary, monkeypatch):
    seen, read = [], songs.read

    def watched(path, **options):
        seen.append((path.name, path.parent.parent, path.parent.stat().st_mode & 0o077))
        return read(path, **options)

    monkeypatch.setattr(songs, "read", watched)
    explorer.open_upload("../../my song.WAV", encoded(tones.song()))
    assert explorer.wait(120)
    assert seen == [("song.wav", temporary, 0)]
    assert list(temporary.iterdir()) == []


# --- Work -------------------------------------------------------------------------------------------------------------


def test_a_cancelled_song_leaves_nothing_and_can_be_explained_later(explorer, folder):
    steps = []

    def watch():
        steps.append(explorer.progress)
        if explorer.progress.step == "asking the networks":
            explorer.listeners.remove(watch)
            explorer.cancel()

    explorer.listeners.append(watch)
    explorer.open_file(folder / "two tones.wav")
    assert explorer.wait(120)
    assert explorer.explanation is None
    assert explorer.song is not None
    shares = [step.share for step in steps if step.step]
    assert shares == sorted(shares)
    explorer.explain()
    assert explorer.wait(120)
    assert explorer.explanation is not None


def test_a_song_opened_meanwhile_wins(explorer, folder):
    explorer.open_file(folder / "two tones.wav", title="first")
    explorer.open_file(folder / "two tones.wav", title="second")
    explorer.open_upload("third.wav", encoded(tones.song()))
    assert explorer.wait(120)
    assert explorer.song.title == "third.wav"
    assert explorer.explanation is not None


def test_one_key_runs_once_and_cancelled_work_may_run_again():
    begun, go, ran = threading.Event(), threading.Event(), []
    worker = Worker(changed=lambda: None, failed=ran.append)

    def job(name):
        begun.set()
        yield Progress(name, 0.0)
        go.wait(10)
        yield Progress(name, 0.5)
        ran.append(name)

    assert worker.add("a", lambda: job("a"))
    begun.wait(10)
    assert not worker.add("a", lambda: job("a"))
    assert worker.add("b", lambda: job("b"))
    assert not worker.add("b", lambda: job("b"))
    assert worker.busy
    assert not worker.wait(0.01)
    worker.cancel()
    assert worker.add("a", lambda: job("a again"))
    go.set()
    assert worker.wait(10)
    assert ran == ["a again"]
    assert not [thread for thread in threading.enumerate() if thread.name == "musictools-explorer" and worker.busy]


# --- Idle work --------------------------------------------------------------------------------------------------------


def test_idle_work_waits_for_other_work_and_is_not_shown():
    order, busy, begun, go = [], [], threading.Event(), threading.Event()
    worker = Worker(changed=lambda: None, failed=order.append)

    def job(name, wait=False):
        yield Progress(name, 0.5)
        if wait:
            begun.set()
            go.wait(10)
        busy.append((worker.busy, worker.progress.step))
        order.append(name)

    worker.add("first", lambda: job("first", wait=True))
    begun.wait(10)
    assert worker.add("later", lambda: job("later"), idle=True)
    assert not worker.add("later", lambda: job("later"), idle=True)
    worker.add("second", lambda: job("second"))
    go.set()
    assert worker.wait(10)
    assert order == ["first", "second", "later"]
    assert busy == [(True, "first"), (True, "second"), (False, "")]


def test_heatmaps_are_made_ahead_and_used(explorer, folder, monkeypatch):
    explorer.ahead = 2
    explorer.open_file(folder / "two tones.wav")
    assert explorer.wait(120)
    assert explorer.chosen == tuple(explorer.explanation.heatmaps)
    assert explorer.error == ""
    (other,) = {LOW, HIGH} - set(explorer.chosen)
    expected = answers.heatmap(explorer.system, explorer.explanation, other)
    monkeypatch.setattr(answers, "heatmap", raising(AssertionError("it was made ahead")))
    explorer.choose([other])
    assert explorer.wait(60)
    assert explorer.error == ""
    np.testing.assert_array_equal(explorer.explanation.heatmaps[other], expected)


def test_idle_work_that_fails_is_no_error_of_the_page(explorer, folder, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    made, count = answers.heatmap, []

    def once(*arguments):
        count.append(arguments)
        return made(*arguments) if len(count) == 1 else raising(DEVELOPERS)()

    monkeypatch.setattr(answers, "heatmap", once)
    explorer.ahead = 3
    explorer.open_file(folder / "two tones.wav")
    assert explorer.wait(120)
    assert len(count) == 3
    assert explorer.error == ""
    assert "idle work failed" in caplog.text


def test_networks_are_loaded_before_they_are_needed(explorer):
    explorer.warm_up()
    assert explorer.wait(60)
    assert explorer.system is not None
    explorer.choose_networks(tagger="tagger_other")
    assert explorer.wait(60)
    assert (explorer.busy, explorer.error) == (False, "")


def test_a_heatmap_of_one_descriptor_is_that_of_the_whole_explanation(opened, system):
    explanation = opened.explanation
    together = system.explain(explanation.y, sr=tones.SR, tags=[LOW, HIGH], rule="f1", method="gradient", badges=True)
    for tag in (LOW, HIGH):
        alone = answers.heatmap(system, explanation, tag)
        np.testing.assert_allclose(alone, together.heatmaps[tag], atol=1e-5 * np.abs(alone).max())
        made, row = answers.evidence(system, explanation, tag, alone)
        np.testing.assert_allclose(made.sound, together.evidence[tag].sound, atol=1e-5)
        expected = together.loop.set_index("tag").loc[[tag], ["clip", "evidence", "rest", "area"]]
        np.testing.assert_allclose(row[["clip", "evidence", "rest", "area"]], expected, atol=1e-4)
        verdict = answers.badge(system, explanation, tag).partition(":")[0]
        assert verdict == together.badges[tag].partition(":")[0]

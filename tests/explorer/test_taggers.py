"""Taggers side by side on the explorer's song, and the page's second view, without a browser."""

import ipywidgets
import numpy as np
import pytest
import soundfile
from support import tones

from musictools.explorer import networks, player, tagger_view, taggers
from musictools.explorer.controller import Explorer

LOW, HIGH, NEVER = tones.TONES


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A profile with two taggers, of which one lies there twice, and a song."""
    folder = tmp_path_factory.mktemp("taggers")
    tones.write_networks(folder)
    for copy in ("tagger_levels", "tagger_other"):
        for kind, suffix in (("models", "keras"), ("cards", "json")):
            (folder / kind / f"{copy}.{suffix}").write_bytes((folder / kind / f"tagger.{suffix}").read_bytes())
    card = folder / "cards" / "tagger_other.json"
    card.write_text(card.read_text().replace(NEVER, "drums").replace('"f1"', '"own"'))
    soundfile.write(folder / "two tones.wav", tones.song(), tones.SR)
    return folder


@pytest.fixture
def explorer(folder, monkeypatch):
    monkeypatch.setattr(networks.released, "installed", lambda: ())
    explorer = Explorer(folder, method="gradient")
    yield explorer
    explorer.close()


@pytest.fixture
def opened(explorer, folder):
    explorer.open_file(folder / "two tones.wav")
    assert explorer.wait(120)
    return explorer


def test_the_first_choice_is_no_copy(explorer):
    assert explorer.taggers == ["tagger", "tagger_levels", "tagger_other"]
    assert taggers.Taggers(explorer).names == ("tagger", "tagger_other")


def test_taggers_are_asked_once(opened, monkeypatch):
    asked = taggers.Taggers(opened)
    assert asked.comparison is None
    asked.ask()
    asked.ask()
    assert opened.wait(60)
    assert opened.error == ""
    comparison = asked.comparison
    assert comparison.shared == [LOW, HIGH] or comparison.shared == [HIGH, LOW]
    assert comparison.own("tagger") == [NEVER]
    scores = opened.explanation.descriptors.set_index("tag")["score"]
    assert comparison.table.at[LOW, "tagger"] == pytest.approx(scores[LOW], abs=1e-6)
    monkeypatch.setattr(opened, "work", lambda *_: pytest.fail("asked twice"))
    asked.ask()
    asked.names = ("tagger",)
    assert asked.comparison is None, "it is of other taggers"


def test_a_comparison_is_of_the_present_song(opened, folder):
    asked = taggers.Taggers(opened)
    asked.choose(["tagger"])
    assert opened.wait(60)
    before = asked.comparison.table
    soundfile.write(folder / "low tone.wav", tones.song()[: 2 * tones.SR], tones.SR)
    opened.open_file(folder / "low tone.wav")
    assert opened.wait(60)
    assert asked.comparison is None
    asked.ask()
    assert opened.wait(60)
    assert asked.comparison.table.at[HIGH, "tagger"] < before.at[HIGH, "tagger"] - 0.1, "its tone is not in this part"


def test_unknown_and_too_many_taggers_are_left_out(opened, monkeypatch):
    asked = taggers.Taggers(opened)
    asked.choose(["none", "tagger_other", "tagger_other"])
    assert asked.names == ("tagger_other",)
    assert opened.wait(60)
    assert list(asked.comparison.taggrams) == ["tagger_other"]
    monkeypatch.setattr(taggers, "MOST_TAGGERS", 1)
    asked.choose(["tagger", "tagger_other"])
    assert asked.names == ("tagger",)
    asked.choose([])
    assert asked.comparison is None


def test_a_tagger_that_cannot_be_read_is_a_sentence(opened):
    asked = taggers.Taggers(opened)
    opened.files = opened.files | {"taggers": opened.files["taggers"] | {"broken": opened.folder / "none.keras"}}
    asked.choose(["broken"])
    assert opened.wait(60)
    assert opened.error == "The tagger broken cannot be read. Choose another one, or make it again."
    assert asked.comparison is None


def test_rows_of_the_player_align(opened):
    asked = taggers.Taggers(opened)
    asked.ask()
    opened.wait(60)
    made = taggers.rows(asked.comparison)
    assert len({len(part) for part in made.values()}) == 1
    headings = [k for k, scores in enumerate(made["scores"]) if not scores]
    assert [made["tags"][k] for k in headings] == ["tagger", "tagger_other"]
    first, second = made["tags"][1 : headings[1]], made["tags"][headings[1] + 1 :]
    assert first[:2] == second[:2], "shared tags have one order"
    assert (first[2:], second[2:]) == ([], []), "what one tagger alone knows is there if it is predicted"
    for where, scores in zip(made["edges"], made["scores"], strict=True):
        assert not scores or len(where) == len(scores) + 1
    low = made["tags"].index(LOW)
    middle = (np.array(made["edges"][low][1:]) + np.array(made["edges"][low][:-1])) / 2
    loud = np.array(made["scores"][low]) > 0.5
    assert middle[loud].min() >= 1
    assert middle[loud].max() <= 3
    asked.choose(["tagger"])
    opened.wait(60)
    assert taggers.rows(asked.comparison)["tags"] == ["tagger", *asked.comparison.own("tagger")]


def test_the_scores_of_a_song_as_a_table(opened):
    asked = taggers.Taggers(opened)
    asked.ask()
    opened.wait(60)
    table = taggers.score_table(asked.comparison)
    assert list(table.values) == ["tagger", "tagger_other", "largest difference"]
    assert table.values.at[LOW, "largest difference"] == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(table.values.at[NEVER, "tagger_other"])
    assert np.isnan(table.values.at[NEVER, "largest difference"]), "only one tagger knows it"
    assert table.marks.at[LOW, "tagger"]
    assert table.categories["drums"] == "instruments"


# --- The view ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def shown(opened):
    main = player.Player()
    main.song, main.spectrogram, main.duration = b"fLaC", b"png", 6.0
    view = tagger_view.TaggerView(opened, main, changed=lambda: view.update())
    view.update()
    assert opened.wait(60)
    view.update()
    return view


def test_a_song_that_is_new_is_put_to_the_taggers(shown):
    assert [name for name, chip in shown.chips.items() if chip.value] == ["tagger", "tagger_other"]
    assert shown.song.layout.display == ""
    assert shown.player.song == b"fLaC"
    assert shown.player.taggram["tags"][0] == "tagger"
    assert "Rank correlation" in shown.agreement.value
    assert "low &lt;b&gt;" in shown.scores.text.value
    assert "<b>" not in shown.scores.text.value


def test_chips_choose_taggers(shown, opened):
    shown.chips["tagger_other"].value = False
    assert opened.wait(60)
    shown.update()
    assert shown.taggers.names == ("tagger",)
    assert shown.agreement.value == ""
    shown.chips["tagger"].value = False
    assert "Choose at least one tagger" in shown.words.value
    assert shown.song.layout.display == "none"


def test_nothing_is_sent_again(shown):
    sent = []
    shown.player.observe(lambda change: sent.append(change["name"]))
    shown.scores.text.observe(lambda change: sent.append(change["name"]), "value")
    shown.update()
    assert sent == []


def test_the_table_is_sorted_and_filtered_by_boxes(shown):
    def names():
        return [part.split("</th>")[0] for part in shown.scores.text.value.split('<th scope="row">')[1:]]

    shown.scores.by.value = "tag"
    shown.scores.order.value = True
    assert names() == sorted(names(), key=str.lower)
    shown.scores.category.value = "instruments"
    assert names() == ["drums"]


def test_without_results_the_view_says_how_to_make_them(shown):
    said = [child.value for child in shown.page.children if isinstance(child, ipywidgets.HTML)]
    assert any("has no results of notebooks 03 and 15 yet" in text for text in said)
    assert shown.data not in shown.page.children


def test_results_of_the_profile_are_shown(opened, folder, monkeypatch):
    (folder / "tables").mkdir()
    table = folder / "tables" / "tagger_tags_roc_auc.csv"
    try:
        table.write_text("model,drums,fast\nfcn4,0.75,0.5\nse_cnn,0.5,0.875\n")
        view = tagger_view.TaggerView(opened, player.Player(), changed=lambda: None)
        assert view.data in view.page.children
        assert "0.875" in view.data.text.value
        view.data.category.value = "tempo"
        assert "drums" not in view.data.text.value
        table.write_text("")
        view._read()
        assert "cannot be read" in view.failed.value
        assert view.data.layout.display == "none"
    finally:
        table.unlink()
        (folder / "tables").rmdir()


def test_without_taggers_the_view_says_what_to_do(tmp_path):
    explorer = Explorer(tmp_path, files={"taggers": {}, "genres": {}, "mappings": {}})
    view = tagger_view.TaggerView(explorer, player.Player(), changed=lambda: None)
    view.update()
    assert "make demo" in view.words.value
    explorer.close()

"""The view of concepts without a browser: five panels of concepts whose truth is known."""

import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import soundfile
from PIL import Image
from support import concept_files, tones

from musictools.concepts import song_features, storing
from musictools.explorer import concepts, figures, view
from musictools.explorer.concept_view import ConceptView
from musictools.explorer.controller import Explorer
from musictools.explorer.work import ExplorerError

BIRDS, BASS = "birds 1", "bass & co 1"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return concept_files.songs(tmp_path_factory.mktemp("songs"))


@pytest.fixture(scope="module")
def profile(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("profile")
    concept_files.write(folder, data)
    return folder


def exploring(folder, data=None):
    return Explorer(folder, data=data, files={"taggers": {}, "genres": {}, "mappings": {}})


@pytest.fixture
def panels(profile, data, monkeypatch):
    measured = []

    def table(_, ids, **__):
        measured.extend(ids)
        values = {name: 0.25 for name in song_features.FEATURES} | {"tempo": 130.0, "source": "estimated"}
        return pd.DataFrame([values], index=ids)

    monkeypatch.setattr(song_features, "table", table)
    explorer = exploring(profile, data)
    one = concepts.ConceptPanels(explorer)
    one.measured = measured
    yield one
    explorer.close()


class TestOutline:
    @pytest.mark.parametrize("seed", range(6))
    def test_it_encloses_the_cells_of_the_patch_and_no_others(self, seed):
        mask = np.random.default_rng(seed).random((7, 9)) < 0.5
        loops = []
        for part in concepts.outline(mask).split("Z")[:-1]:
            place, corners = [0.0, 0.0], []
            for letter, numbers in re.findall(r"([MHV])([^MHV]*)", part):
                values = [float(v) for v in numbers.split()]
                place = values if letter == "M" else [values[0], place[1]] if letter == "H" else [place[0], values[0]]
                corners.append(place)
            loops.append([*corners, corners[0]])

        def inside(row, column):  # crossings of a ray to the right
            edges = [pair for loop in loops for pair in zip(loop[:-1], loop[1:], strict=True)]
            return sum(
                (a[1] > row) != (b[1] > row) and a[0] > column for a, b in edges
            ) % 2  # all edges are horizontal or vertical  # fmt: skip

        drawn = [[inside(r + 0.5, c + 0.5) for c in range(9)] for r in range(7)]
        np.testing.assert_array_equal(np.array(drawn)[::-1], mask)

    def test_straight_lines_have_two_ends(self):
        mask = np.zeros((5, 8), bool)
        mask[1:4, 2:7] = True
        assert concepts.outline(mask) == "M2 1H7V4H2Z"


def test_saved_inputs_are_rounded_to_256_steps(tmp_path, data):
    made, x = concept_files.made(data)
    x = x * 1.2 - 0.1
    path = storing.save(tmp_path / "concepts.npz", made, x=x)
    np.testing.assert_allclose(storing.load_inputs(path), np.clip(x[..., 0], 0, 1), atol=0.5 / 255 + 1e-6)
    assert storing.load_inputs(storing.save(tmp_path / "without.npz", made)) is None


class TestAdvice:
    def test_without_notebook_13(self, tmp_path):
        one = concepts.ConceptPanels(exploring(tmp_path / "demo"))
        assert one.advice == (
            "The profile demo has no concepts yet. Make them: musictools rebuild --profile demo --only 13"
        )

    def test_what_cannot_be_shown(self, tmp_path, data):
        concept_files.write(tmp_path, data, x=None)
        assert "saved without pictures. Run notebook 13 again." in concepts.ConceptPanels(exploring(tmp_path)).advice
        (tmp_path / concepts.FILE).write_bytes(b"PK no zip")
        assert "cannot be read. Run notebook 13 again." in concepts.ConceptPanels(exploring(tmp_path)).advice

    def test_concepts_that_come_later_are_found(self, tmp_path, data):
        one = concepts.ConceptPanels(exploring(tmp_path))
        assert one.advice
        concept_files.write(tmp_path, data)
        one.look()
        assert not one.advice
        assert len(one.table) == 6


class TestAllConcepts:
    def test_points_have_the_most_similar_concepts(self, panels):
        names = [point["name"] for point in panels.points]
        assert names == list(panels.table.index[:5]), "the last one has no CAV"
        assert panels.hidden == 1
        vectors = panels.concepts.vectors[:5]
        for k, point in enumerate(panels.points):
            cosines = {other: vectors[k] @ vectors[other] for other in range(5) if other != k}
            assert point["like"] == sorted(cosines, key=cosines.get, reverse=True)
            assert all(0 <= point[axis] <= 1 for axis in ("x", "y", "cx", "cy"))
        assert [point["sure"] for point in panels.points] == [True, True, False, True, True]
        assert [point["flagged"] for point in panels.points] == [False, False, False, True, False]
        assert {group["name"] for group in panels.groups} == set(concept_files.NAMES)

    def test_facts_are_sentences(self, panels):
        assert panels.facts(BIRDS)[:3] == [
            "4 patches in 2 of 2 birds songs. The most similar clusters of other seeds overlap with it by 0.75 "
            "(Jaccard index).",
            "It raises the score of birds (sensitivity 0.200, q = 0.001; TCAV score 0.90).",
            "Its patches differ most from others of the genre in this: stem <b>0 (AUC 0.80, interval 0.70 to 0.90).",
        ]
        assert panels.facts("birds 2")[1].startswith("It lowers the score of birds (sensitivity -0.100")
        assert panels.facts("birds 2")[2].startswith("No musical property")
        assert panels.facts("birds 3")[1].startswith("Its effect is no larger than that of random patches")
        assert panels.facts("birds 3")[2].startswith("No musical property"), "the interval reaches 0.4"
        assert "Flagged as a likely artefact: few clips." in panels.facts(BASS)
        untested = panels.facts("bass & co 3")
        assert untested[1].startswith("Its patches cannot be told from random ones")
        assert len(untested) == 3, "without a CAV nothing is similar"


class TestChosen:
    def test_two_concepts_side_by_side(self, panels):
        told = []
        panels.changed = lambda: told.append(panels.chosen)
        panels.choose(BIRDS, slot=1)  # there is no first one yet
        panels.choose(BASS, slot=1)
        assert panels.chosen == (BIRDS, BASS)
        assert panels.songs == (0, 2)
        panels.choose("birds 2", slot=5)
        panels.choose("nothing of this name")
        assert panels.chosen == (BIRDS, "birds 2")
        panels.choose("birds 3")
        assert panels.chosen == ("birds 3", "birds 2")
        panels.drop()
        assert (panels.chosen, panels.songs) == (("birds 3",), (0,))
        assert len(told) == 5

    def test_the_song_is_one_of_the_genre(self, panels):
        panels.choose(BIRDS)
        for song, slot in ((1, 0), (2, 0), (1, 1)):  # 2 is of the other genre, and there is no second concept
            panels.choose_song(song, slot=slot)
        assert panels.songs == (1,)

    def test_features_are_measured_once(self, panels):
        panels.choose(BIRDS)
        panels.choose("birds 2", slot=1)
        assert panels.explorer.wait(30)
        panels.choose(BIRDS)
        assert panels.explorer.wait(30)
        assert sorted(panels.measured) == sorted(panels.concepts.groups[:2].tolist())
        assert panels.features[0] == dict.fromkeys(song_features.FEATURES, 0.25) | {
            "tempo": 0.5, "tempo_bpm": 130.0, "source": "estimated",
        }  # fmt: skip

    def test_songs_that_cannot_be_measured_are_said_to_be(self, panels, monkeypatch):
        empty = pd.DataFrame([{"source": ""}])
        monkeypatch.setattr(song_features, "table", lambda *_, **__: empty)
        panels.choose(BIRDS)
        assert panels.explorer.wait(30)
        assert panels.features[0] == {"source": "not measurable"}


class TestPatches:
    def test_they_begin_with_the_nearest_and_know_their_place(self, panels):
        patches = panels.patches(BIRDS)
        assert [patch["index"] for patch in patches] == panels.concepts.members(BIRDS).tolist()
        first = patches[0]
        assert first["box"] == [0, 0, 0.5, 0.25]
        assert first["path"] == "M0 24H64V32H0Z"
        frequencies = tones.MEL.frequencies()
        start = 32 * 256 / 16000
        assert first["where"] == f"{start:.1f}–{start + 64 * 0.016:.1f} s, {frequencies[0]:.0f}–{frequencies[7]:.0f} Hz"
        assert "song 0 <i>" in first["title"]

    def test_within_a_song_the_chosen_concept_comes_first(self, panels):
        shown = panels.within("birds 3", 0)
        assert [one["name"] for one in shown] == ["birds 3"] * 2 + ["birds 1"] * 2 + ["birds 2"] * 2
        assert [one["raises"] for one in shown[::2]] == [True, True, False]
        assert [one["chosen"] for one in shown[::2]] == [True, False, False]
        assert (shown[0]["x"], shown[0]["y"]) == (0.25, 20 / 32)
        stitched = panels.stitched("birds 3", 0)
        np.testing.assert_array_equal(stitched.all(axis=1), np.arange(32) < 24)

    def test_patches_under_others_and_unused_concepts_are_left_out(self, panels):
        assert {one["name"] for one in panels.within(BIRDS, 0)} == {"birds 1", "birds 2"}, "birds 3 is not used"
        panels.concepts.patches.label[1] = 0  # the same cells as those of the first patch
        assert [one["index"] for one in panels.within(BIRDS, 0)] == [0, 2, 3]

    def test_the_picture_is_grey_where_no_concept_is(self, panels):
        x, inside = panels.input(0), np.zeros((32, 128), bool)
        inside[:8] = True
        pixels = np.asarray(Image.open(io.BytesIO(concepts.picture(x, inside)))).astype(int)
        assert pixels.shape == (32, 128, 3)
        assert (np.ptp(pixels[:24], axis=2) == 0).all()
        assert (np.ptp(pixels[24:], axis=2) > 0).any(), "low frequencies lie at the bottom"


class TestSounds:
    def test_an_excerpt_is_the_part_of_the_song(self, panels, data):
        y, sr = soundfile.read(io.BytesIO(panels.sound("song", 0)))
        whole, _ = data.audio(panels.concepts.groups[0].item(), sr=tones.SR)
        start = 32 * 256
        assert sr == tones.SR
        np.testing.assert_allclose(y, whole[start : start + 128 * 256], atol=1e-3)

    def test_only_the_cells_of_a_patch_are_heard(self, panels):
        def level(y, hz):
            spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
            return spectrum[np.abs(np.fft.rfftfreq(len(y), 1 / tones.SR) - hz) < 30].max()

        frequencies = tones.MEL.frequencies()
        band = int(np.abs(frequencies - 440).argmin()) // 8
        late = 2 * band + 1  # second half of the excerpt of song 0: 1.5 to 2.5 s
        low, _ = soundfile.read(io.BytesIO(panels.sound("patch", late)))
        whole, _ = soundfile.read(io.BytesIO(panels.sound("song", 0)))
        assert len(low) == pytest.approx(65 * 256, abs=256)
        assert level(low, 440) > 0.5 * level(whole[-len(low) :], 440)
        high = int(np.abs(frequencies - 3000).argmin()) // 8
        other, _ = soundfile.read(io.BytesIO(panels.sound("patch", 2 * high + 1)))
        assert level(other, 440) < 0.05 * level(low, 440)

    def test_why_nothing_can_be_heard(self, profile, data, tmp_path, panels):
        assert concepts.ConceptPanels(exploring(profile)).silence.startswith("The data set's sounds are not here")
        about = pd.DataFrame([{"data": "folder", "checksum": "another", "front_end": tones.MEL.to_json()}])
        concept_files.write(tmp_path, data, about=about)
        other = concepts.ConceptPanels(exploring(tmp_path, data))
        with pytest.raises(ExplorerError, match="found in another data set"):
            other.sound("song", 0)
        other.choose(BIRDS)
        assert not other.explorer.busy, "nothing can be measured"
        panels._clips["start"] = 10_000
        with pytest.raises(ExplorerError, match="shorter than its spectrogram"):
            panels.sound("song", 0)


class TestView:
    @pytest.fixture
    def shown(self, panels):
        one = ConceptView(panels.explorer)
        one.sent = []
        one.shown.send = lambda message, buffers=(): one.sent.append((message, list(buffers)))
        panels.explorer.listeners.append(one.update)
        one.update()
        return one

    def test_messages_of_the_browser(self, shown):
        assert [point["name"] for point in shown.shown.points][0] == BIRDS
        shown.receive({"kind": "choose", "name": BIRDS, "slot": 0})
        shown.receive({"kind": "choose", "name": BASS, "slot": 1})
        assert shown.shown.chosen == [BIRDS, BASS]
        first = shown.shown.details[0]
        assert len(first["patches"]) == 4
        assert {one["song"] for one in first["pictures"]} == {0, 1}
        assert all(one["data"][:4] == b"\x89PNG" for one in first["pictures"])
        assert [one["song"] for one in first["choices"]] == [0, 1]
        shown.receive({"kind": "song", "song": 1, "slot": 0})
        assert shown.shown.details[0]["song"] == 1
        assert shown.panels.explorer.wait(30)
        assert set(shown.shown.features) == {"0", "1", "2", "3"}
        kept = shown.shown.details
        shown.update()
        assert shown.shown.details is kept, "what is unchanged is not sent again"
        shown.receive({"kind": "drop"})
        assert shown.shown.chosen == [BIRDS]

    def test_sounds_are_sent_when_they_are_asked_for(self, shown):
        shown.receive({"kind": "sound", "what": "patch", "number": 1})
        message, (content,) = shown.sent.pop()
        assert message == {"kind": "sound", "what": "patch", "number": 1}
        assert content[:4] == b"fLaC"
        shown.panels.silence = "No sound."
        shown.receive({"kind": "sound", "what": "song", "number": 0})
        assert shown.sent.pop() == ({"kind": "sound", "what": "song", "number": 0, "error": "No sound."}, [])

    def test_a_sentence_where_there_are_no_concepts(self, tmp_path):
        one = ConceptView(exploring(tmp_path / "<b>"))
        one.update()
        assert "has no concepts yet" in one.status.value
        assert "<b>" not in one.status.value
        assert one.shown.layout.display == "none"
        one.receive({"kind": "choose", "name": BIRDS})
        assert one.shown.chosen == []

    def test_it_is_a_view_of_the_page(self, panels):
        page = view.show(panels.explorer)
        page.views.value = "concepts"
        one = page._others["concepts"]
        assert one.shown.points
        assert page.result.layout.display == page.choices.layout.display == "none"
        assert page.status.value == ""
        one.receive({"kind": "choose", "name": BIRDS, "slot": 0})
        assert panels.explorer.wait(30)
        assert set(one.shown.features) == {"0", "1"}, "they come from the page's listener"
        page.views.value = "why"
        assert one.page.layout.display == "none"


def test_pictures_for_a_notebook(panels):
    panels.choose(BIRDS)
    assert panels.explorer.wait(30)
    above, below = figures.concepts(panels), figures.concept(panels)
    for fig in (above, below):
        fig.canvas.draw()
    titles = [ax.get_title() for ax in above.axes]
    assert titles[0] == "1 · Concepts by genre"
    texts = [text.get_text() for text in below.findobj(plt.Text)]
    assert sum(text == "acousticness" for text in texts) == 2, "a chart for each song"
    assert any("estimated, 130 bpm" in text for text in texts)
    assert any(text.startswith("Concepts within birds song 0 <i>") for text in texts)
    assert any(text.strip() == "birds 2" for text in texts)
    plt.close("all")

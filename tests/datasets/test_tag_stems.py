"""The composed corpus knows which stems carry a tag."""

import numpy as np
import pytest

from musictools import datasets
from musictools.datasets import composed
from musictools.datasets.composed import annotating

MELODIC = ("guitar", "piano", "violin", "cello", "flute", "bass", "synth", "sitar", "organ", "harp", "sax")


@pytest.fixture(scope="module")
def plans():
    return composed.plan(400)[::7]


@pytest.fixture(scope="module")
def clips(plans):
    return [(plan, composed.truth(plan)) for plan in plans]


def named(plan, tag):
    """Stems by their General MIDI instrument's concepts, read from the table."""
    from musictools.datasets.composed.instruments import INSTRUMENTS

    return [name for name, stem in composed.compose(plan).stems.items()
            if not stem.is_drum and tag in INSTRUMENTS[stem.program].concepts]  # fmt: skip


def test_instruments_carry_their_tags(clips):
    carried = 0
    for plan, truth in clips[::2]:
        for tag in MELODIC:
            stems = composed.tag_stems(plan, tag)
            assert stems == named(plan, tag)
            assert bool(stems) == (tag in truth["concepts"])
            carried += bool(stems)
        guitars = composed.tag_stems(plan, "guitar")
        assert guitars == [name for name in truth["instruments"] if name.endswith("guitar")]
    assert carried > 40


def test_drums_and_voices_carry_theirs(clips):
    carried = set()
    for plan, truth in clips:
        names = truth["instruments"]
        assert composed.tag_stems(plan, "drums") == [name for name in names if name in ("drums", "hand drums")]
        for tag, stem in (("female", "female voice"), ("male vocals", "male voice")):
            assert composed.tag_stems(plan, tag) == [name for name in names if name == stem]
            carried |= {tag} if stem in names else set()
        sung = composed.tag_stems(plan, "vocals")
        assert set(sung) >= {name for name in names if name in ("female voice", "male voice", "choir", "oohs")}
        assert bool(sung) == ("vocals" in truth["concepts"])
        assert "choir pad" not in sung
        if bongos := composed.tag_stems(plan, "bongos"):
            pitches = np.concatenate([composed.compose(plan).stems[name].notes[:, 2] for name in bongos])
            assert set(pitches.astype(int)) & {60, 61, 62, 63}
            carried.add("bongos")
    assert carried == {"female", "male vocals", "bongos"}


def test_all_spellings_mean_the_same_stems(clips):
    for plan, truth in clips[:10]:
        for concept in truth["concepts"]:
            answers = [composed.tag_stems(plan, tag) for tag in composed.CONCEPTS[concept][0]]
            assert all(answer == answers[0] for answer in answers)
            assert bool(answers[0]) == (concept in annotating.CARRIED)


@pytest.mark.parametrize("tag", ["slow", "fast", "no vocals", "loud", "beat", "ambient", "rock", "funky", "solo"])
def test_tags_of_the_whole_belong_to_no_stem(clips, tag):
    assert any(tag in truth["tags"] for _, truth in clips)
    assert all(composed.tag_stems(plan, tag) == [] for plan, _ in clips)


def test_a_tag_that_is_not_true_has_no_stems(clips):
    alone = [plan for plan, truth in clips if truth["instruments"] != ["piano"]]
    assert any("piano" in composed.truth(plan)["instruments"] for plan in alone)
    assert all(composed.tag_stems(plan, "piano solo") == [] for plan in alone)


def test_a_data_set_answers_by_clip(tmp_path):
    data = datasets.load("composed", data_dir=tmp_path / "corpus", n_clips=2, workers=1)
    for clip_id in data.tracks.index:
        rendered = set(data.stems(clip_id)[0])
        for tag in data.descriptors:
            stems = data.tag_stems(clip_id, tag)
            assert set(stems) <= rendered
            assert not stems or data.complete_descriptors.at[clip_id, tag]
    with pytest.raises(ValueError, match=r"tag must be one of MagnaTagATune's 188 tags\. Got 'guitarr'\."):
        data.tag_stems(clip_id, "guitarr")
    with pytest.raises(ValueError, match=r"composed has no clip 99"):
        data.tag_stems(99, "guitar")

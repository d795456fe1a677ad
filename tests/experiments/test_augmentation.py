"""Deformed copies of training clips: what is drawn, the store of copies, a training that uses them."""

import numpy as np
import pandas as pd
import pytest

from musictools import audio, datasets
from musictools.experiments import augmentation, jobs, taggers
from musictools.experiments.augmentation import FAMILIES, Augmentation
from musictools.spectrograms import FrontEnd, Segments, open_store

SR = 16000
FRONT_END = FrontEnd(SR, 512, 256, 32)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    """Six tones of 1.5 s over noise, some with the tag "loud"."""
    folder = tmp_path_factory.mktemp("songs")
    ids = [3, 5, 8, 13, 21, 34]
    t, rng = np.arange(round(1.5 * SR)) / SR, np.random.default_rng(0)
    for clip in ids:
        y = 0.3 * np.sin(2 * np.pi * 30 * clip * t) + 0.01 * rng.standard_normal(t.size)
        audio.write(folder / f"{clip}.wav", y, sr=SR)
    tracks = pd.DataFrame({"artist": list("aabbcc"), "album": "", "title": "", "path": [f"{i}.wav" for i in ids]}, ids)
    tags = pd.DataFrame({"loud": [True, False] * 3, "slow": [True, True, False] * 2}, ids)
    data = datasets.Dataset(folder, tracks=tracks, tags=tags, genres=tags[[]], descriptors=tags)
    data.name = "tones"
    return data


@pytest.fixture(scope="module")
def store(songs, tmp_path_factory):
    return open_store(songs, FRONT_END, folder=tmp_path_factory.mktemp("spectrograms"), workers=1)


def kinds_of(family):
    return set(FAMILIES[family])


def test_what_is_drawn_lies_in_the_ranges_and_in_their_order():
    drawn = [Augmentation(most=3).draw(clip, copy) for clip in range(150) for copy in (1, 2)]
    order = {kind: place for place, kinds in enumerate(FAMILIES.values()) for kind in kinds}
    ranges = {kind: ends for kinds in FAMILIES.values() for kind, ends in kinds.items()}
    for deformations in drawn:
        places = [order[kind] for kind, _ in deformations]
        assert 1 <= len(places) <= 3
        assert places == sorted(set(places))  # one of a family at most
        assert all(ranges[kind][0] <= amount <= ranges[kind][1] for kind, amount in deformations)
    assert {len(deformations) for deformations in drawn} == {1, 2, 3}
    assert {kind for deformations in drawn for kind, _ in deformations} == set(ranges)
    assert set(ranges) <= set(audio.deformations.KINDS)


def test_amounts_lie_evenly_on_their_scale():
    drawn = [pair for clip in range(1500) for pair in Augmentation(most=6).draw(clip, 1)]
    stretch = np.log2([amount for kind, amount in drawn if kind == "time_stretch"])
    shift = np.array([amount for kind, amount in drawn if kind == "pitch_shift"])
    assert abs(stretch.mean()) < 0.03
    assert stretch.std() == pytest.approx(0.5 / 12**0.5, rel=0.1)
    assert abs(shift.mean()) < 0.2
    assert shift.std() == pytest.approx(4 / 12**0.5, rel=0.1)


def test_a_copy_follows_from_seed_clip_and_number():
    one = Augmentation()
    assert one.draw(17, 1) == one.draw(np.int64(17), 1)
    others = {one.draw(17, 2), one.draw(18, 1), Augmentation(seed=1).draw(17, 1)}
    assert one.draw(17, 1) not in others
    assert len(others) == 3
    y = np.random.default_rng(0).standard_normal(SR).astype(np.float32) / 8
    clip = next(c for c in range(99) if {"noise", "room"} & {kind for kind, _ in one.draw(c, 1)})
    np.testing.assert_array_equal(one.apply(y, SR, clip, 1), one.apply(y, SR, clip, 1))


def test_deformations_follow_each_other():
    y = np.sin(np.arange(SR) / 5).astype(np.float32) / 2
    one = Augmentation(most=2)
    clip = next(c for c in range(99) if [k for k, _ in one.draw(c, 1)] == ["compress", "low_pass"])
    expected = y
    for kind, amount in one.draw(clip, 1):
        expected = audio.deform(expected, sr=SR, kind=kind, amount=amount)
    np.testing.assert_array_equal(one.apply(y, SR, clip, 1), expected)
    assert np.abs(expected - y).max() > 1e-3


def test_slower_copies_are_cut_and_faster_ones_shorter():
    y, one = np.random.default_rng(0).standard_normal(2 * SR).astype(np.float32) / 8, Augmentation(most=1)
    stretched = {c: one.draw(c, 1)[0][1] for c in range(99) if one.draw(c, 1)[0][0] == "time_stretch"}
    slow, fast = min(stretched, key=stretched.get), max(stretched, key=stretched.get)
    assert len(one.apply(y, SR, slow, 1)) == len(y)
    assert len(one.apply(y, SR, fast, 1)) == round(len(y) / stretched[fast]) < len(y)


def test_most_is_a_number_of_families():
    for most in (0, 7):
        with pytest.raises(ValueError, match=f"most must lie between 1 and 6. Got {most}"):
            Augmentation(most=most)


def test_copies_have_the_rows_of_their_clips():
    labels = pd.DataFrame({"loud": [True, False], "slow": [False, False]}, index=[3, 5])
    table = augmentation.with_copies(labels, [5, 3], copies=2)
    assert list(table.index) == [3, 5, "5+1", "3+1", "5+2", "3+2"]
    assert table["loud"].tolist() == [True, False, False, True, False, True]
    assert table.dtypes.eq(bool).all()
    pd.testing.assert_frame_equal(augmentation.with_copies(labels, [3], copies=0), labels)


def test_the_store_holds_clips_as_they_are_and_deformed_copies(songs, store, tmp_path):
    both = augmentation.deformed_copies(songs, store, [3, 8], copies=2, folder=tmp_path, workers=1)
    assert both.ids == [*store.ids, "3+1", "8+1", "3+2", "8+2"]
    assert (len(both), both.front_end, both.n_bins) == (10, FRONT_END, 32)
    np.testing.assert_array_equal(both.raw(5), store.raw(5))
    y = Augmentation().apply(songs.audio(8, sr=SR)[0], SR, 8, 2)
    expected = FRONT_END.scale(FRONT_END.compute(y))
    assert both.n_frames("8+2") == expected.shape[1]
    np.testing.assert_allclose(both.scale(both.raw("8+2")), expected, atol=0.5 / 255 + 1e-6)
    np.testing.assert_array_equal(both[5], store[5])
    np.testing.assert_allclose(both["8+2"], np.clip(FRONT_END.compute(y), -80, 40), atol=0.24)
    assert both.n_frames(3) == store.n_frames(3)
    segments = Segments(both, ["8+2", 5], length=20, step=20)
    np.testing.assert_allclose(segments[0:1][0, ..., 0], expected[:, :20], atol=0.5 / 255 + 1e-6)
    with pytest.raises(KeyError, match="'8\\+3' is no clip of this store"):
        both.raw("8+3")


def test_copies_are_made_once(songs, store, tmp_path, monkeypatch):
    first = augmentation.deformed_copies(songs, store, [3, 8], copies=1, folder=tmp_path, workers=1)
    (first.folder / "8+1.npy").unlink()
    asked = []
    monkeypatch.setattr(
        songs, "audio", lambda clip, sr: asked.append(clip) or datasets.Dataset.audio(songs, clip, sr=sr)
    )
    again = augmentation.deformed_copies(songs, store, [3, 8], copies=1, folder=tmp_path, workers=1)
    assert asked == [8]
    assert again.checksum == first.checksum
    assert (again.token, again.checksum) != (store.token, store.checksum)
    stronger = Augmentation(seed=1)
    other = augmentation.deformed_copies(songs, store, [3], copies=1, folder=tmp_path, augmentation=stronger, workers=1)
    assert asked == [8, 3]
    assert other.folder != first.folder
    assert other.token != first.token


def test_a_tagger_learns_from_clips_and_copies(songs, store, tmp_path):
    both = augmentation.deformed_copies(songs, store, [3, 5, 8], copies=1, folder=tmp_path, workers=1)
    split = pd.Series(["train"] * 3 + ["validation", "test", "hold_out"], store.ids)
    tables = [augmentation.with_copies(table, [3, 5, 8], copies=1) for table in (songs.tags, split)]
    job = taggers.grid(models=["vgg_cnn"], n_tags=[2], labels=["complete"])
    task = taggers.tasks(job, {"vgg_cnn": both}, {"complete": tables[0]}, tables[1], width=0.02, epochs=1,
                         overrides={"per_clip": 1})[0]  # fmt: skip
    shorter = {"length": 64, "step": 32, "clip_step": 32}  # the tones are shorter than this network's inputs
    task = jobs.Task(**{name: getattr(task, name) for name in task.__dataclass_fields__} | shorter)
    result = jobs.run([task], folder=None, workers=1)[0]
    frames = [both.n_frames(i) for i in tables[1].index[tables[1] == "train"]]
    assert result.train_segments == sum((n - 64) // 32 + 1 for n in frames)
    assert set(result.clip["hold_out"]) == {34}
    assert np.isfinite(result.scores["hold_out"]).all()

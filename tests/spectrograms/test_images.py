"""Spectrograms as images: resizing against Pillow, the front end of `sharma2022`, bands of silence, training data."""

import dataclasses

import numpy as np
import pytest
import soundfile
from PIL import Image

from musictools import models
from musictools.spectrograms import SHARMA2022, BandedImages, FrontEnd, Segments, SpectrogramStore, add_bands, images

IMAGE = models.describe("resnet34").front_end
SMALL = FrontEnd(8000, 256, 128, 20, kind="image", image=(32, 24), seconds=2)


@pytest.mark.parametrize(("shape", "wanted"), [((128, 2584), (224, 224)), ((7, 5), (3, 11)), ((4, 9), (4, 9))])
def test_resizing_is_that_of_pillow(shape, wanted):
    S = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    pillow = np.asarray(Image.fromarray(S).resize(wanted[::-1], Image.Resampling.BILINEAR))
    np.testing.assert_allclose(images.resize(S, wanted), pillow, atol=1e-5)


def test_resizing_keeps_constants_and_the_mean():
    assert np.ptp(images.resize(np.full((128, 2584), 3.0), (224, 224))) < 1e-5
    S = np.random.default_rng(0).normal(size=(64, 640))
    np.testing.assert_allclose(images.resize(S, (32, 32)).mean(), S.mean(), atol=0.01)
    with pytest.raises(ValueError, match=r"S must have shape \(n_bins, n_frames\). Got \(3,\)"):
        images.resize(np.zeros(3), (2, 2))


def test_the_image_of_the_source():
    assert (IMAGE.sr, IMAGE.n_fft, IMAGE.hop_length, IMAGE.n_mels) == (44100, 1024, 512, 128)
    assert dataclasses.replace(IMAGE, kind="mel", image=None, seconds=None) == SHARMA2022
    assert models.describe("resnet34").input.shape == (224, 224, 1)
    assert FrontEnd.from_json(IMAGE.to_json()) == IMAGE
    assert IMAGE.frame_seconds == pytest.approx(30 / 224)
    assert SHARMA2022.frame_seconds == 512 / 44100
    y = 0.1 * np.random.default_rng(0).standard_normal(44100 * 30).astype(np.float32)
    S = IMAGE.compute(y)
    assert S.shape == (IMAGE.n_bins, IMAGE.n_frames(len(y))) == (224, 224)
    np.testing.assert_allclose(S, images.resize(SHARMA2022.compute(y), (224, 224)), atol=1e-4)


def test_clips_are_padded_with_silence_or_cut_to_30_seconds():
    y = 0.1 * np.random.default_rng(0).standard_normal(5 * 8000).astype(np.float32)
    np.testing.assert_array_equal(SMALL.compute(y), SMALL.compute(y[:16000]))
    short = SMALL.scale(SMALL.compute(y[:8000]))
    assert short[:, :11].min() > 0.1
    assert not short[:, 14:].any()  # silence is black
    assert SMALL.n_frames(1) == SMALL.n_frames(10**6) == 24


@pytest.mark.parametrize("hertz", [200, 1000, 3000])
def test_a_tone_is_where_its_row_and_column_say(hertz):
    t = np.arange(16000) / 8000
    S = SMALL.compute(0.5 * np.sin(2 * np.pi * hertz * t) * (t >= 1))
    row, column = np.unravel_index(S.argmax(), S.shape)
    frequencies = SMALL.frequencies()
    assert frequencies.shape == (32,)
    assert (np.diff(frequencies) > 0).all()
    assert abs(np.argmin(np.abs(frequencies - hertz)) - row) <= 1
    assert 1 <= (column + 0.5) * SMALL.frame_seconds <= 2
    assert S[row, :10].max() < S.max() - 40


def test_stores_keep_images(tmp_path):
    y = 0.1 * np.random.default_rng(0).standard_normal(3 * 8000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", y, 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "b.wav", y[:4000], 8000, subtype="FLOAT")
    paths = {name: tmp_path / f"{name}.wav" for name in "ab"}
    store = SpectrogramStore.build(tmp_path / "store.zarr", paths, front_end=SMALL, seconds=3, workers=1)
    x = Segments(store, ["a", "b"], length=24, step=24)
    assert x.shape == (2, 32, 24, 1)
    assert x.short == []
    np.testing.assert_allclose(x[0][..., 0], SMALL.scale(SMALL.compute(y)), atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"image": None}, "image must be two positive int, rows and columns. Got None"),
        ({"image": (0, 3)}, r"image must be two positive int, rows and columns. Got \(0, 3\)"),
        ({"image": (3, 3, 3)}, "image must be two positive int"),
        ({"seconds": None}, "seconds must be positive. Got None"),
        ({"seconds": 0.0}, "seconds must be positive. Got 0.0"),
        ({"kind": "mel"}, "Only the kind 'image' has image and seconds. Got 'mel'"),
    ],
)
def test_settings_of_images_are_checked(change, match):
    settings = {"kind": "image", "image": (8, 8), "seconds": 1} | change
    with pytest.raises(ValueError, match=match):
        FrontEnd(8000, 256, 128, 20, **settings)
    with pytest.raises(ValueError, match="kind 'mel' has mel bands. Got 'image'"):
        SMALL.mel_weights()


# --- bands ----------------------------------------------------------------------------------------------------------


def runs(mask):
    """Lengths of the runs of True."""
    edges = np.flatnonzero(np.diff(np.r_[0, mask.astype(int), 0]))
    return list(edges[1::2] - edges[::2])


def test_bands_are_one_horizontal_one_vertical_and_both():
    x = np.random.default_rng(0).uniform(0.1, 1, (60, 40, 50, 1)).astype(np.float32)
    four = add_bands(x, seed=3).reshape(60, 4, 40, 50)
    np.testing.assert_array_equal(four[:, 0], x[..., 0])
    silent = four == 0
    assert (silent | (four == x[:, None, :, :, 0])).all()  # nothing else is changed
    rows, columns = silent.all(axis=3), silent.all(axis=2)
    assert not columns[:, 1].any()
    assert not rows[:, 2].any()
    np.testing.assert_array_equal(silent, rows[..., None] | columns[..., None, :])
    for version, (high, wide) in enumerate([(False, False), (True, False), (False, True), (True, True)]):
        for has, lines, most in ((high, rows[:, version], 4), (wide, columns[:, version], 5)):
            lengths = [runs(line) for line in lines]
            assert all(len(found) == has for found in lengths)
            if has:
                thickness = np.concatenate(lengths)
                assert (thickness.min(), thickness.max()) == (1, most)  # at most 10 % of 40 rows and 50 columns
    assert rows[:, 1].any(axis=0).mean() > 0.9  # everywhere


def test_bands_follow_from_the_seed_and_leave_the_images_alone():
    x = np.ones((2, 20, 20, 1), np.float32)
    np.testing.assert_array_equal(add_bands(x, seed=1), add_bands(x, seed=1))
    assert not np.array_equal(add_bands(x, seed=1), add_bands(x, seed=2))
    assert x.all()
    with pytest.raises(ValueError, match=r"x must have shape \(n, rows, columns, 1\). Got \(2, 20, 20\)"):
        add_bands(x[..., 0])
    with pytest.raises(ValueError, match=r"largest must lie in \(0, 1\]. Got 0"):
        add_bands(x, largest=0)


def test_a_batch_holds_four_songs_with_their_four_versions():
    x = BandedImages(np.random.default_rng(0).uniform(0.1, 1, (10, 20, 30, 1)).astype(np.float32))
    assert (len(x), x.shape) == (40, (40, 20, 30, 1))
    order = x.order(np.random.default_rng(1))
    assert sorted(order) == list(range(40))
    for batch in (order[:16], order[16:32]):
        songs = batch // 4
        assert len(set(songs)) == 4
        assert all((songs == song).sum() == 4 for song in songs)
        assert list(songs) != sorted(songs)
    first = x[order[:16]]
    np.testing.assert_array_equal(first[:, ..., 0].min(axis=(1, 2)) > 0, order[:16] % 4 == 0)
    np.testing.assert_array_equal(x[order[3:5]], first[3:5])  # within an epoch bands stay
    x.order(np.random.default_rng(2))
    assert not np.array_equal(x[order[:16]], first)
    x.order(np.random.default_rng(1))
    np.testing.assert_array_equal(x[order[:16]], first)  # as a resumed training draws them


def test_banded_images_check_their_arguments():
    x = np.zeros((4, 8, 8, 1))
    with pytest.raises(ValueError, match="songs must be a positive int. Got 0"):
        BandedImages(x, songs=0)
    with pytest.raises(ValueError, match=r"largest must lie in \(0, 1\]. Got 2"):
        BandedImages(x, largest=2)
    with pytest.raises(ValueError, match="per_clip must be 0 for images of whole songs. Got 2"):
        BandedImages(x).order(np.random.default_rng(0), per_clip=2)

"""Heatmaps drawn, masks, sounds from masks, and the closed loop: planted tones, librosa, and sums by hand."""

import librosa
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PolyCollection

from musictools import models, plots
from musictools.explain.application import evidence
from musictools.spectrograms import SHARMA2022, FrontEnd

SR = 16000
FRONT_ENDS = {name: models.describe(name).front_end for name in models.names()} | {"sharma2022": SHARMA2022}
MEL = FRONT_ENDS["short_chunk"]
WAVE = FRONT_ENDS["sample_cnn"]
SPECTRAL = {name: f for name, f in FRONT_ENDS.items() if f.kind == "mel"} | {
    "stft": FrontEnd(SR, 1024, 512, 1, "stft"),
    "odd": FrontEnd(SR, 510, 200, 40),
}


def noise(seconds, *, seed=0, sr=SR):
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * sr)).astype(np.float32)


def tone(hz, start, end, *, seconds=3.0):
    time = np.arange(round(SR * seconds)) / SR
    return (0.3 * np.sin(2 * np.pi * hz * time) * ((time >= start) & (time < end))).astype(np.float32)


def power(y, hz, start, end):
    """Power in dB of a band of 200 Hz around `hz` between two times."""
    part = y[round(start * SR) : round(end * SR)] * np.hanning(round(end * SR) - round(start * SR))
    spectrum, frequencies = np.abs(np.fft.rfft(part)) ** 2, np.fft.rfftfreq(len(part), 1 / SR)
    return 10 * np.log10(spectrum[np.abs(frequencies - hz) < 100].sum() + 1e-20)


# --- Spreading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n, f in SPECTRAL.items() if f.kind == "mel"])
def test_a_mask_is_spread_by_the_mel_weights(name):
    front_end = SPECTRAL[name]
    weights = librosa.filters.mel(sr=front_end.sr, n_fft=front_end.n_fft, n_mels=front_end.n_mels)
    mask = np.random.default_rng(0).random((front_end.n_mels, 3))
    wanted = np.zeros((front_end.n_fft // 2 + 1, 3))
    for k in range(len(wanted)):
        if weights[:, k].sum() > 1e-6:  # rounding leaves librosa a trace at the upper end
            wanted[k] = sum(weights[m, k] * mask[m] for m in range(len(mask))) / weights[:, k].sum()
    found = evidence.spread(mask, front_end=front_end)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    whole = evidence.spread(np.ones_like(mask), front_end=front_end)
    assert not whole[[0, -1]].any()  # outside all bands
    np.testing.assert_allclose(whole[1:-1], 1, atol=1e-6)


def test_one_band_reaches_its_own_bins_only():
    mask = np.zeros((128, 1))
    mask[100] = 1
    found = evidence.spread(mask, front_end=MEL)[:, 0]
    frequencies = np.arange(257) * SR / 512
    low, high = MEL.frequencies()[[99, 101]]
    assert ((found > 0) == ((frequencies > low) & (frequencies < high))).all()
    assert np.abs(frequencies[found.argmax()] - MEL.frequencies()[100]) < SR / 512


def test_fft_bins_are_their_own():
    mask = np.random.default_rng(0).random((513, 2)).astype(np.float32)
    np.testing.assert_array_equal(evidence.spread(mask, front_end=SPECTRAL["stft"]), mask)


@pytest.mark.parametrize(
    ("shape", "front_end", "message"),
    [
        ((84, 3), FrontEnd(22050, 512, 512, 84, "cqt"), "Only spectrograms of kind 'mel' and 'stft'"),
        ((1, 3), WAVE, "Only spectrograms of kind 'mel' and 'stft'"),
        ((127, 3), MEL, r"mask must have shape \(128, n_frames\). Got \(127, 3\)"),
        ((128,), MEL, "mask must have shape"),
    ],
)
def test_masks_that_cannot_be_spread(shape, front_end, message):
    with pytest.raises(ValueError, match=message):
        evidence.spread(np.ones(shape), front_end=front_end)


# --- Masks ----------------------------------------------------------------------------------------------------------


def test_a_mask_by_hand():
    relevance = np.array([[0, 1, 2, 3, 4], [-5, 0, 0, 8, 0]], float)
    mask = evidence.mask_from(relevance, front_end=MEL, seconds=0, bands=0, quantile=0.5, power=2)
    np.testing.assert_allclose(mask, np.minimum(np.maximum(relevance, 0) / 3, 1) ** 2, rtol=1e-6)  # 3: median of 5
    mask = evidence.mask_from(relevance, front_end=MEL, seconds=0, bands=0, quantile=1, power=0.5)
    np.testing.assert_allclose(mask, np.sqrt(np.maximum(relevance, 0) / 8), rtol=1e-6)


@pytest.mark.parametrize("front_end", [MEL, WAVE])
def test_masks_lie_between_0_and_1_and_forget_the_scale(front_end):
    n_bins = front_end.n_bins
    relevance = np.random.default_rng(0).normal(size=(n_bins, 3000))
    mask = evidence.mask_from(relevance, front_end=front_end)
    assert mask.dtype == np.float32
    assert mask.min() >= 0
    assert mask.max() == 1
    np.testing.assert_allclose(evidence.mask_from(1e-4 * relevance, front_end=front_end), mask, atol=1e-5)
    for nothing in (np.zeros((n_bins, 50)), -np.ones((n_bins, 50))):
        assert not evidence.mask_from(nothing, front_end=front_end).any()


@pytest.mark.parametrize("front_end", [MEL, FRONT_ENDS["fcn4"], WAVE])
def test_masks_are_smoothed_in_seconds(front_end):
    """A single cell becomes a Gaussian of the given width in seconds, with any front end."""
    n_frames = front_end.n_frames(front_end.sr)
    relevance = np.zeros((front_end.n_bins, n_frames))
    relevance[front_end.n_bins // 2, n_frames // 2] = 1
    mask = evidence.mask_from(relevance, front_end=front_end, seconds=0.05, bands=1, quantile=1, power=1)
    line = mask[front_end.n_bins // 2].astype(float)
    time = (np.arange(n_frames) - n_frames // 2) * front_end.hop_length / front_end.sr
    assert np.sqrt((line * time**2).sum() / line.sum()) == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize(
    ("relevance", "options", "message"),
    [
        (np.ones(5), {}, "relevance must be a finite matrix"),
        (np.full((2, 2), np.nan), {}, "relevance must be a finite matrix"),
        (np.ones((2, 2)), {"quantile": 0}, r"quantile lie in \(0, 1\]"),
        (np.ones((2, 2)), {"power": 0}, "power be positive"),
        (np.ones((2, 2)), {"seconds": -1}, "seconds and bands must be at least 0"),
    ],
)
def test_relevance_that_makes_no_mask(relevance, options, message):
    with pytest.raises(ValueError, match=message):
        evidence.mask_from(relevance, front_end=MEL, **options)


# --- Sounds ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SPECTRAL)
def test_a_mask_of_ones_gives_the_clip_back(name):
    front_end = SPECTRAL[name]
    for n in (1, 100, 511, 512, 513, 20001):
        y = noise(2)[:n] + 0.3
        mask = np.ones((front_end.n_fft // 2 + 1, front_end.n_frames(n)))
        sound, rest = evidence.resynthesise(y, mask, front_end=front_end)
        assert sound.shape == rest.shape == y.shape
        np.testing.assert_allclose(sound, y, atol=1e-5)
        np.testing.assert_allclose(rest, 0, atol=1e-5)


@pytest.mark.parametrize("name", SPECTRAL)
def test_the_parts_add_up_whatever_the_mask(name):
    front_end = SPECTRAL[name]
    y = noise(1.03)
    mask = np.random.default_rng(1).random((front_end.n_bins, front_end.n_frames(len(y))))
    sound, rest = evidence.resynthesise(y, mask, front_end=front_end)
    np.testing.assert_allclose(sound + rest, y, atol=1e-6)
    assert np.isfinite(sound).all()
    assert 0.05 < np.mean(sound**2) / np.mean(y**2) < 0.6
    nothing, all_of_it = evidence.resynthesise(y, 0 * mask, front_end=front_end)
    assert not nothing.any()
    np.testing.assert_array_equal(all_of_it, y)


def test_a_steady_mask_filters_as_librosa_does():
    y = noise(1.0)
    mask = np.random.default_rng(1).random(257)
    spectrum = librosa.stft(y, n_fft=512, hop_length=128, pad_mode="constant")
    wanted = librosa.istft(spectrum * mask[:, None], n_fft=512, hop_length=128, length=len(y))
    found, _ = evidence.resynthesise(y, np.repeat(mask[:, None], MEL.n_frames(len(y)), axis=1), front_end=MEL)
    np.testing.assert_allclose(found[1024:-1024], wanted[1024:-1024], atol=1e-6)


def test_a_mask_fades_between_its_frames():
    y = np.ones(SR, dtype=np.float32)
    mask = np.ones((257, MEL.n_frames(SR)), dtype=np.float32)
    mask[:, 30:] = 0  # from sample 29 * 256, which it hears, to sample 30 * 256
    sound, _ = evidence.resynthesise(y, mask, front_end=MEL)
    np.testing.assert_allclose(sound[: 29 * 256 - 512], 1, atol=1e-5)
    np.testing.assert_allclose(sound[30 * 256 + 512 :], 0, atol=1e-5)
    assert np.abs(sound - 0.5).argmin() == pytest.approx(29.5 * 256, abs=40)
    assert (np.diff(sound[29 * 256 - 512 : 30 * 256 + 512]) < 1e-5).all()


@pytest.mark.parametrize("name", ["short_chunk", "se_cnn", "ckn19", "stft"])
def test_a_tone_in_a_box_is_in_the_evidence_and_not_in_the_rest(name):
    """2.5 kHz at 1-2 s is asked for; the same tone later and another beside it are not."""
    front_end = SPECTRAL[name]
    y = tone(2500, 1, 2) + tone(500, 0, 3) + tone(2500, 2.5, 3) + 0.01 * noise(3)
    frequencies, frames = front_end.frequencies(), np.arange(front_end.n_frames(len(y)))
    time = frames * front_end.hop_length / SR
    box = ((frequencies > 2000) & (frequencies < 3000))[:, None] & ((time > 0.9) & (time < 2.1))
    sound, rest = evidence.resynthesise(y, box.astype(float), front_end=front_end)
    whole = power(y, 2500, 1.1, 1.9)
    assert power(sound, 2500, 1.1, 1.9) == pytest.approx(whole, abs=0.1)
    assert power(rest, 2500, 1.1, 1.9) < whole - 40
    assert power(sound, 500, 0, 3) < power(y, 500, 0, 3) - 40
    assert power(rest, 500, 0, 3) == pytest.approx(power(y, 500, 0, 3), abs=0.1)
    assert power(sound, 2500, 2.5, 3) < power(y, 2500, 2.5, 3) - 40
    assert np.abs(sound[: SR // 2]).max() < 1e-4


def test_silence_and_waveforms():
    silence = np.zeros(SR, dtype=np.float32)
    for found in evidence.resynthesise(silence, np.ones((128, 63)), front_end=MEL):
        np.testing.assert_array_equal(found, silence)
    y = noise(1)
    relevance = np.zeros((1, SR))
    relevance[0, 4000:8000] = np.random.default_rng(0).random(4000) > 0.5
    found = evidence.evidence(y, relevance, front_end=WAVE, seconds=0.01)
    np.testing.assert_allclose(found.sound, found.mask[0] * y, rtol=1e-6)
    np.testing.assert_allclose(found.sound + found.rest, y, atol=1e-7)
    assert np.mean(found.sound[4400:7600] ** 2) > 0.9 * np.mean(y[4400:7600] ** 2)
    assert np.abs(found.sound[:3400]).max() == 0
    assert found.gap == 0


@pytest.mark.parametrize(
    ("y", "mask", "front_end", "message"),
    [
        (np.ones((2, 9)), np.ones((128, 1)), MEL, "y must be a finite mono waveform"),
        (np.array([]), np.ones((128, 1)), MEL, "y must be a finite mono waveform"),
        (np.array([np.nan]), np.ones((128, 1)), MEL, "y must be a finite mono waveform"),
        (np.ones(300), np.full((128, 2), 1.1), MEL, r"mask must hold numbers in \[0, 1\]"),
        (np.ones(300), np.full((128, 2), np.nan), MEL, r"mask must hold numbers in \[0, 1\]"),
        (np.ones(300), np.ones((128, 3)), MEL, "mask must have 128 or 257 rows and 2 frames"),
        (np.ones(300), np.ones((99, 2)), MEL, "mask must have 128 or 257 rows and 2 frames"),
        (np.ones(300), np.ones((2, 300)), WAVE, "mask must have 1 rows and 300 frames"),
        (np.ones(3000), np.ones((84, 6)), FrontEnd(22050, 512, 512, 84, "cqt"), "CQT cannot be turned to sound"),
    ],
)
def test_what_cannot_be_made_audible(y, mask, front_end, message):
    with pytest.raises(ValueError, match=message):
        evidence.resynthesise(y, mask, front_end=front_end)


def test_the_gap_is_small_where_a_sound_can_follow_the_mask_and_large_where_none_can():
    y = noise(2)
    shape = (128, MEL.n_frames(len(y)))
    smooth = 0.55 - 0.45 * np.cos(np.linspace(0, 4 * np.pi, shape[1]))[None] * np.ones((128, 1))
    checkers = (np.indices(shape).sum(axis=0) % 2).astype(float)
    gaps = {}
    masks = {"whole": np.ones(shape), "smooth": smooth, "checkers": checkers, "none": np.zeros(shape)}
    for name, mask in masks.items():
        sound, _ = evidence.resynthesise(y, mask, front_end=MEL)
        gaps[name] = evidence.gap(y, sound, mask, front_end=MEL)
    assert gaps["whole"] < 0.2
    assert gaps["smooth"] < 1
    assert gaps["checkers"] > 5
    assert gaps["none"] == 0
    silence = np.zeros(SR, dtype=np.float32)
    assert evidence.gap(silence, silence, np.ones((128, 63)), front_end=MEL) == 0
    sound = 0.1 * y  # 20 dB too quiet, everywhere
    assert evidence.gap(y, sound, np.ones(shape), front_end=MEL) == pytest.approx(20, abs=0.01)


def test_a_gap_does_not_depend_on_the_reference_of_the_decibels():
    y = noise(1)
    mask = np.random.default_rng(0).random((128, 63))
    gaps = [
        evidence.gap(y, evidence.resynthesise(y, mask, front_end=f)[0], mask, front_end=f)
        for f in (MEL, FrontEnd(SR, 512, 256, 128, ref="max"))
    ]
    assert gaps[0] == gaps[1]


# --- The closed loop ------------------------------------------------------------------------------------------------


def test_the_loop_by_hand():
    y = np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32)

    def scores(y):
        return {"sum": y.sum() / 10, "first": y[0], "never": 0.1}

    half = np.array([[0, 0, 1, 1]], float)
    sounds = {tag: evidence.Evidence(half, half[0] * y, (1 - half[0]) * y, 0.5) for tag in ("sum", "first", "never")}
    table = evidence.feed_back(scores, scores(y), sounds, thresholds={"sum": 0.5, "first": 0.9, "never": 0.2})
    assert list(table["tag"]) == ["sum", "first", "never"]
    np.testing.assert_allclose(table["clip"], [1.0, 1.0, 0.1])
    np.testing.assert_allclose(table["evidence"], [0.7, 0.0, 0.1], atol=1e-6)
    np.testing.assert_allclose(table["rest"], [0.3, 1.0, 0.1], atol=1e-6)
    assert list(table["accepted"]) == [True, True, False]
    assert list(table["kept"]) == [True, False, False]
    assert list(table["lost"]) == [True, False, False]  # what was never predicted is neither kept nor lost
    assert list(table["area"]) == [0.5] * 3
    assert list(table["gap"]) == [0.5] * 3
    assert list(evidence.feed_back(scores, scores(y), {}, thresholds={}).columns) == list(table.columns)


# --- Pictures -------------------------------------------------------------------------------------------------------


@pytest.fixture
def ax():
    fig, ax = plots.figure()
    yield ax
    plt.close(fig)


def layers(ax):
    """(grey image below, coloured one above)."""
    return sorted(ax.images, key=lambda image: image.zorder)


def test_a_heatmap_lies_over_a_grey_spectrogram(ax):
    relevance = np.linspace(0, 1, 128 * 100).reshape(128, 100)
    relevance[0, 0] = 1000  # one hot cell does not set the scale
    S = MEL.compute(noise(99 * 256 / SR))
    assert plots.heatmap(relevance, S=S, front_end=MEL, ax=ax, title="guitar", label="relevance (logit)") is ax
    grey, colour = layers(ax)
    shades = grey.to_rgba(S)
    assert (shades[..., 0] == shades[..., 1]).all()
    assert (shades[..., 0] == shades[..., 2]).all()
    assert shades[..., 0].max() < 0.95
    alpha = colour.cmap(np.linspace(0, 1, 50))[:, 3]
    assert alpha[0] == 0
    assert alpha[-1] == 1
    assert (np.diff(alpha) >= 0).all()
    assert colour.norm.vmin == 0
    assert colour.norm.vmax == pytest.approx(np.percentile(relevance, 99.5))
    assert colour.get_extent()[:2] == [0, 1.6]
    assert ax.get_title() == "guitar"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (s)", "frequency (Hz)")
    bar = ax.figure.axes[1]
    assert bar.get_ylabel() == "relevance (logit),\nclipped at 0.995"
    rows = dict(zip([t.get_text() for t in ax.get_yticklabels()], ax.get_yticks(), strict=True))
    assert rows["1,000"] == pytest.approx(np.interp(1000, MEL.frequencies(), np.arange(128)))


def test_signed_relevance_is_centred_at_0(ax):
    relevance = np.zeros((8, 10))
    relevance[2:4, 3], relevance[4, 5] = 2, -1
    plots.heatmap(relevance, ax=ax, colorbar=False)
    (image,) = ax.images
    assert (image.norm.vmin, image.norm.vmax) == (-2, 2)
    red, blue, none = image.to_rgba(np.array([2.0, -2.0, 0.0]))
    assert red[0] > red[2]
    assert blue[2] > blue[0]
    assert none[3] < 0.02
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("frame", "band")
    assert len(ax.figure.axes) == 1


def test_rounding_makes_no_relevance_signed(ax):
    relevance = np.ones((8, 10))
    relevance[0, 0] = -1e-7
    plots.heatmap(relevance, ax=ax)
    assert ax.images[0].norm.vmin == 0


def test_relevance_of_nothing_is_drawn_and_said(ax):
    S = MEL.compute(np.zeros(SR, dtype=np.float32))
    plots.heatmap(np.zeros(S.shape), S=S, front_end=MEL, ax=ax, title="harp")
    assert ax.get_title() == "harp (zero everywhere)"
    assert not layers(ax)[1].to_rgba(np.zeros(1))[0, 3]
    ax.figure.canvas.draw()


def test_relevance_of_a_waveform(ax):
    y = noise(2)
    relevance = np.zeros((1, len(y)))
    relevance[0, SR : SR + 3200] = 1
    plots.heatmap(relevance, S=y[None], front_end=WAVE, ax=ax)
    (image,) = ax.images
    assert image.get_extent() == [0, 2, -1, 1]
    values = np.asarray(image.get_array())
    assert values.sum() == pytest.approx(3200)  # sums over stretches of time
    lit = np.flatnonzero(values[0]) / values.shape[1] * 2
    assert lit.min() == pytest.approx(1.0, abs=0.01)
    assert lit.max() == pytest.approx(1.2, abs=0.01)
    assert any(isinstance(c, PolyCollection) for c in ax.collections)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time (s)", "amplitude")


@pytest.mark.parametrize(
    ("relevance", "S", "message"),
    [
        (np.ones(5), None, r"relevance must be a finite matrix \(n_bins, n_frames\). Got shape \(5,\)"),
        (np.full((2, 2), np.inf), None, "relevance must be a finite matrix"),
        (np.ones((2, 2)), np.ones((2, 3)), r"S must have the shape of relevance, \(2, 2\). Got \(2, 3\)"),
    ],
)
def test_what_is_no_heatmap(relevance, S, message):
    with pytest.raises(ValueError, match=message):
        plots.heatmap(relevance, S=S)

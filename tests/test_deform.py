"""Deformations do to sound what their names say, by as much as stated, and nothing else."""

import librosa
import numpy as np
import pytest

from musictools import audio

SR = 16000


def tone(frequency=440.0, *, seconds=2.0, level=0.5):
    return (level * np.sin(2 * np.pi * frequency * np.arange(round(SR * seconds)) / SR)).astype(np.float32)


def drums(*, seconds=2.0, seed=0):
    """Loud noise that dies away four times a second, over a quiet tone: a wide range of levels."""
    n = round(SR * seconds)
    decay = np.exp(-(np.arange(n) % (SR // 4)) / (0.03 * SR))
    y = 0.8 * decay * np.random.default_rng(seed).uniform(-1, 1, n) + tone(300, seconds=seconds, level=0.02)
    return y.astype(np.float32)


def peak_hz(y):
    """Strongest frequency of the middle half, to a fraction of a Hz."""
    middle = y[len(y) // 4 : -len(y) // 4]
    return np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 2**18)).argmax() * SR / 2**18


def rms_db(y):
    return 10 * np.log10(np.mean(np.square(y, dtype=float)))


def crest_db(y):
    return 20 * np.log10(np.abs(y).max()) - rms_db(y)


def range_db(y):
    """Between the loud and the quiet blocks of 10 ms."""
    blocks = y[: len(y) // 160 * 160].reshape(-1, 160)
    levels = 10 * np.log10(np.mean(np.square(blocks, dtype=float), axis=1) + 1e-12)
    return np.percentile(levels, 95) - np.percentile(levels, 5)


@pytest.mark.parametrize(("semitones", "hz"), [(1, 466.16), (-1, 415.30), (12, 880.0)])
def test_a_shifted_tone_has_the_pitch_of_so_many_semitones(semitones, hz):
    y = audio.deform(tone(), sr=SR, kind="pitch_shift", amount=semitones)
    assert y.shape == (2 * SR,)
    assert peak_hz(y) == pytest.approx(hz, rel=0.01)
    assert peak_hz(tone()) == pytest.approx(440, rel=0.001)  # the measure is right


@pytest.mark.parametrize("speed", [2**0.5, 2**-0.5, 2.0])
def test_a_stretched_tone_has_another_length_and_the_same_pitch(speed):
    y = audio.deform(tone(), sr=SR, kind="time_stretch", amount=speed)
    assert len(y) == round(2 * SR / speed)
    assert peak_hz(y) == pytest.approx(440, rel=0.01)


def test_a_faster_beat_has_its_beats_closer():
    """Six beats of noise, half a second apart, are 0.35 s apart at the square root of two of the speed."""
    n = 3 * SR
    y = (0.5 * np.exp(-(np.arange(n) % (SR // 2)) / 200) * np.random.default_rng(0).uniform(-1, 1, n)).astype("f4")

    def distance(y):
        envelope = np.convolve(np.abs(y), np.ones(200) / 200, mode="same")
        envelope -= envelope.mean()
        same = np.correlate(envelope[::20], envelope[::20], mode="full")[len(envelope[::20]) - 1 :]
        return (200 + same[200:600].argmax()) * 20 / SR

    assert distance(y) == pytest.approx(0.5, rel=0.01)
    faster = audio.deform(y, sr=SR, kind="time_stretch", amount=2**0.5)
    assert distance(faster) == pytest.approx(0.5 / 2**0.5, rel=0.05)


def test_compression_narrows_levels_the_more_the_stronger_and_keeps_the_power():
    y = drums()
    light, strong = (audio.deform(y, sr=SR, kind="compress", amount=ratio) for ratio in (2, 8))
    assert crest_db(y) - 1 > crest_db(light) > crest_db(strong)
    assert range_db(y) - 3 > range_db(light) > range_db(strong) + 1
    for changed in (light, strong):
        assert changed.shape == y.shape
        assert rms_db(changed) == pytest.approx(rms_db(y), abs=1)
        assert np.corrcoef(changed, y)[0, 1] > 0.7  # the same music


def test_compression_of_steady_tones_is_the_ratio():
    """Two levels 20 dB apart, both above the threshold of -30 dB: ratio 4 leaves 5 dB."""
    y = np.concatenate([tone(seconds=2, level=0.9), tone(seconds=2, level=0.09)])
    changed = audio.deform(y, sr=SR, kind="compress", amount=4)
    loud, quiet = changed[SR // 2 : SR], changed[-SR : -SR // 2]  # attack and release are over
    assert rms_db(loud) - rms_db(quiet) == pytest.approx(5, abs=0.3)


def test_levels_below_the_threshold_stay_as_far_apart():
    y = np.concatenate([tone(level=0.9), tone(level=0.01), tone(level=0.001)])  # 0, -39 and -59 dB of the peak
    changed = audio.deform(y, sr=SR, kind="compress", amount=8)
    second, third = changed[3 * SR : 4 * SR], changed[5 * SR :]
    assert rms_db(second) - rms_db(third) == pytest.approx(20, abs=0.3)


def test_ratio_one_changes_nothing():
    y = drums()
    np.testing.assert_allclose(audio.deform(y, sr=SR, kind="compress", amount=1), y, rtol=1e-5, atol=1e-7)


def test_compression_does_not_depend_on_the_level():
    y = drums()
    one, other = (audio.deform(part, sr=SR, kind="compress", amount=4) for part in (0.5 * y, 0.05 * y))
    np.testing.assert_allclose(one / 10, other, atol=1e-6)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.4, 0.9])
def test_noise_has_its_share(share):
    """What is left after the tone is taken away is white noise of `share` of the tone's amplitude."""
    y = tone(level=0.2)
    changed = audio.deform(y, sr=SR, kind="noise", amount=share)
    kept = np.dot(changed, y) / np.dot(y, y)
    noise = changed - (1 - share) * y
    assert kept == pytest.approx(1 - share, abs=0.02)
    assert rms_db((1 - share) * y) - rms_db(noise) == pytest.approx(20 * np.log10((1 - share) / share), abs=0.2)
    power = np.abs(np.fft.rfft(noise)) ** 2
    assert power[: len(power) // 2].mean() == pytest.approx(power[len(power) // 2 :].mean(), rel=0.1)  # white


def test_noise_follows_from_its_seed_and_none_or_all_of_it():
    y = tone(level=0.2)
    first, same, other = (audio.deform(y, sr=SR, kind="noise", amount=0.3, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.allclose(first, other)
    np.testing.assert_array_equal(audio.deform(y, sr=SR, kind="noise", amount=0), y)
    assert abs(np.corrcoef(audio.deform(y, sr=SR, kind="noise", amount=1), y)[0, 1]) < 0.03


@pytest.mark.parametrize("name", audio.DEFORMATIONS)
def test_every_named_deformation(name):
    """Changes the sound, keeps its input, stays within [-1, 1], and leaves silence silent."""
    kind, amount = audio.DEFORMATIONS[name]
    for y in (np.clip(drums() / 0.8, -1, 1), tone() * np.linspace(0, 2, 2 * SR, dtype=np.float32)):
        before = y.copy()
        changed = audio.deform(y, sr=SR, kind=kind, amount=amount)
        np.testing.assert_array_equal(y, before)
        assert changed.dtype == np.float32
        assert changed.shape == (round(len(y) / amount) if kind == "time_stretch" else len(y),)
        assert np.abs(changed).max() <= 1
        assert np.isfinite(changed).all()
        assert changed.shape != y.shape or np.abs(changed - y).max() > 0.01
    silence = np.zeros(SR, np.float32)
    silent = audio.deform(silence, sr=SR, kind=kind, amount=amount)
    assert not silent.any()
    assert not np.shares_memory(silent, silence)


def test_sound_beyond_full_scale_gets_no_louder():
    y = 3 * tone()
    for kind, amount in audio.DEFORMATIONS.values():
        assert np.abs(audio.deform(y, sr=SR, kind=kind, amount=amount)).max() <= np.abs(y).max() * (1 + 1e-6)


def test_pitch_and_length_are_librosas():
    y = drums(seconds=1)
    np.testing.assert_allclose(
        audio.deform(y, sr=SR, kind="pitch_shift", amount=2),
        librosa.effects.pitch_shift(y, sr=SR, n_steps=2),
        atol=1e-6,
    )


@pytest.mark.parametrize(
    ("kind", "amount", "message"),
    [
        ("reverb", 1, "kind must be one of pitch_shift, time_stretch, compress, noise. Got 'reverb'"),
        ("pitch_shift", 25, "amount of pitch_shift must lie between -24 and 24. Got 25"),
        ("time_stretch", 0, "amount of time_stretch must lie between 0.1 and 10. Got 0"),
        ("compress", 0.5, "amount of compress must lie between 1 and 100. Got 0.5"),
        ("noise", 1.5, "amount of noise must lie between 0 and 1. Got 1.5"),
        ("noise", float("nan"), "amount of noise must lie between 0 and 1. Got nan"),
    ],
)
def test_wrong_kinds_and_amounts_are_refused(kind, amount, message):
    with pytest.raises(ValueError, match=message):
        audio.deform(tone(), sr=SR, kind=kind, amount=amount)

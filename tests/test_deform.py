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


@pytest.mark.parametrize("decibels", [-10, 0, 12.5, 30, 60])
def test_white_noise_has_its_ratio_and_leaves_the_music(decibels):
    y = tone(level=0.02)  # so quiet that nothing has to be scaled
    noise = audio.deform(y, sr=SR, kind="white_noise", amount=decibels, seed=3).astype(float) - y
    assert rms_db(y) - rms_db(noise) == pytest.approx(decibels, abs=0.01)
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.02  # white


def test_an_impulse_in_a_room_decays_by_60_db_in_the_reverberation_time():
    """Schroeder's backward integration of the response, between -5 and -25 dB below its start."""
    y = np.zeros(4 * SR, np.float32)
    y[100] = 0.9
    for seconds in (0.4, 1.5):
        changed = audio.deform(y, sr=SR, kind="room", amount=seconds)
        assert np.abs(changed).argmax() == 100
        assert not changed[:90].any() or np.abs(changed[:90]).max() < 1e-6
        assert changed[100] ** 2 == pytest.approx(np.sum(changed[101:].astype(float) ** 2), rel=0.01)
        left = np.cumsum(changed[:100:-1].astype(float) ** 2)[::-1]
        left_db = 10 * np.log10(left / left[0])
        between = np.flatnonzero(left_db < -25)[0] - np.flatnonzero(left_db < -5)[0]
        assert 3 * between / SR == pytest.approx(seconds, rel=0.1)


def test_a_room_keeps_the_power_and_follows_from_its_seed():
    y = drums()
    first, same, other = (audio.deform(y, sr=SR, kind="room", amount=0.5, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert not np.allclose(first, other)
    assert rms_db(first) == pytest.approx(rms_db(y), abs=0.01)


@pytest.mark.parametrize(("kind", "kept", "lost"), [("low_pass", 500, 2000), ("high_pass", 2000, 500)])
def test_filters_pass_one_side_and_lose_6_db_at_the_cut_off(kind, kept, lost):
    def gain(frequency):
        y = tone(frequency)
        changed = audio.deform(y, sr=SR, kind=kind, amount=1000)
        middle = slice(SR // 2, -SR // 2)
        return rms_db(changed[middle]) - rms_db(y[middle]), np.corrcoef(changed[middle], y[middle])[0, 1]

    assert gain(kept)[0] == pytest.approx(0, abs=0.1)
    assert gain(kept)[1] > 0.9999  # nothing is delayed
    assert gain(1000)[0] == pytest.approx(-6.02, abs=0.1)
    assert gain(lost)[0] < -45  # an octave away: 2 · 24 dB


@pytest.mark.parametrize(("kind", "amounts"), [("mp3", (8, 16, 24, 48, 128)), ("ogg", (0.0, 0.5, 1.0))])
@pytest.mark.parametrize("sr", [8000, 16000, 22050, 44100])
def test_coded_sound_is_neither_delayed_nor_cut_and_better_at_higher_rates(kind, amounts, sr):
    n = 2 * sr + 123
    y = (0.3 * np.random.default_rng(0).standard_normal(n) * np.hanning(n)).astype(np.float32)
    y = audio.deform(y, sr=sr, kind="low_pass", amount=sr / 16)  # what every bit rate keeps
    ratios = []
    for amount in amounts:
        changed = audio.deform(y, sr=sr, kind=kind, amount=amount)
        assert changed.shape == y.shape
        lags = np.arange(-1200, 1201)
        middle = y[3000:-3000]
        match = [np.dot(middle, changed[3000 + lag : len(y) - 3000 + lag]) for lag in lags]
        assert lags[int(np.argmax(match))] == 0
        ratios.append(rms_db(y) - rms_db(changed - y))
    assert ratios[-1] > ratios[0] + 3
    assert ratios[-1] > 15


def test_a_codec_refuses_a_sampling_rate_that_its_format_lacks():
    with pytest.raises(ValueError, match="mp3 does not know the sampling rate 12345 Hz"):
        audio.deform(tone(), sr=12345, kind="mp3", amount=24)


def test_the_documented_compressor():
    """Two steady tones 20 dB apart, one below the threshold; the ratio and the make-up gain are as asked for."""
    y = np.concatenate([tone(level=0.9), tone(level=0.09)])
    changed = audio.compress(y, sr=SR, ratio=5, threshold=-10, make_up=3)
    loud, quiet = rms_db(changed[SR // 2 : SR]), rms_db(changed[-SR : -SR // 2])
    assert loud - rms_db(y[:SR]) == pytest.approx(3 - 10 * (1 - 1 / 5), abs=0.2)
    assert quiet - rms_db(y[-SR:]) == pytest.approx(3, abs=0.05)


def test_release_is_the_time_constant_of_the_gain():
    """After a loud tone the level sinks by 1/e in the release time: the gain of a quiet tone rises so fast."""
    y = np.concatenate([tone(level=0.9), tone(level=0.001)])
    changed = audio.compress(y, sr=SR, ratio=1000, threshold=-60, release=0.2, make_up=0)
    blocks = changed[2 * SR :].reshape(-1, 160)
    gain = 10 * np.log10(np.mean(blocks**2, axis=1) / np.mean(tone(level=0.001) ** 2))
    rise = (gain[70] - gain[20]) / 0.5  # dB/s; the level sinks by 8.69 dB in 0.2 s
    assert rise == pytest.approx(8.686 / 0.2, rel=0.05)


NAMED = audio.DEFORMATIONS | audio.CHANNELS


@pytest.mark.parametrize("name", NAMED)
def test_every_named_deformation(name):
    """Changes the sound, keeps its input, stays within [-1, 1], and leaves silence silent."""
    kind, amount = NAMED[name]
    wide = np.clip(drums() / 0.8, -1, 1)
    for y in (wide, tone() * np.linspace(0, 2, 2 * SR, dtype=np.float32)):
        before = y.copy()
        changed = audio.deform(y, sr=SR, kind=kind, amount=amount)
        np.testing.assert_array_equal(y, before)
        assert changed.dtype == np.float32
        assert changed.shape == (round(len(y) / amount) if kind == "time_stretch" else len(y),)
        assert np.abs(changed).max() <= 1
        assert np.isfinite(changed).all()
        if y is wide and kind != "time_stretch":
            assert np.abs(changed - y).max() > 0.01
    silence = np.zeros(SR, np.float32)
    silent = audio.deform(silence, sr=SR, kind=kind, amount=amount)
    assert not silent.any()
    assert not np.shares_memory(silent, silence)


def test_sound_beyond_full_scale_gets_no_louder():
    y = 3 * tone()
    for kind, amount in NAMED.values():
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
        ("reverb", 1, "kind must be one of pitch_shift, time_stretch, compress, noise, .*ogg. Got 'reverb'"),
        ("pitch_shift", 25, "amount of pitch_shift must lie between -24 and 24. Got 25"),
        ("time_stretch", 0, "amount of time_stretch must lie between 0.1 and 10. Got 0"),
        ("compress", 0.5, "amount of compress must lie between 1 and 100. Got 0.5"),
        ("noise", 1.5, "amount of noise must lie between 0 and 1. Got 1.5"),
        ("low_pass", 8001, "amount of low_pass must lie between 20 and 8000. Got 8001"),
        ("mp3", 400, "amount of mp3 must lie between 8 and 320. Got 400"),
        ("room", 0, "amount of room must lie between 0.05 and 20. Got 0"),
        ("noise", float("nan"), "amount of noise must lie between 0 and 1. Got nan"),
    ],
)
def test_wrong_kinds_and_amounts_are_refused(kind, amount, message):
    with pytest.raises(ValueError, match=message):
        audio.deform(tone(), sr=SR, kind=kind, amount=amount)

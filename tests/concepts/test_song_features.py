"""Estimated features of songs: signals whose features are known, and Echonest's values where there are any."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from musictools import audio
from musictools.concepts import song_features
from musictools.concepts.song_features import FEATURES, estimate
from musictools.datasets.base import Dataset

SR = 22050
MAJOR, MINOR = (0, 4, 7), (0, 3, 7)


def tone(hertz, seconds=10.0, sr=SR):
    return np.sin(2 * np.pi * hertz * np.arange(round(sr * seconds)) / sr)


def noise(seconds=10.0, seed=0):
    return np.random.default_rng(seed).standard_normal(round(SR * seconds))


def clicks(bpm, seconds=15.0):
    y = np.zeros(round(SR * seconds))
    for start in np.arange(0, seconds - 0.1, 60 / bpm):
        at = round(start * SR)
        y[at : at + 1000] += noise(1)[:1000] * np.exp(-np.arange(1000) / 150)
    return 0.3 * y


def chords(kind, tonic=262.0):
    """Tonic, subdominant, dominant and tonic of one mode, each with four partials."""
    out = []
    for degree in (0, 5, 7, 0):
        pitches = [tonic * 2 ** ((degree + step) / 12) for step in kind]
        out.append(sum(tone(k * p, 1.5) / k for p in pitches for k in (1, 2, 3, 4)))
    return 0.05 * np.concatenate(out)


@pytest.mark.parametrize("bpm", [80, 100, 120, 150])
def test_tempo_of_clicks(bpm):
    assert estimate(clicks(bpm), sr=SR)["tempo"] == pytest.approx(bpm, rel=0.04)


def test_features_are_in_their_ranges_and_do_not_depend_on_the_sampling_rate():
    y = clicks(120) + chords(MAJOR)[: SR * 5].repeat(3) * 0.5
    features = estimate(y, sr=SR)
    assert list(features.index) == list(FEATURES)
    assert features.drop("tempo").between(0, 1).all()
    again = estimate(audio.resample(y, orig_sr=SR, sr=44100), sr=44100)
    np.testing.assert_allclose(again.drop("tempo"), features.drop("tempo"), atol=0.05)


def test_a_steady_beat_is_more_danceable_than_random_clicks():
    y, rng = np.zeros(SR * 15), np.random.default_rng(0)
    for start in rng.uniform(0, 14.9, 30):
        y[round(start * SR) : round(start * SR) + 1000] += clicks(60)[:1000]
    assert estimate(clicks(120), sr=SR)["danceability"] > estimate(y, sr=SR)["danceability"] + 0.2


def test_louder_and_noisier_is_more_energy():
    quiet, loud = 0.01 * tone(440), 0.5 * tone(440)
    energies = [estimate(y, sr=SR)["energy"] for y in (quiet, loud, 0.3 * noise().clip(-3, 3))]
    assert energies == sorted(energies)
    assert energies[2] > energies[0] + 0.4


def test_sustained_tones_are_more_acoustic_than_hissing_drums():
    soft = 0.2 * tone(262) * np.linspace(1, 0.02, SR * 10)
    assert estimate(soft, sr=SR)["acousticness"] > estimate(clicks(140), sr=SR)["acousticness"] + 0.2


def test_major_is_more_valence_than_minor_in_every_key():
    for tonic in (196.0, 233.0, 294.0):
        major, minor = (estimate(chords(kind, tonic), sr=SR)["valence"] for kind in (MAJOR, MINOR))
        assert major > minor + 0.1


def test_syllables_with_pauses_are_more_speech_than_a_chord():
    t = np.arange(SR * 10) / SR
    words = (
        0.2 * noise().clip(-3, 3) * np.maximum(0, np.sin(2 * np.pi * 4 * t)) ** 2 * (np.sin(2 * np.pi * 0.4 * t) > -0.3)
    )
    assert estimate(words, sr=SR)["speechiness"] > estimate(chords(MAJOR), sr=SR)["speechiness"] + 0.3


def test_a_trembling_voice_is_less_instrumental_than_held_tones_and_drums():
    t = np.arange(SR * 6) / SR
    pitch = 220 * 2 ** (np.sin(2 * np.pi * 5.5 * t) / 12 + np.sin(2 * np.pi * 0.5 * t) / 3)
    phase = 2 * np.pi * np.cumsum(pitch) / SR
    voice = 0.1 * sum(np.sin(k * phase) / k for k in range(1, 8))
    band = chords(MAJOR)[: len(t)]
    values = {
        "band": estimate(band, sr=SR)["instrumentalness"],
        "band and drums": estimate(band + clicks(120)[: len(t)], sr=SR)["instrumentalness"],
        "band and voice": estimate(band + voice, sr=SR)["instrumentalness"],
    }
    assert min(values["band"], values["band and drums"]) > values["band and voice"] + 0.2


def test_noise_in_the_pauses_is_liveness():
    dry = 0.3 * tone(440) * (np.arange(SR * 10) % SR < SR // 2)
    assert estimate(dry + 0.01 * noise(), sr=SR)["liveness"] > estimate(0.3 * tone(440), sr=SR)["liveness"] + 0.3


def test_bad_and_degenerate_input():
    assert estimate(np.zeros(SR), sr=SR).isna().all()
    assert estimate(np.full(2 * SR, 0.1), sr=SR).notna().all()
    for y in (np.zeros(SR - 1), np.zeros((2, SR)), np.full(SR, np.nan)):
        with pytest.raises(ValueError, match="y must be a finite mono waveform of at least 1 s"):
            estimate(y, sr=SR)


def dataset(folder, *, echonest):
    for name in "ab":
        soundfile.write(folder / f"{name}.wav", clicks(100, 4), SR)
    (folder / "d.wav").write_bytes(b"nothing")
    index = pd.Index(list("abcd"), name="clip_id")
    tracks = pd.DataFrame({"artist": "", "album": "", "title": "", "path": [f"{n}.wav" for n in index]}, index)
    data = Dataset(folder, tracks=tracks, tags=tracks[[]], genres=tracks[[]], descriptors=tracks[[]])
    if echonest is not None:
        data.echonest = echonest
    return data


def test_echonest_comes_first_and_estimates_are_named(tmp_path):
    known = pd.DataFrame([[0.5] * 8, [0.1] * 8, [np.nan] * 8], index=list("axb"), columns=list(FEATURES))
    table = song_features.table(dataset(tmp_path, echonest=known), workers=1)
    assert table["source"].to_dict() == {"a": "echonest", "b": "estimated", "c": "", "d": ""}
    assert list(table.columns) == [*FEATURES, "source"]
    assert (table.loc["a", list(FEATURES)] == 0.5).all()
    assert table.at["b", "tempo"] == pytest.approx(100, rel=0.05)
    assert table.loc[["c", "d"], list(FEATURES)].isna().all(axis=None)
    without = song_features.table(dataset(tmp_path, echonest=None), ["b"], workers=1)
    pd.testing.assert_frame_equal(without, table.loc[["b"]])
    only = dataset(tmp_path, echonest=known)
    only.has_audio = False
    assert song_features.table(only, ["a"])["source"].tolist() == ["echonest"]
    assert song_features.table(only, ["c"])["source"].tolist() == [""]


def test_radar_charts_have_one_scale():
    table = pd.DataFrame({name: [0.3, 0.3, 0.3] for name in FEATURES} | {"tempo": [40.0, 130.0, 300.0]})
    scaled = song_features.on_unit_scale(table.assign(source="estimated"))
    assert list(scaled.columns) == list(FEATURES)
    assert scaled["tempo"].tolist() == [0, 0.5, 1]

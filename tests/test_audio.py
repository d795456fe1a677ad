"""Audio in and out: what comes back is what was written, and every complaint says why."""

import shutil
import warnings

import numpy as np
import pytest
import soundfile

from musictools import audio

SR = 22050


def sine(frequency, *, sr=SR, seconds=2.0, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(sr * seconds)) / sr)).astype(np.float32)


def noisy(seconds=4.0, *, sr=SR):
    """Noise and a tone: nothing that a lossy coder stores in a handful of bytes."""
    y = sine(440, sr=sr, seconds=seconds)
    return np.clip(y + np.random.default_rng(0).normal(0, 0.05, len(y)), -1, 1)


def peak_frequency(y, sr):
    return np.abs(np.fft.rfft(y * np.hanning(len(y)))).argmax() * sr / len(y)


def put(path, y, sr=SR):
    """Write a file with soundfile itself; unlike audio.write it knows AU and several channels."""
    soundfile.write(path, y, sr, **({"subtype": "PCM_16"} if path.suffix == ".au" else {}))
    return path


def cut(path, share):
    short = path.with_name(f"cut{path.suffix}")
    content = path.read_bytes()
    short.write_bytes(content[: int(len(content) * share)])
    return short


@pytest.mark.parametrize(("suffix", "loudest_error"), [(".wav", 1e-4), (".flac", 1e-4), (".ogg", 0.03), (".mp3", 0.03)])
def test_what_is_written_is_read_back(tmp_path, suffix, loudest_error):
    y = sine(440)
    z, sr = audio.load(audio.write(tmp_path / f"a{suffix}", y, sr=SR))
    assert sr == SR
    assert z.dtype == np.float32
    assert z.shape == y.shape
    middle = slice(2000, -2000)  # coders start and stop softly
    assert np.abs(z - y)[middle].max() < loudest_error
    assert audio.duration(tmp_path / f"a{suffix}") == pytest.approx(2.0)


def test_au_is_read(tmp_path):
    y, sr = audio.load(put(tmp_path / "a.au", sine(440)))
    assert sr == SR
    np.testing.assert_allclose(y, sine(440), atol=1e-4)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".au"])
def test_whole_files_give_no_warning(tmp_path, suffix):
    path = put(tmp_path / f"a{suffix}", noisy())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        audio.load(path)


def test_channels_are_averaged(tmp_path):
    left, right = sine(440), sine(1000, amplitude=0.25)
    y, _ = audio.load(put(tmp_path / "a.wav", np.stack([left, right], axis=1)))
    np.testing.assert_allclose(y, (left + right) / 2, atol=1e-4)


@pytest.mark.parametrize("sr", [8000, 12000, 16000, 44100])
def test_resampling_keeps_a_sines_frequency_and_level(tmp_path, sr):
    y, rate = audio.load(put(tmp_path / "a.wav", sine(1000)), sr=sr)
    assert rate == sr
    assert len(y) == 2 * sr
    assert peak_frequency(y, sr) == pytest.approx(1000, abs=0.6)
    assert np.sqrt(np.mean(y[sr // 4 : -sr // 4] ** 2)) == pytest.approx(0.5 / np.sqrt(2), rel=2e-3)


def test_resampling_removes_what_the_lower_rate_cannot_hold(tmp_path):
    y, _ = audio.load(put(tmp_path / "a.wav", sine(9000)), sr=12000)
    assert np.abs(y[600:-600]).max() < 1e-3


@pytest.mark.parametrize("suffix", [".wav", ".au", ".flac", ".mp3", ".ogg"])
def test_truncated_files_say_how_much_could_be_decoded(tmp_path, suffix):
    whole = noisy(8.0)
    path = cut(put(tmp_path / f"a{suffix}", whole), 0.5)
    with pytest.warns(UserWarning, match=rf"cut\{suffix}: truncated\. \d\.\d\d .*could be decoded") as caught:
        y, _ = audio.load(path)
    seconds = len(y) / SR
    assert 3.0 < seconds < 5.0
    assert f"{seconds:.2f} " in str(caught[0].message)
    middle = slice(2000, len(y) - 4000)
    assert np.corrcoef(y[middle], whole[: len(y)][middle])[0, 1] > 0.95


def test_a_wav_may_name_its_data_chunk_elsewhere(tmp_path):
    """The word "data" in a comment before the samples is no promise of four gigabytes."""
    content = put(tmp_path / "a.wav", sine(440)).read_bytes()
    comment = b"note" + (16).to_bytes(4, "little") + b"data\xff\xff\xff\x7fnotreal!"
    (tmp_path / "b.wav").write_bytes(content[:36] + comment + content[36:])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(audio.load(tmp_path / "b.wav")[0]) == 2 * SR


def test_an_mp3_without_a_length_in_its_header_is_not_called_truncated(tmp_path):
    content = put(tmp_path / "a.mp3", noisy()).read_bytes()
    assert b"Xing" in content[:200]
    (tmp_path / "b.mp3").write_bytes(content.replace(b"Xing", b"\0\0\0\0", 1) + b"\0" * 20000)
    assert audio.duration(tmp_path / "b.mp3") > 4.5  # libsndfile estimates by size
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(audio.load(tmp_path / "b.mp3")[0]) / SR == pytest.approx(4, abs=0.2)


def test_a_flac_damaged_in_the_middle_is_decoded_up_to_there(tmp_path):
    content = bytearray(put(tmp_path / "a.flac", noisy(8.0)).read_bytes())
    third = len(content) // 3
    content[third : 2 * third] = np.random.default_rng(0).bytes(third)
    (tmp_path / "b.flac").write_bytes(content)
    with pytest.warns(UserWarning, match=r"b\.flac: truncated\. .* of 8\.00 s could be decoded"):
        y, _ = audio.load(tmp_path / "b.flac")
    np.testing.assert_allclose(y, noisy(8.0)[: len(y)], atol=1e-4)
    assert len(y) / SR > 1


def test_ffmpeg_is_asked_for_other_formats_only_and_named_when_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    (tmp_path / "a.m4a").write_bytes(b"something")
    with pytest.raises(audio.AudioError, match=r"a\.m4a: \.m4a needs ffmpeg, which is not installed\. Without.*wav"):
        audio.load(tmp_path / "a.m4a")
    assert len(audio.load(put(tmp_path / "a.wav", sine(440)))[0]) == 2 * SR


def test_what_ffmpeg_decodes_arrives(tmp_path, monkeypatch):
    """A stand-in for ffmpeg that prints samples, and one that complains half way."""
    wanted = sine(440, seconds=0.1)
    (tmp_path / "samples").write_bytes(wanted.astype("<f4").tobytes())
    (tmp_path / "a.m4a").write_bytes(b"something")
    for name, script in (("good", ""), ("bad", "echo 'moov atom not found' >&2; exit 1")):
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\ncat '{tmp_path}/samples'\n{script}\n")
        tool.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / "good") if name == "ffmpeg" else None)
    y, sr = audio.load(tmp_path / "a.m4a")
    assert sr == 44100
    np.testing.assert_array_equal(y, wanted)
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / "bad") if name == "ffmpeg" else None)
    with pytest.warns(UserWarning, match=r"a\.m4a: truncated or damaged\. 0\.05 s could be decoded"):
        audio.load(tmp_path / "a.m4a")
    (tmp_path / "samples").write_bytes(b"")
    with pytest.raises(audio.AudioError, match=r"a\.m4a: not an audio file that ffmpeg can read \(moov atom not"):
        audio.load(tmp_path / "a.m4a")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = audio.write(tmp_path / "a.wav", sine(440), sr=SR)
    before = path.read_bytes()

    def breaks(part, y, sr):
        part.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(soundfile, "write", breaks)
    with pytest.raises(KeyboardInterrupt):
        audio.write(path, sine(880), sr=SR)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.real_data
def test_real_songs_are_whole(shared_data):
    songs = [p for p in (shared_data / "songs").iterdir() if p.suffix in audio.SOUNDFILE_SUFFIXES]
    assert len(songs) > 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in songs:
            y, _ = audio.load(path)
            assert np.abs(y).max() > 0.01
    clip = next(p for p in songs if p.suffix == ".mp3")  # one of MagnaTagATune's own
    assert audio.load(clip, sr=16000)[0].shape == (465_984,)

"""MIR-1K in both layouts, on miniatures made here; the real one where it is."""

import numpy as np
import pytest

from musictools import audio, datasets

SR = 16000
NAMES = ("abjones_1_01", "abjones_1_02", "Ani_2_03")


def stems(number, seconds=1.0):
    t = np.arange(round(seconds * SR)) / SR
    return (0.1 * np.sin(2 * np.pi * 440 * (number + 1) * t)).astype(np.float32), (
        0.1 * np.sin(2 * np.pi * 110 * t)
    ).astype(np.float32)


def vocal(number):
    return np.arange(49) % (number + 2) == 0


@pytest.fixture
def compact(tmp_path):
    for number, name in enumerate(NAMES):
        for end, y in zip(("voice", "accomp"), stems(number), strict=True):
            audio.write(tmp_path / "clips" / f"{name}.{end}.ogg", y, sr=SR)
    flags = [vocal(number) for number in range(3)]
    np.savez(tmp_path / "labels.npz", clip=np.array(NAMES), length=np.full(3, 49),
             vocal=np.concatenate(flags).astype(np.int8))  # fmt: skip
    return tmp_path


@pytest.fixture
def official(tmp_path):
    import soundfile

    (tmp_path / "Wavfile").mkdir()
    (tmp_path / "vocal-nonvocalLabel").mkdir()
    for number, name in enumerate(NAMES):
        voice, accompaniment = stems(number)
        soundfile.write(tmp_path / "Wavfile" / f"{name}.wav", np.stack([accompaniment, voice], axis=1), SR)
        np.savetxt(tmp_path / "vocal-nonvocalLabel" / f"{name}.vocal", vocal(number), fmt="%d")
    return tmp_path


@pytest.mark.parametrize("layout", ["compact", "official"])
def test_both_layouts_say_the_same(layout, request):
    data = datasets.load("mir1k", data_dir=request.getfixturevalue(layout))
    assert data.tracks["artist"].to_dict() == {"Ani_2_03": "Ani", "abjones_1_01": "abjones", "abjones_1_02": "abjones"}
    assert data.tracks.at["Ani_2_03", "track"] == "Ani_2"
    assert data.validate() == ({}, {})
    for number, name in enumerate(NAMES):
        apart, sr = data.stems(name)
        assert sr == SR
        for y, expected in zip((apart["voice"], apart["accompaniment"]), stems(number), strict=True):
            assert len(y) == len(expected)
            assert np.corrcoef(y, expected)[0, 1] > 0.99  # Ogg Vorbis is lossy, and channels must not be swapped
        mix, _ = data.audio(name)
        np.testing.assert_allclose(mix, apart["voice"] + apart["accompaniment"])
        times, flags = data.flags(name)
        np.testing.assert_array_equal(flags, vocal(number))
        assert times[0] == pytest.approx(0.02)
        assert times[-1] == pytest.approx(0.98)
    apart, sr = data.stems(NAMES[0], sr=12000)
    assert sr == 12000
    assert len(apart["voice"]) == len(apart["accompaniment"]) == 12000
    split = data.split("artist", shares={"train": 0.5, "test": 0.5})
    assert split["abjones_1_01"] == split["abjones_1_02"]
    assert data.split("random").notna().all()


def test_what_is_wrong_is_named(compact, tmp_path):
    with pytest.raises(ValueError, match="no clip 'nobody'"):
        datasets.load("mir1k", data_dir=compact).flags("nobody")
    (compact / "clips" / "Ani_2_03.accomp.ogg").unlink()
    missing, _ = datasets.load("mir1k", data_dir=compact).validate()
    assert list(missing) == ["Ani_2_03"]
    np.savez(compact / "labels.npz", clip=np.array(NAMES[:1]), length=np.array([3]), vocal=np.zeros(4))
    with pytest.raises(ValueError, match="do not fit 4 labels"):
        datasets.load("mir1k", data_dir=compact)
    np.savez(compact / "labels.npz", clip=np.array(NAMES[:1]), length=np.array([3]), vocal=np.zeros(3))
    with pytest.raises(ValueError, match="no labels of clip 'Ani_2_03'"):
        datasets.load("mir1k", data_dir=compact).flags("Ani_2_03")
    np.savez(compact / "labels.npz", clip=np.array(NAMES[:1]))
    with pytest.raises(ValueError, match=r"lacks length, vocal"):
        datasets.load("mir1k", data_dir=compact)
    (compact / "labels.npz").unlink()
    with pytest.raises(ValueError, match="no such file"):
        datasets.load("mir1k", data_dir=compact)
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="no MIR-1K clips"):
        datasets.load("mir1k", data_dir=tmp_path / "other")


def test_official_files_must_be_stereo_and_labelled(official):
    import soundfile

    data = datasets.load("mir1k", data_dir=official)
    soundfile.write(official / "Wavfile" / "Ani_2_03.wav", np.zeros(100), SR)
    with pytest.raises(ValueError, match="two channels"):
        data.stems("Ani_2_03")
    (official / "vocal-nonvocalLabel" / "Ani_2_03.vocal").unlink()
    with pytest.raises(ValueError, match="vocal labels"):
        data.flags("Ani_2_03")


@pytest.mark.real_data
def test_the_real_clips(shared_data):
    if not (shared_data / "mir1k").is_dir():
        pytest.skip("no MIR-1K here: ../shared/data/mir1k is no folder")
    data = datasets.load("mir1k", data_dir=shared_data / "mir1k")
    assert len(data) == 420
    assert data.tracks["artist"].nunique() == 9
    for clip_id in data.tracks.index[::60]:
        apart, sr = data.stems(clip_id)
        times, flags = data.flags(clip_id)
        assert abs(len(apart["voice"]) / sr - times[-1]) < 0.06
        level = [np.mean(np.square(apart["voice"][int(sr * (t - 0.02)) : int(sr * (t + 0.02))])) for t in times]
        assert np.median(np.array(level)[flags]) > 10 * np.median(np.array(level)[~flags])  # labels fit the sound

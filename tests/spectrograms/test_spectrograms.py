"""Front ends against librosa and against what a tone must give; the store against kills, failures and worker counts."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import librosa
import numpy as np
import pytest
import soundfile
import zarr

from musictools import audio, datasets, models
from musictools.spectrograms import (
    SHARMA2022,
    ArrayStore,
    FrontEnd,
    Segments,
    SpectrogramStore,
    compute_file,
    open_store,
    segments,
)

SMALL = FrontEnd(8000, 256, 128, 32)
FRONT_ENDS = {name: models.describe(name).front_end for name in models.names()} | {"sharma2022": SHARMA2022}


def tone(frequency, *, sr, seconds=1.0, amplitude=0.5):
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(sr * seconds)) / sr)).astype(np.float32)


def music(sr, *, seconds=3.0, seed=0):
    """Decaying harmonic tones over noise, with a pause of digital silence."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(sr * seconds)) / sr
    y = 0.01 * rng.normal(size=len(t))
    pitches = rng.choice([110, 196, 262, 330, 440, 587], 100)  # more than are played, so that all lengths begin alike
    for start, pitch in zip(np.arange(0, seconds, 0.25), pitches, strict=False):
        envelope = np.exp(-4 * np.maximum(t - start, 0)) * (t >= start)
        y += envelope * sum(0.1 / k * np.sin(2 * np.pi * k * pitch * t) for k in range(1, 8))
    y[len(y) // 2 : len(y) // 2 + sr // 4] = 0
    return np.clip(y, -1, 1).astype(np.float32)


def by_librosa(front_end, y):
    """The same by librosa, in double precision from the transform's power on."""
    options = {"n_fft": front_end.n_fft, "hop_length": front_end.hop_length}
    if front_end.kind == "mel":
        power = librosa.feature.melspectrogram(y=y, sr=front_end.sr, n_mels=front_end.n_mels, **options)
    elif front_end.kind == "stft":
        power = np.abs(librosa.stft(y, **options)) ** 2
    else:
        power = np.abs(librosa.cqt(y, sr=front_end.sr, hop_length=front_end.hop_length, n_bins=front_end.n_mels)) ** 2
    ref = power.max() if front_end.ref == "max" else front_end.ref
    S = librosa.power_to_db(power.astype(np.float64), ref=ref, amin=1e-30, top_db=None)
    return np.maximum(S, front_end.floor)


# --- front ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["mel", "stft", "cqt"])
@pytest.mark.parametrize("frequency", [220.0, 1000.0, 2500.0])
def test_a_tones_energy_is_where_the_tone_is(kind, frequency):
    front_end = FrontEnd(16000, 1024, 512, 84 if kind == "cqt" else 64, kind=kind)
    S = front_end.compute(tone(frequency, sr=16000))
    loudest = S[:, 5:-5].mean(axis=1).argmax()
    centres = front_end.frequencies()
    assert abs(np.log((centres + 1e-9) / frequency)).argmin() == pytest.approx(loudest, abs=1 if kind == "mel" else 0)
    spacing = np.diff(centres)[max(0, loudest - 1)]
    assert abs(centres[loudest] - frequency) <= spacing
    power = 10 ** (S[:, 5:-5].astype(float) / 10)
    assert power[max(0, loudest - 2) : loudest + 3].sum() / power.sum() > 0.9


def test_six_decibels_more_amplitude_are_six_decibels():
    y = music(16000)
    quiet, loud = FRONT_ENDS["ckn19"].compute(y / 2), FRONT_ENDS["ckn19"].compute(y)
    above = quiet > -79
    np.testing.assert_allclose((loud - quiet)[above], 20 * np.log10(2), atol=1e-4)


@pytest.mark.parametrize("ref", [1.0, "max"])
@pytest.mark.parametrize("name", sorted(n for n, f in FRONT_ENDS.items() if f.kind == "mel"))
@pytest.mark.filterwarnings("ignore:Empty filters detected")
def test_parity_with_librosa(name, ref):
    known = FRONT_ENDS[name]
    front_end = FrontEnd(known.sr, known.n_fft, known.hop_length, known.n_mels, ref=ref)
    y = music(known.sr)
    for signal_ in (y, y * 1e-4, tone(440, sr=known.sr)):
        S, expected = front_end.compute(signal_), by_librosa(front_end, signal_)
        assert S.shape == expected.shape
        np.testing.assert_allclose(S, expected, atol=1e-4, rtol=0)
        assert (front_end.floor < S).mean() > (0.5 if signal_ is y else 0)


@pytest.mark.parametrize(
    ("sr", "n_fft", "n_mels"),
    [(16000, 1024, 128), (12000, 256, 96), (44100, 8192, 229), (1600, 256, 20), (2000, 64, 5)],
)
@pytest.mark.filterwarnings("ignore:Empty filters detected")
@pytest.mark.parametrize("mel_scale", ["slaney", "htk"])
def test_mel_bands_are_librosas(sr, n_fft, n_mels, mel_scale):
    htk = mel_scale == "htk"
    expected = librosa.filters.mel(sr=sr, n_fft=n_fft, n_mels=n_mels, htk=htk, norm=None if htk else "slaney")
    front_end = FrontEnd(sr, n_fft, 64, n_mels, mel_scale=mel_scale)
    np.testing.assert_allclose(front_end.mel_weights().toarray(), expected, rtol=1e-5, atol=2e-7 if htk else 1e-9)
    centres = librosa.mel_frequencies(n_mels=n_mels + 2, fmin=0, fmax=sr / 2, htk=htk)[1:-1]
    np.testing.assert_allclose(front_end.frequencies(), centres, rtol=1e-9)


def test_the_conventions_of_torchaudio():
    front_end = FrontEnd(16000, 512, 256, 96, floor=-100, ceiling=50, mel_scale="htk", padding="reflect")
    for y in (music(16000), tone(440, sr=16000)[:700]):
        S = librosa.feature.melspectrogram(
            y=y.astype(np.float64), sr=16000, n_fft=512, hop_length=256, n_mels=96, htk=True, norm=None,
            pad_mode="reflect",
        )  # fmt: skip
        expected = 10 * np.log10(np.maximum(S, 1e-10))
        np.testing.assert_allclose(front_end.compute(y), expected, atol=1e-4, rtol=0)
    assert front_end.compute(np.ones(1, np.float32)).shape == (96, 1)  # shorter than what is mirrored


def test_a_mel_spectrogram_needs_no_slow_imports():
    """Every worker of the store would pay for them, three seconds and more."""
    code = (
        "import sys, numpy; from musictools import models; "
        "models.describe('ckn19').front_end.compute(numpy.zeros(9000)); "
        "sys.exit(bool({'librosa', 'scipy.signal'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("kind", ["stft", "cqt"])
@pytest.mark.parametrize("ref", [1.0, "max"])
def test_parity_of_the_other_kinds(kind, ref):
    front_end = FrontEnd(22050, 1024, 256, 84, kind=kind, ref=ref)
    y = music(22050)
    np.testing.assert_allclose(front_end.compute(y), by_librosa(front_end, y), atol=1e-4, rtol=0)


@pytest.mark.real_data
@pytest.mark.parametrize("ref", [1.0, "max"])
def test_parity_on_real_music(shared_data, ref):
    y, _ = audio.load(shared_data / "songs" / "joram-moments_of_clarity-08-solipsism-59-88.mp3", sr=16000)
    for kind in ("mel", "stft"):
        front_end = FrontEnd(16000, 1024, 512, 128, kind=kind, ref=ref)
        np.testing.assert_allclose(front_end.compute(y), by_librosa(front_end, y), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["mel", "stft", "cqt"])
@pytest.mark.parametrize("ref", [1.0, "max"])
def test_silence_gives_the_floor(kind, ref):
    S = FrontEnd(16000, 1024, 512, 60, kind=kind, ref=ref, floor=-70.0).compute(np.zeros(16000, np.float32))
    assert S.dtype == np.float32
    assert (S == -70).all()


def test_ref_max_forgets_loudness_and_peaks_at_zero():
    front_end = FrontEnd(16000, 1024, 512, 128, ref="max")
    y = music(16000)
    S = front_end.compute(y)
    assert S.max() == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(front_end.compute(y / 8), S, atol=1e-4)


def test_frames_of_a_clip_are_those_of_the_design():
    y = np.zeros(465_984, np.float32)
    assert FrontEnd(16000, 512, 512, 8).compute(y).shape == (8, 911)
    assert FrontEnd(16000, 512, 256, 8).compute(y).shape == (8, 1821)
    counts = {}
    for name in models.names():
        model_input = models.describe(name).input
        n = model_input.front_end.n_frames(round(465_984 * model_input.front_end.sr / 16000))
        counts[name] = model_input.count(n)
        S = np.zeros((1, n))
        assert len(segments(S, length=model_input.length, step=model_input.step)) == counts[name]
    assert counts == {
        "ckn19": 13,
        "pg20": 13,
        "se_cnn": 4,
        "short_chunk": 14,
        "fcn4": 1,
        "vgg_cnn": 9,
        "musicnn": 18,
        "stacked_cnn": 1,
        "compact_convnet": 1,
        # not in the design's table: 3.7 s and 5 s of samples, 15 s, 29 s; a half from one to the next
        "short_chunk_res": 14,
        "sample_cnn": 14,
        "sample_cnn_se": 14,
        "harmonic_cnn": 10,
        "self_attention": 2,
        "crnn": 1,
        "choi_stft": 7,
        "resnet34": 1,  # an image of 30 s
    }


def test_a_waveform_is_its_own_spectrogram(tmp_path):
    front_end = FRONT_ENDS["sample_cnn"]
    y = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)
    np.testing.assert_array_equal(front_end.compute(y), y[None])
    np.testing.assert_array_equal(front_end.scale(y), y)
    assert front_end.n_frames(1000) == 1000
    assert FrontEnd.from_json(front_end.to_json()) == front_end
    soundfile.write(tmp_path / "a.wav", y, 16000, subtype="FLOAT")
    store = SpectrogramStore.build(
        tmp_path / "store.zarr", {"a": tmp_path / "a.wav"}, front_end=front_end, seconds=1000 / 16000, workers=1
    )
    x = Segments(store, ["a"], length=400, step=200)
    assert x.shape == (4, 400, 1)
    np.testing.assert_array_equal(x[1][:, 0], y[200:600])
    with pytest.raises(ValueError, match="have no frequency"):
        front_end.frequencies()
    with pytest.raises(ValueError, match="n_fft=2, hop_length=1 and n_mels=1. Got 512, 1 and 1"):
        FrontEnd(16000, 512, 1, 1, kind="waveform")


@pytest.mark.parametrize("n", [8, 100, 511, 512, 513, 16000, 16384])
@pytest.mark.parametrize("kind", ["mel", "stft", "cqt"])
@pytest.mark.filterwarnings("ignore:n_fft=")
def test_n_frames_tells_the_truth(n, kind):
    front_end = FrontEnd(16000, 1024, 512, 40, kind=kind)
    assert front_end.compute(np.ones(n, np.float32)).shape == (front_end.n_bins, front_end.n_frames(n))


def test_scale_maps_floor_and_ceiling_to_zero_and_one():
    front_end = FrontEnd(16000, 1024, 512, 128, floor=-60.0, ceiling=20.0)
    np.testing.assert_allclose(front_end.scale(np.array([-90, -60, -20, 20, 30])), [0, 0, 0.5, 1, 1])


def test_front_ends_survive_json_and_equal_ones_have_equal_keys():
    for front_end in FRONT_ENDS.values():
        again = FrontEnd.from_json(front_end.to_json())
        assert again == front_end
        assert hash(again) == hash(front_end)
        assert again.key == front_end.key
    numpy_made = FrontEnd(np.int64(16000), np.int32(1024), 512, 128, ref=1, floor=-80, ceiling=np.float32(40))
    assert numpy_made == FRONT_ENDS["ckn19"]
    assert numpy_made.key == FRONT_ENDS["ckn19"].key
    assert len({f.key for f in FRONT_ENDS.values()}) == len(set(FRONT_ENDS.values()))
    changed = [
        FrontEnd(16000, 1024, 512, 128, **{k: v})
        for k, v in {"kind": "stft", "ref": "max", "floor": -70, "ceiling": 30, "mel_scale": "htk",
                     "padding": "reflect"}.items()
    ]  # fmt: skip
    assert len({f.key for f in (*changed, FRONT_ENDS["ckn19"])}) == 7
    assert all(FrontEnd.from_json(f.to_json()) == f for f in changed)
    assert FrontEnd(16000, 512, 256, 96).key == "bf2648224d05"  # stores that exist are named so


def test_front_ends_cannot_be_changed():
    with pytest.raises(AttributeError):
        SMALL.sr = 1


# --- frames ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "length", "step"), [(20, 5, 5), (20, 5, 3), (20, 5, 7), (5, 5, 1), (9, 1, 1), (9, 6, 9)])
def test_frames_equal_a_slow_loop(n, length, step):
    S = np.random.default_rng(0).normal(size=(3, n))
    slow = []
    start = 0
    while start + length <= n:
        slow.append(S[:, start : start + length])
        start += step
    np.testing.assert_array_equal(segments(S, length=length, step=step), np.stack(slow))


def test_short_spectrograms_can_be_padded_with_their_last_frame():
    S = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(segments(S, length=5, step=1, pad_to=5)[0], [[0, 1, 2, 2, 2], [3, 4, 5, 5, 5]])
    np.testing.assert_array_equal(segments(S, length=2, step=1, pad_to=2), segments(S, length=2, step=1))


# --- store ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Forty short songs of different lengths; number 7 is no audio, number 9 is not there."""
    folder = tmp_path_factory.mktemp("clips")
    paths = {}
    for number in range(40):
        paths[number] = folder / f"{number}.wav"
        if number == 7:
            paths[number].write_bytes(b"not audio at all" * 10)
        elif number != 9:
            soundfile.write(paths[number], music(8000, seconds=1 + number % 3, seed=number), 8000)
    return paths


HALF_A_LEVEL = 120 / 255 / 2 + 1e-4  # dB

GOOD = [n for n in range(40) if n not in (7, 9)]


@pytest.fixture(scope="module")
def store(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "a.zarr"
    return SpectrogramStore.build(folder, clips, front_end=SMALL, seconds=3, workers=1)


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_store_holds_what_the_front_end_computes(store, clips):
    assert store.ids == GOOD
    assert len(store) == 38
    assert store.n_bins == 32
    for number in (0, 1, 20, 39):
        S = compute_file(clips[number], SMALL)
        assert store.n_frames(number) == S.shape[1]
        assert np.abs(store[number] - S).max() <= HALF_A_LEVEL
        assert np.abs(store.scale(store.raw(number)) - SMALL.scale(S)).max() <= 0.002
        assert store.raw(number).dtype == np.uint8


def test_longer_clips_are_cut(clips, tmp_path):
    short = SpectrogramStore.build(tmp_path / "a.zarr", {2: clips[2]}, front_end=SMALL, seconds=1.5, workers=1)
    assert short.n_frames(2) == SMALL.n_frames(12000)
    y, _ = audio.load(clips[2])
    np.testing.assert_allclose(short[2], SMALL.compute(y[:12000]), atol=HALF_A_LEVEL)


def test_a_row_takes_only_the_chunks_of_its_clip(clips, tmp_path, monkeypatch):
    from musictools.spectrograms import layout

    whole = SpectrogramStore.build(tmp_path / "a.zarr", clips, front_end=SMALL, seconds=3, workers=1)
    monkeypatch.setattr(layout, "_CHUNK", 50)
    parted = SpectrogramStore.build(tmp_path / "b.zarr", clips, front_end=SMALL, seconds=3, workers=1)
    for row, number in enumerate(clips):
        chunks = list((parted.folder / "S").glob(f"c.{row}.*"))
        if number in GOOD:
            np.testing.assert_array_equal(parted.raw(number), whole.raw(number))
            assert sum(path.is_file() for path in chunks) == -(-whole.n_frames(number) // 50)
        else:
            assert not chunks


def test_long_rows_of_short_clips_cost_nothing(clips, tmp_path):
    sizes = []
    for seconds in (1, 60):
        store = SpectrogramStore.build(
            tmp_path / f"{seconds}.zarr", {0: clips[0]}, front_end=SMALL, seconds=seconds, workers=1
        )
        sizes.append(sum(len(content) for content in files_of(store.folder / "S").values()))
    assert sizes[1] < sizes[0] + 200  # bytes; the row has sixty times as many frames


def earlier_format(folder, clips, *, front_end=SMALL, ids=None):
    """A store of the first format: decibels or samples as they are, and no version."""
    ids = list(clips) if ids is None else ids
    group = zarr.open_group(folder, mode="w", attributes={"front_end": front_end.to_json(), "ids": ids})
    shape = (len(ids), front_end.n_bins, front_end.n_frames(3 * front_end.sr))
    group.create_array("S", shape=shape, chunks=(1, *shape[1:]), dtype="float16", fill_value=0.0)[:] = 7
    group.create_array("n_frames", shape=shape[:1], dtype="int32", fill_value=0)[:] = 50


def test_stores_of_the_earlier_format_are_built_again_and_never_read(store, clips, tmp_path):
    earlier_format(tmp_path / "a.zarr", clips)
    with pytest.raises(ValueError, match="a store of format 1, this is 3"):
        SpectrogramStore(tmp_path / "a.zarr")
    with pytest.warns(UserWarning, match=r"a.zarr: a store of format 1. It is built again in format 3"):
        again = SpectrogramStore.build(tmp_path / "a.zarr", clips, front_end=SMALL, seconds=3, workers=1)
    assert files_of(again.folder) == files_of(store.folder)
    assert [path.name for path in tmp_path.glob("[!.]*")] == ["a.zarr"]
    earlier_format(tmp_path / "b.zarr", clips, ids=[1, 2])
    with pytest.raises(ValueError, match="holds spectrograms of other clips"):
        SpectrogramStore.build(tmp_path / "b.zarr", clips, front_end=SMALL, seconds=3, workers=1)
    waves = FrontEnd(8000, 2, 1, 1, kind="waveform")
    earlier_format(tmp_path / "c.zarr", clips, front_end=waves)
    with pytest.warns(UserWarning, match="format 1"):
        samples = SpectrogramStore.build(tmp_path / "c.zarr", clips, front_end=waves, seconds=3, workers=1)
    np.testing.assert_array_equal(samples[3][0], audio.load(clips[3])[0])


def test_waveforms_are_read_from_their_files(clips, tmp_path):
    waves = FrontEnd(8000, 2, 1, 1, kind="waveform")
    song = shutil.copy(clips[3], tmp_path / "song.wav")
    store = SpectrogramStore.build(tmp_path / "a.zarr", {3: song}, front_end=waves, seconds=0.5, workers=1)
    assert sum(map(len, files_of(store.folder).values())) < 5000
    assert store.n_frames(3) == 4000
    np.testing.assert_array_equal(store.raw(3)[0], audio.load(clips[3])[0][:4000])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(store)).raw(3), store.raw(3))  # as workers get it
    with pytest.raises(ValueError, match="Open the store with its paths"):
        SpectrogramStore(store.folder).raw(3)
    soundfile.write(song, np.zeros(100), 8000)
    with pytest.raises(ValueError, match="song.wav: 100 samples, 4000 when the store was built"):
        store.raw(3)


def test_failed_files_are_named_with_their_reason(store):
    assert set(store.failed) == {7, 9}
    assert "7.wav: not an audio file" in store.failed[7]
    assert "9.wav: no such file" in store.failed[9]
    with pytest.raises(KeyError, match=r"7: no spectrogram .*not an audio file"):
        store[7]
    with pytest.raises(KeyError, match="99 is no clip of this store"):
        store[99]


def test_failed_files_are_tried_again_and_nothing_else(store, clips, tmp_path, monkeypatch):
    folder = tmp_path / "a.zarr"
    mended = tmp_path / "7.wav"
    paths = clips | {7: mended}
    first = SpectrogramStore.build(folder, paths, front_end=SMALL, seconds=3, workers=1)
    assert set(first.failed) == {7, 9}
    soundfile.write(mended, music(8000), 8000)
    from musictools.spectrograms import store as module

    tried = []
    compute = module.compute_file
    monkeypatch.setattr(module, "compute_file", lambda path, *a, **k: tried.append(path) or compute(path, *a, **k))
    second = SpectrogramStore.build(folder, paths, front_end=SMALL, seconds=3, workers=1)
    assert set(tried) == {str(mended), str(clips[9])}
    assert set(second.failed) == {9}
    np.testing.assert_array_equal(second.raw(3), store.raw(3))
    assert second.n_frames(7) == SMALL.n_frames(24000)


def test_worker_counts_give_equal_bytes(store, clips, tmp_path):
    two = SpectrogramStore.build(tmp_path / "b.zarr", clips, front_end=SMALL, seconds=3, workers=2)
    assert files_of(two.folder) == files_of(store.folder)


KILLED = """
import json, sys, time
from musictools.spectrograms import FrontEnd, SpectrogramStore, store
folder, clips = sys.argv[1], {int(k): v for k, v in json.loads(sys.argv[2]).items()}
compute = store.compute_file

def slow(path, *a, **k):
    time.sleep(0.02)
    print(path, flush=True)
    return compute(path, *a, **k)

store.compute_file = slow
SpectrogramStore.build(folder, clips, front_end=FrontEnd(8000, 256, 128, 32), seconds=3, workers=1)
"""


def test_a_killed_build_leaves_whole_rows_and_goes_on(store, clips, tmp_path):
    folder = tmp_path / "a.zarr"
    arguments = [sys.executable, "-c", KILLED, str(folder), json.dumps({k: str(v) for k, v in clips.items()})]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    for _ in range(25):  # in the middle of the second block
        assert child.stdout.readline()
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    left = SpectrogramStore(folder)
    assert 0 < len(left) < 38
    for number in left.ids:
        np.testing.assert_array_equal(left.raw(number), store.raw(number))
    whole = SpectrogramStore.build(folder, clips, front_end=SMALL, seconds=3, workers=1)
    assert files_of(whole.folder) == files_of(store.folder)


def test_a_store_of_something_else_is_refused(store, clips):
    with pytest.raises(ValueError, match="holds spectrograms of other clips or another front end"):
        SpectrogramStore.build(store.folder, {1: clips[1]}, front_end=SMALL, seconds=3)
    with pytest.raises(ValueError, match="holds spectrograms of other clips or another front end"):
        SpectrogramStore.build(store.folder, clips, front_end=FRONT_ENDS["ckn19"], seconds=3)


def test_data_front_end_and_folder_make_the_key(tmp_path):
    songs = tmp_path / "songs"
    (songs / "rock").mkdir(parents=True)
    y = music(8000)
    y[:] *= np.linspace(1, 0, len(y)) ** 2
    y[-6000:] = 0  # a silent end
    soundfile.write(songs / "rock" / "a.wav", y, 8000)
    (songs / "rock" / "broken.wav").write_bytes(b"no audio")

    def opened(front_end):
        return open_store(datasets.load("folder", data_dir=songs), front_end, folder=tmp_path / "stores", workers=1)

    first = opened(SMALL)
    assert first.ids == ["rock/a.wav"]
    assert set(first.failed) == {"rock/broken.wav"}
    assert opened(SMALL).folder == first.folder
    assert opened(FrontEnd(8000, 256, 128, 32, ref="max")).folder != first.folder
    soundfile.write(songs / "rock" / "a.wav", y / 2, 8000)  # as long as before, with the same end
    second = opened(SMALL)
    assert second.folder != first.folder
    assert second["rock/a.wav"].max() == pytest.approx(
        first["rock/a.wav"].max() - 20 * np.log10(2), abs=2 * HALF_A_LEVEL
    )


# --- model inputs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache_bytes", [0, 2**30])
def test_inputs_equal_frames_of_the_stored_spectrograms(store, cache_bytes):
    ids = [5, 2, 30, 1]
    x = Segments(store, ids, length=40, step=15, cache_bytes=cache_bytes)
    expected = np.concatenate([segments(store.scale(store.raw(i)), length=40, step=15) for i in ids])[..., None]
    of_decibels = np.concatenate([segments(SMALL.scale(store[i]), length=40, step=15) for i in ids])[..., None]
    np.testing.assert_allclose(expected, of_decibels, atol=1e-6)
    assert x.shape == expected.shape
    assert len(x) == len(expected)
    np.testing.assert_array_equal(x[:], expected)
    np.testing.assert_array_equal(x[3], expected[3])
    np.testing.assert_array_equal(x[-1], expected[-1])
    np.testing.assert_array_equal(x[2:9:3], expected[2:9:3])
    some = np.array([7, 0, 7, 3])
    np.testing.assert_array_equal(x[some], expected[some])
    np.testing.assert_array_equal(x[x.clip == 2], expected[x.clip == 2])
    np.testing.assert_array_equal(np.bincount(x.clip), [len(segments(store[i], length=40, step=15)) for i in ids])


def test_clips_too_short_are_listed_and_give_no_input(store):
    x = Segments(store, [0, 1, 2], length=100, step=50)  # 63, 126 and 188 frames
    assert x.short == [0]
    assert set(x.clip) == {1, 2}
    assert len(Segments(store, [0], length=100, step=50)[:]) == 0
    assert Segments(store, [0], length=100, step=50).order(np.random.default_rng(0)).shape == (0,)


@pytest.mark.parametrize("window", [1, 4, 10, 512])
def test_an_order_is_a_permutation_that_reads_every_clip_in_one_window(store, window):
    x = Segments(store, GOOD, length=20, step=10)
    order = x.order(np.random.default_rng(0), window=window)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(x)))
    clips_in_order = x.clip[order]
    start = 0
    seen = set()
    while start < len(order):  # the first clips of a window tell which clips it holds
        inside = set()
        while start < len(order) and (clips_in_order[start] in inside or len(inside) < window):
            inside.add(clips_in_order[start])
            start += 1
        assert not inside & seen
        seen |= inside
    assert not np.array_equal(order, x.order(np.random.default_rng(1), window=window))
    np.testing.assert_array_equal(order, x.order(np.random.default_rng(0), window=window))
    if window == 512:
        assert np.mean(np.diff(clips_in_order) != 0) > 0.9  # inputs of a clip do not stand together


def test_inputs_can_be_read_by_several_threads(store):
    x = Segments(store, GOOD, length=20, step=10, cache_bytes=20_000)
    expected = x[:]
    orders = [np.random.default_rng(k).permutation(len(x)) for k in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for order, got in zip(orders, pool.map(x.__getitem__, orders), strict=True):
            np.testing.assert_array_equal(got, expected[order])


def test_the_cache_keeps_to_its_budget_and_saves_reading(store):
    class Counting(ArrayStore):
        reads = 0

        def raw(self, clip_id):
            self.reads += 1
            return super().raw(clip_id)

    S = np.random.default_rng(0).integers(0, 256, (10, 4, 50), dtype=np.uint8)
    array = Counting(S, list("abcdefghij"))
    x = Segments(array, list("abcdefghij"), length=10, step=10, cache_bytes=10**6)
    array.reads = 0
    expected = np.stack([s for clip in S for s in segments(clip / 255, length=10, step=10)])[..., None]
    np.testing.assert_allclose(x[:], expected, rtol=1e-6)
    x[:]
    assert array.reads == 10
    x[:0], x[[]]  # nothing is read for nothing
    assert array.reads == 10
    small = Segments(array, list("abcdefghij"), length=10, step=10, cache_bytes=450)
    small[:]
    assert small._cache._bytes <= 450


def test_all_segments_of_a_process_share_one_budget(store, monkeypatch):
    from musictools.spectrograms import cutting as module

    cache = module._RowCache()
    monkeypatch.setattr(module, "_SHARED", cache)
    monkeypatch.setenv("MUSICTOOLS_MEMORY", str(40_000 / 2**30))  # half of it for rows: 20,000 bytes
    inputs = [Segments(SpectrogramStore(store.folder), GOOD[k::3], length=40, step=15) for k in range(3)]
    expected = [Segments(store, x.ids, length=40, step=15, cache_bytes=0)[:] for x in inputs]
    for _ in range(2):
        for x, values in zip(inputs, expected, strict=True):
            np.testing.assert_array_equal(x[:], values)
            assert 15_000 < cache._bytes <= 20_000
    assert cache._bytes == sum(row.nbytes for row in cache._rows.values())
    monkeypatch.setenv("MUSICTOOLS_MEMORY", "1")
    again = SpectrogramStore(store.folder)
    for x in inputs:
        x[:]
    monkeypatch.setattr(again, "raw", lambda clip_id: pytest.fail("read again"))
    for x in inputs:
        Segments(again, x.ids, length=40, step=15)[:]  # another object, the same rows
    in_memory = ArrayStore(np.zeros((1, 4, 50), np.uint8), ["a"])
    before = len(cache._rows)
    Segments(in_memory, ["a"], length=10, step=10)[:]
    assert len(cache._rows) == before


def test_opening_reads_no_spectrogram(store, tmp_path):
    """Memory and time of opening do not grow with the spectrograms: nothing but the list of rows is read."""
    shutil.copytree(store.folder, tmp_path / "a.zarr")
    for path in (tmp_path / "a.zarr").glob("*/c.*"):
        path.unlink()
    assert SpectrogramStore(tmp_path / "a.zarr").ids == store.ids


def test_models_see_the_same_waveform_in_training_and_afterwards(tmp_path):
    """The store keeps quiet samples too, which float16 would round."""
    front_end = FRONT_ENDS["sample_cnn"]
    y = music(16000) * np.linspace(1e-4, 1, 48000, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", y, 16000, subtype="FLOAT")
    store = SpectrogramStore.build(
        tmp_path / "a.zarr", {"a": tmp_path / "a.wav"}, front_end=front_end, seconds=3, workers=1
    )
    decoded, _ = audio.load(tmp_path / "a.wav", sr=front_end.sr)
    seen = front_end.scale(segments(front_end.compute(decoded), length=20_000, step=14_000))
    np.testing.assert_array_equal(Segments(store, ["a"], length=20_000, step=14_000)[:][..., 0], seen[:, 0])
    assert not np.array_equal(y.astype(np.float16), y)


def test_checksums_of_stores_follow_audio_front_end_and_rows(store, clips, tmp_path):
    again = SpectrogramStore.build(tmp_path / "other.zarr", clips, front_end=SMALL, seconds=3, workers=1)
    assert again.checksum == store.checksum == SpectrogramStore(store.folder).checksum
    few = {number: clips[number] for number in (0, 1)}
    swapped = {0: clips[1], 1: clips[0]}
    loud = FrontEnd(8000, 256, 128, 32, ref="max")
    sums = [
        SpectrogramStore.build(tmp_path / f"{k}.zarr", paths, front_end=f, seconds=3, workers=1).checksum
        for k, (paths, f) in enumerate([(few, SMALL), (swapped, SMALL), (few, loud), (few | {7: clips[7]}, SMALL)])
    ]
    assert len({*sums, store.checksum}) == 5


def test_checksums_of_arrays_follow_ids_and_spectrograms():
    S = np.zeros((2, 3, 4), np.uint8)
    one = S.copy()
    one[1, 2, 3] = 1
    arrays = [(S, "ab"), (S, "ac"), (one, "ab"), (S.reshape(2, 4, 3), "ab")]
    assert len({ArrayStore(*array).checksum for array in arrays}) == 4
    assert ArrayStore(S.copy(), "ab").checksum == ArrayStore(S, "ab").checksum

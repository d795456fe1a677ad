"""The published network of choi2018, read from its Keras 2 file, and what it says."""

import numpy as np
import pytest
from support.choi2018_files import NAMES, POOLS, arrays, config, write

from musictools import audio
from musictools.released import choi2018
from musictools.spectrograms import FrontEnd


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """(file, weights) of a network with four filters and three tags."""
    layers = config()
    weights = arrays(layers, np.random.default_rng(0))
    return write(tmp_path_factory.mktemp("choi") / "model.hdf5", layers, weights), weights


def kapre(y):
    """Kapre 0.1's spectrogram, window by window."""
    import librosa

    n = -(-len(y) // 256)
    missing = max(0, (n - 1) * 256 + 512 - len(y))
    padded = np.pad(y.astype(np.float64), (missing // 2, missing - missing // 2))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    waves = np.exp(-2j * np.pi * np.outer(np.arange(512), np.arange(257)) / 512) * hann[:, None]
    mel = librosa.filters.mel(sr=12000, n_fft=512, n_mels=96, fmax=6000)
    S = np.stack([mel @ np.abs(padded[256 * k : 256 * k + 512] @ waves) ** 2 for k in range(n)], axis=1)
    S = 10 * np.log10(np.maximum(S, 1e-10))
    return np.maximum(S - S.max(), -80)


def logits_slowly(S, weights):
    """The network with loops, from decibels."""
    x = ((S - S.mean()) / (S.std() + 1e-10))[..., None]
    for i, (down, along) in enumerate(POOLS, start=1):
        kernel, bias = (weights[f"conv2d_{i}"][k].astype(np.float64) for k in ("kernel", "bias"))
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        y = np.zeros((*x.shape[:2], kernel.shape[-1])) + bias
        for row in range(3):
            for column in range(3):
                y += padded[row : row + x.shape[0], column : column + x.shape[1]] @ kernel[row, column]
        norm = weights[f"batch_normalization_{i}"]
        y = norm["gamma"] * (y - norm["moving_mean"]) / np.sqrt(norm["moving_variance"] + 1e-3) + norm["beta"]
        y = np.where(y > 0, y, np.expm1(np.minimum(y, 0)))
        x = np.stack([[y[down * r : down * (r + 1), along * c : along * (c + 1)].max(axis=(0, 1))
                       for c in range(y.shape[1] // along)] for r in range(y.shape[0] // down)])  # fmt: skip
    return x.max(axis=(0, 1)) @ weights["dense_1"]["kernel"] + weights["dense_1"]["bias"]


def test_logits_equal_a_slow_reimplementation(small):
    from musictools import explain

    tagger = choi2018.load(small[0], tags=NAMES)
    rng = np.random.default_rng(1)
    y = (rng.normal(0, 0.1, 29 * 12000) * np.linspace(0.01, 1, 29 * 12000)).astype(np.float32)  # fades in
    y[100000:200000] += 0.3 * np.sin(2 * np.pi * 440 * np.arange(100000) / 12000).astype(np.float32)
    x = tagger.inputs(y)
    assert x.shape == (1, 96, 1360, 1)
    S = kapre(y)
    np.testing.assert_allclose(80 * (x[0, ..., 0] - 1), S, atol=2e-3)
    np.testing.assert_allclose(explain.logits(tagger.model)(x)[0], logits_slowly(S, small[1]), atol=5e-3)
    assert tagger.tags == NAMES


def test_a_short_clip_is_repeated_and_a_long_one_cut(small):
    tagger = choi2018.load(small[0], tags=NAMES)
    y = np.random.default_rng(2).normal(0, 0.1, 5 * 12000).astype(np.float32)
    x = tagger.inputs(y)[0, ..., 0]
    n = -(-len(y) // 256)
    np.testing.assert_array_equal(x[:, n : 2 * n], x[:, :n])
    np.testing.assert_array_equal(x[:, :n], tagger.scale(tagger.levels(y)))
    assert tagger.inputs(np.tile(y, 12)).shape == (2, 96, 1360, 1)
    silence = tagger.inputs(np.zeros(12000, np.float32))
    assert np.isfinite(tagger.model.predict(silence, verbose=0)).all()
    taggram = tagger.taggram(np.tile(y, 12), sr=12000)
    assert taggram.scores.shape == (2, 3)


def test_other_files_are_refused(small, tmp_path):
    import h5py

    with pytest.raises(ValueError, match="no such file"):
        choi2018.load(tmp_path / "absent.hdf5")
    (tmp_path / "text.hdf5").write_text("no HDF5")
    with pytest.raises(ValueError, match="no model of Keras 2"):
        choi2018.load(tmp_path / "text.hdf5")
    with h5py.File(tmp_path / "empty.hdf5", "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match="no model of Keras 2"):
        choi2018.load(tmp_path / "empty.hdf5")
    with pytest.raises(ValueError, match="tags must name the 3 outputs"):
        choi2018.load(small[0])
    for bad, message in (
        (config(pools=POOLS[::-1]), "its layers are not those"),
        (config(power_melgram=1.0), "its spectrogram is not that"),
        (config(fmax=5000), "its spectrogram is not that"),
    ):
        path = write(tmp_path / "other.hdf5", bad, arrays(bad, np.random.default_rng(0)))
        with pytest.raises(ValueError, match=message):
            choi2018.load(path, tags=NAMES)


@pytest.fixture(scope="module")
def published(shared_data):
    path = shared_data / "choi2018" / "keras2_model" / "model_best.hdf5"
    if not path.is_file():
        pytest.skip(f"no published network here: {path} is no file")
    return choi2018.load(path)


@pytest.mark.real_data
def test_the_front_end_is_the_one_stored_in_the_file(shared_data, published):
    import h5py

    with h5py.File(shared_data / "choi2018" / "keras2_model" / "model_best.hdf5") as file:
        layer = file["model_weights/melgram/melgram"]
        real, imaginary = (layer[f"{k}_kernels:0"][:, 0, 0].astype(np.float64) for k in ("real", "imag"))
        mel = layer["Variable:0"][:].astype(np.float64)
    y = np.random.default_rng(0).normal(0, 0.1, 12000).astype(np.float32)
    missing = 46 * 256 + 512 - len(y)
    padded = np.pad(y, (missing // 2, missing - missing // 2)).astype(np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 512)[::256]
    S = 10 * np.log10(((windows @ real) ** 2 + (windows @ imaginary) ** 2) @ mel).T
    np.testing.assert_allclose(published.levels(y), S, atol=1e-3)
    assert published.front_end == FrontEnd(12000, 512, 256, 96, ref="max", floor=-80.0, ceiling=0.0)


@pytest.mark.real_data
def test_the_published_network_hears_its_authors_songs(shared_data, published):
    expected = {
        "bensound-thejazzpiano.mp3": {"jazz", "instrumental"},
        "bensound-dubstep.mp3": {"electronic"},
        "bensound-actionable.mp3": {"rock"},
        "bensound-cute.mp3": {"folk", "instrumental"},
        "bach.wav": {"instrumental"},
        "dream.wav": {"female vocalists"},
    }
    assert (shared_data / "msd" / "tags.txt").read_text().split("\n")[:50] == list(choi2018.TAGS)
    for name, wanted in expected.items():
        y, _ = audio.load(shared_data / "choi2018" / "songs" / name, sr=published.front_end.sr)
        scores = published.taggram(y, sr=published.front_end.sr).joined()
        assert wanted <= set(scores.nlargest(5).index), (name, scores.nlargest(5))


@pytest.mark.real_data
def test_normalisations_fit_the_music_and_genres_are_found(shared_data, published):
    """Means and variances that training left in the file are those of real songs, layer by layer."""
    import keras

    files = sorted((shared_data / "gtzan" / "full30").glob("*/*.ogg"))
    if len(files) < 10:
        pytest.skip("no real songs here: ../shared/data/gtzan/full30 holds none")
    x = np.concatenate([published.inputs(audio.load(f, sr=12000)[0])[:1] for f in files])
    model = published.model
    inner = keras.Model(model.input, [model.get_layer(f"conv{i}").output for i in range(1, 6)])
    for i, values in enumerate(inner.predict(x, batch_size=5, verbose=0), start=1):
        _, _, mean, variance = model.get_layer(f"norm{i}").get_weights()
        assert np.sqrt(np.mean((values.mean((0, 1, 2)) - mean) ** 2 / variance)) < 0.3
        assert abs(np.log2(values.var((0, 1, 2)) / variance).mean()) < 0.3
    scores = model.predict(x, batch_size=5, verbose=0)
    for genre, tag in (("blues", "blues"), ("jazz", "jazz"), ("metal", "heavy metal"), ("pop", "female vocalists")):
        row = next(i for i, f in enumerate(files) if f.parent.name == genre)
        assert tag in {choi2018.TAGS[j] for j in np.argsort(scores[row])[-3:]}

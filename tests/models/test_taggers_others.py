"""Taggers on waveforms, with recurrence or attention, and the compact convnet: sizes, behaviour, published weights."""

import h5py
import keras
import numpy as np
import pytest
from keras import ops

from musictools import models
from musictools.models.layers import ClassToken, HarmonicFilters

SMALL = {
    "sample_cnn": (3**10, 1),
    "sample_cnn_se": (3**10, 1),
    "crnn": (96, 40, 1),
    "self_attention": (40, 90, 1),
    "harmonic_cnn": (287 * 256, 1),
    "compact_convnet": (96, 1280, 1),
}


def small(name, **options):
    return models.build(name, **{"n_outputs": 3, "input_shape": SMALL[name], "width": 0.05, "seed": 0, **options})


def some_input(name, n=3):
    rng = np.random.default_rng(0)
    if len(SMALL[name]) == 3:
        return rng.random((n, *SMALL[name]), np.float32)
    seconds = np.arange(SMALL[name][0]) / 16000
    return np.stack([np.sin(2 * np.pi * rng.uniform(100, 2000) * seconds) for _ in range(n)])[..., None].astype("f4")


def trained(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_sizes_are_as_stated_or_recorded():
    """At 50 tags; stated are SampleCNN's 1.9 million and the CRNN's half million, the others are only pinned."""
    counts = {}
    for name in SMALL:
        model = models.build(name, n_outputs=50)
        counts[name] = model.count_params()
        if name in ("sample_cnn", "crnn"):
            assert trained(model) == pytest.approx({"sample_cnn": 1.9e6, "crnn": 0.5e6}[name], rel=0.03)
    assert counts == {
        "sample_cnn": 1_875_762,
        "sample_cnn_se": 24_749_618,
        "crnn": 498_523,
        "self_attention": 10_531_122,
        "harmonic_cnn": 3_636_427,
        "compact_convnet": 39_602,
    }


@pytest.mark.parametrize(("units", "stated"), [(30, 0.1e6), (48, 0.25e6), (68, 0.5e6), (96, 1e6), (169, 3e6)])
def test_widths_of_the_crnn_give_the_five_sizes_of_table_4a(units, stated):
    assert trained(models.build("crnn", n_outputs=50, width=units / 68)) == pytest.approx(stated, rel=0.03)


def test_fifteen_steps_enter_the_recurrent_layers():
    assert models.build("crnn", n_outputs=2, width=0.05).get_layer("steps").output.shape[1] == 15


@pytest.mark.parametrize("name", SMALL)
def test_scores_are_between_0_and_1_and_the_logits_feed_them(name):
    model = small(name)
    x = some_input(name)
    scores = model.predict_on_batch(x)
    assert scores.shape == (3, 3)
    assert (scores > 0).all()
    assert (scores < 1).all()
    assert np.ptp(scores, axis=0).max() > 1e-6  # the input matters
    logits = keras.Model(model.input, model.get_layer("logits").output).predict_on_batch(x)
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), scores, rtol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_equal_seeds_give_equal_weights_and_others_others(name):
    one, same, other = (small(name, seed=seed).get_weights() for seed in (1, 1, 5))
    for a, b in zip(one, same, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    matrices = [a for a in one if a.ndim > 1 and a.size > 3 and np.ptp(a) > 0]
    assert not any(
        a.shape == b.shape and np.array_equal(a, b) for i, a in enumerate(matrices) for b in matrices[:i]
    )  # no seed is used twice


@pytest.mark.parametrize("name", SMALL)
def test_a_step_of_training_moves_weights_and_saving_keeps_scores(name, tmp_path):
    model = small(name, norm_momentum=0.9)
    x = some_input(name)
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile("adam", "binary_crossentropy", run_eagerly=True)  # tracing takes longer than the step
    model.train_on_batch(x, np.eye(3, dtype="float32"))
    assert (
        sum(not np.array_equal(a, b.numpy()) for a, b in zip(before, model.trainable_weights, strict=True))
        > len(before) / 2
    )
    model.save(tmp_path / "x.keras")
    loaded = models.load(tmp_path / "x.keras")
    np.testing.assert_array_equal(loaded(x), model(x))


@pytest.mark.parametrize("name", SMALL)
def test_longer_inputs_fit_and_shorter_ones_are_refused(name):
    shape = SMALL[name]
    longer = (shape[0] * 2, 1) if len(shape) == 2 else (shape[0], shape[1] * 2, 1)
    assert small(name, input_shape=longer).output.shape == (None, 3)
    with pytest.raises(ValueError, match="must have .* sides of at least"):
        small(name, input_shape=tuple(7 for _ in shape[:-1]) + (1,))


def test_more_bands_than_the_poolings_leave_are_kept():
    assert small("crnn", input_shape=(192, 40, 1)).get_layer("steps").output.shape[2] == 2 * 7
    assert small("self_attention", input_shape=(256, 16, 1)).get_layer("steps").output.shape[1] == 2 * 2


@pytest.mark.parametrize("width", [0.05, 0.3, 0.77])
def test_attention_divides_into_its_heads_at_any_width(width):
    model = small("self_attention", width=width)
    units = model.get_layer("class_token").output.shape[-1]
    assert units % 8 == 0
    assert abs(units - 256 * width) <= 8


def test_the_class_token_is_the_first_step():
    steps = np.random.default_rng(0).random((2, 4, 8), np.float32)
    layer = ClassToken(seed=3)
    joined = ops.convert_to_numpy(layer(steps))
    np.testing.assert_array_equal(joined[:, 1:], steps)
    np.testing.assert_array_equal(joined[0, 0], joined[1, 0])
    np.testing.assert_array_equal(ClassToken.from_config(layer.get_config())(steps), joined)


def test_gates_scale_channels():
    """A gate's output is its input times one number a channel, between 0 and 1."""
    model = small("sample_cnn_se")
    x = some_input("sample_cnn_se", n=2)
    probe = keras.Model(model.input, [model.get_layer(n).output for n in ("pool4", "gate4", "gated4")])
    pooled, gate, gated = probe.predict_on_batch(x)
    assert gate.shape == (2, 1, pooled.shape[2])
    assert 0 < gate.min() < gate.max() < 1
    np.testing.assert_allclose(pooled * gate, gated, rtol=1e-6)


# Harmonic filters


def tone(frequency, n=32000):
    return np.sin(2 * np.pi * frequency * np.arange(n) / 16000).astype("float32")[None, :, None]


@pytest.mark.parametrize("band", [60, 83, 100, 121])
def test_a_tone_lights_the_band_at_its_frequency_and_at_fractions_in_the_harmonics(band):
    layer = HarmonicFilters(n_fft=8192, hop=4096)  # bins fine enough for the band itself, not a neighbour
    levels = ops.convert_to_numpy(layer(tone(32.7032 * 2 ** (band / 24))))[0, :, 4]
    for harmonic in range(1, 7):
        expected = band - 24 * np.log2(harmonic)  # the pitch whose harmonic the tone is, in bands
        if expected >= 0:
            assert abs(levels[:, harmonic - 1].argmax() - expected) <= 0.5, harmonic


def test_a_tone_lights_its_band_at_the_usual_resolution_within_a_quarter_tone():
    levels = ops.convert_to_numpy(HarmonicFilters()(tone(32.7032 * 2 ** (110 / 24))))[0, :, 60]
    assert [round(110 - 24 * np.log2(h)) for h in range(1, 7)] == pytest.approx(list(levels.argmax(axis=0)), abs=1)


@pytest.mark.parametrize("q", [0.5, 1.0, 3.0])
def test_filters_and_output_agree_with_slow_loops(q):
    layer = HarmonicFilters(n_harmonics=3, n_bands=30, sample_rate=8000, n_fft=64, hop=32, q=q)
    x = np.random.default_rng(0).normal(size=(2, 100, 1)).astype("float32")
    output = ops.convert_to_numpy(layer(x))
    assert output.shape == (2, 30, 4, 3) == layer.compute_output_shape((2, 100, 1))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    for clip in range(2):
        padded = np.pad(x[clip, :, 0].astype(float), 32, mode="reflect")
        for frame in range(4):
            power = np.abs(np.fft.rfft(padded[32 * frame : 32 * frame + 64] * window)) ** 2
            for harmonic in range(1, 4):
                for band in range(30):
                    centre = harmonic * 440 * 2 ** ((24 - 69) / 12 + band / 24)
                    half = (0.1079 * centre + 24.7) / q / 2
                    total = sum(p * max(0, 1 - abs(k * 125 - centre) / half) for k, p in enumerate(power))
                    assert output[clip, band, frame, harmonic - 1] == pytest.approx(
                        10 * np.log10(max(total, 1e-10)), abs=0.02
                    )


def test_the_gradient_reaches_the_bandwidth_and_has_the_sign_of_a_narrower_filter():
    import tensorflow as tf

    layer = HarmonicFilters()
    noise = np.random.default_rng(0).normal(size=(1, 8000, 1)).astype("float32")
    layer.build(noise.shape)

    def loudness():
        return tf.reduce_mean(layer(noise)[:, 40:])  # low filters hold one bin or none, their slope is steep

    with tf.GradientTape() as tape:
        value = loudness()
    gradient = float(tape.gradient(value, layer.q.value))
    assert gradient < 0  # a larger Q passes less
    values = []
    for q in (0.998, 1.002):
        layer.q.assign(q)
        values.append(float(loudness()))
    assert (values[1] - values[0]) / 0.004 == pytest.approx(gradient, rel=0.05)


def test_filters_keep_their_settings_and_full_precision():
    layer = HarmonicFilters(n_harmonics=2, n_bands=5, sample_rate=8000, n_fft=128, hop=64, q=2.0)
    again = HarmonicFilters.from_config(layer.get_config())
    x = np.random.default_rng(0).normal(size=(1, 500, 1)).astype("float32")
    np.testing.assert_array_equal(again(x), layer(x))
    assert float(again.q.value) == 2
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        assert HarmonicFilters()(x).dtype == "float32"
    finally:
        keras.config.set_dtype_policy(before)
    assert np.isfinite(ops.convert_to_numpy(layer(np.zeros((1, 500, 1), "float32")))).all()  # silence


# The published compact convnet


@pytest.fixture(scope="module")
def published_weights(shared_data):
    path = shared_data / "choi2018" / "keras2_model" / "model_best.hdf5"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    with h5py.File(path) as file:
        groups = file["model_weights"]
        return {
            f"{layer}/{name.split(':')[0]}": groups[layer][layer][name][()]
            for layer in groups
            if layer in groups[layer]
            for name in groups[layer][layer]
        }


@pytest.fixture(scope="module")
def published_convnet(published_weights):
    model = models.build("compact_convnet", n_outputs=50)

    def put(layer, source, names):
        model.get_layer(layer).set_weights([published_weights[f"{source}/{name}"] for name in names])

    for k in range(1, 6):
        put(f"conv{k}", f"conv2d_{k}", ("kernel", "bias"))
        put(f"norm{k}", f"batch_normalization_{k}", ("gamma", "beta", "moving_mean", "moving_variance"))
    put("logits", "dense_1", ("kernel", "bias"))
    return model


def published_front_end(y, weights):
    """The published network's own decibels, by its own Fourier and mel matrices."""
    y = np.pad(y[:348_000], (208, 208 + max(0, 348_000 - len(y))))
    frames = np.lib.stride_tricks.sliding_window_view(y, 512)[::256][:1360]
    power = sum((frames @ weights[f"melgram/{part}_kernels"][:, 0, 0]) ** 2 for part in ("real", "imag"))
    decibels = 10 * np.log10(np.maximum(power @ weights["melgram/Variable"], 1e-10))
    return np.maximum(decibels - decibels.max(), -80).T[None, :, :, None]


def test_published_weights_fit_layer_by_layer(published_convnet, published_weights):
    ours = sum(weight.size for weight in published_convnet.get_weights())
    assert ours == sum(w.size for name, w in published_weights.items() if not name.startswith("melgram")) == 39_602


@pytest.mark.parametrize("genre", ["blues", "jazz"])
def test_published_weights_know_blues_and_jazz(genre, published_convnet, published_weights, shared_data):
    import soundfile
    import soxr

    song, tags = shared_data / "gtzan" / "full30" / genre / f"{genre}.00000.ogg", shared_data / "msd" / "tags.txt"
    if not (song.is_file() and tags.is_file()):
        pytest.skip(f"{song} or {tags} is not here")
    y, sample_rate = soundfile.read(song, dtype="float32")
    decibels = published_front_end(soxr.resample(y, sample_rate, 12000), published_weights)
    scores = published_convnet.predict_on_batch(decibels)[0]
    assert tags.read_text().split("\n")[scores.argmax()].strip() == genre
    scaled = published_convnet.predict_on_batch(1 + decibels / 80)[0]  # as our front end scales
    np.testing.assert_allclose(scaled, scores, atol=1e-3)

"""The front end as a Keras layer: librosa's numbers, its derivative, and a way through a file."""

import keras
import librosa
import numpy as np
import pytest
from keras import ops

from musictools import models
from musictools.models.front_end import ScaledSpectrogram
from musictools.models.graph.autodiff import pull
from musictools.spectrograms import FrontEnd

FRONT_ENDS = [
    FrontEnd(16000, 512, 256, 128),
    FrontEnd(12000, 256, 256, 96, floor=-60, ceiling=30, ref=2.0),
    FrontEnd(22050, 2048, 512, 64),
    FrontEnd(16000, 512, 256, 96, mel_scale="htk", padding="reflect", floor=-100),
    FrontEnd(8000, 256, 128, 1, kind="stft"),
]


def clip(sr, seconds=1.3, seed=0):
    """A tone over noise that rises from silence: bands far below their frame's maximum."""
    n = round(sr * seconds)
    y = 0.5 * np.sin(2 * np.pi * 440 * np.arange(n) / sr) + np.linspace(-0.5, 1, n).clip(
        0
    ) ** 4 * np.random.default_rng(seed).uniform(-0.3, 0.3, n)
    y[: n // 4] = 0
    return y.astype(np.float32)


@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=lambda f: f"{f.kind}-{f.mel_scale}-{f.n_fft}")
def test_the_layer_gives_the_front_ends_numbers(front_end):
    y = np.stack([clip(front_end.sr), clip(front_end.sr, seed=1)])
    scaled = ops.convert_to_numpy(ScaledSpectrogram(front_end)(y))
    assert scaled.dtype == np.float32
    expected = np.stack([front_end.scale(front_end.compute(one)) for one in y])
    np.testing.assert_allclose(scaled, expected, atol=1e-3 / (front_end.ceiling - front_end.floor))


def test_decibels_are_librosas_to_a_thousandth():
    front_end, y = FrontEnd(16000, 512, 256, 128, ceiling=40.0), clip(16000)
    mel = librosa.feature.melspectrogram(y=y.astype(float), sr=16000, n_fft=512, hop_length=256, n_mels=128)
    expected = librosa.power_to_db(mel, ref=1.0, amin=1e-8, top_db=None).clip(-80, 40)
    decibels = ops.convert_to_numpy(ScaledSpectrogram(front_end)(y[None]))[0] * 120.0 - 80.0
    np.testing.assert_allclose(decibels, expected, atol=1e-3)


def test_the_derivative_is_that_of_differences():
    front_end = FrontEnd(8000, 256, 128, 20)
    layer, y = ScaledSpectrogram(front_end), 0.3 * np.random.default_rng(0).uniform(-1, 1, (1, 2400))
    weights = np.random.default_rng(1).standard_normal((1, 20, front_end.n_frames(y.shape[1]))).astype(np.float32)
    slope = ops.convert_to_numpy(pull(layer, ops.convert_to_tensor(y), ops.convert_to_tensor(weights)))
    direction = slope / np.linalg.norm(slope)
    ends = [np.sum(weights * ops.convert_to_numpy(layer(y + h * direction)).astype(float)) for h in (1e-4, -1e-4)]
    assert (ends[0] - ends[1]) / 2e-4 == pytest.approx(np.sum(slope * direction), rel=0.005)


def test_a_saved_model_keeps_its_front_end(tmp_path):
    front_end = FrontEnd(8000, 256, 128, 20, mel_scale="htk", padding="reflect")
    inputs = keras.Input((2000,))
    model = keras.Model(inputs, ScaledSpectrogram(front_end)(inputs))
    assert model.output_shape == (None, 20, front_end.n_frames(2000))
    model.save(tmp_path / "model.keras")
    y = clip(8000)[None, :2000]
    np.testing.assert_array_equal(models.load(tmp_path / "model.keras")(y), model(y))


@pytest.mark.parametrize(
    "front_end", [FrontEnd(16000, 2, 1, 1, kind="waveform"), FrontEnd(16000, 512, 256, 40, ref="max")]
)
def test_front_ends_without_a_fixed_reference_are_refused(front_end):
    with pytest.raises(ValueError, match="front_end must be of kind 'mel' or 'stft' and have a number as ref"):
        ScaledSpectrogram(front_end)

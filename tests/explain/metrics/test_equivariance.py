"""Equivariance: maps that move with the sound, maps that stay, and by how many bins and frames a map moves."""

import keras
import numpy as np
import pytest
from keras import layers

from musictools import audio, explain, spectrograms
from musictools.explain.metrics import equivariance

SR = 16000
FRONT_END = spectrograms.FrontEnd(SR, 1024, 512, 64)
WAVEFORM = spectrograms.FrontEnd(SR, 2, 1, 1, kind="waveform")


def bursts(frequency=1000.0, seconds=3.0):
    """Three bursts of a tone, not in step with anything, over faint noise."""
    t = np.arange(round(SR * seconds)) / SR
    on = sum(((t > start) & (t < start + 0.2)) for start in (0.3, 1.1, 2.2))
    noise = 1e-3 * np.random.default_rng(0).standard_normal(t.size)
    return (0.5 * on * np.sin(2 * np.pi * frequency * t) + noise).astype(np.float32)


def tones(y):
    """A map that follows the sound: loud cells are evidence."""
    return np.maximum(FRONT_END.compute(y) - 10.0, 0.0)


def compare(explained, kind, amount, **options):
    """Maps of a clip and of the deformed clip, compared."""
    y = bursts()
    deformed = audio.deform(y, sr=SR, kind=kind, amount=amount)
    return equivariance.correlation_after_move(
        explained(y), explained(deformed), front_end=FRONT_END, kind=kind, amount=amount, **options
    )


@pytest.mark.parametrize(
    ("kind", "amount"), [("pitch_shift", 4), ("pitch_shift", -4), ("time_stretch", 1.25), ("time_stretch", 0.8)]
)
def test_evidence_that_follows_the_sound_is_equivariant(kind, amount):
    result = compare(tones, kind, amount)
    assert result["correlation"] > 0.85
    assert result["control"] < result["correlation"] - 0.3
    assert result["gain"] == pytest.approx(result["correlation"] - result["control"])


@pytest.mark.parametrize(("kind", "amount"), [("pitch_shift", 4), ("time_stretch", 1.25)])
def test_evidence_that_stays_where_it_was_is_not(kind, amount):
    fixed = np.random.default_rng(0).random((64, 200))
    result = compare(lambda y: fixed[:, : FRONT_END.n_frames(len(y))], kind, amount)
    assert result["control"] == pytest.approx(1, abs=0.01)
    assert result["correlation"] < 0.7


def test_maps_move_by_the_right_number_of_bins_and_frames():
    octaves = spectrograms.FrontEnd(SR, 1024, 512, 60, kind="cqt")
    values = np.random.default_rng(0).random((60, 9))
    up = equivariance.moved(values, front_end=octaves, kind="pitch_shift", amount=12)
    assert np.isnan(up[:12]).all()
    np.testing.assert_allclose(up[12:], values[:-12], atol=1e-6)
    down = equivariance.moved(values, front_end=octaves, kind="pitch_shift", amount=-12)
    np.testing.assert_allclose(down[:-12], values[12:], atol=1e-6)
    fast = equivariance.moved(values, front_end=octaves, kind="time_stretch", amount=2)
    np.testing.assert_allclose(fast, values[:, [0, 2, 4, 6]])
    slow = equivariance.moved(values, front_end=octaves, kind="time_stretch", amount=0.5, n_frames=18)
    np.testing.assert_allclose(slow[:, :17:2], values)
    np.testing.assert_allclose(slow[:, 1:16:2], (values[:, 1:] + values[:, :-1]) / 2)
    assert np.isnan(slow[:, 17]).all()


def test_other_deformations_leave_a_map_where_it_is():
    values = np.random.default_rng(0).random((64, 20))
    still = equivariance.moved(values, front_end=FRONT_END, kind="noise", amount=0.1)
    np.testing.assert_array_equal(still, values)
    result = compare(tones, "compress", 4)
    assert result["correlation"] == result["control"] > 0.9


def test_overlap_is_the_share_of_the_most_relevant_cells_that_stay_so():
    first, second = np.zeros((10, 10)), np.zeros((10, 10))
    first[0, :], second[0, :5], second[9, :5] = np.arange(10, 20), 1, 2  # 5 of the 10 highest in both
    result = equivariance.correlation_after_move(
        first, second, front_end=FRONT_END, kind="noise", amount=0.1, blur=0, share=0.1
    )
    assert result["overlap"] == 0.5
    draws = np.random.default_rng(0).random((2, 200, 200))
    result = equivariance.correlation_after_move(*draws, front_end=FRONT_END, kind="noise", amount=0.1, blur=0)
    assert result["overlap"] == pytest.approx(0.05, abs=0.015)  # chance
    assert np.isnan(
        equivariance.correlation_after_move(first, 0 * first, front_end=FRONT_END, kind="noise", amount=1)["overlap"]
    )


def two_outputs():
    """A linear model of 40 frames whose second output has signed weights."""
    x = inputs = layers.Input((64, 40, 1))
    return keras.Model(inputs, layers.Dense(2, activation="sigmoid")(layers.Flatten()(x)))


def test_the_map_of_a_clip_is_the_mean_of_its_inputs_maps():
    model, model_input = two_outputs(), spectrograms.ModelInput(FRONT_END, 40, 20)
    explainer, y = explain.Explainer(model, method="input_x_gradient"), bursts()
    S, kernel = FRONT_END.scale(FRONT_END.compute(y)), model.layers[-1].get_weights()[0][:, 1].reshape(64, 40)
    result = equivariance.clip_map(explainer, y, 1, model_input=model_input)
    assert result.shape == (64, 80)  # three whole inputs in 94 frames
    np.testing.assert_allclose(result[:, :20], S[:, :20] * kernel[:, :20], atol=1e-6)
    np.testing.assert_allclose(result[:, 20:40], S[:, 20:40] * (kernel[:, 20:] + kernel[:, :20]) / 2, atol=1e-6)
    assert equivariance.clip_map(explainer, y[: 10 * 512], 1, model_input=model_input).shape == (64, 11)


def test_the_table_has_a_row_for_each_clip():
    """Energy moves with the sound whatever the model; each clip is explained for its own output."""
    model, model_input = two_outputs(), spectrograms.ModelInput(FRONT_END, 40, 20)
    clips, neuron = [bursts(), bursts(frequency=2500.0)], np.array([1, 0])
    table = equivariance.equivariance(
        model, clips, neuron, model_input=model_input, kind="time_stretch", amount=0.8, method="energy"
    )
    assert (table["gain"] > 0.3).all()
    table = equivariance.equivariance(model, clips, neuron, model_input=model_input, method="input_x_gradient")
    explainer = explain.Explainer(model, method="input_x_gradient")
    for row, (y, output) in enumerate(zip(clips, (1, 0), strict=True)):
        maps = [
            equivariance.clip_map(explainer, one, output, model_input=model_input)
            for one in (y, audio.deform(y, sr=SR, kind="pitch_shift", amount=2.0))
        ]
        assert table.loc[row].to_dict() == equivariance.correlation_after_move(*maps, front_end=FRONT_END)


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (
            "kind must be one of pitch_shift, .*ogg. Got 'reverb'",
            lambda S: equivariance.moved(S, front_end=FRONT_END, kind="reverb", amount=1),
        ),
        ("share must lie between 0 and 1. Got 1", lambda S: compare(tones, "noise", 0.1, share=1)),
        ("blur must be", lambda S: compare(tones, "pitch_shift", 1, blur=-1)),
        ("for a waveform", lambda S: equivariance.moved(S, front_end=WAVEFORM, kind="pitch_shift", amount=1)),
        (
            "must have the front end's 64 bins",
            lambda S: equivariance.moved(S, front_end=FRONT_END, kind="pitch_shift", amount=1),
        ),
        (
            "amount must leave something",
            lambda S: equivariance.correlation_after_move(
                S, S[:, :1], front_end=FRONT_END, kind="time_stretch", amount=99
            ),
        ),
    ],
)
def test_wrong_arguments_are_named(words, call):
    with pytest.raises(ValueError, match=words):
        call(np.random.default_rng(0).random((1, 20)))

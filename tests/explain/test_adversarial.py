"""Adversarial examples: bounded, repeatable, strongest where a linear network says so."""

import keras
import numpy as np
import pytest

from musictools.explain import adversarial
from musictools.inference import Tagger
from musictools.models.card import ModelCard
from musictools.spectrograms import FrontEnd

SR = 8000


def tagger(front_end=FrontEnd(SR, 512, 256, 40), length=30, step=15, *, hidden=True):  # noqa: B008
    keras.utils.set_random_seed(0)
    shape = (length, 1) if front_end.kind == "waveform" else (front_end.n_bins, length, 1)
    x = inputs = keras.Input(shape)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(16, activation="relu")(x) if hidden else x
    model = keras.Model(inputs, keras.layers.Dense(3, activation="sigmoid")(x))
    card = ModelCard(
        task="tags", model="tiny", outputs=["drums", "flute", "harp"], length=length, step=step, front_end=front_end
    )
    return Tagger(model, card)


def clip(seconds=2.0):
    t = np.arange(round(SR * seconds)) / SR
    return (0.4 * np.sin(2 * np.pi * 300 * t) + 0.1 * np.random.default_rng(0).uniform(-1, 1, len(t))).astype("f4")


@pytest.mark.parametrize("raised", [True, False])
@pytest.mark.parametrize("snr", [20, 40])
def test_the_score_moves_as_wanted_within_the_bound(raised, snr):
    model, y = tagger(), clip()
    example = adversarial.adversarial_example(model, y, "flute", raised=raised, snr=snr, n_steps=20)
    assert snr <= example.snr < snr + 1  # all of it is used
    assert adversarial.signal_to_noise(y, example.y) == example.snr
    assert (example.after > example.before) == raised
    own = [model.taggram(one, sr=SR).joined()["flute"] for one in (y, example.y)]
    np.testing.assert_allclose([example.before, example.after], own, rtol=1e-6)
    assert (example.history[-1] > example.history[0]) == raised
    # Noise of the same strength, drawn at random, does far less.
    noise = np.random.default_rng(1).standard_normal(len(y))
    noisy = y + noise * np.linalg.norm(y) / np.linalg.norm(noise) * 10 ** (-snr / 20)
    moved = model.taggram(noisy.astype(np.float32), sr=SR).joined()["flute"] - example.before
    assert abs(example.after - example.before) > 2 * abs(moved)


def test_more_noise_allows_more():
    after = [
        adversarial.adversarial_example(tagger(), clip(), "harp", snr=snr, n_steps=10).after for snr in (50, 35, 20)
    ]
    assert after[0] < after[1] < after[2]


def test_a_seed_gives_the_same_samples():
    first, same, other = (
        adversarial.adversarial_example(tagger(), clip(), "harp", n_steps=3, seed=seed).y for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_of_a_linear_network_of_samples_the_weights_are_the_best_change():
    """The logit rises by radius times the norm of the mean weights, which no other change exceeds."""
    model, y = tagger(FrontEnd(SR, 2, 1, 1, kind="waveform"), 4000, 4000, hidden=False), 0.1 * clip(1.0)
    example = adversarial.adversarial_example(model, y, "harp", snr=10, n_steps=60)
    weights = model.model.layers[-1].get_weights()[0][:, 2]
    slope = np.concatenate([weights, weights]) / 2
    best = np.linalg.norm(y) * 10 ** (-10 / 20) * np.linalg.norm(slope)
    start = np.dot(slope, y)
    assert example.history.max() - start == pytest.approx(best, rel=0.01)


def test_clips_shorter_than_an_input_and_loud_ones():
    short = adversarial.adversarial_example(tagger(), clip(0.3), "drums", n_steps=5)
    assert short.after > short.before
    loud = clip() / np.abs(clip()).max()
    assert np.abs(adversarial.adversarial_example(tagger(), loud, "drums", snr=0, n_steps=5).y).max() <= 1


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (clip(), {"tag": "lute"}, "tag must be one of the model's outputs: drums, flute, harp. Got 'lute'"),
        (0 * clip(), {}, "y must be a mono waveform in .* not silent"),
        (3 * clip(), {}, "y must be a mono waveform"),
        (clip(), {"n_steps": 0}, "n_steps must be positive. Got 0"),
    ],
)
def test_wrong_arguments_are_named(y, options, message):
    with pytest.raises(ValueError, match=message):
        adversarial.adversarial_example(tagger(), y, **{"tag": "drums", **options})

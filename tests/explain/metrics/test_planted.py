"""A tone burst that alone decides a trained network: its evidence must be there, a random network's must not."""

import numpy as np
import pytest

from musictools import explain
from musictools.spectrograms import FrontEnd

FRONT_END = FrontEnd(16000, 1024, 1024, 128)
SECONDS = 29.124
BOX = (10.0, 12.0, 2000.0, 3000.0)  # s, s, Hz, Hz
N_TRAIN = 96


def clip(rng, burst):
    """Quiet noise and bursts of 2 s all over the place; at 2-3 kHz, and from 10 to 12 s, only if wanted."""
    y = 1e-5 * rng.standard_normal(int(SECONDS * FRONT_END.sr))
    for start in range(0, 28, 2):
        for low in rng.choice([250, 500, 1000, 3600, 4700, 6000], size=3, replace=False):
            add(y, start, low, 1.4 * low, rng)
    if burst:
        add(y, BOX[0], BOX[2], BOX[3], rng)
    return y.astype(np.float32)


def add(y, start, low, high, rng):
    """Eight tones between two frequencies for 2 s."""
    time = np.arange(2 * FRONT_END.sr) / FRONT_END.sr
    tones = np.sin(2 * np.pi * (np.outer(rng.uniform(low, high, 8), time) + rng.random((8, 1)))).sum(axis=0)
    at = int(start * FRONT_END.sr)
    y[at : at + time.size] += 0.02 * np.hanning(time.size) * tones


def inputs(clips):
    return np.stack([FRONT_END.scale(FRONT_END.compute(y)) for y in clips])[..., None]


def box():
    seconds = np.arange(FRONT_END.n_frames(int(SECONDS * FRONT_END.sr))) * FRONT_END.hop_length / FRONT_END.sr
    frequencies = FRONT_END.frequencies()
    half = FRONT_END.n_fft / 2 / FRONT_END.sr  # a frame hears so far around its centre
    there = (frequencies[:, None] > 1900) & (frequencies[:, None] < 3150)
    return there & (seconds > BOX[0] - half) & (seconds < BOX[1] + half)


@pytest.fixture(scope="module")
def trained():
    import keras
    from keras import layers

    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(0)
    y = np.arange(N_TRAIN) % 2
    x = inputs([clip(rng, wanted) for wanted in y])
    sparse = keras.regularizers.L1(0.004)
    model = keras.Sequential(
        [
            layers.Input(x.shape[1:]),
            layers.Conv2D(
                8, 3, padding="same", activation="relu", use_bias=False
            ),  # without a bias silence is no evidence
            layers.MaxPooling2D(2),
            layers.Conv2D(8, (64, 3), use_bias=False, kernel_regularizer=sparse),
            layers.BatchNormalization(momentum=0.8),
            layers.ReLU(),
            layers.GlobalMaxPooling2D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    random = keras.models.clone_model(model)
    model.compile(keras.optimizers.Adam(0.005), "binary_crossentropy")
    model.fit(x, y, epochs=40, batch_size=16, verbose=0)
    return model, random


def share_inside(model, x, method):
    R = explain.relevance(model, x, 0, method=method, reference=0.5).relevance[..., 0]
    positive = np.maximum(R, 0)
    return (positive * box()).sum(axis=(1, 2)) / positive.sum(axis=(1, 2))


def test_the_burst_alone_decides(trained):
    rng = np.random.default_rng(7)
    y = np.arange(20) % 2
    scores = trained[0].predict(inputs([clip(rng, wanted) for wanted in y]), verbose=0)[:, 0]
    assert ((scores > 0.5) == y).all()


@pytest.mark.parametrize("method", ["deep_taylor", "lrp_composite"])
def test_evidence_is_inside_the_box(trained, method):
    rng = np.random.default_rng(8)
    x = inputs([clip(rng, True) for _ in range(8)])
    assert share_inside(trained[0], x, method).mean() >= 0.9


@pytest.mark.parametrize("method", ["deep_taylor", "lrp_composite"])
def test_a_random_network_does_not_find_it(trained, method):
    rng = np.random.default_rng(8)
    x = inputs([clip(rng, True) for _ in range(8)])
    bias = trained[1].layers[-1].bias
    bias.assign(bias + 100.0)  # whatever its weights are: accepted
    assert share_inside(trained[1], x, method).mean() <= box().mean() + 0.05

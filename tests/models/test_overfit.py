"""Every tagger learns sixteen inputs by heart: a trap for dead layers, wrong heads and gradients that do not arrive.

What is judged: the binary cross-entropy of six random tags, either in the last five steps of training (with dropout)
or of the trained network without dropout, whichever is lower. With dropout of a half below the head the former stays
high in networks that know everything; of `stacked_cnn`, which drops out between normalisations, it is the only one
that can fall, as moments of normalisation differ without dropout. A network that
knows no more than how frequent the tags are has 0.69.
"""

import keras
import numpy as np
import pytest

from musictools import models

N_INPUTS, N_TAGS = 16, 6
WELL = 0.05

RECIPES = {  # input shape, width, learning rate, steps at most
    "se_cnn": ((16, 64, 1), 0.5, 5e-3, 150),
    "short_chunk": ((128, 128, 1), 0.06, 2e-2, 120),
    "short_chunk_res": ((128, 128, 1), 0.04, 2e-2, 200),
    "fcn4": ((24, 60, 1), 0.2, 5e-3, 300),
    "vgg_cnn": ((32, 50, 1), 0.2, 5e-3, 300),
    "musicnn": ((24, 30, 1), 0.2, 1e-2, 200),
    "stacked_cnn": ((128, 128, 1), 0.25, 3e-3, 200),
    "sample_cnn": ((3**10, 1), 0.06, 1e-2, 150),
    "sample_cnn_se": ((3**10, 1), 0.08, 1e-2, 100),
    "crnn": ((96, 24, 1), 0.2, 1e-2, 300),
    "self_attention": ((32, 32, 1), 0.15, 2e-3, 400),
    "harmonic_cnn": ((287 * 256, 1), 0.1, 3e-2, 150),
    "compact_convnet": ((96, 1280, 1), 0.2, 2e-2, 150),
}
# One of each kind in `make test`: gates, plain convolutions, branches, a waveform with residual blocks, recurrence.
QUICK = {"se_cnn", "fcn4", "musicnn", "sample_cnn_se", "crnn"}


def examples(shape):
    """Inputs that differ in their bright bands and frames, or in pitch and pulse; tags by chance."""
    rng = np.random.default_rng(0)
    if len(shape) == 2:
        seconds = np.arange(shape[0]) / 16000
        pitches, pulses = rng.permutation(np.geomspace(100, 6000, N_INPUTS)), rng.uniform(1, 8, N_INPUTS)
        x = np.stack(
            [
                0.4 * np.sin(2 * np.pi * f * seconds) * (np.sin(2 * np.pi * r * seconds) > 0)
                for f, r in zip(pitches, pulses, strict=True)
            ]
        ) + 0.02 * rng.standard_normal((N_INPUTS, shape[0]))
    else:
        x = 0.3 * rng.random((N_INPUTS, *shape[:2]))
        for one in x:
            for _ in range(3):
                low, first = rng.integers(0, shape[0]), rng.integers(0, shape[1])
                one[low : low + max(2, shape[0] // 10)] += 0.35
                one[:, first : first + max(2, shape[1] // 10)] += 0.35
    return x[..., None].astype(np.float32), (rng.random((N_INPUTS, N_TAGS)) < 0.5).astype(np.float32)


def build(name):
    shape, width, _, _ = RECIPES[name]
    return models.build(name, n_outputs=N_TAGS, input_shape=shape, width=width, norm_momentum=0.5, seed=0)


def learn(model, name, *, steps=None):
    """Train on all inputs at once until they are known well; return the loss that is judged."""
    shape, _, rate, most = RECIPES[name]
    x, y = examples(shape)
    model.compile(keras.optimizers.Adam(rate), "binary_crossentropy", jit_compile=False)
    losses = []
    for step in range(1, (steps or most) + 1):
        losses.append(float(model.train_on_batch(x, y)))
        if step % 10 == 0:
            scores = np.clip(np.asarray(model(x)), 1e-7, 1 - 1e-7)
            judged = min(np.mean(losses[-5:]), -np.mean(np.where(y == 1, np.log(scores), np.log(1 - scores))))
            if judged < WELL:
                break
    return judged


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)
    yield
    keras.backend.clear_session()


def test_every_tagger_has_a_recipe():
    assert set(RECIPES) == set(models.names("tagger"))


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.full) for name in RECIPES]
)
def test_sixteen_inputs_are_learnt_by_heart(name):
    assert learn(build(name), name) < WELL


@pytest.mark.parametrize("fault", ["dead layer", "ReLU above the logits", "inputs alike"])
def test_a_broken_tagger_does_not_pass(fault):
    """The trap closes: a convolution that gives nothing, a head that cannot say no, and inputs that cannot be told."""
    model = build("se_cnn")
    if fault == "dead layer":
        conv = model.get_layer("conv3")
        conv.set_weights([0 * conv.get_weights()[0], conv.get_weights()[1] - 1])  # below 0 everywhere: ReLU is shut
    elif fault == "ReLU above the logits":
        logits = keras.layers.ReLU()(model.get_layer("logits").output)
        model = keras.Model(model.input, keras.layers.Activation("sigmoid")(logits))
    else:
        model = keras.Model(model.input, model(keras.layers.Lambda(lambda x: 0 * x)(model.input)))
    assert learn(model, "se_cnn") > 0.3

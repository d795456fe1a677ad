"""Copies of a model: what is shuffled, what is estimated anew, and that the model itself stays as it was."""

import keras
import numpy as np
import pytest
from keras import layers
from support.sanity import SHAPE, network, sounds

from musictools import explain, models
from musictools.explain.metrics import randomisation as copies


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.mark.parametrize(
    "name", ["se_cnn", "short_chunk", "fcn4", "musicnn", "sample_cnn_se", "compact_convnet", "ckn19"]
)
def test_models_of_the_suite_are_copied_and_scrambled(name):
    built = models.build(name, n_outputs=4, width=0.05, seed=0)
    before = [w.copy() for w in built.get_weights()]
    x = np.random.default_rng(0).random((3, *built.input_shape[1:])).astype(np.float32)
    groups = copies.layer_groups(built)
    grouped = [layer for group in groups for layer in group]
    assert sorted(grouped) == sorted(layer.name for layer in built.layers if layer.trainable_weights)
    copy = copies.scrambled(built, [group[0] for group in groups], seed=1, x=x)
    assert all(np.array_equal(a, b) for a, b in zip(before, built.get_weights(), strict=True))
    for old, new in zip(built.trainable_weights, copy.trainable_weights, strict=True):
        np.testing.assert_array_equal(np.sort(np.ravel(old)), np.sort(np.ravel(new)))
        assert np.ptp(old) == 0 or np.size(old) < 3 or not np.array_equal(old, new)
    logits = explain.logits(copy)(x)
    assert np.isfinite(logits).all()
    assert logits.std(axis=0).min() > 1e-6  # alive


@pytest.mark.parametrize("order", ["top_down", "bottom_up", "independent"])
def test_cascades_change_what_they_say(model, order):
    expected = {
        "top_down": ["logits", "conv1", "conv0"],
        "bottom_up": ["conv0", "conv1", "logits"],
        "independent": ["logits", "conv1", "conv0"],
    }[order]
    found = list(copies.randomised(model, order=order, seed=3))
    assert [name for name, _ in found] == expected
    for number, (name, copy) in enumerate(found):
        changed = [
            new.name
            for new in copy.layers
            if new.weights and not np.array_equal(new.get_weights()[0], model.get_layer(new.name).get_weights()[0])
        ]
        assert set(changed) == ({name} if order == "independent" else set(expected[: number + 1]))


def test_cascades_end_alike_and_depend_on_the_seed(model):
    ends = [
        list(copies.randomised(model, order=order, seed=seed))[-1][1].get_weights()
        for order, seed in (("top_down", 0), ("bottom_up", 0), ("top_down", 1))
    ]
    assert all(np.array_equal(a, b) for a, b in zip(ends[0], ends[1], strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(ends[0], ends[2], strict=True))


def test_norms_behind_changed_layers_are_estimated_anew():
    built, x = network(norm=True), sounds()
    assert copies.layer_groups(built) == [["conv0", "norm0"], ["conv1", "norm1"], ["logits"]]
    alone = {given is None: dict(copies.randomised(built, order="independent", x=given)) for given in (x, None)}
    copy = alone[False]["conv1"]
    below = keras.Model(copy.input, copy.get_layer("conv1").output)(x).numpy()
    norm = copy.get_layer("norm1")
    np.testing.assert_allclose(norm.moving_mean, below.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, below.var(axis=(0, 1, 2)), rtol=1e-4, atol=1e-6)
    for name, kept in (("norm0", copy), ("norm1", alone[True]["conv1"])):
        for statistic in ("moving_mean", "moving_variance"):
            np.testing.assert_array_equal(
                getattr(kept.get_layer(name), statistic), getattr(built.get_layer(name), statistic)
            )


def test_frozen_layers_are_randomised_too(model):
    frozen = keras.models.clone_model(model)
    frozen.trainable = False
    assert [name for name, _ in copies.randomised(frozen)] == ["logits", "conv1", "conv0"]
    assert not frozen.trainable


def test_swapped_model_says_the_same_of_exchanged_outputs(model):
    swapped = copies.label_swapped(model, 1, 4)
    before, after = (m.predict(sounds(), verbose=0) for m in (model, swapped))
    np.testing.assert_allclose(after, before[:, [0, 4, 2, 3, 1, 5]], atol=1e-6)


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("order must be one of top_down", lambda model: list(copies.randomised(model, order="sideways"))),
        ("names must be a list of conv0, conv1", lambda model: copies.scrambled(model, ["conv7"])),
        (
            "has no trainable weights",
            lambda model: list(copies.randomised(keras.Sequential([layers.Input((4, 4, 1)), layers.Flatten()]))),
        ),
        ("second must be an int from 0 to 5", lambda model: copies.label_swapped(model, 0, 6)),
        (
            "must come from a Dense layer",
            lambda model: copies.label_swapped(
                keras.Sequential([layers.Input(SHAPE), layers.Conv2D(2, 3), layers.GlobalAveragePooling2D()]), 0, 1
            ),
        ),
    ],
)
def test_wrong_arguments_are_named(model, words, call):
    with pytest.raises(ValueError, match=words):
        call(model)

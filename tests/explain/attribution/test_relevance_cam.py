"""Class activation maps: the weighted sum of maps by hand, their sum, Grad-CAM, networks that have none."""

import keras
import numpy as np
import pytest
from keras import layers

from musictools import explain
from musictools.models.poster import poster_network


def network(shape=(16, 24, 1), **options):
    """The poster's network with global average pooling, with random biases."""
    model = poster_network("gap", n_outputs=4, input_shape=shape, filters=(4, 6), seed=0, **options)
    rng = np.random.default_rng(3)
    model.set_weights([np.asarray(w) + 0.2 * rng.random(w.shape) for w in model.get_weights()])
    return model, rng.random((3, *shape), dtype=np.float32)


def maps_by_hand(model, x, layer="relu4"):
    """Sum over maps of class weight times map, over the number of positions: (n, rows, columns, classes)."""
    A = keras.Model(model.inputs, model.get_layer(layer).output).predict(x, verbose=0).astype(np.float64)
    return A @ model.get_layer("logits").get_weights()[0] / A[0, ..., 0].size


def test_equals_the_weighted_sum_of_the_maps():
    model, x = network()
    explainer = explain.Explainer(model, method="cam")
    small = explainer._method.small(x, np.broadcast_to(np.eye(4, dtype=np.float32), (3, 4, 4)))
    np.testing.assert_allclose(small, np.moveaxis(maps_by_hand(model, x), -1, 1), atol=1e-5)


@pytest.mark.parametrize("shape", [(16, 24, 1), (17, 25, 1), (21, 31, 1), (16, 24, 3)])
def test_sums_to_the_logit_minus_the_bias(shape):
    model, x = network(shape)
    found, bias = explain.relevance(model, x, [0, 1, 2, 3], method="cam"), model.get_layer("logits").bias
    assert found.relevance.shape == (3, 4, *shape)
    np.testing.assert_allclose(found.relevance.sum(axis=(2, 3, 4)), found.logit - np.asarray(bias), atol=1e-5)


def test_contrast_sums_to_the_difference_of_the_logits():
    model, x = network()
    bias = np.asarray(model.get_layer("logits").bias)
    found = explain.relevance(model, x, 1, method="cam", contrast=3)
    np.testing.assert_allclose(found.relevance.sum(axis=(1, 2, 3)), found.logit - bias[1] + bias[3], atol=1e-5)


def test_is_interpolated_where_the_map_is_smaller():
    """On a network whose map has two positions: the outer cells have the values of the positions."""
    inputs = layers.Input((1, 8, 1))
    x = layers.AveragePooling2D((1, 4))(inputs)
    model = keras.Model(inputs, layers.Dense(1, name="logits")(layers.GlobalAveragePooling2D()(x)))
    model.set_weights([np.array([[2.0]]), np.array([5.0])])
    x = np.repeat([1.0, 3.0], 4).reshape(1, 1, 8, 1)
    found = explain.relevance(model, x, 0, method="cam").relevance.ravel()
    np.testing.assert_allclose(found, 2 / 8 * np.array([1, 1, 1.25, 1.75, 2.25, 2.75, 3, 3]), rtol=1e-6)


def test_grad_cam_is_the_positive_part_up_to_scale():
    model, x = network()
    by_hand = np.maximum(maps_by_hand(model, x), 0)
    assert (by_hand == 0).any()
    grad = explain.relevance(model, x, [0, 1, 2, 3], method="grad_cam", layer="relu4").relevance[..., 0]
    zoom = keras.ops.image.resize(by_hand.astype(np.float32), (16, 24), interpolation="bilinear")
    np.testing.assert_allclose(grad / grad.max(), np.moveaxis(np.asarray(zoom), -1, 1) / np.max(zoom), atol=1e-5)


def test_grad_cam_and_cam_agree_where_the_maps_have_the_inputs_size():
    inputs = layers.Input((6, 8, 1))
    x = layers.Conv2D(5, 3, padding="same", activation="relu", name="conv", kernel_initializer="he_normal")(inputs)
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    x = np.random.default_rng(0).random((2, 6, 8, 1), dtype=np.float32)
    both = [explain.relevance(model, x, [0, 1, 2], method=method).relevance for method in ("cam", "grad_cam")]
    np.testing.assert_allclose(np.maximum(both[0], 0), both[1], atol=1e-6)
    assert both[1].max() > 0


def test_networks_over_time_only():
    model = keras.Sequential(
        [layers.Input((12, 2)), layers.Conv1D(4, 3), layers.GlobalAveragePooling1D(), layers.Dense(3)]
    )
    found = explain.relevance(model, np.ones((2, 12, 2)), [0, 2], method="cam")
    assert found.relevance.shape == (2, 2, 12, 2)
    np.testing.assert_allclose(found.relevance.sum(axis=(2, 3)), found.logit, atol=1e-5)  # the bias is 0


@pytest.mark.parametrize(
    "top",
    [
        [layers.Flatten(), layers.Dense(3)],
        [layers.GlobalAveragePooling2D(), layers.Dense(4, activation="relu"), layers.Dense(3)],
        [layers.GlobalMaxPooling2D(), layers.Dense(3)],
        [layers.GlobalAveragePooling2D()],
    ],
    ids=["flatten", "two dense layers", "maximum", "no dense layer"],
)
def test_other_networks_are_refused(top):
    model = keras.Sequential([layers.Input((6, 8, 1)), layers.Conv2D(3, 3), *top], name="other")
    with pytest.raises(ValueError, match="other must end in global average pooling .* one dense layer, which cam"):
        explain.relevance(model, np.zeros((1, 6, 8, 1)), 0, method="cam")

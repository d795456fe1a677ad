"""Weights are watched without reading them, and every change is seen."""

import keras
import numpy as np
import pytest
from keras import layers

from musictools.models.graph import autodiff


def small(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([layers.Input((4,)), layers.Dense(3, activation="relu"), layers.Dense(2)])


def fitted(model, jit_compile):
    model.compile("sgd", "mse", jit_compile=jit_compile)
    model.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0)


def one_bit(model):
    weight = np.asarray(model.weights[2]).copy()
    weight[0, 0] = np.nextafter(weight[0, 0], np.float32(9))
    model.weights[2].assign(weight)


CHANGES = {
    "fit": lambda model: fitted(model, jit_compile=False),
    "fit with XLA": lambda model: fitted(model, jit_compile=True),
    "one bit": one_bit,
    "assign_add": lambda model: model.weights[0].assign_add(np.full((4, 3), 1e-3)),
    "set_weights": lambda model: model.set_weights(small(seed=1).get_weights()),
    "scatter": lambda model: model.weights[0].value.scatter_nd_update([[0, 0]], [5.0]),
    "slice": lambda model: model.weights[0].value[1, 1].assign(5.0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_of_weights_is_seen_once(change):
    model = small()
    watch = autodiff.WeightWatch(model)
    assert watch.unchanged(model)
    for _ in range(2):
        CHANGES[change](model)
        before = model.get_weights()
        seen = not watch.unchanged(model)
        assert seen or change in ("set_weights", "scatter", "slice")  # which write the same numbers a second time
        assert watch.unchanged(model)
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("change", CHANGES)
def test_the_first_change_is_seen(change):
    model = small()
    watch = autodiff.WeightWatch(model)
    CHANGES[change](model)
    assert not watch.unchanged(model)


def test_the_same_numbers_written_again_are_no_change():
    model = small()
    watch = autodiff.WeightWatch(model)
    model.set_weights(model.get_weights())
    assert watch.unchanged(model)


def test_weights_that_nobody_wrote_are_not_compared(monkeypatch):
    model = small()
    watch = autodiff.WeightWatch(model)
    monkeypatch.setattr(autodiff.np, "array_equal", lambda *a: pytest.fail("numbers are compared"))
    assert watch.unchanged(model)


def test_another_number_of_weights_is_a_change():
    model = small()
    watch = autodiff.WeightWatch(model)
    assert not watch.unchanged(keras.Sequential(model.layers[:1]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_weights_of_other_types(dtype):
    model = keras.Sequential([layers.Input((4,)), layers.Dense(3, dtype=dtype)])
    watch = autodiff.WeightWatch(model)
    assert watch.unchanged(model)
    model.weights[0].assign(model.weights[0] + 1)
    assert not watch.unchanged(model)


def test_compiled_functions_take_and_give_arrays():
    both = autodiff.compiled_arrays(lambda x, y: {"sum": x + y, "all": (x, y)}, (None, 2), (2,))
    outputs = both(np.ones((3, 2)), [1, 2])
    assert isinstance(outputs["sum"], np.ndarray)
    np.testing.assert_array_equal(outputs["sum"], [[2, 3]] * 3)
    np.testing.assert_array_equal(outputs["all"][1], [1, 2])

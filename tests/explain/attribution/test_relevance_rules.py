"""Every rule through every kind of layer against `explain_reference`, which does the same with explicit matrices."""

import keras
import numpy as np
import pytest
from support.networks import NETWORKS, built, check, eagerly, inputs, near, shaken

from musictools import explain

METHODS = {
    "deep_taylor": ("deep_taylor", {}),
    "deep_taylor_bounded": ("deep_taylor_bounded", {}),
    "epsilon": ("lrp_epsilon", {"epsilon": 0.05}),
    "gamma": ("lrp_gamma", {"gamma": 0.4}),
    "alpha_1": ("lrp_alpha_beta", {"alpha": 1.0}),
    "alpha_2": ("lrp_alpha_beta", {"alpha": 2.0}),
    "composite": ("lrp_composite", {"input": "z_box", "epsilon": 0.1}),
    "z_plus_w_square": ("lrp_composite", {"dense": "epsilon", "conv": "z_plus", "input": "w_square", "epsilon": 0.1}),
    "alpha_flat": ("lrp_composite", {"dense": "gamma", "conv": "alpha_beta", "input": "flat", "alpha": 3.0}),
    "any_input": ("lrp_composite", {"dense": "w_square", "conv": "flat", "input": "epsilon", "epsilon": 0.05}),
}
GROUPED = ("groups", "norm_groups")  # which TensorFlow compiles at every call
CASES = [(n, m) for n in NETWORKS for m in METHODS if n not in GROUPED or m in ("deep_taylor_bounded", "gamma")]


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    eagerly(monkeypatch)


@pytest.mark.parametrize(("name", "method"), CASES)
def test_reference(name, method):
    signed_too = method in ("deep_taylor", "gamma", "alpha_2", "composite")
    method, options = METHODS[method]
    above = 0.02 if method.startswith("deep_taylor") else None  # so that no logit is below it and no map blank
    check(name, method, probability=above, **options)
    if signed_too:
        check(name, method, probability=above, signed=True, **options)


@pytest.mark.parametrize("method", ["deep_taylor", "epsilon", "gamma", "alpha_2", "composite"])
@pytest.mark.parametrize("name", ["dense", "conv2d", "norm_dense", "no_dense_end"])
def test_what_is_explained_less_a_reference_or_another_neuron(name, method):
    method, options = METHODS[method]
    check(name, method, probability=0.2, **options)
    check(name, method, contrast=1, **options)


def test_rules_by_name_and_by_class():
    network, reference, shape = built("conv2d")
    x = inputs(shape)
    by_name = {"one": "flat", "two": "w_square", "mean": "alpha_beta", "logits": "z_plus"}
    check("conv2d", "lrp_composite", rules=by_name)
    rules = {"Conv2D": "flat", "logits": explain.RULES["gamma"]()}
    found = explain.Explainer(network, method="lrp_composite", rules=rules)
    assert dict(zip(found(x, 0).conservation.layers, found(x, 0).conservation.rules, strict=True)) == {
        "logits": "Gamma",
        "mean": "Epsilon",
        "two": "Flat",
        "one": "Flat",
        "input": "",
    }
    over_class = explain.Explainer(network, method="lrp_composite", rules={"Conv2D": "flat", "one": "w_square"})
    assert over_class(x, 0).conservation.rules[-3:] == ["Flat", "WSquare", ""]


@pytest.mark.parametrize("method", ["deep_taylor_bounded", "gamma", "alpha_2"])
def test_compiled_and_not_are_the_same(method, monkeypatch):
    method, options = METHODS[method]
    network, _, shape = built("norm_across_pool")
    plain = explain.Explainer(network, method=method, **options)(inputs(shape), [2, 0])
    monkeypatch.undo()
    compiled = explain.Explainer(network, method=method, **options)(inputs(shape), [2, 0])
    near(compiled.relevance, plain.relevance, method)
    near(compiled.conservation.entries, plain.conservation.entries, method)


@pytest.mark.parametrize("method", ["deep_taylor", "lrp_epsilon", "lrp_alpha_beta"])
@pytest.mark.parametrize("name", ["conv2d", "gate", "norm_across_pool", "norm_stays", "depthwise", "maxima"])
def test_many_neurons_at_once_are_one_after_the_other(name, method):
    network, _, shape = built(name)
    x, explainer = inputs(shape, n=3), explain.Explainer(network, method=method)
    together = explainer(x, [2, 0, 2])
    assert together.relevance.shape == (3, 3, *shape)
    assert together.logit.shape == (3, 3)
    assert len(together.conservation.entries) == 9
    for place, neuron in enumerate((2, 0, 2)):
        single = explainer(x, neuron)
        near(together.relevance[:, place], single.relevance, "one neuron for all")
        near(together.logit[:, place], single.logit, "logit")
        near(together.conservation.entries.reshape(3, 3, -1, 5)[:, place], single.conservation.entries, "conservation")
    each = explainer(x, np.array([1, 2, 0]))
    for i, neuron in enumerate((1, 2, 0)):
        near(each.relevance[i], explainer(x[i : i + 1], neuron).relevance[0], "one neuron a sample")


@pytest.mark.parametrize("method", ["deep_taylor", "deep_taylor_bounded", "lrp_gamma", "lrp_composite"])
@pytest.mark.parametrize("name", ["conv2d", "branches", "norm_dense"])
def test_batch_of_one_is_batch_of_many(name, method):
    network, _, shape = built(name)
    x = inputs(shape, n=5)
    single = explain.relevance(network, x, [0, 1], method=method, batch_size=1, reference=0.1)
    for size in (2, 5, 64):
        many = explain.relevance(network, x, [0, 1], method=method, batch_size=size, reference=0.1)
        near(many.relevance, single.relevance, method)
        near(many.conservation.entries, single.conservation.entries, method)


def test_one_signed_sample_in_a_batch_changes_no_other():
    network, _, shape = built("conv2d")
    x = np.concatenate([inputs(shape, n=2), inputs(shape, signed=True, n=1)])
    explainer = explain.Explainer(network, method="lrp_alpha_beta")
    near(explainer(x, 0).relevance[:2], explainer(x[:2], 0).relevance, "beside a signed sample")


def test_nested_and_sequential_are_the_flat_network():
    layers = keras.layers
    body = keras.Sequential(
        [
            layers.Input((6, 5, 1)),
            layers.Conv2D(3, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(2),
        ],
        name="body",
    )
    source = layers.Input((3, 2, 3))
    end = keras.Model(source, layers.Dense(3, activation="softmax")(layers.Flatten()(source)), name="end")
    outer = layers.Input((6, 5, 1))
    nested = shaken(keras.Model(outer, end(keras.Sequential([layers.Input((6, 5, 1)), body])(outer))))
    flat = keras.Sequential([layers.Input((6, 5, 1)), *body.layers, *end.layers[1:]])
    x = inputs((6, 5, 1), n=2)
    np.testing.assert_allclose(nested(x), flat(x), rtol=1e-5)
    for method in ("deep_taylor", "lrp_epsilon", "lrp_composite", "gradient", "grad_cam", "guided_backprop"):
        found = [explain.relevance(m, x, [0, 1, 2], method=method) for m in (nested, flat)]
        near(found[0].relevance, found[1].relevance, method)
        assert np.abs(found[0].relevance[found[0].logit > 0]).max() > 0
    assert explain.logits(nested).head == "softmax"


def test_a_model_used_twice_is_read_twice():
    layers = keras.layers
    half = keras.Sequential([layers.Input((4, 2)), layers.Conv1D(2, 3, padding="same", activation="relu")])
    source = layers.Input((4, 2))
    both = layers.Concatenate()([half(source), half(half(source))])
    twice = keras.Model(source, layers.Dense(2)(layers.Flatten()(both)))
    conv, dense = half.layers[0], twice.layers[-1]
    source = layers.Input((4, 2))
    first, again = conv(source), conv(conv(source))
    flat = keras.Model(source, dense(layers.Flatten()(layers.Concatenate()([first, again]))))
    x = inputs((4, 2))
    near(
        explain.relevance(twice, x, 0, method="lrp_gamma").relevance,
        explain.relevance(flat, x, 0, method="lrp_gamma").relevance,
        "twice",
    )

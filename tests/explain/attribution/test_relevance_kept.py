"""`relevance` prepares a method once, keeps few of them, and never explains a model by weights that it had before."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers
from support.networks import built, eagerly, inputs, near, shaken

from musictools import explain
from musictools.explain.attribution import explainer as explainers

SHAPE = (6, 5, 1)


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    eagerly(monkeypatch)


@pytest.fixture
def made(monkeypatch):
    """Options of all explainers that are made from now on."""
    options, init = [], explain.Explainer.__init__

    def counted(self, *arguments, **more):
        init(self, *arguments, **more)
        options.append(self.options)

    monkeypatch.setattr(explain.Explainer, "__init__", counted)
    return options


def network(cls=keras.Model):
    source = layers.Input(SHAPE)
    x = layers.Flatten()(layers.Conv2D(3, 3, activation="relu")(source))
    return shaken(cls(source, layers.Dense(3, activation="sigmoid")(x)))


class Unhashable(keras.Model):
    __hash__ = None


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("lrp_epsilon", {"epsilon": 0.5}),
        ("lrp_epsilon", {"contrast": 2}),
        ("lrp_epsilon", {"reference": 0.1}),
        ("lrp_epsilon", {"conservation": False}),
        ("smooth_grad", {"n_samples": 3, "noise": 0.5, "seed": 7}),
    ],
    ids=str,
)
def test_a_model_that_cannot_be_referenced_weakly_drops_no_argument(method, more):
    model, x = network(Unhashable), inputs(SHAPE)
    with pytest.raises(TypeError):
        weakref.WeakKeyDictionary()[model] = 0
    plain = network()
    plain.set_weights(model.get_weights())
    seen, wanted = (explain.relevance(m, x, 1, method=method, **more) for m in (model, plain))
    near(seen.relevance, wanted.relevance, method)
    near(seen.logit, wanted.logit, method)
    assert (seen.conservation is None) == (wanted.conservation is None)
    bare = explain.relevance(plain, x, 1, method=method)
    alike = [np.allclose(getattr(bare, name), getattr(seen, name)) for name in ("relevance", "logit")]
    alike.append((bare.conservation is None) == (seen.conservation is None))
    assert not all(alike)  # the argument matters


def test_an_explainer_is_made_once(made):
    model, x = network(), inputs(SHAPE)
    for batch_size in (1, 2):
        for method in ("lrp_epsilon", "gradient"):
            explain.relevance(model, x, 0, method=method, batch_size=batch_size)
    assert len(made) == 2


@pytest.mark.parametrize("options", [{"epsilon": 0.1}, {"epsilon": 0.2}, {"seed": 1}, {"conservation": False}], ids=str)
def test_other_settings_are_another_explainer(made, options):
    model, x = network(), inputs(SHAPE)
    explain.relevance(model, x, 0, method="lrp_epsilon")
    explain.relevance(model, x, 0, method="lrp_epsilon", **options)
    assert len(made) == 2


def test_baselines_that_differ_in_the_middle_are_not_taken_for_one_another():
    model, x = network(), inputs(SHAPE)
    baselines = [np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32)]
    baselines[1][3, 2] = 1
    maps = [
        explain.relevance(model, x, 0, method="integrated_gradients", steps=2, baseline=baseline).relevance
        for baseline in baselines
    ]
    assert np.abs(maps[0] - maps[1]).max() > 1e-3


def test_few_explainers_are_kept_and_those_that_were_used_last(made):
    model, x = network(), inputs(SHAPE)
    explain.relevance(model, x, 0, method="gradient")
    for number in range(3 * explainers._KEPT_PER_MODEL):
        explain.relevance(model, x, 0, method="lrp_epsilon", epsilon=0.01 * number)
        explain.relevance(model, x, 0, method="gradient")
    assert len(explainers._KEPT[model].explainers) == explainers._KEPT_PER_MODEL
    assert len(made) == 1 + 3 * explainers._KEPT_PER_MODEL  # that of gradient was never made again
    explain.relevance(model, x, 0, method="lrp_epsilon", epsilon=0.0)
    assert made[-1]["epsilon"] == 0.0


def test_nothing_is_kept_of_a_model_that_is_gone():
    model = network()
    for method in ("deep_taylor", "gradient", "occlusion"):
        explain.relevance(model, inputs(SHAPE), 0, method=method)
    gone = weakref.ref(model)
    del model
    keras.backend.clear_session()
    gc.collect()
    assert gone() is None


def trained(model):
    model.compile("sgd", "binary_crossentropy", jit_compile=False)
    model.fit(inputs(SHAPE, n=8), np.ones((8, 3)), verbose=0, epochs=3)


CHANGES = {
    "trained": trained,
    "shaken": lambda model: shaken(model, seed=5),
    "one weight": lambda model: model.layers[-1].bias.assign_add([1.0, 0, 0]),
    "scattered": lambda model: model.layers[-1].bias.value.scatter_nd_update([[0]], [2.0]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_new_weights_are_seen(change):
    model, x = network(), inputs(SHAPE)
    methods = ("lrp_epsilon", "gradient", "input_x_gradient")
    before = [explain.relevance(model, x, 0, method=method) for method in methods]
    CHANGES[change](model)
    for method, old in zip(methods, before, strict=True):
        seen, fresh = explain.relevance(model, x, 0, method=method), explain.Explainer(model, method=method)(x, 0)
        np.testing.assert_array_equal(seen.relevance, fresh.relevance)
        np.testing.assert_array_equal(seen.logit, fresh.logit)
        assert np.abs(seen.logit - old.logit).max() > 1e-3


def test_all_explainers_of_old_weights_go_at_once():
    model, x = network(), inputs(SHAPE)
    for method in ("lrp_epsilon", "lrp_gamma"):
        explain.relevance(model, x, 0, method=method)
    shaken(model, seed=5)
    explain.relevance(model, x, 0, method="lrp_epsilon")
    assert len(explainers._KEPT[model].explainers) == 1


def test_a_call_that_fails_keeps_nothing():
    model, _, shape = built("conv2d")
    for _ in range(2):
        with pytest.raises(ValueError, match="rule must be one of"):
            explain.relevance(model, inputs(shape), 0, method="lrp_composite", conv="zzz")

"""Relevance against iNNvestigate 2.1.2, whose numbers `tests/oracles/innvestigate_oracle.py` wrote.

All that the two define alike is compared to 1e-4 of a map's largest value. What they define differently is not bent:

- Average pooling: iNNvestigate's `deep_taylor` takes the pool's gradient, so that the values of a window share alike
  whatever they are, the suite shares by size (z⁺); iNNvestigate's pools know no ε, the suite's do.
- `lrp.alpha_1_beta_0` and `lrp.alpha_2_beta_1` put b⁺ and b⁻ into either part's denominator, so that with positive
  inputs the positive part is divided by z⁺ + b; the suite, as Bach et al. 2015, divides it by z⁺ + b⁺.
- Where a neuron has contributions of one sign only, `lrp.alpha_2_beta_1` lets the other sign's share vanish (or, with
  α alone left, doubles), the suite gives them all of the neuron's relevance, so that nothing is lost.
- `lrp.alpha_2_beta_1_IB` (no bias) is no option of the suite; for α = 1 it is z⁺, which is compared.
"""

import json
from dataclasses import dataclass, replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from support import TESTS

from musictools import explain
from musictools.explain.attribution.rules import AlphaBeta

TOLERANCE = 1e-4
with np.load(TESTS / "fixtures" / "innvestigate.npz") as file:
    ORACLE = dict(file)
ABOUT = json.loads(str(ORACLE["about"]))
NETWORKS = [name.split("/")[0] for name in ORACLE if name.endswith("/architecture")]
NO_AVERAGES = [name for name in NETWORKS if name != "average"]


def composite(**rules):
    epsilon = ABOUT["dense_epsilon_of_composites"]
    return {"method": "lrp_composite", "epsilon": epsilon, "low": 0.0, "high": 1.0, **rules}


@pytest.fixture(scope="module")
def networks():
    models = {}
    for name in NETWORKS:
        model = keras.Sequential([keras.layers.Input(ORACLE[f"{name}/x"].shape[1:])])
        for layer in json.loads(str(ORACLE[f"{name}/architecture"])):
            model.add(getattr(keras.layers, layer.pop("kind"))(**layer))
        weights = [f"{name}/weights/{i:02d}" for i in range(len(model.weights))]
        model.set_weights([ORACLE[w] for w in weights])
        models[name] = model
    return models


@pytest.fixture
def uncompiled():
    """Nets this small take less time than the compiling of their graphs; the main methods are tested compiled."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def neurons(name):
    return ORACLE[f"{name}/neurons"].tolist()


def error(relevance, wanted):
    """Largest difference of each map over its largest value, the greatest of all maps."""
    axes = tuple(range(2, wanted.ndim))
    difference, size = np.abs(relevance - wanted).max(axis=axes), np.abs(wanted).max(axis=axes)
    assert not difference[size == 0].any(), "a map that must be zero is not"
    return (difference[size > 0] / size[size > 0]).max()


def check(networks, name, entry, **options):
    found = explain.relevance(networks[name], ORACLE[f"{name}/x"], neurons(name), **options)
    wanted = ORACLE[f"{name}/{entry}"]
    assert found.relevance.shape == wanted.shape
    assert error(found.relevance, wanted) <= TOLERANCE


def test_the_fixture_is_what_it_should_be():
    assert ABOUT["versions"]["innvestigate"] == "2.1.2"
    assert len(NETWORKS) >= 8
    for name in NETWORKS:
        x, logits = ORACLE[f"{name}/x"], ORACLE[f"{name}/logits"][:, neurons(name)]
        assert x.min() >= 0
        assert x.max() <= 1
        assert (np.sign(logits) == [1, 1, -1]).all()
        blank = ~ORACLE[f"{name}/deep_taylor"].any(axis=tuple(range(2, x.ndim + 1)))
        assert blank.tolist() == [[False, False, True]] * len(x)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits(networks, name):
    logits = explain.logits(networks[name])(ORACLE[f"{name}/x"])
    np.testing.assert_allclose(logits, ORACLE[f"{name}/logits"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NO_AVERAGES)
@pytest.mark.parametrize("method", ["deep_taylor", "deep_taylor_bounded"])
def test_deep_taylor(networks, name, method):
    bounds = {"low": 0.0, "high": 1.0} if method == "deep_taylor_bounded" else {}
    check(networks, name, method, method=method, **bounds)


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        (name, entry)
        for name in NETWORKS
        for entry in ("epsilon_default", "epsilon_large", "z")
        if (name, entry) != ("average", "epsilon_large")
    ],
)
def test_epsilon(networks, name, entry):
    _, options = ABOUT["methods"][entry]
    check(networks, name, entry, method="lrp_epsilon", epsilon=options.get("epsilon", 0.0))


@pytest.mark.parametrize("name", NO_AVERAGES)
def test_alpha_beta_without_bias_is_z_plus_in_every_layer(networks, uncompiled, name):
    check(networks, name, "alpha_1_beta_0_no_bias", **composite(dense="z_plus", conv="z_plus", input="z_plus"))


@dataclass(frozen=True)
class AsTheyDo(AlphaBeta):
    """αβ with iNNvestigate's two differences and no other."""

    biased: bool = True

    def groups(self, xs, ws, bias, z, positive):
        bias = bias if self.biased else None
        return [replace(group, bias=bias, alone=None) for group in super().groups(xs, ws, bias, z, positive)]


@pytest.mark.parametrize("name", NO_AVERAGES)
@pytest.mark.parametrize(
    ("entry", "alpha", "biased"),
    [("alpha_1_beta_0", 1.0, True), ("alpha_2_beta_1", 2.0, True), ("alpha_2_beta_1_no_bias", 2.0, False)],
)
def test_alpha_beta_differs_by_what_the_head_of_this_file_says_only(networks, uncompiled, name, entry, alpha, biased):
    rule = AsTheyDo(alpha=alpha, biased=biased)
    check(networks, name, entry, **composite(dense=rule, conv=rule, input=rule))


def test_alpha_beta_itself(networks):
    check(networks, "no_bias", "alpha_1_beta_0", method="lrp_alpha_beta", alpha=1.0)


@pytest.mark.parametrize("name", [name for name in NO_AVERAGES if f"{name}/flat" in ORACLE])
@pytest.mark.parametrize("rule", ["w_square", "flat"])
def test_rules_that_do_not_look_at_the_input(networks, uncompiled, name, rule):
    check(networks, name, rule, **composite(dense=rule, conv=rule, input=rule))


@pytest.mark.parametrize("name", NO_AVERAGES)
@pytest.mark.parametrize("entry", ["composite", "composite_bounded", "composite_flat", "composite_w_square"])
def test_composites(networks, uncompiled, name, entry):
    first = {"composite": "epsilon" if name == "dense" else "z_plus", "composite_bounded": "z_box"}
    rules = {"dense": "epsilon", "conv": "z_plus", "input": first.get(entry, entry.removeprefix("composite_"))}
    check(networks, name, entry, **composite(**rules))


def test_one_neuron_for_all_and_one_a_sample(networks):
    model, x, wanted = networks["same"], ORACLE["same/x"], ORACLE["same/deep_taylor"]
    first, second, _ = neurons("same")
    assert error(explain.relevance(model, x, first).relevance[:, None], wanted[:, :1]) <= TOLERANCE
    found = explain.relevance(model, x, np.array([second, first])).relevance
    assert error(found[:, None], np.stack([wanted[0, 1], wanted[1, 0]])[:, None]) <= TOLERANCE

"""The option ``edges="shared"``: padding takes a share at the borders, against explicit matrices."""

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops
from support.networks import built, eagerly, inputs, near
from support.reference import chooser

from musictools import explain
from musictools.explain.attribution.operations import Linear


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    eagerly(monkeypatch)


def sharing(choose):
    """Rules that see the relevance of a convolution's output times what the kernel covers of the input there."""

    def rule_of(node):
        rule = choose(node)
        if node.kind != "conv":
            return rule

        def shared(x, M, b, R):
            covered = np.abs(M).sum(axis=1).reshape(-1, node.shape[-1])
            return rule(x, M, b, R * (covered / covered.max(axis=0)).ravel())

        return shared

    return rule_of


def compare(name, method, **options):
    network, reference, shape = built(name)
    x = inputs(shape)
    found = explain.Explainer(network, method=method, edges="shared", **options)(x, [0, 1, 2])
    as_is = explain.Explainer(network, method=method, **options)(x, [0, 1, 2])
    assert found.conservation.error().max() <= 1e-5
    for i, j in np.ndindex(len(x), 3):
        choose = sharing(chooser(method, **options))
        wanted, *_ = reference.relevance(x[i], np.eye(3)[j], choose, positive_only=method.startswith("deep_taylor"))
        near(found.relevance[i, j], wanted, f"relevance of {name} by {method}")
    return found, as_is


CASES = [
    (name, method, options)
    for name in ("conv1d", "conv2d", "depthwise", "residual")
    for method, options in (("deep_taylor", {}), ("lrp_gamma", {}), ("lrp_composite", {"low": 0.0, "high": 1.5}))
]


@pytest.mark.parametrize(("name", "method", "options"), CASES, ids=str)
def test_reference(name, method, options):
    found, as_is = compare(name, method, **options)
    assert np.abs(found.relevance - as_is.relevance).max() > 1e-3 * np.abs(as_is.relevance).max()
    lost = [one.conservation.entries[..., 4].sum() for one in (found, as_is)]
    assert abs(lost[0] - lost[1]) > 1e-4  # what padding took


def test_without_padding_nothing_changes():
    network, _, shape = built("wave")
    model = keras.Sequential([L.Input(shape), L.Conv1D(3, 5, activation="relu"), L.Flatten(), L.Dense(3)])
    for method in ("deep_taylor", "lrp_gamma"):
        one, other = (explain.relevance(model, inputs(shape), 0, method=method, edges=e) for e in ("as_is", "shared"))
        near(one.relevance, other.relevance, method)


def test_by_hand():
    """The mean of a convolution with weights of 1: two neurons see the outermost row, three see an inner one.

    A neuron at the border has two thirds of the output and of the relevance, which it divides among two inputs. So each
    gets a third of a full neuron's from it, as from the others. Shared, it passes on two thirds of that.
    """
    conv = L.Conv2D(1, 3, padding="same", use_bias=False, kernel_initializer="ones")
    model = keras.Sequential([L.Input((9, 9, 1)), conv, L.GlobalAveragePooling2D(), L.Dense(1)])
    model.layers[-1].set_weights([np.ones((1, 1)), np.zeros(1)])
    x = np.ones((1, 9, 9, 1), np.float32)
    as_is, shared = (explain.relevance(model, x, 0, edges=edges).map() for edges in ("as_is", "shared"))
    np.testing.assert_allclose(as_is[:3, 4] / as_is[4, 4], [2 / 3, 1, 1], rtol=1e-5)
    np.testing.assert_allclose(shared[:3, 4] / shared[4, 4], [(2 / 3 + 1) / 3, (2 / 3 + 2) / 3, 1], rtol=1e-5)


def test_arguments():
    model = keras.Sequential([L.Input((4, 4, 1)), L.Flatten(), L.Dense(2)])
    with pytest.raises(ValueError, match="edges must be 'as_is' or 'shared'. Got 'crop'."):
        explain.Explainer(model, edges="crop")
    with pytest.raises(ValueError, match="edges"):
        explain.Explainer(model, method="gradient", edges="shared")


def signed_weights(self, x):
    covered = self.apply(ops.ones_like(x[:1]), self._w[0])
    return covered / ops.max(covered, axis=tuple(range(1, len(covered.shape) - 1)), keepdims=True)


def by_all_channels(self, x):
    covered = self.apply(ops.ones_like(x[:1]), ops.abs(self._w[0]))
    return covered / ops.max(covered)


@pytest.mark.parametrize(
    "mistake", [signed_weights, by_all_channels, lambda self, x: 1.0], ids=["signed", "all_channels", "one"]
)
def test_a_mistake_is_seen(mistake, monkeypatch):
    monkeypatch.setattr(Linear, "_inside", mistake)
    with pytest.raises(AssertionError, match="off by"):
        compare("conv2d", "lrp_gamma")

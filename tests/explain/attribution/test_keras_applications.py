"""Relevance is conserved in all families of keras.applications, with random weights and statistics that fit them."""

import keras
import numpy as np
import pytest
from keras import layers as L
from support.networks import eagerly

from musictools import explain
from musictools.models.graph.reading import read

FAMILIES = {  # the smallest side that the family takes, up to a few pixels
    "VGG16": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "DenseNet121": 32,
    "InceptionV3": 75,
    "Xception": 71,
    "NASNetMobile": 32,
    "EfficientNetB0": 32,
    "ConvNeXtTiny": 32,
    "MobileNetV3Small": 32,
}
FAST = ("MobileNetV3Small",)
PREPROCESSING = ("ConvNeXtTiny", "MobileNetV3Small")  # with a shift
CASES = [pytest.param(name, marks=[] if name in FAST else pytest.mark.full) for name in FAMILIES]


def family(name, *, constants):
    """A network whose normalisations have statistics of its own values, and an input; constants are 0 without them."""
    keras.utils.set_random_seed(0)
    side = FAMILIES[name]
    options = {} if constants or name not in PREPROCESSING else {"include_preprocessing": False}
    model = getattr(keras.applications, name)(weights=None, input_shape=(side, side, 3), classes=4, **options)
    rng, values = np.random.default_rng(0), {}
    x = (255 * rng.random((2, side, side, 3))).astype(np.float32)
    values[0] = x
    for call in read(model).calls:
        randomise(call.layer, [np.asarray(values[i]) for i in call.inputs], rng, constants)
        values.update(zip(call.outputs, call(*(values[i] for i in call.inputs)), strict=True))
    return model, x[:1]


def randomise(layer, xs, rng, constants):
    """Give a layer random constants, and a batch normalisation the statistics of its input, roughly."""
    if isinstance(layer, L.BatchNormalization):
        axes = tuple(range(xs[0].ndim - 1))
        mean, size = xs[0].mean(axis=axes) * constants, np.square(xs[0]).mean(axis=axes)
        layer.moving_mean.assign(mean * rng.uniform(0.5, 1.5, mean.shape))
        # The mean square and more: a network that amplifies rounding in every layer has no logit to compare with.
        layer.moving_variance.assign((size + size.mean()) * rng.uniform(0.5, 2, mean.shape))
        if layer.gamma is not None:
            layer.gamma.assign(rng.uniform(0.5, 1.2, mean.shape) * rng.choice([-1, 1, 1, 1], mean.shape))
        shifts = [layer.beta]
    else:
        shifts = [getattr(layer, "bias", None)]
        if isinstance(layer, L.LayerNormalization):
            shifts, _ = [layer.beta], layer.gamma.assign(rng.uniform(0.5, 1.5, layer.gamma.shape))
        if type(layer).__name__ == "LayerScale":
            layer.gamma.assign(rng.normal(0.5, 0.3, layer.gamma.shape))
    for shift in shifts:
        if shift is not None:
            shift.assign(constants * rng.normal(0, 0.1, shift.shape))


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    eagerly(monkeypatch)
    yield
    keras.backend.clear_session()


@pytest.mark.parametrize("name", CASES)
def test_relevance_is_conserved(name):
    model, x = family(name, constants=True)
    logit = explain.logits(model)(x)
    # Networks that amplify rounding layer by layer are compared as closely as one rounding of their input allows.
    roundings = [x * np.float32(1 + k * 1e-7) for k in (-2, -1, 1, 2)]
    rounding = max(np.abs(np.asarray(explain.logits(model)(changed) - logit)).max() for changed in roundings)
    allowed = 1e-5 * np.abs(logit).max() + 3 * rounding
    assert allowed <= 0.02 * np.abs(logit).max()
    for method, options in (("deep_taylor", {}), ("lrp_epsilon", {}), ("lrp_composite", {"high": 255.0})):
        found = explain.Explainer(model, method=method, **options)(x, [0, int(logit.argmax())])
        np.testing.assert_allclose(found.logit[0], logit[0, [0, logit.argmax()]], rtol=0, atol=allowed)
        assert found.conservation.error().max() <= 1e-5
        assert np.isfinite(found.relevance).all()
        assert found.relevance[0, 1].any() or method == "deep_taylor" and logit.max() <= 0


@pytest.mark.parametrize("name", CASES)
def test_without_constants_all_relevance_reaches_the_input(name):
    model, x = family(name, constants=False)
    found = explain.Explainer(model, method="lrp_epsilon", epsilon=0.0)(x, [0, 1, 2, 3])
    total = found.relevance.sum(axis=(2, 3, 4))
    size = np.abs(found.conservation.entries).max()
    assert np.abs(total - found.logit).max() <= 1e-4 * max(size, np.abs(found.logit).max())
    assert np.abs(found.logit).max() > 1e-4
    assert not found.conservation.entries[..., 2].any()

"""Scores and tests: exact for linear models, calibrated under the null hypothesis."""

import keras
import numpy as np
import pytest
from scipy import stats

from musictools.concepts import testing
from musictools.concepts.bottleneck import Bottleneck
from musictools.concepts.testing import false_discovery, score, sensitivity, tcav, two_sided

N = 6


def linear(weights, *, head="softmax"):
    """A linear model of a vector, with a softmax or sigmoid on top."""
    inputs = keras.Input((len(weights),))
    features = keras.layers.Identity(name="features")(inputs)
    logits = keras.layers.Dense(weights.shape[1], name="logits")(features)
    model = keras.Model(inputs, keras.layers.Activation(head)(logits))
    model.get_layer("logits").set_weights([weights, np.zeros(weights.shape[1])])
    return model


@pytest.fixture
def weights():
    rng = np.random.default_rng(2)
    return (rng.choice([-1, 1], (N, 2)) * rng.uniform(0.5, 1.5, (N, 2))).astype(np.float32)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_derivatives_are_those_of_the_logit(weights, head):
    x = 100 * np.random.default_rng(0).normal(size=(9, N))  # probabilities are saturated here
    gradients = Bottleneck(linear(weights, head=head), "features").gradients(x, [0, 1, 0, 1, 0, 1, 0, 1, 1])
    np.testing.assert_allclose(gradients, weights.T[[0, 1, 0, 1, 0, 1, 0, 1, 1]], rtol=1e-6)


def test_score_of_a_linear_model_is_the_sign_of_the_weight(weights):
    model, x = linear(weights), np.random.default_rng(0).normal(size=(9, N))
    for output in (0, 1):
        gradients = Bottleneck(model, "features").gradients(x, output)
        for sign in (1, -1):
            expected = sign * np.sign(weights[:, output])
            assert score(gradients, sign * np.eye(N)).tolist() == ((expected + 1) / 2).tolist()


def test_tcav_of_a_linear_model_is_the_sign_of_the_weight(weights):
    rng = np.random.default_rng(3)
    random, x = rng.normal(size=(200, N)), rng.normal(size=(20, N))
    for feature in range(N):
        shift = 20 * np.eye(N)[feature]
        for output in (0, 1):
            result = tcav(
                linear(weights),
                random[:60] + shift,
                random,
                x,
                output,
                layer="features",
                n_runs=5,
                n_null=20,
                ridge=100.0,
            )
            assert set(result.scores) == {float(weights[feature, output] > 0)}
            assert result.score == result.scores[0]
            assert result.accuracy == 1
            cosine = weights[feature, output] / np.linalg.norm(weights[:, output])
            assert result.sensitivity == pytest.approx(cosine, abs=0.05)


def test_a_random_concept_is_not_significant(weights):
    rng = np.random.default_rng(4)
    random = rng.normal(size=(400, N))
    results = [
        tcav(linear(weights), random[start : start + 40], random, random, 0, layer="features", n_runs=5, n_null=40)
        for start in range(0, 400, 40)
    ]
    assert np.median([result.p for result in results]) > 0.1
    assert np.mean([result.accuracy for result in results]) == pytest.approx(0.5, abs=0.15)


def test_an_output_that_ignores_the_layer_has_no_score():
    gradients = Bottleneck(linear(np.zeros((N, 2))), "features").gradients(np.ones((3, N)), 0)
    assert score(gradients, np.eye(N)).tolist() == [0.5] * N
    assert sensitivity(gradients, np.eye(N)).tolist() == [0] * N
    assert two_sided(0.0, np.zeros(10)) == 1


def test_p_values_are_uniform_under_the_null_hypothesis():
    rng = np.random.default_rng(0)
    p = [float(two_sided(row[0], row[1:])) for row in rng.normal(3, 2, (2000, 21))]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_false_discovery_by_a_slow_loop():
    p = np.random.default_rng(0).random(50) ** 3
    p[::3] = np.nan
    known = np.sort(p[~np.isnan(p)])
    n, harmonic = len(known), sum(1 / k for k in range(1, len(known) + 1))
    for value, q in zip(p, false_discovery(p), strict=True):
        if np.isnan(value):
            assert np.isnan(q)
        else:
            at_least = [min(1, other * n * harmonic / (k + 1)) for k, other in enumerate(known) if other >= value]
            assert q == pytest.approx(min(at_least))
    assert np.isnan(false_discovery(np.full(3, np.nan))).all()


def test_derivatives_are_differences_and_pooled_activations_are_means():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    inputs = keras.Input((6, 8, 1))
    maps = layers.Conv2D(3, 3, activation="tanh", name="maps")(inputs)
    model = keras.Model(inputs, layers.Dense(2)(layers.Dense(5, activation="tanh")(layers.Flatten()(maps))))
    x, step = np.random.default_rng(0).random((4, 6, 8, 1)), 1e-3
    bottleneck = Bottleneck(model)
    assert (bottleneck.layer, bottleneck.shape) == ("maps", (4, 6, 3))
    before = keras.Model(inputs, maps)(x).numpy()
    vectors = bottleneck.activations(x)
    np.testing.assert_allclose(vectors, before.reshape(4, -1), rtol=1e-5)
    np.testing.assert_allclose(bottleneck.pooled(vectors), before.mean(axis=2).reshape(4, -1), rtol=1e-5)
    np.testing.assert_allclose(bottleneck.pooled(vectors, "all"), before.mean(axis=(1, 2)), rtol=1e-5)
    assert bottleneck.pooled(vectors, "none") is vectors
    above = keras.Sequential([keras.Input((4, 6, 3)), *model.layers[2:]])
    gradients = bottleneck.gradients(x, 1).reshape(4, 4, 6, 3)
    for place in ((0, 0, 0), (3, 5, 2)):
        moved = [before.copy(), before.copy()]
        for sign, one in zip((1, -1), moved, strict=True):
            one[:, *place] += sign * step
        slope = (above(moved[0]) - above(moved[1])).numpy()[:, 1] / (2 * step)
        np.testing.assert_allclose(gradients[:, *place], slope, rtol=2e-2, atol=1e-4)


def test_bad_input_is_refused(weights):
    model, x = linear(weights), np.zeros((20, N))
    with pytest.raises(ValueError, match="x must hold at least one input of the class"):
        tcav(model, x, x, x[:0], 0, layer="features")
    with pytest.raises(ValueError, match="All activations are the same"):
        tcav(model, x, x, x, 0, layer="features")
    with pytest.raises(ValueError, match="at least 6 examples of the concept"):
        tcav(model, x[:5], np.eye(20, N), x, 0, layer="features")
    with pytest.raises(ValueError, match="no layer 'nothing'. It has: features, logits"):
        Bottleneck(model, "nothing")
    with pytest.raises(ValueError, match="pool must be one of time, all, none"):
        Bottleneck(model, "features").pooled(x, "mean")
    with pytest.raises(ValueError, match="outputs must be ints from 0 to 1"):
        Bottleneck(model, "features").gradients(x, 2)
    with pytest.raises(ValueError, match="at least 3 values"):
        testing.two_sided(1.0, np.zeros(2))

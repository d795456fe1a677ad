"""What cannot be explained is refused in a sentence that names it; zero input has a defined result."""

import re

import keras
import numpy as np
import pytest
from keras import layers as L
from support.networks import built, eagerly, inputs, shaken

from musictools import explain

SHAPE = (7, 6, 2)
X = inputs(SHAPE)
CASES = {
    "another shape": ({"x": X[:, :5]}, "x must have shape (n, 7, 6, 2). Got (2, 5, 6, 2)."),
    "no batch axis": ({"x": X[0]}, "x must have shape (n, 7, 6, 2). Got (7, 6, 2). A single input needs"),
    "too many axes": ({"x": X[None]}, "x must have shape (n, 7, 6, 2). Got (1, 2, 7, 6, 2)."),
    "no sample": ({"x": X[:0]}, "x must hold at least one sample. Got none."),
    "NaN": ({"x": np.where(X > 0.98, np.nan, X)}, "x must be finite. It holds NaN or Inf."),
    "infinite": ({"x": np.where(X > 0.98, np.inf, X)}, "x must be finite. It holds NaN or Inf."),
    "neuron too large": ({"neuron": 3}, "neuron must be an int from 0 to 2. Got 3."),
    "neuron below zero": ({"neuron": -1}, "neuron must be an int from 0 to 2. Got -1."),
    "neuron of a list": ({"neuron": [0, 3]}, "neuron must be an int from 0 to 2. Got 3."),
    "neuron of an array": ({"neuron": np.array([0, 7])}, "neuron must be an int from 0 to 2. Got "),
    "float": ({"neuron": 1.0}, "neuron must be an int from 0 to 2. Got 1.0."),
    "floats": ({"neuron": np.array([0.0, 1.0])}, "neuron must be an int from 0 to 2. Got "),
    "bool": ({"neuron": True}, "neuron must be an int from 0 to 2. Got True."),
    "bools": ({"neuron": np.array([True, False])}, "neuron must be an int from 0 to 2. Got "),
    "none": ({"neuron": None}, "neuron must be an int from 0 to 2. Got None."),
    "name": ({"neuron": "guitar"}, "neuron must be an int from 0 to 2. Got 'guitar'."),
    "empty list": ({"neuron": []}, "neuron must name at least one output. Got an empty list."),
    "empty array": ({"neuron": np.array([], int)}, "an array of one int for each of the 2 samples"),
    "three neurons for two": (
        {"neuron": np.arange(3)},
        "neuron must be an int, an array of one int for each of the 2 "
        "samples, or a list of outputs. Got an array of shape (3,).",
    ),
    "contrast": ({"contrast": 3}, "contrast must be an int from 0 to 2. Got 3."),
    "contrast by name": ({"contrast": "voice"}, "contrast must be an int, a list of ints, or 'others' of several."),
    "contrast of none": ({"contrast": []}, "contrast must name at least one output. Got an empty list."),
    "contrast of a list": ({"contrast": [0, 5]}, "contrast must be an int from 0 to 2. Got 5."),
    "method": ({"method": "deeplift"}, "method must be one of deep_taylor, deep_taylor_bounded, lrp_epsilon"),
    "option": (
        {"method": "lrp_gamma", "epsilon": 0.1},
        "lrp_gamma has no option 'epsilon'. It has: gamma, attention, edges.",
    ),
    "no such option": ({"low": 0}, "deep_taylor has no option 'low'. It has: edges."),
    "beyond the bounds": (
        {"method": "deep_taylor_bounded", "x": 2 * X},
        "x must lie in [low, high] = [0, 1] for the z^B rule. Got values from",
    ),
    "below the bounds": ({"method": "lrp_composite", "low": 0.5}, "x must lie in [low, high] = [0.5, 1]"),
    "alpha": ({"method": "lrp_alpha_beta", "alpha": 0.5}, "alpha must be at least 1. Got 0.5."),
    "gamma": ({"method": "lrp_gamma", "gamma": -0.1}, "gamma must be a number of at least 0. Got -0.1."),
    "rule": ({"method": "lrp_composite", "conv": "zzz"}, "rule must be one of epsilon, gamma, alpha_beta, z_plus"),
    "rule of no layer": ({"method": "lrp_composite", "rules": {"nope": "flat"}}, "rules names 'nope', which is no"),
    "z_box inside": ({"method": "lrp_composite", "rules": {"two": "z_box"}}, "Layer 'two' does not see the model's"),
    "z_box at the end": ({"method": "lrp_composite", "dense": "z_box"}, "Layer 'logits' does not see the model's"),
    "pass": ({"method": "lrp_composite", "rules": {"two": "pass"}}, "Layer 'two' mixes its inputs: it cannot have the"),
    "pass at the end": ({"method": "lrp_composite", "dense": "pass"}, "Layer 'logits' mixes its inputs: it cannot"),
    "batch": ({"batch_size": 0}, "batch_size must be a positive int. Got 0."),
    "batch as float": ({"batch_size": 2.0}, "batch_size must be a positive int. Got 2.0."),
    "reference 0": ({"reference": 0}, "reference must hold probabilities in (0, 1). Got [0.]"),
    "reference 1": ({"reference": 1.0}, "reference must hold probabilities in (0, 1). Got [1.]"),
    "reference NaN": ({"reference": np.nan}, "reference must hold probabilities in (0, 1). Got [nan]"),
    "one of the references": ({"reference": [0.2, -0.2]}, "reference must hold probabilities in (0, 1). Got [ 0.2"),
    "references": ({"reference": [0.2, 0.3, 0.4]}, "reference must fit 2 samples and 1 neurons. Got shape (3, 1)."),
    "reference and contrast": ({"reference": 0.2, "contrast": 1}, "reference needs a sigmoid neuron of its own"),
}


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    eagerly(monkeypatch)


@pytest.mark.parametrize("case", CASES)
def test_arguments(case):
    arguments, message = CASES[case]
    arguments = {"x": X, "neuron": 0, **arguments}
    with pytest.raises(ValueError, match=re.escape(message)):
        explain.relevance(built("conv2d")[0], arguments.pop("x"), arguments.pop("neuron"), **arguments)


def functional(make, shape=(6, 4), end="sigmoid"):
    source = L.Input(shape)
    return keras.Model(source, L.Dense(2, activation=end, name="end")(make(source)))


class Own(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.dense = L.Dense(2)

    def call(self, x):
        return self.dense(x)


def two(what):
    a, b = L.Input((4,)), L.Input((4,))
    x = L.Dense(2)(L.Add()([a, b]))
    return keras.Model([a, b], x, name="two") if what == "inputs" else keras.Model(a, [L.Dense(2)(a)] * 2, name="two")


def called(model, x):
    model(x)
    return model


MODELS = {
    "no model": (lambda: "se_cnn", "model must be a Keras model. Got str."),
    "a function": (lambda: np.tanh, "model must be a Keras model. Got ufunc."),
    "a layer": (lambda: L.Dense(2), "model must be a Keras model. Got Dense."),
    "subclassed": (
        lambda: called(Own(), np.zeros((1, 6, 4))),
        "own has no graph of layers: only Functional and Sequential models that are built can be read.",
    ),
    "not built": (lambda: keras.Sequential([L.Dense(2)], name="raw"), "raw has no graph of layers"),
    "two inputs": (lambda: two("inputs"), "two must have one input and one output. Got 2 and 1."),
    "two outputs": (lambda: two("outputs"), "two must have one input and one output. Got 1 and 2."),
    "output of maps": (
        lambda: keras.Sequential([L.Input((6, 4)), L.Dense(2)], name="maps"),
        "The output of maps must have shape (batch, n_outputs). Got (None, 6, 2).",
    ),
    "tanh at the end": (
        lambda: functional(L.Flatten(), end="tanh"),
        "The model ends in layer 'end' with activation "
        "'tanh': only sigmoid and softmax heads can be stripped to the logit.",
    ),
    "sigmoid of a convolution": (
        lambda: keras.Sequential([L.Input((6, 4)), L.Conv1D(2, 6, activation="sigmoid"), L.Flatten()]),
        "cannot be stripped: 'flatten",
    ),
    "sigmoid behind a reshape": (
        lambda: keras.Sequential(
            [L.Input((6,)), L.Dense(2, activation="sigmoid", name="p"), L.Reshape((2,), name="shape")]
        ),
        "The sigmoid of layer 'p' cannot be stripped: 'shape' stands behind it.",
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_models(case):
    make, message = MODELS[case]
    model = make()
    for method in ("deep_taylor", "gradient", "occlusion"):
        with pytest.raises(ValueError, match=re.escape(message)):
            explain.relevance(model, np.zeros((1, 6, 4), np.float32), 0, method=method)


def signals(x):
    return L.Flatten()(L.Multiply(name="bad")([L.Dense(3, activation="relu")(x), L.Dense(3, activation="relu")(x)]))


def lone(layer):
    return lambda x: L.Flatten()(layer(x))


def in_training(x):
    return L.Flatten()(L.BatchNormalization(name="bad")(x, training=True))


LAYERS = {
    "normalisation by the batch": (in_training, "normalises by its batch (training=True)"),
    "product of signals": (signals, "multiplies signals none of which is a sigmoid gate"),
    "softplus": (lone(L.Dense(3, activation="softplus", name="bad")), "has the activation 'softplus', which is not"),
    "sigmoid layer": (lone(L.Activation("sigmoid", name="bad")), "has the activation 'sigmoid'"),
    "threshold": (lone(L.ReLU(threshold=0.5, name="bad")), "is a ReLU with a threshold"),
    "group normalisation": (lone(L.GroupNormalization(2, name="bad")), "is of a kind (GroupNormalization) that has no"),
    "lambda": (lone(L.Lambda(lambda t: 2 * t, name="bad")), "is of a kind (Lambda) that has no rule"),
    "other axis": (lone(L.BatchNormalization(axis=1, name="bad")), "normalises axis 1, only the last one can be"),
}


@pytest.mark.parametrize("case", LAYERS)
def test_layers_without_a_rule_are_named_and_gradients_work(case):
    make, message = LAYERS[case]
    model = functional(make)
    x = inputs((6, 4))
    wanted = re.escape(f"Layer 'bad' of {model.name} {message}") + ".*: relevance cannot be propagated through it. Grad"
    for method in ("deep_taylor", "lrp_composite"):
        with pytest.raises(ValueError, match=wanted):
            explain.relevance(model, x, 0, method=method)
    for method in ("gradient", "integrated_gradients", "occlusion"):
        assert np.isfinite(explain.relevance(model, x, 0, method=method).relevance).all()


def test_causal_padding_is_refused():
    model = functional(lambda x: L.Flatten()(L.Conv1D(2, 3, padding="causal", name="past")(x)))
    with pytest.raises(
        ValueError,
        match="Layer 'past' must have its channels last and padding 'same' or 'valid'. Got channels_last and 'causal'",
    ):
        explain.relevance(model, inputs((6, 4)), 0)
    assert explain.relevance(model, inputs((6, 4)), 0, method="gradient").relevance.any()


def test_softmax_neurons_have_no_reference():
    model = functional(L.Flatten(), end="softmax")
    with pytest.raises(ValueError, match="a softmax's logits and differences of logits have no probability"):
        explain.relevance(model, inputs((6, 4)), 0, reference=0.2)


@pytest.mark.parametrize("method", ["deep_taylor_bounded", "lrp_composite"])
def test_bounds_have_a_tolerance_of_rounding(method):
    keras.utils.set_random_seed(0)
    model = functional(L.Flatten())
    x = -100 + 160 * inputs((6, 4))
    x[0, 0], x[1, 0] = -100, 60
    inside = explain.relevance(model, x, 0, method=method, low=-100, high=60, reference=1e-9)
    x[0, 0], x[1, 0] = np.nextafter(np.float32(-100), np.float32(-200)), np.nextafter(np.float32(60), np.float32(99))
    outside = explain.relevance(model, x, 0, method=method, low=-100, high=60, reference=1e-9)
    np.testing.assert_allclose(outside.relevance, inside.relevance, atol=1e-4 * np.abs(inside.relevance).max())
    assert outside.relevance.any()
    assert outside.relevance.min() >= 0 or method == "lrp_composite"
    x[0, 0] = -100.02
    message = "x must lie in [low, high] = [-100, 60] for the z^B rule. Got values from -100.02"
    with pytest.raises(ValueError, match=re.escape(message)):
        explain.relevance(model, x, 0, method=method, low=-100, high=60)


@pytest.mark.parametrize("policy", ["float16", "mixed_float16", "bfloat16", "mixed_bfloat16", "float64"])
def test_other_precisions_are_refused_by_name_and_perturbations_work(policy):
    source = L.Input((6, 4))
    conv = L.Conv1D(3, 3, activation="relu", name="half", dtype=policy, kernel_initializer="ones")  # no unit is dead
    x = L.Flatten()(conv(source))
    model = keras.Model(source, L.Dense(2, activation="sigmoid", dtype=policy)(x), name="net")
    wanted = (
        f"Layer 'half' of net computes in {policy.removeprefix('mixed_')}, but derivatives and relevance need float32"
    )
    for method in ("deep_taylor", "lrp_epsilon", "gradient", "grad_cam", "guided_backprop"):
        with pytest.raises(ValueError, match=wanted):
            explain.relevance(model, inputs((6, 4)), 0, method=method)
    assert np.isfinite(explain.relevance(model, inputs((6, 4)), 0, method="occlusion", patch=2).relevance).all()
    twin = functional(lambda x: L.Flatten()(L.Conv1D(3, 3, activation="relu")(x)))
    twin.set_weights(model.get_weights())  # what the message advises
    assert explain.relevance(twin, inputs((6, 4)), 0, method="lrp_epsilon").relevance.any()


def test_a_bad_layer_beside_the_way_of_relevance_does_no_harm():
    source = L.Input((6, 4))
    x = L.Conv1D(3, 3, padding="same", activation="relu")(source)
    gate = L.Dense(3, activation="sigmoid")(L.GRU(2)(x))
    model = shaken(keras.Model(source, L.Dense(2)(L.Flatten()(L.Multiply()([x, L.Reshape((1, 3))(gate)])))))
    found = explain.relevance(model, inputs((6, 4)), 0, method="lrp_epsilon")
    assert found.relevance.any()
    assert found.conservation.error().max() < 1e-4


@pytest.mark.parametrize("name", ["conv2d", "norm_across_pool", "gate", "wave"])
def test_zero_input_has_finite_maps(name):
    model, _, shape = built(name)
    few = {
        "occlusion": {"patch": 3},
        "rise": {"n_masks": 20},
        "lime": {"n_samples": 20},
        "smooth_grad": {"n_samples": 2},
    }
    for method in explain.METHODS:
        found = explain.relevance(
            model, np.zeros((1, *shape), np.float32), [0, 1, 2], method=method, **few.get(method, {})
        )
        assert np.isfinite(found.relevance).all()
        assert np.isfinite(found.logit).all()
        if method in (
            "deep_taylor",
            "lrp_epsilon",
            "lrp_gamma",
            "lrp_alpha_beta",
            "input_x_gradient",
            "energy",
            "edge",
            "integrated_gradients",
            "occlusion",
            "lime",
        ):
            assert np.abs(found.relevance).max() < 1e-6
        if found.conservation is not None:
            assert found.conservation.error().max() <= 1e-4


def test_a_constant_network_explains_nothing():
    model = functional(L.Flatten())
    model.set_weights([0 * w for w in model.get_weights()])
    for method in ("deep_taylor", "lrp_epsilon", "lrp_gamma", "lrp_alpha_beta", "lrp_composite"):
        found = explain.relevance(model, inputs((6, 4)), 0, method=method, reference=0.2)
        assert (found.logit > 0).all()
        assert not found.relevance.any()
        assert found.conservation.error().max() <= 1e-4


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("lrp_epsilon", {"epsilon": float("nan")}, "epsilon must be a number of at least 0"),
        ("lrp_epsilon", {"epsilon": -1}, "epsilon must be a number of at least 0"),
        ("lrp_gamma", {"gamma": -0.1}, "gamma must be a number of at least 0"),
        ("smooth_grad", {"n_samples": 0}, "n_samples must be a positive int"),
        ("smooth_grad", {"noise": -1}, "noise must be a number of at least 0"),
        ("integrated_gradients", {"steps": 2.5}, "steps must be a positive int"),
        ("occlusion", {"patch": 0}, "patch must be a positive int"),
        ("occlusion", {"patch": 4, "stride": 5}, "stride must not exceed patch"),
        ("rise", {"n_masks": 0}, "n_masks must be a positive int"),
        ("rise", {"keep": 1.0}, r"keep must lie in \(0, 1\)"),
        ("lime", {"ridge": -1}, "ridge must be a number of at least 0"),
        ("lime", {"grid": (4, 0)}, "grid must be a positive int"),
        ("deep_taylor_bounded", {"low": np.zeros(3)}, "low must be a finite number or None"),
    ],
)
def test_numbers_out_of_range_are_named(method, options, message):

    model = keras.Sequential([L.Input((8, 8, 1)), L.Flatten(), L.Dense(2)])
    with pytest.raises(ValueError, match=message):
        explain.Explainer(model, method=method, **options)


@pytest.mark.parametrize("method", ["occlusion", "rise", "lime", "integrated_gradients"])
@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("noise", "baseline must be a number, 'floor', 'mean' or an array. Got 'noise'."),
        (np.nan, "baseline must be finite. It holds NaN or Inf."),
        (np.zeros((3, 8, 1)), r"baseline must fit inputs of shape .*8, 8, 1.*\. Got shape \(3, 8, 1\)\."),
    ],
    ids=["word", "NaN", "shape"],
)
def test_baselines_that_do_not_fit(method, baseline, message):
    model = keras.Sequential([L.Input((8, 8, 1)), L.Flatten(), L.Dense(2)])
    with pytest.raises(ValueError, match=message):
        explain.relevance(model, inputs((8, 8, 1)), 0, method=method, baseline=baseline)


def test_vectors_have_no_mean_over_time():
    model, _, shape = built("dense")
    for method in ("integrated_gradients", "occlusion"):
        with pytest.raises(
            ValueError, match=r"baseline 'mean' needs inputs with a time axis. Got inputs of shape \(7,\)"
        ):
            explain.relevance(model, inputs(shape), 0, method=method, baseline="mean")
    assert explain.relevance(model, inputs(shape), 0, method="occlusion", patch=2).relevance.any()

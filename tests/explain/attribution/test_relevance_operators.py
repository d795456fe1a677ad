"""Operators on Keras tensors, elementwise activations and further convolutions, each against explicit matrices."""

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops
from support.networks import built, check, eagerly, inputs, near, shaken
from support.operator_networks import BANDS, OPERATORS, SHIFT

from musictools import explain
from musictools.explain.attribution import canonisation, operations, operators, propagation
from musictools.explain.attribution.operations import repeat
from musictools.models.graph import linear, reading
from musictools.models.graph.autodiff import pull

METHODS = {
    "deep_taylor": ("deep_taylor", {"probability": 0.02}),
    "epsilon": ("lrp_epsilon", {"epsilon": 0.05}),
    "gamma": ("lrp_gamma", {"gamma": 0.4, "signed": True}),
    "composite": ("lrp_composite", {"input": "z_box", "epsilon": 0.1}),
}


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    eagerly(monkeypatch)


# z^B sees the input through its scaling as if that were merged; the reference of a network knows one of the two.
CASES = [
    (name, method)
    for name in OPERATORS
    for method in METHODS
    if (name, method == "composite") not in (("scaled_input", True), ("merged_input", False))
]


@pytest.mark.parametrize(("name", "method"), CASES)
def test_reference(name, method):
    method, options = METHODS[method]
    check(name, method, **options)
    network, _, shape = built(name)
    assert explain.relevance(network, inputs(shape), [0, 1, 2], method="lrp_epsilon").relevance.any()


@pytest.mark.parametrize("options", [{"input": "flat"}, {"input": "z_box"}], ids=str)
def test_a_scaled_input_has_its_bounds_scaled(options):
    """Relevance passes the scaling unchanged, so that z^B with scaled bounds is z^B of the merged layer."""
    if "z_box" in options.values():
        check("merged_input", "lrp_composite", signed=True, **options)
    network, _, shape = built("scaled_input")
    found = explain.relevance(network, inputs(shape), 0, method="lrp_composite", **options)
    assert found.conservation.rules[-2:] == ["Pass", ""]
    assert not found.conservation.entries[:, -3:-1, 2].any()  # nothing is absorbed by the shift


def test_the_shift_of_a_scaled_input_absorbs_by_rules_that_look_at_the_output():
    network, _, shape = built("scaled_input")
    x = inputs(shape)
    found = explain.relevance(network, x, 0, method="lrp_epsilon", epsilon=0.0)
    table = found.conservation.to_frame(0)
    scaled = table[table["rule"] == "Epsilon"].iloc[-1]
    assert abs(scaled["bias"]) > 0.01 * abs(scaled["arrived"])
    seen = (x - SHIFT) * BANDS
    arrived = found.relevance * np.divide(seen, x * BANDS, out=np.zeros_like(seen), where=x != 0)
    np.testing.assert_allclose(arrived[0].sum(), scaled["arrived"], rtol=1e-3)


def functional(make, shape=(6, 4)):
    source = L.Input(shape)
    return shaken(keras.Model(source, L.Dense(2)(L.Flatten()(make(source)))))


TWINS = {  # an operator and the layer that does the same
    "add": (lambda x, y: x + y, lambda x, y: L.Add()([x, y])),
    "subtract": (lambda x, y: x - y, lambda x, y: L.Subtract()([x, y])),
    "concatenate": (lambda x, y: ops.concatenate([x, y], axis=1), lambda x, y: L.Concatenate(axis=1)([x, y])),
    "gate": (lambda x, y: x * ops.sigmoid(y), lambda x, y: L.Multiply()([x, L.Activation("sigmoid")(y)])),
    "hard sigmoid": (
        lambda x, y: x * ops.hard_sigmoid(y),
        lambda x, y: L.Multiply()([x, L.Activation("hard_sigmoid")(y)]),
    ),
    "transpose": (lambda x, y: ops.transpose(x, (0, 2, 1)), lambda x, y: L.Permute((2, 1))(x)),
    "crop": (lambda x, y: x[:, 1:-2], lambda x, y: L.Cropping1D((1, 2))(x)),
    "pad": (lambda x, y: ops.pad(x, ((0, 0), (2, 1), (0, 0))), lambda x, y: L.ZeroPadding1D((2, 1))(x)),
    "mean": (lambda x, y: ops.mean(x, axis=1), lambda x, y: L.GlobalAveragePooling1D()(x)),
    "pool": (lambda x, y: ops.average_pool(x, 2), lambda x, y: L.AveragePooling1D(2)(x)),
    "max pool": (lambda x, y: ops.max_pool(x, 2), lambda x, y: L.MaxPooling1D(2)(x)),
    "relu": (lambda x, y: ops.relu(x), lambda x, y: L.ReLU()(x)),
    "repeat": (lambda x, y: ops.repeat(x, 2, axis=1), lambda x, y: L.UpSampling1D(2)(x)),
    "squeeze": (lambda x, y: ops.squeeze(ops.expand_dims(x, 2), 2), lambda x, y: x),
    "twice": (lambda x, y: x + x, lambda x, y: L.Add()([x, x])),
    "scale": (lambda x, y: x / 4 - 1, lambda x, y: L.Rescaling(0.25, -1.0)(x)),
    "silu": (lambda x, y: ops.silu(x), lambda x, y: L.Activation("swish")(x)),
}


@pytest.mark.parametrize("name", TWINS)
def test_an_operator_is_the_layer_that_does_the_same(name):
    models = []
    for make in TWINS[name]:
        source = L.Input((6, 4))
        x = L.Conv1D(3, 3, padding="same", activation="relu", name="one")(source)
        y = make(x, L.Conv1D(3, 3, padding="same", name="two")(source))
        models.append(keras.Model(source, L.Dense(2)(L.Flatten()(L.Conv1D(2, 2)(y) if len(y.shape) == 3 else y))))
    shaken(models[0])
    by_name = {layer.name: layer.get_weights() for layer in models[0].layers if layer.name in ("one", "two")}
    rest = [layer.get_weights() for layer in models[0].layers if layer.get_weights() and layer.name not in by_name]
    for layer in models[1].layers:
        if layer.get_weights():
            layer.set_weights(by_name[layer.name] if layer.name in by_name else rest.pop(0))
    x = inputs((6, 4))
    for method in ("lrp_gamma", "lrp_composite"):
        found = [explain.Explainer(model, method=method)(x, [0, 1]) for model in models]
        near(found[0].logit, found[1].logit, "logit")
        near(found[0].relevance, found[1].relevance, name)
        assert found[0].conservation.error().max() < 1e-5


def test_without_constants_all_relevance_reaches_the_input():
    for name in ("separable", "transposed", "activations", "signals", "gates"):
        network, _, shape = built(name)
        network = shaken(keras.models.clone_model(network), seed=3)
        for layer in network.layers:
            if getattr(layer, "bias", None) is not None:
                layer.bias.assign(0 * layer.bias)
        found = explain.Explainer(network, method="lrp_epsilon", epsilon=1e-9)(inputs(shape, n=4), [0, 1, 2])
        total = found.relevance.reshape(*found.logit.shape, -1).sum(axis=-1)
        np.testing.assert_allclose(total, found.logit, rtol=1e-4, atol=1e-4 * np.abs(found.logit).max())


REFUSED = {
    "divides by a signal": lambda x: x / (ops.sum(x, axis=1, keepdims=True) + 1.0),
    "divides by a signal, and": lambda x: 1.0 / x,
    "pads with numbers other than 0": lambda x: ops.pad(x, ((0, 0), (1, 1), (0, 0)), constant_values=1.0),
    "scales by NaN or infinity": lambda x: x * float("nan"),
    "combines the samples of a batch": lambda x: ops.flip(x, axis=0),
    "combines the samples of a batch, and": lambda x: x - ops.mean(x, axis=0, keepdims=True),
    "multiplies signals none of which is a sigmoid gate": lambda x: x * x,
    "is of a kind (Cumsum) that has no rule": lambda x: ops.cumsum(x, axis=1),
    "interpolates by 'bicubic'": lambda x: ops.image.resize(x[..., None], (4, 2), interpolation="bicubic"),
}


@pytest.mark.parametrize("message", REFUSED)
def test_operators_that_are_refused_by_name(message):
    import re

    model = functional(REFUSED[message])
    for method in ("deep_taylor", "lrp_epsilon"):
        with pytest.raises(ValueError, match=re.escape(message.removesuffix(", and")) + ".*cannot be propagated"):
            explain.Explainer(model, method=method)


def test_hard_sigmoids_are_gates_and_larger_numbers_are_not():
    source = L.Input((4,))
    for number, is_gate in ((1 / 6, True), (1.0, False), (-1 / 6, False)):
        model = keras.Model(source, L.Dense(2)(source * (ops.relu6(source + 3) * number)))
        graph = reading.read(model)
        product = next(call for call in graph.calls if len(call.inputs) == 2)
        assert [graph.is_gate(value) for value in product.inputs] == [False, is_gate]


# -- mistakes: each is seen by a check that passes without it ----------------------------------------------------------

MISTAKES = {}


def seen_by(network, method):
    def register(function):
        MISTAKES[function.__name__] = function, (network, METHODS[method])
        return function

    return register


@seen_by("separable", "epsilon")
def the_multiplier_of_a_separable_convolution_is_turned(patch):
    def kernel(layer):
        D, P = (np.asarray(w, dtype=np.float64) for w in (layer.depthwise_kernel, layer.pointwise_kernel))
        i, m = D.shape[-2:]
        return np.einsum("...im,mio->...io", D, P.reshape(m, i, -1))

    patch.setattr(linear, "_separable_kernel", kernel)


@seen_by("norm_convolutions", "epsilon")
def a_transposed_convolution_has_one_bias_for_all_places(patch):
    bias_map = canonisation.conv_bias_map

    def everywhere(call, apply, kernel, b):
        added = bias_map(call, apply, kernel, b)
        return added[0, added.shape[1] // 2, added.shape[2] // 2] if "Transpose" in call.kind else added

    patch.setattr(canonisation, "conv_bias_map", everywhere)


@seen_by("activations", "epsilon")
def an_activation_passes_its_slope(patch):
    def backward(self, xs, y, relevance, k):
        return [pull(self.forward, repeat(xs[0], k), relevance)], None

    patch.setattr(operations.Activation, "backward", backward)


@seen_by("activations", "deep_taylor")
def silu_counts_as_never_negative(patch):
    activation = canonisation._Planner.activation

    def wrong(self, call, name, value, function):
        return canonisation.replace(activation(self, call, name, value, function), positive=name == "silu")

    patch.setattr(canonisation._Planner, "activation", wrong)


@seen_by("upsampled", "epsilon")
def only_the_first_copy_passes_relevance(patch):
    def backward(self, xs, y, relevance, k):
        part = pull(self.forward, repeat(xs[0], k), relevance)
        return [part / 2 if self.name == "up" else part], None

    patch.setattr(operations.Move, "backward", backward)


@seen_by("signals", "epsilon")
def a_difference_is_a_sum(patch):
    weighted = canonisation._Planner.weighted_sum

    def wrong(self, call, ins, kernels):
        value = weighted(self, call, ins, kernels)
        self.operations[-1].kernels = [abs(w) for w in kernels]
        return value

    patch.setattr(canonisation._Planner, "weighted_sum", wrong)


@seen_by("signals", "epsilon")
def a_mean_gives_all_the_same(patch):
    backward = operations.Linear.backward
    patch.setattr(
        operations.Linear,
        "backward",
        lambda self, xs, y, relevance, k, **more: (
            ([self._transposed(repeat(xs[0], k), self._w[0], relevance)], None)
            if self.layer == "Mean"
            else backward(self, xs, y, relevance, k, **more)
        ),
    )


@seen_by("constants", "epsilon")
def constants_are_added_with_the_wrong_sign(patch):
    affine = operators._affine
    patch.setattr(operators, "_affine", lambda planner, call, value, a, b: affine(planner, call, value, a, abs(b)))


@seen_by("constants", "gamma")
def a_quotient_is_a_product(patch):
    patch.setitem(operators._OPERATORS, "TrueDivide", operators._multiplied)


@seen_by("maps", "epsilon")
def the_shift_of_a_normalisation_is_forgotten(patch):
    affine = operators._affine

    def wrong(planner, call, value, a, b):
        return affine(planner, call, value, a, 0.0 if call.kind == "Normalization" else b)

    patch.setattr(operators, "_affine", wrong)


@seen_by("gates", "epsilon")
def a_gate_takes_half(patch):
    backward = operations.Gate.backward
    patch.setattr(
        operations.Gate, "backward", lambda self, xs, y, relevance, k: backward(self, xs, y, relevance / 2, k)
    )


@seen_by("merged_input", "composite")
def bounds_are_not_scaled(patch):
    bound = propagation._bound

    def wrong(operation, given, x):
        return given[0] if getattr(operation, "kind", "") == "scale" else bound(operation, given, x)

    patch.setattr(propagation, "_bound", wrong)


@seen_by("merged_input", "composite")
def bounds_stay_in_their_order_under_a_negative_factor(patch):
    patch.setattr(propagation.ops, "minimum", lambda a, b: a if len(a.shape) == 4 else np.minimum(a, b))


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_seen(name, monkeypatch):
    mistake, (network, (method, options)) = MISTAKES[name]
    with monkeypatch.context() as patch:
        mistake(patch)
        with pytest.raises(AssertionError, match=r"off by"):
            check(network, method, **options)

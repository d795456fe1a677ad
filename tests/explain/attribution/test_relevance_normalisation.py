"""Layer and root-mean-square normalisation against the reference with explicit matrices, and broken on purpose."""

import keras
import numpy as np
import pytest
from keras import layers as L
from support import networks
from support.networks import before, check, eagerly, ended, inputs, near, scale, shaken
from support.reference import Matrix

from musictools import explain
from musictools.explain.attribution import normalisation, operations, propagation

METHODS = {
    "deep_taylor": {"probability": 0.02},
    "deep_taylor_bounded": {"probability": 0.02},
    "lrp_epsilon": {"epsilon": 0.05},
    "lrp_gamma": {},
    "lrp_alpha_beta": {},
    "lrp_composite": {"input": "z_box", "epsilon": 0.1},
}


def divided(layer, shape, *, centred=True):
    """A normalisation without its weights, as a layer that relevance passes."""
    axes = tuple(np.atleast_1d(layer.axis))

    def forward(x):
        x = np.asarray(x, dtype=np.float64)
        x = x - x.mean(axis=axes, keepdims=True) if centred else x
        return x / np.sqrt((x**2).mean(axis=axes, keepdims=True) + layer.epsilon)

    return L.Activation(forward)


def weights(layer, shape, beta=True):
    a = np.asarray(layer.gamma if beta else layer.scale, dtype=np.float64)
    b = np.asarray(layer.beta, dtype=np.float64) if beta else np.zeros(a.shape)
    axes = [axis % (len(shape) + 1) for axis in np.atleast_1d(layer.axis)]
    broad = [side if axis in axes else 1 for axis, side in enumerate(shape, start=1)]
    return tuple(np.broadcast_to(w.reshape(broad), shape).ravel() for w in (a, b))


def before_dense():
    def twin(by, shape):
        two = before(by["two"], (5, 4), *weights(by["norm"], (5, 4)), kind="dense")
        end = [("relu", L.ReLU()), ("flatten", L.Flatten()), ("logits", by["logits"])]
        return [("one", by["one"]), ("norm", divided(by["norm"], (5, 4))), ("two", two), *end]

    return (
        (5, 3),
        ended(
            ("one", L.Dense(4, activation="relu")),
            ("norm", L.LayerNormalization()),
            ("two", L.Dense(3, activation="relu")),
        ),
        twin,
    )


def before_sum():
    """Nothing can take the weights: before a sum, and normalised over two axes."""

    def twin(by, shape):
        first, second = weights(by["norm"], (4, 3)), weights(by["norm2"], (4, 3))
        return [
            ("one", by["one"]),
            ("norm", divided(by["norm"], (4, 3)), "one"),
            ("scale", scale(first[0], (4, 3), first[1])),
            ("add", by["add"], "scale", "one"),
            ("norm2", divided(by["norm2"], (4, 3))),
            ("scale2", scale(second[0], (4, 3), second[1])),
            ("two", by["two"]),
            ("relu", L.ReLU()),
            ("flatten", L.Flatten()),
            ("logits", by["logits"]),
        ]

    return (
        (4, 2),
        ended(
            ("one", L.Dense(3)),
            ("norm", L.LayerNormalization(), "one"),
            ("add", L.Add(), "norm", "one"),
            ("norm2", L.LayerNormalization(axis=(1, 2), epsilon=0.1)),
            ("two", L.Conv1D(2, 2, activation="relu")),
        ),
        twin,
    )


def root_mean_square():
    def twin(by, shape):
        two = before(by["two"], (5, 4), *weights(by["norm"], (5, 4), beta=False))
        end = [("relu", L.ReLU()), ("flatten", L.Flatten()), ("logits", by["logits"])]
        return [("one", by["one"]), ("norm", divided(by["norm"], (5, 4), centred=False)), ("two", two), *end]

    return (
        (5, 3),
        ended(
            ("one", L.Dense(4, activation="relu")),
            ("norm", L.RMSNormalization()),
            ("two", L.Conv1D(3, 3, padding="same", activation="relu")),
        ),
        twin,
    )


def mean_by_epsilon():
    """The subtraction of the mean as a linear layer of its own."""

    def twin(by, shape):
        centre = Matrix("dense", [np.kron(np.eye(5), np.eye(4) - 0.25)], np.zeros(20), (5, 4))
        one, _, two, *end = before_dense()[2](by, shape)
        return [one, ("norm", centre), ("divided", divided(by["norm"], (5, 4), centred=False)), two, *end]

    return (5, 3), before_dense()[1], twin


CASES = {f.__name__: f for f in (before_dense, before_sum, root_mean_square)}


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    eagerly(monkeypatch)
    for case in (*CASES.values(), mean_by_epsilon):
        monkeypatch.setitem(networks.NETWORKS, case.__name__, case)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_reference(name, method):
    check(name, method, **METHODS[method])
    check(name, method, signed=True, **METHODS[method])


def test_the_mean_by_epsilon():
    check("mean_by_epsilon", "lrp_composite", rules={"norm": "epsilon"}, epsilon=0.05, input="flat")
    check("mean_by_epsilon", "lrp_composite", rules={"LayerNormalization": "epsilon"}, epsilon=0.05, input="flat")


def without_biases():
    source = L.Input((6, 4))
    y = L.LayerNormalization(center=False)(L.Dense(5, use_bias=False)(source))
    y = L.RMSNormalization()(L.Add()([y, L.Dense(5, use_bias=False, activation="relu")(y)]))
    y = L.LayerNormalization(axis=1, center=False)(y)
    return shaken(keras.Model(source, L.Dense(3, use_bias=False)(L.Flatten()(y))))


@pytest.mark.parametrize("method", ["lrp_epsilon", "lrp_composite"])
def test_without_biases_all_relevance_reaches_the_input(method):
    more = {"input": "epsilon"} if method == "lrp_composite" else {}
    found = explain.Explainer(without_biases(), method=method, epsilon=1e-9, **more)(inputs((6, 4), n=4), [0, 1, 2])
    near(found.relevance.sum(axis=(2, 3)), found.logit, "sum")
    assert found.conservation.error().max() <= 1e-5


@pytest.mark.parametrize("axis", [1, (1, 2), -1])
def test_logits_are_the_networks(axis):
    source = L.Input((6, 4))
    y = L.LayerNormalization(axis=axis)(source)
    model = shaken(keras.Model(source, L.Dense(3)(L.Flatten()(y))))
    x = inputs((6, 4), n=3)
    found = explain.relevance(model, x, [0, 1, 2], method="lrp_epsilon")
    near(found.logit, model(x), "logit")
    assert found.conservation.error().max() <= 1e-5


# -- broken on purpose ------------------------------------------------------------------------------------------------


def the_deviation_is_no_constant(patch):
    patch.setattr(normalisation.Deviation, "backward", operations.Operation.backward)


def scale_and_shift_are_forgotten(patch):
    patch.setattr(normalisation, "_scaled", lambda planner, call, number, *a: planner.made(number))


def the_shift_is_forgotten(patch):
    scaled = normalisation._scaled
    patch.setattr(normalisation, "_scaled", lambda *a: scaled(*a[:4], None, a[5]))


def the_mean_is_not_subtracted(patch):
    emit = operations.Linear.__post_init__

    def mistaken(self):
        emit(self)
        if self.kind == "centre":
            self.apply = lambda x, w: x * w

    patch.setattr(operations.Linear, "__post_init__", mistaken)


def the_mean_takes_its_share(patch):
    choose = propagation._Chooser.__call__
    patch.setattr(
        propagation._Chooser,
        "__call__",
        lambda self, operation: self.rule("epsilon") if operation.kind == "centre" else choose(self, operation),
    )


MISTAKES = (
    the_deviation_is_no_constant,
    scale_and_shift_are_forgotten,
    the_shift_is_forgotten,
    the_mean_is_not_subtracted,
    the_mean_takes_its_share,
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda f: f.__name__)
def test_a_mistake_is_seen(mistake, monkeypatch):
    mistake(monkeypatch)
    with pytest.raises(AssertionError, match=r"off by"):
        check("before_sum", "lrp_epsilon", epsilon=0.05)

"""Tiny networks of operators on Keras tensors and of layers that scale, copy or resize, for the tests of relevance.

As in `support.networks`, each is an input shape, a list of layers and a function that makes the list for the reference,
or None. An `Operator` is a function of tensors that stands in the list like a layer. The reference takes its matrices
from what it makes of unit vectors, so it knows nothing of how the package reads it.
"""

import numpy as np
from keras import layers as L
from keras import ops

from support.networks import ADDED, before, ended, scale
from support.reference import Matrix, Operator, matrices, normalisation

RNG = np.random.default_rng(5)
BANDS = RNG.uniform(0.5, 2, (6, 1, 1)) * np.array([1, -1, 1, 1, -1, 1]).reshape(6, 1, 1)
SHIFT = RNG.normal(0, 0.5, (6, 1, 1))


def separable():
    return (
        (6, 5, 2),
        ended(
            ("one", L.SeparableConv2D(4, 3, depth_multiplier=2, padding="same", activation="relu")),
            ("two", L.SeparableConv2D(3, (2, 2), strides=2)),
            ("relu", L.ReLU()),
            ("flat", L.Reshape((6, 3))),
            ("three", L.SeparableConv1D(2, 3, dilation_rate=2, depth_multiplier=3, activation="relu")),
        ),
        None,
    )


def transposed():
    return (
        (3, 4, 2),
        ended(
            ("one", L.Conv2DTranspose(3, 3, strides=2, padding="same", activation="relu")),
            ("two", L.Conv2DTranspose(2, (2, 3), strides=(2, 1), output_padding=(1, 0), activation="elu")),
            ("flat", L.Reshape((65, 4))),
            ("three", L.Conv1DTranspose(2, 3, dilation_rate=2, activation="relu")),
        ),
        None,
    )


def norm_convolutions():
    """Normalisations before and after a transposed and a separable convolution."""

    def twin(by, shape):
        one = before(by["one"], shape, *normalisation(by["norm"], shape))
        one = merged(one, by["norm2"])
        two = before(by["two"], one.shape, *normalisation(by["norm3"], one.shape))
        two = merged(two, by["norm4"])
        rest = [("leaky", by["leaky"]), ("flatten", L.Flatten()), ("logits", by["logits"])]
        return [("one", one), ("elu", by["elu"]), ("two", two), *rest]

    return (
        (3, 4, 2),
        ended(
            ("norm", L.BatchNormalization()),
            ("one", L.Conv2DTranspose(3, 3, strides=2)),
            ("norm2", L.BatchNormalization()),
            ("elu", L.ELU()),
            ("norm3", L.BatchNormalization()),
            ("two", L.SeparableConv2D(2, 3, padding="same", depth_multiplier=2)),
            ("norm4", L.BatchNormalization()),
            ("leaky", L.LeakyReLU(0.2)),
        ),
        twin,
    )


def upsampled():
    """Copies, one of them with a normalisation still to be applied, and linear interpolation."""

    def twin(by, shape):
        _, _, first = matrices(by["one"], shape)
        wide = (2 * first[0], first[1], first[2])
        two = before(by["two"], wide, *normalisation(by["norm"], wide))
        names = ("elu", "bilinear", "three", "mean", "copies", "flatten", "logits")
        return [("one", by["one"]), ("up", by["up"]), ("two", two), *((n, by[n]) for n in names)]

    return (
        (3, 4, 1),
        ended(
            ("one", L.Conv2D(2, 2, padding="same", activation="relu")),
            ("norm", L.BatchNormalization()),
            ("up", L.UpSampling2D((2, 1))),
            ("two", L.Conv2D(2, 3, padding="same")),
            ("elu", L.ELU()),
            ("bilinear", L.UpSampling2D(2, interpolation="bilinear")),
            ("three", L.Conv2D(3, 3, strides=2, activation="relu")),
            ("mean", L.GlobalAveragePooling2D()),
            ("copies", L.RepeatVector(2)),
        ),
        twin,
    )


def activations():
    names = ("silu", "gelu", "hard_silu", "tanh", "softsign", "relu6", "mish", "selu")
    lines = []
    for name in names:
        lines.append((f"dense_{name}", L.Dense(5)))
        operator = name in ("gelu", "softsign", "hard_silu")
        lines.append((name, Operator("pass", getattr(ops, name)) if operator else L.Activation(name)))
    return (7,), ended(*lines, ("last", L.Dense(4, activation="silu")), ("prelu", L.PReLU()), flat=False), None


def signals():
    """Sums of other shapes, means, sums, moves and maxima of tensors."""
    maxima = [np.arange(24).reshape(3, 2, 4)[:, i, c] for i in range(2) for c in range(4)]
    return (
        (6, 4, 2),
        ended(
            ("one", L.Conv2D(3, 3, padding="same", activation="relu")),
            ("mean", Operator("pool", lambda x: ops.mean(x, axis=(1, 2), keepdims=True))),
            ("less", Operator("sum", lambda x, m: x - m), "one", "mean"),
            ("two", Operator("sum", lambda x, y: y + x), "less", "one"),
            ("turn", Operator("move", lambda x: ops.transpose(x, (0, 2, 1, 3)))),
            ("some", Operator("move", lambda x: x[:, 1:3, ::2, :2])),
            ("more", Operator("move", lambda x: ops.reshape(x, (-1, 3, 2, 2))), "some"),
            ("both", Operator("move", lambda a, b: ops.concatenate([a, b], axis=-1)), "more", "more"),
            ("top", Operator("maximum", lambda x: ops.max(x, axis=1), windows=maxima), "both"),
            ("left", Operator("move", lambda x: ops.split(x, 2, axis=1)[0]), "top"),
            ("right", Operator("move", lambda x: ops.split(x, [1], axis=1)[1]), "top"),
            ("pair", Operator("move", lambda a, b: ops.stack([a, b], axis=-1)), "left", "right"),
            ("padded", Operator("move", lambda x: ops.pad(x, ((0, 0), (1, 0), (0, 0), (0, 2))))),
            ("total", Operator("pool", lambda x: ops.sum(x, axis=-1))),
        ),
        None,
    )


def constants():
    """Numbers and channels that are merged into the layers beside them."""

    def twin(by, shape):
        one = before(by["one"], shape, *flat_affine(shape, [2.0, 0.5], [1.0, -0.25]))
        _, _, new = matrices(by["one"], shape)
        channels = np.array([0.5, -1.5, 2.0])
        a, b = flat_affine(new, -channels, 3 - channels * 0.1)
        one.matrices, one.bias = [a[:, None] * one.matrices[0]], a * one.bias + b
        two = before(by["two"], new, *flat_affine(new, [0.25] * 3, [-0.5] * 3))
        names = ("elu", "flatten", "logits")
        return [("one", one), ("relu", L.ReLU()), ("two", two), *((n, by[n]) for n in names)]

    channels = np.array([0.5, -1.5, 2.0], np.float32)
    return (
        (4, 3, 2),
        ended(
            ("twice", Operator("scale", lambda x: x * np.array([2.0, 0.5], np.float32))),
            ("more", Operator("scale", lambda x: ops.add(np.array([1.0, -0.25], np.float32), x))),
            ("one", L.Conv2D(3, 2, padding="same")),
            ("plus", Operator("scale", lambda x: x + 0.1)),
            ("less", Operator("scale", lambda x: 3.0 - ops.multiply(channels, x))),
            ("relu", L.ReLU()),
            ("fourth", Operator("scale", lambda x: (x - 2.0) / 4)),
            ("two", L.Conv2D(2, 2, padding="same")),
            ("elu", L.ELU()),
        ),
        twin,
    )


def maps():
    """Constants with a shape of their own, and channels before a sum, stay."""

    def twin(by, shape):
        a, b = (np.broadcast_to(one, (6, 4, 2)).ravel() for one in (BANDS, -SHIFT))
        size = np.linspace(0.5, -0.5, 2)
        scaled = scale(np.tile(size, 24), (6, 4, 2))
        rest = [("add", by["add"], "bands", "scaled"), ("relu2", L.ReLU()), ("line", by["line"])]
        rest += [("copied", Operator("move", lambda x: x * np.ones((6, 3, 2), np.float32)))]
        rest += [("wide", scale(np.broadcast_to(wide[0], (6, 3, 2)).ravel(), (6, 3, 2)))]
        rest += [("flatten", L.Flatten()), ("logits", by["logits"])]
        norm = scale(np.ones(48), (6, 4, 2), b)
        first = [("one", by["one"]), ("norm", norm), ("bands", scale(a, (6, 4, 2))), ("scaled", scaled, "one")]
        return [*first, *rest]

    wide = RNG.normal(1, 0.2, (1, 1, 3, 2)).astype(np.float32)
    return (
        (6, 4, 1),
        ended(
            ("one", L.Conv2D(2, 3, padding="same", activation="relu")),
            ("norm", L.Normalization(axis=1, mean=SHIFT.ravel(), variance=np.ones(6))),
            ("bands", Operator("scale", lambda x: x * BANDS.astype(np.float32))),
            ("scaled", Operator("scale", lambda x: x * np.linspace(0.5, -0.5, 2).astype(np.float32)), "one"),
            ("add", L.Add(), "bands", "scaled"),
            ("relu2", L.ReLU()),
            ("line", Operator("pool", lambda x: ops.mean(x, axis=2, keepdims=True))),
            ("wide", Operator("scale", lambda x: x * wide)),
        ),
        twin,
    )


def gates():
    """A hard sigmoid made of operators, and gates that are larger than their signal."""

    def twin(by, shape):
        lines = [(n, by[n], *i) for n, *i in (("one",), ("mean",), ("squeeze",))]
        hard = [("hard", Operator("pass", lambda x: ops.relu6(x + 3) / 6)), ("excite", by["excite"])]
        return [*lines, *hard, ("gated", by["gated"], "one", "excite"), ("two", by["two"]), ("flatten", L.Flatten()),
                ("logits", by["logits"])]  # fmt: skip

    return (
        (6, 5, 1),
        ended(
            ("one", L.Conv2D(4, 3, padding="same", activation="relu")),
            ("mean", L.GlobalAveragePooling2D(keepdims=True)),
            ("squeeze", L.Conv2D(4, 1)),
            ("plus", Operator("scale", lambda x: x + 3.0)),
            ("six", L.ReLU(6.0)),
            ("hard", Operator("scale", lambda x: x * (1.0 / 6.0))),
            ("excite", L.Reshape((1, 1, 4))),
            ("gated", Operator("gate", lambda x, g: x * g), "one", "excite"),
            ("two", L.Conv2D(2, 2, activation="relu")),
        ),
        twin,
    )


def scaled_input(merged=False):
    """An input normalised band by band and padded before a convolution that sees it."""

    def apart(by, shape):
        a, b = (np.broadcast_to(one, shape).ravel() for one in (BANDS, -SHIFT))
        norm, bands = scale(np.ones(a.size), shape, b), scale(a, shape)
        return [("norm", norm), ("bands", bands), *((n, by[n]) for n in ("pad", "one", "flatten", "logits"))]

    def together(by, shape):
        a, b = (np.broadcast_to(one, shape).ravel() for one in (BANDS, -BANDS * SHIFT))
        (pad,), _, wide = matrices(L.ZeroPadding2D(1), shape)
        (M,), bias, new = matrices(by["one"], wide)
        one = Matrix("conv", [M @ pad * a], bias + M @ pad @ b, new)
        return [("one", one), ("relu", L.ReLU()), ("flatten", L.Flatten()), ("logits", by["logits"])]

    return (
        (6, 4, 1),
        ended(
            ("norm", L.Normalization(axis=1, mean=SHIFT.ravel(), variance=np.ones(6))),
            ("bands", Operator("scale", lambda x: x * BANDS.astype(np.float32))),
            ("pad", L.ZeroPadding2D(1)),
            ("one", L.Conv2D(3, 3, strides=2, activation="relu")),
        ),
        together if merged else apart,
    )


def merged_input():
    """The same network; the reference has the scaling in the convolution's weights."""
    return scaled_input(merged=True)


def flat_affine(shape, a, b):
    return tuple(np.broadcast_to(one, shape).ravel() for one in (a, b))


def merged(layer, norm):
    """A Matrix and the normalisation after it."""
    a, b = normalisation(norm, layer.shape)
    return Matrix(layer.kind, [a[:, None] * M for M in layer.matrices], a * layer.bias + b, layer.shape)


OPERATORS = {  # imported for its entries in ADDED too
    f.__name__: f
    for f in (separable, transposed, norm_convolutions, upsampled, activations, signals, constants, maps, gates,
              scaled_input, merged_input)
}  # fmt: skip
ADDED.update(OPERATORS)

"""Tiny networks for the tests of relevance: what the methods see, and the same canonised by hand where it normalises.

`NETWORKS` maps a name to a function without arguments: input shape, list of layers (see `explain_reference`), and
None or a function of the built layers by name that makes the list for the reference.
"""

from functools import cache

import keras
import numpy as np
from keras import layers as L

from musictools import explain
from support.reference import Matrix, Reference, chooser, matrices, model, normalisation

N_OUTPUTS = 3
TOLERANCE = 1e-4


def shaken(network, seed=0):
    """Give all weights of a network random values of either sign, statistics of normalisations too."""
    rng = np.random.default_rng(seed)
    for layer in network._flatten_layers(include_self=False):
        if isinstance(layer, L.BatchNormalization):
            for weight, center, width in ((layer.gamma, 0.2, 1), (layer.beta, 0, 0.4), (layer.moving_mean, 0, 0.4)):
                if weight is not None:
                    weight.assign(rng.normal(center, width, weight.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 2, layer.moving_variance.shape))
        elif not isinstance(layer, keras.Model) and layer.get_weights():
            layer.set_weights(
                [
                    rng.normal(0.05, 1.2 / np.sqrt(max(1, np.prod(w.shape[:-1]))), w.shape)
                    if w.ndim > 1
                    else rng.normal(0, 0.2, w.shape)
                    for w in layer.get_weights()
                ]
            )
    return network


@cache
def built(name):
    """Keras model, reference and input shape of a network by name."""
    shape, spec, twin = (NETWORKS | ADDED)[name]()
    network = shaken(model(shape, spec))
    if twin is not None:
        spec = twin({line[0]: line[1] for line in spec}, shape)
    return network, Reference(shape, spec), shape


def inputs(shape, *, signed=False, n=2, seed=1):
    """Random inputs in [0, 1], or in [-1, 1]."""
    x = np.random.default_rng(seed).uniform(-1 if signed else 0, 1, (n, *shape))
    return x.astype(np.float32)


def eagerly(monkeypatch):
    """Run the methods without compiling them, which takes far longer than tiny networks do."""

    def uncompiled(function, *shapes):
        def call(*arrays):
            outputs = function(*(keras.ops.convert_to_tensor(array, dtype="float32") for array in arrays))
            return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)

        return call

    for module in ("propagation", "gradients", "explainer"):
        monkeypatch.setattr(f"musictools.explain.attribution.{module}.compiled_arrays", uncompiled)


def check(name, method, *, signed=False, probability=None, contrast=None, **options):
    """Fail unless logits, maps and conservation reports of all three neurons are those of the reference."""
    network, reference, shape = built(name)
    x = inputs(shape, signed=signed)
    if method == "deep_taylor_bounded" or "z_box" in options.values():
        options |= {"low": -1.0 if signed else 0.0, "high": 1.5}
    found = explain.Explainer(network, method=method, **options)(x, [0, 1, 2], reference=probability, contrast=contrast)
    choose, k = chooser(method, **options), N_OUTPUTS
    offset = 0.0 if probability is None else np.log(probability / (1 - probability))
    for i, j in np.ndindex(len(x), k):
        target = np.eye(k)[j] if contrast is None else np.eye(k)[j] - np.eye(k)[contrast]
        wanted, logit, by_layer = reference.relevance(
            x[i], target, choose, offset=offset, positive_only=method.startswith("deep_taylor")
        )
        near(found.logit[i, j], logit, "logit")
        near(found.relevance[i, j], wanted, f"relevance of {name} by {method}")
        table = found.conservation.to_frame(i * k + j).set_index("layer")[["arrived", "passed"]]
        table, least = table[~table.index.duplicated(keep=False)], max(1e-6, np.abs(table.to_numpy()).max())
        for layer, amounts in by_layer.items():
            if (layer := layer.removesuffix(" linear")) in table.index:
                near(table.loc[layer], amounts, layer, least=least)


def near(found, wanted, what, least=1e-6):
    """Fail unless two arrays agree, relative to the largest number."""
    found, wanted = np.asarray(found, dtype=np.float64), np.asarray(wanted, dtype=np.float64)
    assert found.shape == wanted.shape, f"{what}: shape {found.shape} instead of {wanted.shape}"
    worst = np.abs(found - wanted).max() / max(np.abs(wanted).max(), least)
    assert worst <= TOLERANCE, f"{what}: off by {worst:.1e}"


def ended(*lines, flat=True):
    end = [("flatten", L.Flatten())] if flat else []
    return [*lines, *end, ("logits", L.Dense(N_OUTPUTS))]


# -- without normalisation -------------------------------------------------------------------------------------------


def dense():
    return (
        (7,),
        ended(("one", L.Dense(6, activation="relu")), ("two", L.Dense(5)), ("leaky", L.LeakyReLU(0.2)), flat=False),
        None,
    )


def linear():
    return (5, 4, 1), ended(), None


def conv1d():
    return (
        (12, 2),
        ended(
            ("one", L.Conv1D(3, 3, strides=2, padding="same", activation="relu")),
            ("two", L.Conv1D(4, 2, dilation_rate=2)),
            ("elu", L.ELU()),
        ),
        None,
    )


def conv2d():
    return (
        (7, 6, 2),
        ended(
            ("one", L.Conv2D(3, (3, 2), strides=(2, 1), padding="same", activation="elu")),
            ("two", L.Conv2D(4, 2, dilation_rate=(1, 2))),
            ("relu", L.ReLU()),
            ("mean", L.GlobalAveragePooling2D()),
            flat=False,
        ),
        None,
    )


def strides():
    return (
        (8, 7, 1),
        ended(
            ("one", L.Conv2D(3, (2, 3), strides=(1, 2), activation="relu", use_bias=False)),
            ("two", L.Conv2D(3, 3, dilation_rate=2, padding="same")),
            ("relu", L.ReLU(negative_slope=0.1)),
        ),
        None,
    )


def groups():
    return (
        (6, 5, 4),
        ended(
            ("one", L.Conv2D(4, 3, groups=2, padding="same", activation="relu")),
            ("flat", L.Reshape((30, 4))),
            ("two", L.Conv1D(6, 3, groups=2, strides=3, activation="relu")),
        ),
        None,
    )


def depthwise():
    return (
        (6, 5, 2),
        ended(
            ("one", L.DepthwiseConv2D(3, depth_multiplier=2, padding="same", activation="relu")),
            ("two", L.DepthwiseConv2D((2, 2), strides=2)),
            ("relu", L.ReLU()),
            ("flat", L.Reshape((6, 4))),
            ("three", L.DepthwiseConv1D(2, depth_multiplier=2, activation="relu")),
        ),
        None,
    )


def maxima():
    return (
        (8, 7, 1),
        ended(
            ("one", L.Conv2D(3, 3, padding="same", activation="elu")),
            ("pool", L.MaxPooling2D(3, strides=2, padding="same")),
            ("two", L.Conv2D(3, 2)),
            ("pool2", L.MaxPooling2D((2, 1))),
            ("flat", L.Reshape((3, 3))),
            ("pool3", L.MaxPooling1D(2, strides=1)),
            ("last", L.GlobalMaxPooling1D()),
            flat=False,
        ),
        None,
    )


def means():
    return (
        (8, 6, 1),
        ended(
            ("mean", L.AveragePooling2D((1, 2))),
            ("one", L.Conv2D(3, 3, padding="same", activation="relu")),
            ("mean2", L.AveragePooling2D(3, strides=2, padding="same")),
            ("flat", L.Reshape((8, 3))),
            ("mean3", L.AveragePooling1D(2)),
            ("last", L.GlobalAveragePooling1D()),
            flat=False,
        ),
        None,
    )


def residual():
    return (
        (6, 5, 1),
        ended(
            ("one", L.Conv2D(3, 3, padding="same", activation="relu")),
            ("two", L.Conv2D(3, 3, padding="same"), "one"),
            ("add", L.Add(), "one", "two"),
            ("relu", L.ReLU()),
            ("three", L.Conv2D(3, 1, activation="relu"), "relu"),
            ("average", L.Average(), "relu", "three", "one"),
            ("less", L.Subtract(), "average", "two"),
            ("twice", L.Add(), "less", "less"),
        ),
        None,
    )


def branches():
    return (
        (6, 5, 1),
        ended(
            ("left", L.Conv2D(2, 3, padding="same", activation="relu"), "x"),
            ("right", L.Conv2D(3, (1, 3), padding="same"), "x"),
            ("both", L.Concatenate(), "left", "right"),
            ("two", L.Conv2D(2, 2, activation="relu")),
            ("high", L.Cropping2D(((0, 2), (0, 0)))),
            ("low", L.MaxPooling2D((2, 1)), "two"),
            ("stacked", L.Concatenate(axis=1), "high", "low"),
        ),
        None,
    )


def gate():
    return (
        (6, 5, 1),
        ended(
            ("one", L.Conv2D(4, 3, padding="same", activation="relu")),
            ("mean", L.GlobalAveragePooling2D()),
            ("squeeze", L.Dense(2, activation="relu")),
            ("excite", L.Dense(4, activation="sigmoid")),
            ("shape", L.Reshape((1, 1, 4))),
            ("gated", L.Multiply(), "one", "shape"),
            ("two", L.Conv2D(2, 2, activation="relu")),
        ),
        None,
    )


def moves():
    return (
        (5, 6, 2),
        ended(
            ("turn", L.Permute((2, 1, 3))),
            ("pad", L.ZeroPadding2D(((1, 0), (2, 1)))),
            ("one", L.Conv2D(3, 3, activation="relu")),
            ("crop", L.Cropping2D(((1, 0), (0, 2)))),
            ("shape", L.Reshape((-1, 3))),
            ("drop", L.Dropout(0.5)),
            ("pad2", L.ZeroPadding1D(2)),
            ("two", L.Conv1D(2, 3, strides=2, activation="relu")),
            ("crop2", L.Cropping1D(1)),
        ),
        None,
    )


def wave():
    return (
        (40, 1),
        ended(
            ("one", L.Conv1D(3, 3, strides=3, activation="relu")),
            ("two", L.Conv1D(3, 3, padding="same")),
            ("relu", L.ReLU()),
            ("pool", L.MaxPooling1D(3)),
            ("last", L.GlobalMaxPooling1D()),
            flat=False,
        ),
        None,
    )


def shared():
    """A layer that is used twice, a dense layer on maps, and the input beside itself, turned and padded."""
    conv = L.Conv1D(3, 3, padding="same", activation="relu")
    return (
        (6, 3),
        ended(
            ("turn", L.Permute((2, 1))),
            ("pad", L.ZeroPadding1D((0, 3))),
            ("both", L.Concatenate(), "x", "pad"),
            ("maps", L.Dense(3, activation="relu")),
            ("one", conv),
            ("two", conv, "one"),
            ("add", L.Add(), "maps", "two"),
        ),
        None,
    )


def no_dense_end():
    return (
        (6, 5, 1),
        [
            ("one", L.Conv2D(4, 3, activation="relu")),
            ("two", L.Conv2D(N_OUTPUTS, 1)),
            ("mean", L.GlobalAveragePooling2D()),
        ],
        None,
    )


# -- with normalisation, folded by hand ------------------------------------------------------------------------------


def after(layer, norm, *shapes, kind="conv"):
    """A linear layer and the normalisation after it."""
    found, bias, shape = matrices(layer, *shapes)
    a, b = normalisation(norm, shape)
    return Matrix(kind, [a[:, None] * M for M in found], a * bias + b, shape)


def before(layer, shape, a, b, kind="conv"):
    """A linear layer and a x + b before it: outside the map, where it is padded with zeros, b does not count."""
    (M,), bias, new = matrices(layer, shape)
    return Matrix(kind, [M * a], bias + M @ b, new)


def scale(a, shape, b=None):
    return Matrix("scale", [np.diag(a)], np.zeros(a.size) if b is None else b, shape)


def norm_after():
    def twin(by, shape):
        one = after(by["one"], by["norm"], shape)
        two = after(by["two"], by["norm2"], one.shape)
        return [
            ("one", one),
            ("relu", L.ReLU()),
            ("two", two),
            ("elu", by["elu"]),
            ("flatten", L.Flatten()),
            ("logits", by["logits"]),
        ]

    return (
        (6, 7, 1),
        ended(
            ("one", L.Conv2D(3, 3, padding="same")),
            ("norm", L.BatchNormalization()),
            ("relu", L.ReLU()),
            ("two", L.Conv2D(2, (2, 3), strides=2, use_bias=False)),
            ("norm2", L.BatchNormalization(scale=False)),
            ("elu", L.ELU()),
        ),
        twin,
    )


def norm_across_pool():
    """Convolution, ReLU, normalisation with negative gammas, maximum pooling, padded convolution."""

    def twin(by, shape):
        _, _, first = matrices(by["one"], shape)
        a, b = normalisation(by["norm"], first)
        pooled = (first[0] // 2, first[1] // 2, first[2])
        size, b_pooled = np.broadcast_to(np.abs(a[:3]), pooled).ravel(), np.broadcast_to(b[:3], pooled).ravel()
        return [
            ("one", by["one"]),
            ("sign", scale(np.sign(a), first)),
            ("pool", by["pool"]),
            ("two", before(by["two"], pooled, size, b_pooled)),
            ("relu", L.ReLU()),
            ("flatten", by["flatten"]),
            ("logits", by["logits"]),
        ]

    return (
        (8, 6, 1),
        ended(
            ("one", L.Conv2D(3, 3, padding="same", activation="relu")),
            ("norm", L.BatchNormalization()),
            ("pool", L.MaxPooling2D(2)),
            ("two", L.Conv2D(3, 3, padding="same")),
            ("relu", L.ReLU()),
        ),
        twin,
    )


def norm_dense():
    """Normalisations before and after dense layers, one of them across a flattening."""

    def twin(by, shape):
        _, _, first = matrices(by["one"], shape)
        flat = (int(np.prod(first)),)
        hidden = before(by["hidden"], flat, *normalisation(by["norm"], first), kind="dense")
        a, b = normalisation(by["norm2"], hidden.shape)
        hidden.matrices, hidden.bias = [a[:, None] * hidden.matrices[0]], a * hidden.bias + b
        last = before(by["logits"], (4,), *normalisation(by["norm3"], (4,)), kind="dense")
        return [("one", by["one"]), ("flatten", L.Flatten()), ("hidden", hidden), ("relu", L.ReLU()), ("logits", last)]

    return (
        (5, 4, 1),
        [
            ("one", L.Conv2D(3, 2, activation="relu")),
            ("norm", L.BatchNormalization()),
            ("flatten", L.Flatten()),
            ("hidden", L.Dense(4)),
            ("norm2", L.BatchNormalization()),
            ("relu", L.ReLU()),
            ("drop", L.Dropout(0.3)),
            ("norm3", L.BatchNormalization()),
            ("logits", L.Dense(N_OUTPUTS)),
        ],
        twin,
    )


def norm_of_input():
    """A normalisation of the input itself before a padded, strided convolution; one of flat features at the end."""

    def twin(by, shape):
        one = before(by["one"], shape, *normalisation(by["norm"], shape))
        flat = (int(np.prod(one.shape)),)
        last = before(by["logits"], flat, *normalisation(by["norm2"], flat), kind="dense")
        return [("one", one), ("relu", L.ReLU()), ("flatten", L.Flatten()), ("logits", last)]

    return (
        (6, 5, 2),
        [
            ("norm", L.BatchNormalization()),
            ("one", L.Conv2D(3, 3, strides=2, padding="same", activation="relu")),
            ("flatten", L.Flatten()),
            ("norm2", L.BatchNormalization()),
            ("logits", L.Dense(N_OUTPUTS)),
        ],
        twin,
    )


def norm_branches():
    """Normalised branches side by side, a bare one with them, through a mean into plain and depthwise layers."""

    def twin(by, shape):
        _, _, first = matrices(by["left"], shape)
        pooled = (first[0] // 2, first[1] // 2, 6)
        a = np.concatenate([normalisation(by["norm"], (2,))[0], np.ones(2), normalisation(by["norm2"], (2,))[0]])
        b = np.concatenate([normalisation(by["norm"], (2,))[1], np.zeros(2), normalisation(by["norm2"], (2,))[1]])
        two = before(by["two"], pooled, np.broadcast_to(a, pooled).ravel(), np.broadcast_to(b, pooled).ravel())
        three = before(by["three"], two.shape, *normalisation(by["norm3"], two.shape))
        a, b = normalisation(by["norm4"], three.shape)
        three.matrices, three.bias = [a[:, None] * three.matrices[0]], a * three.bias + b
        return [
            ("left", by["left"], "x"),
            ("middle", by["middle"], "x"),
            ("right", by["right"], "x"),
            ("both", by["both"], "left", "middle", "right"),
            ("mean", by["mean"]),
            ("two", two),
            ("relu", L.ReLU()),
            ("three", three),
            ("relu2", L.ReLU()),
            ("flatten", L.Flatten()),
            ("logits", by["logits"]),
        ]

    def conv(size):
        return L.Conv2D(2, size, padding="same", activation="relu")

    return (
        (6, 6, 1),
        ended(
            ("left", conv(3), "x"),
            ("norm", L.BatchNormalization()),
            ("middle", conv((1, 3)), "x"),
            ("right", conv((3, 1)), "x"),
            ("norm2", L.BatchNormalization()),
            ("both", L.Concatenate(), "norm", "middle", "norm2"),
            ("mean", L.AveragePooling2D(2)),
            ("two", L.Conv2D(4, 3, padding="same", activation="relu")),
            ("norm3", L.BatchNormalization()),
            ("three", L.DepthwiseConv2D(2, padding="same", depth_multiplier=2)),
            ("norm4", L.BatchNormalization()),
            ("relu2", L.ReLU()),
        ),
        twin,
    )


def norm_groups():
    """Normalisations before and after a grouped convolution."""

    def twin(by, shape):
        one = before(by["one"], shape, *normalisation(by["norm"], shape))
        a, b = normalisation(by["norm2"], one.shape)
        one.matrices, one.bias = [a[:, None] * one.matrices[0]], a * one.bias + b
        return [("one", one), ("relu", L.ReLU()), ("flatten", L.Flatten()), ("logits", by["logits"])]

    return (
        (5, 4, 4),
        ended(
            ("norm", L.BatchNormalization()),
            ("one", L.Conv2D(6, 3, groups=2, padding="same", use_bias=False)),
            ("norm2", L.BatchNormalization()),
            ("relu", L.ReLU()),
        ),
        twin,
    )


def norm_stays():
    """Normalisations that nothing can take: before a sum and a gate, and used twice."""

    def twin(by, shape):
        _, _, first = matrices(by["one"], shape)
        a, b = normalisation(by["norm"], first)
        pair = [("one", by["one"]), ("norm", scale(a, first, b)), ("two", before(by["two"], first, a, b), "one")]
        return [
            *pair,
            ("add", by["add"], "norm", "two"),
            ("relu", L.ReLU()),
            ("norm2", scale(*normalisation(by["norm2"], first)[:1], first, normalisation(by["norm2"], first)[1])),
            ("excite", by["excite"], "relu"),
            ("gated", by["gated"], "norm2", "excite"),
            ("flatten", L.Flatten()),
            ("logits", by["logits"]),
        ]

    return (
        (5, 4, 1),
        ended(
            ("one", L.Conv2D(2, 3, padding="same", activation="relu")),
            ("norm", L.BatchNormalization()),
            ("two", L.Conv2D(2, 3, padding="same"), "norm"),
            ("add", L.Add(), "norm", "two"),
            ("relu", L.ReLU()),
            ("norm2", L.BatchNormalization()),
            ("excite", L.Conv2D(2, 1, activation="sigmoid"), "relu"),
            ("gated", L.Multiply(), "norm2", "excite"),
        ),
        twin,
    )


def rescaled():
    """An input that is scaled and moved before a dense layer on maps."""

    def twin(by, shape):
        a, b = np.tile([2.0, 0.5], 12), np.tile([-1.0, 0.25], 12)
        return [("dense", before(by["dense"], shape, a, b, kind="dense")), ("relu", L.ReLU()), *list(by.items())[2:]]

    return (
        (4, 3, 2),
        ended(("rescale", L.Rescaling([2.0, 0.5], [-1.0, 0.25])), ("dense", L.Dense(3, activation="relu"))),
        twin,
    )


PLAIN = {
    f.__name__: f
    for f in (
        dense,
        linear,
        conv1d,
        conv2d,
        strides,
        groups,
        depthwise,
        maxima,
        means,
        residual,
        branches,
        gate,
        moves,
        wave,
        shared,
        no_dense_end,
    )
}
NORMALISED = {
    f.__name__: f
    for f in (norm_after, norm_across_pool, norm_dense, norm_of_input, norm_branches, norm_groups, norm_stays, rescaled)
}
NETWORKS = {**PLAIN, **NORMALISED}
ADDED = {}  # networks of other modules, which `check` knows too

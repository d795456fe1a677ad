"""Relevances of small networks by iNNvestigate 2.1.2, to be compared with in `tests/test_explain_oracle.py`.

iNNvestigate stops at TensorFlow 2.14 and cannot live beside Keras 3, so that this script has an environment of its
own; nothing of the suite is imported here:

    uv venv --python 3.10 innvestigate-env          # 3.11 gives the same numbers; it does not install on 3.12
    uv pip install --python innvestigate-env/bin/python innvestigate==2.1.2 "numpy<2"
    innvestigate-env/bin/python tests/oracles/innvestigate_oracle.py tests/fixtures/innvestigate.npz

What the file holds, for every network NAME:

- `NAME/architecture`: JSON, a list of {"kind": a Keras layer, …its arguments}, the same words in Keras 2 and 3; the
  input's shape is that of `NAME/x` without its first axis.
- `NAME/weights/00`, `…/01`, …: in the order of `model.get_weights()`.
- `NAME/x` (2, …) in [0, 1]; `NAME/logits` (2, 5); `NAME/neurons` (3,): two neurons whose logits are positive for both
  samples, and one whose logits are negative for both.
- `NAME/METHOD` (2, k, …): relevance, float32, one entry for each of METHODS.

`about` is a JSON object: the versions, and for every method the analyzer's name in iNNvestigate and its arguments.

Conventions of iNNvestigate that matter when its maps are compared:

- The `lrp.*` analyzers start from the logit whatever its sign; the two `deep_taylor` start from max(logit, 0).
- Without `input_layer_rule` (as here, but where METHODS says otherwise) a rule is used at every kernel, the input's
  too. `input_layer_rule` is a pair (low, high), for z^B, or the name of a rule.
- `lrp.epsilon` and `lrp.z` count the bias in the denominator; ε is 1e-7 unless given, with the sign of z (0: plus).
- `lrp.alpha_1_beta_0` and `lrp.alpha_2_beta_1` count the bias in a way of their own (the whole of it, positive or
  negative, in the denominator of either part); the variants `_IB` ignore it.
- `lrp.w_square` and `lrp.flat` ignore the bias and what the input is.
- A denominator of exactly 0 becomes 1e-7.
- `lrp.*` refuses ReLU layers (Activation layers stand here for them) and depthwise convolutions.
"""

import json
import os
import platform
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import innvestigate
import numpy as np
import tensorflow as tf
from innvestigate.analyzer.relevance_based.relevance_rule import EpsilonRule
from innvestigate.backend import checks

N_SAMPLES, N_OUTPUTS = 2, 5
DENSE_EPSILON = 0.1


class DenseRule(EpsilonRule):
    """The ε rule with DENSE_EPSILON, for the dense layers of the composites."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, epsilon=DENSE_EPSILON, **kwargs)


def composite(input_layer_rule=None):
    """ε on dense layers, z⁺ without bias on convolutions, and perhaps another rule at the input."""
    rule = [(checks.is_dense_layer, DenseRule), (checks.is_conv_layer, "ZPlus")]
    return "lrp", {"rule": rule, "input_layer_rule": input_layer_rule}


METHODS = {
    "deep_taylor": ("deep_taylor", {}),
    "deep_taylor_bounded": ("deep_taylor.bounded", {"low": 0.0, "high": 1.0}),
    "epsilon_default": ("lrp.epsilon", {"epsilon": 1e-7}),
    "epsilon_large": ("lrp.epsilon", {"epsilon": 0.1}),
    "z": ("lrp.z", {}),
    "alpha_1_beta_0": ("lrp.alpha_1_beta_0", {}),
    "alpha_2_beta_1": ("lrp.alpha_2_beta_1", {}),
    "alpha_1_beta_0_no_bias": ("lrp.alpha_1_beta_0_IB", {}),
    "alpha_2_beta_1_no_bias": ("lrp.alpha_2_beta_1_IB", {}),
    "w_square": ("lrp.w_square", {}),
    "flat": ("lrp.flat", {}),
    "composite": composite(),
    "composite_bounded": composite((0.0, 1.0)),
    "composite_flat": composite("Flat"),
    "composite_w_square": composite("WSquare"),
}


def conv(filters, kernel_size, *, kind="Conv2D", **others):
    """A convolution followed by a ReLU, as a layer dict."""
    return {"kind": kind, "filters": filters, "kernel_size": kernel_size, "activation": "relu", **others}


def dense(units, activation="relu", **others):
    """A dense layer as a layer dict."""
    return {"kind": "Dense", "units": units, "activation": activation, **others}


def pool(pool_size, *, kind="MaxPooling2D", **others):
    """A pooling layer as a layer dict."""
    return {"kind": kind, "pool_size": pool_size, **others}


FLATTEN, RELU = {"kind": "Flatten"}, {"kind": "Activation", "activation": "relu"}
LOGITS, NO_BIAS = dense(N_OUTPUTS, "linear"), {"use_bias": False}

NETWORKS = {  # name: (input's shape, layers)
    "dense": ((24,), [dense(16), dense(8), LOGITS]),
    "same": (
        (9, 8, 1),
        [
            conv(4, [3, 3], padding="same"),
            pool([2, 2]),
            conv(6, [3, 3], padding="same"),
            pool([2, 2]),
            FLATTEN,
            dense(8),
            LOGITS,
        ],
    ),
    "strided": (
        (9, 8, 2),
        [
            conv(4, [5, 3], strides=[2, 1], padding="same"),
            pool([2, 2], padding="same"),
            conv(6, [2, 2], strides=[2, 2]),
            FLATTEN,
            LOGITS,
        ],
    ),
    "separate": (
        (11, 8, 1),
        [
            conv(4, [3, 2], activation="linear"),
            RELU,
            pool([3, 2], strides=[2, 2]),
            conv(5, [2, 2], dilation_rate=[2, 2], activation="linear"),
            RELU,
            FLATTEN,
            dense(6),
            {"kind": "Dropout", "rate": 0.5},
            LOGITS,
        ],
    ),
    "tall": ((8, 10, 1), [conv(6, [8, 3]), pool([1, 4]), conv(8, [1, 2], padding="same"), FLATTEN, dense(8), LOGITS]),
    "waveform": (
        (60, 1),
        [
            conv(4, 5, kind="Conv1D", strides=2, padding="same"),
            pool(3, kind="MaxPooling1D"),
            conv(6, 3, kind="Conv1D"),
            pool(2, kind="MaxPooling1D"),
            FLATTEN,
            dense(8),
            LOGITS,
        ],
    ),
    "no_bias": (
        (9, 8, 1),
        [
            conv(4, [3, 3], padding="same", **NO_BIAS),
            pool([2, 2]),
            conv(6, [3, 3], **NO_BIAS),
            FLATTEN,
            dense(8, **NO_BIAS),
            dense(N_OUTPUTS, "linear", **NO_BIAS),
        ],
    ),
    "groups": (
        (9, 8, 1),
        [conv(4, [3, 3], strides=[2, 1]), conv(6, [2, 2], groups=2, padding="same"), FLATTEN, LOGITS],
    ),
    "average": (
        (8, 8, 1),
        [
            conv(4, [3, 3], padding="same"),
            pool([2, 2], kind="AveragePooling2D"),
            conv(6, [3, 3]),
            {"kind": "GlobalAveragePooling2D"},
            LOGITS,
        ],
    ),
    "silence": (
        (10, 10, 1),
        [
            conv(4, [3, 3], padding="same"),
            pool([2, 2]),
            conv(6, [3, 3], padding="same"),
            pool([2, 2]),
            FLATTEN,
            dense(8),
            LOGITS,
        ],
    ),
}

BROKEN = {"groups": {"w_square", "flat"}}  # TensorFlow 2.14 cannot build the graph that iNNvestigate asks for


def build(shape, layers):
    """The network, without an activation at its end."""
    steps = [
        getattr(tf.keras.layers, layer["kind"])(**{k: v for k, v in layer.items() if k != "kind"}) for layer in layers
    ]
    return tf.keras.Sequential([tf.keras.layers.InputLayer(input_shape=shape), *steps])


def draw(model, rng):
    """Weights with He's variance, biases of either sign."""
    weights = []
    for old in model.get_weights():
        if old.ndim == 1:
            weights.append(rng.uniform(-0.2, 0.2, old.shape))
        else:
            weights.append(rng.normal(0, np.sqrt(2 / np.prod(old.shape[:-1])), old.shape))
    return [w.astype(np.float32) for w in weights]


def samples(name, shape, rng):
    """Inputs in [0, 1] with some exact zeros and ones; `silence` has a region of zeros, so that maxima tie."""
    x = np.clip(rng.uniform(-0.1, 1.1, (N_SAMPLES, *shape)), 0, 1).astype(np.float32)
    if name == "silence":
        x[:, :, 5:] = 0
    return x


def prepare(name):
    """Weights, input, logits and neurons from the first seed that gives logits of both signs."""
    shape, layers = NETWORKS[name]
    model = build(shape, layers)
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        model.set_weights(draw(model, rng))
        x = samples(name, shape, rng)
        logits = model.predict(x, verbose=0)
        second, first = np.argsort(logits.min(axis=0))[-2:].tolist()
        negative = int(logits.max(axis=0).argmin())
        if logits[:, [first, second]].min() > 0.1 and logits[:, negative].max() < -0.1:
            return model.get_weights(), x, logits, [first, second, negative]
    raise RuntimeError(f"no seed gives {name} logits of both signs")


def relevance(name, weights, x, neurons, method):
    """Relevance by one of METHODS, (n, k, …)."""
    tf.keras.backend.clear_session()  # every analyzer adds to the graph
    model = build(*NETWORKS[name])
    model.set_weights(weights)
    analyzer_name, options = METHODS[method]
    analyzer = innvestigate.create_analyzer(analyzer_name, model, neuron_selection_mode="index", **options)
    maps = analyzer.analyze(np.repeat(x, len(neurons), axis=0), neuron_selection=neurons * len(x))
    return maps.reshape(len(x), len(neurons), *x.shape[1:])


def about():
    """Versions and arguments as JSON."""
    versions = {
        "python": platform.python_version(),
        "innvestigate": "2.1.2",
        "tensorflow": tf.__version__,
        "numpy": np.__version__,
    }
    methods = {
        name: [analyzer, {k: v for k, v in options.items() if k != "rule"}]
        for name, (analyzer, options) in METHODS.items()
    }
    return json.dumps({"versions": versions, "methods": methods, "dense_epsilon_of_composites": DENSE_EPSILON})


def main(path):
    """Write the file."""
    tf.compat.v1.disable_eager_execution()
    arrays = {"about": np.array(about())}
    for name, (_, layers) in NETWORKS.items():
        weights, x, logits, neurons = prepare(name)
        arrays |= {
            f"{name}/architecture": np.array(json.dumps(layers)),
            f"{name}/x": x,
            f"{name}/logits": logits,
            f"{name}/neurons": np.array(neurons),
        }
        arrays |= {f"{name}/weights/{i:02d}": w for i, w in enumerate(weights)}
        for method in [m for m in METHODS if m not in BROKEN.get(name, ())]:
            arrays[f"{name}/{method}"] = relevance(name, weights, x, neurons, method)
        print(name, logits[:, neurons].round(2).tolist(), flush=True)
    np.savez_compressed(path, **arrays)
    print(path, os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main(sys.argv[1])

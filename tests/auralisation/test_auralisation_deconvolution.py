"""Deconvolution against a slow one written from the paper, as an adjoint, and through all networks."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from musictools import models
from musictools.auralisation import ActivationMask, Deconvolution, masked_by_activation, upsampled_deconvolution
from musictools.auralisation.deconvolution import convolutions
from musictools.models.graph import autodiff
from musictools.models.graph import reading as graph

SHAPES = {
    "ckn19": (32, 40, 1),
    "pg20": (64, 64, 1),
    "choi_stft": (33, 40, 1),
    "short_chunk": (128, 128, 1),
    "short_chunk_res": (128, 128, 1),
    "fcn4": (48, 96, 1),
    "vgg_cnn": (48, 64, 1),
    "musicnn": (24, 40, 1),
    "stacked_cnn": (128, 128, 1),
    "crnn": (96, 320, 1),
}


def small(*, bias=0.1):
    """Two convolutions with uneven sizes, ReLU, max-pooling that leaves a row and a column over."""
    rng = np.random.default_rng(0)
    inputs = layers.Input((7, 9, 1))
    x = layers.Conv2D(3, (3, 2), padding="same", activation="relu", name="conv1")(inputs)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    x = layers.Conv2D(4, (2, 3), padding="valid", activation="relu", name="conv2")(x)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    model.set_weights([rng.normal(size=w.shape) + bias * (w.ndim == 1) for w in model.get_weights()])
    return model


class Slow:
    """The same in NumPy, cell by cell; nothing of it is shared with the package."""

    def __init__(self, model):
        (self.W1, self.b1), (self.W2, self.b2) = (model.get_layer(f"conv{k}").get_weights() for k in (1, 2))

    def conv(self, x, W, before):
        """Cross-correlation; `before`: rows and columns of zeros in front, as many behind as the kernel needs."""
        h, w = W.shape[:2]
        rows, columns = (x.shape[0], x.shape[1]) if before else (x.shape[0] - h + 1, x.shape[1] - w + 1)
        y = np.zeros((rows, columns, W.shape[3]))
        for i in range(rows):
            for j in range(columns):
                for a in range(h):
                    for b in range(w):
                        r, c = (i + a - before[0], j + b - before[1]) if before else (i + a, j + b)
                        if 0 <= r < x.shape[0] and 0 <= c < x.shape[1]:
                            y[i, j] += x[r, c] @ W[a, b]
        return y

    def conv_back(self, y, W, before, shape):
        """Every output cell puts its kernel, times its value, back where it looked."""
        x = np.zeros((*shape, W.shape[2]))
        for i in range(y.shape[0]):
            for j in range(y.shape[1]):
                for a in range(W.shape[0]):
                    for b in range(W.shape[1]):
                        r, c = (i + a - before[0], j + b - before[1]) if before else (i + a, j + b)
                        if 0 <= r < shape[0] and 0 <= c < shape[1]:
                            x[r, c] += W[a, b] @ y[i, j]
        return x

    def up(self, x):
        """Maps of conv2, and where the maxima were: (row, column) of every pooled cell and channel."""
        first = np.maximum(self.conv(x, self.W1, (1, 0)) + self.b1, 0)
        pooled, switches = np.zeros((3, 4, 3)), np.zeros((3, 4, 3, 2), int)
        for i in range(3):
            for j in range(4):
                for c in range(3):
                    window = first[2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
                    a, b = np.unravel_index(window.argmax(), (2, 2))
                    pooled[i, j, c], switches[i, j, c] = window[a, b], (2 * i + a, 2 * j + b)
        return np.maximum(self.conv(pooled, self.W2, None) + self.b2, 0), switches

    def down(self, maps, switches, *, rectify=True):
        cut = (lambda v: np.maximum(v, 0)) if rectify else (lambda v: v)
        pooled = self.conv_back(cut(maps), self.W2, None, (3, 4))
        first = np.zeros((7, 9, 3))
        for i in range(3):
            for j in range(4):
                for c in range(3):
                    first[(*switches[i, j, c], c)] = pooled[i, j, c]
        return self.conv_back(cut(first), self.W1, (1, 0), (7, 9))[..., 0]

    def linear(self, z, switches):
        """The forward pass without ReLU and biases, through frozen switches."""
        first = self.conv(z, self.W1, (1, 0))
        pooled = np.array([[[first[(*switches[i, j, c], c)] for c in range(3)] for j in range(4)] for i in range(3)])
        return self.conv(pooled, self.W2, None)


class TestAgainstSlow:
    x = np.random.default_rng(1).random((3, 7, 9, 1)).astype(np.float32)

    def test_maps_and_images_are_the_same(self):
        model = small()
        deconvolution, slow = Deconvolution(model, "conv2"), Slow(model)
        images, maps = deconvolution.images(self.x, range(4), batch_size=5), deconvolution.maps(self.x)
        assert images.shape == (3, 4, 7, 9)
        for x, given, projected in zip(self.x, maps, images, strict=True):
            wanted, switches = slow.up(x)
            np.testing.assert_allclose(given, wanted, atol=1e-4)
            for k in range(4):
                np.testing.assert_allclose(projected[k], slow.down(wanted * (np.arange(4) == k), switches), atol=1e-3)
        assert np.abs(images).max() > 1  # the comparison is not one of zeros

    def test_the_backward_pass_is_the_adjoint_of_the_forward_pass(self):
        model, rng = small(), np.random.default_rng(2)
        deconvolution, slow = Deconvolution(model, "conv2", rectify=False), Slow(model)
        for x in self.x:
            maps, switches = slow.up(x)
            z, y = rng.normal(size=x.shape), rng.normal(size=maps.shape)
            up, down = slow.linear(z, switches), deconvolution.transposed(x[None], y[None])[0]
            assert np.vdot(up, y) == pytest.approx(np.vdot(z[..., 0], down), rel=1e-4)
            np.testing.assert_allclose(down, slow.down(y, switches, rectify=False), atol=1e-3)

    def test_relu_cuts_what_comes_down_not_what_went_up(self):
        model = small()
        x = self.x[:1]
        with_relu, without = (Deconvolution(model, "conv2", rectify=r).images(x, 0)[0, 0] for r in (True, False))
        slow = Slow(model)
        maps, switches = slow.up(x[0])
        np.testing.assert_allclose(without, slow.down(maps * (np.arange(4) == 0), switches, rectify=False), atol=1e-3)
        assert np.abs(with_relu - without).max() > 0.1

    def test_features_do_not_depend_on_the_batch(self):
        deconvolution = Deconvolution(small(), "conv2")
        whole = deconvolution.images(self.x, [3, 1, 3], batch_size=64)
        np.testing.assert_allclose(whole, deconvolution.images(self.x, [3, 1, 3], batch_size=1), atol=1e-5)
        np.testing.assert_array_equal(whole[:, 0], whole[:, 2])
        np.testing.assert_allclose(whole[:, 1], deconvolution.images(self.x, 1)[:, 0], atol=1e-5)


def test_round_trip_brings_maxima_back_to_their_places():
    inputs = layers.Input((6, 8, 1))
    x = layers.Conv2D(2, 1, use_bias=False, name="same")(inputs)
    x = layers.MaxPooling2D((2, 4), name="pool")(x)
    model = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    model.get_layer("same").set_weights([np.ones((1, 1, 1, 2))])
    x = np.random.default_rng(0).random((2, 6, 8, 1)).astype(np.float32)
    projected = Deconvolution(model, "pool").images(x, [0, 1])
    for one, images in zip(x[..., 0], projected, strict=True):
        blocks = one.reshape(3, 2, 2, 4)
        largest = np.where(blocks == blocks.max(axis=(1, 3), keepdims=True), blocks, 0).reshape(6, 8)
        for image in images:
            np.testing.assert_array_equal(image, largest)


@pytest.mark.parametrize("name", SHAPES)
def test_where_no_relu_cuts_it_is_the_derivative(name):
    """Positive weights keep every ReLU open; then the backward pass must be the transpose of the network's Jacobian."""
    model = models.build(name, width=0.03, input_shape=SHAPES[name], seed=1, n_outputs=3)
    for layer in model.layers:
        if hasattr(layer, "kernel_size"):
            kernel, bias = layer.get_weights()
            layer.set_weights([np.abs(kernel), bias + 0.1])
        elif isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma * 1.5, beta + 0.1, mean, variance * 2])
    rng, read, last = np.random.default_rng(0), graph.read(model), convolutions(model)[-1]
    x = rng.random((2, *SHAPES[name])).astype(np.float32)
    deconvolution = Deconvolution(model, last, rectify=False)
    y = rng.normal(size=deconvolution.maps(x).shape).astype(np.float32)
    slope = autodiff.compiled(
        lambda x, y: autodiff.pull(lambda v: read.run(v, upto=deconvolution.value), x, y), x.shape, y.shape
    ).get_concrete_function()
    wanted = ops.convert_to_numpy(slope(ops.convert_to_tensor(x), ops.convert_to_tensor(y)))[..., 0]
    assert np.abs(wanted).max() > 0
    np.testing.assert_allclose(deconvolution.transposed(x, y), wanted, atol=1e-4 * np.abs(wanted).max())
    assert deconvolution.maps(x).min() > 0


def test_batch_normalisation_passes_by_its_scale_and_mean_pooling_by_its_adjoint():
    inputs = layers.Input((4, 6, 1))
    x = layers.BatchNormalization(epsilon=0.0, name="norm")(inputs)
    x = layers.AveragePooling2D((2, 3), name="mean")(x)
    x = layers.Conv2D(1, 1, use_bias=False, name="conv")(x)
    model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)))
    model.get_layer("norm").set_weights([np.array([v]) for v in (3.0, 5.0, 7.0, 4.0)])
    model.get_layer("conv").set_weights([np.full((1, 1, 1, 1), 2.0)])
    x = np.ones((1, 4, 6, 1), np.float32)
    y = np.arange(1.0, 5).reshape(1, 2, 2, 1)
    wanted = np.kron(y[0, ..., 0], np.ones((2, 3))) * (3 / 2) / 6 * 2  # gamma over deviation, a sixth each, the kernel
    np.testing.assert_allclose(Deconvolution(model, "conv").transposed(x, y)[0], wanted, rtol=1e-5)


def test_gates_and_deviations_count_as_constants():
    inputs = layers.Input((4, 4, 1))
    x = layers.LayerNormalization(axis=[1, 2, 3], center=False, scale=False, epsilon=1e-6)(inputs)
    x = layers.Conv2D(2, 1, use_bias=False, name="conv")(x)
    gate = layers.Dense(2, activation="sigmoid", name="gate")(layers.GlobalAveragePooling2D()(x))
    gated = layers.Multiply(name="gated")([x, layers.Reshape((1, 1, 2))(gate)])
    model = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(gated)))
    x = np.random.default_rng(0).random((1, 4, 4, 1)).astype(np.float32) * 7
    y = np.random.default_rng(1).random((1, 4, 4, 2)).astype(np.float32)
    open_by = keras.Model(inputs, gate).predict(x, verbose=0)[0]
    wanted = (y[0] * open_by) @ model.get_layer("conv").get_weights()[0][0, 0, 0] / x.std()
    np.testing.assert_allclose(Deconvolution(model, "gated").transposed(x, y)[0], wanted, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "shape", "layer"),
    [
        ("se_cnn", (16, 64, 1), "conv4"),
        ("compact_convnet", (96, 1280, 1), "conv3"),
        ("self_attention", (128, 64, 1), "conv3b"),
    ],
)
def test_other_networks_can_be_deconvolved(name, shape, layer):
    model = models.build(name, n_outputs=3, width=0.1, input_shape=shape, seed=0)
    deconvolution = Deconvolution(model, layer)
    x = np.random.default_rng(0).random((1, *shape)).astype(np.float32)
    images = deconvolution.images(x, range(deconvolution.n_features))
    assert np.isfinite(images).all()
    assert np.abs(images).max() > 0
    dead = deconvolution.maps(x).max(axis=(0, 1, 2)) <= 0
    assert not images[0, dead].any()


class TestPoster:
    def test_up_sampling_repeats_every_value(self):
        model = small()
        slow = Slow(model)
        x = np.random.default_rng(1).random((1, 7, 9, 1)).astype(np.float32)
        maps, _ = slow.up(x[0])
        pooled = slow.conv_back(maps * (np.arange(4) == 2), slow.W2, None, (3, 4))
        first = np.zeros((7, 9, 3))
        first[:6, :8] = np.maximum(np.kron(pooled, np.ones((2, 2, 1))), 0)
        wanted = slow.conv_back(first, slow.W1, (1, 0), (7, 9))[..., 0]
        np.testing.assert_allclose(upsampled_deconvolution(model).images(x, 2)[0, 0], wanted, atol=1e-3)

    def test_the_first_layer_is_a_mask_on_the_input(self):
        model = small()
        x = np.random.default_rng(1).random((2, 7, 9, 1)).astype(np.float32)
        mask = masked_by_activation(model)
        assert isinstance(mask, ActivationMask)
        assert mask.layer == "conv1"
        wanted = np.moveaxis(mask.maps(x)[..., [2, 0]], -1, 1) * x[:, None, ..., 0]
        np.testing.assert_allclose(mask.images(x, [2, 0]), wanted, rtol=1e-5)
        assert masked_by_activation(model, layer="conv2").images(x, [1]).shape == (2, 1, 7, 9)

    def test_needs_two_convolutions(self):
        inputs = layers.Input((4, 4, 1))
        one = keras.Model(inputs, layers.Dense(1)(layers.Flatten()(layers.Conv2D(1, 1)(inputs))), name="one")
        with pytest.raises(ValueError, match=r"one must have at least 2 convolutions over bins and frames\. Got 1\."):
            upsampled_deconvolution(one)


def dense():
    return keras.Sequential([layers.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)], name="plain")


def recurrent():
    inputs = layers.Input((4, 4, 1))
    x = layers.GRU(3, return_sequences=True, name="gru")(layers.Reshape((4, 4))(inputs))
    x = layers.Conv2D(2, 1, name="conv")(layers.Reshape((4, 3, 1))(x))
    return keras.Model(inputs, layers.Dense(1)(layers.Flatten()(x)), name="odd")


X = np.zeros((1, 7, 9, 1), np.float32)
BAD = {
    "waveform": (
        lambda: Deconvolution(models.build("sample_cnn", n_outputs=2, width=0.02), "conv1"),
        r"sample_cnn must take spectrograms \(n_bins, n_frames, 1\)",
    ),
    "no convolution": (
        lambda: Deconvolution(dense(), "dense"),
        "plain has no convolution over bins and frames: there is no feature to hear",
    ),
    "unknown layer": (lambda: Deconvolution(small(), "conv9"), "has no layer 'conv9'. It has: conv1, pool1, conv2"),
    "no maps": (lambda: Deconvolution(small(), "flatten"), "has no layer 'flatten'"),
    "a layer without maps": (
        lambda: Deconvolution(models.build("ckn19", n_outputs=2, width=0.02), "dense"),
        r"layer must have feature maps over bins and frames\. Got 'dense'",
    ),
    "unknown layer kind": (
        lambda: Deconvolution(recurrent(), "conv"),
        r"Layer 'gru' of odd \(GRU, tanh\) cannot be deconvolved",
    ),
    "unpool": (lambda: Deconvolution(small(), "conv1", unpool="all"), "unpool must be one of switches, upsample"),
    "feature too large": (
        lambda: Deconvolution(small(), "conv2").images(X, 4),
        r"features must lie between 0 and 3, the maps of 'conv2'\. Got \[4\]",
    ),
    "feature negative": (lambda: Deconvolution(small(), "conv2").images(X, [0, -1]), r"Got \[0, -1\]"),
    "no feature": (lambda: Deconvolution(small(), "conv2").images(X, []), r"features must lie between 0 and 3"),
    "feature in parts": (lambda: Deconvolution(small(), "conv2").images(X, 0.5), r"Got \[0.5\]"),
    "wrong input": (lambda: Deconvolution(small(), "conv2").images(X[:, 1:], 0), r"x must have shape \(n, 7, 9, 1\)"),
    "NaN": (lambda: Deconvolution(small(), "conv2").maps(X * np.nan), "x holds NaN or Inf"),
    "wrong maps": (
        lambda: Deconvolution(small(), "conv2").transposed(X, np.zeros((1, 2, 2, 3))),
        r"maps must have shape \(1, 2, 2, 4\), that of 'conv2'",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, match = BAD[case]
    with pytest.raises(ValueError, match=match):
        call()

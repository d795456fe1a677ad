"""ResNet-34: the parameters of the published network, PyTorch's paddings and weights, and what is frozen."""

import keras
import numpy as np
import pytest
from support.checkpoint_files import zipped

from musictools import models, training
from musictools.models.resnet import train_last_layers
from musictools.released import imagenet
from musictools.spectrograms import BandedImages

EPSILON = 1e-5
MEAN, SCALE = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def test_parameters_are_those_of_the_published_network():
    model = models.build("resnet34", n_outputs=1000, input_shape=(224, 224, 3))
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == 21_797_672
    grey = models.build("resnet34", n_outputs=8)
    assert grey.input_shape == (None, 224, 224, 1)
    fewer = 2 * 64 * 7 * 7 + 992 * 513  # two of three channels, 992 classes with their biases
    assert sum(np.prod(weight.shape) for weight in grey.trainable_weights) == 21_797_672 - fewer
    assert [grey.get_layer(f"layer{k}_0_relu2").output.shape[1:] for k in (1, 2, 3, 4)] == [
        (56, 56, 64),
        (28, 28, 128),
        (14, 14, 256),
        (7, 7, 512),
    ]
    convolutions = [layer for layer in grey.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len([layer for layer in convolutions if not layer.name.endswith("skip")]) + 1 == 34  # and the dense layer
    assert models.describe("resnet34").learning_rate == 1e-4


def test_channels_are_one_or_three():
    with pytest.raises(ValueError, match=r"and one or three channels. Got \(64, 64, 2\)"):
        models.build("resnet34", n_outputs=2, input_shape=(64, 64, 2))
    with pytest.raises(ValueError, match=r"and one channel. Got \(64, 64, 3\)"):
        models.build("ckn19", n_outputs=2, input_shape=(64, 64, 3))


def by_hand(state, x):
    """PyTorch's ResNet-34 in plain NumPy: x (n, 3, rows, columns) -> logits."""

    def convolve(x, name, *, stride=1):
        w = state[f"{name}.weight"]
        pad = w.shape[-1] // 2
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], axis=(2, 3))[:, :, ::stride, ::stride]
        return np.einsum("nchwij,ocij->nohw", windows, w, optimize=True)

    def normalise(x, name):
        gamma, beta, mean, variance = (
            state[f"{name}.{part}"][:, None, None] for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + EPSILON) * gamma + beta

    x = np.maximum(normalise(convolve(x, "conv1", stride=2), "bn1"), 0)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    x = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max(axis=(4, 5))
    for number, n_blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for block in range(n_blocks):
            name, stride = f"layer{number}.{block}", 1 + (number > 1 and block == 0)
            y = np.maximum(normalise(convolve(x, f"{name}.conv1", stride=stride), f"{name}.bn1"), 0)
            y = normalise(convolve(y, f"{name}.conv2"), f"{name}.bn2")
            if stride > 1:
                x = normalise(convolve(x, f"{name}.downsample.0", stride=stride), f"{name}.downsample.1")
            x = np.maximum(x + y, 0)
    return x.mean(axis=(2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def checkpoint(*, width, n_outputs, seed=0):
    """A state dict with PyTorch's names and shapes."""
    rng, state, n = np.random.default_rng(seed), {}, 3

    def convolution(name, n_in, n_out, size):
        state[f"{name}.weight"] = rng.normal(0, (2 / (n_in * size * size)) ** 0.5, (n_out, n_in, size, size))

    def normalisation(name, n):
        state[f"{name}.weight"], state[f"{name}.bias"] = rng.uniform(0.5, 1, n), rng.normal(0, 0.1, n)
        state[f"{name}.running_mean"], state[f"{name}.running_var"] = rng.normal(0, 0.1, n), rng.uniform(0.5, 2, n)
        state[f"{name}.num_batches_tracked"] = np.array(3)

    convolution("conv1", 3, n := round(64 * width), 7)
    normalisation("bn1", n)
    for number, (filters, n_blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), start=1):
        for block in range(n_blocks):
            name, m = f"layer{number}.{block}", round(filters * width)
            convolution(f"{name}.conv1", n, m, 3)
            convolution(f"{name}.conv2", m, m, 3)
            normalisation(f"{name}.bn1", m)
            normalisation(f"{name}.bn2", m)
            if n != m:
                convolution(f"{name}.downsample.0", n, m, 1)
                normalisation(f"{name}.downsample.1", m)
            n = m
    state["fc.weight"], state["fc.bias"] = rng.normal(0, 0.1, (n_outputs, n)), rng.normal(0, 1, n_outputs)
    return {k: v.astype(np.int64 if "num_batches" in k else np.float32) for k, v in state.items()}


def logits(model, x):
    return np.asarray(keras.Model(model.input, model.get_layer("logits").output)(x))


@pytest.mark.parametrize("side", [64, 75])
def test_weights_of_pytorch_give_its_outputs(tmp_path, side):
    state = checkpoint(width=0.125, n_outputs=5)
    (tmp_path / "resnet34.pth").write_bytes(zipped(state))
    shape, x = (side, side + 20, 3), np.random.default_rng(1).random((2, side, side + 20, 3), np.float32)
    model = models.build("resnet34", n_outputs=5, width=0.125, input_shape=shape, seed=0)
    assert imagenet.set_weights(model, tmp_path / "resnet34.pth") is model
    # The colours' mean is part of the weights; so that PyTorch's padding is 0 here too, its mean is taken as 0 first.
    state["bn1.running_mean"] = state["bn1.running_mean"] + np.einsum("oiab,i->o", state["conv1.weight"], MEAN / SCALE)
    theirs = by_hand(state, (x / SCALE).transpose(0, 3, 1, 2))
    np.testing.assert_allclose(logits(model, x), theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())
    grey = models.build("resnet34", n_outputs=5, width=0.125, input_shape=(*shape[:2], 1), seed=0)
    imagenet.set_weights(grey, tmp_path / "resnet34.pth")
    np.testing.assert_allclose(
        logits(grey, x[..., :1]), logits(model, np.repeat(x[..., :1], 3, axis=-1)), rtol=1e-3, atol=1e-4
    )


def test_another_head_is_kept_and_other_files_are_refused(tmp_path):
    state, path = checkpoint(width=0.125, n_outputs=1000), tmp_path / "resnet34.pth"
    path.write_bytes(zipped(state))
    model = models.build("resnet34", n_outputs=8, width=0.125, input_shape=(32, 32, 1), seed=0)
    before = model.get_layer("logits").get_weights()
    imagenet.set_weights(model, path)
    np.testing.assert_array_equal(model.get_layer("logits").get_weights()[0], before[0])
    np.testing.assert_array_equal(
        model.get_layer("layer4_2_conv2").get_weights()[0], state["layer4.2.conv2.weight"].transpose(2, 3, 1, 0)
    )
    other = models.build("resnet34", n_outputs=8, width=0.25, input_shape=(32, 32, 1), seed=0)
    untouched = other.get_weights()
    with pytest.raises(ValueError, match=r"does not fit the model: conv1 has shapes \[\(7, 7, 1, 8\)\], the model"):
        imagenet.set_weights(other, path)
    for a, b in zip(untouched, other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    path.write_bytes(zipped({k: v for k, v in state.items() if "layer3.1.bn2" not in k}))
    with pytest.raises(ValueError, match=r"no ResNet-34 of PyTorch: layer3.1.bn2.weight is missing"):
        imagenet.set_weights(model, path)


def test_only_the_last_layers_learn():
    model = models.build("resnet34", n_outputs=3, width=0.0625, input_shape=(32, 40, 1), seed=0)
    assert train_last_layers(model) is model
    learning = ["layer4_2_conv1/kernel", "layer4_2_conv2/kernel", "logits/kernel", "logits/bias"]
    assert [weight.path for weight in model.trainable_weights] == learning
    before = {weight.path: weight.numpy() for weight in model.weights}
    x = np.random.default_rng(0).random((8, 32, 40, 1), np.float32)
    y = np.eye(3)[np.arange(8) % 3]
    history = training.fit(
        model, BandedImages(x), np.repeat(y, 4, axis=0), epochs=2, batch_size=16, learning_rate=1e-2, best_by=None
    )
    assert len(history) == 2
    changed = [weight.path for weight in model.weights if not np.array_equal(before[weight.path], weight.numpy())]
    assert changed == learning
    train_last_layers(model, convolutions=0)
    assert [weight.path for weight in model.trainable_weights] == learning[2:]
    with pytest.raises(ValueError, match="resnet34 has 36 convolutions. Got convolutions=37"):
        train_last_layers(model, convolutions=37)


def test_full_width_learns_as_many_weights_as_two_convolutions_and_a_head_have():
    model = train_last_layers(models.build("resnet34", n_outputs=8))
    assert sum(np.prod(weight.shape) for weight in model.trainable_weights) == 2 * 512 * 512 * 9 + 513 * 8

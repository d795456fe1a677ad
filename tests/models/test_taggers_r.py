"""The taggers of the thesis, section 5.1: its layer tables, layer by layer, and what every tagger must do."""

import keras
import numpy as np
import pytest

from musictools import models

# Tables 5.2 to 5.5: parameters of the layers that have any, in order, and the outputs of the poolings.
PARAMETERS = {
    "se_cnn": (1_100, 100, 75_100, 600, 63_070, 280, 44_170, 280, 44_170, 280, 20_160, 544_428),  # with SE blocks
    "short_chunk": (
        1_280,
        512,
        147_584,
        512,
        295_168,
        1_024,
        590_080,
        1_024,
        590_080,
        1_024,
        590_080,
        1_024,
        1_180_160,
        2_048,
        262_656,
        2_048,
        55_404,
    ),
    "fcn4": (1_280, 512, 442_752, 1_536, 2_654_976, 3_072, 14_157_824, 8_192, 221_292),
    "stacked_cnn": (
        160,
        64,
        4_640,
        128,
        18_496,
        256,
        73_856,
        512,
        147_584,
        512,
        295_168,
        1_024,
        590_080,
        1_024,
        131_328,
        32_896,
        13_932,
    ),
}
PARAMETERS["vgg_cnn"] = PARAMETERS["fcn4"]
TOTALS = {
    "se_cnn": 793_738,
    "short_chunk": 3_721_708,
    "fcn4": 17_491_436,
    "vgg_cnn": 17_491_436,
    "stacked_cnn": 1_311_660,
    "short_chunk_res": 10_224_364,
    "musicnn": 5_630_580,
}
NOT_TRAINABLE = {"se_cnn": 10_080, "short_chunk": 4_608, "fcn4": 6_656, "vgg_cnn": 6_656, "stacked_cnn": 1_760}
HALVINGS = ((64, 115, 128), (32, 57, 128), (16, 28, 256), (8, 14, 256), (4, 7, 256), (2, 3, 256), (1, 1, 512))
POOLS = {  # a misprint apart: the third row of short_chunk's convolutions has 256 channels
    "se_cnn": ((64, 157, 50), (32, 39, 100), (16, 19, 70), (8, 9, 70)),
    "short_chunk": HALVINGS,
    "short_chunk_res": HALVINGS,
    "fcn4": ((48, 342, 128), (24, 86, 384), (12, 22, 768), (1, 1, 2048)),
    "vgg_cnn": ((64, 86, 128), (32, 22, 384), (11, 6, 768), (1, 1, 2048)),
    "stacked_cnn": ((64, 157, 16), (32, 78, 32), (16, 39, 64), (8, 19, 128), (4, 9, 128), (2, 4, 256), (1, 2, 256)),
    # Not in a table: timbral maxima over frequency, 188 - 6 frames after the unpadded convolution, halved.
    "musicnn": ((1, 188, 16), (1, 188, 32), (1, 188, 64)) * 2 + ((1, 91, 512),),
}
LAST_MAPS = {"fcn4": (4, 8, 2048), "vgg_cnn": (4, 2, 2048)}
SMALL = {
    "se_cnn": (16, 64, 1),
    "short_chunk": (128, 128, 1),
    "short_chunk_res": (128, 140, 1),
    "fcn4": (24, 60, 1),
    "vgg_cnn": (32, 50, 1),
    "musicnn": (24, 30, 1),
    "stacked_cnn": (128, 130, 1),
}
NAMES = tuple(SMALL)
DROPOUTS = {
    "se_cnn": [0.6],
    "short_chunk": [0.5],
    "short_chunk_res": [0.5],
    "fcn4": [0.5] * 4,
    "vgg_cnn": [0.5] * 4,
    "musicnn": [0.5] * 2,
    "stacked_cnn": [0.2, 0.2, 0.25, 0.3, 0.3, 0.3, 0.3],
}
BLOCKS = {  # layers of the second block, in the tables' order
    "se_cnn": ["conv2", "gate2_mean", "gate2_squeeze", "gate2_excite", "gate2_reshape", "gate2", "pool2"],
    "short_chunk": ["conv2", "norm2", "relu2", "pool2"],
    "short_chunk_res": ["conv2a", "norm2a", "relu2a", "conv2b", "norm2b", "add2", "relu2", "pool2"],
    "fcn4": ["conv2", "norm2", "relu2", "pool2", "dropout2"],
    "vgg_cnn": ["conv2", "norm2", "relu2", "pool2", "dropout2"],
    "musicnn": ["conv2", "norm2", "add2", "pool2"],
    "stacked_cnn": ["conv2", "norm2", "dropout2", "pool2"],
}
HEADS = {  # layers above the last feature map, below the logits
    "se_cnn": ["flatten", "norm", "dropout"],
    "short_chunk": ["flatten", "dense", "norm", "relu", "dropout"],
    "short_chunk_res": ["flatten", "dense", "norm", "relu", "dropout"],
    "fcn4": ["flatten"],
    "vgg_cnn": ["flatten"],
    "musicnn": ["global_max", "global_mean", "global_pools", "dropout1", "dense", "norm", "dropout2"],
    "stacked_cnn": ["flatten", "dense1", "dense2"],
}


def small(name, **options):
    return models.build(name, **{"n_outputs": 5, "input_shape": SMALL[name], "width": 0.05, "seed": 0, **options})


def inputs(name, n=3):
    return np.random.default_rng(0).random((n, *SMALL[name]), np.float32)


def outputs(model, x, *names):
    outputs = keras.Model(model.input, [model.get_layer(name).output for name in names])(x)
    return [np.asarray(output) for output in outputs]


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_is_as_published(name):
    model = models.build(name, n_outputs=108)
    assert model.count_params() == TOTALS[name]
    assert model.output_shape == (None, 108)
    pools = [layer for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D)]
    assert tuple(layer.output.shape[1:] for layer in pools) == POOLS[name]
    if name in NOT_TRAINABLE:
        assert sum(int(np.prod(w.shape)) for w in model.non_trainable_weights) == NOT_TRAINABLE[name]
        counts = {}
        for layer in model.layers:
            key = layer.name.split("_")[0]  # the two dense layers of a gate count together
            counts[key] = counts.get(key, 0) + layer.count_params()
        assert tuple(count for count in counts.values() if count) == PARAMETERS[name]
    if name in LAST_MAPS:
        assert model.get_layer("relu4").output.shape[1:] == LAST_MAPS[name]
    if name == "se_cnn":
        assert [model.get_layer(f"gate{block}_squeeze").units for block in range(1, 6)] == [1, 3, 2, 2, 2]


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_sigmoids_of_the_logits(name):
    model = small(name, n_outputs=40)
    logits, scores = outputs(model, inputs(name), "logits", "sigmoid")
    assert scores.shape == (3, 40)
    assert scores.dtype == np.float32
    assert (scores > 0).all()
    assert (scores < 1).all()
    assert model.get_layer("sigmoid").input is model.get_layer("logits").output
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), scores, rtol=1e-4)
    assert np.ptp(logits, axis=0).max() > 1e-6  # the input matters
    assert logits.min() < 0 < logits.max()  # no ReLU between logits and sigmoid


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_give_equal_networks_and_others_others(name):
    first, second, other = (small(name, seed=seed) for seed in (1, 1, 1000))
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    x = inputs(name)
    scores = np.asarray(first(x, training=True))  # with dropout
    np.testing.assert_allclose(scores, np.asarray(second(x, training=True)), rtol=1e-5)
    assert not np.allclose(scores, np.asarray(first(x, training=True)))  # the dropouts go on
    kernels = [(a, b) for a, b in zip(first.get_weights(), other.get_weights(), strict=True) if a.ndim > 1]
    assert kernels
    assert not any(np.array_equal(a, b) for a, b in kernels)


@pytest.mark.parametrize("name", NAMES)
def test_layers_of_a_block_and_dropouts_are_those_of_the_tables(name):
    model = small(name)
    assert [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == DROPOUTS[name]
    names = [layer.name for layer in model.layers]
    start = names.index(BLOCKS[name][0])
    assert names[start : start + len(BLOCKS[name])] == BLOCKS[name]
    assert names[names.index(HEADS[name][0]) :] == [*HEADS[name], "logits", "sigmoid"]
    for layer in model.layers:  # ReLU in the convolution unless normalisation comes between
        if isinstance(layer, keras.layers.Conv2D):
            expected = "relu" if name in ("se_cnn", "musicnn", "stacked_cnn") else "linear"
            assert layer.activation.__name__ == expected


def test_poolings_and_strides_of_the_two_fully_convolutional_networks():
    for name, third, fourth in (
        ("fcn4", ((3, 8), (2, 4)), ((4, 8), (4, 8))),
        ("vgg_cnn", ((4, 8), (3, 4)), ((4, 2), (4, 2))),
    ):
        model = small(name)
        pools = [model.get_layer(f"pool{block}") for block in range(1, 5)]
        assert [(p.pool_size, p.strides) for p in pools] == [((2, 4), (2, 4))] * 2 + [third, fourth]
        assert [model.get_layer(f"conv{block}").strides[0] for block in range(1, 5)] == [1, 1, 1, 3]


@pytest.mark.parametrize("name", NAMES)
def test_initialisers_dropouts_and_momentum_are_the_builders(name):
    model = small(name, norm_momentum=0.8, seed=3)
    seeds = [layer.kernel_initializer.seed for layer in model.layers if hasattr(layer, "kernel_initializer")]
    seeds += [layer.seed for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert len(set(seeds)) == len(seeds)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {layer.momentum for layer in norms} == {0.8}


@pytest.mark.parametrize("name", NAMES)
def test_smallest_input_is_taken_and_a_smaller_one_refused(name):
    smallest = models.describe(name).smallest
    model = small(name, input_shape=smallest, width=1e-6)
    assert model(np.ones((1, *smallest), np.float32)).shape == (1, 5)
    for axis in range(2):
        shape = list(smallest)
        shape[axis] -= 1
        with pytest.raises(ValueError, match="input_shape"):
            small(name, input_shape=tuple(shape))


def test_a_closed_gate_silences_its_channel():
    model = small("se_cnn", width=0.2)
    convolved, gate, gated = outputs(model, inputs("se_cnn"), "conv1", "gate1_excite", "gate1")
    np.testing.assert_allclose(gated, convolved * gate[:, None, None, :], rtol=1e-5)


def test_residual_block_without_its_branch_is_a_pooled_relu():
    model = small("short_chunk_res")
    for layer in ("conv2b", "norm2b"):
        model.get_layer(layer).set_weights([w * 0 for w in model.get_layer(layer).get_weights()])
    before, after = outputs(model, inputs("short_chunk_res"), "pool1", "relu2")
    np.testing.assert_allclose(after, before, rtol=1e-6)
    shortcuts = [layer.name for layer in model.layers if layer.name.endswith("_shortcut") and "conv" in layer.name]
    assert shortcuts == ["conv1_shortcut", "conv3_shortcut", "conv7_shortcut"]


def test_musicnn_has_the_filters_of_the_thesis():
    model = models.build("musicnn", n_outputs=2, width=0.05)
    kernels = {layer.kernel_size for layer in model.layers if isinstance(layer, keras.layers.Conv2D)}
    timbral = {(height, frames) for height in (51, 115) for frames in (1, 3, 7)}
    assert kernels == timbral | {(1, frames) for frames in (165, 128, 64, 32)} | {(1, 7)}


def test_timbral_features_of_musicnn_do_not_move_with_pitch():
    model = small("musicnn", width=0.5)
    tone = np.zeros((2, *SMALL["musicnn"]), np.float32)
    tone[0, 11:13], tone[1, 12:14] = 1, 1  # far enough from the edges for 40 % of 24 bands
    _, low = outputs(model, tone, "conv_timbral40_7", "pool_timbral40_7")
    np.testing.assert_allclose(low[0], low[1], atol=1e-6)
    assert np.ptp(low) > 1e-3

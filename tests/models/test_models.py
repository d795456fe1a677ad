"""The genre classifiers are those of the thesis, parameter by parameter."""

import keras
import numpy as np
import pytest

from musictools import models, published

LAYERS = {
    "Input Layer": "InputLayer",
    "Convolutional Layer (3x3)": "Conv2D",
    "Convolutional Layer (2x2)": "Conv2D",
    "Batch Normalization": "BatchNormalization",
    "MaxPooling2D (2x2)": "MaxPooling2D",
    "Flatten": "Flatten",
    "Dense": "Dense",
    "Dropout (0.2)": "Dropout",
    "Dropout (0.5)": "Dropout",
    "Dense (Softmax)": "Dense",
}
# Misprints of table 3.3: a pooling cannot change the number of channels; from the fourth convolution on the table
# lists the parameters of the layer below.
MISPRINTED_SHAPES = {"pg20": {8: (8, 8, 512)}, "ckn19": {}}
MISPRINTED_PARAMETERS = {"pg20": {7: 256 * 512 * 4 + 512, 9: 2098176, 11: 8390656}, "ckn19": {}}
TABLES = {"ckn19": "rotheneder2023_table_3_2_layers_ckn19", "pg20": "rotheneder2023_table_3_3_layers_pg20"}


@pytest.mark.parametrize("name", ["ckn19", "pg20"])
def test_every_layer_is_as_published(name):
    table = published.table(TABLES[name])
    model = models.build(name, n_outputs=8)
    total = int(table["parameters"].iloc[-1])
    assert table["layer"].iloc[-1] == "Total"
    assert model.count_params() == total == {"ckn19": 33_930_504, "pg20": 44_769_480}[name]
    layers = [layer for layer in model.layers if layer.name != "softmax"]
    rows = table.iloc[:-1]
    assert len(layers) == len(rows)
    for number, (layer, row) in enumerate(zip(layers, rows.itertuples(), strict=True)):
        assert type(layer).__name__ == LAYERS[row.layer], number
        shape = tuple(int(side) for side in row.output_shape.split(","))
        assert tuple(layer.output.shape[1:]) == MISPRINTED_SHAPES[name].get(number, shape), number
        assert layer.count_params() == MISPRINTED_PARAMETERS[name].get(number, row.parameters), number
        if isinstance(layer, keras.layers.Conv2D):
            assert f"({layer.kernel_size[0]}x{layer.kernel_size[1]})" in row.layer
        if isinstance(layer, keras.layers.Dropout):
            assert f"({layer.rate})" in row.layer


@pytest.mark.parametrize(("name", "shape"), [("ckn19", (32, 40, 1)), ("pg20", (64, 70, 1))])
def test_outputs_are_probabilities_over_the_classes(name, shape):
    model = models.build(name, n_outputs=5, input_shape=shape, width=0.05, seed=0)
    x = np.random.default_rng(0).random((3, *shape), np.float32)
    scores = model.predict_on_batch(x)
    assert scores.shape == (3, 5)
    np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
    logits = keras.Model(model.input, model.get_layer("softmax").input).predict_on_batch(x)
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), scores, rtol=1e-4)
    assert np.ptp(scores, axis=0).max() > 1e-6  # the input matters


@pytest.mark.parametrize("name", ["ckn19", "pg20"])
def test_equal_seeds_give_equal_weights_and_others_others(name):
    def weights(seed):
        return models.build(name, n_outputs=3, input_shape=(64, 64, 1), width=0.02, seed=seed).get_weights()

    for a, b in zip(weights(1), weights(1), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any(not np.array_equal(a, b) for a, b in zip(weights(1), weights(5), strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(weights(None), weights(None), strict=True))


def test_width_scales_filters_and_units():
    model = models.build("ckn19", n_outputs=8, width=0.25)
    assert [model.get_layer(f"conv{k}").filters for k in (1, 2, 3)] == [16, 32, 64]
    assert model.get_layer("dense").units == 128
    tiny = models.build("ckn19", n_outputs=np.int64(2), input_shape=(8, 8, 1), width=1e-6)
    assert min(layer.filters for layer in tiny.layers if hasattr(layer, "filters")) == 1


@pytest.mark.parametrize(("name", "number"), [("ckn19", "3_2"), ("pg20", "3_3"), ("se_cnn", "5_2")])
def test_the_row_of_the_output_is_that_of_the_thesis(name, number):
    table = published.table(f"rotheneder2023_table_{number}_layers_{name}").tail(2)
    model = models.build(name, n_outputs=int(table["output_shape"].iloc[0]))
    ours = models.layer_table(model, one_output_row=True).tail(2)
    assert ours.to_dict("list") == table.fillna("").to_dict("list")


def test_layer_tables_read_like_those_of_the_thesis():
    ours = models.layer_table(models.build("se_cnn", n_outputs=108), activations=True)
    theirs = published.table("rotheneder2023_table_5_2_layers_se_cnn")
    gates = ours["layer"] == "SE-Block"
    assert list(ours["layer"][:-5]) == [row.replace("MaxPooling (", "MaxPooling2D (") for row in theirs["layer"][:-4]]
    assert list(ours["output_shape"][gates]) == list(theirs["output_shape"][theirs["layer"] == "SE-Block"])
    assert ours["parameters"][gates].sum() == 1540  # printed as 0, and missing from the sum of the rows
    assert list(ours["layer"][-2:]) == ["Sigmoid", "Total"]
    assert ours["parameters"].iloc[:-1].sum() == ours["parameters"].iloc[-1] == 793_738

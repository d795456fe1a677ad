"""The four structures of `choi2018` chapter 4 in their five sizes: widths, sizes, maps, design."""

import itertools

import numpy as np
import pytest

from musictools import models, published
from musictools.models.structures import BUDGETS, STRUCTURES

NAMES = [f"{structure}_{size}" for structure, size in itertools.product(STRUCTURES, BUDGETS)]


@pytest.fixture(scope="module")
def networks():
    return {name: models.build(name, n_outputs=50, seed=0) for name in NAMES}


def trained(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def widths(model):
    """Filters or units of the layers that have weights, without the output."""
    kinds = [layer for layer in model.layers if type(layer).__name__ in ("Conv2D", "Dense", "GRU")]
    return [getattr(layer, "filters", None) or layer.units for layer in kinds if layer.name != "logits"]


def counted(name):
    """Trainable parameters, layer by layer, from the widths of the published table."""
    structure, size = name.split("_", 1)
    table = published.table("choi2018_table_4_a_layer_widths").set_index("structure").loc[structure]
    sides = table[f"width_{size}"].tolist()
    kernels = {"k1c2": [8] * 4 + [96, 1], "k2c1": [96 * 4] + [4] * 4 + [1, 1], "k2c2": [9] * 5, "crnn": [9] * 4}
    total, below = 2 * (1440 if structure == "crnn" else 1366), 1
    for width, cells in zip(sides, kernels[structure], strict=False):
        total += below * width * cells + width + 2 * width  # weights, biases, batch normalisation
        below = width
    for width in sides[4:] if structure == "crnn" else []:
        total += 3 * (below * width + width * width + 2 * width)
        below = width
    return total + 50 * below + 50


def test_all_twenty_are_listed_apart_from_the_taggers():
    assert list(models.names("structure")) == NAMES
    assert not set(NAMES) & set(models.names())
    assert {models.describe(name).input.shape for name in NAMES} == {(96, 1366, 1)}
    with pytest.raises(ValueError, match="kind must be None, 'genre', 'tagger' or 'structure'. Got 'cnn'"):
        models.names("cnn")


def test_widths_are_those_of_table_4a(networks):
    table = published.table("choi2018_table_4_a_layer_widths")
    for name in NAMES:
        structure, size = name.split("_", 1)
        assert widths(networks[name]) == table.loc[table["structure"] == structure, f"width_{size}"].tolist(), name


def test_sizes_are_within_two_percent_of_their_budget_but_for_one(networks):
    off = {name: trained(networks[name]) / BUDGETS[name.split("_", 1)[1]] - 1 for name in NAMES}
    assert [name for name in NAMES if abs(off[name]) > 0.02] == ["k1c2_0_1m"]
    assert off["k1c2_0_1m"] == pytest.approx(0.048, abs=0.001)


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_those_of_a_count_by_hand(networks, name):
    assert trained(networks[name]) == counted(name)


def test_maps_below_the_output_are_as_described(networks):
    last = {
        "k1c2": ("pool4", (96, 1)),
        "k2c1": ("pool5", (1, 1)),
        "k2c2": ("pool5", (1, 1)),
        "crnn": ("pool4", (1, 15)),
    }
    for name in NAMES:
        layer, sides = last[name.split("_", 1)[0]]
        assert networks[name].get_layer(layer).output.shape[1:3] == sides, name
    first = networks["k2c1_1m"].get_layer("pool1").output.shape
    assert first[1:] == (1, 341, 152), "the first convolution joins all bands"
    assert networks["crnn_1m"].get_layer("steps").output.shape[1:] == (15, 195)


def test_k1c2_spends_the_published_share_on_convolutions(networks):
    model = networks["k1c2_0_5m"]
    own = sum(layer.count_params() for layer in model.layers if layer.name.startswith("conv"))
    assert own / trained(model) == pytest.approx(published.number("choi2018", "convolutional_share_k1c2"), abs=0.006)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_design_is_the_same_but_for_dropout(networks, structure):
    kinds = [type(layer).__name__ for layer in networks[f"{structure}_0_1m"].layers]
    weighted = kinds.count("Conv2D") + kinds.count("Dense") - 1  # the output has neither
    assert kinds.count("ELU") == weighted
    assert kinds.count("BatchNormalization") == weighted + 1, "and that of the input"
    rates = [layer.rate for layer in networks[f"{structure}_0_1m"].layers if type(layer).__name__ == "Dropout"]
    assert rates == ([0.1] * 4 if structure == "crnn" else [])


def test_kernels_of_k1c2_see_one_band_only():
    """What changes in one band changes no feature map in another."""
    import keras

    model = models.build("k1c2_0_1m", n_outputs=2, width=0.2, seed=0)
    maps = keras.Model(model.input, model.get_layer("pool4").output)
    x = np.random.default_rng(0).random((1, 96, 1366, 1), np.float32)
    other = x.copy()
    other[:, 40] = 0
    moved = np.abs(maps(x) - maps(other))[0].max(axis=(1, 2))
    assert np.flatnonzero(moved > 1e-6).tolist() == [40]


def test_every_frame_of_the_input_is_normalised():
    model = models.build("k2c2_0_1m", n_outputs=2, width=0.1, seed=0)
    x = np.random.default_rng(0).normal(np.linspace(-3, 3, 1366)[None, None, :, None], 2, (8, 96, 1366, 1))
    y = np.asarray(model.get_layer("norm0")(x.astype(np.float32), training=True))
    assert np.abs(y.mean(axis=(0, 1, 3))).max() < 1e-4
    assert np.abs(y.std(axis=(0, 1, 3)) - 1).max() < 1e-2

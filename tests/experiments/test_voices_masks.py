"""The decoder, on a network that finds isolated cells and ignores surfaces of the same level."""

import keras
import numpy as np
import pytest

from musictools.experiments import voices_masks as masks
from musictools.explain.metrics import localisation

SETTINGS = masks.Settings(layers=("edges",), filters=4, area=1.0, variation=0.1, drop=0.6, steps=60, batch_size=8,
                          learning_rate=0.03)  # fmt: skip
SHAPE = (16, 32)


@pytest.fixture(scope="module")
def network():
    """Its logit grows with the number of isolated loud cells; the first hidden map shows them, the second all cells."""
    inputs = keras.Input((*SHAPE, 1))
    x = keras.layers.Conv2D(2, 3, padding="same", activation="relu", name="edges")(inputs)
    logits = keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, logits)
    kernel = np.zeros((3, 3, 1, 2))
    kernel[..., 0, 0], kernel[1, 1, 0] = -1 / 8, [1, 1]
    model.get_layer("edges").set_weights([kernel, np.array([-0.52, 0.0])])  # corners of surfaces stay below
    model.get_layer("logits").set_weights([np.diag([1000.0, 1.0]), np.array([-3.0, 0.0])])
    return model


@pytest.fixture(scope="module")
def scenes():
    """Inputs, isolated cells and surfaces."""
    rng = np.random.default_rng(0)
    x, isolated, surfaces = (np.zeros((24, *SHAPE)) for _ in range(3))
    for n in range(24):
        top, left = rng.integers(1, 9), rng.integers(1, 9)
        surfaces[n, top : top + 6, left : left + 6] = 1
        rows, columns = np.meshgrid(np.arange(1, 16, 4), np.arange(18, 31, 4), indexing="ij")
        chosen = rng.permutation(16)[:10]
        isolated[n, rows.ravel()[chosen], columns.ravel()[chosen]] = 1
    x = 0.1 + 0.8 * (isolated + surfaces)
    return x[..., None].astype(np.float32), isolated.astype(bool), surfaces.astype(bool)


@pytest.fixture(scope="module")
def trained(network, scenes):
    before = [w.copy() for w in network.get_weights()]
    result = masks.train(network, scenes[0][:16], np.zeros(16, dtype=int), SETTINGS)
    assert all(np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True)), "the network changed"
    return result


def test_the_decoder_paints_what_decides_on_inputs_it_has_not_seen(trained, network, scenes):
    x, isolated, surfaces = (values[16:] for values in scenes)
    mask = masks.paint(trained[0], x)
    assert mask.shape == x.shape[:3]
    assert mask[isolated].mean() > 0.7
    inner = surfaces & np.roll(surfaces, 1, 1) & np.roll(surfaces, -1, 1) & np.roll(surfaces, 1, 2) & np.roll(
        surfaces, -1, 2)  # fmt: skip
    assert mask[inner].mean() < 0.3
    assert localisation.auc(mask, isolated).mean() > 0.95
    untrained = masks.paint(masks.build(network, SETTINGS), x)
    assert untrained[isolated].mean() - untrained[inner].mean() < 0.3


def test_the_decision_is_kept_inside_and_lost_outside(trained, network, scenes):
    x = scenes[0][16:]
    mask = masks.paint(trained[0], x)[..., None]
    whole, kept, lost = (network.predict(masks.masked(x, m, SETTINGS.drop), verbose=0)[:, 0].mean()
                         for m in (np.ones_like(mask), mask, 1 - mask))  # fmt: skip
    assert whole > 0
    assert kept > 0.5 * whole
    assert lost < 0
    history = trained[1]
    assert {len(values) for values in history.values()} == {SETTINGS.steps}
    assert np.mean(history["loss"][-5:]) < history["loss"][0]


def test_cells_are_lowered_and_never_below_zero():
    x, mask = np.array([0.5, 0.5, 0.2]), np.array([1.0, 0.5, 0.0])
    np.testing.assert_allclose(masks.masked(x, mask, 0.4), [0.5, 0.3, 0.0])


def test_total_variation_by_hand():
    mask = np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]], dtype=np.float32)[None, ..., None]
    assert float(masks._variation(mask, 1)) == pytest.approx(1 / 3)
    assert float(masks._variation(mask, 2)) == pytest.approx(2 / 4)


def test_every_input_is_used_before_one_is_used_again():
    settings = masks.Settings(steps=6, batch_size=2)
    batches = masks._batches(4, settings, np.random.default_rng(0))
    assert batches.shape == (6, 2)
    for order in batches.reshape(3, 4):
        assert sorted(order) == [0, 1, 2, 3]

"""The poster's networks and the elliptical mask: shapes, values by hand, derivatives, the filter loss, files."""

import keras
import numpy as np
import pytest
from keras import ops

from musictools import explain, models
from musictools.models.graph.autodiff import pull
from musictools.models.layers import EllipticalMask
from musictools.models.poster import KINDS, poster_network

RNG = np.random.default_rng(0)
SMALL = {"n_outputs": 3, "input_shape": (16, 24, 1), "filters": (4, 6), "units": 5, "seed": 0}


def maps(*shape):
    return np.random.default_rng(1).random(shape, dtype=np.float32)


def masked_slowly(x, axes, edge):
    """The mask cell by cell, as the class describes it."""
    y = np.zeros_like(x)
    for n, k in np.ndindex(x.shape[0], x.shape[3]):
        row, column = np.unravel_index(x[n, ..., k].argmax(), x.shape[1:3])
        for i, j in np.ndindex(x.shape[1:3]):
            d = np.hypot((i - row) / (axes[0] * x.shape[1]), (j - column) / (axes[1] * x.shape[2]))
            y[n, i, j, k] = x[n, i, j, k] * (0 if d >= 1 else min(1, (1 - d) / edge))
    return y


class TestEllipticalMask:
    @pytest.mark.parametrize("axes", [(0.5, 0.5), (0.2, 0.9), (0.9, 0.2)])
    @pytest.mark.parametrize("edge", [1.0, 0.3])
    def test_values_are_those_of_a_slow_loop(self, axes, edge):
        x = maps(3, 7, 9, 2)
        np.testing.assert_allclose(EllipticalMask(axes, edge)(x), masked_slowly(x, axes, edge), atol=1e-6)

    def test_changes_nothing_if_the_ellipse_covers_everything(self):
        x = maps(2, 7, 9, 3)
        far = np.hypot(6 / (4 * 7), 8 / (4 * 9))  # the largest possible d
        assert np.array_equal(EllipticalMask((4, 4), edge=1 - far)(x), x)
        assert np.array_equal(EllipticalMask((np.inf, np.inf))(x), x)
        assert not np.array_equal(EllipticalMask((4, 4), edge=1.0)(x), x)

    def test_a_wide_ellipse_keeps_the_frames_and_a_tall_one_the_bands(self):
        x = np.ones((1, 20, 20, 1), np.float32)
        x[0, 10, 10] = 2
        for axes, sides in (((0.1, 0.4), (3, 15)), ((0.4, 0.1), (15, 3))):
            kept = np.asarray(EllipticalMask(axes)(x))[0, ..., 0] > 0
            assert (kept.any(axis=1).sum(), kept.any(axis=0).sum()) == sides

    def test_derivative_is_the_numerical_one(self):
        x, layer, step = maps(1, 5, 6, 2), EllipticalMask((0.6, 0.4), edge=0.7), 2.0**-10
        weights = maps(1, 5, 6, 2)[..., ::-1].copy()
        slope = np.asarray(pull(layer, ops.convert_to_tensor(x), ops.convert_to_tensor(weights)))
        shifts = step * np.eye(x.size, dtype=np.float32).reshape(-1, *x.shape[1:])
        up, down = (np.asarray(layer(x + sign * shifts)) for sign in (1, -1))
        numerical = ((up - down) * weights).sum(axis=(1, 2, 3)) / (2 * step)
        np.testing.assert_allclose(slope.ravel(), numerical, atol=2e-3)

    def test_derivative_passes_while_training(self):
        model = keras.Sequential(
            [
                keras.Input((4, 4, 1)),
                EllipticalMask(loss_weight=1.0),
                keras.layers.Flatten(),
                keras.layers.Dense(2, activation="softmax"),
            ]
        )
        model.compile("sgd", "categorical_crossentropy")
        losses = model.fit(maps(8, 4, 4, 1), np.eye(2)[[0, 1] * 4], epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]

    def test_filter_loss_is_that_of_a_slow_sum(self):
        layer, x = EllipticalMask((0.5, 0.25), loss_weight=1.0, sharpness=7.0), maps(4, 3, 4, 2)
        n, prior = 12, 1 / 13
        templates = []
        for row, column in np.ndindex(3, 4):
            d = [[np.hypot((i - row) / 1.5, j - column) for j in range(4)] for i in range(3)]
            templates.append(7 / n * np.maximum(1 - np.array(d), -1))
        templates.append(np.full((3, 4), -7 / n))
        information = []
        for k in range(2):
            joint = np.array([[np.exp((one[..., k] * T).sum()) for one in x] for T in templates])
            joint *= prior / joint.sum(axis=1, keepdims=True)  # p(T) p(x | T)
            information.append((joint * np.log(joint / (prior * joint.sum(axis=0)))).sum())
        assert float(layer.filter_loss(x)) == pytest.approx(-np.mean(information), rel=1e-4)

    def test_filter_loss_prefers_one_peak(self):
        peaked, flat = np.zeros((2, 4, 6, 6, 1), np.float32)
        for number, place in enumerate([(0, 0), (2, 3), (5, 5)]):  # the fourth map is inactive
            peaked[number, *place] = 36.0
            flat[number] = 1.0
        layer = EllipticalMask((0.3, 0.3), sharpness=20.0)
        assert float(layer.filter_loss(peaked)) < float(layer.filter_loss(flat)) - 0.1

    def test_loss_is_added_in_training_only(self):
        layer, x = EllipticalMask(loss_weight=2.0), maps(4, 3, 4, 2)
        layer(x, training=False)
        assert layer.losses == []
        layer(x, training=True)
        assert float(layer.losses[0]) == pytest.approx(2 * float(layer.filter_loss(x)))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"axes": (0.5, 0)}, r"axes must be two positive numbers.*Got \(0.5, 0.0\)"),
            ({"axes": (0.5,)}, "axes must be two positive numbers"),
            ({"edge": 0}, r"edge must lie in \(0, 1\]. Got 0"),
            ({"loss_weight": -1}, "loss_weight must be at least 0 and sharpness positive. Got -1"),
        ],
    )
    def test_bad_input(self, options, message):
        with pytest.raises(ValueError, match=message):
            EllipticalMask(**options)


class TestNetworks:
    def test_bands_are_standardised_inside(self):
        mean, variance = np.linspace(0, 1, 16), np.linspace(0.5, 2, 16)
        model, x = poster_network("vanilla", **SMALL, bands=(mean, variance)), maps(2, 16, 24, 1)
        plain = poster_network("vanilla", **SMALL)
        plain.set_weights(model.get_weights()[-len(plain.weights) :])
        scaled = (x - mean[:, None, None]) / np.sqrt(variance)[:, None, None]
        np.testing.assert_allclose(model.predict(x, verbose=0), plain.predict(scaled, verbose=0), atol=1e-5)

    def test_options_add_layers(self):
        model = poster_network("gap", **SMALL, batch_norm=True, filter_dropout=0.1, kernel=(5, 3))
        count = [type(layer).__name__ for layer in model.layers]
        assert count.count("BatchNormalization") == count.count("SpatialDropout2D") == 4
        assert model.get_layer("conv1").kernel_size == (5, 3)
        assert model.get_layer("conv4").kernel_size == (6, 4)

    def test_every_cell_of_the_transposed_map_is_reached_equally_often(self):
        layer = poster_network("gap", **SMALL).get_layer("conv4")
        ones = np.ones_like(layer.kernel)
        layer.set_weights([ones, np.zeros(ones.shape[2])])
        inner = np.asarray(layer(np.ones((1, 5, 5, ones.shape[3]), np.float32)))[0, 1:-1, 1:-1]
        assert np.ptp(inner) == 0

    @pytest.mark.parametrize("kind", KINDS)
    def test_reads_back_as_it_was_written(self, kind, tmp_path):
        model = poster_network(kind, **SMALL, axes=(0.3, 0.7), filter_loss=0.5)
        model.save(tmp_path / "model.keras")
        again, x = models.load(tmp_path / "model.keras"), maps(2, 16, 24, 1)
        np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))
        if kind == "masked":
            assert again.get_layer("mask").get_config() == model.get_layer("mask").get_config()

    def test_layers_are_those_of_the_poster(self):
        count = {kind: [type(layer).__name__ for layer in poster_network(kind, **SMALL).layers] for kind in KINDS}
        assert [count[kind].count("Conv2D") for kind in KINDS] == [2, 2, 3]
        assert [count[kind].count("Dense") for kind in KINDS] == [2, 2, 1]
        assert [count[kind].count("EllipticalMask") for kind in KINDS] == [0, 1, 0]
        assert count["gap"].count("Conv2DTranspose") == count["gap"].count("GlobalAveragePooling2D") == 1

    def test_a_mask_that_covers_everything_leaves_the_vanilla_network(self):
        plain = poster_network("vanilla", **SMALL)
        masked = poster_network("masked", **SMALL, axes=(np.inf, np.inf))
        x = maps(3, 16, 24, 1)
        np.testing.assert_array_equal(plain.predict(x, verbose=0), masked.predict(x, verbose=0))

    @pytest.mark.parametrize(
        ("method", "batch_norm"), [("lrp_epsilon", True), ("lrp_composite", False), ("deep_taylor", True)]
    )
    def test_relevance_passes_the_mask_and_is_conserved(self, method, batch_norm):
        bands = np.linspace(0.4, 0.6, 16), np.full(16, 0.1)
        model = poster_network("masked", **SMALL, axes=(0.3, 0.7), batch_norm=batch_norm, bands=bands)
        x = maps(3, 16, 24, 1)
        report = explain.relevance(model, x, [0, 2], method=method).conservation
        assert "mask" in report.layers
        assert report.rules[report.layers.index("mask")] == "elliptical_mask"
        assert report.error().max() < 1e-4

    def test_relevance_is_zero_where_the_mask_is(self):
        model, x = poster_network("masked", **SMALL, axes=(0.2, 0.2)), maps(1, 16, 24, 1)
        inner = keras.Model(model.inputs, model.get_layer("relu2").output)
        zero = np.asarray(model.get_layer("mask").mask(inner(x))) == 0
        above = keras.Sequential(
            [keras.Input(inner.output.shape[1:]), *model.layers[model.layers.index(model.get_layer("mask")) :]]
        )
        R = explain.relevance(above, np.asarray(inner(x)), 1, method="lrp_epsilon").relevance
        assert zero.any()
        assert np.abs(R[zero]).max() == 0
        assert np.abs(R).max() > 0

    def test_bad_input(self):
        with pytest.raises(ValueError, match="kind must be one of vanilla, masked, gap. Got 'mask'"):
            poster_network("mask", **SMALL)
        with pytest.raises(ValueError, match="input_shape must have at least 8 bands and 8 frames"):
            poster_network("gap", n_outputs=3, input_shape=(6, 24, 1))

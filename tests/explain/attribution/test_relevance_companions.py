"""Gradients, perturbations and baselines against cases whose answer is known."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.stats import spearmanr
from support.networks import built, eagerly, inputs, near, shaken

from musictools import explain
from musictools.explain.attribution import controls, perturbation

GRADIENTS = ("gradient", "input_x_gradient", "smooth_grad", "integrated_gradients", "guided_backprop", "grad_cam")
FEW = {
    "smooth_grad": {"n_samples": 3},
    "integrated_gradients": {"steps": 3},
    "occlusion": {"patch": 3},
    "rise": {"n_masks": 70, "grid": (3, 3)},
    "lime": {"n_samples": 70, "grid": (3, 3)},
}


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    eagerly(monkeypatch)


@pytest.fixture
def linear():
    """A linear network, its input, and its weights (5, 4, 1, 3)."""
    model, _, shape = built("linear")
    return model, inputs(shape, signed=True, n=3), np.asarray(model.layers[-1].kernel).reshape(*shape, 3)


def explained(model, x, neuron, method, **options):
    return explain.Explainer(model, method=method, **options)(x, neuron).relevance


class TestLinearNetwork:
    @pytest.mark.parametrize("method", ["gradient", "smooth_grad", "guided_backprop"])
    def test_slopes_are_the_weights(self, linear, method):
        model, x, w = linear
        near(
            explained(model, x, [0, 2], method),
            np.broadcast_to(np.moveaxis(w[..., [0, 2]], -1, 0), (3, 2, 5, 4, 1)),
            method,
        )

    def test_input_times_slope(self, linear):
        model, x, w = linear
        near(explained(model, x, 1, "input_x_gradient"), x * w[..., 1], "input x gradient")

    @pytest.mark.parametrize("baseline", [0.0, 0.4, np.arange(20, dtype=np.float32).reshape(5, 4, 1) / 20])
    def test_integrated_gradients(self, linear, baseline):
        model, x, w = linear
        near(explained(model, x, 1, "integrated_gradients", baseline=baseline), (x - baseline) * w[..., 1], "IG")

    def test_a_contrast_is_a_difference(self, linear):
        model, x, w = linear
        found = explain.Explainer(model, method="gradient")(x, np.array([0, 2, 1]), contrast=1)
        near(found.relevance, np.stack([w[..., 0] - w[..., 1], w[..., 2] - w[..., 1], 0 * w[..., 0]]), "contrast")
        logits = explain.logits(model)(x)
        near(found.logit, logits[range(3), [0, 2, 1]] - logits[:, 1], "logit")

    def test_several_rivals_count_by_their_mean(self, linear):
        model, x, w = linear
        found = explain.Explainer(model, method="gradient")(x, [0, 1], contrast=[1, 2])
        rivals = (w[..., 1] + w[..., 2]) / 2
        near(found.relevance, np.broadcast_to([w[..., 0] - rivals, w[..., 1] - rivals], (3, 2, 5, 4, 1)), "of a list")
        others = explain.Explainer(model, method="gradient")(x, [0, 1], contrast="others")
        wanted = [w[..., 0] - rivals, w[..., 1] - (w[..., 0] + w[..., 2]) / 2]
        near(others.relevance, np.broadcast_to(wanted, (3, 2, 5, 4, 1)), "of all others")

    @pytest.mark.parametrize("baseline", [0.0, 0.3])
    def test_occlusion_of_single_cells_is_exact(self, linear, baseline):
        model, x, w = linear
        near(explained(model, x, 1, "occlusion", patch=1, baseline=baseline), (x - baseline) * w[..., 1], "occlusion")

    def test_occlusion_of_patches_shares_what_they_carry(self, linear):
        model, x, w = linear
        carried = (x * w[..., 0])[..., 0]
        found = explained(model, x, 0, "occlusion", patch=(2, 3))[..., 0]
        wanted = np.zeros_like(carried)
        for top, left in np.ndindex(3, 2):  # the last row and column of patches hang over the edge
            box = (slice(None), slice(2 * top, 2 * top + 2), slice(3 * left, 3 * left + 3))
            wanted[box] = carried[box].mean(axis=(1, 2), keepdims=True)
        near(found, wanted, "patches")
        assert found.sum() == pytest.approx(carried.sum(), rel=1e-4)

    def test_occlusion_in_overlapping_patches(self, linear):
        model, x, w = linear
        carried = (x * w[..., 0])[..., 0]
        found = explained(model, x, 0, "occlusion", patch=(1, 2), stride=(1, 1))[..., 0]
        pairs = np.concatenate([carried[:, :, :-1] + carried[:, :, 1:], 2 * carried[:, :, -1:]], axis=2) / 2
        wanted = pairs.copy()
        wanted[:, :, 1:] = (pairs[:, :, 1:] + pairs[:, :, :-1]) / 2
        near(found, wanted, "overlapping")

    def test_occlusion_by_the_mean_of_each_bin(self, linear):
        model, x, w = linear
        mean = x.mean(axis=2, keepdims=True)
        near(explained(model, x, 2, "occlusion", patch=1, baseline="mean"), (x - mean) * w[..., 2], "mean")

    @pytest.mark.parametrize("method", ["occlusion", "integrated_gradients"])
    def test_baselines_mean_the_same_in_every_method(self, linear, method):
        model, x, w = linear
        options = {"patch": 1} if method == "occlusion" else {"steps": 1}
        own = np.linspace(0, 1, 20, dtype=np.float32).reshape(5, 4, 1)
        for baseline, values in (("floor", 0), ("mean", x.mean(axis=2, keepdims=True)), (own, own), (-0.5, -0.5)):
            near(explained(model, x, 1, method, baseline=baseline, **options), (x - values) * w[..., 1], str(baseline))

    def test_lime_finds_what_every_segment_carries(self, linear):
        model, x, w = linear
        carried = (x * w[..., 1])[..., 0]
        found = explained(model, x, 1, "lime", grid=(5, 4), n_samples=400, ridge=1e-3)[..., 0]
        np.testing.assert_allclose(found, carried, atol=0.02 * np.abs(carried).max())
        coarse = explained(model, x, [1, 0], "lime", grid=(2, 2), n_samples=100)[:, 0, ..., 0]
        for a, b in zip(coarse, carried, strict=True):
            blocks = [(r, c) for r in (slice(0, 3), slice(3, 5)) for c in (slice(0, 2), slice(2, 4))]
            weights = [a[block].sum() for block in blocks]
            assert all(np.ptp(a[block]) < 1e-6 for block in blocks)
            assert spearmanr(weights, [b[block].sum() for block in blocks]).statistic == pytest.approx(1)


def test_ridge_weights_of_a_sum():
    rng = np.random.default_rng(0)
    there = rng.random((60, 5)) < 0.5
    weights = rng.standard_normal((5, 2))
    np.testing.assert_allclose(perturbation.ridge_weights(there, there @ weights + 3, ridge=0.0), weights.T, atol=1e-8)
    small = perturbation.ridge_weights(there, there @ weights + 3, ridge=1e3)
    assert np.abs(small).max() < 0.1 * np.abs(weights).max()


def test_rise_finds_the_cell_that_counts():
    source = layers.Input((16, 24, 1))
    dense = layers.Dense(2, use_bias=False)
    model = keras.Model(source, dense(layers.Flatten()(source)))
    kernel = np.zeros((16, 24, 2), np.float32)
    kernel[5, 17, 0], kernel[12, 3, 1] = 4, 4
    dense.set_weights([kernel.reshape(-1, 2)])
    x = np.ones((1, 16, 24, 1), np.float32)
    found = explained(model, x, [0, 1], "rise", n_masks=600)[0, ..., 0]
    for relevance, place in zip(found, [(5, 17), (12, 3)], strict=True):
        top = np.unravel_index(relevance.argmax(), relevance.shape)
        assert np.abs(np.subtract(top, place)).max() <= 2
        assert relevance[place] > 0.9 * relevance.max() > 10 * abs(np.median(relevance))


@pytest.mark.parametrize("name", ["conv2d", "maxima", "gate", "norm_stays", "norm_branches"])
def test_slopes_are_those_of_finite_differences(name):
    model, reference, shape = built(name)
    x = inputs(shape, n=1)
    found = explained(model, x, [0, 1, 2], "gradient")[0]
    rng, last = np.random.default_rng(0), list(reference.nodes)[-1]
    for _ in range(3):
        way = rng.standard_normal(shape) * 1e-4
        if name == "gate":  # Keras computes its gate in float32
            way *= 30
        difference = reference.forward(x[0] + way)[last] - reference.forward(x[0] - way)[last]
        np.testing.assert_allclose(
            (found * way).reshape(3, -1).sum(axis=1), difference / 2, atol=2e-2 * np.abs(difference).max()
        )


@pytest.mark.parametrize(("activation", "tolerance"), [("elu", 1e-3), ("relu", 3e-2)])  # slopes that jump take steps
def test_integrated_gradients_are_complete(activation, tolerance):
    model = shaken(
        keras.Sequential(
            [
                layers.Input((5, 6, 1)),
                layers.Conv2D(3, 3, activation=activation),
                layers.BatchNormalization(),
                layers.Flatten(),
                layers.Dense(4, activation=activation),
                layers.Dense(3, activation="sigmoid"),
            ]
        )
    )
    x, logits = inputs((5, 6, 1), signed=True, n=3), explain.logits(model)
    for baseline in (0.0, inputs((5, 6, 1), n=1, seed=5)[0]):
        found = explained(model, x, [0, 1, 2], "integrated_gradients", steps=64, baseline=baseline)
        wanted = logits(x) - logits(np.broadcast_to(np.asarray(baseline, np.float32), x.shape))
        assert np.abs(found.reshape(3, 3, -1).sum(axis=-1) - wanted).max() <= tolerance * np.abs(wanted).max()


def test_smooth_grad_is_the_mean_slope_around():
    model, _, shape = built("dense")
    x = inputs(shape, n=2)
    found = explained(model, x, 0, "smooth_grad", n_samples=5, noise=0.5)
    rng, wanted = np.random.default_rng(0), 0
    for _ in range(5):
        noise = 0.5 * np.ptp(x, axis=1, keepdims=True) * rng.standard_normal(shape)
        wanted = wanted + explained(model, (x + noise).astype(np.float32), 0, "gradient") / 5
    near(found, wanted, "smooth_grad")
    assert np.abs(found - explained(model, x, 0, "gradient")).max() > 1e-2 * np.abs(found).max()


def test_guided_backpropagation_by_hand():
    model = shaken(
        keras.Sequential(
            [
                layers.Input((5,)),
                layers.Dense(6, activation="relu"),
                layers.Dense(4),
                layers.ReLU(),
                layers.Dense(3, activation="sigmoid"),
            ]
        ),
        seed=4,
    )
    (w1, b1, w2, b2, w3, _), x = model.get_weights(), inputs((5,), signed=True, n=8)
    first = np.maximum(x @ w1 + b1, 0)
    second = np.maximum(first @ w2 + b2, 0)
    for neuron in range(3):
        back = (second > 0) * np.maximum(w3[:, neuron], 0)
        back = (first > 0) * np.maximum(back @ w2.T, 0)
        near(explained(model, x, neuron, "guided_backprop"), back @ w1.T, "guided")


class TestGradCam:
    def test_by_hand(self):
        model = shaken(
            keras.Sequential(
                [
                    layers.Input((6, 8, 2)),
                    layers.Conv2D(3, 3, padding="same", activation="relu", name="conv"),
                    layers.GlobalAveragePooling2D(),
                    layers.Dense(4),
                ]
            ),
            seed=4,
        )
        x = inputs((6, 8, 2), n=3)
        A, w = np.asarray(model.layers[0](x)), model.layers[-1].get_weights()[0]
        for name in (None, "conv"):
            found = explained(model, x, [1, 3], "grad_cam", layer=name)
            for place, neuron in enumerate((1, 3)):
                cam = np.maximum((A * w[:, neuron] / 48).sum(axis=-1, keepdims=True), 0)
                near(found[:, place], np.repeat(cam, 2, axis=-1), "cam")

    def test_the_last_maps_are_stretched_linearly(self):
        model = keras.Sequential(
            [
                layers.Input((4, 8, 1)),
                layers.Conv2D(1, (4, 2), strides=(4, 4), use_bias=False),
                layers.Flatten(),
                layers.Dense(1, use_bias=False),
            ]
        )
        model.set_weights([np.ones((4, 2, 1, 1)) / 8, np.ones((2, 1))])
        x = np.zeros((1, 4, 8, 1), np.float32)
        x[:, :, :4], x[:, :, 4:] = 1, 2
        found = explained(model, x, 0, "grad_cam")[0, ..., 0]
        np.testing.assert_allclose(found, np.tile([1, 1, 1.125, 1.375, 1.625, 1.875, 2, 2], (4, 1)), rtol=1e-6)

    def test_maps_without_the_inputs_axes(self):
        model = keras.Sequential(
            [
                layers.Input((4, 6, 1)),
                layers.Conv2D(2, (4, 1), name="conv"),
                layers.Reshape((6, 2)),
                layers.Conv1D(2, 3, name="line"),
                layers.Flatten(),
                layers.Dense(2),
            ]
        )
        x = inputs((4, 6, 1))
        near(explained(model, x, 0, "grad_cam"), explained(model, x, 0, "grad_cam", layer="conv"), "last with axes")
        with pytest.raises(ValueError, match="layer must have feature maps over the input's axes. Got 'line'"):
            explained(model, x, 0, "grad_cam", layer="line")
        with pytest.raises(ValueError, match="has no layer 'none'. It has: conv"):
            explained(model, x, 0, "grad_cam", layer="none")
        model, _, shape = built("dense")
        with pytest.raises(ValueError, match="has no convolution over the input's axes, grad_cam needs one"):
            explained(model, inputs(shape), 0, "grad_cam")


class TestAllMethods:
    @pytest.mark.parametrize("shape", [(9, 12, 1), (30, 1)], ids=["spectrogram", "waveform"])
    def test_shapes_batches_and_seeds(self, shape):
        conv = layers.Conv2D if len(shape) == 3 else layers.Conv1D
        model = shaken(
            keras.Sequential(
                [
                    layers.Input(shape),
                    conv(2, 3, activation="relu"),
                    layers.Flatten(),
                    layers.Dense(3, activation="sigmoid"),
                ]
            )
        )
        x = inputs(shape, n=3)
        for method in explain.METHODS:
            options = FEW.get(method, {})
            many = explain.relevance(model, x, [2, 0], method=method, **options)
            assert many.relevance.shape == (3, 2, *shape)
            assert many.relevance.dtype == np.float32
            assert many.logit.shape == (3, 2)
            assert (many.conservation is None) == (not method.startswith(("deep_taylor", "lrp")))
            single = explain.relevance(model, x[1:2], 0, method=method, batch_size=1, **options)
            assert single.relevance.shape == (1, *shape)
            near(single.relevance[0], many.relevance[1, 1], f"{method}, alone and among others")
            near(single.logit[0], many.logit[1, 1], "logit")
            again = explain.relevance(model, x, [2, 0], method=method, batch_size=2, **options)
            near(again.relevance, many.relevance, f"{method}, twice")
            if method in ("smooth_grad", "rise", "lime", "random"):
                other = explain.relevance(model, x, [2, 0], method=method, seed=1, **options)
                assert np.abs(other.relevance - many.relevance).max() > 0

    def test_options_that_look_alike_are_not_mixed_up(self):
        wide = shaken(keras.Sequential([layers.Input((40, 40, 1)), layers.Flatten(), layers.Dense(1)]))
        x, one = inputs((40, 40, 1)), np.zeros((40, 40, 1), np.float32)
        other = one.copy()
        other[20, 20] = 0.5  # which NumPy does not print
        found = [
            explain.relevance(wide, x, 0, method="integrated_gradients", steps=2, baseline=b) for b in (one, other)
        ]
        assert np.argwhere(found[0].relevance != found[1].relevance)[:, 1:].tolist() == [[20, 20, 0]] * 2


class TestBaselines:
    def test_energy(self):
        x = inputs((4, 5, 1), signed=True)
        np.testing.assert_allclose(controls.energy(x), x - x.min(axis=(1, 2, 3), keepdims=True))
        wave = inputs((9, 1), signed=True)
        np.testing.assert_allclose(controls.energy(wave), np.abs(wave))

    def test_edges_are_where_something_begins(self):
        x = np.zeros((1, 8, 10, 1), np.float32)
        x[:, :, 5:] = 1
        found = controls.edge(x)[0, ..., 0]
        assert (found[:, 4:6] > 0).all()
        assert not found[:, [0, 1, 2, 3, 6, 7, 8, 9]].any()
        np.testing.assert_allclose(controls.edge(x.swapaxes(1, 2)).swapaxes(1, 2), controls.edge(x))
        beside = controls.edge(np.concatenate([0 * x, x]))
        assert not beside[0].any()
        np.testing.assert_array_equal(beside[1:], controls.edge(x))

    def test_the_network_does_not_matter_but_to_the_logit(self):
        model, _, shape = built("conv2d")
        x = inputs(shape, n=3)
        for method in ("energy", "edge", "random"):
            found = explain.relevance(model, x, [0, 2], method=method)
            np.testing.assert_array_equal(found.relevance[:, 0], found.relevance[:, 1])
            near(found.logit, explain.logits(model)(x)[:, [0, 2]], "logit")
        noise = explain.relevance(model, x, 0, method="random").relevance
        assert 0 <= noise.min() < noise.max() <= 1
        assert np.abs(noise[0] - noise[1]).max() > 0.1

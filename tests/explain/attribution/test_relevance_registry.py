"""Rules for layers of one's own, and those of the package's own layers."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from support.networks import eagerly, inputs, near, shaken

from musictools import explain
from musictools.explain.attribution import own_layers, registry
from musictools.models.layers import FAINTEST, ClassToken, HarmonicFilters


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    eagerly(monkeypatch)
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))


def affine():
    """A class of its own, so that no test sees the rule of another."""

    class Affine(layers.Layer):
        def build(self, shape):
            self.scale = self.add_weight(shape=shape[-1:], name="scale", initializer="ones")
            self.offset = self.add_weight(shape=shape[-1:], name="offset", initializer="ones")

        def call(self, x):
            return x * self.scale + self.offset

    return Affine


def rule_of_affine(layer, inputs, output, relevance):
    share = ops.divide_no_nan(relevance, output)
    return explain.Shares([inputs[0] * layer.scale * share], absorbed=layer.offset * share)


def model_of(layer, shape=(5, 3)):
    source = layers.Input(shape)
    y = layers.Dense(4, activation="relu", name="one")(source)
    return shaken(keras.Model(source, layers.Dense(2, name="end")(layers.Flatten()(layer(y))), name="small"))


class TestRegistration:
    def test_a_layer_without_a_rule_is_named_with_the_remedy(self):
        message = r"Layer 'mine' of small is of a kind \(Affine\) that has no rule.*lime work with any layer\. "
        with pytest.raises(ValueError, match=message + r".*by explain\.register_rule\."):
            explain.relevance(model_of(affine()(name="mine")), inputs((5, 3)), 0)

    @pytest.mark.parametrize("method", ["lrp_epsilon", "deep_taylor"])
    def test_a_rule_is_used_at_once_and_closes(self, method):
        Affine = affine()
        model, x = model_of(Affine(name="mine")), inputs((5, 3), n=3)
        assert explain.register_rule(Affine)(rule_of_affine) is rule_of_affine
        found = explain.relevance(model, x, [0, 1], method=method)
        report = found.conservation.to_frame()
        assert report["layer"].tolist() == ["end", "mine", "one", "input"]
        assert report["rule"].tolist()[1] == "rule_of_affine"
        assert np.abs(report["bias"][1]) > 1e-3
        assert found.conservation.error().max() <= 1e-5
        if method == "lrp_epsilon":  # the same as a dense layer with these weights
            scale, offset = model.get_layer("mine").get_weights()
            twin = model_of(layers.Dense(4, name="mine"))
            for name in ("one", "end"):
                twin.get_layer(name).set_weights(model.get_layer(name).get_weights())
            twin.get_layer("mine").set_weights([np.diag(scale), offset])
            near(found.relevance, explain.relevance(twin, x, [0, 1], method=method).relevance, "dense twin")

    def test_a_new_rule_replaces_what_was_kept(self):
        Affine = affine()
        model, x = model_of(Affine(name="mine")), inputs((5, 3))
        explain.register_rule(Affine, rule_of_affine)
        first = explain.relevance(model, x, 0, method="lrp_epsilon")
        explain.register_rule(Affine, lambda layer, inputs, output, relevance: 0 * relevance)
        second = explain.relevance(model, x, 0, method="lrp_epsilon")
        assert np.abs(first.relevance).max() > 0
        assert not second.relevance.any()

    def test_lost_relevance_is_reported(self):
        Affine = affine()
        explain.register_rule(Affine, lambda layer, inputs, output, relevance: 0.75 * relevance)
        report = explain.relevance(model_of(Affine(name="mine")), inputs((5, 3)), 0, method="lrp_epsilon").conservation
        assert report.error().min() > 0.01
        assert "not conserved" in report.verdict()
        table = report.to_frame(0).set_index("layer")
        np.testing.assert_allclose(table.loc["mine", "open"], table.loc["mine", "arrived"] / 4, rtol=1e-4)
        assert np.abs(table["open"].drop(["mine", "input"])).max() < 1e-5 * np.abs(table["arrived"]).max()

    @pytest.mark.parametrize(
        ("rule", "message"),
        [
            (lambda layer, inputs, output, relevance: relevance[:, :2], r"input's shape \(2, 5, 4\). Got \(2, 2, 4\)"),
            (lambda layer, inputs, output, relevance: relevance[..., 0], r"shape \(2, 5, 4\). Got \(2, 5\)"),
            (lambda layer, inputs, output, relevance: [relevance] * 2, "the relevance of 1 inputs. Got 2"),
            (lambda layer, inputs, output, relevance: [], "the relevance of 1 inputs. Got 0"),
        ],
    )
    def test_wrong_shapes_are_refused_by_name(self, rule, message):
        Affine = affine()
        explain.register_rule(Affine, rule)
        with pytest.raises(ValueError, match=r"The rule '<lambda>' of layer 'mine' \(Affine\) must return.*" + message):
            explain.relevance(model_of(Affine(name="mine")), inputs((5, 3)), 0)

    @pytest.mark.parametrize(
        ("arguments", "options", "message"),
        [
            ((3,), {}, "layer_class must be a class of layers. Got 3"),
            ((layers.Layer, 3), {}, r"rule must be a function of \(layer, inputs, output, relevance\). Got 3"),
            ((layers.Layer, print), {"lowest": "low"}, "lowest must be a number or None. Got 'low'"),
        ],
    )
    def test_bad_arguments(self, arguments, options, message):
        with pytest.raises(ValueError, match=message):
            explain.register_rule(*arguments, **options)

    def test_several_inputs_and_several_maps(self):
        class Weighed(layers.Layer):
            def call(self, a, b):
                return 2 * a + b

        @explain.register_rule(Weighed)
        def weighed(layer, inputs, output, relevance):
            share = ops.divide_no_nan(relevance, output)
            return [2 * inputs[0] * share, inputs[1] * share]

        source = layers.Input((5, 3))
        one, two = layers.Dense(4, name="one"), layers.Dense(4, name="two")
        y = Weighed(name="sum")(one(source), two(source))
        model = shaken(keras.Model(source, layers.Dense(3, name="end")(layers.Flatten()(y))))
        plain = keras.Model(source, model.get_layer("end")(layers.Flatten()(
            layers.Add()([one(source), one(source), two(source)]))))  # fmt: skip
        x = inputs((5, 3), n=3)
        found, wanted = (explain.relevance(m, x, [2, 0], method="lrp_epsilon") for m in (model, plain))
        near(found.relevance, wanted.relevance, "three summands")
        assert found.conservation.error().max() <= 1e-5

    def test_the_lowest_output_counts_as_nothing(self):
        class Decibels(layers.Layer):
            def call(self, x):
                return 10 * x - 40

        @explain.register_rule(Decibels, lowest=-40.0)
        def passing(layer, inputs, output, relevance):
            near(output, np.repeat(10 * x - 40, 3, axis=0), "the rule sees the layer's own output")
            return relevance

        source, end = layers.Input((4, 3)), layers.Dense(3, name="end")
        model = shaken(keras.Model(source, end(layers.Flatten()(Decibels()(source)))))
        x = inputs((4, 3), n=2)
        found = explain.relevance(model, x, [0, 1, 2], method="lrp_epsilon")
        near(found.logit, model(x), "logit")
        contributions = 10 * x.reshape(2, 1, 12) * end.kernel.numpy().T
        near(found.relevance, contributions.reshape(2, 3, 4, 3), "contributions above the lowest")
        assert found.conservation.error().max() <= 1e-5


def test_class_token_absorbs_its_own():
    source = layers.Input((4, 3))
    y = ClassToken(name="token")(source)
    model = shaken(keras.Model(source, layers.Dense(2, name="end")(layers.Flatten()(y))))
    x = inputs((4, 3), n=2)
    found = explain.relevance(model, x, [0, 1], method="lrp_epsilon")
    kernel, _ = model.get_layer("end").get_weights()
    token = model.get_layer("token").token.numpy().ravel()
    near(found.relevance, x[:, None] * kernel.T.reshape(1, 2, 5, 3)[:, :, 1:], "steps")
    absorbed = found.conservation.entries.reshape(2, 2, 3, 5)[:, :, 1, 2]
    near(absorbed, np.broadcast_to((token * kernel.T.reshape(2, 5, 3)[:, 0]).sum(axis=1), (2, 2)), "token")
    assert found.conservation.error().max() <= 1e-5


def harmonic_reference(layer, x, R):
    """Shares of every sample in every band's power, in float64, by explicit Fourier matrices and loops."""
    hop, n_fft, bins = layer.hop, layer.n_fft, np.arange(layer.n_fft // 2 + 1)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    centres = np.array(layer.centres())
    widths = (0.1079 * centres + 24.7) / float(layer.q)
    W = np.maximum(1 - 2 * np.abs(bins[:, None] * layer.sample_rate / n_fft - centres) / widths, 0)
    place = np.pad(np.arange(len(x)), n_fft // 2, mode="reflect")
    fourier = np.exp(-2j * np.pi * np.outer(bins, np.arange(n_fft)) / n_fft)
    given, absorbed = np.zeros(len(x)), 0.0
    for frame in range(R.shape[1]):
        at = place[frame * hop : frame * hop + n_fft]
        matrix = fourier * window
        spectrum = matrix @ x[at]
        for band in range(layer.n_bands):
            for harmonic in range(layer.n_harmonics):
                weights = W[:, harmonic * layer.n_bands + band]
                power, r = weights @ np.abs(spectrum) ** 2, R[band, frame, harmonic]
                if power <= FAINTEST:
                    absorbed += r
                    continue
                for b in np.flatnonzero(weights):  # real and imaginary parts by the epsilon rule, epsilon = 0
                    z = spectrum[b]
                    share = r * weights[b] / power
                    parts = share * (z.real * matrix[b].real + z.imag * matrix[b].imag) * x[at]
                    np.add.at(given, at, parts)
    return given, absorbed


class TestHarmonicFilters:
    @pytest.fixture
    def case(self):
        layer = HarmonicFilters(n_harmonics=2, n_bands=30, sample_rate=4000, n_fft=64, hop=32, q=0.8)
        rng = np.random.default_rng(0)
        x = rng.normal(0, 0.3, (2, 320, 1)).astype(np.float32)
        x[1, :160] *= 1e-7  # below the floor
        R = rng.normal(size=(2, 30, 11, 2)).astype(np.float32)
        return layer, x, R, layer(x)

    def rule(self, layer, x, R, y):
        shares = own_layers.harmonic_filters(layer, [ops.convert_to_tensor(x)], y, ops.convert_to_tensor(R))
        return np.asarray(shares.inputs[0]), np.asarray(shares.absorbed).sum(axis=(1, 2, 3))

    def test_reference(self, case):
        layer, x, R, y = case
        given, absorbed = self.rule(layer, x, R, y)
        for i in range(2):
            wanted, constant = harmonic_reference(layer, x[i, :, 0].astype(np.float64), R[i].astype(np.float64))
            near(given[i, :, 0], wanted, "samples")
            near(absorbed[i], constant, "constants", least=1.0)
        assert abs(absorbed[1]) > 0.1
        np.testing.assert_allclose(given.sum(axis=(1, 2)) + absorbed, R.sum(axis=(1, 2, 3)), rtol=1e-5)

    @pytest.mark.parametrize("mistake", ["whole", "no_floor", "amplitude"])
    def test_mistakes_are_seen(self, case, mistake, monkeypatch):
        layer, x, R, y = case
        if mistake == "whole":  # without Euler's factor 1 / 2
            pulled = own_layers.pull
            monkeypatch.setattr(own_layers, "pull", lambda *a: 2 * pulled(*a))
        elif mistake == "no_floor":
            monkeypatch.setattr(own_layers, "FAINTEST", 1e-30)
        else:
            monkeypatch.setattr(layer, "power", lambda x, dtype=None: HarmonicFilters.power(layer, x, dtype) ** 0.5)
        given, absorbed = self.rule(layer, x, R, y)
        wanted, constant = harmonic_reference(layer, x[1, :, 0].astype(np.float64), R[1].astype(np.float64))
        with pytest.raises(AssertionError, match="off by"):
            near(np.append(given[1, :, 0], absorbed[1]), np.append(wanted, constant), "samples and constants")

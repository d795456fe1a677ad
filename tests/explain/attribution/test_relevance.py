"""Relevance is conserved in every network of the package, whatever its head, and refused where it must be."""

import keras
import numpy as np
import pytest
from keras import layers
from support.networks import built, eagerly, inputs, near, shaken

from musictools import explain, models

SMALL = {  # input shapes
    "se_cnn": (16, 64, 1),
    "short_chunk": (128, 128, 1),
    "short_chunk_res": (128, 128, 1),
    "fcn4": (48, 96, 1),
    "vgg_cnn": (48, 64, 1),
    "musicnn": (24, 40, 1),
    "stacked_cnn": (128, 128, 1),
    "sample_cnn": (3**10, 1),
    "sample_cnn_se": (3**10, 1),
    "compact_convnet": (96, 1280, 1),
    "ckn19": (64, 64, 1),
    "pg20": (64, 64, 1),
    "choi_stft": (64, 64, 1),
    "resnet34": (64, 64, 1),
    "self_attention": (128, 64, 1),
    "crnn": (96, 320, 1),
    "harmonic_cnn": (80000, 1),
}
RELEVANCE = ("deep_taylor", "deep_taylor_bounded", "lrp_epsilon", "lrp_gamma", "lrp_alpha_beta", "lrp_composite")


def network(name, shape):
    width = 0.25 if name in ("compact_convnet", "crnn") else 0.0625
    model = models.build(name, width=width, input_shape=shape, seed=1, n_outputs=6)
    return calibrated(model) if name in ("self_attention", "crnn") else shaken(model, seed=2)


def calibrated(model):
    """Weights as if trained: normalisations fit their inputs, so that neither attention nor gates are saturated."""
    rng = np.random.default_rng(2)
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for weight in model.trainable_weights:
        weight.assign(weight + rng.normal(0, 0.1, weight.shape))
    for layer in norms:
        layer.momentum = 0.0
    model(inputs(model.input_shape[1:], n=8, seed=3), training=True)
    return model


def summed(relevance, lead=1):
    return relevance.reshape(*relevance.shape[:lead], -1).sum(axis=-1)


class TestSuite:
    """All architectures, narrow, with normalisations that have seen something and gammas of either sign."""

    @pytest.fixture(autouse=True)
    def eager(self, monkeypatch):
        eagerly(monkeypatch)

    @pytest.mark.parametrize("name", SMALL)
    def test_accounts_close(self, name):
        model = network(name, SMALL[name])
        before = [w.copy() for w in model.get_weights()]
        x = inputs(SMALL[name], signed=len(SMALL[name]) == 2)
        wanted = np.asarray(keras.Model(model.input, model.layers[-1].input)(x))
        assert np.ptp(wanted, axis=0).max() > 1e-3  # the input matters
        sigmoid = model.layers[-1].name == "sigmoid"
        offset = np.log(0.01 / 0.99) if sigmoid else 0.0
        for method in RELEVANCE:
            found = explain.Explainer(model, method=method)(x, list(range(6)), reference=0.01 if sigmoid else None)
            assert np.abs(found.logit + offset - wanted).max() <= 1e-5 * np.abs(wanted).max()
            self.closes(found, method)
            assert name not in ("crnn", "self_attention", "harmonic_cnn") or found.conservation.error().max() <= 1e-5
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)

    @staticmethod
    def closes(found, method):
        report = found.conservation
        start, size = report.entries[:, 0, 0], np.abs(report.entries).max(axis=(1, 2))
        assert np.isfinite(found.relevance).all()
        assert report.error().max() <= 1e-4
        assert "is conserved" in report.verdict()
        logit = np.maximum(found.logit, 0) if method.startswith("deep_taylor") else found.logit
        np.testing.assert_allclose(start, logit.ravel(), rtol=1e-6)
        # What reaches the input is what was to be explained, less all that was absorbed.
        left = start - report.entries[..., 2:].sum(axis=(1, 2))
        assert np.abs(summed(found.relevance, 2).ravel() - left).max() <= 1e-4 * size.max()
        np.testing.assert_allclose(
            report.reached()[start != 0], (left / np.where(start == 0, 1, start))[start != 0], rtol=1e-4, atol=1e-4
        )
        if method in ("deep_taylor", "deep_taylor_bounded"):
            # A sample can lower a band's power: what is positive is the relevance of decibels.
            assert report.layers[-2] == "harmonics" or found.relevance.min() >= -1e-6 * found.relevance.max()
            # Neither bias nor stabiliser takes part, only constants that are inputs: the class token.
            others = [layer != "class_token" for layer in report.layers]
            assert not np.abs(report.entries[:, others, 2:4]).any()
        assert (np.abs(found.relevance).max(axis=tuple(range(2, found.relevance.ndim))) > 0)[logit > 0].all()

    @pytest.mark.parametrize("name", ["se_cnn", "short_chunk_res", "musicnn", "sample_cnn_se", "ckn19"])
    def test_batch_of_one_is_batch_of_many(self, name):
        model, x = network(name, SMALL[name]), inputs(SMALL[name], n=3)
        explainer = explain.Explainer(model, method="lrp_composite")
        many = explainer(x, 2)
        for i in range(3):
            single = explainer(x[i : i + 1], 2)
            near(many.relevance[i : i + 1], single.relevance, name)
            near(many.logit[i : i + 1], single.logit, name)

    def test_these_are_all_models_of_the_package(self):
        assert set(SMALL) >= set(models.names())


RELUS_ONLY = ("means", "depthwise", "moves", "gate", "wave")  # a ReLU that fires has something that makes it fire
WITHOUT_BIAS = [(n, "deep_taylor", {}) for n in RELUS_ONLY] + [
    (n, m, o)
    for n in ("dense", "conv1d", "conv2d", "maxima", "means", "residual", "branches", "wave")
    for m, o in (("lrp_epsilon", {"epsilon": 1e-9}), ("lrp_alpha_beta", {}), ("lrp_alpha_beta", {"alpha": 1.0}))
]


@pytest.mark.parametrize(("name", "method", "options"), WITHOUT_BIAS, ids=str)
def test_without_biases_all_relevance_reaches_the_input(name, method, options, monkeypatch):
    eagerly(monkeypatch)
    model, _, shape = built(name)
    model = keras.models.clone_model(model)
    shaken(model, seed=3)
    for layer in model.layers:
        if getattr(layer, "bias", None) is not None:
            layer.bias.assign(0 * layer.bias)
    x = inputs(shape, n=6)
    found = explain.Explainer(model, method=method, **options)(x, [0, 1, 2])
    logit = np.maximum(found.logit, 0) if method == "deep_taylor" else found.logit
    assert (logit > 0).sum() >= 3
    np.testing.assert_allclose(summed(found.relevance, 2), logit, rtol=1e-4, atol=1e-4 * np.abs(logit).max())
    assert np.abs(found.conservation.entries[..., 2]).max() == 0


def headed(kind):
    """The same network with a head of its own making, and its linear twin."""
    source = layers.Input((6, 5, 1))
    body = [layers.Conv2D(3, 3, activation="relu", name="conv"), layers.Flatten(), layers.Dense(3, name="end")]
    x = source
    for layer in body[:-1]:
        x = layer(x)
    linear = shaken(keras.Model(source, body[-1](x)))
    if kind == "in dense":
        end = layers.Dense(3, activation="sigmoid")
        model = keras.Model(source, end(x))
        end.set_weights(body[-1].get_weights())
        return model, linear
    ends = {
        "activation": [layers.Activation("sigmoid")],
        "softmax": [layers.Softmax()],
        "softmax activation": [layers.Activation("softmax")],
        "operation": [keras.ops.sigmoid],
        "dropout": [layers.Activation("sigmoid"), layers.Dropout(0.1), layers.Identity()],
        "nested": [
            keras.Sequential([layers.Input((3,)), keras.Sequential([layers.Input((3,)), layers.Activation("sigmoid")])])
        ],
    }
    x = body[-1](x)
    for end in ends[kind]:
        x = end(x)
    return keras.Model(source, x), linear


@pytest.mark.parametrize(
    "kind", ["in dense", "activation", "softmax", "softmax activation", "operation", "dropout", "nested"]
)
def test_heads_are_stripped(kind, monkeypatch):
    eagerly(monkeypatch)
    model, linear = headed(kind)
    x = inputs((6, 5, 1))
    assert np.abs(model(x) - linear(x)).max() > 0.05  # the head does something
    near(explain.logits(model)(x), linear(x), "logits")
    few = {
        "smooth_grad": {"n_samples": 2},
        "integrated_gradients": {"steps": 2},
        "occlusion": {"patch": 2},
        "rise": {"n_masks": 8},
        "lime": {"n_samples": 8},
    }
    for method in explain.METHODS:
        options = few.get(method, {})
        found = [explain.Explainer(m, method=method, **options)(x, [0, 1, 2]) for m in (model, linear)]
        near(found[0].relevance, found[1].relevance, method)
        near(found[0].logit, linear(x), "logit")


def test_a_head_of_relus_is_explained_as_it_is():
    source = layers.Input((4,))
    model = shaken(keras.Model(source, layers.Dense(3, activation="relu")(source)))
    x = inputs((4,), n=8)
    found = explain.relevance(model, x, [0, 1, 2], method="lrp_epsilon", epsilon=0.0)
    near(found.logit, model(x), "logit")
    assert not found.relevance[found.logit == 0].any()
    shares = found.conservation.entries[..., 2].sum(axis=1).reshape(found.logit.shape)
    near(summed(found.relevance, 2) + shares, found.logit, "sum")


class TestReference:
    """A tag that is accepted below p = 0.5 has evidence too."""

    @pytest.fixture
    def accepted(self):
        model, _, shape = built("conv2d")
        model = keras.Model(model.input, layers.Activation("sigmoid")(model.output))
        x = inputs(shape, n=40, signed=True)
        p = np.asarray(model(x))
        found = [(i, j) for i, j in np.argwhere((p > 0.2) & (p < 0.5))]
        assert len(found) >= 5
        rows, neurons = np.array(found).T
        return model, x[rows], neurons, p[rows, neurons]

    def test_accepted_tags_have_no_blank_maps(self, accepted):
        model, x, neuron, p = accepted
        blank = explain.relevance(model, x, neuron)
        assert (blank.logit < 0).all()
        assert not blank.relevance.any()
        assert "Nothing was to be explained" in blank.conservation.verdict()
        assert np.isnan(blank.conservation.reached()).all()
        full = explain.relevance(model, x, neuron, reference=0.2)
        assert (full.logit > 0).all()
        assert (full.relevance.reshape(len(x), -1).max(axis=1) > 0).all()
        np.testing.assert_allclose(full.logit, np.log(p / (1 - p)) - np.log(0.2 / 0.8), atol=1e-5)
        np.testing.assert_array_equal(full.reference, np.full(len(x), 0.2))

    def test_references_by_sample_and_by_neuron(self, accepted):
        model, x, neuron, _ = accepted
        each = np.linspace(0.05, 0.2, len(x))
        found = explain.relevance(model, x, neuron, reference=each)
        one = explain.relevance(model, x[3:4], neuron[3:4], reference=each[3])
        near(found.relevance[3], one.relevance[0], "one a sample")
        many = explain.relevance(model, x[:4], [0, 1, 2], reference=[0.1, 0.2, 0.3])
        assert many.reference.shape == (4, 3)
        near(many.relevance[:, 1], explain.relevance(model, x[:4], 1, reference=0.2).relevance, "one a neuron")
        table = np.linspace(0.1, 0.4, 12).reshape(4, 3)
        near(
            explain.relevance(model, x[:4], [0, 1, 2], reference=table).relevance[2, 1],
            explain.relevance(model, x[2:3], 1, reference=table[2, 1]).relevance[0],
            "of either",
        )


class TestExplanation:
    @pytest.mark.parametrize("neuron", [1, [2, 0], np.array([0, 2])], ids=["int", "list", "array"])
    @pytest.mark.parametrize(
        "more",
        [
            {},
            {"reference": 0.1},
            {"contrast": np.int64(1)},
            {"contrast": "others"},
            {"contrast": [np.int64(1), 2]},
            {"method": "gradient"},
            {"method": "lrp_composite", "rules": {"one": "flat"}},
        ],
        ids=str,
    )
    def test_save_and_load(self, tmp_path, neuron, more, monkeypatch):
        eagerly(monkeypatch)
        model, _, shape = built("conv2d")
        found = explain.relevance(model, inputs(shape), neuron, **more)
        again = explain.Explanation.load(found.save(tmp_path / "one.npz"))
        for name in ("relevance", "logit", "reference", "neuron"):
            np.testing.assert_array_equal(getattr(found, name), getattr(again, name))
        assert type(again.neuron) is type(found.neuron)
        assert (again.method, again.contrast) == (found.method, found.contrast)
        assert again.options.keys() == found.options.keys()
        assert (again.conservation is None) == (found.conservation is None)
        if found.conservation is not None:
            assert str(again.conservation) == str(found.conservation)

    def test_files_that_hold_none(self, tmp_path):
        with pytest.raises(ValueError, match="no saved explanation"):
            explain.Explanation.load(tmp_path / "none.npz")
        np.savez(tmp_path / "other.npz", a=np.zeros(3))
        with pytest.raises(ValueError, match="other.npz: no saved explanation"):
            explain.Explanation.load(tmp_path / "other.npz")
        with pytest.raises(ValueError, match="path must end in .npz"):
            explain.Explanation(np.zeros(3), "gradient", 0, np.zeros(3)).save(tmp_path / "one.json")

    def test_map(self):
        relevance = np.arange(24, dtype=np.float32).reshape(2, 3, 4, 1)
        single = explain.Explanation(relevance, "gradient", 0, np.zeros(2))
        np.testing.assert_array_equal(single.map(1), relevance[1, ..., 0])
        np.testing.assert_array_equal(single.map(), relevance[0, ..., 0])
        many = explain.Explanation(relevance[:, None].repeat(2, axis=1), "gradient", [0, 1], np.zeros((2, 2)))
        np.testing.assert_array_equal(many.map((1, 0)), relevance[1, ..., 0])
        with pytest.raises(ValueError, match=r"index must be \(sample, neuron\): there are 2 neurons. Got 1"):
            many.map(1)
        one = explain.Explanation(relevance[:, None], "gradient", [0], np.zeros((2, 1)))
        np.testing.assert_array_equal(one.map(1), relevance[1, ..., 0])
        wave = explain.Explanation(np.ones((1, 9, 1), np.float32), "gradient", 0, np.zeros(1))
        assert wave.map().shape == (9,)

    def test_repr_is_one_short_line(self):
        model, _, shape = built("conv2d")
        explanation = explain.relevance(model, inputs(shape, n=40), list(range(3)), contrast="others")
        for thing in (explanation, explanation.conservation):
            assert "\n" not in repr(thing)
            assert len(repr(thing)) < 300
        assert repr(explanation).startswith(
            "Explanation('deep_taylor', neuron [0, 1, 2], relevance (40, 3, 7, 6, 2), logit -"
        )
        assert "contrast others, ConservationReport(120 maps, 5 layers, error " in repr(explanation)
        one = explain.relevance(model, inputs(shape, n=1), 2, method="gradient")
        assert repr(one) == f"Explanation('gradient', neuron 2, relevance (1, 7, 6, 2), logit {one.logit[0]:.3g})"
        each = explain.relevance(model, inputs(shape, n=6), np.array([0, 1, 2, 0, 1, 2]), method="gradient")
        assert "neuron [0, 1, 2, 0, 1, …]" in repr(each)


class TestConservationReport:
    def test_table_and_verdict(self):
        entries = np.array([[[2.0, 1.5, 0.3, 0.2, 0.0], [1.5, 1.0, 0.0, 0.0, 0.5]]])
        report = explain.ConservationReport(["logits", "conv"], ["Epsilon", "ZPlus"], entries)
        table = report.to_frame()
        assert list(table.columns) == ["layer", "rule", "arrived", "passed", "bias", "stabiliser", "lost", "open"]
        assert table["open"].abs().max() < 1e-12
        assert report.error() == pytest.approx([0.0])
        assert report.reached() == pytest.approx([0.5])
        assert report.verdict().startswith("Relevance is conserved")
        assert "50.0% of what was explained reaches the input" in report.verdict()
        assert "logits" in str(report)
        assert str(report).endswith(report.verdict())

    def test_what_is_missing_is_said(self):
        entries = np.array([[[2.0, 1.5, 0.3, 0.2, 0.0], [1.5, 1.0, 0.0, 0.0, 0.5]]] * 2)
        entries[1, 1, 1] = 0.8
        report = explain.ConservationReport(["logits", "conv"], ["Epsilon", "ZPlus"], entries)
        assert report.error() == pytest.approx([0.0, 0.1])
        assert report.to_frame(1)["open"].tolist() == pytest.approx([0.0, 0.2])
        assert report.to_frame()["open"].tolist() == pytest.approx([0.0, 0.1])
        assert report.verdict().startswith("Relevance is not conserved: up to 1.0e-01")
        assert report.verdict(tolerance=0.2).startswith("Relevance is conserved")
        entries[0, 0, 0] = np.nan
        assert "not conserved" in report.verdict()

    def test_it_can_be_left_away(self):
        model, _, shape = built("dense")
        x = inputs(shape)
        bare = explain.relevance(model, x, 0, method="lrp_gamma", conservation=False)
        assert bare.conservation is None
        near(bare.relevance, explain.relevance(model, x, 0, method="lrp_gamma").relevance, "without a report")


def test_accounts_say_what_padding_took():
    model = keras.Sequential([layers.Input((6, 6, 1)), layers.ZeroPadding2D(2),
                              layers.Conv2D(3, 3, activation="relu"), layers.Flatten(), layers.Dense(2)])  # fmt: skip
    x = np.random.default_rng(0).uniform(0, 1, (2, 6, 6, 1)).astype(np.float32)
    found = explain.relevance(model, x, 0, method="lrp_composite", input="flat")
    last = found.conservation.to_frame(0).iloc[-1]
    assert last["layer"] == "input"
    assert abs(last["lost"]) > 0.01 * abs(last["arrived"])
    total = found.relevance.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(found.conservation.reached() * found.logit, total, rtol=1e-3, atol=1e-5)
    assert found.conservation.error().max() <= 1e-4


def test_accounts_find_a_lost_branch(monkeypatch):
    from musictools.explain.attribution import propagation as engine

    model = keras.Sequential([layers.Input((6, 6, 1)), layers.Conv2D(3, 3, activation="relu"), layers.Flatten(),
                              layers.Dense(2)])  # fmt: skip
    x = np.random.default_rng(0).uniform(0, 1, (2, 6, 6, 1)).astype(np.float32)
    whole = engine.Propagation._closed
    monkeypatch.setattr(engine.Propagation, "_closed", lambda self, b, found, p: whole(self, b, 0.5 * found, p))
    report = explain.relevance(model, x, 0, method="lrp_epsilon").conservation
    assert report.error().min() > 0.01
    assert "not conserved" in report.verdict()

"""Sanity tests know maps that listen to the model from maps that do not, and the badge says so."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity

from musictools import explain, models, spectrograms
from musictools.explain.metrics import badge as badges
from musictools.explain.metrics import randomisation as copies
from musictools.explain.metrics import sanity

SHAPE = (16, 20, 1)
SR = 16000
FRONT_END = spectrograms.FrontEnd(SR, 1024, 512, 64)


def network(head="sigmoid", *, norm=False, seed=0):
    """Convolutions, then logits that see time and frequency apart."""
    x = inputs = layers.Input(SHAPE)
    for number, filters in enumerate((6, 8)):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"conv{number}")(x)
        x = layers.BatchNormalization(name=f"norm{number}")(x) if norm else x
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.Dense(6, name="logits")(layers.Flatten()(x))
    model = keras.Model(inputs, layers.Activation(head, name=head)(x) if head else x)
    rng = np.random.default_rng(seed)
    model.set_weights(
        [
            np.abs(rng.normal(1, 0.3, w.shape))
            if "variance" in v.path or "gamma" in v.path
            else rng.normal(0, 0.3, w.shape)
            for v, w in zip(model.weights, model.get_weights())
        ]
    )
    return model


def sounds(n=4, shape=SHAPE, seed=0):
    """Inputs with ridges, as spectrograms have them."""
    rng = np.random.default_rng(seed)
    x = rng.random((n, *shape)) * 0.3
    x[:, rng.integers(0, shape[0], 3)] += 0.6
    return x.astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return network()


class Spoilt(explain.Explainer):
    """An explainer whose maps are changed on the way out."""

    def __init__(self, model, spoil, **options):
        super().__init__(model, conservation=False, **options)
        self.spoil = spoil

    def __call__(self, x, neuron, **options):
        found = super().__call__(x, neuron, **options)
        found.relevance[:] = self.spoil(found.relevance, x)
        return found


# --- copies of a model ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["se_cnn", "short_chunk", "fcn4", "musicnn", "sample_cnn_se", "compact_convnet", "ckn19"]
)
def test_models_of_the_suite_are_copied_and_scrambled(name):
    built = models.build(name, n_outputs=4, width=0.05, seed=0)
    before = [w.copy() for w in built.get_weights()]
    x = np.random.default_rng(0).random((3, *built.input_shape[1:])).astype(np.float32)
    groups = copies.layer_groups(built)
    grouped = [layer for group in groups for layer in group]
    assert sorted(grouped) == sorted(layer.name for layer in built.layers if layer.trainable_weights)
    copy = copies.scrambled(built, [group[0] for group in groups], seed=1, x=x)
    assert all(np.array_equal(a, b) for a, b in zip(before, built.get_weights()))
    for old, new in zip(built.trainable_weights, copy.trainable_weights):
        np.testing.assert_array_equal(np.sort(np.ravel(old)), np.sort(np.ravel(new)))
        assert np.ptp(old) == 0 or np.size(old) < 3 or not np.array_equal(old, new)
    logits = explain.logits(copy)(x)
    assert np.isfinite(logits).all()
    assert logits.std(axis=0).min() > 1e-6  # alive


@pytest.mark.parametrize("order", ["top_down", "bottom_up", "independent"])
def test_cascades_change_what_they_say(model, order):
    expected = {
        "top_down": ["logits", "conv1", "conv0"],
        "bottom_up": ["conv0", "conv1", "logits"],
        "independent": ["logits", "conv1", "conv0"],
    }[order]
    found = list(sanity.randomised(model, order=order, seed=3))
    assert [name for name, _ in found] == expected
    for number, (name, copy) in enumerate(found):
        changed = [
            new.name
            for new in copy.layers
            if new.weights and not np.array_equal(new.get_weights()[0], model.get_layer(new.name).get_weights()[0])
        ]
        assert set(changed) == ({name} if order == "independent" else set(expected[: number + 1]))


def test_cascades_end_alike_and_depend_on_the_seed(model):
    ends = [
        list(sanity.randomised(model, order=order, seed=seed))[-1][1].get_weights()
        for order, seed in (("top_down", 0), ("bottom_up", 0), ("top_down", 1))
    ]
    assert all(np.array_equal(a, b) for a, b in zip(ends[0], ends[1]))
    assert not any(np.array_equal(a, b) for a, b in zip(ends[0], ends[2]))


def test_norms_behind_changed_layers_are_estimated_anew():
    built, x = network(norm=True), sounds()
    assert copies.layer_groups(built) == [["conv0", "norm0"], ["conv1", "norm1"], ["logits"]]
    alone = {given is None: dict(sanity.randomised(built, order="independent", x=given)) for given in (x, None)}
    copy = alone[False]["conv1"]
    below = keras.Model(copy.input, copy.get_layer("conv1").output)(x).numpy()
    norm = copy.get_layer("norm1")
    np.testing.assert_allclose(norm.moving_mean, below.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, below.var(axis=(0, 1, 2)), rtol=1e-4, atol=1e-6)
    for name, kept in (("norm0", copy), ("norm1", alone[True]["conv1"])):
        for statistic in ("moving_mean", "moving_variance"):
            np.testing.assert_array_equal(
                getattr(kept.get_layer(name), statistic), getattr(built.get_layer(name), statistic)
            )


def test_frozen_layers_are_randomised_too(model):
    frozen = keras.models.clone_model(model)
    frozen.trainable = False
    assert [name for name, _ in sanity.randomised(frozen)] == ["logits", "conv1", "conv0"]
    assert not frozen.trainable


# --- how alike maps are ---------------------------------------------------------------------------------------------


def test_similarity_by_hand():
    rng = np.random.default_rng(0)
    first, second = rng.integers(-3, 4, (2, 3, 9, 8, 1)).astype(float)
    alike = sanity.similarity(first, second)
    for i in range(3):
        assert alike["spearman"][i] == pytest.approx(spearmanr(first[i].ravel(), second[i].ravel())[0])
        assert alike["absolute"][i] == pytest.approx(spearmanr(*np.abs([first[i].ravel(), second[i].ravel()]))[0])
    np.testing.assert_allclose(sanity.similarity(first, 5 * first), 1)
    opposite = sanity.similarity(first, -first)
    np.testing.assert_allclose(opposite, [[-1, 1, 1]] * 3)
    ones = np.abs(first[0, ..., 0]) / 3, np.abs(second[0, ..., 0]) / 3
    assert alike["ssim"][0] == pytest.approx(structural_similarity(*ones, win_size=7, data_range=1))
    assert sanity.similarity(first, 0 * first).isna().all(axis=None)
    assert np.isfinite(sanity.similarity(rng.random((2, 50, 1)), rng.random((2, 50, 1)))).all(axis=None)


def test_complexity_is_the_entropy_of_the_values():
    x = np.zeros((3, 10, 10))
    x[1, :5], x[2] = 1, np.arange(100).reshape(10, 10)
    np.testing.assert_allclose(sanity.complexity(x), [0, np.log(2), np.log(100)])


# --- does the map depend on the model -------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["energy", "edge", "random"])
def test_maps_that_do_not_listen_to_the_model_stay_the_same(model, method):
    curve = sanity.randomisation_curve(model, sounds(), 2, method=method)
    np.testing.assert_allclose(curve[["spearman", "absolute", "ssim"]], 1)
    np.testing.assert_array_equal(curve["complexity_rise"], 0)


def test_gradients_and_lrp_depend_on_the_model(model):
    for method in ("gradient", "lrp_epsilon"):
        curve = sanity.randomisation_curve(model, sounds(), 2, method=method)
        assert list(curve["layer"]) == ["none", "logits", "conv1", "conv0"]
        np.testing.assert_allclose(curve.iloc[0][["spearman", "absolute", "ssim"]].astype(float), 1)
        assert curve["spearman"].iloc[1:].abs().max() < 0.4
        assert (curve["maps"] == 4).all()


def test_smooth_form_compares_means_of_noisy_maps(model):
    x = sounds()
    plain = sanity.randomisation_curve(model, x, 2, method="gradient", order="independent")
    smooth = sanity.randomisation_curve(model, x, 2, method="gradient", order="independent", n_noisy=3, noise=0.1)
    none = sanity.randomisation_curve(model, x, 2, method="gradient", order="independent", n_noisy=1, noise=0.0)
    np.testing.assert_allclose(none.drop(columns="layer"), plain.drop(columns="layer"), atol=1e-6)
    assert not np.allclose(smooth["complexity"], plain["complexity"])
    assert smooth["spearman"].iloc[0] == pytest.approx(1)


def test_deep_taylor_has_maps_of_negative_logits():
    x = sounds()
    for head, count in (("sigmoid", 24), ("softmax", None), (None, 24)):
        built = network(head)
        logits = explain.logits(built)(x)
        assert logits.min() < 0 < logits.max()
        found = sanity.explained(explain.Explainer(built, conservation=False), x, list(range(6)))
        full = found.reshape(24, -1).any(axis=1)
        assert full.sum() == (np.count_nonzero(logits > 0) if count is None else count)


# --- does it depend on the tag --------------------------------------------------------------------------------------


def halves():
    """Output 0 hears the lower half, 1 the upper one, 2 the lower one too."""
    x = inputs = layers.Input(SHAPE)
    model = keras.Model(inputs, layers.Dense(3, activation="sigmoid", name="logits")(layers.Flatten()(x)))
    kernel = np.zeros((*SHAPE, 3), dtype=np.float32)
    kernel[:8, ..., [0, 2]], kernel[8:, ..., 1] = 1, 1
    model.set_weights([kernel.reshape(-1, 3), np.zeros(3)])
    return model


def test_random_logit_finds_maps_of_other_tags_alike_or_not():
    x = sounds(2)
    table = sanity.random_logit(halves(), x, np.array([0, 1]), others=2, method="input_x_gradient")
    alike = table.set_index(["sample", "other"])["spearman"]
    assert list(alike.index) == [(0, 1), (0, 2), (1, 0), (1, 2)]
    assert alike[0, 2] == pytest.approx(1)
    assert alike[[(0, 1), (1, 0), (1, 2)]].max() < 0
    assert list(sanity.random_logit(halves(), x, 0, others=[0, 2], method="gradient")["other"]) == [2, 2]
    np.testing.assert_allclose(sanity.random_logit(halves(), x, 0, others=2, method="energy")["spearman"], 1)
    assert sanity.random_logit(halves(), x, 0, others=1, seed=1).equals(
        sanity.random_logit(halves(), x, 0, others=1, seed=1)
    )


@pytest.mark.parametrize("method", ["deep_taylor", "lrp_epsilon", "gradient", "grad_cam"])
def test_swapped_labels_swap_maps(model, method, monkeypatch):
    x = sounds(2)
    assert sanity.label_swap_error(model, x, 1, 4, method=method) < 1e-5
    monkeypatch.setattr(sanity, "label_swapped", lambda model, first, second: copies.label_swapped(model, 0, second))
    assert sanity.label_swap_error(model, x, 1, 4, method=method) > 0.05


def test_swapped_model_says_the_same_of_exchanged_outputs(model):
    swapped = sanity.label_swapped(model, 1, 4)
    before, after = (m.predict(sounds(), verbose=0) for m in (model, swapped))
    np.testing.assert_allclose(after, before[:, [0, 4, 2, 3, 1, 5]], atol=1e-6)


# --- does it depend on nothing else ---------------------------------------------------------------------------------


def test_batches_do_not_matter_and_it_shows_if_they_do(model):
    x, neuron = sounds(), np.array([0, 1, 2, 3])
    for method in ("deep_taylor", "lrp_epsilon", "guided_backprop", "rise"):
        assert sanity.batch_consistency(model, x, neuron, method=method) < 1e-5
    by_batch = Spoilt(model, lambda R, x: R / len(x), method="gradient")
    assert sanity.batch_consistency(by_batch, x, neuron) > 0.5


def test_stability_tells_a_steady_method_from_a_nervous_one(model):
    x = sounds()
    steady = sanity.stability(halves(), x, 0, method="gradient")
    np.testing.assert_allclose(steady["change"], 0, atol=1e-6)
    np.testing.assert_allclose(steady["spearman"], 1)
    np.testing.assert_array_equal(steady["kept"], 1)
    nervous = Spoilt(model, lambda R, x: np.random.default_rng(int(1e6 * x.sum())).random(R.shape), method="gradient")
    found = sanity.stability(nervous, x, 0)
    np.testing.assert_allclose(found["change"], np.sqrt(2), atol=0.2)
    assert found["spearman"].abs().max() < 0.3


def test_stability_counts_draws_that_leave_the_decision_only(model):
    x = sounds()
    loud = sanity.stability(model, x, 0, method="gradient", noise=0.5, tolerance=1e-6)
    np.testing.assert_array_equal(loud["kept"], 0)
    assert loud[["change", "spearman"]].isna().all(axis=None)
    small, large = (
        sanity.stability(model, x, 0, method="input_x_gradient", noise=noise)["change"] for noise in (0.001, 0.02)
    )
    assert (small < large).all()


def test_energy_correlation():
    x = sounds()
    np.testing.assert_allclose(sanity.energy_correlation(x, x), 1)
    np.testing.assert_allclose(sanity.energy_correlation(-x, x), -1)
    assert np.isnan(sanity.energy_correlation(np.ones_like(x), x)).all()
    waves = np.random.default_rng(0).normal(size=(2, 100, 1))
    np.testing.assert_allclose(sanity.energy_correlation(waves**2, waves), 1)


# --- does it move with the sound ------------------------------------------------------------------------------------


def bursts(frequency=1000.0, seconds=3.0):
    """Three bursts of a tone, not in step with anything, over faint noise."""
    t = np.arange(round(SR * seconds)) / SR
    on = sum(((t > start) & (t < start + 0.2)) for start in (0.3, 1.1, 2.2))
    noise = 1e-3 * np.random.default_rng(0).standard_normal(t.size)
    return (0.5 * on * np.sin(2 * np.pi * frequency * t) + noise).astype(np.float32)


def hears_tones(y):
    """A template: what is loud is evidence, wherever it lies."""
    return np.maximum(FRONT_END.compute(y) - 10.0, 0.0)


@pytest.mark.parametrize(
    ("kind", "amount"), [("pitch_shift", 4), ("pitch_shift", -4), ("time_stretch", 1.25), ("time_stretch", 0.8)]
)
def test_evidence_that_follows_the_sound_is_equivariant(kind, amount):
    found = sanity.equivariance(hears_tones, bursts(), sr=SR, front_end=FRONT_END, kind=kind, amount=amount)
    assert found["correlation"] > 0.85
    assert found["control"] < found["correlation"] - 0.3
    assert found["gain"] == pytest.approx(found["correlation"] - found["control"])


def test_evidence_that_stays_where_it_was_is_not():
    fixed = np.random.default_rng(0).random((64, 200))

    def deaf(y):
        return fixed[:, : FRONT_END.n_frames(len(y))]

    for kind, amount in (("pitch_shift", 4), ("time_stretch", 1.25)):
        found = sanity.equivariance(deaf, bursts(), sr=SR, front_end=FRONT_END, kind=kind, amount=amount)
        assert found["control"] == pytest.approx(1, abs=0.01)
        assert found["correlation"] < 0.7


def test_maps_move_by_the_right_number_of_bins_and_frames():
    octaves = spectrograms.FrontEnd(SR, 1024, 512, 60, kind="cqt")
    values = np.random.default_rng(0).random((60, 9))
    up = sanity.moved(values, front_end=octaves, kind="pitch_shift", amount=12)
    assert np.isnan(up[:12]).all()
    np.testing.assert_allclose(up[12:], values[:-12], atol=1e-6)
    down = sanity.moved(values, front_end=octaves, kind="pitch_shift", amount=-12)
    np.testing.assert_allclose(down[:-12], values[12:], atol=1e-6)
    fast = sanity.moved(values, front_end=octaves, kind="time_stretch", amount=2)
    np.testing.assert_allclose(fast, values[:, [0, 2, 4, 6]])
    slow = sanity.moved(values, front_end=octaves, kind="time_stretch", amount=0.5, n_frames=18)
    np.testing.assert_allclose(slow[:, :17:2], values)
    np.testing.assert_allclose(slow[:, 1:16:2], (values[:, 1:] + values[:, :-1]) / 2)
    assert np.isnan(slow[:, 17]).all()


def test_listener_joins_the_maps_of_all_inputs():
    x = inputs = layers.Input((64, 40, 1))
    model = keras.Model(inputs, layers.Dense(2, activation="sigmoid")(layers.Flatten()(x)))
    heard = spectrograms.ModelInput(FRONT_END, 40, 20)
    listen = sanity.listener(explain.Explainer(model, method="input_x_gradient"), heard, 1)
    y = bursts()
    S, kernel = FRONT_END.scale(FRONT_END.compute(y)), model.layers[-1].get_weights()[0][:, 1].reshape(64, 40)
    found = listen(y)
    assert found.shape == (64, 80)  # of 94 frames three whole inputs
    np.testing.assert_allclose(found[:, :20], S[:, :20] * kernel[:, :20], atol=1e-6)
    np.testing.assert_allclose(found[:, 20:40], S[:, 20:40] * (kernel[:, 20:] + kernel[:, :20]) / 2, atol=1e-6)
    assert listen(y[: 10 * 512]).shape == (64, 11)


# --- the badge ------------------------------------------------------------------------------------------------------


def test_badge_of_energy_fails_and_says_why(model):
    found = badges.badge(model, sounds(), 2, method="energy")
    assert not found.passed
    assert found.failed == ["randomisation", "class sensitivity", "energy correlation"]
    assert found.scores["randomisation"] == pytest.approx(1)
    limits = badges.LIMITS
    assert found.text.startswith("passes 1 of 4: stability 0.0")
    for name in found.failed:
        assert f"{name} 1.00 > {limits[name]:g}" in found.text.split("; ")[1]
    assert found.text.endswith("not tested: conservation")


def test_badge_of_random_maps_fails(model):
    found = badges.badge(model, sounds(), 2, method="random")
    assert found.failed == ["randomisation", "class sensitivity", "stability"]


def test_badge_of_lrp_passes(model):
    found = badges.badge(model, sounds(), 2, method="lrp_epsilon")
    assert found.passed, found.text
    assert found.text.startswith("passes 5 of 5: randomisation ")
    assert found.scores["conservation"] < 1e-4
    assert str(found).startswith("lrp_epsilon passes: ")


def test_badge_of_a_map_takes_the_model_s_part_from_before(model):
    x = sounds()
    of = badges.ModelBadge(model, x, 2, method="lrp_epsilon", limits={"stability": 1e-9})
    several = of(x, np.array([0, 1, 2, 3]))
    alone = of(x[2:3], 2)[0]
    assert len(several) == 4
    assert {one.scores["randomisation"] for one in [*several, alone]} == {of.randomisation}
    assert alone.scores["energy correlation"] == pytest.approx(several[2].scores["energy correlation"], abs=1e-5)
    assert alone.failed == ["stability"]


def test_badge_of_an_empty_map_fails(model):
    x = sounds(1)
    logits = explain.logits(model)(x)[0]
    silent = int(logits.argmin())
    assert logits[silent] < 0
    of = badges.ModelBadge(model, sounds(), silent)
    empty, full = of(x, silent)[0], of(x, silent, reference=1 / (1 + np.exp(1 - logits[silent])))[0]
    assert empty.empty
    assert not empty.passed
    assert "the map is empty" in empty.text
    assert np.isnan(empty.scores["energy correlation"])
    assert not full.empty


def test_badge_in_words():
    limits = {"randomisation": 0.5, "conservation": 1e-4}
    good = badges.Badge("some", {"randomisation": 0.123, "conservation": 3e-7}, limits)
    assert good.text == "passes 2 of 2: randomisation 0.12, conservation 3e-07"
    bad = badges.Badge("some", {"randomisation": 0.93, "conservation": np.nan}, limits)
    assert bad.text == "passes 0 of 1; fails: randomisation 0.93 > 0.5; not tested: conservation"
    assert good.passed
    assert not bad.passed
    assert not badges.Badge("some", {"randomisation": np.nan}, limits).passed
    empty = badges.Badge("some", good.scores, limits, empty=True)
    assert not empty.passed
    assert empty.text.endswith("; fails: the map is empty")


# --- what is refused ------------------------------------------------------------------------------------------------


def test_wrong_arguments_are_named(model):
    x = sounds(2)
    same = {"sr": SR, "front_end": FRONT_END}
    for words, call in [
        ("order must be one of top_down", lambda: list(sanity.randomised(model, order="sideways"))),
        ("names must be a list of conv0, conv1", lambda: copies.scrambled(model, ["conv7"])),
        (
            "has no trainable weights",
            lambda: list(sanity.randomised(keras.Sequential([layers.Input((4, 4, 1)), layers.Flatten()]))),
        ),
        ("second must be an int from 0 to 5", lambda: sanity.label_swapped(model, 0, 6)),
        (
            "must come from a Dense layer",
            lambda: sanity.label_swapped(
                keras.Sequential([layers.Input(SHAPE), layers.Conv2D(2, 3), layers.GlobalAveragePooling2D()]), 0, 1
            ),
        ),
        ("others must be an int from 1 to 5", lambda: sanity.random_logit(model, x, 0, others=6)),
        ("others must name another", lambda: sanity.random_logit(model, x, 0, others=[0])),
        ("neuron must be an int or an array", lambda: sanity.stability(model, x, [0, 1])),
        ("noise and n_draws must be positive", lambda: sanity.stability(model, x, 0, noise=0)),
        ("at least two samples", lambda: sanity.batch_consistency(model, x[:1], 0)),
        ("has its options already", lambda: sanity.stability(explain.Explainer(model), x, 0, epsilon=1)),
        ("Maps must have the same shape", lambda: sanity.similarity(x, x[:1])),
        ("relevance must have the shape of x", lambda: sanity.energy_correlation(x[:1], x)),
        ("limits must be among", lambda: badges.ModelBadge(model, x, 0, limits={"beauty": 1})),
        ("kind must be 'pitch_shift'", lambda: sanity.equivariance(hears_tones, bursts(), kind="noise", **same)),
        ("sr must be the front end's", lambda: sanity.equivariance(hears_tones, bursts(), **{**same, "sr": 8000})),
        (
            "for a waveform",
            lambda: sanity.moved(
                x[0, ..., 0], front_end=models.describe("sample_cnn").front_end, kind="pitch_shift", amount=1
            ),
        ),
        (
            "must have the front end's 64 bins",
            lambda: sanity.moved(x[0, ..., 0], front_end=FRONT_END, kind="pitch_shift", amount=1),
        ),
        ("blur must be", lambda: sanity.equivariance(hears_tones, bursts(), blur=-1, **same)),
    ]:
        with pytest.raises(ValueError, match=words):
            call()

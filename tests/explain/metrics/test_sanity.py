"""Sanity tests tell maps that depend on the model and the tag from maps that do not."""

import keras
import numpy as np
import pytest
from keras import layers
from scipy.stats import spearmanr
from skimage.metrics import structural_similarity
from support.sanity import SHAPE, Spoilt, network, sounds

from musictools import explain
from musictools.explain.metrics import randomisation as copies
from musictools.explain.metrics import sanity


@pytest.fixture(scope="module")
def model():
    return network()


# --- Similarity of maps ---------------------------------------------------------------------------------------------


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
    assert (sanity.label_swap_error(model, x, 1, other=4, method=method)["error"] < 1e-5).all()
    plain = copies.label_swapped
    monkeypatch.setattr(copies, "label_swapped", lambda model, first, second: plain(model, 0, second))
    assert (sanity.label_swap_error(model, x, 1, other=4, method=method)["error"] > 0.05).all()


def test_batches_do_not_matter_and_it_shows_if_they_do(model):
    x, neuron = sounds(), np.array([0, 1, 2, 3])
    for method in ("deep_taylor", "lrp_epsilon", "guided_backprop", "rise"):
        errors = sanity.batch_consistency(model, x, neuron, method=method)["error"]
        assert len(errors) == len(x)
        assert errors.max() < 1e-5
    by_batch = Spoilt(model, lambda R, x: R / len(x), method="gradient")
    assert (sanity.batch_consistency(by_batch, x, neuron)["error"] > 0.3).all()


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


@pytest.mark.parametrize("method", ["deep_taylor", "gradient"])
def test_maps_that_were_computed_already_are_used(model, method):
    """The same numbers as without, and other ones for other maps."""
    x, neuron = sounds(), np.array([0, 1, 2, 3])
    explainer = explain.Explainer(model, method=method, conservation=False)
    own = sanity.explained(explainer, x, neuron)
    for test in (lambda **maps: sanity.random_logit(explainer, x, neuron, others=2, **maps),
                 lambda **maps: sanity.stability(explainer, x, neuron, **maps)):  # fmt: skip
        np.testing.assert_array_equal(test(relevance=own), test())
        assert not np.allclose(test(relevance=own[::-1]), test())


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ("others must be an int from 1 to 5", lambda model, x: sanity.random_logit(model, x, 0, others=6)),
        ("others must name another", lambda model, x: sanity.random_logit(model, x, 0, others=[0])),
        ("neuron must be an int of at least 0 or an array", lambda model, x: sanity.stability(model, x, [0, 1])),
        ("noise and n_draws must be positive", lambda model, x: sanity.stability(model, x, 0, noise=0)),
        ("at least two samples", lambda model, x: sanity.batch_consistency(model, x[:1], 0)),
        (
            "has its options already",
            lambda model, x: sanity.stability(explain.Explainer(model, method="lrp_epsilon"), x, 0, epsilon=1),
        ),
        ("Maps must have the same shape", lambda model, x: sanity.similarity(x, x[:1])),
        ("relevance must have the shape of x", lambda model, x: sanity.energy_correlation(x[:1], x)),
    ],
)
def test_wrong_arguments_are_named(model, words, call):
    with pytest.raises(ValueError, match=words):
        call(model, sounds(2))


@pytest.mark.parametrize("kind", ["different", "many ties", "constant"])
def test_ranks_are_scipys(kind):
    from scipy.stats import rankdata

    rng = np.random.default_rng(0)
    values = {"different": rng.random((9, 7)), "many ties": rng.integers(-2, 3, (9, 7)), "constant": np.ones((9, 7))}
    np.testing.assert_array_equal(sanity.ranks(values[kind]), rankdata(values[kind]))

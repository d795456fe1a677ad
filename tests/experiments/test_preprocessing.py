"""Notebook 10: the variants inside the network, their trainings, and the paired tests."""

import dataclasses

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops

from musictools import models
from musictools.experiments import preprocessing
from musictools.experiments import preprocessing_effects as paired
from musictools.experiments.preprocessing import Network, Plan, Variant
from musictools.spectrograms import ArrayStore

FRAMES = 1360


def spectrograms(n=2, kind="mel", seed=0):
    """Scaled spectrograms whose level falls with frequency and differs between clips."""
    rng, bins = np.random.default_rng(seed), Variant(kind).front_end.n_bins
    x = 0.6 - 0.3 * np.linspace(0, 1, bins)[:, None, None] + 0.1 * rng.standard_normal((n, bins, FRAMES, 1))
    return np.clip(x + 0.1 * rng.random((n, 1, 1, 1)), 0, 1).astype(np.float32)


def plain_steps(x, variant, gain=1.0, offset=0.0):
    """The steps of a variant with NumPy."""
    values = x[..., 0].astype(float) * 120 - 80
    values = values if variant.decibels else 10 ** (values / 20)
    values = values * np.reshape(gain, (-1, 1)) + np.reshape(offset, (-1, 1))
    mean, deviation = (f(values, axis=(1, 2), keepdims=True) for f in (np.mean, np.std))
    return variant.factor * (values - mean) / deviation


@pytest.mark.parametrize("factor", [1, 10])
@pytest.mark.parametrize("weighting", preprocessing.WEIGHTINGS)
@pytest.mark.parametrize("decibels", [True, False])
def test_the_first_convolution_sees_what_the_variant_says(decibels, weighting, factor):
    x, variant = spectrograms(3), Variant("mel", decibels, weighting, factor)
    network = preprocessing.network(variant, x)
    seen = preprocessing.prepared(network, x)
    np.testing.assert_allclose(
        seen, plain_steps(x, variant, network.gain or 1, network.offset or 0), atol=2e-3 * factor
    )
    assert seen.mean(axis=(1, 2)) == pytest.approx(np.zeros(3), abs=1e-3 * factor)
    assert seen.std(axis=(1, 2)) == pytest.approx(np.full(3, factor), rel=1e-3)


@pytest.mark.parametrize("decibels", [True, False])
def test_standardised_frequencies_have_mean_0_and_deviation_1_over_the_training_clips(decibels):
    x, variant = spectrograms(40), Variant(decibels=decibels, weighting="per_frequency")
    network = preprocessing.network(variant, x)
    values = x[..., 0].astype(float) * 120 - 80
    values = values if decibels else 10 ** (values / 20)
    values = values * np.array(network.gain)[:, None] + np.array(network.offset)[:, None]
    assert values.mean(axis=(0, 2)) == pytest.approx(np.zeros(96), abs=1e-4)
    assert values.std(axis=(0, 2)) == pytest.approx(np.ones(96), abs=1e-4)


def test_a_constant_frequency_and_a_silent_clip_stay_finite():
    x = spectrograms(2)
    x[:, 5], x[1] = 0.25, 0.0
    for decibels in (True, False):
        network = preprocessing.network(Variant(decibels=decibels, weighting="per_frequency"), x[:1])
        assert network.gain[5] == 1
        assert np.isfinite(preprocessing.prepared(network, x)).all()
    assert (preprocessing.prepared(Network(Variant()), x)[1] == 0).all()


def test_a_weighting_is_that_of_the_standard():
    """IEC 61672-1, table 3."""
    front_end = Variant().front_end
    decibels = preprocessing.network(Variant(weighting="a_weighting")).offset
    frequencies = front_end.frequencies()
    for frequency, expected in ((100, -19.1), (200, -10.9), (1000, 0.0), (2500, 1.3), (5000, 0.5)):
        assert np.interp(frequency, frequencies, decibels) == pytest.approx(expected, abs=0.3)
    gain = preprocessing.network(Variant(decibels=False, weighting="a_weighting")).gain
    assert 20 * np.log10(gain) == pytest.approx(np.array(decibels))


def test_bad_variants_are_refused():
    with pytest.raises(ValueError, match="weighting must be one of bypass, per_frequency, a_weighting"):
        Variant(weighting="whitening")
    with pytest.raises(ValueError, match="needs training clips. Got none"):
        preprocessing.network(Variant(weighting="per_frequency"))


def test_the_first_variant_is_the_compact_convnet():
    x = spectrograms()
    built = Network(Variant()).build(n_outputs=5, input_shape=x.shape[1:], width=0.25)
    compact = models.build("compact_convnet", n_outputs=5, width=0.25)
    assert built.count_params() == compact.count_params() + 2 * 96
    compact.set_weights(built.get_weights()[2:])
    np.testing.assert_allclose(built.predict(x, verbose=0), compact.predict(x, verbose=0), atol=1e-4)


def test_initialisations_are_he_normal_and_repeatable():
    shape = spectrograms().shape[1:]
    first, again, other = (
        Network(Variant(), initialisation=k).build(n_outputs=5, input_shape=shape).get_weights() for k in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    kernels = [w for w in first if w.ndim == 4]
    assert len(kernels) == 5
    for kernel, changed in zip(kernels, [w for w in other if w.ndim == 4], strict=True):
        assert not np.array_equal(kernel, changed)
        assert kernel.std() == pytest.approx(np.sqrt(2 / np.prod(kernel.shape[:3])), rel=0.25)


@pytest.mark.parametrize("kind", ["mel", "stft"])
def test_waveforms_give_the_scores_of_stored_spectrograms(kind):
    """The front end inside the model sees the samples that the stored spectrogram was computed from."""
    variant, rng = Variant(kind), np.random.default_rng(0)
    front_end, n = variant.front_end, FRAMES * 256
    y = (0.2 * np.sin(np.linspace(0, 4e5, n + 5000)) + 0.05 * rng.standard_normal(n + 5000)).astype(np.float32)
    stored = front_end.scale(front_end.compute(y))[:, :FRAMES]
    built = [Network(variant).build(n_outputs=3, input_shape=s, width=0.1) for s in ((n, 1), (*stored.shape, 1))]
    built[1].set_weights(built[0].get_weights())
    inside = keras.Model(built[0].input, built[0].get_layer("preprocessing").output)(y[None, :n, None])
    outside = preprocessing.prepared(Network(variant), stored[None, ..., None])
    # The deviation of these decibels is above 1, so a thousandth of a decibel is less here.
    np.testing.assert_allclose(ops.convert_to_numpy(inside)[..., 0], outside, atol=1e-3)
    scores = [m.predict(x, verbose=0) for m, x in zip(built, (y[None, :n, None], stored[None, ..., None]), strict=True)]
    np.testing.assert_allclose(*scores, atol=1e-4)


@pytest.mark.parametrize("kind", ["mel", "stft"])
def test_the_front_end_inside_is_the_stored_one_to_a_thousandth_of_a_decibel(kind):
    y = 0.3 * np.random.default_rng(0).uniform(-1, 1, 24000).astype(np.float32) * np.linspace(0, 1, 24000) ** 4
    assert 0 < preprocessing.front_end_error(Variant(kind), y.astype(np.float32)) < 1e-3


def test_the_factor_is_undone_by_the_first_batch_normalisation():
    """In training, what the second convolution sees is the same but for the epsilon of the normalisation."""
    assert 0 < preprocessing.factor_error(spectrograms(), width=0.25) < 0.01
    assert preprocessing.factor_error(spectrograms(), factor=1, width=0.25) == 0


def test_the_grid_has_every_training_once():
    plans = preprocessing.grid(initialisations=3, repeats=2, shares=[0.5, 1.0], share_repeats=1)
    assert len(plans) == len(set(plans)) == 3 + 11 * 2 + 1 + 2
    assert plans[:3] == [Plan(Variant(), initialisation=k) for k in range(3)]
    assert Plan(Variant("stft"), 0.5) in plans
    single = preprocessing.grid(initialisations=1, repeats=1, shares=[], share_repeats=1, crossed=False)
    assert [plan.variant.name for plan in single] == [
        "mel, decibels, bypass, x1",
        "mel, decibels, bypass, x10",
        "mel, decibels, per frequency, x1",
        "mel, decibels, a weighting, x1",
        "mel, linear, bypass, x1",
    ]


def problem(n=24):
    """Clips that either have loud high frequencies or do not."""
    ids, rng = [f"clip{k}" for k in range(n)], np.random.default_rng(0)
    bright = np.arange(n) % 2 == 0
    levels = rng.integers(60, 120, (n, 96, FRAMES)) + 60 * (bright[:, None, None] & (np.arange(96)[:, None] > 48))
    labels = pd.DataFrame({"bright": bright, "dark": ~bright}, index=ids)
    split = pd.Series(np.repeat(["train", "validation", "test"], [n - 10, 4, 6]), index=ids)
    return ArrayStore(levels.astype(np.uint8), ids), labels, split


def test_trainings_differ_in_weights_and_steps_only():
    store, labels, split = problem()
    plans = [Plan(Variant(weighting="per_frequency", factor=10), share=0.5, initialisation=3), Plan(Variant())]
    half, whole = preprocessing.tasks(plans, {"mel": store}, labels, split, epochs=2, width=0.1)
    assert half.split.value_counts().to_dict() == {"train": 7, "test": 6, "validation": 4}
    assert half.protocol.phases[0]["epochs"] == 2 * whole.protocol.phases[0]["epochs"]
    assert (half.job.seed, half.network.initialisation, half.network.variant.factor) == (0, 3, 10)
    assert len(half.network.gain) == 96
    assert half.name != whole.name
    assert half.key != dataclasses.replace(half, network=dataclasses.replace(half.network, initialisation=4)).key
    store.front_end = Variant().waveform
    with pytest.raises(ValueError, match="needs stored spectrograms. Got waveforms"):
        preprocessing.tasks(plans, {"mel": store}, labels, split)


def test_a_training_learns_and_is_scored_by_tag(tmp_path):
    store, labels, split = problem()
    plans = [Plan(Variant())]
    overrides = {"learning_rate": 0.02, "batch_size": 7, "prior_bias": True}
    task = preprocessing.tasks(plans, {"mel": store}, labels, split, epochs=4, width=0.1, norm_momentum=0.5,
                               overrides=overrides)[0]  # fmt: skip
    result = task.train(tmp_path)
    table = preprocessing.results_table(plans, [result], labels)
    assert list(table.columns) == ["bright", "dark"]
    assert table.index.names == ["kind", "decibels", "weighting", "factor", "share", "initialisation"]
    assert table.to_numpy().min() > 0.9
    assert preprocessing.first_biases(result) >= 0


def test_average_magnitudes_and_histograms():
    x = spectrograms(8)
    linear = Variant(decibels=False)
    networks = {variant.name: preprocessing.network(variant, x) for variant in
                (Variant(), Variant(weighting="per_frequency"), linear)}  # fmt: skip
    means = preprocessing.average_magnitudes(networks, x)
    assert means.index.name == "frequency"
    assert np.ptp(means.iloc[:, 0]) > 5 * np.ptp(means.iloc[:, 1])  # whitening makes them flat
    own, other = (preprocessing.histogram(preprocessing.prepared(networks[v.name], x)) for v in (Variant(), linear))
    for one in (own, other):
        assert np.sum(one["density"] * np.diff(one["edges"])) == pytest.approx(1)
    assert other["skewness"] > own["skewness"] + 1
    gauss = preprocessing.histogram(np.random.default_rng(0).standard_normal(200_000))
    assert (abs(gauss["skewness"]) < 0.05) & (abs(gauss["excess_kurtosis"]) < 0.1)


def areas(*, decibels=0.05, factor=0.0, noise=0.002, initialisations=5, tags=30, seed=0):
    """Areas of a full grid in which some steps have a known effect."""
    rng = np.random.default_rng(seed)
    plans = preprocessing.grid(initialisations=initialisations, repeats=initialisations, shares=[0.25, 0.5, 1.0],
                               share_repeats=initialisations)  # fmt: skip
    ease, rows = rng.uniform(0.6, 0.8, tags), {}
    for plan in plans:
        v = plan.variant
        value = ease + decibels * v.decibels + factor * (v.factor == 10) + 0.03 * np.log2(plan.share)
        value = value + noise * rng.standard_normal() + noise * rng.standard_normal(tags)
        rows[(*dataclasses.astuple(v), plan.share, plan.initialisation)] = value
    names = ["kind", "decibels", "weighting", "factor", "share", "initialisation"]
    return pd.DataFrame(
        list(rows.values()), pd.MultiIndex.from_tuples(rows, names=names), [f"t{k}" for k in range(tags)]
    )


def test_known_effects_are_recovered():
    table = paired.effects(areas(), margin=0.005, repeats=1000)
    assert table.at["decibels", "difference"] == pytest.approx(0.05, abs=0.002)
    assert table["verdict"].to_dict() == {
        "decibels": "changes the score",
        **dict.fromkeys(("factor 10", "A-weighting", "standardisation per frequency"), "less than the margin"),
    }
    assert (table["pairs"].to_list(), table.at["decibels", "trainings"]) == ([30, 30, 20, 20], 5)
    assert (table["low"] < table["difference"]).all()
    assert (table["high"] > table["difference"]).all()
    assert "decibels matter and the rest hardly does, as the thesis says" in paired.answer(table, margin=0.005)


def test_the_sentence_follows_the_numbers():
    sentences = {
        "is not confirmed here": dict(factor=0.03),
        "that the rest hardly does is not shown": dict(noise=0.02),
        "lower ROC-AUC by": dict(decibels=-0.05),
        "Decibels change ROC-AUC by less than 0.005": dict(decibels=0.0),
        "do not decide whether decibels matter": dict(decibels=0.0, noise=0.03),
        "the score is changed by factor 10": dict(factor=0.03),
    }
    for words, changed in sentences.items():
        assert words in paired.answer(paired.effects(areas(**changed), margin=0.005, repeats=500), margin=0.005), words


def test_no_effect_is_seldom_significant():
    p = [paired.effects(areas(decibels=0, seed=s, initialisations=3, tags=12), margin=0.005, repeats=200)["p"].min()
         for s in range(40)]  # fmt: skip
    assert np.mean(np.array(p) < 0.05) <= 0.1  # the correction holds for all steps together


def test_one_pair_of_trainings_decides_nothing():
    table = areas(initialisations=1)
    two = table.loc[[("mel", decibels, "bypass", 1, 1.0, 0) for decibels in (True, False)]]
    table = paired.effects(two, margin=0.5, steps={"decibels": paired.EFFECTS["decibels"]})
    assert (table["trainings"].item(), table["verdict"].item()) == (1, "undecided")
    with pytest.raises(ValueError, match="no two trainings that differ in this step only"):
        paired.effects(two.iloc[:1], margin=0.5)


def test_holm_is_that_of_its_paper():
    assert paired.holm([0.01, 0.02, 0.03, 0.5]) == pytest.approx([0.04, 0.06, 0.06, 0.5])
    assert paired.holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])


def test_front_ends_are_compared_on_equal_shares():
    table = paired.by_share(areas(), margin=0.005, repeats=500)
    assert table.index.tolist() == [0.25, 0.5, 1.0]
    assert (table["difference"] - (table["stft"] - table["mel"])).abs().max() < 1e-12
    assert (table["verdict"] == "less than the margin").all()
    assert table["mel"].diff().iloc[1:].to_numpy() == pytest.approx([0.03, 0.03], abs=0.004)
    with pytest.raises(ValueError, match="no two trainings that differ in stft and mel only"):
        paired.by_share(areas().drop("stft", level="kind"), margin=0.005)


def test_initialisations_and_the_worth_of_decibels():
    table = areas(noise=0.001)
    spread = paired.initialisations(table)
    scores = table.xs(("mel", True, "bypass", 1, 1.0), level=[0, 1, 2, 3, 4]).mean(axis=1)
    assert (spread["trainings"], spread["deviation"]) == (5, pytest.approx(scores.std()))
    assert spread["largest"] <= spread["range"] <= 2 * spread["largest"]
    assert paired.data_worth(areas(decibels=0.03, noise=1e-6))["share"] == pytest.approx(0.5, rel=0.01)
    assert np.isnan(paired.data_worth(areas(decibels=0.2))["share"])
    assert paired.data_worth(areas(decibels=-0.1))["share"] == np.inf

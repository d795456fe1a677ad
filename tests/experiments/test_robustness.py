"""Deformed clips: scores, measures and their resamples, and reasons that move with a planted sound."""

import keras
import numpy as np
import pandas as pd
import pytest
import soundfile

from musictools import audio, evaluation
from musictools.experiments import robustness, robustness_reasons
from musictools.inference import Tagger
from musictools.models.card import ModelCard
from musictools.spectrograms import FrontEnd

SR = 16000
FRONT_END = FrontEnd(SR, 1024, 256, 64)
N_FRAMES = 100


def burst(frequency, *, start=0.5, seconds=2.5, seed=0):
    """Three bursts of a tone over faint noise."""
    t = np.arange(round(SR * seconds)) / SR
    on = sum((t > s) & (t < s + 0.15) for s in (start, start + 0.5, start + 1.3))
    y = 0.5 * on * np.sin(2 * np.pi * frequency * t) + 1e-3 * np.random.default_rng(seed).standard_normal(t.size)
    return y.astype(np.float32), SR


def detector():
    """A network set by hand: the tag "burst" is the mean of what is louder than 10 dB; "silence" is its opposite."""
    inputs = keras.Input((64, N_FRAMES, 1))
    conv = keras.layers.Conv2D(1, 1, activation="relu")
    x = keras.layers.GlobalAveragePooling2D()(conv(inputs))
    dense = keras.layers.Dense(2, name="logits")
    model = keras.Model(inputs, keras.layers.Activation("sigmoid", name="sigmoid")(dense(x)))
    threshold = (10 - FRONT_END.floor) / (FRONT_END.ceiling - FRONT_END.floor)
    conv.set_weights([np.ones((1, 1, 1, 1)), np.array([-threshold])])
    dense.set_weights([np.array([[20000.0, -20000.0]]), np.array([-1.0, 1.0])])
    card = ModelCard(
        task="tags", model="set", outputs=["burst", "silence"], length=N_FRAMES, step=50, front_end=FRONT_END
    )
    return Tagger(model, card)


def half(tagger):
    return pd.Series(0.5, tagger.tags)


def test_reasons_follow_a_planted_source():
    tagger = detector()
    names = ["pitch up", "pitch down", "faster", "slower", "compressed strongly", "noise 0.1"]
    rows = robustness_reasons.reasons(
        tagger,
        burst,
        [900.0, 2000.0],
        deformations=names,
        thresholds=half(tagger),
        seconds=2.5,
        method="input_x_gradient",
    )
    assert list(rows["tag"].unique()) == ["burst"]
    assert rows["kept"].all()
    assert len(rows) == 12
    table = robustness_reasons.reasons_table(rows, repeats=20).set_index("deformation")
    assert list(table.index) == names
    assert (table["correlation"] >= 0.8).all()
    assert (table.loc[["faster", "slower"], "control"] < 0.5).all()
    assert (table["correlation_low"] <= table["correlation"]).all()
    assert (table["overlap"] > 0.6).all()


def test_reasons_of_a_tag_that_is_lost_do_not_count():
    tagger = detector()
    rows = robustness_reasons.reasons(
        tagger, burst, [900.0], deformations=["noise 0.1"], thresholds=pd.Series({"burst": 0.999999, "silence": 0.5})
    )
    assert not len(rows)
    quiet = detector()
    quiet.model.layers[-2].set_weights([np.array([[200.0, 0.0]]), np.array([-3.0, -1.0])])
    before = quiet.taggram(*burst(900.0)[:1], sr=SR).joined()["burst"]
    rows = robustness_reasons.reasons(
        quiet,
        burst,
        [900.0],
        deformations=["noise 0.4"],
        thresholds=pd.Series({"burst": before - 1e-3, "silence": 0.9}),
        seconds=2.5,
    )
    assert not rows["kept"].any()
    table = robustness_reasons.reasons_table(rows)
    assert table["maps"].tolist() == [0]
    assert table["lowered"].item() == pytest.approx(rows["before"].item() - rows["after"].item())
    assert np.isnan(table["correlation"].item())


def test_only_true_tags_are_explained():
    tagger, truth = detector(), pd.DataFrame({"burst": [False], "silence": [True]}, index=[900.0])
    rows = robustness_reasons.reasons(
        tagger, burst, [900.0], deformations=["noise 0.1"], thresholds=half(tagger), truth=truth, seconds=2.5
    )
    assert not len(rows)


def test_scores_are_those_of_the_deformed_clips():
    tagger = detector()
    scores = robustness.clip_scores(
        {"set": tagger}, burst, [900.0, 2000.0], deformations=["faster", "noise 0.2"], seed=3
    )
    assert list(scores.index.unique("deformation")) == [robustness.CLEAN, "faster", "noise 0.2"]
    for deformation, changed in (
        (robustness.CLEAN, burst(900.0)[0]),
        ("faster", audio.deform(burst(900.0)[0], sr=SR, kind="time_stretch", amount=2**0.5)),
        ("noise 0.2", audio.deform(burst(900.0)[0], sr=SR, kind="noise", amount=0.2, seed=3)),
    ):
        np.testing.assert_allclose(
            scores.loc["set", deformation, 900.0], tagger.taggram(changed, sr=SR).joined(), rtol=1e-5
        )


def tags_of(n_clips=30, n_tags=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.random((n_clips, n_tags)) < 0.4
    scores = np.round(0.3 * labels + rng.random((n_clips, n_tags)), 1) / 1.4  # many are equal
    return labels, scores


def test_measures_of_resamples_are_those_of_repeated_examples():
    labels, scores = tags_of()
    labels[:, 3] = False
    labels[:2, 3] = True  # not in every resample
    thresholds, artists = np.array([0.3, 0.4, 0.5, 0.6]), np.arange(30) // 3
    weights = robustness._resamples(artists, 25, 0)
    assert weights[0].tolist() == [1] * 30
    assert set(weights[:, ::3].sum(axis=1)) == {10}
    values = robustness._measures(labels, scores, thresholds, weights)
    for k, row in enumerate(weights.astype(int)):
        chosen = np.repeat(np.arange(30), row)
        expected = evaluation.tag_metrics(labels[chosen], scores[chosen], thresholds=thresholds)
        for name in robustness.MEASURES:
            assert values[name][k] == pytest.approx(expected[name], abs=1e-12), name


def table_of_scores():
    """Clips as they are, the same again, and with half of the scores drawn anew."""
    labels, scores = tags_of(60)
    worse = np.where(
        np.random.default_rng(5).random(scores.shape) < 0.5, scores, np.random.default_rng(6).random(scores.shape)
    )
    index = pd.MultiIndex.from_product(
        [["one"], [robustness.CLEAN, "faster", "noise 0.4"], range(60)], names=["model", "deformation", "clip"]
    )
    columns = ["a", "b", "c", "d"]
    table = pd.DataFrame(np.concatenate([scores, scores, worse]), index, columns).assign(unknown=np.nan, unlabelled=0.5)
    return table, pd.DataFrame(labels, columns=columns)


def test_performance_and_its_loss():
    table, truth = table_of_scores()
    thresholds = {"one": pd.Series(0.5, truth.columns)}
    result = robustness.performance(
        table, truth, thresholds=thresholds, artists=pd.Series(np.arange(60) // 2), repeats=100
    ).set_index("deformation")
    expected = evaluation.tag_metrics(
        truth.to_numpy(), table.xs(robustness.CLEAN, level="deformation").iloc[:, :4].to_numpy()
    )
    for name in robustness.MEASURES:
        assert result.at[robustness.CLEAN, name] == pytest.approx(expected[name])
        assert result.at["faster", name] == result.at[robustness.CLEAN, name]
        assert (result[f"{name}_low"] < result[name]).all()
        assert (result[f"{name}_high"] > result[name]).all()
    assert result.loc["faster", ["drop", "drop_low", "drop_high"]].tolist() == [0, 0, 0]
    lost = result.loc[robustness.CLEAN, "roc_auc"] - result.loc["noise 0.4", "roc_auc"]
    assert result.at["noise 0.4", "drop"] == pytest.approx(lost)
    assert 0 < result.at["noise 0.4", "drop_low"] < lost

    figure = robustness.as_published(result.reset_index(), names={"fcn4": "one", "musicnn": "absent"}).set_index(
        "model"
    )
    assert list(figure.index) == ["fcn4"]
    assert figure.at["fcn4", "clean"] == result.at[robustness.CLEAN, "roc_auc"]
    assert figure.at["fcn4", "time_stretch"] == result.at["faster", "roc_auc"]
    assert figure.at["fcn4", "white_noise_0_4"] == result.at["noise 0.4", "roc_auc"]
    assert "pitch_shift" not in figure
    assert not len(robustness.as_published(result.reset_index(), names={"musicnn": "absent"}))


def test_changes_of_tags():
    table, truth = table_of_scores()
    table = table.drop(columns="unlabelled")
    result = robustness.changes(table, thresholds={"one": pd.Series(0.5, truth.columns)}, top=2).set_index(
        "deformation"
    )
    assert result.loc["faster", ["change", "correlation", "top", "kept", "added"]].tolist() == pytest.approx(
        [0, 1, 1, 1, 0]
    )
    worse = result.loc["noise 0.4"]
    before, after = (
        table.xs(name, level="deformation").droplevel(0).iloc[:, :4] for name in (robustness.CLEAN, "noise 0.4")
    )
    assert worse["change"] == pytest.approx(np.abs(before - after).to_numpy().mean())
    assert worse["added"] == pytest.approx(((after > 0.5) & ~(before > 0.5)).sum(axis=1).mean())
    assert worse["kept"] < 1
    assert worse["top"] < 1


def test_maps_to_look_at():
    tagger, (y, _) = detector(), burst(900.0)
    maps = robustness_reasons.moved_maps(
        tagger, y, "burst", deformations=["pitch up", "faster"], method="input_x_gradient"
    )
    assert list(maps) == [robustness.CLEAN, "pitch up", "faster"]
    for one in maps.values():
        assert one["expected"].shape == one["actual"].shape == one["S"].shape
        assert np.isfinite(one["expected"]).all()
    np.testing.assert_array_equal(maps[robustness.CLEAN]["expected"], maps[robustness.CLEAN]["actual"])
    assert maps["faster"]["S"].shape[1] < maps[robustness.CLEAN]["S"].shape[1]


def test_excerpts(tmp_path):
    soundfile.write(tmp_path / "song.wav", np.linspace(-0.5, 0.5, 8000), 8000)
    y, sr = robustness.Excerpt(sr=SR, seconds=0.25)(tmp_path / "song.wav")
    assert (len(y), sr) == (4000, SR)
    tagger = detector()
    middle = robustness_reasons.excerpt(np.arange(SR * 4.0), SR, tagger, 2.0)
    assert len(middle) == 2 * SR
    assert middle[0] == SR
    assert len(robustness_reasons.excerpt(np.arange(SR * 4.0), SR, tagger, 0.1)) == N_FRAMES * 256  # one input


def test_survival_of_a_score():
    tagger, (y, _) = detector(), burst(900.0)
    scores = robustness.survival(tagger, y, "burst")
    assert scores.iloc[0] == pytest.approx(tagger.taggram(y, sr=SR).joined()["burst"])
    assert scores.index[1] == "16 bits"
    assert scores.iloc[1] == pytest.approx(scores.iloc[0], abs=1e-3)
    assert np.isfinite(scores).all()


def test_thresholds_are_the_cards_or_one_half():
    tagger = detector()
    assert robustness.thresholds(tagger).to_dict() == {"burst": 0.5, "silence": 0.5}
    card = tagger.card.model_copy(update={"thresholds": {"f1": {"silence": 0.2, "burst": 0.7}}})
    assert robustness.thresholds(Tagger(tagger.model, card)).to_dict() == {"burst": 0.7, "silence": 0.2}


def test_before_and_after():
    tagger, (y, _) = detector(), burst(900.0)
    options = {"method": "input_x_gradient"}
    same = robustness_reasons.before_and_after(tagger, y, y, ["burst", "silence"], **options)
    assert same[["correlation", "overlap", "energy"]].to_numpy().tolist() == pytest.approx(np.ones((2, 3)))
    assert (same["before"] == same["after"]).all()
    other = robustness_reasons.before_and_after(tagger, y, burst(3000.0)[0], ["burst"], **options)
    assert other["correlation"].item() < 0.5
    assert other["overlap"].item() < 0.5

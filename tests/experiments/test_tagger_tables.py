"""Tables of taggers by hand: thresholds, rules, ensemble, baselines, intervals, joined segments."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from musictools.experiments import jobs
from musictools.experiments import tagger_tables as comparison

NAMES = ["a", "b"]


def clips(name, validation, hold_out):
    return comparison.Clips(
        name,
        pd.DataFrame(validation, index=[f"v{k}" for k in range(len(validation))], columns=NAMES),
        pd.DataFrame(hold_out, index=[f"h{k}" for k in range(len(hold_out))], columns=NAMES),
    )


@pytest.fixture
def table():
    """Four clips each; model good knows tag a, model other tag b."""
    truth = [[1, 0], [1, 0], [0, 1], [0, 1]]
    labels = pd.DataFrame(
        np.array(truth * 2, bool), columns=NAMES, index=[f"{part}{k}" for part in "vh" for k in range(4)]
    )
    good = clips(
        "good", [[0.9, 0.9], [0.7, 0.6], [0.2, 0.4], [0.1, 0.1]], [[0.8, 0.6], [0.4, 0.7], [0.2, 0.4], [0.1, 0.3]]
    )
    other = clips(
        "other", [[0.1, 0.1], [0.4, 0.2], [0.6, 0.6], [0.9, 0.7]], [[0.1, 0.2], [0.6, 0.1], [0.4, 0.9], [0.9, 0.8]]
    )
    return SimpleNamespace(labels=labels, good=good, other=other)


def test_thresholds_are_chosen_on_validation_only(table):
    values = comparison.rule_thresholds(table.good, table.labels, rule="f1")
    assert values["a"] == pytest.approx((0.7 + 0.2) / 2)
    assert list(comparison.rule_thresholds(table.good, table.labels, rule="half")) == [0.5, 0.5]
    changed, labels = (
        clips("good", table.good.validation.to_numpy(), np.random.default_rng(0).random((4, 2))),
        (table.labels.copy()),
    )
    labels.loc[["h0", "h1", "h2"]] = ~labels.loc[["h0", "h1", "h2"]]
    for rule in comparison.RULES:
        one, other = (
            comparison.rule_thresholds(c, y, rule=rule) for c, y in ((table.good, table.labels), (changed, labels))
        )
        pd.testing.assert_series_equal(one, other)
    with pytest.raises(ValueError, match="rule must be one of half, f1, precision. Got 'best'"):
        comparison.rule_thresholds(table.good, table.labels, rule="best")


def test_tables_take_the_columns_by_their_names(table):
    """Labels may stand in another order and have more tags than the model."""
    more = table.labels.assign(z=True)[["z", "b", "a"]]
    for rule in comparison.RULES:
        pd.testing.assert_series_equal(
            comparison.rule_thresholds(table.good, more, rule=rule),
            comparison.rule_thresholds(table.good, table.labels, rule=rule),
        )
    both = [table.good, table.other]
    for function in (comparison.clip_table, comparison.threshold_table, comparison.per_tag):
        pd.testing.assert_frame_equal(function(both, more), function(both, table.labels))
    pd.testing.assert_series_equal(comparison.ensemble(both, more)[1], comparison.ensemble(both, table.labels)[1])


def test_the_table_of_rules_counts_by_hand(table):
    rows = comparison.threshold_table([table.good], table.labels).set_index("rule")
    assert list(rows.index) == ["half", "f1", "precision"]
    # a: {0.8, 0.4 | 0.2, 0.1} above 0.5: h0. b: {0.6, 0.7 | 0.4, 0.3} above 0.5: h0 and h1, both wrong.
    assert rows.loc["half", "average_tags"] == pytest.approx(3 / 4)
    assert rows.loc["half", "micro_precision"] == pytest.approx(1 / 3)
    assert rows.loc["half", "micro_recall"] == pytest.approx(1 / 4)
    # f1: a above 0.45: h0. b above 0.05, since only all four give its two clips: all.
    assert rows.loc["f1", "average_tags"] == pytest.approx(5 / 4)
    assert rows.loc["f1", "micro_precision"] == pytest.approx(3 / 5)
    assert rows.loc["f1", "micro_recall"] == pytest.approx(3 / 4)
    inverted = comparison.threshold_table([table.good], table.labels, choose_labels=~table.labels).set_index("rule")
    assert inverted.loc["half"].equals(rows.loc["half"])
    assert not inverted.loc["f1"].equals(rows.loc["f1"])


def test_the_ensemble_takes_for_each_tag_the_model_that_is_best_on_validation(table):
    joined, chosen = comparison.ensemble([table.good, table.other], table.labels, shrink=0)
    assert chosen.to_dict() == {"a": "good", "b": "other"}
    assert joined.tags == NAMES
    pd.testing.assert_series_equal(joined.hold_out["a"], table.good.hold_out["a"])
    pd.testing.assert_series_equal(joined.hold_out["b"], table.other.hold_out["b"])
    pd.testing.assert_series_equal(joined.validation["b"], table.other.validation["b"])
    labels = table.labels.copy()
    labels.loc[[f"h{k}" for k in range(4)]] = False  # of the hold-out nothing is used
    assert comparison.ensemble([table.good, table.other], labels, shrink=0)[1].equals(chosen)
    labels.loc[[f"v{k}" for k in range(4)], "b"] = False  # b does not occur: the model that is best on the others
    assert comparison.ensemble([table.good, table.other], labels, shrink=0)[1].to_dict() == {"a": "good", "b": "good"}


def test_few_clips_decide_little_in_the_ensemble(table):
    table.other.validation["a"] = [0.5, 0.1, 0.4, 0.3]  # not as bad as it was: better than the good one on the whole
    both = [table.good, table.other]
    assert comparison.ensemble(both, table.labels, shrink=0)[1].to_dict() == {"a": "good", "b": "other"}
    assert comparison.ensemble(both, table.labels, shrink=1e9)[1].to_dict() == {"a": "other", "b": "other"}


def test_the_frequency_of_tags_knows_nothing():
    rng = np.random.default_rng(0)
    labels = pd.DataFrame(rng.random((90, 2)) < (0.3, 0.7), columns=NAMES)
    prior = comparison.prior_baseline(labels.loc[:49], validation=range(50, 70), hold_out=range(70, 90))
    np.testing.assert_allclose(prior.hold_out.iloc[3], labels.loc[:49].mean())
    assert (prior.validation.shape, prior.hold_out.shape) == ((20, 2), (20, 2))
    row = comparison.clip_table([prior], labels).iloc[0]  # the curve has two points, (0, 1) and (1, share)
    assert row["roc_auc"] == 0.5
    assert row["pr_auc"] == pytest.approx((1 + labels.loc[70:].mean().mean()) / 2, abs=0.01)
    assert row["average_precision"] == pytest.approx(labels.loc[70:].mean().mean())


def test_a_linear_model_of_features_finds_what_is_linear():
    rng = np.random.default_rng(0)
    mfcc = pd.DataFrame(rng.normal(size=(200, 5)) * (1, 100, 0.01, 1, 1))
    labels = pd.DataFrame({"left": mfcc[1] > 20, "noise": rng.random(200) < 0.5, "all": True, "none": False})
    baseline = comparison.mfcc_baseline(mfcc, labels.loc[:119], validation=range(120, 150), hold_out=range(150, 200))
    table = comparison.per_tag([baseline], labels).iloc[0]
    assert table["left"] > 0.99
    assert 0.2 < table["noise"] < 0.8
    assert (baseline.hold_out["all"] == 1).all()
    assert (baseline.hold_out["none"] == 0).all()
    assert table[["all", "none"]].isna().all()


def test_rows_for_seen_and_unseen_artists(table):
    groups = pd.Series({"h0": "seen", "h1": "unseen", "h2": "seen", "h3": "unseen", "v0": "seen"})
    rows = comparison.clip_table([table.good, table.other], table.labels, groups=groups)
    assert list(zip(rows["model"], rows["clips"], rows["n_clips"], strict=True)) == [
        (m, c, n) for m in ("good", "other") for c, n in (("all", 4), ("seen", 2), ("unseen", 2))
    ]
    rows = rows.set_index(["model", "clips"])
    assert rows.loc[("good", "all"), "roc_auc"] == pytest.approx((1 + 0) / 2)
    # other: a has 0.1 against 0.4 (seen) and 0.6 against 0.9 (unseen); b is right everywhere.
    assert rows.loc[("other", "seen"), "roc_auc"] == pytest.approx((0 + 1) / 2)
    assert rows.loc[("other", "all"), "roc_auc"] == pytest.approx((1 / 4 + 1) / 2)
    assert rows.loc[("other", "unseen"), "micro_recall"] == pytest.approx(1.0)
    assert rows.loc[("other", "unseen"), "micro_precision"] == pytest.approx(2 / 3)


def test_a_measure_tag_by_tag(table):
    areas = comparison.per_tag([table.good, table.other], table.labels)
    assert areas.index.name == "model"
    assert areas.loc["good"].to_dict() == {"a": 1.0, "b": 0.0}
    recall = comparison.per_tag([table.good], table.labels, measure="recall", threshold=0.3)
    assert recall.loc["good"].to_dict() == {"a": 1.0, "b": 0.5}


def test_intervals_hold_their_value_and_are_narrower_with_more_clips():
    rng = np.random.default_rng(0)
    widths = []
    for n in (40, 1000):
        y = rng.random((n, 2)) < 0.5
        model = clips("m", np.zeros((1, 2)), np.clip(0.3 * y + 0.7 * rng.random((n, 2)), 0, 1))
        labels = pd.DataFrame(y, index=model.hold_out.index, columns=NAMES)
        rows = comparison.interval_table([model], labels, repeats=100)
        row = rows.loc["m"]
        assert row["roc_auc_low"] < row["roc_auc"] < row["roc_auc_high"]
        assert row["roc_auc"] == pytest.approx(comparison.clip_table([model], labels)["roc_auc"].iloc[0])
        pd.testing.assert_frame_equal(rows, comparison.interval_table([model], labels, repeats=100))
        widths.append(row["roc_auc_high"] - row["roc_auc_low"])
    assert widths[1] < 0.4 * widths[0]


def test_intervals_of_taggers_resample_artists():
    """Six artists with twenty equal clips each: resampled as clips they would seem to be 120 observations."""
    ids = np.arange(120)
    y = np.repeat([[1, 0], [0, 1], [1, 0], [0, 1], [1, 1], [0, 0]], 20, axis=0).astype(bool)
    scores = np.repeat([[0.9, 0.1], [0.2, 0.8], [0.1, 0.6], [0.6, 0.3], [0.7, 0.9], [0.3, 0.2]], 20, axis=0)
    table = pd.DataFrame(scores, ids, NAMES)
    clips, labels = comparison.Clips("m", table, table), pd.DataFrame(y, ids, NAMES)
    artists = pd.Series(np.repeat(list("uvwxyz"), 20), ids)
    by_clip, by_artist = (
        comparison.interval_table([clips], labels, artists=groups, repeats=200).loc["m"] for groups in (None, artists)
    )
    assert by_clip["roc_auc"] == by_artist["roc_auc"]
    assert by_artist["roc_auc_high"] - by_artist["roc_auc_low"] > 2 * (by_clip["roc_auc_high"] - by_clip["roc_auc_low"])
    assert by_clip["roc_auc_undefined"] == 0
    one = comparison.interval_table([clips], labels, artists=artists.where(artists < "w", "w"), repeats=200).loc["m"]
    assert 0 < one["roc_auc_undefined"] < 30  # u or v thrice: 2 in 27 resamples have no tag with both classes


def test_segments_are_joined_to_clips_by_mean_or_union():
    scores = {
        part: np.array([[0.2, 0.4], [0.6, 0.0], [0.5, 0.5]], np.float32) for part in ("validation", "hold_out", "test")
    }
    clip = {part: np.array([f"{part[0]}1", f"{part[0]}1", f"{part[0]}0"]) for part in scores}
    result = jobs.Result(
        job=jobs.Job(model="m", n_tags=2, labels="annotated", protocol="p"),
        classes=tuple(NAMES),
        history=pd.DataFrame(),
        scores=scores,
        clip=clip,
    )
    mean, union = (comparison.clip_scores(result, join=join).hold_out for join in ("mean", "union"))
    np.testing.assert_allclose(mean.loc["h1"], [0.4, 0.2], atol=1e-6)
    np.testing.assert_allclose(union.loc["h1"], [0.6, 0.4], atol=1e-6)
    np.testing.assert_allclose(mean.loc["h0"], [0.5, 0.5])
    labels = pd.DataFrame({"b": [True, False], "a": [False, True]}, index=["t1", "t0"])
    row = comparison.segment_table([result], labels).iloc[0]
    assert (row["model"], row["tags"]) == ("m", 2)
    # a is t0's: 0.5 lies between 0.2 and 0.6. b is t1's: 0.4 and 0.0 lie below 0.5. Above a half is one cell, wrongly.
    assert row["roc_auc"] == pytest.approx((0.5 + 0.0) / 2)
    assert row["accuracy"] == pytest.approx(2 / 6)
    assert row["micro_precision"] == row["micro_recall"] == 0


def test_presence_counts_the_clips_that_are_given(table):
    presence = pd.Series({"b": 70, "a": 20, "z": 1})
    top = comparison.top_tags(table.good, table.labels, presence, n=1)
    # a is predicted for h0 of h0 and h1; b for h0 and h1, wrongly
    assert top.to_dict("records") == [{"tag": "a", "presence": 20, "recall": 0.5, "precision": 1.0}]
    assert comparison.top_tags(table.good, table.labels, presence)["presence"].tolist() == [20, 70]


def test_songs_of_the_slides_are_joined_by_the_mean():
    scores = np.array([[0.2, 0.4], [0.6, 0.0], [0.5, 0.5]], np.float32)
    result = jobs.Result(
        job=jobs.Job(model="short_chunk_res", n_tags=2, labels="annotated", protocol="tagger_slides"),
        classes=tuple(NAMES),
        history=pd.DataFrame(),
        scores={"test": scores},
        clip={"test": np.array(["t1", "t1", "t0"])},
    )
    labels = pd.DataFrame({"b": [True, False], "a": [False, True]}, index=["t1", "t0"])
    row = comparison.slides_table([result], labels).iloc[0]
    assert row["model"] == "short_chunk"  # the slides' Short-chunk CNN has residual blocks
    assert row["roc_auc"] == pytest.approx((1.0 + 0.0) / 2)  # a: 0.5 above 0.4; b: 0.2 below 0.5
    assert list(row.index) == ["model", "roc_auc", "pr_auc", "average_precision", "mcc"]


def test_the_accuracy_that_does_not_fit_is_named():
    """Of 1,000 cells 100 are positive. With precision 0.5 and recall 0.4 there are 40 + 60 wrong ones."""
    table = pd.DataFrame({"tags": [50, 80], "accuracy": 0.9, "micro_precision": 0.5, "micro_recall": 0.4})
    other = table.assign(accuracy=[0.9, 0.8])
    said = comparison.accuracy_oddity({"one": table, "two": table, "three": other})
    assert said.startswith("The accuracy of three at 80 tags, 80.0%, seems")
    assert "imply 90.0%, and the other models have 90.0% to 90.0%" in said


def test_equal_areas_and_impossible_coefficients_of_the_slides_are_named():
    one = pd.DataFrame({"roc_auc": [0.9, 0.8, 0.7], "pr_auc": 0.4, "mcc": 0.8}, index=["a", "b", "c"])
    two, three = one.assign(roc_auc=[0.9, 0.81, 0.71]), one.assign(roc_auc=[0.9, 0.81, 0.72], mcc=0.82)
    areas, mcc = comparison.slides_oddities({"x": one, "y": two, "z": three})
    assert areas.startswith("a (0.9000) have the same ROC-AUC on all 3 data sets, b on two of them")
    assert mcc.startswith("The MCC lies between 0.80 and 0.82.")

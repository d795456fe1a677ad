"""Measures against scikit-learn, against hand-made cases, and intervals against their theory."""

import pickle

import keras
import numpy as np
import pytest
from sklearn import metrics

from musictools import evaluation


def some_scores(n=300, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    scores = rng.dirichlet(np.ones(classes), n) + 0.4 * np.eye(classes)[labels]
    return labels, scores / scores.sum(axis=1, keepdims=True)


def test_measures_equal_scikit_learns():
    labels, scores = some_scores()
    predicted = scores.argmax(axis=1)
    expected = {
        "accuracy": metrics.accuracy_score(labels, predicted),
        "precision": metrics.precision_score(labels, predicted, average="macro"),
        "recall": metrics.recall_score(labels, predicted, average="macro"),
        "roc_auc": metrics.roc_auc_score(labels, scores, average="macro", multi_class="ovr"),
    }
    assert evaluation.genre_metrics(labels, scores) == pytest.approx(expected)
    assert 0.4 < expected["accuracy"] < 0.95


def test_measures_by_hand():
    labels = np.array([0, 0, 1, 1, 1, 2])
    predicted = np.array([0, 1, 1, 1, 0, 1])
    scores = np.eye(3)[predicted]
    got = evaluation.genre_metrics(labels, scores)
    assert got["accuracy"] == pytest.approx(3 / 6)
    assert got["precision"] == pytest.approx((1 / 2 + 2 / 4 + 0) / 3)
    assert got["recall"] == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    # of class 0: pairs (in, out) ranked right, ties half: 1 of the 2 in and 3 of the 4 out are clear
    areas = [(1 * 3 + 1 * 1 * 0.5 + 1 * 3 * 0.5) / 8, (2 * 1 + 2 * 2 * 0.5 + 1 * 1 * 0.5) / 9, 0.5]
    assert got["roc_auc"] == pytest.approx(np.mean(areas))


def test_perfect_input_gives_one_and_reversed_input_nothing():
    labels = np.arange(12) % 3
    assert set(evaluation.genre_metrics(labels, np.eye(3)[labels]).values()) == {1.0}
    wrong = evaluation.genre_metrics(labels, (1 - np.eye(3)[labels]) / 2)
    assert wrong["accuracy"] == wrong["precision"] == wrong["recall"] == wrong["roc_auc"] == 0


def test_decisions_may_differ_from_the_scores():
    labels = np.array([0, 1, 1])
    got = evaluation.genre_metrics(labels, np.eye(2)[[0, 0, 0]], predicted=labels)
    assert got["accuracy"] == 1
    assert got["roc_auc"] == 0.5


def test_one_class_has_no_roc_auc_and_absent_classes_do_not_count():
    scores = np.array([[0.9, 0.1, 0], [0.8, 0.1, 0.1]])
    got = evaluation.genre_metrics(np.zeros(2, int), scores)
    assert got["accuracy"] == got["precision"] == got["recall"] == 1
    assert np.isnan(got["roc_auc"])
    labels, four = some_scores()
    five = np.hstack([four, np.zeros((len(four), 1))])
    assert evaluation.genre_metrics(labels, five) == pytest.approx(evaluation.genre_metrics(labels, four))


def test_clip_means_and_votes_by_hand():
    clip = np.array([3, 3, 3, 5, 5, 9, 9, 9, 9])
    scores = np.array(
        [
            [0.6, 0.4, 0],
            [0.6, 0.4, 0],
            [0, 1, 0],  # two votes for 0, mean for 1: 0 wins
            [0.9, 0.1, 0],
            [0.4, 0.6, 0],  # one vote each: 0 has the higher mean
            [0, 0.6, 0.4],
            [0, 0.6, 0.4],
            [0, 0, 1],
            [0, 0.4, 0.6],
        ]
    )  # two each: 2 has the higher mean
    clips, means = evaluation.mean_by_clip(scores, clip)
    assert clips.tolist() == [3, 5, 9]
    np.testing.assert_allclose(means, [[0.4, 0.6, 0], [0.65, 0.35, 0], [0, 0.4, 0.6]])
    clips, winners = evaluation.vote(scores, clip)
    assert clips.tolist() == [3, 5, 9]
    assert winners.tolist() == [0, 0, 2]


def test_a_tie_cannot_be_won_by_a_class_without_votes():
    scores = np.array([[0.5, 0, 0.45], [0, 0.5, 0.45], [0.5, 0, 0.45], [0, 0.5, 0.45]])
    assert evaluation.vote(scores, np.zeros(4, int))[1].tolist() == [0]


def test_votes_equal_a_slow_loop_in_any_order_of_the_segments():
    rng = np.random.default_rng(0)
    clip, scores = rng.integers(0, 40, 500), rng.dirichlet(np.ones(5), 500)
    clips, winners = evaluation.vote(scores, clip)
    for name, winner in zip(clips, winners, strict=True):
        mine = scores[clip == name]
        votes = np.bincount(mine.argmax(axis=1), minlength=5)
        tied = np.flatnonzero(votes == votes.max())
        assert winner == max(tied, key=lambda k: mine[:, k].mean())


def test_confusion_is_true_by_predicted():
    table = evaluation.confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), names=["a", "b", "c"])
    assert table.loc["a"].tolist() == [1, 1, 0]
    assert table.loc["b", "b"] == 1
    assert table.loc["c"].sum() == 0
    assert (table.index.name, table.columns.name) == ("true", "predicted")


# --- intervals ------------------------------------------------------------------------------------------------------


def test_the_interval_of_a_mean_has_its_theoretical_width():
    values = np.random.default_rng(0).normal(size=400)
    low, high = evaluation.bootstrap(lambda chosen: values[chosen].mean(), np.arange(400), repeats=4000)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.06)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.01)


def test_clips_are_resampled_and_not_segments():
    """Forty clips of 25 equal segments are forty observations; counting segments would give a fifth of the width."""
    values = np.repeat(np.random.default_rng(0).normal(size=40), 25)
    clip = np.repeat(np.arange(40), 25)
    low, high = evaluation.bootstrap(lambda chosen: values[chosen].mean(), clip, repeats=4000)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(40), rel=0.06)
    evaluation.bootstrap(lambda chosen: float(all(np.bincount(clip[chosen]) % 25 == 0)) or pytest.fail("torn"), clip)


def test_the_interval_covers_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        right = np.random.default_rng(seed).random(150) < 0.7
        low, high = evaluation.bootstrap(
            lambda chosen, right=right: right[chosen].mean(), np.arange(150), repeats=200, level=0.9, seed=seed
        )
        hits += low <= 0.7 <= high
    assert 0.84 <= hits / 200 <= 0.96


def test_intervals_of_several_measures_unequal_clips_and_undefined_ones():
    labels, scores = some_scores(60)
    clip = np.sort(np.random.default_rng(1).integers(0, 15, 60))
    got = evaluation.bootstrap(lambda i: evaluation.genre_metrics(labels[i], scores[i]), clip, repeats=100)
    for name, value in evaluation.genre_metrics(labels, scores).items():
        assert got[name].low < value < got[name].high
        assert got[name].undefined == 0
    again = evaluation.bootstrap(lambda i: evaluation.genre_metrics(labels[i], scores[i]), clip, repeats=100)
    assert again == got
    assert np.isnan(evaluation.bootstrap(lambda i: float("nan"), clip, repeats=5)).all()
    assert evaluation.bootstrap(lambda i: 1.0, np.zeros(4, int), repeats=5) == (1.0, 1.0)


def test_undefined_resamples_are_counted():
    """Two clips: a quarter of the resamples holds the second one alone, where the measure has no value."""
    values = np.array([1.0, np.nan])
    drawn = []

    def metric(chosen):
        drawn.append(chosen)
        return np.nanmean(values[chosen]) if 0 in chosen else np.nan

    interval = evaluation.bootstrap(metric, np.arange(2), repeats=200)
    assert interval == (1.0, 1.0)
    assert interval.undefined == sum(0 not in chosen for chosen in drawn)
    assert 30 < interval.undefined < 70
    several = evaluation.bootstrap(lambda chosen: {"a": 1.0, "b": metric(chosen)}, np.arange(2), repeats=200)
    assert (several["a"].undefined, several["b"].undefined) == (0, interval.undefined)
    never = evaluation.bootstrap(lambda chosen: float("nan"), np.arange(2), repeats=5)
    assert never.undefined == 5
    again = pickle.loads(pickle.dumps(interval))
    assert (again, again.undefined) == (interval, interval.undefined)


def test_the_area_under_the_curve_equals_scikit_learns_with_ties():
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 5, 400), rng.integers(0, 30, (400, 5)) / 30
    expected = [metrics.roc_auc_score(labels == c, scores[:, c]) for c in range(5)]
    areas = evaluation.roc_auc(labels[:, None] == np.arange(5), scores)
    np.testing.assert_allclose(areas, expected, rtol=0, atol=1e-12)
    assert evaluation.genre_metrics(labels, scores)["roc_auc"] == pytest.approx(np.mean(expected), abs=1e-12)


# --- predictions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 6, 7, 64, 100])
def test_predictions_do_not_depend_on_the_batch_size(n):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Input((6, 5, 1)),
            keras.layers.Conv2D(3, 3, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(4, activation="softmax"),
        ]
    )
    x = np.random.default_rng(0).normal(size=(n, 6, 5, 1))
    whole = np.asarray(model(x.astype(np.float32), training=False)) if n else np.zeros((0, 4))
    for batch_size in (1, 7, 64):
        scores = evaluation.predict(model, x, batch_size=batch_size)
        assert scores.shape == (n, 4)
        np.testing.assert_allclose(scores, whole, atol=1e-6)

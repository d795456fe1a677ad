"""Scores of taggers: against scikit-learn on random data, by hand, and independent of how they were computed."""

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from musictools import evaluation

N, TAGS = 200, 7


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    labels = rng.random((N, TAGS)) < np.linspace(0.05, 0.9, TAGS)
    scores = np.round(np.clip(0.5 * rng.random((N, TAGS)) + 0.4 * labels * rng.random((N, TAGS)), 0, 1), 2)  # with ties
    return labels, scores


def test_every_measure_is_scikit_learns(data):
    labels, scores = data
    predicted = scores > 0.4
    ours = evaluation.tag_metrics(labels, scores, thresholds=0.4)
    theirs = {
        "roc_auc": metrics.roc_auc_score(labels, scores, average="macro"),
        "average_precision": metrics.average_precision_score(labels, scores, average="macro"),
        "accuracy": (labels == predicted).mean(),
        "micro_precision": metrics.precision_score(labels, predicted, average="micro"),
        "micro_recall": metrics.recall_score(labels, predicted, average="micro"),
        "macro_precision": metrics.precision_score(labels, predicted, average="macro", zero_division=0),
        "macro_recall": metrics.recall_score(labels, predicted, average="macro"),
        "macro_f1": metrics.f1_score(labels, predicted, average="macro"),
        "mcc": np.mean([metrics.matthews_corrcoef(a, b) for a, b in zip(labels.T, predicted.T, strict=True)]),
        "average_tags": predicted.sum() / N,
    }
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name
    areas = []
    for k in range(TAGS):
        share, recall, _ = metrics.precision_recall_curve(labels[:, k], scores[:, k])
        areas.append(metrics.auc(recall, share))
    assert ours["pr_auc"] == pytest.approx(np.mean(areas))
    assert ours["undefined"] == 0
    assert ours["pr_auc"] != pytest.approx(ours["average_precision"], abs=1e-6)  # two measures, not one named twice


def test_a_case_by_hand():
    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], bool)
    scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.6, 0.7], [0.1, 0.2]])
    ours = evaluation.tag_metrics(labels, scores)
    # tag 0: predicted clips 0 and 2, one right of two, recall 1/2; tag 1: predicted 1 and 2, one right, recall 1
    assert ours["micro_precision"] == 2 / 4
    assert ours["micro_recall"] == 2 / 3
    assert ours["macro_precision"] == 0.5
    assert ours["macro_recall"] == 0.75
    assert ours["accuracy"] == 5 / 8
    assert ours["average_tags"] == 1.0
    assert ours["roc_auc"] == pytest.approx((3 / 4 + 1) / 2)
    assert ours["macro_f1"] == pytest.approx((0.5 + 2 / 3) / 2)
    assert ours["mcc"] == pytest.approx((0 + 1 / np.sqrt(3)) / 2)


def test_a_tag_with_one_class_is_nan_counted_and_left_out(data):
    labels, scores = data
    labels[:, 0], labels[:, 1] = False, True
    ours = evaluation.tag_metrics(labels, scores)
    assert ours["undefined"] == 2
    table = evaluation.tag_table(labels, scores)
    assert table.loc[:1, table.columns[3:]].isna().all(axis=None)
    assert table.loc[2:].notna().all(axis=None)
    assert list(table["presence"][:2]) == [0, N]
    for name in ("roc_auc", "macro_recall", "macro_f1"):
        column = {"macro_recall": "recall", "macro_f1": "f1"}.get(name, name)
        assert ours[name] == pytest.approx(table[column][2:].mean())
    nothing = evaluation.tag_metrics(np.zeros((3, 2), bool), np.zeros((3, 2)))
    assert np.isnan(nothing["roc_auc"])
    assert nothing["undefined"] == 2
    assert nothing["micro_recall"] == 0


def test_a_tag_never_predicted_has_precision_zero(data):
    labels, scores = data
    table = evaluation.tag_table(labels, scores, thresholds=1.0)
    assert (table["precision"] == 0).all()
    assert (table["mcc"] == 0).all()


@pytest.mark.parametrize("join", ["max_by_clip", "mean_by_clip"])
def test_union_and_mean_of_frames(join):
    scores = np.array([[0.2, 0.9], [0.6, 0.1], [0.3, 0.3]])
    clips, joined = getattr(evaluation, join)(scores, np.array([4, 4, 9]))
    assert list(clips) == [4, 9]
    wanted = [[0.6, 0.9], [0.3, 0.3]] if join == "max_by_clip" else [[0.4, 0.5], [0.3, 0.3]]
    np.testing.assert_allclose(joined, wanted)


def test_the_union_of_frame_tags_is_the_highest_score(data):
    _, scores = data
    clip = np.arange(N) // 9
    union = pd.DataFrame(scores > 0.45).groupby(clip).any().to_numpy()
    np.testing.assert_array_equal(evaluation.max_by_clip(scores, clip)[1] > 0.45, union)


def brute_force(labels, scores, rule, precision):
    """Every threshold that parts the scores differently, tried in turn."""
    best, chosen = -1.0, 0.5
    for value in np.unique(scores):
        predicted = scores >= value
        hits = (predicted & labels).sum()
        share, recall = hits / predicted.sum(), hits / labels.sum()
        if rule == "precision" and share < precision:
            continue
        measure = recall if rule == "precision" else 2 * share * recall / max(share + recall, 1e-12)
        if measure > best + 1e-12:
            best, chosen = measure, value
    return best, chosen


@pytest.mark.parametrize("rule", ["f1", "precision"])
def test_thresholds_are_the_best_there_are(data, rule):
    labels, scores = data
    chosen = evaluation.choose_thresholds(labels, scores, rule=rule, precision=0.4)
    for k in range(TAGS):
        best, _ = brute_force(labels[:, k], scores[:, k], rule, 0.4)
        predicted = scores[:, k] > chosen[k]
        hits = (predicted & labels[:, k]).sum()
        share, recall = hits / max(1, predicted.sum()), hits / labels[:, k].sum()
        if best < 0:
            assert chosen[k] == 0.5
        elif rule == "f1":
            assert 2 * share * recall / (share + recall) == pytest.approx(best)
        else:
            assert recall == pytest.approx(best)
            assert share >= 0.4


def test_tags_that_do_not_occur_keep_the_default(data):
    labels, scores = data
    labels[:, 2] = False
    assert evaluation.choose_thresholds(labels, scores, default=0.7)[2] == 0.7
    with pytest.raises(ValueError, match="rule must be 'f1' or 'precision'"):
        evaluation.choose_thresholds(labels, scores, rule="best")


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 3)), "one shape"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "n > 0"),
        (np.zeros((3, 2)), np.full((3, 2), np.nan), "NaN"),
    ],
)
def test_wrong_tables_are_refused(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        evaluation.tag_metrics(labels, scores)


def test_scores_do_not_depend_on_the_batch_size(data):
    from musictools import models

    x = np.random.default_rng(1).random((23, 32, 64, 1), np.float32)
    model = models.build("se_cnn", n_outputs=TAGS, input_shape=x.shape[1:], width=0.1, seed=0)
    labels = data[0][:23]
    tables = [evaluation.predict(model, x, batch_size=size) for size in (1, 7, 64)]
    for other in tables[1:]:
        np.testing.assert_allclose(other, tables[0], rtol=0, atol=1e-6)
        assert evaluation.tag_metrics(labels, np.round(other, 5)) == evaluation.tag_metrics(
            labels, np.round(tables[0], 5)
        )
    keras.backend.clear_session()

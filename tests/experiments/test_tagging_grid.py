"""What goes into a grid of taggers: jobs, tasks by model, the start of a training, features of the baseline."""

import librosa
import numpy as np
import pandas as pd
import pytest

from musictools import models
from musictools.experiments import jobs as training_jobs
from musictools.experiments import protocols, taggers
from musictools.experiments import tagger_tables as comparison
from musictools.spectrograms import ArrayStore


def test_every_model_meets_every_tag_set_and_one_all_labels_and_answers_to_imbalance():
    jobs = taggers.grid(
        models=["se_cnn", "fcn4"],
        n_tags=[50, 80],
        labels=["complete", "annotated"],
        imbalance=["none", "focal"],
        extra_model="fcn4",
        seed=3,
    )
    assert [(j.model, j.n_tags, j.labels, j.imbalance) for j in jobs] == [
        ("se_cnn", 50, "complete", "none"),
        ("fcn4", 50, "complete", "none"),
        ("se_cnn", 80, "complete", "none"),
        ("fcn4", 80, "complete", "none"),
        ("fcn4", 50, "annotated", "none"),
        ("fcn4", 50, "complete", "focal"),
    ]
    assert len({j.name for j in jobs}) == len(jobs)
    assert {j.seed for j in jobs} == {3}
    with pytest.raises(ValueError, match="extra_model must be one of the models, se_cnn, fcn4. Got 'crnn'"):
        taggers.grid(models=["se_cnn", "fcn4"], n_tags=[50], extra_model="crnn")


def test_settings_are_given_for_all_models_or_by_name():
    three = ["se_cnn", "fcn4", "musicnn"]
    jobs = taggers.grid(models=three, n_tags=[2])
    labels = pd.DataFrame(np.eye(4, dtype=bool), columns=list("abcd"))
    split = pd.Series(["train", "validation", "test", "hold_out"])
    tasks = taggers.tasks(
        jobs,
        dict.fromkeys(three),
        {"annotated": labels},
        split,
        width={"fcn4": 0.5, "other": 0.1},
        epochs={"fcn4": 12, "other": 0},
        overrides={"batch_size": {"fcn4": 4}, "dropout": 0.0},
        norm_momentum=0.5,
    )
    assert [t.width for t in tasks] == [0.1, 0.5, 0.1]
    assert [t.protocol.phases[0]["epochs"] for t in tasks] == [120, 12, 120]  # 0: the protocol's
    assert [t.protocol.batch_size for t in tasks] == [32, 4, 64]
    assert {t.protocol.dropout for t in tasks} == {0.0}
    assert [(t.length, t.step) for t in tasks] == [(628, 90), (1366, 1366), (188, 94)]
    assert list(tasks[0].labels) == ["a", "b"]
    assert tasks[0].norm_momentum == 0.5


@pytest.mark.parametrize("dropout", [0.0, 0.5, 1.0])
def test_a_training_may_begin_at_the_tags_frequencies_and_without_dropout(dropout):
    model = models.build("se_cnn", n_outputs=3, input_shape=(16, 64, 1), width=0.1, seed=0)
    y = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 0], [0, 0, 0]], np.float32)
    plan = protocols.protocol("rotheneder2023", "se_cnn", dropout=dropout, prior_bias=dropout < 1)
    training_jobs._prepare(model, y, plan)
    assert model.get_layer("dropout").rate == pytest.approx(0.6 * dropout)
    bias = np.asarray(model.get_layer("logits").bias)
    if dropout == 1:
        np.testing.assert_array_equal(bias, 0)
    else:
        np.testing.assert_allclose(1 / (1 + np.exp(-bias)), [0.5, 0.002, 0.25], rtol=1e-4)  # never quite 0
    with pytest.raises(ValueError, match=r"dropout must lie in \[0, 1\]. Got 2"):
        protocols.protocol("rotheneder2023", "se_cnn", dropout=2)


def test_features_of_the_baseline_are_librosas():
    S = np.random.default_rng(0).integers(0, 255, (3, 128, 40)).astype(np.uint8)
    store = ArrayStore(S, ["a", "b", "c"])
    table = comparison.mfcc_table(store, ["c", "a"], n_mfcc=13)
    assert list(table.index) == ["c", "a"]
    slow = librosa.feature.mfcc(S=store["c"], n_mfcc=13).mean(axis=1)
    np.testing.assert_allclose(table.loc["c"], slow, rtol=1e-4, atol=1e-5)

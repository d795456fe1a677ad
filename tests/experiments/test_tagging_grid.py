"""What goes into a grid of taggers: jobs, tasks by model, the start of a training, features of the baseline."""

from types import SimpleNamespace

import librosa
import numpy as np
import pandas as pd
import pytest

from musictools import familiarity, models
from musictools.datasets.base import Dataset
from musictools.experiments import jobs as training_jobs
from musictools.experiments import protocols, taggers
from musictools.experiments import tagger_tables as comparison
from musictools.spectrograms import ArrayStore, FrontEnd


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
    assert [(t.length, t.step, t.clip_step) for t in tasks] == [(628, 90, 314), (1366, 1366, 683), (188, 94, 94)]
    assert list(tasks[0].labels) == ["a", "b"]
    assert tasks[0].norm_momentum == 0.5


def test_settings_stand_beside_those_of_the_source():
    jobs = taggers.grid(models=["se_cnn", "stacked_cnn"], n_tags=[2])
    split = pd.Series(["train", "train", "validation", "test", "hold_out"])
    labels = {"annotated": pd.DataFrame(np.eye(5, dtype=bool)[:, :2], columns=["a", "b"])}
    stores = dict.fromkeys(["se_cnn", "stacked_cnn"])
    plain = taggers.settings_table(taggers.tasks(jobs, stores, labels, split))
    names = [name.removeprefix("source_") for name in plain if name.startswith("source_")]
    assert names == ["width", "epochs", "learning_rate", "batch_size", "per_clip", "dropout", "prior_bias"]
    for name in names:
        assert (plain[name] == plain[f"source_{name}"]).all()
    assert plain["training_clips"].tolist() == [2, 2]
    assert plain["epochs"].tolist() == [120, 240]  # stacked_cnn is trained twice
    changed = taggers.settings_table(taggers.tasks(jobs, stores, labels, split, width=0.5, epochs={"other": 6}))
    assert changed["width"].tolist() == [0.5, 0.5]
    assert changed["epochs"].tolist() == [6, 12]
    assert (changed["source_epochs"] == plain["epochs"]).all()


def test_the_card_of_a_tagger_names_its_clips_and_the_step_of_whole_clips():
    split = pd.Series(["train", "train", "validation", "test", "hold_out"], index=range(5))
    labels = {"annotated": pd.DataFrame(np.eye(5, dtype=bool)[:, :2], columns=["a", "b"])}
    store = ArrayStore(np.zeros((5, 128, 10), np.uint8), range(5))
    [task] = taggers.tasks(taggers.grid(models=["se_cnn"], n_tags=[2], seed=4), {"se_cnn": store}, labels, split)
    result = training_jobs.Result(job=task.job, classes=("a", "b"), history=pd.DataFrame(), scores={}, clip={})
    data = SimpleNamespace(name="fake", tables_checksum="0")
    card = taggers.model_card(task, result, data, thresholds={"half": {"a": 0.5, "b": 0.5}}, scores={"all": {}})
    assert (card.training_clips, card.held_out_clips) == ((0, 1, 2), (4,))
    assert (card.model, card.outputs, card.length, card.step, card.seed) == ("se_cnn", ("a", "b"), 628, 314, 4)
    assert card.provenance["protocol"] == "rotheneder2023"


def test_a_card_carries_what_the_training_clips_are_like():
    front_end = FrontEnd(16000, 512, 256, 32)
    S = np.random.default_rng(0).uniform(-60, 0, (130, 32, 700)).astype(np.float32)
    store = type("Store", (dict,), {"front_end": front_end})(enumerate(S))
    labels = pd.DataFrame({"a": True, "b": False}, index=range(130))
    split = pd.Series(["train"] * 110 + ["validation"] * 10 + ["test"] * 10, index=range(130))
    [task] = taggers.tasks(taggers.grid(models=["se_cnn"], n_tags=[2]), {"se_cnn": store}, {"annotated": labels}, split)
    result = training_jobs.Result(job=task.job, classes=("a", "b"), history=pd.DataFrame(), scores={}, clip={})
    data = SimpleNamespace(name="fake", tables_checksum="0")
    card = taggers.model_card(task, result, data, thresholds={}, scores={})
    reference = familiarity.find(SimpleNamespace(card=card))
    assert reference.what == "the 120 clips that the network learnt from"
    assert not reference(familiarity.embedding(S[125], front_end)).unlike
    assert reference(familiarity.embedding(S[125] - 20, front_end)).unlike


def slides_data(*, official):
    """Sixteen clips in one folder each, with a tag that is a genre and a synonym that would be merged."""
    ids = pd.RangeIndex(16, name="clip_id")
    tags = pd.DataFrame({"rock": True, "drum": ids < 9, "drums": ids < 8, "odd": ids < 1}, index=ids)
    tracks = pd.DataFrame({"artist": "", "album": "", "title": "", "path": ""}, index=ids)
    data = Dataset("nowhere", tracks=tracks, tags=tags, genres=tags[["rock"]], descriptors=tags[["drums"]])
    if official:
        data.split_kinds = ("random", "official")
        data._fixed_split = lambda kind: pd.Series(["train"] * 12 + ["validation"] + ["test"] * 3, index=ids)
    return data


def test_the_experiment_of_the_slides_has_its_own_tags_split_inputs_and_protocol():
    data = slides_data(official=True)
    store = ArrayStore(np.zeros((15, 128, 10), np.uint8), range(15))  # one clip could not be decoded
    stores = dict.fromkeys(["musicnn", "short_chunk_res"], store)
    tasks = taggers.slides_tasks(data, stores, models=["musicnn", "short_chunk"], n_tags=3, seed=1, width=0.1, epochs=7)
    assert [t.job.model for t in tasks] == ["musicnn", "short_chunk_res"]
    for task in tasks:
        assert list(task.labels) == ["rock", "drum", "drums"]
        assert task.split.value_counts().to_dict() == {"train": 12, "test": 2, "validation": 1}
        assert task.scored == ("validation", "test")
        assert [phase["optimizer"] for phase in task.protocol.phases] == ["adam", "sgd", "sgd", "sgd"]
        assert task.clip_step == task.step
    with pytest.raises(ValueError, match="models must be among fcn4, musicnn, .*, short_chunk. Got 'se_cnn'"):
        taggers.slides_tasks(data, stores, models=["se_cnn"])
    [task] = taggers.slides_tasks(slides_data(official=False), {"fcn4": store}, models=["fcn4"], n_tags=2)
    assert set(task.split) == {"train", "validation", "test"}


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

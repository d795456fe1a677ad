"""Notebook 09: trainings of structures, areas on resampled artists, tables."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score

from musictools import models, published, training
from musictools.experiments import jobs, structures
from musictools.models.structures import BUDGETS
from musictools.spectrograms import ArrayStore

TAGS = ["rock", "guitar", "sad", "violin"]


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.random((60, 4)) < [0.5, 0.3, 0.2, 0.4], columns=TAGS)


def result(model, labels, *, strength=1.0, seed=0, seconds=1.0):
    """A made-up result whose scores follow the labels, more or less."""
    rng = np.random.default_rng([seed, *model.encode()])
    scores = strength * labels + rng.normal(size=labels.shape)
    history = pd.DataFrame({"epoch": [0, 1, 2], "val_auc": [0.5, 0.7, 0.6]})
    return structures.StructureResult(
        model=model, seed=seed, scores=scores.round(1), history=history, parameters=1000, seconds=seconds
    )


@pytest.fixture
def results(labels):
    strengths = {"k1c2_1m": 0.1, "k2c1_1m": 0.0, "k2c2_1m": 1.0, "crnn_1m": 3.0}
    return [result(name, labels, strength=s, seed=seed) for name, s in strengths.items() for seed in (0, 1)]


@pytest.fixture
def artists(labels):
    return pd.Series([f"artist {k // 3}" for k in range(len(labels))], labels.index)


def test_areas_of_resamples_are_those_of_repeated_clips(labels, results, artists):
    areas = structures.resampled_areas(results, labels, artists, repeats=6, seed=3)
    assert areas.networks == ("k1c2_1m", "k2c1_1m", "k2c2_1m", "crnn_1m")
    names, number = np.unique(artists, return_inverse=True)
    rng = np.random.default_rng(3)
    drawn = rng.integers(0, len(names), (6, len(names)))
    for row, chosen in enumerate([np.arange(len(names)), *drawn]):
        clips = np.concatenate([np.flatnonzero(number == artist) for artist in chosen])
        for k, name in enumerate(areas.networks):
            slow = np.mean([
                [roc_auc_score(labels[tag].to_numpy()[clips], r.scores[tag].to_numpy()[clips]) for tag in TAGS]
                for r in results if r.model == name
            ], axis=0)  # fmt: skip
            np.testing.assert_allclose(areas.values[row, k], slow)
    np.testing.assert_allclose(areas.by_seed.mean(axis=1), areas.values[0].mean(axis=1))


def test_tags_that_cannot_be_scored_are_left_out(labels, results, artists):
    areas = structures.resampled_areas(results, labels.assign(sad=False, rock=True), artists, repeats=3)
    assert areas.tags == ("guitar", "violin")
    assert areas.values.shape == (4, 4, 2)


def test_comparison_has_one_row_per_network(labels, results, artists):
    areas = structures.resampled_areas(results, labels, artists, repeats=200)
    table = structures.compare(areas, results)
    assert table["structure"].tolist() == ["k1c2", "k2c1", "k2c2", "crnn"]
    assert table["roc_auc"].idxmax() == 3
    assert (table["low"] < table["roc_auc"]).all()
    assert (table["roc_auc"] < table["high"]).all()
    assert (table["lowest"] <= table["roc_auc"]).all()
    assert table["epochs"].eq(3).all()
    assert table["best_epoch"].eq(2).all()


def test_differences_are_paired_and_have_a_sign(labels, results, artists):
    areas = structures.resampled_areas(results, labels, artists, repeats=200)
    table = structures.differences(areas).set_index(["first", "second", "size"])
    assert len(table) == 6 * 2
    row = table.loc[("crnn", "k2c1", "all")]
    assert row["verdict"] == "higher"
    assert (table["verdict"] == "higher").equals(table["low"] > 0)
    assert (table["verdict"] == "lower").equals(table["high"] < 0)
    assert "open" in set(table["verdict"])
    means = dict(zip(areas.networks, areas.values[0].mean(axis=1), strict=True))
    assert row["difference"] == pytest.approx(means["crnn_1m"] - means["k2c1_1m"])
    assert table.loc[("crnn", "k2c1", "1m"), "low"] == row["low"], "there is one size"
    twin = [r for r in results if r.model in ("k2c2_1m", "crnn_1m")]
    same = [structures.StructureResult(**(vars(r) | {"scores": twin[r.seed].scores})) for r in twin]
    paired = structures.differences(structures.resampled_areas(same, labels, artists, repeats=50)).iloc[0]
    assert paired[["difference", "low", "high"]].tolist() == [0, 0, 0], "the same resamples for both networks"
    assert paired["verdict"] == "open"


def test_tags_are_ordered_by_category_and_k2c1(labels, results, artists):
    areas = structures.resampled_areas(results, labels, artists, repeats=3)
    table = structures.by_tag(areas, labels.sum(), size="1m")
    assert table["category"].tolist() == ["genres", "instruments", "instruments", "mood and style"]
    assert table["k2c1"].iloc[1] >= table["k2c1"].iloc[2]
    by_tag = table.set_index("tag")
    assert by_tag["rank"].to_dict() == labels.sum().rank(ascending=False).astype(int).to_dict()
    assert by_tag.at["sad", "crnn"] == areas.values[0, 3, areas.tags.index("sad")]


def test_popularity_is_spearmans_correlation(labels, results, artists):
    areas = structures.resampled_areas(results, labels, artists, repeats=3)
    counts = pd.Series([40, 10, 20, 30], TAGS)
    table = structures.popularity(areas, counts, repeats=50)
    for k, row in enumerate(table.itertuples()):
        assert row.correlation == pytest.approx(stats.spearmanr(counts, areas.values[0, k])[0])
    exact = structures.Areas(
        values=np.stack([[counts.to_numpy() / 100]] * 3),
        by_seed=np.ones((1, 1)),
        networks=("crnn_1m",),
        tags=tuple(TAGS),
    )
    assert structures.popularity(exact, counts, repeats=50).iloc[0][["correlation", "low"]].tolist() == [1, 1]


def test_tables_of_built_networks_are_those_of_table_4a():
    networks = {name: models.build(name, n_outputs=50) for name in models.names("structure")}
    widths = structures.layer_widths(networks)
    pd.testing.assert_frame_equal(widths, published.table("choi2018_table_4_a_layer_widths"))
    table = structures.parameters(networks)
    assert (table["deviation"].abs() <= published.number("choi2018", "tolerance_of_numbers_of_parameters")).sum() == 19
    assert table.set_index(["structure", "size"]).at[("crnn", "3m"), "last_maps"] == "1x15"


class Clips(ArrayStore):
    """Clips of noise; those with the first tag are louder in the lower bands."""

    def __init__(self, labels):
        rng = np.random.default_rng(0)
        S = rng.integers(0, 60, (len(labels), 96, 1366))
        S[labels.iloc[:, 0].to_numpy(), :48] += 150
        super().__init__(S.astype(np.uint8), list(labels.index))


@pytest.fixture
def task(labels):
    split = pd.Series(["train"] * 36 + ["validation"] * 12 + ["test"] * 12, labels.index)
    return structures.StructureTask(
        model="k2c1_0_1m", store=Clips(labels), labels=labels[["rock", "violin"]], split=split, width=0.1, epochs=8,
        patience=8, batch_size=6, learning_rate=0.01, norm_momentum=0.8,
    )  # fmt: skip


def test_a_structure_learns_what_can_be_heard(task, labels, tmp_path):
    (own,) = jobs.run([task], folder=tmp_path, workers=1)
    assert list(own.scores.index) == list(task.split.index[task.split == "test"])
    assert list(own.scores) == ["rock", "violin"]
    assert roc_auc_score(labels.loc[own.scores.index, "rock"], own.scores["rock"]) > 0.9
    assert own.history["val_auc"].max() > 0.6
    assert 0 < own.seconds < 100
    assert own.parameters == 5190, "most of them normalise frames"
    (again,) = jobs.run([task], folder=tmp_path, workers=1)
    pd.testing.assert_frame_equal(own.scores, again.scores)
    assert again.seconds == own.seconds, "read from the folder"


def test_time_is_that_of_training_steps_without_the_first_epoch(monkeypatch):
    watch = structures._stopwatch()
    clock = iter([0.0, 9.0, 20.0, 21.0, 30.0, 33.0, 40.0, 42.0])
    monkeypatch.setattr(structures.time, "perf_counter", lambda: next(clock))
    watch.set_model(type("Model", (), {"optimizer": type("Adam", (), {"iterations": np.zeros(1)})}))
    assert np.isnan(watch.seconds())
    for epoch in range(4):
        watch.on_epoch_begin(epoch)
        watch.on_test_begin()
        watch.on_test_begin()  # scoring after the training is not counted
    assert watch.epochs == [9, 1, 3, 2]
    assert watch.seconds() == 2


def test_bad_tasks_are_refused(task, labels):
    own = {name: getattr(task, name) for name in ("store", "labels", "split")}
    with pytest.raises(ValueError, match=r"model must be one of k1c2_0_1m, .*Got 'crnn'"):
        structures.StructureTask(model="crnn", **own)
    with pytest.raises(ValueError, match="The split has no clips for: test, validation"):
        structures.StructureTask(model="crnn_1m", **own | {"split": task.split[:36]})
    with pytest.raises(ValueError, match="No tag has validation clips both with and without it"):
        structures._mean_area(np.ones((5, 2)))


def test_slow_networks_are_trained_first(task):
    made = structures.tasks(task.store, task.labels, task.split, sizes=["0_1m", "3m"], seeds=[0, 1], width=0.1)
    assert [one.model for one in made[:6:2]] == ["k1c2_3m", "k2c2_3m", "crnn_3m"]
    assert len({one.name for one in made}) == 16
    assert {one.width for one in made} == {0.1}
    assert set(BUDGETS) >= {one.model.split("_", 1)[1] for one in made}


def test_training_stops_by_the_quantity_that_is_named():
    import keras

    x = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    y = np.eye(2, dtype=np.float32)[[0, 1] * 4]

    def history(**options):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, activation="sigmoid")])
        constant = keras.metrics.MeanMetricWrapper(lambda a, b: 0 * b, name="constant")
        closeness = keras.metrics.MeanMetricWrapper(lambda a, b: 1 - keras.ops.abs(a - b), name="closeness")
        fixed = {"epochs": 9, "loss": "binary_crossentropy", "metrics": (constant, closeness), "best_by": "val_loss"}
        return training.fit(model, x, y, validation=(x, y), patience=2, learning_rate=0.1, **fixed, **options)

    assert len(history()) == 9, "the loss falls in every epoch"
    assert len(history(stop_by="val_constant")) == 3, "two epochs without a better value than the first"
    assert len(history(stop_by="val_closeness")) == 9, "larger is better"
    with pytest.raises(ValueError, match="stop_by='val_auc' is no column of the history. There are: epoch"):
        history(stop_by="val_auc")

"""Training on pieces: divisions by hand, one small training, concentration of filters that are known."""

import keras
import numpy as np
import pandas as pd
import pytest

from musictools import datasets, published
from musictools.experiments import poster_networks as posters
from musictools.spectrograms import ArrayStore


@pytest.fixture(scope="module")
def data():
    """24 clips of two genres, whose spectrograms are bright below or above; four artists."""
    rng = np.random.default_rng(0)
    spectrograms = rng.integers(0, 60, (24, 16, 100), dtype=np.uint8)
    spectrograms[:12, :8] += 150
    spectrograms[12:, 8:] += 150
    ids = [f"clip{k:02d}" for k in range(24)]
    index = pd.Index(ids, name="clip_id")
    genres = pd.DataFrame({"low": np.arange(24) < 12, "high": np.arange(24) >= 12}, index=index)
    tracks = pd.DataFrame({"artist": [f"a{k // 2}" for k in range(24)], "album": "", "title": ids, "path": ""}, index)
    made = datasets.Dataset("bars", tracks=tracks, tags=genres, genres=genres, descriptors=genres[[]])
    made.split_kinds = ("random", "artist")
    return made, ArrayStore(spectrograms, ids), genres


def make_tasks(data, **changes):
    made, store, labels = data
    settings = {"networks": ["vanilla"], "splits": ["clip"], "seeds": [0], "length": 10, "epochs": 3, "batch_size": 16,
                "options": {"filters": (3, 4), "units": 8, "first_pool": 2}} | changes  # fmt: skip
    return posters.tasks(made, store, list(labels.index), labels, **settings)


class TestDivide:
    def test_segments_are_divided_by_number(self, data):
        made, store, labels = data
        pieces = posters.cut(store, labels.index, 10)
        part = posters.divide(made, pieces, "segment", seed=1)
        assert len(pieces) == 240
        assert pd.Series(part).value_counts().to_dict() == {"train": 192, "validation": 24, "test": 24}
        both = set(pieces.clip[part == "train"]) & set(pieces.clip[part == "test"])
        assert len(both) > 5
        assert not np.array_equal(part, posters.divide(made, pieces, "segment", seed=2))

    @pytest.mark.parametrize("kind", ["clip", "artist"])
    def test_clips_stay_together(self, data, kind):
        made, store, labels = data
        pieces = posters.cut(store, labels.index, 10)
        part = pd.Series(posters.divide(made, pieces, kind, seed=0))
        assert set(part) == {"train", "validation", "test"}
        groups = pieces.clip if kind == "clip" else pieces.clip // 2
        assert part.groupby(groups).nunique().max() == 1

    def test_splits_of_the_data_leave_clips_out(self, data, monkeypatch):
        made, store, labels = data
        pieces = posters.cut(store, labels.index, 10)
        fixed = pd.Series({"clip00": "train", "clip01": "test"})
        monkeypatch.setattr(made, "split", lambda kind, ids: fixed)
        part = posters.divide(made, pieces, "fault_filtered")
        assert part.tolist() == ["train"] * 10 + ["test"] * 10 + [""] * 220


class TestTraining:
    @pytest.fixture(scope="class")
    def results(self, data):
        options = {"filters": (3, 4), "units": 8, "first_pool": 2, "dropout": 0.0}
        return [
            task.train()
            for task in make_tasks(
                data, networks=["vanilla", "masked, filter loss"], epochs=6, options=options, learning_rate=0.01
            )
        ]

    def test_learns_what_is_plain(self, results):
        assert all(one.accuracy() > 0.9 for one in results)
        assert all(one.accuracy(by_clip=True) == 1 for one in results)

    def test_accuracy_by_clip_is_that_of_the_mean(self):
        one = posters.PieceResult(
            network="gap", split="clip", seed=0, classes=("a", "b"), history=pd.DataFrame(), filters=pd.DataFrame(),
            scores={"test": np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])},
            labels={"test": np.array([0, 0, 1, 1])}, clip={"test": np.array(["x", "x", "y", "y"])},
        )  # fmt: skip
        assert one.accuracy() == 0.5
        assert one.accuracy(by_clip=True) == 1.0

    def test_tables(self, results):
        table = posters.accuracy_table(results)
        assert table["network"].tolist() == ["vanilla", "masked, filter loss"]
        assert (table["train_pieces"] == 190).all() or table["train_pieces"].between(170, 200).all()
        curves = posters.histories(results)
        assert len(curves) == 12
        assert list(curves.columns[:4]) == ["network", "split", "seed", "epoch"]
        beside = posters.beside_published(table.assign(split="segment"))
        printed = [published.number("ren_poster", f"{kind}_test_accuracy") for kind in ("vanilla", "masked")]
        assert beside["published_test"].tolist() == printed
        assert posters.beside_published(table)["published_test"].isna().all()

    def test_keys_tell_tasks_apart(self, data):
        [first] = make_tasks(data)
        assert first.key == make_tasks(data)[0].key
        for change in ({"epochs": 4}, {"splits": ["segment"]}, {"standardise": True}, {"options": {"units": 9}},
                       {"seeds": [1]}, {"networks": ["gap"]}, {"length": 20}):  # fmt: skip
            assert make_tasks(data, **change)[0].key != first.key

    def test_bands_are_standardised_by_the_training_pieces(self, data):
        [task] = make_tasks(data, standardise=True, epochs=1)
        pieces = posters.cut(task.store, task.ids, task.length)
        x = pieces[np.flatnonzero(task.part == "train")]
        mean, variance = posters.band_statistics(pieces.take(task.part == "train"))
        np.testing.assert_allclose(mean, x.mean(axis=(0, 2, 3)), atol=1e-5)
        np.testing.assert_allclose(variance, x.var(axis=(0, 2, 3)), atol=1e-4)

    def test_unknown_network(self, data):
        with pytest.raises(ValueError, match="networks must be some of vanilla; masked, wide in time; .*Got 'plain'"):
            make_tasks(data, networks=["plain"])


class TestConcentration:
    def network(self):
        """The second layer copies its input: channel 0 as it is, channel 1 constant, channel 2 never active."""
        inputs = keras.Input((4, 5, 1))
        x = keras.layers.Conv2D(3, 1, name="conv2")(inputs)
        x = keras.layers.ReLU(name="relu2")(x)
        model = keras.Model(inputs, x)
        model.set_weights([np.array([[[[1.0, 0.0, -1.0]]]]), np.array([0.0, 1.0, -1.0])])
        return model

    def test_values_by_hand(self):
        x = np.zeros((4, 4, 5, 1), np.float32)
        x[0, 1, 1], x[1, 2, 2] = 3, 5  # class 0: one cell each
        x[2, 0, :2] = 1  # class 1: two equal cells; the last piece is silent
        filters = posters.concentration(self.network(), x, np.array([0, 0, 1, 1]))
        copied, constant, dead = filters.to_dict("records")
        assert copied["active"] == 0.75
        assert copied["entropy"] == pytest.approx((0 + 0 + np.log(2) / np.log(20)) / 3)
        assert (copied["top_class"], copied["share"]) == (0, pytest.approx(8 / 10))
        assert copied["one_class"]
        assert constant["entropy"] == pytest.approx(1)
        assert not constant["one_class"]
        assert dead["active"] == 0
        assert np.isnan(dead["entropy"])
        assert not dead["one_class"]

    def test_the_mask_concentrates(self):
        x = np.ones((2, 4, 5, 1), np.float32)
        x[:, 1, 1] = 2
        wide, narrow = (
            posters.concentration(self.network(), x, np.array([0, 1]), mask=axes)["masked_entropy"][0]
            for axes in ((np.inf, np.inf), (0.3, 0.3))
        )
        assert wide == pytest.approx(posters.concentration(self.network(), x, np.array([0, 1]))["entropy"][0])
        assert narrow < wide - 0.2

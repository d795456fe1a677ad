"""Features, tasks and machines: against slow versions, with planted groups, and on labels that mean nothing."""

import numpy as np
import pandas as pd
import pytest
from sklearn.svm import SVC, SVR

from musictools.transfer import features, machines, selection, tasks
from musictools.transfer.features import FeatureSet
from musictools.transfer.machines import Grid, Machine
from musictools.transfer.tasks import Task

SMALL = Grid(costs=(0.1, 8.0), gammas=(2.0**-3, 2.0**-7), by_size=False)


def clusters(n=60, d=6, *, distance=1.0, seed=0):
    """Features of three classes, and the classes."""
    rng = np.random.default_rng(seed)
    y = np.tile(["waltz", "tango", "samba"], n // 3)
    centres = {name: rng.normal(0, distance, d) for name in np.unique(y)}
    return rng.normal(size=(n, d)) + np.stack([centres[name] for name in y]), pd.Series(y)


class TestFeatures:
    def test_averages_are_those_of_every_layer_alone(self):
        import keras

        from musictools import models

        model = models.build("compact_convnet", n_outputs=3, width=0.25, seed=1)
        x = np.random.default_rng(0).random((3, 96, 1360, 1), dtype=np.float32)
        averages = features.LayerAverages(model)
        got = averages(x, batch_size=2)
        assert list(got) == ["1", "2", "3", "4", "5"]
        assert averages.sizes == (8,) * 5
        for number, name in enumerate(averages.layers, start=1):
            alone = keras.Model(model.inputs, model.get_layer(name).output).predict(x, verbose=0)
            slow = [[alone[i, ..., k].mean(dtype=float) for k in range(8)] for i in range(3)]
            np.testing.assert_allclose(got[str(number)], slow, rtol=1e-4, atol=1e-5)
        # The fifth layer has a single cell, which is the feature itself, see choi2018 6.2.1.
        assert keras.Model(model.inputs, model.get_layer("pool5").output).output_shape == (None, 1, 1, 8)

    def test_layers_of_a_network_with_one_axis_are_averaged_over_it(self):
        import keras

        inputs = keras.Input((12, 2))
        y = keras.layers.Conv1D(3, 3, name="conv")(inputs)
        y = keras.layers.Dense(2, name="logits")(keras.layers.GlobalMaxPooling1D(name="top")(y))
        model = keras.Model(inputs, y)
        x = np.random.default_rng(0).random((2, 12, 2), dtype=np.float32)
        got = features.LayerAverages(model, layers=["conv", "top"])(x)
        conv = np.asarray(model.get_layer("conv")(x))
        np.testing.assert_allclose(got["1"], conv.mean(axis=1), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(got["2"], conv.max(axis=1), rtol=1e-5, atol=1e-6)

    def test_random_weights_are_he_normal_and_nothing_of_the_training_is_left(self):
        from musictools import models

        model = models.build("compact_convnet", n_outputs=3, seed=1)
        for layer in model.layers:
            layer.set_weights([np.full_like(w, 7.0) for w in layer.get_weights()])
        first, again, other = (features.reinitialised(model, seed=seed) for seed in (3, 3, 4))
        kernel = np.asarray(first.get_layer("conv3").kernel)
        assert abs(kernel.mean()) < 3e-3
        assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 32)), rel=0.05)
        assert np.array_equal(kernel, np.asarray(again.get_layer("conv3").kernel))
        assert not np.array_equal(kernel, np.asarray(other.get_layer("conv3").kernel))
        assert [w.max() for w in first.get_layer("norm1").get_weights()] == [1, 0, 0, 1]  # gamma, beta, mean, variance
        assert not np.asarray(first.get_layer("conv1").bias).any()
        assert all((w == 7).all() for w in model.get_layer("conv3").get_weights()), "the model itself was changed"

    def test_mfcc_statistics_against_a_slow_version(self):
        import librosa

        y = np.random.default_rng(0).normal(size=6000).astype(np.float32)
        rows = librosa.feature.mfcc(y=y, sr=12000, n_mfcc=20)
        slow, n = [], rows.shape[1]
        first = [[row[t + 1] - row[t] for t in range(n - 1)] for row in rows]
        second = [[row[t + 2] - 2 * row[t + 1] + row[t] for t in range(n - 2)] for row in rows]
        for table in (rows, first, second):
            slow += [float(np.mean(row)) for row in table] + [float(np.std(row)) for row in table]
        np.testing.assert_allclose(features.mfcc_statistics(y, sr=12000), slow, rtol=1e-3, atol=1e-3)

    def test_five_layers_have_31_subsets(self):
        names = [features.subset_name(subset) for subset in features.layer_subsets("12345")]
        assert len(names) == len(set(names)) == 31
        assert {"1", "135", "12345"} <= set(names)
        assert features.subset_name(("1", "2", "mfcc")) == "12+mfcc"

    def test_bad_feature_sets_are_refused(self):
        ids = pd.Index(["a", "b"])
        with pytest.raises(ValueError, match=r"Block '1' must have one row for each of 2 clips. Got shape \(3, 4\)"):
            FeatureSet(ids, {"1": np.zeros((3, 4))})
        with pytest.raises(ValueError, match="Block '2' holds NaN or Inf"):
            FeatureSet(ids, {"2": np.array([[0.0], [np.nan]])})
        with pytest.raises(ValueError, match="ids must be unique. Got 'a' twice"):
            FeatureSet(["a", "a"], {})
        whole = FeatureSet(ids, {"1": np.arange(4.0).reshape(2, 2), "mfcc": np.ones((2, 1))})
        with pytest.raises(ValueError, match=r"names must be some of 1, mfcc. Got \['3'\]"):
            whole.matrix(["3"])
        with pytest.raises(ValueError, match="no features of clip 'c'"):
            whole.take(["b", "c"])
        with pytest.raises(ValueError, match="Block '1' is in both"):
            whole.joined(whole)
        with pytest.raises(ValueError, match="at least 1024 samples"):
            features.mfcc_statistics(np.zeros(1000), sr=12000)
        assert whole.take(["b"]).matrix(["1", "mfcc"]).tolist() == [[2, 3, 1]]


class TestTasks:
    def test_groups_are_never_on_both_sides(self):
        _, y = clusters(90)
        groups = pd.Series(np.arange(90) // 5)
        task = Task("dance", y, groups=groups)
        splits = task.splits(n_folds=5, inner_folds=3, seed=1)
        assert sorted(np.concatenate([split.test for split in splits])) == list(range(90))
        for split in splits:
            assert not set(groups[split.train]) & set(groups[split.test])
            for train, test in split.inner:
                assert not set(groups[train]) & set(groups[test])
                assert set(train) | set(test) == set(split.train)

    def test_folds_of_a_classification_have_all_classes(self):
        _, y = clusters(60)
        for split in Task("dance", y).splits(n_folds=10):
            assert y[split.test].value_counts().to_list() == [2, 2, 2]

    def test_folds_in_order_are_stretches_of_each_class(self):
        y = pd.Series(np.repeat(["a", "b"], 6))
        tests = [split.test.tolist() for split in Task("t", y).splits(n_folds=3, shuffle=False)]
        assert tests == [[0, 1, 6, 7], [2, 3, 8, 9], [4, 5, 10, 11]]
        numbers = Task("t", pd.Series(np.arange(6.0)))
        assert [split.test.tolist() for split in numbers.splits(n_folds=3, shuffle=False)] == [[0, 1], [2, 3], [4, 5]]

    def test_given_parts_and_folds_are_used(self):
        _, y = clusters(12)
        parts = pd.Series(["train"] * 6 + ["validation"] * 3 + ["test"] * 3)
        (split,) = Task("dance", y, parts=parts).splits()
        assert split.train.tolist() == list(range(9))
        assert split.test.tolist() == [9, 10, 11]
        assert [rows.tolist() for rows in split.inner[0]] == [list(range(6)), [6, 7, 8]]
        folds = pd.Series(np.repeat([3, 1, 2, 5], 3))
        splits = Task("dance", y, parts=folds).splits(inner_folds=3)
        assert [set(folds[s.test]) for s in splits] == [{1}, {2}, {3}, {5}]
        assert all(len(set(folds[test])) == 1 for s in splits for _, test in s.inner)

    def test_bad_tasks_are_refused(self):
        _, y = clusters(12)
        with pytest.raises(ValueError, match="dance: groups must have the clips of target"):
            Task("dance", y, groups=pd.Series(range(11)))
        with pytest.raises(ValueError, match="dance: target has no value for clip 3"):
            Task("dance", y.where(y.index != 3))
        with pytest.raises(ValueError, match="parts must be train, validation, test, or numbers of folds. Got a, b"):
            Task("dance", y, parts=pd.Series(["a", "b"] * 6))
        task = Task("dance", y, groups=pd.Series(np.arange(12) // 4))
        with pytest.raises(ValueError, match="number of clips or groups, 3. Got 10"):
            task.splits(n_folds=10)


class TestMachines:
    @pytest.mark.parametrize("standardise", [True, False])
    def test_kernels_are_those_of_scikit_learn(self, standardise):
        X, y = clusters(90)
        train, test = np.arange(60), np.arange(60, 90)
        kinds = [Machine("linear", 0.0, 2.0), Machine("rbf", 0.05, 2.0), Machine("rbf", 0.05, 32.0)]
        got = machines.predict(X, y.to_numpy(), train, test, kinds, regression=False, standardise=standardise)
        A, B = X[train], X[test]
        if standardise:
            A, B = (
                (A - X[train].mean(axis=0)) / X[train].std(axis=0),
                (B - X[train].mean(axis=0)) / X[train].std(axis=0),
            )
        for row, (kernel, gamma, cost) in zip(got, kinds, strict=True):
            ours = SVC(kernel=kernel, C=cost, **({"gamma": gamma} if gamma else {})).fit(A, y[train])
            assert np.array_equal(row, ours.predict(B))

    def test_regression_is_that_of_scikit_learn_and_does_not_depend_on_units(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(80, 4))
        y = X[:, 0] - 0.5 * X[:, 1] ** 2
        train, test, kinds = np.arange(60), np.arange(60, 80), [Machine("rbf", 0.1, 8.0)]
        raw = machines.predict(X, y, train, test, kinds, regression=True, standardise=False)[0]
        ours = SVR(kernel="rbf", C=8.0, gamma=0.1, epsilon=0.1).fit(X[train], y[train]).predict(X[test])
        np.testing.assert_allclose(raw, ours, atol=1e-3)
        one = machines.predict(X, y, train, test, kinds, regression=True)[0]
        other = machines.predict(1000 * X + 5, 60 + 40 * y, train, test, kinds, regression=True)[0]
        np.testing.assert_allclose(60 + 40 * one, other, atol=0.1)
        assert machines.score(y[test], one, regression=True) > 0.8

    def test_constant_features_and_a_single_class_are_no_trouble(self):
        X, y = clusters(30)
        X = np.column_stack([X, np.full(30, 3.7)])
        train, test = np.arange(20), np.arange(20, 30)
        got = machines.predict(X, y.to_numpy(), train, test, [Machine("linear", 0.0, 1.0)], regression=False)
        without = machines.predict(
            X[:, :-1], y.to_numpy(), train, test, [Machine("linear", 0.0, 1.0)], regression=False
        )
        assert np.array_equal(got, without)
        X[test, -1] = 50.0  # only the test rows differ there
        for kind in (Machine("linear", 0.0, 1.0), Machine("rbf", 0.05, 1.0)):
            columns = (machines.predict(A, y.to_numpy(), train, test, [kind], regression=False) for A in (X, X[:, :-1]))
            np.testing.assert_array_equal(*columns)
        one = machines.predict(X, np.full(30, "waltz"), train, test, SMALL.machines(7), regression=False)
        assert one.shape == (6, 10)
        assert (one == "waltz").all()

    def test_the_grid_is_that_of_the_source(self):
        grid = Grid().machines(96)
        assert len(grid) == 4 * 8
        assert {m.cost for m in grid} == {0.1, 2.0, 8.0, 32.0}
        assert sorted({m.gamma for m in grid if m.kernel == "rbf"}) == sorted(
            [*(2.0**-k for k in range(3, 14, 2)), 1 / 96]
        )
        with pytest.raises(ValueError, match="costs and gammas must be positive"):
            Grid(costs=(0.0,))
        with pytest.raises(ValueError, match="at least one cost and one kernel"):
            Grid(gammas=(), linear=False, by_size=False)

    def test_scores(self):
        y = np.array([1.0, 2.0, 3.0])
        assert machines.score(y, y, regression=True) == 1
        assert machines.score(y, np.full(3, 2.0), regression=True) == 0
        assert machines.score(y, y[::-1], regression=True) == -3
        assert np.isnan(machines.score(np.ones(3), y, regression=True))


class TestSelection:
    def test_a_machine_is_chosen_without_the_clips_it_is_measured_on(self):
        X, y = clusters(60)
        one = selection.nested(X, Task("dance", y), grid=SMALL, n_folds=3, inner_folds=3)
        rows = one.task.splits(n_folds=3, inner_folds=3)[0].test
        changed = y.copy()
        changed[rows] = np.roll(y[rows], 1)  # the same classes as often, so the folds stay
        other = Task("dance", changed)
        splits = one.task.splits(n_folds=3, inner_folds=3)
        object.__setattr__(other, "splits", lambda **_: splits)
        poisoned = selection.nested(X, other, grid=SMALL, n_folds=3, inner_folds=3)
        assert poisoned.chosen[0] == one.chosen[0]
        assert np.array_equal(poisoned.predicted[: len(rows)], one.predicted[: len(rows)])
        assert one.score() > 0.6 > poisoned.folds[0]

    def test_labels_without_meaning_are_at_chance_but_not_on_the_folds_of_the_choice(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(80, 20))
        task = Task("nothing", pd.Series(rng.permutation(np.repeat(["a", "b"], 40))))
        grid = Grid(costs=(0.1, 2.0, 8.0, 32.0))
        honest = np.mean([selection.nested(X, task, grid=grid, n_folds=5, seed=seed).score() for seed in range(3)])
        optimistic = np.mean(
            [selection.same_folds(X, task, grid=grid, n_folds=5, shuffle=True, seed=seed).score() for seed in range(3)]
        )
        assert abs(honest - 0.5) < 0.1
        assert optimistic > honest + 0.02

    def test_groups_keep_what_identifies_an_artist_from_being_rewarded(self):
        rng = np.random.default_rng(1)
        artists = np.repeat(np.arange(20), 6)
        X = rng.normal(size=(20, 8))[artists] + 0.1 * rng.normal(size=(120, 8))  # the artist, and nothing else
        y = pd.Series(rng.permutation(np.repeat(["a", "b"], 10))[artists])
        alone = selection.nested(X, Task("genre", y), grid=SMALL, n_folds=5)
        apart = selection.nested(X, Task("genre", y, groups=pd.Series(artists)), grid=SMALL, n_folds=5)
        assert alone.score() > 0.95
        assert apart.score() < 0.75

    def test_the_sources_score_is_the_best_mean_over_folds(self):
        X, y = clusters(60, distance=0.5)
        task = Task("dance", y)
        outcome = selection.same_folds(X, task, grid=SMALL, n_folds=5)
        folds = [(s.train, s.test) for s in task.splits(n_folds=5, shuffle=False)]
        table = machines.grid_scores(X, y.to_numpy(), folds, SMALL.machines(6), regression=False, standardise=False)
        assert np.mean(outcome.folds) == pytest.approx(table.mean(axis=1).max())
        assert outcome.chosen[0] == SMALL.machines(6)[int(table.mean(axis=1).argmax())]

    def test_screening_keeps_the_machine_that_wins_clearly(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(120, 2))
        y = pd.Series(np.where((X**2).sum(axis=1) > 1.4, "outside", "inside"))  # no linear machine can
        screening = selection.Screening(n_folds=2, n_train=60, finalists=2)
        whole, quick = (
            selection.same_folds(X, Task("ring", y), grid=SMALL, n_folds=5, screening=one) for one in (None, screening)
        )
        assert quick.chosen[0].kernel == whole.chosen[0].kernel == "rbf"
        assert quick.score() == pytest.approx(whole.score(), abs=0.05)

    def test_a_regression_is_compared_with_intervals_by_group(self):
        rng = np.random.default_rng(0)
        groups = pd.Series(np.repeat(np.arange(30), 4))
        x = rng.normal(size=(120, 1))
        blocks = {"1": x + 0.3 * rng.normal(size=(120, 1)), "2": rng.normal(size=(120, 3))}
        task = Task("valence", pd.Series(x[:, 0] + 3.0), groups=groups)
        assert task.is_regression
        table, outcomes = selection.compare(
            FeatureSet(task.ids, blocks), task, [("1",), ("2",), ("1", "2")], grid=SMALL, n_folds=5, repeats=100
        )
        assert table["features"].tolist() == ["1", "2", "12"]
        assert table["size"].tolist() == [1, 3, 4]
        scores = table.set_index("features")["score"]
        assert scores["1"] > 0.8 > 0.2 > scores["2"]
        assert (table["low"] <= table["score"]).all()
        assert (table["score"] <= table["high"]).all()
        change, (low, high) = selection.difference(outcomes["1"], outcomes["2"], repeats=100)
        assert change == pytest.approx(scores["1"] - scores["2"])
        assert 0 < low < change < high
        assert selection.difference(outcomes["1"], outcomes["1"], repeats=20) == (0.0, (0.0, 0.0))

    def test_features_and_outcomes_that_do_not_fit_are_refused(self):
        X, y = clusters(30)
        with pytest.raises(
            ValueError, match=r"X must have one row for each of the 30 clips of dance. Got shape \(29, 6"
        ):
            selection.nested(X[:-1], Task("dance", y))
        one, other = (selection.nested(X, Task("dance", y), grid=SMALL, n_folds=3, seed=seed) for seed in (0, 1))
        with pytest.raises(ValueError, match="of the same clips and folds"):
            selection.difference(one, other)


def test_the_parts_are_named_as_in_the_data_sets():
    assert tasks.PARTS == ("train", "validation", "test")

"""Probing finds what is planted, equals scikit-learn's own answers, and says what it cannot do."""

import functools
import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score, f1_score, matthews_corrcoef, precision_score, recall_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from musictools import datasets, published
from musictools.datasets import splits
from musictools.probing import clips, knn, map_sets, probes, random_forest, scores, svm
from musictools.probing.maps import FeatureMaps


def table(values, names="ab"):
    return pd.DataFrame(np.asarray(values, dtype=bool), columns=list(names)[: np.shape(values)[1]])


def store(folder, layers, ids=None, source=""):
    """Feature maps from arrays (n_maps, n_clips, height, width)."""
    n_clips = next(iter(layers.values())).shape[1]
    shapes = {name: (a.shape[0], *a.shape[2:]) for name, a in layers.items()}
    maps = FeatureMaps.create(folder, shapes, range(n_clips) if ids is None else ids, source=source)
    for rows in maps.missing():
        maps.write(rows.start, {name: a[:, rows.start : rows.stop] for name, a in layers.items()})
    return maps


def halves(n):
    return [(np.arange(n // 2), np.arange(n // 2, n))]


# --- nearest neighbours -----------------------------------------------------------------------------------------------


def data(kind, n, d, rng):
    """Maps of several kinds, with and without ties."""
    if kind == "random":
        return rng.normal(size=(n, d))
    if kind == "duplicated":
        return rng.normal(size=(5, d))[rng.integers(0, 5, n)]
    if kind == "constant":
        return np.full((n, d), 0.1)
    if kind == "bits":
        return rng.integers(0, 2, (n, d))
    if kind == "integers":
        return rng.integers(0, 9, (n, d))
    dead = rng.random((n, 1)) < 0.7  # what a ReLU leaves of most clips, moved by a normalisation
    return np.where(dead, 0, np.maximum(rng.normal(size=(n, d)) - 1, 0)) + 0.33


SHAPES = [
    (60, 40, 30),
    (350, 150, 64),
    (2100, 300, 20),
    (200, 1100, 18),
    (50, 30, 8),
    (16, 10, 3),
    (9, 5, 40),
    (7, 6, 20),
    (400, 60, 6),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", ["random", "duplicated", "constant", "bits", "integers", "dead"])
def test_knn_equals_scikit_learn_prediction_by_prediction(kind, dtype):
    for number, (n, q, d) in enumerate(SHAPES):
        rng = np.random.default_rng(number)
        X = data(kind, n + q, d, rng).astype(dtype)
        X, Q, Y = X[:n], X[n:], rng.random((n, 3)) < [0.1, 0.5, 0.0]
        for k, predicted in knn.predict(X, Y, Q, ks=(3, 4, 7)).items():
            for tag in range(3):
                expected = KNeighborsClassifier(k).fit(X, Y[:, tag]).predict(Q)
                np.testing.assert_array_equal(predicted[:, tag], expected, err_msg=f"{(n, q, d)}, k={k}, tag {tag}")


def test_one_search_serves_all_k_where_no_distances_are_tied(monkeypatch):
    asked, search = [], knn._search
    monkeypatch.setattr(knn, "_search", lambda X, Q, k: asked.append(k) or search(X, Q, k))
    rng = np.random.default_rng(0)
    Y = rng.random((80, 2)) < 0.5
    knn.predict(rng.normal(size=(80, 30)), Y, rng.normal(size=(20, 30)))
    assert asked == [8]
    knn.predict(rng.integers(0, 2, (80, 30)).astype(float), Y, rng.integers(0, 2, (20, 30)).astype(float))
    assert asked[1:] == [8, 3, 5, 7]
    knn.predict(rng.normal(size=(80, 30)), Y, rng.normal(size=(20, 30)), ks=[3])
    assert asked[5:] == [3], "a single k needs no longer list"


def test_knn_refuses_what_does_not_fit():
    X, Y = np.zeros((10, 20)), np.zeros((10, 2), bool)
    with pytest.raises(ValueError, match=r"ks must be ints from 1 to the number of training clips, 10\. Got \[11\]"):
        knn.predict(X, Y, X, ks=[11])
    with pytest.raises(ValueError, match="X has 5 features, but NearestNeighbors is expecting 20"):
        knn.predict(X, Y, X[:, :5])
    with pytest.raises(ValueError, match="Y must be bool"):
        knn.predict(X, Y.astype(int), X)
    with pytest.raises(ValueError, match="NaN"):
        knn.predict(np.full((10, 20), np.nan), Y, X)


# --- random forests and support vector machines -----------------------------------------------------------------------


def test_first_trees_of_a_random_forest_are_the_smaller_one():
    rng = np.random.default_rng(0)
    X, Q = rng.normal(size=(60, 12)).astype(np.float32), rng.normal(size=(40, 12)).astype(np.float32)
    Y = np.stack([X[:, 0] > 0.5, rng.random(60) < 0.3, np.ones(60, bool)], axis=1)
    predicted = random_forest.predict(X, Y, Q, sizes=(4, 10, 25), seed=3)
    assert list(predicted) == [4, 10, 25]
    for size, tag in itertools.product(predicted, range(3)):
        expected = RandomForestClassifier(size, random_state=3).fit(X, Y[:, tag]).predict(Q)
        np.testing.assert_array_equal(predicted[size][:, tag], expected)
    with pytest.raises(ValueError, match=r"sizes must be positive ints\. Got \[0\]"):
        random_forest.predict(X, Y, Q, sizes=[0])


def test_machines_learn_what_they_can():
    rng = np.random.default_rng(0)
    X, Q = rng.normal(size=(200, 20)).astype(np.float32), rng.normal(size=(200, 20)).astype(np.float32)
    linear, ring = (lambda a: a[:, 0] > 0), (lambda a: (a[:, :3] ** 2).sum(axis=1) > 2.4)
    Y = np.stack([linear(X), ring(X), np.zeros(200, bool), np.ones(200, bool)], axis=1)
    predicted = svm.predict(X, Y, Q, kinds=svm.KINDS, components=150)
    right = {kind: [np.mean(p[:, 0] == linear(Q)), np.mean(p[:, 1] == ring(Q))] for kind, p in predicted.items()}
    assert all(right[kind][0] > 0.8 for kind in svm.KINDS)
    assert right["rbf"][1] > right["linear"][1] + 0.05
    assert all(not p[:, 2].any() and p[:, 3].all() for p in predicted.values())


def test_rbf_is_scikit_learns_own_on_centred_maps():
    rng = np.random.default_rng(1)
    X, Q = rng.normal(3, 2, (80, 16)), rng.normal(3, 2, (40, 16))
    Y = rng.random((80, 2)) < 0.4
    expected = [SVC(class_weight="balanced").fit(X - X.mean(axis=0), y).predict(Q - X.mean(axis=0)) for y in Y.T]
    np.testing.assert_array_equal(svm.predict(X, Y, Q, kinds=["rbf"])["rbf"], np.stack(expected, axis=1))


def test_machines_survive_dead_maps_and_refuse_unknown_kinds():
    X, Y = np.full((30, 20), 0.3, np.float32), np.arange(30)[:, None] % 3 == 0
    assert {p.shape for p in svm.predict(X, Y, X, kinds=svm.KINDS).values()} == {(30, 1)}
    with pytest.raises(ValueError, match="kinds must be a list of linear, rbf, nystroem"):
        svm.predict(X, Y, X, kinds=["cubic"])
    with pytest.raises(ValueError, match="cost and kernel_cost must be positive"):
        svm.predict(X, Y, X, cost=0.0)


# --- measures ---------------------------------------------------------------------------------------------------------


def test_measures_are_scikit_learns():
    rng = np.random.default_rng(0)
    rows, expected = [], []
    for _ in range(20):
        y, p = rng.random(30) < 0.3, rng.random(30) < 0.4
        rows.append({"tp": (y & p).sum(), "fp": (~y & p).sum(), "fn": (y & ~p).sum(), "tn": (~y & ~p).sum()})
        expected.append(
            [
                np.mean(y == p),
                precision_score(y, p, zero_division=0),
                recall_score(y, p),
                f1_score(y, p),
                f1_score(y, np.ones(30, bool)),
                balanced_accuracy_score(y, p),
                matthews_corrcoef(y, p),
            ]
        )
    measured = scores.measures(pd.DataFrame(rows))
    names = ["accuracy", "precision", "recall", "f1", "guess_f1", "balanced_accuracy", "mcc"]
    np.testing.assert_allclose(measured[names], expected)
    np.testing.assert_allclose(measured["over_guess"], measured["f1"] - measured["guess_f1"])
    share = (measured["tp"] + measured["fn"]) / 30
    np.testing.assert_allclose(measured["guess_f1"], 2 * share / (1 + share))


def test_undefined_measures_are_nan_and_no_crash():
    measured = scores.measures(pd.DataFrame({"tp": [0, 5, 0], "fp": [2, 0, 0], "fn": [0, 1, 4], "tn": [5, 0, 6]}))
    assert measured["f1"].isna().tolist() == [True, False, False]
    assert measured["balanced_accuracy"].isna().tolist() == [True, True, False]
    assert measured["mcc"].tolist()[2] == 0
    assert measured["precision"].tolist()[2] == 0
    low, high = scores.jackknife(measured, "f1")
    assert np.isnan(low[0])
    assert (low[2], high[2]) == (0, 0), "no single clip changes an F1 of 0"
    with pytest.raises(ValueError, match="at least 0, without NaN"):
        scores.measures(pd.DataFrame({"tp": [-1], "fp": [2], "fn": [0], "tn": [5]}))
    with pytest.raises(ValueError, match="measure must be one of accuracy"):
        scores.jackknife(measured, "f2")


@pytest.mark.parametrize("measure", ["f1", "balanced_accuracy", "over_guess", "accuracy", "mcc"])
def test_jackknife_in_closed_form_is_leaving_out_every_clip(measure):
    rng = np.random.default_rng(0)
    y, p = rng.random(60) < 0.4, rng.random(60) < 0.5

    def value(y, p):
        counts = {"tp": [(y & p).sum()], "fp": [(~y & p).sum()], "fn": [(y & ~p).sum()], "tn": [(~y & ~p).sum()]}
        return pd.DataFrame(counts), scores.measures(pd.DataFrame(counts))[measure].iloc[0]

    counts, whole = value(y, p)
    left = np.array([value(np.delete(y, i), np.delete(p, i))[1] for i in range(60)])
    error = np.sqrt(59 / 60 * ((left - left.mean()) ** 2).sum())
    low, high = scores.jackknife(counts, measure)
    np.testing.assert_allclose([low[0], high[0]], [whole - 1.959964 * error, whole + 1.959964 * error], rtol=1e-6)


def test_jackknife_covers_the_truth():
    rng = np.random.default_rng(0)
    y = rng.random((2000, 120)) < 0.3
    p = np.where(y, rng.random(y.shape) < 0.7, rng.random(y.shape) < 0.2)
    counts = pd.DataFrame({"tp": (y & p).sum(1), "fp": (~y & p).sum(1), "fn": (y & ~p).sum(1), "tn": (~y & ~p).sum(1)})
    low, high = scores.jackknife(counts, "f1")
    truth = 2 * 0.21 / (2 * 0.21 + 0.14 + 0.09)
    assert np.mean((low < truth) & (truth < high)) == pytest.approx(0.95, abs=0.02)


# --- clips ------------------------------------------------------------------------------------------------------------


def test_rare_tags_are_left_out_with_a_reason():
    labels = table([[1, 0, 1]] * 9 + [[0, 1, 1]] * 30, "abc")
    kept, left_out = clips.usable(labels)
    assert list(kept) == []
    assert left_out["a"] == "9 clips have it, 10 are needed"
    assert left_out["b"] == "9 clips lack it, 10 are needed"
    assert list(clips.usable(labels, min_positives=9)[0]) == ["a", "b"]
    with pytest.raises(ValueError, match="min_positives must be a positive int. Got 0"):
        clips.usable(labels, min_positives=0)


# --- probing ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Six maps of 90 clips: number 4 depends on the first tag, the others are noise, and number 1 is dead."""
    rng = np.random.default_rng(0)
    labels = table(rng.random((90, 2)) < 0.4)
    values = rng.random((6, 90, 5, 6)).astype(np.float32)
    values[4] += 2 * labels["a"].to_numpy()[:, None, None]
    values[1] = 0.25
    return store(tmp_path_factory.mktemp("planted") / "maps", {"conv": values}), labels


METHODS = {"knn": {"ks": [3, 5]}, "rf": {"sizes": [5, 9]}, "svm": {"kinds": ["linear"], "cost": 1.0}}


def test_every_method_ranks_the_planted_map_first(planted):
    maps, labels = planted
    counts, seconds = probes.probe(maps, labels, splits.folds(90), methods=METHODS, workers=1)
    assert set(counts["model"]) == {"knn_3", "knn_5", "rf_5", "rf_9", "svm_linear"}
    assert len(seconds) == 6 * 3
    assert (counts[list(scores.COUNTS)].sum(axis=1) == 30).all()
    mean = scores.mean_over_folds(counts)
    for _, group in mean[mean["tag"] == "a"].groupby("model"):
        assert group.loc[group["f1"].idxmax(), "map"] == 4
        assert group["f1"].max() > 0.95
        assert group["f1"].nlargest(2).iloc[1] < 0.65


def test_random_maps_stay_at_the_guess(tmp_path):
    rng = np.random.default_rng(1)
    labels = table(rng.random((200, 4)) < [0.1, 0.3, 0.5, 0.7], "abcd")
    maps = store(tmp_path / "maps", {"conv": rng.random((25, 200, 4, 5)).astype(np.float32)})
    counts, _ = probes.probe(maps, labels, halves(200), methods={"knn": {"ks": [3]}}, workers=1)
    best = scores.best(counts)
    assert (best["p"] > 0.05).all(), "no tag has a map that is significant among 25"
    assert scores.measures(counts)["balanced_accuracy"].mean() == pytest.approx(0.5, abs=0.01)
    assert (best["over_guess_low"] < 0).all()


def test_fisher_of_the_best_map_rarely_errs():
    rng = np.random.default_rng(2)
    n_maps, false = 20, 0
    for _ in range(200):
        y, p = rng.random(100) < 0.15, rng.random((n_maps, 100)) < 0.15
        rows = pd.DataFrame(
            {
                "layer": "conv",
                "map": range(n_maps),
                "tag": "a",
                "tp": (y & p).sum(1),
                "fp": (~y & p).sum(1),
                "fn": (y & ~p).sum(1),
                "tn": (~y & ~p).sum(1),
            }
        )
        false += scores.best(rows)["p"].iloc[0] < 0.05
    assert false <= 16  # 5 % of 200, and luck


def test_probing_does_not_depend_on_the_order_of_clips_or_the_number_of_workers(planted):
    maps, labels = planted
    folds, methods = splits.folds(90), {"knn": {"ks": [3]}}
    one, _ = probes.probe(maps, labels, folds, methods=methods, workers=1)
    two, _ = probes.probe(maps, labels, folds, methods=methods, workers=2)
    pd.testing.assert_frame_equal(one, two)
    turned = [tuple(89 - rows for rows in fold) for fold in folds]
    pd.testing.assert_frame_equal(one, probes.probe(maps, labels[::-1], turned, methods=methods, workers=1)[0])


def test_finished_maps_are_kept_and_told_apart(planted, tmp_path, monkeypatch):
    maps, labels = planted
    calls, real = [], knn.predict
    monkeypatch.setitem(probes.METHODS, "knn", lambda *a, **o: calls.append(1) or real(*a, **o))
    options = {"methods": {"knn": {"ks": [3]}}, "folder": tmp_path, "workers": 1}
    first, _ = probes.probe(maps, labels, halves(90), **options)
    again, _ = probes.probe(maps, labels, halves(90), **options)
    assert len(calls) == 6
    pd.testing.assert_frame_equal(first, again)
    probes.probe(maps, ~labels, halves(90), **options)
    assert len(calls) == 12, "other labels are probed anew"


def test_probing_refuses_what_makes_no_sense(planted, tmp_path):
    maps, labels = planted
    with pytest.raises(ValueError, match="methods must be among knn, rf, svm. Got tree"):
        probes.probe(maps, labels, halves(90), methods={"tree": {}})
    with pytest.raises(ValueError, match="other clips to test on. Got 90 and 90, 90 of them the same"):
        probes.probe(maps, labels, [(np.arange(90), np.arange(90))], methods={"knn": {}})
    with pytest.raises(ValueError, match="There are no feature maps of 1 clips, first 'other'"):
        probes.probe(maps, labels.rename(index={3: "other"}), halves(90), methods={"knn": {}})
    with pytest.raises(ValueError, match="labels must be bool with at least one tag"):
        probes.probe(maps, labels[[]], halves(90), methods={"knn": {}})
    with pytest.raises(ValueError, match="from 1 to the number of training clips, 2"):
        probes.probe(maps, labels, [(np.arange(2), np.arange(2, 9))], methods={"knn": {}}, workers=1)
    broken = np.zeros((1, 4, 2, 2), np.float32)
    broken[0, 2] = np.nan
    bad = store(tmp_path / "bad", {"conv": broken})
    with pytest.raises(ValueError, match="Map 0 of 'conv' holds NaN or Inf for 1 of 4 clips, first 2"):
        probes.probe(bad, labels[:4], halves(4), methods={"knn": {"ks": [1]}}, workers=1)


def test_folds_without_a_tag_are_nan_and_left_out_of_means(planted):
    maps, _ = planted
    rare = table(np.arange(90)[:, None] == [3, 4])  # one clip each: fewer than folds
    counts, _ = probes.probe(maps, rare, splits.folds(90), methods=METHODS, workers=1)
    measured = scores.measures(counts)
    assert measured["f1"].isna().groupby([measured["tag"], measured["model"]]).mean().eq(2 / 3).all()
    assert scores.mean_over_folds(counts)["f1"].eq(0).all()


# --- tables -----------------------------------------------------------------------------------------------------------


def counted(rows):
    return pd.DataFrame(rows, columns=["layer", "map", "model", "tag", "fold", "tp", "fp", "fn", "tn"])


def test_cross_validation_table_by_hand():
    counts = counted(
        [
            ["conv", 0, "knn_3", "a", 0, 2, 0, 2, 6],
            ["conv", 0, "knn_3", "a", 1, 4, 0, 0, 6],
            ["conv", 1, "knn_3", "a", 0, 0, 0, 4, 6],
            ["conv", 1, "knn_3", "a", 1, 0, 0, 4, 6],
            ["conv", 0, "knn_3", "b", 0, 1, 1, 1, 7],
            ["conv", 0, "knn_3", "b", 1, 0, 0, 0, 10],
            ["conv", 1, "knn_3", "b", 0, 1, 1, 1, 7],
            ["conv", 1, "knn_3", "b", 1, 0, 0, 0, 10],
        ]
    )
    averages = scores.cross_validation(counts, tags=["b", "a", "c"])
    assert list(averages) == ["model", "metric", "average", "b", "a", "c"]
    assert averages[["model", "metric"]].to_numpy().tolist() == [["knn_3", "f1"], ["knn_3", "recall"]]
    np.testing.assert_allclose(averages["a"], [(2 / 3 + 1) / 4, (0.5 + 1) / 4])
    np.testing.assert_allclose(averages["b"], [0.5, 0.5])  # the fold without b is left out
    assert averages["c"].isna().all()
    np.testing.assert_allclose(averages["average"], (averages["a"] + averages["b"]) / 2)


def test_ranked_maps_and_the_choice_by_cross_validation():
    rows = [["conv", k, "knn_3", "a", 0, tp, 0, 10 - tp, 90] for k, tp in enumerate([3, 9, 9, 0, 5])]
    rows += [["conv", k, "knn_3", "b", 0, 0, 5, 0, 95] for k in range(5)]  # no clip has it
    top, low = scores.ranked(counted(rows), n=2), scores.ranked(counted(rows), n=2, ascending=True)
    assert list(top) == ["tag", "rank", "feature_map", "accuracy", "f1"]
    assert top["feature_map"].tolist() == [1, 2], "of equal ones the lower comes first"
    assert low["feature_map"].tolist() == [0, 3], "the last is the very worst"
    assert set(top["tag"]) == {"a"}
    other = counted([["conv", k, "knn_3", "a", 0, tp, 0, 10 - tp, 90] for k, tp in enumerate([9, 1, 1, 1, 1])])
    best = scores.best(counted(rows), validation=other).iloc[0]
    assert (best["feature_map"], best["chosen_map"], best["maps"]) == (1, 0, 5)
    assert best["chosen_f1"] == pytest.approx(6 / 13)
    assert best["f1_low"] < best["f1"] < best["f1_high"]


def test_models_are_compared_on_the_maps_that_all_were_tried_on():
    rows = [["conv", k, "knn_3", "a", 0, tp, 0, 10 - tp, 90] for k, tp in enumerate([10, 0, 0])]
    rows += [["conv", 0, "rf_5", "a", 0, 5, 0, 5, 90]]
    ranking = scores.choice(counted(rows))
    assert ranking["model"].tolist() == ["knn_3", "rf_5"]
    assert ranking["maps"].tolist() == [1, 1]
    assert ranking["f1"].iloc[0] == 1
    with pytest.raises(ValueError, match="No map was tried by all models"):
        scores.choice(counted(rows[1:]))


# --- sets of maps -----------------------------------------------------------------------------------------------------


def test_smallest_set_is_the_two_maps_that_carry_a_tag_together():
    rng = np.random.default_rng(0)
    X, groups = rng.normal(size=(300, 24)), np.repeat(np.arange(12), 2)
    y = X[:, 6] - X[:, 15] + 0.3 * rng.normal(size=300) > 0
    members, path = map_sets.smallest_set(X, y, groups)
    assert members.tolist() == [3, 7]
    assert path["chosen"].sum() == 1
    assert path.loc[path["chosen"], "roc_auc"].iloc[0] > 0.95
    top = path.loc[path["roc_auc"].idxmax()]
    good = path[path["roc_auc"] >= top["roc_auc"] - top["error"]]
    assert path.loc[path["chosen"], "maps"].iloc[0] == good["maps"].min()
    with pytest.raises(ValueError, match="at least n_folds=5 clips of either kind. Got 4 with the tag"):
        map_sets.smallest_set(X, np.arange(300) < 4, groups)


def test_maps_that_add_less_than_one_standard_error_stay_out():
    rng = np.random.default_rng(0)
    X, groups = rng.normal(size=(200, 16)), np.repeat(np.arange(8), 2)
    y = X[:, 6] + 0.15 * X[:, 9:14].sum(axis=1) + 0.5 * rng.normal(size=200) > 0
    members, path = map_sets.smallest_set(X, y, groups)
    assert members.tolist() == [3]
    assert path.loc[path["roc_auc"].idxmax(), "maps"] > 1, "more maps score higher, but not clearly"


def test_sets_of_planted_maps_on_clips_not_seen(tmp_path):
    rng = np.random.default_rng(3)
    labels = table(rng.random((240, 2)) < 0.4)
    values = rng.random((6, 240, 3, 3)).astype(np.float32)
    values[2] += 0.6 * labels["a"].to_numpy()[:, None, None]
    maps = store(tmp_path / "maps", {"one": values[:3], "two": values[3:]})
    pooled = map_sets.pooled(maps, labels.index, workers=1)
    np.testing.assert_allclose(pooled["one", 2, "maximum"], values[2].max(axis=(1, 2)))
    np.testing.assert_allclose(pooled["two", 0, "mean"], values[3].mean(axis=(1, 2)), rtol=1e-6)
    smallest = map_sets.smallest_sets(pooled, labels, splits.train_test(labels.index), workers=1).set_index(
        ["layer", "tag"]
    )
    assert smallest.loc[("one", "a"), "feature_maps"] == "2"
    assert smallest.loc[("all", "a"), "feature_maps"] == "one 2"
    assert smallest.loc[("all", "a"), "roc_auc_low"] > 0.9
    assert smallest.loc[("two", "a"), "roc_auc_low"] < 0.55, "noise carries nothing"
    assert smallest.loc["all", "best_map"]["a"] == "one 2"


def test_the_limit_gives_table_6_1_on_the_real_annotations(shared_data):
    folder = shared_data / "magnatagatune"
    if not folder.is_dir():
        pytest.skip("the real annotations of MagnaTagATune are not here")
    data = datasets.load("magnatagatune", data_dir=folder)
    aside = splits.held_out_clips(data, hold_out=2000, choice="last").index  # they leave before the limit
    ten = data.descriptors.drop(index=aside)[list(clips.TAGS)]
    thesis = functools.partial(published.number, "rotheneder2023")
    assert ten.any(axis=1).sum() == thesis("probing_clips")
    assert (ten["guitar"].sum(), ten["violin"].sum()) == (thesis("guitar_clips"), thesis("violin_clips"))
    counts = splits.limit_per_tag(ten, per_tag=3000).sum()
    printed = published.table("rotheneder2023_table_6_1_tag_occurrence").set_index("tag")["clips"]
    assert counts["guitar"] == printed["guitar"] == 3000
    assert (counts / printed - 1).abs().max() < 0.1

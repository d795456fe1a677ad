"""From descriptors to genres: the network, Shapley values with known answers, calibration, real annotations."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest

from musictools import datasets, tags
from musictools.datasets import splits
from musictools.experiments import mapping as experiments
from musictools.mapping import membership, network, shapley
from musictools.models import mapping as builder
from musictools.models.card import ModelCard
from musictools.plots import mapping as figures

GENRES = ["classic", "indian", "rock"]


def planted(n=240, *, seed=0):
    """Clips whose first three descriptors each determine a genre; three more are random."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, 3, n)
    X = np.concatenate([np.eye(3, dtype=bool)[code], rng.random((n, 3)) < 0.5], axis=1)
    index = pd.Index(np.arange(n) + 100, name="clip_id")
    descriptors = pd.DataFrame(X, index=index, columns=["violin", "sitar", "loud", "slow", "fast", "dark"])
    artists = pd.Series([f"a{k % 24}" for k in range(n)], index)
    return descriptors, pd.Series(np.array(GENRES)[code], index=index), artists


@pytest.fixture(scope="module")
def trained():
    descriptors, genres, _ = planted()
    own = network.DescriptorNetwork(units=16, dropout=0.3, batch_size=20, epochs=25, learning_rate=0.01)
    return own.fit(descriptors.to_numpy(), genres)


class TestNetwork:
    def test_has_the_layers_of_the_thesis(self):
        model = builder.build(n_descriptors=108, n_genres=8, units=200, dropout=0.4, seed=0)
        kinds = [type(layer).__name__ for layer in model.layers]
        assert kinds == ["InputLayer", "Dense", "Dropout", "Dense", "Softmax"]
        assert model.count_params() == 109 * 200 + 201 * 8
        assert model.get_layer("dropout").rate == 0.4

    def test_learns_what_is_planted(self, trained):
        descriptors, genres, _ = planted(seed=1)
        degrees = trained.predict_proba(descriptors.to_numpy())
        np.testing.assert_allclose(degrees.sum(axis=1), 1)
        assert (trained.predict(descriptors.to_numpy()) == genres).mean() == 1
        assert list(trained.classes_) == GENRES

    def test_same_seed_same_network_other_seed_another(self):
        descriptors, genres, _ = planted(60)
        X = descriptors.to_numpy()
        one, same, other = (
            network.DescriptorNetwork(units=4, epochs=2, seed=s).fit(X, genres).predict_proba(X) for s in (3, 3, 4)
        )
        np.testing.assert_array_equal(one, same)
        assert np.abs(one - other).max() > 1e-3

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"units": 0}, r"units must be .* at least 1\. Got 0"),
            ({"dropout": 1.0}, r"dropout must lie in \[0, 1\)\. Got 1"),
            ({"n_descriptors": 0}, "n_descriptors must be"),
            ({"n_genres": 1}, "n_genres"),
        ],
    )
    def test_refuses_what_cannot_be_built(self, options, message):
        with pytest.raises(ValueError, match=message):
            builder.build(**{"n_descriptors": 3, "n_genres": 2, **options})

    def test_refuses_scores_and_a_single_genre(self):
        with pytest.raises(ValueError, match="True and False"):
            network.DescriptorNetwork().fit(np.full((4, 2), 0.3), ["rock", "pop"] * 2)
        with pytest.raises(ValueError, match="at least two genres. Got 1"):
            network.DescriptorNetwork().fit(np.ones((4, 2)), ["rock"] * 4)


class TestMapping:
    @pytest.fixture
    def mapping(self, trained):
        card = ModelCard(task="mapping", model="mapping", inputs=planted()[0].columns, outputs=GENRES)
        return membership.Mapping(trained.model_, card)

    def test_one_set_a_table_and_scores_say_the_same(self, mapping):
        one = mapping.membership(["sitar", "slow"])
        assert one.idxmax() == "indian"
        table = pd.DataFrame({"sitar": [True], "slow": [True], "unheard of": [True]}, index=["x"])
        np.testing.assert_allclose(mapping.membership(table).loc["x"], one)
        assert mapping.membership([]).sum() == pytest.approx(1)

    def test_follows_a_taggers_thresholds(self, mapping):
        class Tagger:
            def decide(self, scores, *, rule):
                limit = {"f1": {"sitar": 0.2}, "half": {}}[rule]
                given = [score > limit.get(tag, 0.5) for tag, score in scores.items()]
                return pd.DataFrame({"tag": scores.index, "predicted": given})

        scores = pd.Series({"sitar": 0.3, "slow": 0.6, "violin": 0.4, "unheard of": 0.9})
        np.testing.assert_allclose(mapping.following(Tagger())(scores), mapping.membership(["sitar", "slow"]))
        np.testing.assert_allclose(mapping.following(Tagger(), rule="half")(scores), mapping.membership(["slow"]))

    def test_unknown_descriptors_are_refused(self, mapping):
        with pytest.raises(ValueError, match=r"names that the mapping knows, such as violin.*'sitra'"):
            mapping.membership(["sitra"])
        with pytest.raises(ValueError, match="must be a table or names"):
            mapping.membership("sitar")

    def test_comes_back_from_disk(self, mapping, tmp_path):
        path = tmp_path / "models" / "mapping.keras"
        path.parent.mkdir()
        mapping.model.save(path)
        with pytest.raises(ValueError, match=r"has no card: neither .*mapping\.json"):
            membership.Mapping.load(path)
        card = tmp_path / "cards" / "mapping.json"
        card.parent.mkdir()
        card.write_text(mapping.card.model_dump_json())
        again = membership.Mapping.load(path)
        np.testing.assert_allclose(again.membership(["loud"]), mapping.membership(["loud"]), rtol=1e-6)
        card.write_text(
            ModelCard(task="genre", model="x", outputs=GENRES, front_end=None, length=1, step=1).model_dump_json()
        )
        with pytest.raises(ValueError, match="says task='genre'"):
            membership.Mapping.load(path)

    def test_card_must_fit(self, trained):
        with pytest.raises(ValueError, match="2 descriptors and 3 genres, the model has 6 inputs"):
            membership.Mapping(trained.model_, ModelCard(task="mapping", model="m", inputs=["a", "b"], outputs=GENRES))


def slow_shapley(worth, n):
    """The definition: the mean over all orders of what a player adds when it joins."""
    total = np.zeros(n)
    for order in itertools.permutations(range(n)):
        inside = np.zeros((1, n), dtype=bool)
        for player in order:
            before = worth(inside)[0]
            inside[0, player] = True
            total[player] += worth(inside)[0] - before
    return total / math.factorial(n)


class TestShapley:
    @staticmethod
    def game(n, seed=0):
        table = np.random.default_rng(seed).normal(size=2**n)
        return lambda coalitions: table[coalitions @ (1 << np.arange(n))]

    @pytest.mark.parametrize("n", [1, 2, 3, 5])
    def test_exact_is_the_definition(self, n):
        np.testing.assert_allclose(shapley.shapley(self.game(n), n), slow_shapley(self.game(n), n))

    def test_additive_game_gives_every_player_its_own(self):
        own = np.array([3.0, -1.0, 0.5, 0.0])
        for exact in (14, 0):
            np.testing.assert_allclose(shapley.shapley(lambda c: c @ own, 4, exact=exact), own)

    def test_glove_game(self):
        # one left glove, two right ones; a pair is worth 1: 2/3 for the left, 1/6 for each right glove
        values = shapley.shapley(lambda c: c[:, 0] & (c[:, 1] | c[:, 2]), 3)
        np.testing.assert_allclose(values, [2 / 3, 1 / 6, 1 / 6])

    def test_sampling_adds_up_and_comes_near(self):
        game = self.game(6)
        exact, sampled = shapley.shapley(game, 6), shapley.shapley(game, 6, exact=0, permutations=4000, seed=1)
        assert sampled.sum() == pytest.approx(exact.sum())
        np.testing.assert_allclose(sampled, exact, atol=0.08)
        assert np.abs(sampled - exact).max() > 0

    def test_an_order_and_its_reverse_solve_a_game_of_pairs(self):
        sampled = shapley.shapley(lambda c: c.sum(axis=1) ** 2, 6, exact=0, permutations=2)
        np.testing.assert_allclose(sampled, 6.0)

    def test_several_games_at_once_and_none(self):
        both = shapley.shapley(lambda c: np.stack([self.game(4)(c), self.game(4, 1)(c)], axis=1), 4)
        np.testing.assert_allclose(both[:, 1], shapley.shapley(self.game(4, 1), 4))
        assert shapley.shapley(self.game(0), 0).shape == (0,)
        with pytest.raises(ValueError, match="exact lie between 0 and 24"):
            shapley.shapley(self.game(3), 3, exact=30)

    def test_contributions_add_up_and_find_what_is_planted(self, trained):
        descriptors, _, artists = planted(80, seed=2)
        values = shapley.contributions(trained.predict_proba, descriptors)
        nothing = trained.predict_proba(np.zeros((1, 6)))
        gained = trained.predict_proba(descriptors.to_numpy()) - nothing
        np.testing.assert_allclose(values.sum(axis=1), gained, atol=1e-6)
        assert (values[~descriptors.to_numpy()] == 0).all()
        table = shapley.table(values, descriptors, genres=GENRES, groups=artists, repeats=50)
        best = table[table["value"] > 0].groupby("genre")["descriptor"].first()
        assert best.to_dict() == {"classic": "violin", "indian": "sitar", "rock": "loud"}
        assert table["clear"].head(3).all()
        assert (table["value_low"] <= table["value"]).all()
        assert (table["value"] <= table["value_high"]).all()

    def test_rare_descriptors_are_left_out_and_one_group_has_no_interval(self, trained):
        descriptors, _, _ = planted(12, seed=3)
        descriptors["dark"] = False
        values = shapley.contributions(trained.predict_proba, descriptors)
        table = shapley.table(values, descriptors, genres=GENRES, groups=np.zeros(12), smallest=1, repeats=10)
        assert "dark" not in set(table["descriptor"])
        assert table["value_low"].isna().all()
        assert not table["clear"].any()

    def test_a_table_without_rows_has_numbers_as_columns(self, trained):
        descriptors, _, _ = planted(12, seed=3)
        values = shapley.contributions(trained.predict_proba, descriptors)
        table = shapley.table(values, descriptors, genres=GENRES, smallest=13)
        assert table.empty
        assert table.groupby("descriptor")["value"].max().nlargest(3).empty


class TestScores:
    def test_by_hand(self):
        table = pd.DataFrame([[0.8, 0.2], [0.4, 0.6]], index=[1, 2], columns=["pop", "rock"])
        genres = pd.Series(["pop", "pop"], index=[1, 2])
        measures = experiments.scores(table, genres)
        assert measures["accuracy"] == 0.5
        assert measures["log_loss"] == pytest.approx(-(math.log(0.8) + math.log(0.4)) / 2)
        assert measures["brier"] == pytest.approx((0.04 + 0.04 + 0.36 + 0.36) / 2)
        assert measures["calibration_error"] == pytest.approx((0.2 + 0.6) / 2)
        row = experiments.affiliation(table, genres, repeats=20)
        assert row["affiliation"] == pytest.approx(0.6)
        assert row["right"] == 0.5
        assert row["affiliation_low"] <= 0.6 <= row["affiliation_high"]

    def test_calibration_error_looks_at_highest_degrees_and_knows_certainty(self):
        table = pd.DataFrame([[0.5, 0.3, 0.2], [1.0, 0.0, 0.0]], columns=["pop", "rock", "metal"])
        genres = pd.Series(["pop", "pop"])
        assert experiments.scores(table, genres)["calibration_error"] == pytest.approx((0.5 + 0) / 2)
        curve = experiments.calibration(table, genres).set_index("bin")
        assert curve["degrees"].to_dict() == {0.0: 2, 0.2: 1, 0.3: 1, 0.5: 1, 0.9: 1}
        assert curve.at[0.9, "degree"] == 1

    def test_a_genre_without_a_column_has_degree_0(self):
        table = pd.DataFrame([[0.8, 0.2]], index=[1], columns=["pop", "rock"])
        genres = pd.Series(["metal"], index=[1])
        assert experiments.affiliation(table, genres, repeats=5)["affiliation"] == 0
        measures = experiments.scores(table, genres)
        assert measures["log_loss"] == pytest.approx(-math.log(1e-6))
        assert measures["brier"] == pytest.approx(0.64 + 0.04 + 1)
        with pytest.raises(ValueError, match="no clips"):
            experiments.affiliation(table.iloc[:0], genres)

    def test_probabilities_are_calibrated_and_sharpened_ones_are_not(self):
        rng = np.random.default_rng(0)
        p = rng.random(20_000)
        genres = pd.Series(np.where(rng.random(20_000) < p, "pop", "rock"))
        calibrated = pd.DataFrame({"pop": p, "rock": 1 - p})
        curve = experiments.calibration(calibrated, genres, repeats=40)
        assert curve["gap"].abs().max() < 0.02
        assert ((curve["share_low"] <= curve["degree"] + 0.01) & (curve["share_high"] >= curve["degree"] - 0.01)).all()
        sharp = calibrated**4
        sharp = sharp.div(sharp.sum(axis=1), axis=0)
        errors = [experiments.scores(d, genres)["calibration_error"] for d in (calibrated, sharp)]
        assert errors[0] < 0.02 < 0.1 < errors[1]
        assert curve["degrees"].sum() == 40_000

    def test_calibration_counts_by_hand(self):
        table = pd.DataFrame([[0.95, 0.05], [0.91, 0.09], [0.3, 0.7]], columns=["pop", "rock"])
        curve = experiments.calibration(table, pd.Series(["pop", "rock", "rock"])).set_index("bin")
        assert curve.loc[0.9, ["degrees", "share"]].tolist() == [2, 0.5]
        assert curve.loc[0.9, "degree"] == pytest.approx(0.93)
        assert curve["degrees"].to_dict() == {0.0: 2, 0.3: 1, 0.7: 1, 0.9: 2}


class TestExperiments:
    def test_grid_finds_what_can_learn(self):
        descriptors, genres, _ = planted(90)
        table = experiments.grid_search(
            descriptors,
            genres,
            choices={"units": [1, 16]},
            folds=2,
            workers=1,
            epochs=15,
            learning_rate=0.02,
            batch_size=10,
        )
        assert table["units"].tolist() == [16, 1]
        assert table.at[0, "accuracy"] > table.at[1, "accuracy"] + 0.05
        with pytest.raises(ValueError, match="n_folds must be an int from 2 to the number of clips, 90. Got 100"):
            experiments.grid_search(descriptors, genres, choices={"units": [1]}, folds=100)

    def test_classifiers_are_compared_out_of_fold_and_by_division(self):
        descriptors, genres, artists = planted(120)
        simple = experiments.CLASSIFIERS[1:]
        table = experiments.compare(descriptors, genres, groups=artists, seeds=[0, 1], classifiers=simple, workers=1)
        assert len(table) == 2 * 2 * 4
        mean = table.groupby("rival")["accuracy"].mean()
        assert mean[["logistic regression", "naive Bayes", "decision tree"]].eq(1).all()
        assert mean["commonest genre"] < 0.5
        judged = experiments.out_of_fold(descriptors, genres, groups=artists, classifiers=simple, folds=4, workers=1)
        assert all(np.allclose(m.sum(axis=1), 1) and m.index.equals(genres.index) for m in judged.values())
        assert experiments.scores(judged["naive Bayes"], genres)["accuracy"] == 1

    def test_out_of_fold_knows_no_clip_of_the_artist(self):
        # one descriptor and one genre per artist: a classifier knows the genre only if it was trained with the artist
        artists = pd.Series(np.repeat([f"a{k}" for k in range(12)], 10))
        genres = pd.Series(np.repeat(["pop", "rock"] * 6, 10))
        descriptors = pd.get_dummies(artists).astype(bool)
        accuracy = {}
        for name, groups in (("unknown", artists), ("known", pd.Series(np.arange(120)))):
            memberships = experiments.out_of_fold(
                descriptors, genres, groups=groups, classifiers=["decision tree"], folds=3, workers=1
            )
            accuracy[name] = experiments.scores(memberships["decision tree"], genres)["accuracy"]
        assert accuracy["unknown"] < 0.8
        assert accuracy["known"] == 1

    def test_grid_search_is_scikit_learns(self):
        from sklearn.model_selection import cross_val_score

        descriptors, genres, _ = planted(45)
        options = {"epochs": 3, "learning_rate": 0.01}
        table = experiments.grid_search(
            descriptors, genres, choices={"units": [4]}, folds=3, seed=2, workers=1, **options
        )
        cut = splits.folds(45, n_folds=3, seed=2)
        own = network.DescriptorNetwork(units=4, seed=2, **options)
        accuracy = cross_val_score(own, descriptors.to_numpy(), genres.to_numpy(), cv=cut, error_score="raise")
        assert table.at[0, "accuracy"] == pytest.approx(accuracy.mean())
        assert table.at[0, "deviation"] == pytest.approx(accuracy.std(ddof=1))

    def test_trainings_run_once_and_depend_on_their_data(self, tmp_path, monkeypatch):
        descriptors, genres, artists = planted(60)
        fitted = []
        make = experiments.classifier
        monkeypatch.setattr(experiments, "classifier", lambda *a, **k: fitted.append(a) or make(*a, **k))

        def judged(**changes):
            options = {"descriptors": descriptors, "genres": genres, "groups": artists, "seed": 0, "folds": 3} | changes
            return experiments.out_of_fold(**options, classifiers=["naive Bayes"], folder=tmp_path, workers=1)[
                "naive Bayes"
            ]

        first = judged()
        assert len(fitted) == 3
        pd.testing.assert_frame_equal(judged(), first)
        assert len(fitted) == 3
        changes = [{"descriptors": ~descriptors}, {"genres": genres[::-1].set_axis(genres.index)}, {"seed": 1},
                   {"descriptors": descriptors.rename(columns={"violin": "harp"})}, {"folds": 2}]  # fmt: skip
        for change in changes:
            judged(**change)
        assert len(fitted) == 3 + 4 * 3 + 2

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"classifier": "oracle"}, "classifier must be one of network, .*Got 'oracle'"),
            ({"divisions": []}, "at least one pair"),
            ({"divisions": [(pd.Index([100, 101]), pd.Index([101]))]}, "Clip 101 is in the training and the test"),
            ({"divisions": [(pd.Index([100]), pd.Index([7]))]}, "1 clips have no descriptors or no genre, such as 7"),
            ({"seed": -1}, "greater than or equal to 0"),
        ],
    )
    def test_tasks_that_cannot_be_trained_are_refused(self, change, message):
        descriptors, genres, _ = planted(10)
        task = {"classifier": "naive Bayes", "descriptors": descriptors, "genres": genres,
                "divisions": [(genres.index[:5], genres.index[5:])]}  # fmt: skip
        experiments.MappingTask(**task)
        with pytest.raises(ValueError, match=message):
            experiments.MappingTask(**(task | change))
        with pytest.raises(ValueError, match="must add up to 1"):
            experiments.MappingResult(classifier="network", memberships=(pd.DataFrame({"pop": [0.5]}),))

    def test_unknown_classifier(self):
        with pytest.raises(ValueError, match=r"name must be one of network, .*Got 'oracle'"):
            experiments.classifier("oracle")


def test_tree_asks_the_planted_questions():
    import matplotlib.pyplot as plt

    descriptors, genres, _ = planted()
    classifier = experiments.classifier("decision tree", leaves=3).fit(descriptors.to_numpy(), genres)
    fig, ax = plt.subplots()
    figures.tree(classifier, descriptors=list(descriptors.columns), ax=ax)
    texts = [t.get_text() for t in ax.texts]
    plt.close(fig)
    asked = {t.split("?")[0] for t in texts if "?" in t}
    assert len(asked) == 2
    assert asked < {"violin", "sitar", "loud"}
    leaves = [t for t in texts if "100%" in t and "?" not in t]
    assert {t.split()[0] for t in leaves} == set(GENRES)
    assert sum(int(t.split("\n")[2].split()[0]) for t in leaves) == len(genres)
    assert {"no", "yes"} <= set(texts)


def test_real_annotations_give_the_clips_of_the_thesis_and_82_per_cent_over_five_divisions(shared_data):
    folder = shared_data / "magnatagatune"
    if not folder.is_dir():
        pytest.skip("the real annotations of MagnaTagATune are not here")
    clips = tags.single_genre(datasets.load("magnatagatune", data_dir=folder), min_descriptors=3)
    X, genres = clips.descriptors, clips.genres
    assert X.shape == (5889, 108)
    accuracy = {"network": [], "logistic regression": []}
    for seed in range(5):
        train, test = splits.shuffle_split(genres.index, seed=seed)
        for name, values in accuracy.items():
            classifier = experiments.classifier(name, seed=seed, units=50, dropout=0.3, batch_size=30, epochs=8)
            classifier.fit(X.loc[train].to_numpy(), genres[train].to_numpy())
            values.append(np.mean(classifier.predict(X.loc[test].to_numpy()) == genres[test].to_numpy()))
    assert np.mean(accuracy["network"]) >= 0.82  # 80.9 % in the thesis
    assert abs(np.mean(accuracy["network"]) - np.mean(accuracy["logistic regression"])) < 0.01

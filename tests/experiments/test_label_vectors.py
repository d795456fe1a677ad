"""Notebook 12: similarity of label vectors against co-occurrence."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from musictools import models, published, released, runs, tags
from musictools.experiments import label_vectors, label_vectors_released
from musictools.experiments.jobs import Job, Result

NAMES = list("abcdefgh")


def square(seed, n=8):
    S = np.random.default_rng(seed).normal(size=(n, n))
    return pd.DataFrame(S + S.T, index=NAMES[:n], columns=NAMES[:n])


@pytest.fixture
def labels():
    rng = np.random.default_rng(0)
    loud = rng.random((300, 1)) < 0.5
    return pd.DataFrame((rng.random((300, 8)) < 0.3) & (loud | (np.arange(8) > 3)), columns=NAMES)


def test_the_output_layer_is_read_whatever_its_name_or_input(tmp_path):
    model = models.build("compact_convnet", n_outputs=3, width=0.25, seed=0)
    W = label_vectors.label_vectors(model, ["x", "y", "z"])
    x = np.random.default_rng(0).random((2, 96, 1360, 1), dtype=np.float32)
    import keras

    features = keras.Model(model.input, model.get_layer("logits").input).predict(x, verbose=0)
    logits = keras.Model(model.input, model.get_layer("logits").output).predict(x, verbose=0)
    np.testing.assert_allclose(features @ W.to_numpy(), logits, atol=1e-5)  # the bias is 0 before training
    with pytest.raises(ValueError, match="names must hold the 3 tags of the network. Got 2"):
        label_vectors.label_vectors(model, ["x", "y"])


def test_similarity_is_the_dot_product_of_columns():
    W = pd.DataFrame(np.random.default_rng(0).normal(size=(5, 3)), columns=list("xyz"))
    S, cosine = label_vectors.similarity(W), label_vectors.similarity(W, cosine=True)
    for a, b in itertools.product("xyz", repeat=2):
        assert S.loc[a, b] == pytest.approx(sum(W[a] * W[b]))
        assert cosine.loc[a, b] == pytest.approx(S.loc[a, b] / np.sqrt(S.loc[a, a] * S.loc[b, b]))
    silent = label_vectors.similarity(W.assign(z=0.0), cosine=True)
    assert silent["z"].eq(0).all(), "a vector of zeros resembles nothing"


def test_co_occurrence_in_the_larger_direction(labels):
    C = tags.co_occurrence(labels.assign(h=False))
    together = label_vectors.either_way(C)
    assert list(together) == NAMES[:-1], "a tag without clips is left out"
    for a, b in itertools.combinations(NAMES[:-1], 2):
        both = sum(labels[a] & labels[b])
        assert together.loc[a, b] == together.loc[b, a] == both / min(sum(labels[a]), sum(labels[b]))


def test_rank_correlation_is_spearmans_and_the_order_of_tags_does_not_matter():
    a, b = square(0), square(1)
    upper = np.triu_indices(8, 1)
    row = label_vectors.correlations({"a": a}, b, repeats=50).iloc[0]
    assert row["pairs"] == 28
    assert row["correlation"] == pytest.approx(stats.spearmanr(a.to_numpy()[upper], b.to_numpy()[upper])[0])
    other = NAMES[::-1]
    again = label_vectors.correlations({"a": a.loc[other, other]}, b, repeats=50).iloc[0]
    pd.testing.assert_series_equal(row, again)


def test_p_is_small_for_a_relation_and_not_for_none():
    a = square(0)
    table = label_vectors.correlations({"same": a, "opposite": -a, "none": square(3)}, a, baseline="none", repeats=200)
    table = table.set_index("name")
    assert table.at["same", "correlation"] == pytest.approx(1)
    assert table.at["same", "p"] == pytest.approx(1 / 201)
    assert table.at["opposite", "p"] == 1
    assert table.at["none", "p"] > 0.02
    assert table.at["none", "gain"] == 0
    assert table.at["none", "gain_high"] == 0
    assert table.at["same", "gain"] == pytest.approx(1 - table.at["none", "correlation"])
    assert table.at["same", "gain_low"] > 0


def test_partial_correlation_is_that_of_residuals():
    a, b, reference = square(0), square(1), square(0) + square(1) + square(2)
    table = label_vectors.correlations({"a": a, "b": b}, reference, baseline="b", repeats=20).set_index("name")
    upper = np.triu_indices(8, 1)
    x, y, base = (stats.rankdata(m.to_numpy()[upper]) for m in (a, reference, b))
    x, y = (values - np.polyval(np.polyfit(base, values, 1), base) for values in (x, y))
    assert table.at["a", "partial"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert np.isnan(table.at["b", "partial"]), "a matrix explains all of itself"


def test_a_resampled_tag_is_no_pair_with_itself():
    a = square(0, 3) + 100 * np.eye(3)  # a diagonal that would dominate
    row = label_vectors.correlations({"a": a}, square(0, 3), repeats=200).iloc[0]
    assert row["correlation"] == pytest.approx(1)
    assert row["low"] == pytest.approx(1)


def test_the_interval_covers_a_known_correlation():
    """Similarities are a sum of what tags share, so that pairs with a common tag depend on each other."""
    inside = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        common, own = rng.normal(size=(30, 6)), rng.normal(size=(30, 6))
        a, b = common + own, common - own  # correlation 0 of what they share
        a, b = (pd.DataFrame(x @ x.T, index=range(30), columns=range(30)) for x in (a, b))
        row = label_vectors.correlations({"a": a}, b, repeats=100, seed=seed).iloc[0]
        inside += row["low"] <= 0.0 <= row["high"]
    assert inside >= 32


def test_bad_matrices_are_refused():
    with pytest.raises(ValueError, match="must share at least three tags. Got 2"):
        label_vectors.correlations({"a": square(0, 2)}, square(1))
    with pytest.raises(ValueError, match="baseline must be one of a. Got 'b'"):
        label_vectors.correlations({"a": square(0)}, square(1), baseline="b")


def test_pairs_are_named_from_the_rarer_tag_and_ranked(labels):
    S, C = square(0), tags.co_occurrence(labels)
    table = label_vectors.pairs(S, C)
    assert len(table) == 28
    assert (labels.sum()[table["first"]].to_numpy() <= labels.sum()[table["second"]].to_numpy()).all()
    for row in table.itertuples():
        assert row.similarity == S.loc[row.first, row.second]
        assert row.co_occurrence == C.loc[row.first, row.second] >= C.loc[row.second, row.first]
    assert table["similarity"].is_monotonic_decreasing
    assert sorted(table["co_occurrence_rank"]) == list(range(1, 29))
    shuffled = label_vectors.pairs(S.loc[NAMES[::-1], NAMES[::-1]], C.loc[NAMES[::-1], NAMES[::-1]])
    assert {frozenset(p) for p in shuffled[["first", "second"]].head(9).to_numpy()} == {
        frozenset(p) for p in table[["first", "second"]].head(9).to_numpy()
    }


def test_tables_of_the_most_similar_pairs(labels):
    table = label_vectors.pairs(square(0), tags.co_occurrence(labels))
    top, common = label_vectors.table_7_c(table, n=6)
    assert list(top) == list(published.table("choi2018_table_7_c_similar_pairs"))
    assert common == len(set(top["by_labels"]) & set(top["by_label_vectors"]))
    assert top["by_label_vectors"][0] == f"{table['first'][0]}, {table['second'][0]}"
    overlooked = label_vectors.overlooked_pairs(table, similar=6)
    assert len(overlooked) == 6 - common
    assert (overlooked["similarity_rank"] <= 6).all()
    assert overlooked["co_occurrence_rank"].is_monotonic_decreasing


def test_tags_of_one_meaning_are_those_with_equal_truth():
    tags_of = {"drum": [1, 1, 0, 0], "drums": [1, 1, 0, 0], "slow": [1, 0, 1, 0], "beat": [1, 1, 1, 0], "never": 0}
    truth = pd.DataFrame(tags_of).astype(bool)  # whatever has drums has a beat, but not the other way round
    S = pd.DataFrame(np.eye(5), index=list(truth), columns=list(truth))
    S.loc["drum", "drums"] = S.loc["drums", "drum"] = 0.5
    table = label_vectors.same_meaning({"right": S, "wrong": -S}, truth, repeats=50).set_index("name")
    assert table["same"].eq(1).all(), "tags that are never true mean nothing"
    assert table.at["right", "roc_auc"] == 1
    assert table.at["wrong", "roc_auc"] == 0
    alone = label_vectors.same_meaning({"S": S}, truth[["drum", "slow"]], repeats=5)
    assert alone["roc_auc"].isna().all()


def test_tags_of_the_figure():
    assert label_vectors.figure_tags([*label_vectors.FIGURE_TAGS, "jazz"]) == list(label_vectors.FIGURE_TAGS)
    assert label_vectors.figure_tags(NAMES, n=3) == ["a", "b", "c"]


def test_mean_roc_auc_of_test_clips():
    scores, clip = np.array([[0.9, 0.5], [0.1, 0.5], [0.2, 0.5]]), np.array([7, 7, 9])
    result = Result(
        job=Job(model="fcn4", n_tags=2, labels="annotated", protocol="rotheneder2023"), classes=("a", "b"),
        history=pd.DataFrame(), scores={"test": scores}, clip={"test": clip},
    )  # fmt: skip
    labels = pd.DataFrame({"a": [True, False], "b": [False, False]}, index=[7, 9])
    assert label_vectors.tagger_roc_auc(result, labels) == 1.0, "the mean of 0.9 and 0.1 is above 0.2; b has no clips"


def test_without_files_there_is_no_network_and_no_label(monkeypatch, tmp_path):
    monkeypatch.setenv("MUSICTOOLS_SHARED_DATA", str(tmp_path))
    assert label_vectors_released.released_vectors("choi2018") is None
    assert label_vectors_released.labels_of("mtg_jamendo", ["genre---rock"]) is None
    table, found = label_vectors_released.released_table(["choi2018"])
    assert len(table) == len(found) == 0
    assert "cosine" in table


def test_jamendo_tags_from_its_table_of_tracks(monkeypatch, tmp_path):
    (tmp_path / "mtg_jamendo").mkdir()
    tracks = {"genre": [["rock"], [], []], "instrument": [[], ["bass"], []], "mood_theme": [["happy"], [], []]}
    pd.DataFrame(tracks).to_parquet(tmp_path / "mtg_jamendo" / "tracks.parquet")
    monkeypatch.setenv("MUSICTOOLS_SHARED_DATA", str(tmp_path))
    table = label_vectors_released.labels_of("mtg_jamendo", ["genre---rock", "mood/theme---happy", "instrument---bass"])
    assert table.to_numpy().tolist() == [[True, True, False], [False, False, True]]


@pytest.fixture
def songs(shared_data):
    names = (shared_data / "msd" / "tags.txt").read_text().split("\n")[:50]
    arrays = [np.load(shared_data / "msd" / f"{part}_y.npy") for part in ("valid", "test")]
    return pd.DataFrame(np.concatenate(arrays).astype(bool), columns=names)


def test_co_occurrence_of_real_songs_equals_a_direct_count(songs):
    own = label_vectors_released.labels_of("million_song", list(songs))
    assert len(own) == songs.any(axis=1).sum()
    C = tags.co_occurrence(own)
    direct = sum(songs["alternative rock"] & songs["rock"]) / sum(songs["alternative rock"])
    assert C.at["alternative rock", "rock"] == pytest.approx(direct)
    assert direct == pytest.approx(0.593, abs=0.001)
    theirs = published.table("choi2018_table_7_c_similar_pairs")["by_labels"]
    ours = label_vectors.table_7_c(label_vectors.pairs(C, C))[0]["by_labels"]
    assert len({frozenset(p.split(", ")) for p in ours} & {frozenset(p.split(", ")) for p in theirs}) >= 14


def test_original_network(songs):
    """The published network's weights, against the co-occurrence of songs that it was not trained on."""
    table, found = label_vectors_released.released_table(["choi2018"], repeats=100)
    row = table.iloc[0]
    assert (row["features"], row["tags"], row["clips"]) == (32, 50, songs.any(axis=1).sum())
    assert row["correlation"] == pytest.approx(0.483, abs=0.001)
    assert row["cosine"] == pytest.approx(0.517, abs=0.001)
    assert row["low"] < row["correlation"] < row["high"]
    assert row["p"] < 0.02
    S, C = found["choi2018"]
    assert S.loc["hard rock", "heavy metal"] > S.loc["hard rock", "jazz"]


@pytest.mark.full
def test_every_released_network_agrees_with_its_labels(shared_data):
    table, _ = label_vectors_released.released_table(released.names(), repeats=100)
    assert set(table["network"]) == set(released.names())
    assert table["cosine"].between(0.25, 0.65).all()
    assert (table["cosine_low"] > 0).all()
    jamendo = table["data"] == "mtg_jamendo"
    assert table.loc[~jamendo, "p"].lt(0.02).all()
    assert table.loc[jamendo, "correlation"].max() < table.loc[~jamendo, "correlation"].min()
    # The lengths of the vectors hide the similarity in these networks.
    assert (table.loc[jamendo, "cosine"] > table.loc[jamendo, "correlation"] + 0.1).all()


def test_weights_of_an_installed_network_are_those_of_the_authors_file(shared_data, monkeypatch, tmp_path):
    monkeypatch.setenv("MUSICTOOLS_DATA", str(tmp_path))
    read = label_vectors_released.released_vectors("won2020-mtat-fcn")
    released.add("won2020-mtat-fcn", shared_data / "won2020" / "mtat_fcn.pth")
    pd.testing.assert_frame_equal(label_vectors_released.released_vectors("won2020-mtat-fcn"), read)
    assert runs.shared_data() == shared_data

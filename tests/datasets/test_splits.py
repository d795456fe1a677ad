"""Splits on random data, draws that must not change, leakage by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from musictools import datasets, published, runs, tags
from musictools.datasets import leakage, splits
from musictools.datasets.base import Dataset
from musictools.models.card import ModelCard
from musictools.probing import clips


def table(rows, names="ab"):
    return pd.DataFrame(np.asarray(rows, dtype=bool), columns=list(names))


def random_clips(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 400))
    strata = pd.Series(rng.choice(list("abcde"), n, p=rng.dirichlet(np.ones(5))), index=rng.permutation(10 * n)[:n])
    artists = pd.Series(rng.integers(0, max(4, n // 6), n), index=strata.index).astype(object)
    artists[rng.random(n) < 0.05] = None
    raw = rng.uniform(0.1, 1, int(rng.integers(2, 5)))
    parts = {f"part {k}": share for k, share in enumerate(raw / raw.sum())}
    return strata, artists, parts


@pytest.mark.parametrize("seed", range(30))
def test_random_splits_meet_their_shares_in_every_stratum(seed):
    strata, _, parts = random_clips(seed)
    split = splits.random(strata, shares=parts, seed=seed)
    assert split.index.equals(strata.index)
    for part, share in parts.items():
        assert abs((split == part).sum() - share * len(split)) <= 1 + 1e-9
        for stratum in strata.unique():
            inside = strata == stratum
            assert abs(((split == part) & inside).sum() - share * inside.sum()) <= 2 + 1e-9
    pd.testing.assert_series_equal(split, splits.random(strata, shares=parts, seed=seed))
    assert not split.equals(splits.random(strata, shares=parts, seed=seed + 1))


@pytest.mark.parametrize("seed", range(30))
def test_no_artist_stands_on_two_sides(seed):
    strata, artists, parts = random_clips(seed)
    split = splits.grouped(strata, artists, shares=parts, seed=seed)
    assert split.index.equals(strata.index)
    assert split.notna().all()
    assert split.groupby(artists).nunique().max() == 1
    largest = artists.value_counts().max()
    for part, share in parts.items():
        assert abs((split == part).mean() - share) <= max(0.06, 1.5 * largest / len(split))
    pd.testing.assert_series_equal(split, splits.grouped(strata, artists, shares=parts, seed=seed))


def test_an_artist_split_keeps_genres_even_where_artists_allow():
    rng = np.random.default_rng(0)
    artists = pd.Series(np.repeat(np.arange(200), 5))
    strata = pd.Series(np.repeat(rng.choice(list("ab"), 200, p=[0.8, 0.2]), 5))
    split = splits.grouped(strata, artists, shares={"train": 0.7, "test": 0.3}, seed=0)
    for stratum in "ab":
        assert (split[strata == stratum] == "test").mean() == pytest.approx(0.3, abs=0.02)


def test_clips_without_artist_stand_for_themselves():
    strata = pd.Series(["a"] * 100)
    split = splits.grouped(strata, pd.Series([""] * 100), shares={"train": 0.8, "test": 0.2}, seed=0)
    assert (split == "test").sum() == 20


def test_strata_are_genre_none_or_several():
    genres = pd.DataFrame({"rock": [True, False, True], "pop": [False, False, True]})
    assert splits.strata(genres).to_list() == ["rock", "none", "several"]


def test_leakage_by_hand():
    tracks = pd.DataFrame(
        {
            "artist": ["Ann", "Ann", "Ann", "Bob", "Cyd", "", ""],
            "album": ["One", "One", "Two", "One", "Six", "", ""],
            "track": ["Ann 1", "Ann 1", "Ann 2", "Bob 1", "Cyd 1", "x", "y"],
        }
    )
    split = pd.Series(["train", "test", "test", "test", "test", "train", "test"])
    row = leakage(split, tracks).set_index("part").loc["test"]
    assert row["clips"] == 5
    assert row["track"] == pytest.approx(1 / 5)
    assert row["album"] == pytest.approx(1 / 5)  # Bob's "One" is another album
    assert row["artist"] == pytest.approx(2 / 5)  # and nobody is no artist


def test_a_shuffle_split_keeps_artists_together():
    ids = pd.RangeIndex(240)
    artists = pd.Series(np.repeat(np.arange(24), 10), ids)
    train, test = splits.shuffle_split(ids, groups=artists, seed=1)
    assert set(artists[train]).isdisjoint(artists[test])
    assert set(train) | set(test) == set(ids)
    train, test = splits.shuffle_split(ids, test_share=0.25)
    assert len(test) == 60
    assert not set(train) & set(test)


def test_limit_is_never_exceeded():
    rng = np.random.default_rng(0)
    for trial in range(30):
        labels = table(rng.random((300, 6)) < rng.random(6), "abcdef")
        limit = int(rng.integers(1, 120))
        kept = splits.limit_per_tag(labels, per_tag=limit, seed=trial)
        assert kept.sum().max() <= limit
        assert kept.any(axis=1).all()
        assert kept.index.is_monotonic_increasing
        missing = labels[labels.any(axis=1)].drop(index=kept.index)
        full = labels.columns[labels.sum() > limit]
        assert missing[full].any(axis=1).all(), "only clips of a tag that is too frequent may leave"
    frequent = labels.sum().idxmax()
    limit = int(labels[frequent].sum()) - 10
    assert splits.limit_per_tag(labels, per_tag=limit)[frequent].sum() <= limit


def test_limit_takes_the_most_frequent_tag_first_and_is_seeded():
    labels = table([[1, 0]] * 40 + [[0, 1]] * 20 + [[0, 0]] * 5)
    kept = splits.limit_per_tag(labels, per_tag=25, seed=0)
    assert kept.sum().tolist() == [25, 20]
    pd.testing.assert_frame_equal(kept, splits.limit_per_tag(labels, per_tag=25, seed=0))
    assert not kept.index.equals(splits.limit_per_tag(labels, per_tag=25, seed=1).index)
    assert len(splits.limit_per_tag(labels)) == 60, "without a limit only clips without any tag leave"
    inner = table([[1, 1]] * 40 + [[1, 0]] * 10)  # taken second, b keeps its share of a: 8 of 10; taken first, 5
    assert np.mean([splits.limit_per_tag(inner, per_tag=10, seed=seed)["b"].sum() for seed in range(20)]) > 7
    with pytest.raises(ValueError, match="No clip has any of the tags a, b"):
        splits.limit_per_tag(labels[60:])
    with pytest.raises(ValueError, match="per_tag must be an int and at least 0. Got -1"):
        splits.limit_per_tag(labels, per_tag=-1)
    with pytest.raises(ValueError, match="labels must be a DataFrame of bool"):
        splits.limit_per_tag(labels.astype(int))


def test_division_takes_clips_that_no_network_knows_first():
    parts = splits.train_test(range(100), first=range(90, 100), seed=1)
    assert (parts == "test").sum() == 20
    assert (parts[90:] == "test").all()
    assert (splits.train_test(range(100), first=range(50, 100))[:50] == "train").all()
    with pytest.raises(ValueError, match="test_share must lie in"):
        splits.train_test(range(100), test_share=0.001)


def test_division_keeps_groups_together():
    groups = np.random.default_rng(0).integers(0, 20, 200)
    parts = splits.train_test(range(200), groups=groups, seed=2)
    assert not set(groups[parts == "train"]) & set(groups[parts == "test"])
    assert (parts == "test").sum() == pytest.approx(40, abs=10)
    with pytest.raises(ValueError, match="groups must name two groups or more"):
        splits.train_test(range(200), groups=np.zeros(200))


def test_folds_share_no_clip():
    folds = splits.folds(50, n_folds=3)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(50))
    assert all(not set(train) & set(test) for train, test in folds)
    with pytest.raises(ValueError, match="n_folds must be an int from 2 to the number of clips, 3"):
        splits.folds(3, n_folds=4)


def test_groups_are_chosen_whole():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        groups = rng.integers(0, 2 + 3 * seed, 200)
        chosen = splits.choose_groups(groups, share=0.2, seed=seed)
        assert 0 < chosen.sum() < 200
        assert not set(groups[chosen]) & set(groups[~chosen])
        np.testing.assert_array_equal(chosen, splits.choose_groups(groups, share=0.2, seed=seed))
        n = len(set(groups))
        assert len(set(groups[chosen])) == max(1, round(0.2 * n))
    assert splits.choose_groups(np.array([0, 0, 1]), share=0.9, seed=0).sum() in (1, 2)


def test_limit_takes_as_many_as_the_rarest_genre_has():
    series = pd.Series(["a"] * 7 + ["b"] * 3 + ["c"] * 5, index=range(15))
    assert splits.limit_per_class(series, per_class=0, seed=0).value_counts().to_dict() == {"a": 3, "b": 3, "c": 3}
    assert splits.limit_per_class(series, per_class=4, seed=0).value_counts().to_dict() == {"a": 4, "b": 3, "c": 4}
    two, same, other = (splits.limit_per_class(series, per_class=2, seed=seed) for seed in (0, 0, 1))
    assert two.equals(same)
    assert not two.equals(other)


def test_folds_of_groups_share_no_group():
    groups = np.random.default_rng(0).integers(0, 9, 60)
    folds = splits.folds(60, n_folds=4, groups=groups, seed=2)
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(60))
    assert all(not set(groups[train]) & set(groups[test]) for train, test in folds)


# --- held-out clips ---------------------------------------------------------------------------------------------------


def songs(n=240, *, per_artist=4):
    """Clips of artists with one genre each; every seventh clip has two genres, every fifth no descriptor."""
    ids = pd.Index(np.arange(n) * 2 + 3, name="clip_id")
    number = np.arange(n) // per_artist
    genres = pd.DataFrame({g: number % 3 == k for k, g in enumerate(("rock", "pop", "classic"))}, index=ids)
    genres.iloc[::7] = True
    tracks = pd.DataFrame({"artist": [f"a{k}" for k in number], "album": "", "title": "", "path": ""}, index=ids)
    descriptors = pd.DataFrame({"loud": np.arange(n) % 5 > 0}, index=ids)
    data = Dataset("nowhere", tracks=tracks, tags=descriptors, genres=genres, descriptors=descriptors)
    data.split_kinds = ("random", "artist")
    return data


HELD_OUT = [{"hold_out": 40}, {"hold_out": 40, "unseen_share": 0.5}, {"hold_out": 40, "choice": "last"}]


@pytest.mark.parametrize("held_out", HELD_OUT)
@pytest.mark.parametrize("seed", range(6))
def test_genre_models_and_taggers_hold_out_the_same_clips(held_out, seed):
    data = songs()
    single = tags.single_genre(data).genres
    kept = set(splits.held_out_clips(data, **held_out, seed=seed).index)
    assert len(kept) == 40
    assert kept <= set(single.index)
    some = data.tracks.index[::2]  # as if the others could not be decoded
    for ids in (data.tracks.index, some):
        parts = splits.tagger_split(data, ids, **held_out, seed=seed)["part"]
        assert set(parts.index[parts == "hold_out"]) == kept & set(ids)
        for kind in ("random", "artist"):
            for draw in range(6):
                known = single[single.index.isin(ids)]
                split = splits.genre_split(data, known, **held_out, kind=kind, seed=seed, draw=draw)
                assert set(split.index[split == "hold_out"]) == kept & set(ids)
                assert split.index.equals(known.index)


def test_the_draw_changes_training_and_test_only():
    data = songs()
    single = tags.single_genre(data).genres
    one, other = (splits.genre_split(data, single, hold_out=40, kind="random", draw=draw) for draw in (0, 1))
    assert (one == "hold_out").equals(other == "hold_out")
    assert not one.equals(other)


def test_unseen_artists_have_no_other_single_genre_clip():
    data = songs()
    artist, single = data.tracks["artist"], tags.single_genre(data).genres
    kept = splits.held_out_clips(data, hold_out=60, unseen_share=0.5)
    unseen = set(artist[kept.index[kept == "unseen"]])
    assert abs((kept == "unseen").sum() - 30) <= 4
    assert not unseen & set(artist[single.index.difference(kept.index)])
    assert not unseen & set(artist[kept.index[kept == "seen"]])


def test_clips_without_a_tag_are_unused_unless_held_out():
    data = songs()
    parts = splits.tagger_split(data, data.tracks.index, hold_out=40, labels=data.descriptors)["part"]
    tagged = data.descriptors.any(axis=1)
    assert set(parts[~tagged]) == {"unused", "hold_out"}
    assert set(parts[tagged]) == {"train", "validation", "test", "hold_out"}


def test_what_cannot_be_held_out_is_refused():
    data = songs()
    for arguments, sentence in (
        ({"hold_out": 240}, "hold_out must lie between 0 and the number of single-genre clips, 205"),
        ({"hold_out": 9, "unseen_share": 1.0}, r"unseen_share in \[0, 1\)"),
        ({"hold_out": 9, "choice": "first"}, "choice must be 'random' or 'last'. Got 'first'"),
        ({"hold_out": 9, "choice": "last", "unseen_share": 0.5}, "unseen_share must be 0 where choice='last'"),
    ):
        with pytest.raises(ValueError, match=sentence):
            splits.held_out_clips(data, **arguments)
    assert splits.held_out_clips(data, hold_out=0).empty


def test_a_card_tells_clips_that_its_model_has_learnt():
    fields = {"task": "genre", "model": "ckn19", "outputs": ["a", "b"], "front_end": None, "length": 8, "step": 4}
    card = ModelCard(**fields, training_clips=[1, 2, 3], held_out_clips=pd.Index([7, 8, 9]))
    splits.check_held_out(card, pd.Index([7, 9]))
    splits.check_held_out(card, [])
    splits.check_held_out(ModelCard(**fields, training_clips=["x"]), ["y"])
    with pytest.raises(ValueError, match="ckn19 was trained on 2 of the 3 clips that are to be unseen, such as 3"):
        splits.check_held_out(card, [7, 3, 1])
    with pytest.raises(ValueError, match="1 of the 2 clips, such as 5, were not held out when ckn19 was trained"):
        splits.check_held_out(card, [7, 5])


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("profile", sorted(path.parent.name for path in ROOT.glob("params/*/common.yaml")))
def test_all_notebooks_of_a_profile_hold_out_the_same_clips(profile):
    """Also those that are run by hand: their defaults are the values of the demo."""
    chosen, defaults = {}, {}
    for path in sorted((ROOT / "params" / profile).glob("[0-9]*.yaml")):
        notebook = ROOT / "notebooks" / f"{path.stem}.ipynb"
        values = runs.resolve(notebook, path.parent / "common.yaml", path)
        names = [name for name in ("dataset", "n_clips", "corpus_seed", "held_out", "seed") if name in values]
        chosen[path.stem] = {name: values[name] for name in names}
        defaults[path.stem] = {name: runs.resolve(notebook)[name] for name in names}
    assert chosen
    for name in ("dataset", "n_clips", "corpus_seed", "held_out", "seed"):
        assert len({str(values[name]) for values in chosen.values() if name in values}) <= 1, name
    if profile == "demo":
        assert chosen == defaults


@pytest.mark.real_data
def test_the_last_clips_give_the_counts_of_the_thesis(shared_data):
    """And no random draw does: over 20 draws its counts lie outside of all of the ranges checked here."""
    data = datasets.load("magnatagatune", data_dir=shared_data / "magnatagatune")
    single = tags.single_genre(data).genres

    def counts(held_out):
        left = data.descriptors.drop(index=held_out)
        ten = left[list(clips.TAGS)].any(axis=1)
        frequent = left.sum().nlargest(50)
        return {
            "clips_with_a_descriptor": int(left.any(axis=1).sum()),
            "least_clips_of_top_10": int(frequent.iloc[9]),
            "least_clips_of_top_50": int(frequent.iloc[49]),
            "probing_clips": int(ten.sum()),
            "guitar_clips": int(left["guitar"].sum()),
            "violin_clips": int(left["violin"].sum()),
        }

    printed = {key: published.number("rotheneder2023", key) for key in counts([])}
    last = splits.held_out_clips(data, hold_out=2000, choice="last").index
    assert counts(last) == printed
    left = single.drop(index=last).value_counts()
    table = published.table("rotheneder2023_table_3_1_mel_spectrograms").set_index("genre")["semi_balanced"] / 13
    assert left.clip(upper=1000).to_dict() == table.drop("total").to_dict()
    for draws in (
        [splits.held_out_clips(data, hold_out=2000, seed=seed).index for seed in range(20)],
        [single.sample(2000, random_state=seed).index for seed in range(20)],
    ):
        spread = pd.DataFrame([counts(ids) for ids in draws]).agg(["min", "median", "max"]).T.astype(int)
        print(spread.assign(thesis=printed).to_string())
        for key in ("clips_with_a_descriptor", "probing_clips", "guitar_clips", "violin_clips"):
            assert printed[key] < spread.at[key, "min"], key
            assert printed[key] == pytest.approx(spread.at[key, "median"], rel=0.06)
    ten = data.descriptors.drop(index=last)[list(clips.TAGS)]
    limited = pd.DataFrame([splits.limit_per_tag(ten, per_tag=3000, seed=seed).sum() for seed in range(20)])
    table = published.table("rotheneder2023_table_6_1_tag_occurrence").set_index("tag")["clips"]
    print(limited.agg(["min", "median", "max"]).T.assign(thesis=table).to_string())
    assert (table / limited.median() - 1).abs().max() < 0.04


# --- draws that may not change: results of the demo rest on them ------------------------------------------------------

IDS = pd.Index([11, 3, 8, 5, 20, 14, 2, 9, 7, 16])
GENRES = pd.Series(list("aaabbbaabb"), IDS)
ARTISTS = pd.Series(list("uvuvwxxyyz"), IDS)
HALF = {"train": 0.5, "test": 0.5}
DRAWS = {
    "random": lambda: splits.random(GENRES, shares=HALF, seed=1).eq("test"),
    "grouped": lambda: splits.grouped(GENRES, ARTISTS, shares=HALF, seed=1).eq("test"),
    "shuffle_split": lambda: splits.shuffle_split(IDS, seed=1)[1],
    "shuffle_split by group": lambda: splits.shuffle_split(IDS, groups=ARTISTS, seed=1)[1],
    "train_test": lambda: splits.train_test(IDS, test_share=0.4, first=[5], seed=1).eq("test"),
    "train_test by group": lambda: splits.train_test(IDS, test_share=0.4, groups=ARTISTS, seed=1).eq("test"),
    "choose_groups": lambda: pd.Series(splits.choose_groups(ARTISTS.to_numpy(), share=0.4, seed=1), IDS),
    "folds": lambda: IDS[splits.folds(10, seed=1)[0][1]],
    "folds by group": lambda: IDS[splits.folds(10, groups=ARTISTS.to_numpy(), seed=1)[0][1]],
    "limit_per_class": lambda: splits.limit_per_class(GENRES, per_class=2, seed=1).index,
    "limit_per_tag": lambda: splits.limit_per_tag(pd.get_dummies(GENRES).astype(bool), per_tag=2, seed=1).index,
}
PINNED = {
    "random": [8, 20, 14, 2, 16],
    "grouped": [11, 8, 20, 14, 2],
    "shuffle_split": [8, 16, 2],
    "shuffle_split by group": [3, 5, 20],
    "train_test": [5, 20, 9, 7],
    "train_test by group": [11, 8, 9, 7],
    "choose_groups": [11, 8, 9, 7],
    "folds": [8, 20, 2, 16],
    "folds by group": [3, 5, 20],
    "limit_per_class": [11, 5, 9, 7],
    "limit_per_tag": [8, 14, 2, 16],
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_stay_as_they_are(name):
    drawn = DRAWS[name]()
    assert list(drawn.index[drawn] if isinstance(drawn, pd.Series) else drawn) == PINNED[name]

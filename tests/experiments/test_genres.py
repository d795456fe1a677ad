"""The genre experiments: which clips take part, and what their scores say."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from musictools.datasets.base import Dataset
from musictools.experiments import genres


@pytest.fixture
def data():
    n = 120
    ids = pd.Index(np.arange(n) + 5, name="clip_id")
    label = np.array(["rock", "pop", "metal"])[np.arange(n) % 3]
    tracks = pd.DataFrame({"artist": [f"a{k // 6}" for k in range(n)], "album": "", "title": "", "path": "",
                           "odd": np.arange(n) < 12}, index=ids)
    table = pd.DataFrame({g: label == g for g in ("rock", "pop", "metal")}, index=ids)
    data = Dataset("nowhere", tracks=tracks, tags=table, genres=table, descriptors=table[[]])
    data.split_kinds = ("random", "artist")
    return SimpleNamespace(data=data, genres=pd.Series(label, index=ids))


def test_limit_takes_as_many_as_the_rarest_genre_has():
    series = pd.Series(["a"] * 7 + ["b"] * 3 + ["c"] * 5, index=range(15))
    assert genres.limit(series, per_genre=0, seed=0).value_counts().to_dict() == {"a": 3, "b": 3, "c": 3}
    assert genres.limit(series, per_genre=4, seed=0).value_counts().to_dict() == {"a": 4, "b": 3, "c": 4}
    assert genres.limit(series, per_genre=4, seed=0).equals(genres.limit(series, per_genre=4, seed=0))
    assert not genres.limit(series, per_genre=2, seed=0).equals(genres.limit(series, per_genre=2, seed=1))


@pytest.mark.parametrize("split", ["random", "artist"])
def test_hold_out_is_the_same_for_every_split_and_never_trained_on(data, split):
    parts = genres.choose(data.data, data.genres, hold_out=30, split=split, seed=3)
    other = genres.choose(data.data, data.genres, hold_out=30, split="random", seed=3)
    assert (parts == "hold_out").sum() == 30
    assert set(parts.index[parts == "hold_out"]) == set(other.index[other == "hold_out"])
    artists = data.data.tracks["artist"]
    shared = set(artists[parts.index[parts == "train"]]) & set(artists[parts.index[parts == "test"]])
    assert bool(shared) == (split == "random")


def test_grid_is_full_on_the_first_split_only():
    jobs = genres.grid(models=["m", "n"], limits=["few", "many"], callbacks=[True, False], splits=["s", "t"], seeds=[0])
    assert sum(j.split == "s" for j in jobs) == 8
    assert [j for j in jobs if j.split == "t"] == [genres.Job("m", "many", True, "t", 0)]
    assert len({j.name for j in jobs}) == len(jobs)


def test_leaving_out_keeps_the_test_clips_comparable(data):
    jobs = [genres.Job("m", "all", True, "random", 0)]
    settings = {"limits": {"all": 1000}, "hold_out": 0, "test_share": 0.25}
    full, without = genres.tasks(data.data, data.genres, jobs, **settings, leave_out="odd")
    assert without["job"].data == "all_without_odd"
    assert not data.data.tracks.loc[without["train"].index, "odd"].any()
    assert data.data.tracks.loc[full["train"].index, "odd"].any()
    assert set(without["test"].index) <= set(full["test"].index)
    assert not set(full["train"].index) & set(full["test"].index)
    with pytest.raises(ValueError, match="is no column of the tracks"):
        genres.tasks(data.data, data.genres, jobs, **settings, leave_out="shading")


def test_table_counts_frames_and_clips_apart():
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.45, 0.55], [0.9, 0.1]])
    result = genres.Result(genres.Job("m", "all", True, "random", 0), pd.DataFrame(), scores,
                           np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1]), 1.0, 10, None)
    table = genres.table([result], repeats=20).set_index("level")
    assert table.loc["frame", "accuracy"] == pytest.approx(4 / 6)
    assert table.loc["clip", "accuracy"] == 1.0
    assert table.loc["clip", "clips"] == 2
    labels, predicted = genres.clip_decisions(result)
    assert predicted.tolist() == labels.tolist() == [0, 1]

"""The genre experiments: which clips take part, and what their scores say."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from musictools.datasets import splits
from musictools.datasets.base import Dataset
from musictools.experiments import genres
from musictools.experiments.jobs import Job, Result


@pytest.fixture
def data():
    n = 120
    ids = pd.Index(np.arange(n) + 5, name="clip_id")
    label = np.array(["rock", "pop", "metal"])[np.arange(n) % 3]
    tracks = pd.DataFrame(
        {"artist": [f"a{k // 6}" for k in range(n)], "album": "", "title": "", "path": "", "odd": np.arange(n) < 12},
        index=ids,
    )
    table = pd.DataFrame({g: label == g for g in ("rock", "pop", "metal")}, index=ids)
    data = Dataset("nowhere", tracks=tracks, tags=table, genres=table, descriptors=table[[]])
    data.split_kinds = ("random", "artist")
    return SimpleNamespace(data=data, genres=pd.Series(label, index=ids))


@pytest.mark.parametrize("split", ["random", "artist"])
def test_hold_out_is_the_same_for_every_split_and_never_trained_on(data, split):
    parts = splits.genre_split(data.data, data.genres, hold_out=30, kind=split, seed=3)
    other = splits.genre_split(data.data, data.genres, hold_out=30, kind="random", seed=3)
    assert (parts == "hold_out").sum() == 30
    assert set(parts.index[parts == "hold_out"]) == set(other.index[other == "hold_out"])
    artists = data.data.tracks["artist"]
    shared = set(artists[parts.index[parts == "train"]]) & set(artists[parts.index[parts == "test"]])
    assert bool(shared) == (split == "random")


def test_grid_is_full_on_the_first_split_only():
    jobs = genres.grid(models=["m", "n"], limits=["few", "many"], callbacks=[True, False], splits=["s", "t"], seeds=[0])
    assert sum(j.split == "s" for j in jobs) == 8
    assert [j for j in jobs if j.split == "t"] == [Job(model="m", data="many", split="t", protocol="callbacks")]
    assert len({j.name for j in jobs}) == len(jobs)


SETTINGS = {
    "classes": ["rock", "pop", "metal"],
    "limits": {"all": 1000},
    "hold_out": 0,
    "test_share": 0.25,
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 0.01,
    "length": 8,
    "step": 4,
    "validation_share": 0.2,
}


def test_leaving_out_keeps_the_test_clips_comparable(data):
    jobs = [Job(model="m", data="all", split="random", protocol="callbacks")]
    full, without = genres.tasks(data.data, data.genres, jobs, None, **SETTINGS, leave_out="odd")
    assert without.job.data == "all_without_odd"
    (train, test), (some, some_test) = (
        [task.split.index[task.split == name] for name in ("train", "test")] for task in (full, without)
    )
    assert not data.data.tracks.loc[some, "odd"].any()
    assert data.data.tracks.loc[train, "odd"].any()
    assert set(some_test) <= set(test)
    assert not set(train) & set(test)
    assert full.labels.loc[train].idxmax(axis=1).equals(data.genres.loc[train])
    with pytest.raises(ValueError, match="is no column of the tracks"):
        genres.tasks(data.data, data.genres, jobs, None, **SETTINGS, leave_out="shading")


@pytest.mark.parametrize("held_out", [{"hold_out": 30}, {"hold_out": 30, "unseen_share": 0.5}])
@pytest.mark.parametrize("seed", range(6))
def test_no_training_learns_a_held_out_clip(data, held_out, seed):
    """For all models, splits and seeds of trainings, and never a clip that notebook 03 holds out."""
    jobs = genres.grid(
        models=["m", "n"], limits=["few", "all"], callbacks=[True, False], splits=["random", "artist"], seeds=range(6)
    )
    settings = SETTINGS | {"limits": {"few": 0, "all": 1000}} | held_out | {"seed": seed}
    kept = set(splits.tagger_split(data.data, data.genres.index, **held_out, seed=seed).query("part=='hold_out'").index)
    assert len(kept) == 30
    for task in genres.tasks(data.data, data.genres, jobs, None, **settings):
        assert not kept & set(task.split.index)


def test_the_model_is_chosen_by_validation_among_trainings_with_callbacks():
    def result(accuracy, **job):
        history = pd.DataFrame({"val_accuracy": accuracy})
        return Result(job=Job(model="m", **job), classes=("a", "b"), history=history, scores={}, clip={})

    results = [
        result([0.9, 0.95], protocol="plain", split="random"),
        result([0.6, 0.8, 0.7], protocol="callbacks", split="random", data="few"),
        result([0.9], protocol="callbacks", split="artist"),
        result([0.5, 0.85], protocol="callbacks", split="random", data="many"),
    ]
    table = genres.candidates(results, split="random")
    assert table.index.tolist() == [3, 1]
    assert table["validation_accuracy"].tolist() == [0.85, 0.8]
    assert table["epoch"].tolist() == [2, 2]
    assert genres.candidates(results[:1], split="random")["epoch"].tolist() == [2]
    with pytest.raises(ValueError, match="No training has the split 'album'"):
        genres.candidates(results, split="album")


def test_table_counts_segments_and_clips_apart():
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.45, 0.55], [0.9, 0.1]])
    result = Result(
        job=Job(model="m", data="all", split="random", protocol="plain"),
        classes=("a", "b"),
        history=pd.DataFrame(),
        scores={"test": scores},
        clip={"test": np.array([7, 7, 7, 3, 3, 3])},
        train_segments=10,
    )
    truth = pd.Series({7: "a", 3: "b", 1: "another genre, of a clip without scores"})
    table = genres.table([result], truth, repeats=20).set_index("level")
    assert table.loc["frame", "accuracy"] == pytest.approx(4 / 6)
    assert table.loc["clip", "accuracy"] == 1.0
    assert table.loc["clip", "clips"] == 2
    assert table.loc["clip", "train_frames"] == 10
    assert not table["callbacks"].any()
    labels, predicted = genres.decisions(result, truth)
    assert predicted.tolist() == labels.tolist() == [1, 0]  # in the order of the clip ids
    labels, predicted = genres.decisions(result, truth, level="frame")
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert predicted.tolist() == [0, 0, 1, 1, 1, 0]


def test_intervals_resample_artists():
    """Five artists with twenty equal clips each: resampled as clips they would seem to be a hundred observations."""
    ids, right = np.arange(100), np.repeat([1, 0, 1, 1, 0], 20)
    result = Result(
        job=Job(model="m", protocol="plain"),
        classes=("a", "b"),
        history=pd.DataFrame(),
        scores={"test": np.stack([right, 1 - right], axis=1).astype(float)},
        clip={"test": ids},
    )
    truth, artists = pd.Series("a", ids), pd.Series(np.repeat(list("vwxyz"), 20), ids)
    by_clip, by_artist = (
        genres.table([result], truth, artists=groups, repeats=400).iloc[1] for groups in (None, artists)
    )
    assert by_clip["accuracy"] == by_artist["accuracy"] == 0.6
    assert by_clip["accuracy_high"] - by_clip["accuracy_low"] < 0.25
    assert by_artist["accuracy_high"] - by_artist["accuracy_low"] > 0.6

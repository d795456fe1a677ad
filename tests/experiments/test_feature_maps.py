"""Notebook 06: songs for the figures, inputs of several networks, run times of the kernels."""

import functools
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from musictools import models
from musictools.experiments import clip_selection, feature_maps
from musictools.probing import maps, probes
from musictools.spectrograms import FrontEnd


def test_two_pairs_of_songs_are_chosen_or_named():
    tags = ["guitar", "male vocals", "string", "female vocals", "drums", "piano", "violin"]
    labels = pd.DataFrame(False, index=list("abcdef"), columns=tags)
    labels.loc["a", ["guitar", "male vocals"]] = labels.loc["b", ["string", "female vocals"]] = True
    labels.loc["c", ["guitar", "drums", "male vocals"]] = labels.loc["d", ["piano", "string", "violin"]] = True
    genres = pd.DataFrame({"country": [1, 0, 0, 0, 0, 0], "metal": [0, 0, 1, 0, 0, 0]}, labels.index).astype(bool)
    songs = clip_selection.choose_songs(labels, genres)
    assert songs["clip"].tolist() == ["a", "b", "c", "d"]
    assert songs["pair"].tolist() == [1, 1, 2, 2]
    assert songs["tags"].iloc[2] == ("guitar", "drums", "male vocals")
    named = clip_selection.choose_songs(labels.drop(columns="drums"), genres, named=["f", "e", "d", "c"])
    assert named["clip"].tolist() == ["f", "e", "d", "c"]
    assert named["tags"].iloc[2] == ("guitar", "male vocals"), "only descriptors that are probed"
    for wrong in (["a"], ["a", "b", "c", "nobody"]):
        with pytest.raises(ValueError, match="named must hold the ids of 4 clips of the data set, or none"):
            clip_selection.choose_songs(labels, genres, named=wrong)
    with pytest.raises(ValueError, match="at least 4 clips to choose from. Got 3"):
        clip_selection.choose_songs(labels.iloc[:3], genres)


class Inputs(SimpleNamespace):
    """Inputs of three clips, as `Segments` has them; clip "b" has none."""

    ids, clip = ["a", "b", "c"], np.array([2, 0])
    x = np.random.default_rng(0).random((2, 32, 32, 1), dtype=np.float32)

    def take(self, rows):
        return self.x[rows]


def test_maps_of_a_clip_and_its_spectrogram():
    front_end = FrontEnd(8000, 512, 256, 32)
    model = models.build("ckn19", n_outputs=2, width=0.05, input_shape=(32, 32, 1), seed=0)
    inputs = Inputs()
    np.testing.assert_array_equal(feature_maps.of_clips(inputs, ["a", "c"]), inputs.x[::-1])
    own, S = feature_maps.maps_of_clip(SimpleNamespace(model=model, front_end=front_end), inputs, "a")
    np.testing.assert_allclose(front_end.scale(S), inputs.x[1, ..., 0], atol=1e-6)
    expected = maps.maps_of(model, inputs.x[1])
    assert list(own) == list(expected)
    np.testing.assert_array_equal(own["pool3"], expected["pool3"])


def test_kernels_are_compared_on_the_same_clips(tmp_path):
    rng = np.random.default_rng(0)
    labels = pd.DataFrame({"a": rng.random(40) < 0.5, "b": rng.random(40) < 0.5})
    stored = maps.FeatureMaps.create(tmp_path / "maps", {"conv": (2, 3, 4)}, range(40))
    stored.write(0, {"conv": rng.random((2, 40, 3, 4), dtype=np.float32)})
    probe = functools.partial(probes.probe, stored, workers=1)
    counts, seconds = feature_maps.compare_kernels(probe, labels, [("conv", 1)], n_clips=30, n_folds=3)
    assert set(counts["model"]) == {"svm_linear", "svm_nystroem", "svm_rbf"}
    assert set(counts["map"]) == {1}
    assert (counts.groupby(["model", "tag"])[["tp", "fp", "fn", "tn"]].sum().sum(axis=1) == 30).all()
    assert list(seconds.index) == ["linear", "nystroem", "rbf"]
    assert (seconds >= 0).all()

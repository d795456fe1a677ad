"""Agreement of estimated features with what is known."""

import numpy as np
import pandas as pd
import pytest

from musictools import datasets
from musictools.experiments import song_features


def test_measures_of_perfect_reversed_and_unrelated_estimates():
    rng = np.random.default_rng(0)
    tempo = np.linspace(60, 180, 40)
    truth = pd.DataFrame({"loud": tempo > 120, "tempo": tempo})
    features = pd.DataFrame({"energy": -tempo, "tempo": tempo * 2, "valence": rng.random(40)})
    pairs = [("energy", "loud"), ("tempo", "tempo"), ("valence", "loud")]
    table = song_features.agreement(features, truth, pairs=pairs, repeats=100).set_index(["feature", "measure"])
    assert table["value"].drop("valence").to_dict() == {
        ("energy", "ROC-AUC"): 0,
        ("tempo", "rank correlation"): pytest.approx(1),
        ("tempo", "within 4 %"): 0,
        ("tempo", "within 4 % of a multiple"): 1,
    }
    chance = table.loc[("valence", "ROC-AUC")]
    assert chance["low"] < 0.5 < chance["high"]
    assert (table["clips"] == 40).all()


def test_clips_that_are_not_known_or_have_no_estimate_are_left_out():
    features = pd.DataFrame({"energy": [0.1, 0.9, np.nan, 0.5]}, index=["a", "b", "c", "d"])
    truth = pd.DataFrame({"loud": [False, True, True]}, index=["a", "b", "c"])
    [row] = song_features.agreement(features, truth, pairs=[("energy", "loud")], repeats=20).to_dict("records")
    assert (row["value"], row["clips"]) == (1, 2)
    with pytest.raises(ValueError, match="There is no column 'quiet'. Known: loud"):
        song_features.agreement(features, truth, pairs=[("energy", "quiet")])
    with pytest.raises(ValueError, match="No clip has both energy and loud"):
        song_features.agreement(features, truth.loc[["c"]], pairs=[("energy", "loud")])


def test_the_composer_knows_what_features_tell(data_home):
    data = datasets.load("composed", n_clips=8, seed=1)
    truth = song_features.composed_truth(data, data.tracks.index)
    assert list(truth.index) == list(data.tracks.index)
    assert {fact for _, fact in song_features.COMPOSED} == set(truth.columns)
    assert truth.drop(columns="tempo").dtypes.eq(bool).all()
    assert truth["tempo"].between(40, 220).all()
    first = data.truth(truth.index[0])
    assert truth["loud"].iloc[0] == ("loud" in first["tags"])

"""A mapping for a tagger's descriptors, on annotations whose rule is known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from musictools.mapping import tagged


@pytest.fixture(scope="module")
def data():
    """600 clips by 30 artists: guitars are rock, synthesizers electronic, and *loud* says nothing."""
    rng = np.random.default_rng(0)
    rock = rng.random(600) < 0.6
    tags = pd.DataFrame({"guitar": rock, "synth": ~rock, "loud": rng.random(600) < 0.5, "rock": rock})
    genres = pd.DataFrame({"rock": rock, "electronic": ~rock})
    genres.loc[:9] = True  # clips with two genres are left out
    tracks = pd.DataFrame({"artist": rng.integers(0, 30, 600)})
    return SimpleNamespace(name="toy", licence="CC0", tables_checksum="1", tags=tags, genres=genres, tracks=tracks)


def test_the_mapping_learns_the_rule_and_states_its_accuracy(data):
    mapping = tagged.learn(data, ["guitar", "synth", "loud"], folds=3, epochs=20)
    assert mapping.descriptors == ["guitar", "synth", "loud"]
    assert mapping.membership(["guitar"])["rock"] > 0.9
    assert mapping.membership(["synth", "loud"])["electronic"] > 0.9
    about = mapping.card.provenance
    assert (about["accuracy"], about["clips"], about["folds"]) == (1.0, 590, 3)
    assert about["commonest"] == pytest.approx(data.genres["rock"][10:].mean(), abs=1e-4)
    assert (mapping.card.data, mapping.card.licence) == ("toy", "CC0")


def test_accuracy_is_that_of_unknown_artists(data):
    """A descriptor that names the artist helps in training and not for others."""
    rng = np.random.default_rng(1)
    genre_of = rng.random(30) < 0.5
    rock = genre_of[data.tracks["artist"]]
    tags = pd.get_dummies(data.tracks["artist"], prefix="by", dtype=bool)
    other = SimpleNamespace(**{**vars(data), "tags": tags, "genres": pd.DataFrame({"rock": rock, "pop": ~rock})})
    mapping = tagged.learn(other, list(tags), folds=3, epochs=20)
    assert mapping.card.provenance["accuracy"] < 0.7


def test_bad_input(data):
    with pytest.raises(ValueError, match="toy has no tag 'flute'"):
        tagged.learn(data, ["guitar", "flute"])
    alone = SimpleNamespace(**{**vars(data), "tracks": data.tracks.assign(artist=1)})
    with pytest.raises(ValueError, match="At least 5 artists and two genres are needed. Got 1 artists"):
        tagged.learn(alone, ["guitar", "synth"])

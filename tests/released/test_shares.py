"""Shares of tags and thresholds: complete, those of the annotations, at most one half."""

import pytest

from musictools import datasets, released
from musictools.released import shares


@pytest.mark.parametrize("name", released.names())
def test_every_tag_of_every_network_has_a_threshold(name):
    release = released.describe(name)
    found = shares.thresholds(release.data)
    assert set(found) == set(release.tags)
    assert all(0 < value <= 0.5 for value in found.values())
    assert all(found[tag] == min(2 * share, 0.5) for tag, share in shares.shares(release.data).items())


def test_shares_are_those_of_the_annotations(shared_data):
    data = datasets.load("magnatagatune", data_dir=shared_data / "magnatagatune")
    for tag, share in shares.shares("magnatagatune").items():
        assert data.tags[tag].mean() == pytest.approx(share, abs=2e-4), tag  # three clips have no audio


def test_unknown_data():
    with pytest.raises(ValueError, match="data must be one of magnatagatune, million_song, mtg_jamendo"):
        shares.shares("gtzan")

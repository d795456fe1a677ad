"""Discovery: a planted drum pattern is found, random networks give nothing, artefacts are flagged."""

import numpy as np
import pandas as pd
import pytest
from support import planted

from musictools import concepts
from musictools.concepts import discovery
from musictools.concepts.discovery import discover, frequency

NAMES = ["low", "high", "drums"]
OPTIONS = {"n_segments": (6, 10, 16), "n_concepts": 8, "n_null": 100, "n_runs": 10}


@pytest.fixture(scope="module")
def music():
    return planted.planted()


@pytest.fixture(scope="module")
def model(music):
    return planted.trained(*music)


@pytest.fixture(scope="module")
def found(music, model):
    return discover(model, *music, names=NAMES, **OPTIONS)


def test_every_patch_of_a_class_belongs_to_one_of_its_concepts(found):
    table, patches = found.table, found.patches
    assert table["patches"].tolist() == np.bincount(found.concept).tolist()
    classes = np.array(table["class"])[found.concept]
    assert (classes == np.array(NAMES)[found.labels[patches.input]]).all()
    assert table["patches"].sum() == len(patches)
    spread = pd.Series(found.distance).groupby(found.concept).mean()
    for _, own in table.reset_index().groupby("class"):
        assert (spread[own.sort_values("rank").index].diff().dropna() >= 0).all()
    name = table.index[0]
    members = found.members(name)
    assert (np.diff(found.distance[members]) >= 0).all()
    assert len(members) == table.at[name, "patches"]


def test_planted_drums_are_among_the_top_three(found):
    strokes = planted.drum_share(found)
    means = pd.Series(strokes).groupby(found.concept).mean()
    means.index = found.table.index[means.index]
    top = found.ranked("drums").head(3)
    assert len(top) == 3
    low = means[top.index] > 0.65  # patches where the strokes are
    assert (top.loc[low, "q"] < 0.05).any()
    assert (top.loc[low, "score"] > 0.9).any()


def survivors(seed, x, labels, **options):
    """Number of significant concepts of a network with random weights."""
    random = planted.network(seed=1000 + seed)
    return (discover(random, x, labels, names=NAMES, seed=seed, n_seeds=1, **OPTIONS | options).table["q"] < 0.05).sum()


def test_random_networks_have_no_concepts(music):
    assert sum(survivors(seed, *music) > 0 for seed in range(3)) == 0


@pytest.mark.full
def test_random_networks_seldom_have_a_concept(music):
    """One of 20 is expected at q < 0.05; 4 of the networks of seeds 0 to 99 have one, 2 of them among the first 20."""
    assert sum(survivors(seed, *music) > 0 for seed in range(20)) <= 2


def test_a_class_can_be_sought_alone(music, model, found):
    alone = discover(model, *music, names=NAMES, classes=[2], **OPTIONS)
    assert set(alone.table["class"]) == {"drums"}
    assert (alone.concept == -1).sum() == (alone.labels[alone.patches.input] != 2).sum()
    both = found.table[found.table["class"] == "drums"]
    assert alone.table["patches"].tolist() == both["patches"].tolist()


def test_same_seed_same_concepts(music, model, found):
    again = discover(model, *music, names=NAMES, **OPTIONS)
    pd.testing.assert_frame_equal(again.table, found.table)
    np.testing.assert_array_equal(again.concept, found.concept)


def test_stability_is_one_for_an_equal_and_low_for_a_shuffled_clustering():
    cluster = np.repeat(np.arange(4), 10)
    stability = discovery._stability
    assert stability(cluster == 1, [3 - cluster]) == 1
    shuffled = np.random.default_rng(0).permutation(cluster)
    assert stability(cluster == 1, [shuffled]) < 0.5
    assert np.isnan(stability(cluster == 1, []))


def test_equal_vectors_are_one_cluster():
    far = discovery._coordinates(np.full((5, 20), 0.3))
    assert far.shape == (5, 1)
    assert not far.any()
    some = np.random.default_rng(0).normal(size=(5, 20))
    distances = np.linalg.norm(some[:, None] - some, axis=2)
    places = discovery._coordinates(some)
    np.testing.assert_allclose(np.linalg.norm(places[:, None] - places, axis=2), distances, atol=1e-6)


@pytest.mark.parametrize(
    ("patches", "clips", "rule"),
    [(26, 26, "high"), (26, 25, "rare"), (51, 13, "medium"), (50, 13, "rare"), (101, 12, "popular"), (100, 12, "rare")],
)
def test_frequency_rules_change_at_their_limits(patches, clips, rule):
    assert frequency(patches, clips, 50) == rule


def test_a_constant_layer_is_refused(music):
    model = planted.network()
    for layer in model.layers:
        if layer.name.startswith("conv"):
            layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    with pytest.raises(ValueError, match="has the same activations for all patches"):
        discover(model, *music, layer="maps", **OPTIONS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.zeros(3, int)}, "labels must hold one int for each of the 8 inputs"),
        ({"labels": np.full(8, 3)}, "labels must be ints from 0 to 2"),
        ({"classes": [1]}, "Every class needs inputs. high has none"),
        ({"x": np.zeros((0, 32, 48, 1)), "labels": np.zeros(0, int)}, "Got none: no class has a clip"),
        ({"groups": [1]}, "groups must hold one clip for each of the 8 inputs"),
        ({"names": ["a"]}, "names must name the 3 outputs. Got 1"),
        ({"n_concepts": 200}, "low has .* patches of 8 clips, too few for 200 concepts"),
    ],
)
def test_bad_input_is_refused(music, change, message):
    arguments = {"x": music[0][:8], "labels": music[1][:8], "names": NAMES} | OPTIONS | change
    with pytest.raises(ValueError, match=message):
        discover(planted.network(), **arguments)


class TestArtefact:
    """Two classes of the same music, one with a band of silence, as in the second case study of `sharma2022`."""

    @pytest.fixture(scope="class")
    def spoilt(self):
        x, labels = planted.planted(48)
        x, rng = np.minimum(x[labels == 0] + 0.3, 1.0), np.random.default_rng(0)  # the background is not silent
        for image in x[24:]:
            start = rng.integers(0, 40)
            image[:, start : start + 8] = 0.0
        return x, np.repeat([0, 1], 24)

    @pytest.fixture(scope="class")
    def bands(self, spoilt):
        model = planted.trained(*spoilt, seed=3)
        return discover(model, *spoilt, names=["clean", "band"], **OPTIONS)

    def test_the_band_is_flagged_and_other_concepts_are_not(self, spoilt, bands):
        properties = concepts.patch_properties(bands, spoilt[0])
        flags = concepts.flag(bands, properties)
        silent = properties["silent"].groupby(bands.concept).mean().set_axis(bands.table.index)
        bad = silent.index[silent > 0.5]
        assert set(bands.table.loc[bad, "class"]) == {"band"}
        assert flags.loc[bad, "flagged"].any()
        assert flags.loc[silent.index[silent < 0.1], "silent"].sum() == 0

"""The badge says which maps can be trusted, and why; it depends on nothing but its arguments."""

import dataclasses

import numpy as np
import pytest
from support.sanity import network, sounds

from musictools import explain
from musictools.explain.metrics import badge as badges


@pytest.fixture(scope="module")
def model():
    return network()


def test_badge_of_energy_fails_and_says_why(model):
    one = badges.badge(model, sounds(), 2, method="energy")
    assert not one.passed
    assert one.failed == ["randomisation", "class sensitivity", "energy correlation"]
    assert one.scores["randomisation"] == pytest.approx(1)
    limits = badges.LIMITS
    assert one.text.startswith("passes 1 of 4: stability 0.0")
    for name in one.failed:
        assert f"{name} 1.00 > {limits[name]:g}" in one.text.split("; ")[1]
    assert one.text.endswith("not tested: conservation")


def test_badge_of_random_maps_fails(model):
    one = badges.badge(model, sounds(), 2, method="random")
    assert one.failed == ["randomisation", "class sensitivity", "stability"]


def test_badge_of_lrp_passes(model):
    one = badges.badge(model, sounds(), 2, method="lrp_epsilon")
    assert one.passed, one.text
    assert one.text.startswith("passes 5 of 5: randomisation ")
    assert one.scores["conservation"] < 1e-4
    assert str(one).startswith("lrp_epsilon passes: ")


def test_badges_of_single_maps(model):
    """The randomisation test is made of all samples together, the others of every sample alone."""
    x, limits = sounds(), {"stability": 1e-9}
    several = badges.badges(model, x, np.array([0, 1, 2, 3]), method="lrp_epsilon", limits=limits)
    alone = badges.badges(model, x[2:3], 2, method="lrp_epsilon", limits=limits)[0]
    assert len(several) == 4
    assert len({one.scores["randomisation"] for one in several}) == 1
    for name in ("energy correlation", "conservation"):
        assert alone.scores[name] == pytest.approx(several[2].scores[name], abs=1e-5)
    assert alone.failed == ["stability"]


def test_badges_do_not_depend_on_what_was_tested_before(model):
    """Inputs and outputs of an earlier call must not be used for a later one."""
    calls = [(sounds(seed=0), np.array([0, 1, 2, 3])), (sounds(2, seed=1) ** 2, np.array([5, 4]))]
    there = [[one.scores for one in badges.badges(model, *call, method="gradient")] for call in calls]
    back = [[one.scores for one in badges.badges(model, *call, method="gradient")] for call in reversed(calls)]
    np.testing.assert_equal(there, back[::-1])
    assert there[0][0]["randomisation"] != there[1][0]["randomisation"]


def test_maps_that_were_computed_already_are_tested(model):
    x, neuron = sounds(), np.array([0, 1, 2, 3])
    own = explain.relevance(model, x, neuron, method="lrp_epsilon")
    scores = [one.scores for one in badges.badges(model, x, neuron, method="lrp_epsilon")]
    assert [one.scores for one in badges.badges(model, x, neuron, method="lrp_epsilon", explanation=own)] == scores
    spoilt = dataclasses.replace(own, relevance=x)
    for one in badges.badges(model, x, neuron, method="lrp_epsilon", explanation=spoilt):
        assert one.scores["energy correlation"] == pytest.approx(1)
    for wrong in (dataclasses.replace(own, method="gradient"), dataclasses.replace(own, relevance=x[:2])):
        with pytest.raises(ValueError, match="explanation must hold maps of lrp_epsilon of shape"):
            badges.badges(model, x, neuron, method="lrp_epsilon", explanation=wrong)


def test_badge_of_an_empty_map_fails(model):
    x = sounds(1)
    logits = explain.logits(model)(x)[0]
    silent = int(logits.argmin())
    assert logits[silent] < 0
    (empty,) = badges.badges(model, x, silent)
    (full,) = badges.badges(model, x, silent, reference=1 / (1 + np.exp(1 - logits[silent])))
    assert empty.empty
    assert not empty.passed
    assert "the map is empty" in empty.text
    assert np.isnan(empty.scores["energy correlation"])
    assert not full.empty
    assert badges.badge(model, x, silent).empty


def test_badge_in_words():
    limits = {"randomisation": 0.5, "conservation": 1e-4}
    good = badges.Badge("some", {"randomisation": 0.123, "conservation": 3e-7}, limits)
    assert good.text == "passes 2 of 2: randomisation 0.12, conservation 3e-07"
    bad = badges.Badge("some", {"randomisation": 0.93, "conservation": np.nan}, limits)
    assert bad.text == "passes 0 of 1; fails: randomisation 0.93 > 0.5; not tested: conservation"
    assert good.passed
    assert not bad.passed
    assert not badges.Badge("some", {"randomisation": np.nan}, limits).passed
    empty = badges.Badge("some", good.scores, limits, empty=True)
    assert not empty.passed
    assert empty.text.endswith("; fails: the map is empty")


def test_unknown_limits_are_named(model):
    with pytest.raises(ValueError, match="limits must be among randomisation, .* Got beauty"):
        badges.badges(model, sounds(2), 0, limits={"beauty": 1})


@pytest.mark.parametrize("method", ["lrp_epsilon", "lrp_composite", "lrp_gamma", "deep_taylor"])
def test_maps_with_a_reference_have_the_scores_of_maps_without(model, method):
    """Where maps with a reference serve for the tests, they must give what the maps without one give."""
    x, neurons, reference = sounds(), np.array([0, 1, 2, 3]), np.array([0.1, 0.3, 0.6, 0.9])
    given = explain.relevance(model, x, neurons, method=method, reference=reference)
    for name in ("randomisation", "class sensitivity", "stability"):
        with_maps = badges.badges(model, x, neurons, method=method, reference=reference, explanation=given)
        without = badges.badges(model, x, neurons, method=method)
        np.testing.assert_allclose(
            [one.scores[name] for one in with_maps], [one.scores[name] for one in without], atol=1e-3
        )

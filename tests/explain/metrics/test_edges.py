"""The share of relevance at the edges: maps whose share is known, each side by itself, and arguments that are wrong."""

import numpy as np
import pytest

from musictools.explain.metrics.edges import edge_share

SIDES = ("low", "high", "start", "end")


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_uniform_map_has_the_share_of_the_area(width):
    assert edge_share(np.full((8, 11), -0.5), width=width) == pytest.approx(1)
    for side in SIDES:
        assert edge_share(np.full((8, 11), 2.0), width=width, sides=[side]) == pytest.approx(1)


def test_all_at_one_edge():
    for side, where in zip(SIDES, (np.s_[:2, :], np.s_[-2:, :], np.s_[:, :2], np.s_[:, -2:]), strict=True):
        relevance = np.zeros((8, 10))
        relevance[where] = 1
        own = {"low": 8 / 2, "high": 8 / 2, "start": 10 / 2, "end": 10 / 2}[side]
        assert edge_share(relevance, sides=[side]) == pytest.approx(own)
        assert edge_share(relevance) == pytest.approx(80 / (80 - 4 * 6))
        opposite = SIDES[SIDES.index(side) ^ 1]
        assert edge_share(relevance, sides=[opposite]) == 0


def test_by_a_loop_over_cells():
    relevance = np.random.default_rng(0).standard_normal((3, 2, 9, 7))
    result = edge_share(relevance, width=2, sides=["low", "end"])
    assert result.shape == (3, 2)
    for i, j in np.ndindex(3, 2):
        edge = [abs(relevance[i, j, b, t]) for b in range(9) for t in range(7) if b < 2 or t >= 5]
        share = sum(edge) / np.abs(relevance[i, j]).sum()
        assert result[i, j] == pytest.approx(share / (len(edge) / 63))


def test_signs_do_not_cancel_and_nothing_is_nan():
    relevance = np.zeros((2, 6, 6))
    relevance[0, 0] = [1, -1, 1, -1, 1, -1]
    relevance[0, 3] = 1
    result = edge_share(relevance, width=1, sides=["low"])
    assert result[0] == pytest.approx(3)
    assert np.isnan(result[1])


@pytest.mark.parametrize(
    ("relevance", "options", "message"),
    [
        (np.ones((4, 6)), {"width": 2}, "width and sides must leave cells inside and outside of maps of shape .4, 6."),
        (np.ones((4, 6)), {"sides": []}, "width and sides must leave cells inside and outside"),
        (np.ones((8, 8)), {"width": 0}, "width must be a positive int. Got 0."),
        (np.ones((8, 8)), {"sides": ["top"]}, "side must be one of low, high, start, end. Got 'top'."),
        (np.ones(8), {}, "relevance must have shape"),
        (np.full((8, 8), np.nan), {}, "relevance must be finite"),
    ],
)
def test_wrong_arguments_are_named(relevance, options, message):
    with pytest.raises(ValueError, match=message):
        edge_share(relevance, **options)

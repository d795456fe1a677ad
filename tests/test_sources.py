"""LIME over stems: a network that hears one instrument in one segment is found out."""

import numpy as np
import pytest

from musictools.explain.sources import lime_sources, source_map

N = 8000


def stems():
    time = np.arange(N) / 8000
    return {"bass": np.sin(2 * np.pi * 100 * time), "lead": np.sin(2 * np.pi * 1000 * time),
            "bell": np.sin(2 * np.pi * 2500 * time)}


def hears(frequency, segment, segments):
    """Logits of a model that measures one frequency in one segment, and its opposite."""
    part = slice(segment * N // segments, (segment + 1) * N // segments)
    tone = np.exp(2j * np.pi * frequency * np.arange(N) / 8000)

    def scores(y):
        level = abs((y * tone)[part].mean())
        return np.array([level, -level])

    return scores


@pytest.mark.parametrize(("frequency", "row", "segment"), [(100, 0, 3), (1000, 1, 0), (2500, 2, 1)])
def test_the_part_that_counts_has_the_weight(frequency, row, segment):
    weights = lime_sources(hears(frequency, segment, 4), stems(), segments=4, n_samples=200)
    assert weights.shape == (2, 3, 4)
    assert np.unravel_index(weights[0].argmax(), (3, 4)) == (row, segment)
    assert np.unravel_index(weights[1].argmin(), (3, 4)) == (row, segment)
    rest = np.delete(weights[0].ravel(), row * 4 + segment)
    assert np.abs(rest).max() < 0.1 * weights[0, row, segment]


def test_same_seed_same_weights():
    a, b, c = (lime_sources(hears(100, 1, 4), stems(), segments=4, n_samples=30, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_map_gives_every_cell_its_stems_weight():
    shares = {"a": np.array([[1.0, 0.25], [0.0, 1.0]]), "b": np.array([[0.0, 0.75], [0.0, 0.0]])}
    found = source_map(np.array([[2.0, 4.0], [-1.0, 8.0]]), shares)
    np.testing.assert_allclose(found, [[2.0, 7.0], [0.0, 4.0]])


@pytest.mark.parametrize(("options", "message"), [
    ({"stems": {}}, "one or more waveforms"), ({"stems": {"a": np.ones(3), "b": np.ones(4)}}, "of one length"),
    ({"keep": 1.0}, "keep must lie in"), ({"n_samples": 1}, "n_samples exceed 1"), ({"segments": 0}, "segments"),
])
def test_bad_input(options, message):
    given = {"stems": stems()} | options
    with pytest.raises(ValueError, match=message):
        lime_sources(lambda y: y[:1], given.pop("stems"), **given)

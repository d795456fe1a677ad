"""Where a descriptor is in a song, for heatmaps whose place is known."""

import numpy as np
import pytest
from support import explanations

from musictools.explorer import places
from musictools.spectrograms import FrontEnd

MEL = FrontEnd(16000, 512, 256, 64)
FREQUENCIES = MEL.frequencies()


def heatmap(*blocks, seconds=8.0):
    """Relevance 1 from a start to an end in s and between two frequencies in Hz."""
    values = np.zeros((64, round(seconds / MEL.frame_seconds)))
    for start, end, low, high in blocks:
        rows = (low <= FREQUENCIES) & (high >= FREQUENCIES)
        values[np.ix_(rows, np.arange(round(start / MEL.frame_seconds), round(end / MEL.frame_seconds)))] = 1
    return values


def test_the_strongest_part_is_that_of_a_slow_search():
    values = np.random.default_rng(0).random((64, 500)) - 0.5
    start, end, share, low, high = places.strongest(values, front_end=MEL)
    n, positive = 125, np.maximum(values, 0)
    sums = [positive[:, k : k + n].sum() for k in range(500 - n + 1)]
    assert (start, end) == pytest.approx((np.argmax(sums) * 0.016, (np.argmax(sums) + n) * 0.016))
    assert share == pytest.approx(max(sums) / positive.sum())
    rows = np.cumsum(positive[:, np.argmax(sums) : np.argmax(sums) + n].sum(axis=1))
    assert low == FREQUENCIES[np.argmax(rows >= 0.15 * rows[-1])]
    assert high == FREQUENCIES[np.argmax(rows >= 0.85 * rows[-1])]


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ([(3, 5, 0, 480)], "It is strongest at 0:03–0:05, where 100% of the relevance lies, mostly below 4"),
        ([(1, 3, 400, 1000), (5, 5.5, 3000, 4000)], "lies, mostly between "),
        ([(0, 2, 6900, 8000)], "at 0:00–0:02, where 100% of the relevance lies, mostly above 6,9"),
    ],
)
def test_place_and_band_in_words(blocks, words):
    made = explanations.explanation()
    made.front_end, made.heatmaps = MEL, {"low": heatmap(*blocks)}
    assert words in places.where(made, "low")


def test_short_and_silent_heatmaps():
    made = explanations.explanation()
    assert places.where(made, "never") == ""
    made.heatmaps["low"] = made.heatmaps["low"][:, 70:100]
    assert "at 0:00–0:00, where 100%" in places.where(made, "low"), "half a second is shorter than the part"
    waveform = FrontEnd(4, 2, 1, 1, kind="waveform")
    assert places.strongest(np.array([[0, 0, 3.0, 1.0]]), front_end=waveform, seconds=0.5) == (
        0.5,
        1.0,
        1.0,
        None,
        None,
    )
    made.front_end, made.heatmaps = waveform, {"low": np.ones((1, 80))}
    assert places.where(made, "low").endswith("of the relevance lies.")

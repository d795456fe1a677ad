"""Agreement of taggers: analytic cases, a slow re-implementation, tags under other names."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from musictools.experiments import agreement

TAGS = ["drums", "flute", "guitar", "piano", "sitar", "violin", "loud", "slow"]


def table(values, tags=TAGS):
    return pd.DataFrame(values, [f"piece {i}" for i in range(len(values))], tags)


def alone(scores):
    return pd.Series(range(len(scores)), scores.index)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_equal_scores_agree_fully(rng):
    scores = table(rng.random((12, 8)))
    row = agreement.agreement(scores, scores**3, groups=alone(scores), repeats=20)
    assert (row["pieces"], row["tags"]) == (12, 8)
    for name in ("per_piece", "per_piece_low", "per_piece_high", "per_tag", "per_tag_low", "per_tag_high"):
        assert row[name] == pytest.approx(1)
    assert row["beyond"] == pytest.approx(1 - row["shuffled"])
    assert abs(row["shuffled"]) < 0.15


def test_opposite_scores_disagree_fully(rng):
    scores = table(rng.random((12, 8)))
    row = agreement.agreement(scores, -scores, groups=alone(scores), repeats=5)
    assert row["per_piece"] == pytest.approx(-1)
    assert row["per_tag"] == pytest.approx(-1)


def test_frequencies_alone_are_no_agreement_beyond_the_control(rng):
    frequencies = np.linspace(0, 5, 8)
    first, second = (table(frequencies + rng.random((60, 8))) for _ in range(2))
    row = agreement.agreement(first, second, groups=alone(first), repeats=100)
    assert row["per_piece"] > 0.8
    assert row["shuffled"] == pytest.approx(row["per_piece"], abs=0.02)
    assert row["beyond_low"] < 0 < row["beyond_high"]
    assert row["per_tag_low"] < 0 < row["per_tag_high"]


def test_the_same_as_with_loops_over_pieces_and_tags(rng):
    first, second = table(rng.random((9, 8)).round(1)), table(rng.random((9, 8)).round(1))  # with ties
    groups = alone(first) // 2
    row = agreement.agreement(first, second, groups=groups, repeats=5)
    a, b, g = first.to_numpy(), second.to_numpy(), groups.to_numpy()
    assert row["per_piece"] == pytest.approx(np.mean([spearmanr(a[i], b[i])[0] for i in range(9)]))
    foreign = [spearmanr(a[i], b[j])[0] for i in range(9) for j in range(9) if g[i] != g[j]]
    assert row["shuffled"] == pytest.approx(np.mean(foreign))
    by_tag = agreement.by_tag(first, second)
    expected = {tag: spearmanr(a[:, k], b[:, k])[0] for k, tag in enumerate(TAGS)}
    assert by_tag.to_dict() == pytest.approx(expected)
    assert by_tag.is_monotonic_decreasing
    assert row["per_tag"] == pytest.approx(np.mean(list(expected.values())))


def test_pieces_of_one_recording_are_no_control(rng):
    scores = table(np.repeat(rng.random((6, 8)), 2, axis=0))
    pairs = agreement.agreement(scores, scores, groups=alone(scores) // 2, repeats=5)
    assert abs(pairs["shuffled"]) < 0.25
    every = agreement.agreement(scores, scores, groups=alone(scores), repeats=5)
    assert every["shuffled"] == pytest.approx((10 * pairs["shuffled"] + 1) / 11)


def test_intervals_hold_the_value_and_shrink_with_more_pieces(rng):
    widths = []
    for n in (12, 120):
        first = table(rng.random((n, 8)))
        second = table(first.to_numpy() + rng.random((n, 8)))
        row = agreement.agreement(first, second, groups=alone(first), repeats=100)
        for name in ("per_piece", "beyond", "per_tag"):
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
        widths.append(row["per_piece_high"] - row["per_piece_low"])
    assert widths[1] < widths[0] / 2


def test_a_tag_that_never_changes_counts_in_no_mean_over_tags(rng):
    scores = table(rng.random((12, 8)))
    scores["drums"] = 0.5
    assert agreement.agreement(scores, scores, groups=alone(scores), repeats=5)["per_tag"] == pytest.approx(1)
    assert np.isnan(agreement.by_tag(scores, scores)["drums"])


def test_change_of_the_agreement(rng):
    other = table(rng.random((40, 8)))
    before, after = (table(other.to_numpy() + noise * rng.random((40, 8))) for noise in (4, 0.5))
    change = agreement.compared(before, after, other, groups=alone(other), repeats=50)
    own = [agreement.agreement(one, other, groups=alone(other), repeats=5) for one in (before, after)]
    for name in ("per_piece", "shuffled", "beyond", "per_tag"):
        assert change[name] == pytest.approx(own[1][name] - own[0][name])
    assert change["per_piece_low"] > 0
    same = agreement.compared(before, before, other, groups=alone(other), repeats=5)
    assert same["per_piece"] == same["per_piece_low"] == same["per_piece_high"] == 0


def test_tags_are_matched_under_their_other_names():
    names = ["strings", "synth", "no vocal", "no voice", "voice", "singing", "classical", "techno", "space"]
    scores = pd.DataFrame([[0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9, 0.9, 0.6]], columns=names)
    expected = {"string": 0.1, "synthesizer": 0.2, "no vocals": 0.4, "vocals": 0.5, "singer": 0.7, "space": 0.6}
    assert agreement.merged(scores).loc[0].to_dict() == expected


def test_bad_tables_are_refused(rng):
    scores = table(rng.random((5, 8)))
    with pytest.raises(ValueError, match="the same pieces, in the same order"):
        agreement.agreement(scores, scores[::-1], groups=alone(scores))
    with pytest.raises(ValueError, match="2 tags and 5 pieces are shared"):
        agreement.agreement(scores, scores[["drums", "slow"]], groups=alone(scores))

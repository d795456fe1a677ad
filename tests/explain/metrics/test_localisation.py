"""Localisation measures know a perfect map, a random one and a loud one; stems share what a mix holds."""

import itertools

import librosa
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from musictools import spectrograms
from musictools.datasets import composed
from musictools.explain.metrics import localisation

SR = 16000
FRONT_END = spectrograms.FrontEnd(SR, 1024, 512, 128)
NAMES = list(localisation.MEASURES)


def tone(frequency, *, level=0.3, seconds=1.0):
    return (level * np.sin(2 * np.pi * frequency * np.arange(round(SR * seconds)) / SR)).astype(np.float32)


def some_masks(n=7, shape=(12, 10), seed=0):
    return np.random.default_rng(seed).random((n, *shape)) < 0.3


# --- measures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_perfect_map_is_perfect_and_its_opposite_worthless(name):
    mask = some_masks()
    noise = np.random.default_rng(1).random(mask.shape)
    np.testing.assert_array_equal(localisation.MEASURES[name](mask * (1 + noise), mask), 1)
    np.testing.assert_array_equal(localisation.MEASURES[name](~mask * (1 + noise), mask), 0)


@pytest.mark.parametrize("name", NAMES)
def test_random_maps_are_worth_chance(name):
    rng = np.random.default_rng(2)
    mask, relevance = rng.random((16, 12)) < 0.25, rng.exponential(size=(3000, 16, 12))
    values = localisation.MEASURES[name](relevance, mask)
    rows = localisation.localise(relevance, mask, energy=rng.random((16, 12))).query("measure == @name")
    chance = 0.5 if name == "auc" else mask.mean()
    assert set(rows["chance"]) == {chance}
    assert values.mean() == pytest.approx(chance, abs=4 * values.std() / np.sqrt(len(values)))
    assert rows["corrected"].mean() == pytest.approx(0, abs=0.05)


def test_measures_by_hand():
    relevance = np.array([[6.0, -9.0, 3.0], [1.0, 2.0, 0.0]])
    mask = np.array([[False, True, True], [False, True, False]])
    assert localisation.mass_accuracy(relevance, mask) == pytest.approx((3 + 2) / (6 + 3 + 1 + 2))
    assert localisation.rank_accuracy(relevance, mask) == pytest.approx(2 / 3)  # of 6, 3, 2 the last two
    assert localisation.pointing_game(relevance, mask) == 0
    assert localisation.top_k_intersection(relevance, mask, k=2) == 1 / 2
    assert localisation.top_k_intersection(relevance, mask, k=4) == 2 / 4
    # pairs (in, out): 3 beats 1 and 0, 2 beats 1 and 0, -9 beats none
    assert localisation.auc(relevance, mask) == pytest.approx(4 / 9)
    shares = np.array([[0.5, 1.0, 0.25], [0.0, 1.0, 0.0]])
    assert localisation.mass_accuracy(relevance, shares) == pytest.approx((3 + 0.75 + 2) / 12)
    assert isinstance(localisation.auc(relevance, mask), float)


def test_auc_equals_scikit_learns_with_ties_and_signs():
    rng = np.random.default_rng(3)
    relevance, mask = rng.integers(-3, 4, size=(20, 9, 7)).astype(float), some_masks(20, (9, 7))
    expected = [roc_auc_score(m.ravel(), r.ravel()) for m, r in zip(mask, relevance, strict=True)]
    np.testing.assert_allclose(localisation.auc(relevance, mask), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_ties_are_worth_what_random_orders_give_on_average(k):
    relevance, mask = np.array([[2.0, 1, 1], [1, 0, 1]]), np.array([[False, True, False], [False, True, True]])
    hits = []
    for order in itertools.permutations(range(6)):
        ranked = sorted(order, key=lambda cell: -relevance.flat[cell])  # stable: the permutation breaks the ties
        hits.append(mask.ravel()[ranked[:k]].mean())
    assert localisation.top_k_intersection(relevance, mask, k=k) == pytest.approx(np.mean(hits))
    if k == 3:
        assert localisation.rank_accuracy(relevance, mask) == pytest.approx(np.mean(hits))


def test_share_of_the_cells_as_k():
    relevance, mask = np.random.default_rng(4).random((5, 20, 10)), some_masks(5, (20, 10))
    for share, k in ((0.1, 20), (0.001, 1)):
        np.testing.assert_array_equal(
            localisation.top_k_intersection(relevance, mask, k=share),
            localisation.top_k_intersection(relevance, mask, k=k),
        )


def test_degenerate_maps_and_masks_have_defined_values():
    mask = some_masks(1)[0]
    zero, full, empty = np.zeros(mask.shape), np.ones_like(mask), np.zeros_like(mask)
    some = np.random.default_rng(5).random(mask.shape)
    assert np.isnan(localisation.mass_accuracy(zero, mask))
    assert np.isnan(localisation.mass_accuracy(-some, mask))
    assert localisation.auc(zero, mask) == 0.5
    for name in ("rank_accuracy", "pointing_game", "top_k_intersection"):
        for constant in (zero, zero + 3):
            assert localisation.MEASURES[name](constant, mask) == pytest.approx(mask.mean())
    for name in NAMES:
        assert np.isnan(localisation.MEASURES[name](some, empty))
        value = localisation.MEASURES[name](some, full)
        assert np.isnan(value) if name == "auc" else value == 1


def test_maps_are_measured_one_by_one_whatever_the_leading_axes():
    rng = np.random.default_rng(6)
    relevance, mask = rng.normal(size=(4, 3, 8, 5)), some_masks(4, (8, 5))
    for function in localisation.MEASURES.values():
        together = function(relevance, mask[:, None])
        assert together.shape == (4, 3)
        for i, j in np.ndindex(4, 3):
            assert together[i, j] == function(relevance[i, j], mask[i])


MASK = np.eye(3, dtype=bool)
BAD = {
    "NaN": (lambda: localisation.auc(np.where(MASK, np.nan, 1), MASK),
            r"relevance must be finite\. Got NaN or Inf in 1 of 1 maps"),
    "Inf": (lambda: localisation.mass_accuracy(np.stack([MASK, np.full((3, 3), np.inf)]), MASK),
            r"relevance must be finite\. Got NaN or Inf in 1 of 2 maps"),
    "vector": (lambda: localisation.auc(np.ones(3), MASK), r"relevance must have shape \(\.\.\., n_bins, n_frames\)"),
    "no cells": (lambda: localisation.auc(np.ones((3, 0)), MASK), r"relevance must have shape .* Got \(3, 0\)"),
    "channel": (lambda: localisation.auc(np.ones((2, 3, 3, 1)), MASK), r"mask must have the last two axes of relevance"
                r", \(2, 3, 3, 1\), .* Got \(3, 3\)\. .* take relevance\[\.\.\., 0\]"),
    "other batch": (lambda: localisation.auc(np.ones((2, 3, 3)), np.stack([MASK] * 3)), r"mask must have the last two"),
    "column": (lambda: localisation.auc(np.ones((3, 3)), MASK[:, :1]), r"mask must have the last two .* \(3, 1\)"),
    "soft rank": (lambda: localisation.rank_accuracy(np.ones((3, 3)), MASK * 0.5),
                  r"mask must be bool\. Got float64 from 0 to 0\.5"),
    "no share": (lambda: localisation.mass_accuracy(np.ones((3, 3)), MASK * 1.5),
                 r"mask must be bool or hold shares in \[0, 1\]\. Got float64 from 0 to 1\.5"),
    "k of 0": (lambda: localisation.top_k_intersection(np.ones((3, 3)), MASK, k=0),
               r"k must be a positive int of at most 9 cells or a float in \(0, 1\)\. Got 0"),
    "k above": (lambda: localisation.top_k_intersection(np.ones((3, 3)), MASK, k=10), r"at most 9 cells .* Got 10\."),
    "k of 1.0": (lambda: localisation.top_k_intersection(np.ones((3, 3)), MASK, k=1.0), r"k must be .* Got 1\.0"),
    "energy's shape": (lambda: localisation.localise(np.ones((3, 3)), MASK, energy=np.ones((3, 4))),
                       r"energy must have the last two axes of relevance, \(3, 3\), .* Got \(3, 4\)"),
    "energy's values": (lambda: localisation.localise(np.ones((3, 3)), MASK, energy=np.full((3, 3), np.nan)),
                        r"energy must be finite"),
    "no stems": (lambda: localisation.stem_shares({}, FRONT_END), r"stems must be one or more waveforms of one length"),
    "lengths": (lambda: localisation.stem_shares({"a": tone(100), "b": tone(100, seconds=2)}, FRONT_END),
                r"of one length\. Got shapes \[\(16000,\), \(32000,\)\]"),
    "unknown stem": (lambda: localisation.target_mask({"a": np.ones((2, 2))}, ["b"]),
                     r"names must be a list of stems among a\. Got \['b'\]"),
    "text": (lambda: localisation.target_share({"a": np.ones((2, 2))}, "a"), r"names must be a list of stems"),
    "share": (lambda: localisation.target_mask({"a": np.ones((2, 2))}, ["a"], share=1.0),
              r"share must lie in \[0, 1\)\. Got 1\.0"),
    "columns": (lambda: localisation.table(pd.DataFrame({"method": ["a"]}), by="method"),
                r"rows must have the columns of localise, clip and method\. Got none of \['clip', 'measure'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        call()


# --- beside chance and energy ---------------------------------------------------------------------------------------


def test_an_energy_map_is_no_better_than_energy():
    rng = np.random.default_rng(7)
    energy, mask = rng.random((6, 10, 9)).astype(np.float32), some_masks(6, (10, 9))
    rows = localisation.localise(energy, mask, energy=energy, clip=np.arange(6), method="energy")
    assert len(rows) == 6 * len(NAMES)
    assert (rows["over_energy"] == 0).all()
    result = localisation.table(rows)
    assert (result[["over_energy", "over_energy_low", "over_energy_high"]] == 0).all(axis=None)
    assert not result["clear"].any()


def test_differences_and_correction_by_hand():
    mask = np.array([[True, False, False], [False, False, True]])
    relevance, energy = np.array([[4.0, 0, 1], [0, 2, 1]]), np.array([[1.0, 3, 0], [0, 0, 0]])
    rows = localisation.localise(relevance, mask, energy=energy, k=1).set_index("measure")
    expected = {"mass_accuracy": (5 / 8, 1 / 3, 1 / 4), "rank_accuracy": (1 / 2, 1 / 3, 1 / 2),
                "pointing_game": (1, 1 / 3, 0), "top_k_intersection": (1, 1 / 3, 0)}  # fmt: skip
    # of the map: 4 beats all four outside, 1 beats two, ties with one; of energy: 1 beats three, 0 ties with three
    expected["auc"] = ((4 + 2.5) / 8, 1 / 2, (3 + 1.5) / 8)
    for name, (value, chance, loud) in expected.items():
        row = rows.loc[name, ["value", "chance", "energy"]].astype(float)
        assert row.to_list() == pytest.approx([value, chance, loud]), name
        assert rows.at[name, "corrected"] == pytest.approx((value - chance) / (1 - chance))
        assert rows.at[name, "over_chance"] == pytest.approx(value - chance)
        assert rows.at[name, "over_energy"] == pytest.approx(value - loud)


def test_empty_and_full_masks_give_no_chance_to_beat():
    some = np.random.default_rng(8).random((2, 4, 4))
    masks = np.stack([np.zeros((4, 4), bool), np.ones((4, 4), bool)])
    rows = localisation.localise(some, masks, energy=some).set_index(["measure", "map"])
    for name in NAMES:
        assert rows.loc[(name, 0), ["value", "chance", "corrected", "over_chance"]].isna().all()
        assert np.isnan(rows.at[(name, 1), "corrected"])


def made_rows(values, clip, energy=0.3, method="a"):
    rows = pd.DataFrame({"clip": clip, "method": method, "measure": "auc", "value": values, "chance": 0.5})
    rows["energy"], rows["corrected"] = energy, 2 * rows["value"] - 1
    rows["over_chance"], rows["over_energy"] = rows["value"] - 0.5, rows["value"] - rows["energy"]
    return rows


def test_the_table_pairs_each_clip_with_its_own_energy():
    """Maps vary much from clip to clip, and always beat energy by a little: only the paired difference shows it."""
    rng = np.random.default_rng(9)
    energy = rng.uniform(0.1, 0.9, size=200)
    gain = 0.02 + 0.05 * rng.normal(size=200)
    row = localisation.table(made_rows(energy + gain, np.arange(200), energy), repeats=2000).iloc[0]
    assert row["over_energy"] == pytest.approx(gain.mean())
    assert row["over_energy_high"] - row["over_energy_low"] == pytest.approx(2 * 1.96 * gain.std() / 200**0.5, rel=0.1)
    assert row["value_high"] - row["value_low"] == pytest.approx(2 * 1.96 * energy.std() / 200**0.5, rel=0.15)
    assert row["over_energy_low"] > 0


def test_the_table_counts_clips_and_not_frames():
    values = np.repeat(np.random.default_rng(10).normal(0.7, 0.1, size=40), 25)
    row = localisation.table(made_rows(values, np.repeat(np.arange(40), 25)), repeats=2000).iloc[0]
    assert (row["clips"], row["maps"]) == (40, 1000)
    assert row["value_high"] - row["value_low"] == pytest.approx(2 * 1.96 * values.std() / np.sqrt(40), rel=0.1)
    uneven = made_rows([1.0, 0.4, 0.4, 0.4], [0, 1, 1, 1])
    assert localisation.table(uneven).iloc[0]["value"] == pytest.approx(0.7)


def test_the_table_says_what_is_clear_and_what_is_undefined():
    rng = np.random.default_rng(11)
    clip, noise = np.arange(60), 0.02 * rng.normal(size=60)
    rows = pd.concat([
        made_rows(0.7 + noise, clip, method="good"), made_rows(0.7 + noise, clip, energy=0.8, method="below energy"),
        made_rows(0.45 + noise, clip, method="below chance"), made_rows([0.9], [0], method="one clip"),
        made_rows(np.where(clip < 20, np.nan, 0.7), clip, method="blank"), made_rows([np.nan], [0], method="none"),
    ])  # fmt: skip
    result = localisation.table(rows).set_index("method")
    assert result["clear"].to_dict() == {"good": True, "below energy": False, "below chance": False, "one clip": False,
                                         "blank": True, "none": False}  # fmt: skip
    assert result.at["blank", "undefined"] == 20
    assert result.at["blank", "clips"] == 40
    assert result.at["none", "clips"] == 0
    assert result.loc["one clip", ["value_low", "over_energy_low"]].isna().all()
    pd.testing.assert_frame_equal(localisation.table(rows, seed=3), localisation.table(rows, seed=3))
    assert not localisation.table(rows, seed=3).equals(localisation.table(rows, seed=4))


# --- stems ----------------------------------------------------------------------------------------------------------


def test_shares_are_those_of_linear_mel_power():
    rng = np.random.default_rng(12)
    stems = {name: (level * rng.normal(size=SR)).astype(np.float32) for name, level in (("a", 0.3), ("b", 0.02))}
    power = {name: librosa.feature.melspectrogram(y=y, sr=SR, n_fft=1024, hop_length=512, pad_mode="constant")
             for name, y in stems.items()}  # fmt: skip
    shares = localisation.stem_shares(stems, FRONT_END)
    for name in stems:
        np.testing.assert_allclose(shares[name], power[name] / (power["a"] + power["b"]), atol=1e-4)
    assert np.median(shares["b"]) == pytest.approx(0.02**2 / 0.3**2, rel=0.2)  # power, not amplitude
    assert shares["a"].dtype == np.float32


def test_every_tone_owns_its_band_and_silence_nobodys():
    low, high = tone(300), tone(3000)
    low[: SR // 2] = 0
    high[-SR // 4 :] = low[-SR // 4 :] = 0
    shares = localisation.stem_shares({"low": low, "high": high, "mute": np.zeros_like(low)}, FRONT_END)
    total = sum(shares.values())
    bands = [int(np.abs(FRONT_END.frequencies() - f).argmin()) for f in (300, 3000)]
    assert (shares["low"][bands[0], 17:23] > 0.99).all()
    assert (shares["high"][bands[1], 1:23] > 0.99).all()
    assert (total[:, -6:] == 0).all()
    assert (shares["mute"] == 0).all()
    seen = FRONT_END.compute(low + high) > FRONT_END.floor
    np.testing.assert_allclose(total[seen], 1, atol=1e-5)
    assert (total[~seen] == 0).all()
    both = localisation.target_mask(shares, ["low", "high"], share=0.9)
    np.testing.assert_array_equal(both, seen)
    mask = localisation.target_mask(shares, ["low"])
    assert mask.dtype == bool
    assert mask[bands[0], 17:23].all()
    assert not mask[bands[1]].any()
    assert not localisation.target_mask(shares, []).any()


def test_stems_at_par_leave_no_majority_and_loudness_is_the_mixs():
    y = tone(1000, level=1e-3)
    shares = localisation.stem_shares({"a": y, "b": y}, FRONT_END)
    assert not localisation.target_mask(shares, ["a"]).any()
    assert localisation.target_mask(shares, ["a"], share=0.4).any()
    own = spectrograms.FrontEnd(SR, 1024, 512, 128, ref="max", floor=-20.0, ceiling=0.0)
    loud = localisation.stem_shares({"a": y, "b": y}, own)
    np.testing.assert_array_equal(sum(loud.values()) > 0, own.compute(2 * y) > -20)
    assert 0 < (loud["a"] > 0).mean() < (shares["a"] > 0).mean()


def test_shares_of_a_waveform_are_those_of_its_samples():
    front_end = spectrograms.FrontEnd(SR, 2, 1, 1, kind="waveform")
    stems = {"a": np.array([0.1, 0.3, 0.0, 0.0], np.float32), "b": np.array([0.1, -0.1, 0.2, 0.0], np.float32)}
    shares = localisation.stem_shares(stems, front_end)
    np.testing.assert_allclose(shares["a"], [[0.5, 0.9, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(shares["b"], [[0.5, 0.1, 1, 0]], atol=1e-6)
    pieces = localisation.cut(shares["a"], spectrograms.ModelInput(front_end, 2, 1))
    assert pieces.shape == (3, 2, 1)
    np.testing.assert_allclose(pieces[1, :, 0], [0.9, 0], atol=1e-6)


def test_masks_are_cut_as_their_inputs():
    S = np.random.default_rng(13).integers(0, 256, size=(1, 128, 93), dtype=np.uint8)
    inputs = spectrograms.Segments(spectrograms.ArrayStore(S, [7]), [7], length=32, step=12)
    pieces = localisation.cut(S[0] > 100, spectrograms.ModelInput(FRONT_END, 32, 12))
    assert pieces.dtype == bool
    np.testing.assert_array_equal(pieces, inputs[:][..., 0] > 100.5 / 255)


def test_a_composed_clips_own_shares_find_its_instruments():
    plan = next(
        p
        for p in composed.plan(60)
        if len(composed.tag_stems(p, "guitar")) == 1 and p.start == 30 and len(composed.truth(p)["instruments"]) >= 3
    )
    stems = composed.stems(plan)
    shares = localisation.stem_shares(stems, FRONT_END)
    names = composed.tag_stems(plan, "guitar")
    model_input = spectrograms.ModelInput(FRONT_END, 128, 64)
    mask = localisation.cut(localisation.target_mask(shares, names), model_input)
    share = localisation.cut(localisation.target_share(shares, names), model_input)
    x = spectrograms.segments(FRONT_END.scale(FRONT_END.compute(sum(stems.values()))), length=128, step=64)
    assert mask.shape == x.shape == (13, 128, 128)
    assert 0.01 < mask.mean() < 0.9
    rows = localisation.localise(share, mask, energy=x, clip=np.arange(13), method="truth")
    result = localisation.table(rows).set_index("measure")
    assert (result.loc[["rank_accuracy", "pointing_game", "auc"], "value"] == 1).all()
    assert result.loc[["rank_accuracy", "auc"], "clear"].all()
    assert (result["energy"] < 1).all()

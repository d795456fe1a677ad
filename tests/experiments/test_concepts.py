"""Experiments of notebook 13: planting, choosing cases, agreement with heatmaps, what the composer knows."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from support import planted

from musictools.concepts.discovery import Concepts, discover
from musictools.concepts.patches import Patches
from musictools.datasets import composed
from musictools.experiments import concept_truth
from musictools.experiments import concepts as experiment
from musictools.spectrograms import ArrayStore, FrontEnd

FRONT_END = FrontEnd(16000, 1024, 512, 128)


def by_hand(x, labels, concept_of, n, names, n_segments=(6, 10)):
    """Concepts whose members are chosen by a function of a mask and a label."""
    patches = Patches.cut(x, n_segments=n_segments)
    concept = np.array([concept_of(patches.mask(k), labels[patches.input[k]]) for k in range(len(patches))])
    table = pd.DataFrame(
        {"class": [names[k // 2] for k in range(n)]}, [f"{names[k // 2]} {k % 2 + 1}" for k in range(n)]
    )
    rest = (np.zeros(len(patches)), np.zeros((n, 3)), labels, np.arange(len(x)), names, {})
    return Concepts(table.rename_axis("concept"), patches, concept, *rest)


def test_one_segment_from_the_middle_of_each_clip():
    S = np.tile(np.arange(100, dtype=np.uint8), (6, 8, 1))
    store = ArrayStore(S, list("abcdef"))
    genres = pd.Series(["rock", "pop"] * 3, list("abcdef"))
    x, labels, clips, starts = experiment.sample_inputs(store, genres, ["pop", "rock"], per_genre=2, length=20)
    assert x.shape == (4, 8, 20, 1)
    assert labels.tolist() == [0, 0, 1, 1]
    assert {genres[clip] for clip in clips[:2]} == {"pop"}
    assert starts.tolist() == [40] * 4
    np.testing.assert_allclose(x[0, 0, :, 0], np.arange(40, 60) / 255, rtol=1e-5)


def test_a_band_silences_a_tenth_of_the_time():
    x = np.ones((3, 8, 40, 1), np.float32)
    changed = experiment.plant_band(x, [1], share=0.1)
    np.testing.assert_array_equal(changed[[0, 2]], x[[0, 2]])
    silent = (changed[1] == 0).all(axis=(0, 2))
    assert silent.sum() == 4
    assert np.ptp(np.flatnonzero(silent)) == 3
    assert (changed[1][:, ~silent] == 1).all()


def test_hiss_adds_power_above_a_bin():
    x = np.zeros((2, 128, 30, 1), np.float32)
    changed = experiment.plant_hiss(x, [1], front_end=FRONT_END, level=-20.0, low=100)
    np.testing.assert_array_equal(changed[0], x[0])
    np.testing.assert_array_equal(changed[1, :100], x[1, :100])
    span = FRONT_END.ceiling - FRONT_END.floor
    power = 10 ** ((changed[1, 100:] * span + FRONT_END.floor) / 10)
    assert 10 * np.log10(power.mean()) == pytest.approx(-20, abs=0.5)


def test_cases_are_the_strongest_unflagged_and_flagged_ones():
    table = pd.DataFrame(
        {"class": ["a", "a", "a", "b"], "sensitivity": [0.9, 0.5, 0.7, 0.2], "kept": [False, True, True, True]},
        ["a 1", "a 2", "a 3", "b 1"],
    )
    flags = pd.DataFrame({"flagged": [False, False, True, False], "used": True}, table.index)
    found = Concepts(table, *[None] * 9)
    assert experiment.cases(found, flags) == {"good": "a 2", "bad": "a 3"}
    assert experiment.cases(found, flags, of="b") == {"good": "b 1"}
    assert experiment.cases(found, flags.assign(used=False)) == {}


def test_relevance_inside_a_concepts_own_patches_is_dense():
    x, labels = planted.planted(8)
    found = by_hand(
        x, labels, lambda mask, label: 2 * label + (mask[4:20].mean() > mask[20:].mean()), 6, ["a", "b", "c"]
    )
    rng = np.random.default_rng(0)
    relevance = rng.random(x.shape).astype(np.float32)
    patches = found.patches
    for index in np.flatnonzero(found.concept == 5)[::3]:
        relevance[patches.input[index]][patches.mask(index)] += 20
    table = experiment.agreement(found, relevance, repeats=100).set_index("concept")
    assert table.at["c 2", "density"] > table.at["c 2", "high"]
    assert table.at["c 2", "p"] < 0.05
    assert table.loc[["a 1", "a 2", "b 1", "b 2"], "density"].between(0.8, 1.2).all()
    uniform = experiment.agreement(found, np.ones(x.shape), only=["a 1"], repeats=10)
    assert uniform.loc[0, ["density", "shuffled", "p"]].tolist() == pytest.approx([1, 1, 1])


def test_a_shuffled_heatmap_is_that_of_another_input():
    x, labels = planted.planted(3)
    found = by_hand(x, labels, lambda mask, label: 2 * label, 6, ["a", "b", "c"])
    relevance = np.zeros(x.shape, np.float32)
    for k in range(3):
        mask = found.patches.mask(np.flatnonzero(found.patches.input == k)[0])
        relevance[k][mask] = 1.0
    first = [np.flatnonzero(found.patches.input == k)[0] for k in range(3)]
    only = dataclasses.replace(found, concept=np.where(np.isin(np.arange(len(found.patches)), first), 0, -1))
    table = experiment.agreement(only, relevance, only=["a 1"], repeats=200)
    masks = [found.patches.mask(k) for k in first]
    shares = [[(a & b).sum() / b.sum() / a.mean() for b in masks] for a in masks]
    turns = [np.mean([shares[k][(k + shift) % 3] for k in range(3)]) for shift in (1, 2)]  # its own is never drawn
    assert table.at[0, "low"] == pytest.approx(min(turns), rel=1e-4)
    assert table.at[0, "high"] == pytest.approx(max(turns), rel=1e-4)


def test_placements_and_costs_follow_the_arguments_of_the_discovery(monkeypatch):
    x, labels = planted.planted(6)
    model, baselines, inputs = planted.network(), [], Patches.inputs
    monkeypatch.setattr(Patches, "inputs", lambda self, x, **o: baselines.append(o["baseline"]) or inputs(self, x, **o))
    options = {"n_segments": (6, 10), "n_concepts": 4, "n_null": 5, "n_runs": 3, "n_seeds": 2}
    names = ["a", "b", "c"]
    table = experiment.compare_placements(model, x, labels, names=names, classes=[0], baseline=0.25, **options)
    assert baselines == [0.25] * 4
    assert table["placement"].tolist() == ["in_place", "resized"]
    monkeypatch.undo()
    found = discover(model, x, labels, names=names, **options)
    cost = experiment.original_cost(model, x, found, n_cavs=1, n_runs=3).set_index("way")
    assert cost.at["original", "total"] == pytest.approx(cost.at["original", "seconds_per_cav"] * 12 * 3)
    assert cost.at["here", "total"] > cost.at["here", "seconds_per_cav"] * (12 + 5) * 3, "random CAVs cost time too"


class TestComposed:
    """What the composer knows of patches, from plans; two clips are rendered."""

    @pytest.fixture(scope="class")
    def clips(self):
        plans = [p for p in composed.plan(60) if any(q.style == "drums" for q in p.style.players)][:2]
        x = np.stack([FRONT_END.scale(FRONT_END.compute(composed.mix(plan)))[:, 200:328] for plan in plans])[..., None]
        found = by_hand(x, np.zeros(2, int), lambda mask, label: 0, 1, ["all"])
        return plans, x, found

    def test_shares_of_stems_add_up(self, clips):
        plans, x, found = clips
        table = concept_truth.plan_properties(plans, found, x, [200, 200], front_end=FRONT_END, min_clips=1)
        stems = table.filter(like="stem ")
        np.testing.assert_allclose(stems.sum(axis=1), 1, atol=1e-4)
        for number, plan in enumerate(plans):
            own = table[found.patches.input == number]
            assert (own["tempo"] == plan.style.tempo).all()
            assert own.filter(like="key ").sum(axis=1).eq(1).all()

    def test_share_of_a_lonely_stem_is_one(self, clips):
        plans, x, found = clips
        alone = [dataclasses.replace(p, style=dataclasses.replace(p.style, players=p.style.players[:1])) for p in plans]
        table = concept_truth.plan_properties(alone, found, x, [200, 200], front_end=FRONT_END, min_clips=1)
        assert (table.filter(like="stem ").max(axis=1) > 0.999).all()

    def test_a_click_on_the_beat_is_on_the_beat(self, clips):
        plans, x, found = clips
        score = composed.compose(plans[0])
        beats = (score.downbeats[0] + np.arange(400) * 60 / score.tempo) * 16000 / 512 - 200
        for shift, sign in ((0.0, 1), (0.5, -1)):
            image = np.full_like(x, 0.1)
            frames = np.round(beats + shift * 60 / score.tempo * 16000 / 512).astype(int)
            image[0][:, frames[(frames >= 0) & (frames < 128)]] = 0.9
            table = concept_truth.plan_properties(plans[:1], found_of(found), image[:1], [200], front_end=FRONT_END)
            hit = [found.patches.mask(k)[:, frames[(frames >= 0) & (frames < 128)]].any() for k in range(len(table))]
            assert (sign * table["on the beat"][hit] > 0.8).all()


def found_of(found):
    """The concepts of the first input only."""
    first, patches = found.patches.input == 0, found.patches
    own = Patches(patches.labels[:1], patches.input[first], patches.scale[first], patches.label[first])
    changes = {"patches": own, "concept": found.concept[first], "labels": found.labels[:1], "groups": found.groups[:1]}
    return dataclasses.replace(found, **changes)

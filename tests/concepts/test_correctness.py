"""Associations, layout and files of concepts."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from support import planted

from musictools import concepts
from musictools.concepts.discovery import Concepts
from musictools.concepts.patches import Patches

NAMES = ["low", "high", "drums"]


@pytest.fixture(scope="module")
def found():
    """Concepts by hand: patches of every class divided by their position."""
    x, labels = planted.planted(6)
    patches = Patches.cut(x, n_segments=[6, 10])
    rng = np.random.default_rng(0)
    concept = labels[patches.input] * 2 + rng.integers(0, 2, len(patches))
    rows = [
        {"class": NAMES[k // 2], "patches": int((concept == k).sum()), "q": 0.01, "sensitivity": 0.5, "kept": True}
        for k in range(6)
    ]
    table = pd.DataFrame(rows, index=pd.Index([f"{NAMES[k // 2]} {k % 2 + 1}" for k in range(6)], name="concept"))
    vectors = rng.normal(size=(6, 9))
    vectors[4] = np.nan
    null = {name: rng.normal(size=5) for name in NAMES}
    settings = {"layer": "maps", "pool": "time", "n_segments": (6, 10)}
    groups = np.array([f"clip {i}" for i in range(len(x))])
    return Concepts(table, patches, concept, rng.random(len(patches)), vectors, labels, groups, NAMES, null, settings)


def test_association_is_the_area_under_the_curve(found):
    rng = np.random.default_rng(1)
    values = rng.integers(0, 5, len(found.patches)).astype(float)  # with ties
    table = concepts.associations(found, pd.DataFrame({"a": values}), repeats=50).set_index("concept")
    labels = found.labels[found.patches.input]
    for number, name in enumerate(found.table.index):
        own = labels == number // 2
        assert table.at[name, "auc"] == pytest.approx(roc_auc_score(found.concept[own] == number, values[own]))
        assert table.at[name, "low"] <= table.at[name, "auc"] <= table.at[name, "high"]


def test_a_property_of_one_concept_is_found_there_and_nowhere_else(found):
    rng = np.random.default_rng(1)
    planted_one = 1.0 * (found.concept == 2) + 0.1 * rng.random(len(found.patches)) * (found.concept == 2)
    properties = pd.DataFrame({"noise": rng.random(len(found.patches)), "planted": planted_one})
    best = concepts.best_associations(concepts.associations(found, properties)).set_index("concept")
    assert best.at["high 1", "property"] == "planted"
    assert best.at["high 1", "low"] == 1
    assert "planted" not in set(best.drop(index="high 1")["property"])


def test_constant_and_unknown_properties(found):
    properties = pd.DataFrame({"constant": np.ones(len(found.patches)), "unknown": np.nan}, dtype=float)
    table = concepts.associations(found, properties, only=["low 2"])
    assert table["concept"].tolist() == ["low 2"] * 2
    assert table.loc[0, ["auc", "low", "high"]].tolist() == [0.5, 0.5, 0.5]
    assert table.loc[1, ["auc", "low", "high", "mean", "rest"]].isna().all()
    with pytest.raises(ValueError, match="one a patch. Got 3"):
        concepts.associations(found, properties[:3])


def test_patch_properties_of_a_slow_loop(found):
    x, _ = planted.planted(6)
    table = concepts.patch_properties(found, x)
    for index in (0, 11, len(found.patches) - 1):
        mask, image = found.patches.mask(index), x[found.patches.input[index], ..., 0]
        rows, columns = np.nonzero(mask)
        row = table.loc[index]
        assert row["frequency"] == pytest.approx(rows.mean())
        assert (row["height"], row["width"]) == (np.ptp(rows) + 1, np.ptp(columns) + 1)
        assert row["level"] == pytest.approx(image[mask].mean(), rel=1e-5)
        assert row["contrast"] == pytest.approx(image[mask].std(), rel=1e-4)


def test_arrangement_leaves_out_concepts_without_a_cav(found):
    table = concepts.arrange(found, n_clusters=2, perplexity=2)
    assert list(table.index) == [name for k, name in enumerate(found.table.index) if k != 4]
    assert table["cluster"].nunique() == 2
    assert np.isfinite(table.to_numpy()).all()
    cosines = concepts.alike(found, "low 1", n=3)
    assert len(cosines) == 3
    assert "low 1" not in cosines
    assert cosines.is_monotonic_decreasing
    with pytest.raises(ValueError, match="At least 4 concepts"):
        concepts.arrange(Concepts(**vars(found) | {"vectors": np.full((6, 9), np.nan)}))


def test_flags_by_hand(found):
    groups, inside = found.groups[found.patches.input], found.concept == 3
    contrast = pd.DataFrame({"contrast": np.where(inside, 0.01, 0.5), "silent": 0.0})
    flags = concepts.flag(found, contrast)
    assert flags.index[flags["flagged"]].tolist() == ["high 2"]
    assert flags.at["high 2", "reason"] == "constant patches"
    silence = pd.DataFrame({"contrast": np.ones(len(inside)), "silent": np.where(inside, 0.6, 0.1)})
    flags = concepts.flag(found, silence)
    assert flags["reason"].to_dict() == {name: "silence" if name == "high 2" else "" for name in found.table.index}
    assert not concepts.flag(found, silence.assign(silent=0.6))["flagged"].any()
    unused = Concepts(**vars(found) | {"table": found.table.assign(q=0.2)})
    assert not concepts.flag(unused, contrast)["flagged"].any()
    lowering = Concepts(**vars(found) | {"table": found.table.assign(sensitivity=-0.5)})
    assert not concepts.flag(lowering, contrast)["flagged"].any()
    one_clip = Concepts(**vars(found) | {"concept": np.where(inside & (groups != "clip 6"), 2, found.concept)})
    flags = concepts.flag(one_clip, pd.DataFrame({"contrast": np.ones(len(groups)), "silent": 0.0}))
    assert flags.at["high 2", "reason"] == "few clips"
    n = (inside & (groups == "clip 6")).sum()
    shares = pd.Series(groups[found.labels[found.patches.input] == 1]).value_counts(normalize=True)
    assert flags.at["high 2", "clip_share"] == pytest.approx(1 / sum(1 - (1 - share) ** n for share in shares))


def test_only_what_no_property_explains_is_flagged(found):
    noise = np.random.default_rng(0).random(len(found.patches))
    music = pd.DataFrame({"stem": np.where(found.concept < 4, found.concept % 2 + noise, noise)})
    explained = concepts.associations(found, music)
    alone = pd.DataFrame({"cluster": [0, 0, 0, 1, 0, 2]}, found.table.index)
    flags = concepts.flag(
        found,
        pd.DataFrame({"contrast": np.ones(len(music)), "silent": 0.0}),
        explained=explained,
        arrangement=alone,
        small=0.2,
    )
    assert flags.index[flags["unexplained"]].tolist() == ["drums 1", "drums 2"]
    assert flags.index[flags["isolated"]].tolist() == ["high 2", "drums 2"]
    assert flags.index[flags["flagged"]].tolist() == ["drums 2"]
    assert flags.at["drums 2", "reason"] == "unlike other concepts, no musical property"


def test_saved_concepts_are_the_same(found, tmp_path):
    songs = pd.DataFrame({"tempo": [1.5, 2.0]}, index=pd.Index(["a", "b"], name="clip"))
    path = concepts.save(tmp_path / "concepts.npz", found, songs=songs)
    again, tables = concepts.load(path)
    pd.testing.assert_frame_equal(again.table, found.table)
    pd.testing.assert_frame_equal(tables["songs"], songs)
    for name in ("concept", "distance", "labels", "groups"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    np.testing.assert_allclose(again.vectors, found.vectors, rtol=1e-6)
    for name, values in found.null.items():
        np.testing.assert_array_equal(again.null[name], values)
    np.testing.assert_array_equal(again.patches.mask(7), found.patches.mask(7))
    assert again.names == found.names
    assert again.settings["layer"] == "maps"


def test_files_without_concepts_are_refused(found, tmp_path):
    with pytest.raises(ValueError, match=r"path must end in .npz"):
        concepts.save(tmp_path / "concepts.json", found)
    np.savez(tmp_path / "other.npz", a=1)
    for name in ("other.npz", "missing.npz"):
        with pytest.raises(ValueError, match="no saved concepts"):
            concepts.load(tmp_path / name)

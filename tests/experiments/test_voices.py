"""Measures of evidence for voices, on clips composed here and a small network of random weights."""

import numpy as np
import pandas as pd
import pytest
from support.choi2018_files import arrays, config, write

from musictools.experiments import voices
from musictools.experiments.voices import truth
from musictools.experiments.voices.probe import mean_of_copies
from musictools.released import choi2018

SR = 12000
NAMES = [*voices.BASE_RATES, "instrumental", "rock"]


def clip(number, seconds=3.0):
    """A voice (tones of 2 kHz in the middle third) over noise and a bass."""
    rng = np.random.default_rng(number)
    t = np.arange(round(seconds * SR)) / SR
    sung = (t > seconds / 3) & (t < 2 * seconds / 3)
    voice = 0.2 * np.sin(2 * np.pi * (1900 + 100 * number) * t) * sung
    rest = 0.2 * np.sin(2 * np.pi * 110 * t) + rng.normal(0, 1e-3, len(t))
    times = 0.02 * np.arange(1, int(seconds / 0.02))
    vocal = (times > seconds / 3) & (times < 2 * seconds / 3)
    return voices.Clip(f"clip{number}", f"singer{number % 3}", voice.astype(np.float32), rest.astype(np.float32), times,
                       vocal)  # fmt: skip


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    layers = config(n_tags=len(NAMES))
    path = write(tmp_path_factory.mktemp("choi") / "model.hdf5", layers, arrays(layers, np.random.default_rng(0)))
    return choi2018.load(path, tags=NAMES)


@pytest.fixture(scope="module")
def found(tagger):
    methods = ("energy", "change", "random", "gradient", "deep_taylor", "deep_taylor/shuffled", "lime", "components",
               voices.ORACLE)  # fmt: skip
    return voices.compare(tagger, [clip(n) for n in range(4)], methods)


def test_voice_cells_are_those_where_the_voice_is_louder_and_heard():
    voice = np.array([[0.0, -10.0, -70.0]])
    rest = np.array([[-10.0, 0.0, -80.0]])
    cells, heard = voices.voice_cells(voice, rest, np.array([[0.4, 0.4, -69.6]]))
    np.testing.assert_array_equal(cells, [[True, False, False]])
    np.testing.assert_array_equal(heard, [[True, True, False]])


def test_components_add_up_and_follow_the_sources(tagger):
    one = clip(0)
    S = tagger.levels(one.voice + one.accompaniment)
    shares = voices.components(S, n_components=4)
    assert shares.shape == (4, *S.shape)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-4)
    cells, _ = voices.voice_cells(tagger.levels(one.voice), tagger.levels(one.accompaniment), S)
    inside = np.array([(share * cells).sum() / share.sum() for share in shares])
    loud = S.max() - S < 20
    assert shares[:, cells & loud].mean(axis=1).max() > 0.8  # one component holds the voice
    assert inside.max() > 2 * cells.mean()


def test_measures_of_maps_whose_worth_is_known(tagger):
    one = clip(0)
    S = tagger.levels(one.voice + one.accompaniment)
    cells, heard = voices.voice_cells(tagger.levels(one.voice), tagger.levels(one.accompaniment), S)
    sung = truth.sung_frames(one, S.shape[1], tagger.front_end)
    assert abs(sung.mean() - 1 / 3) < 0.02
    assert sung[S.shape[1] // 2]
    known = truth.Truth(tagger.scale(S), cells, heard, sung)
    perfect = known.measure(cells.astype(float))
    assert all(perfect[name] == 1 for name in ("auc", "auc_equal_energy", "auc_loud", "mass"))
    wrong = known.measure(1.0 - cells)
    assert wrong["auc"] == wrong["auc_equal_energy"] == wrong["mass"] == 0
    assert known.measure(np.full(S.shape, -1.0))["auc"] == 0.5  # no positive relevance: nothing is said
    assert known.measure(np.tile(sung, (96, 1)).astype(float))["auc_time"] == 1
    energy = known.measure(known.x)
    assert energy["auc"] > 0.6
    assert abs(energy["auc_equal_energy"] - 0.5) < abs(energy["auc"] - 0.5)


def test_copies_of_a_clip_are_averaged():
    maps = np.arange(7.0)[None, None]  # a clip of three frames in an input of seven
    np.testing.assert_allclose(mean_of_copies(maps, 3), [[[3.0, 2.5, 3.5]]])


def test_every_method_gives_a_row_a_target_and_form(found, tagger):
    rows, levels = found
    counts = rows.groupby("method").size() / 4
    forms, targets, tags = len(voices.FORMS), len(voices.TARGETS), len(voices.BASE_RATES)
    assert counts["energy"] == counts["random"] == forms
    assert counts["gradient"] == counts["deep_taylor"] == counts[voices.ORACLE] == forms * targets
    assert counts["lime"] == forms * (targets + tags)
    assert counts["components"] == forms * (targets + tags)
    assert rows[list(voices.MEASURES)].stack().between(0, 1).all()
    chosen = levels["best"] + " down"
    assert all(levels.at[i, name] != levels.at[i, name.removesuffix(" down")] for i, name in chosen.items())
    best = rows[(rows["method"] == "components") & (rows["form"] == "raw")].pivot_table("auc", "clip", "target")
    for row in levels.itertuples():
        assert best.at[row.clip, "vocals"] == pytest.approx(best.at[row.clip, row.best])


def test_oracle_finds_the_voice_and_is_called_so(found):
    table = voices.table(found[0], repeats=50)
    raw = table[table["form"] == "raw"].set_index(["method", "target"])
    assert not raw.loc[voices.ORACLE, "blind"].any()
    assert raw[raw.index.get_level_values("method") != voices.ORACLE]["blind"].all()
    assert raw.at[(voices.ORACLE, "vocals"), "mass"] > 0.9
    assert abs(raw.at[("random", "vocals"), "auc"] - 0.5) < 0.05
    assert raw.at[("energy", "vocals"), "auc_over_energy"] == 0
    assert np.isfinite(raw.at[("deep_taylor", "vocals"), "auc_over_shuffled"])
    assert np.isnan(raw.at[("gradient", "vocals"), "auc_over_shuffled"])
    assert ((table["auc_low"] <= table["auc"]) & (table["auc"] <= table["auc_high"])).all()


def test_evidence_of_every_tag_against_instrumental(tagger):
    probe = voices.Probe(tagger, ("lrp_composite", "components"))
    one = clip(1)
    rows = pd.DataFrame(probe.every_tag(one, ("lrp_composite", "components")))
    for _, group in rows.groupby("method"):
        assert sorted(group["target"]) == sorted(set(NAMES) - {"instrumental"})
    measured, levels = probe.measure(one, down=False)
    measured, best = pd.DataFrame(measured), levels["best"]
    measured = measured[(measured["target"] == voices.TARGETS[1]) & (measured["form"] == "smoothed")]
    for method, auc in measured.set_index("method")["auc"].items():
        same = rows[(rows["method"] == method) & (rows["target"] == best)]
        assert same["auc"].item() == pytest.approx(auc, abs=1e-3)


def test_intervals_resample_singers():
    rows = pd.DataFrame(
        [
            {
                "clip": f"{s}{n}",
                "singer": s,
                "method": m,
                "target": "vocals",
                "form": "raw",
                **dict.fromkeys(voices.MEASURES, v + (m == "components") * 0.1),
                "mass": 0.5,
                "area": 0.5,
            }
            for s, v in (("a", 0.5), ("b", 0.7))
            for n in range(20)
            for m in ("energy", "components")
        ]
    )
    line = voices.table(rows).set_index("method").loc["components"]
    assert line["auc"] == pytest.approx(0.7)
    assert (line["auc_low"], line["auc_high"]) == (pytest.approx(0.6), pytest.approx(0.8))  # one singer only, at times
    assert line["auc_over_energy_low"] == pytest.approx(0.1)


def test_turning_down_is_counted_by_hand():
    levels = pd.DataFrame({"clip": ["x", "y"], "singer": ["a", "b"], "best": ["male vocalists", "female vocalists"],
                           "female vocalists": [1.0, 2.0], "female vocalists down": [2.0, 1.0],
                           "male vocalists": [3.0, 0.0], "male vocalists down": [0.0, 5.0],
                           "mass components": [0.5, np.nan], "mass components down": [0.25, np.nan]})  # fmt: skip
    table = voices.down_table(levels, repeats=20).set_index("what")
    assert table.at["logit female vocalists", "falls"] == 0.5
    assert table.at["logit vocals", "falls"] == 1
    assert table.at["logit vocals", "change"] == -2
    assert table.at["mass components", "clips"] == 1
    assert table.at["mass components", "change"] == -0.25


def test_what_is_wrong_is_named(tagger):
    with pytest.raises(ValueError, match="methods must be some of"):
        voices.Probe(tagger, ("energy", "magic"))
    with pytest.raises(ValueError, match="targets must be some of"):
        voices.Probe(tagger, ("energy",), targets=("drums",))
    with pytest.raises(ValueError, match="examples must be given"):
        voices.Probe(tagger, ("components/shuffled",))
    tagger.tags[3] = "no vocals"
    try:
        with pytest.raises(ValueError, match="must know the tag 'instrumental'"):
            voices.Probe(tagger, ("energy",))
    finally:
        tagger.tags[3] = "instrumental"

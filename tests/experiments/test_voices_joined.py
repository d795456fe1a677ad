"""Joined clips and measures of maps, on sounds and a network whose answers are known."""

import keras
import numpy as np
import pandas as pd
import pytest

from musictools.experiments import voices
from musictools.experiments import voices_joined as joined
from musictools.inference import Tagger
from musictools.models.card import ModelCard
from musictools.spectrograms import FrontEnd

SR, N_MELS, LENGTH = 8000, 16, 40
FRONT_END = FrontEnd(SR, 256, 128, N_MELS, floor=-100.0, ceiling=50.0)
TAGS = [*joined.VOCAL_TAGS, joined.NO_VOCALS, "drums"]
VOICE_BANDS = slice(8, 11)  # of a tone of 1.5 kHz


def clip(number, singer, seconds=1.0):
    """A tone of 1.5 kHz in the second half over a bass."""
    t = np.arange(round(seconds * SR)) / SR
    sung = t >= seconds / 2
    times = 0.02 * np.arange(1, round(seconds / 0.02))
    voice, rest = 0.2 * np.sin(2 * np.pi * 1500 * t) * sung, 0.2 * np.sin(2 * np.pi * 100 * t)
    noise = np.random.default_rng(number).normal(0, 1e-3, len(t))
    return voices.Clip(f"{singer}_{number}", singer, voice.astype(np.float32), (rest + noise).astype(np.float32), times,
                       times >= seconds / 2)  # fmt: skip


@pytest.fixture(scope="module")
def tagger():
    """Vocal tags are the mean of the voice's bands, *singing* most of all; *no vocals* is the mean of the low bands."""
    inputs = keras.Input((N_MELS, LENGTH, 1))
    x = keras.layers.Conv2D(N_MELS, (N_MELS, 1), name="bands")(inputs)  # one map for each band
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    scores = keras.layers.Activation("sigmoid")(keras.layers.Dense(len(TAGS), name="logits")(x))
    model = keras.Model(inputs, scores)
    model.get_layer("bands").set_weights([np.eye(N_MELS).reshape(N_MELS, 1, 1, N_MELS), np.zeros(N_MELS)])
    kernel = np.zeros((N_MELS, len(TAGS)))
    kernel[VOICE_BANDS, :5] = [1, 2, 4, 3, 2]
    kernel[:4, 5] = 1
    model.get_layer("logits").set_weights([kernel, np.zeros(len(TAGS))])
    card = ModelCard(task="tags", model="planted", outputs=TAGS, front_end=FRONT_END, length=LENGTH, step=LENGTH)
    return Tagger(model, card)


@pytest.fixture(scope="module")
def segments(tagger):
    clips = [clip(number, singer) for singer in ("ann", "bob", "cid") for number in range(2)]
    return joined.join(clips, tagger, step=30)


def test_every_frame_is_explained_once_and_the_last_segment_goes_on_with_the_first(segments, tagger):
    own = [s for s in segments if s.singer == "bob"]
    clips = [clip(number, "bob") for number in range(2)]
    S = FRONT_END.compute(np.concatenate([c.voice + c.accompaniment for c in clips]))
    assert [s.name for s in own] == [f"bob/{n}" for n in range(S.shape[1] // 30)]
    np.testing.assert_array_equal(np.concatenate([s.levels for s in own], axis=1), S[:, : 30 * len(own)])
    after = (30 * len(own) + np.arange(LENGTH - 30)) % S.shape[1]
    np.testing.assert_array_equal(own[-1].S[:, 30:], S[:, after])


def test_labels_and_voice_cells_follow_the_clips(segments):
    own = [s for s in segments if s.singer == "ann"]
    sung = np.concatenate([s.sung for s in own])
    seconds = np.arange(len(sung)) * 128 / SR
    clear = np.abs((seconds % 0.5) - 0.25) < 0.2  # away from the boundaries
    np.testing.assert_array_equal(sung[clear], ((seconds % 1) >= 0.5)[clear])
    cells = np.concatenate([s.cells for s in own], axis=1)
    assert cells[9, sung & clear].all()  # the band of 1.5 kHz
    assert not cells[:, ~sung & clear].any()
    assert not cells[:2, clear].any()


def test_a_step_longer_than_the_input_is_refused(tagger):
    with pytest.raises(ValueError, match="step must lie in 1 to 40"):
        joined.join([clip(0, "ann")], tagger, step=41)


def test_equalised_sound_has_one_loudness_and_the_same_balance(segments):
    one = segments[0]
    even = joined.equalised(one, frames=1.0)
    power, before = ((10 ** (s.S / 10)).sum(axis=0) for s in (even, one))
    assert np.ptp(10 * np.log10(power)) < np.ptp(10 * np.log10(before)) / 2
    gain = even.S - one.S
    np.testing.assert_allclose(gain, np.broadcast_to(gain[:1], gain.shape), atol=1e-4)
    np.testing.assert_allclose(even.quiet - one.quiet, gain, atol=1e-4)


def test_maps_of_a_linear_network_are_its_weights(tagger, segments):
    network = joined.Network(tagger)
    x = network.inputs(segments[:2])
    assert (network.outputs(x, "best") == 2).all()  # singing
    expected = np.zeros((N_MELS, LENGTH))
    expected[VOICE_BANDS], expected[:4] = 4 / LENGTH, -1 / LENGTH
    for R in network.maps(x, "gradient", "best - no vocals"):
        np.testing.assert_allclose(R, expected, atol=1e-6)
    expected[VOICE_BANDS] = 2.4 / LENGTH
    np.testing.assert_allclose(network.maps(x, "gradient", "mean - no vocals")[0], expected, atol=1e-6)


def test_the_planted_network_finds_the_voice_and_a_shuffled_one_does_not(tagger, segments):
    network = joined.Network(tagger)
    shuffled = joined.Network(tagger, network.inputs(segments))
    values = []
    for one in (network, shuffled):
        maps = one.maps(one.inputs(segments), "input_x_gradient", "best")
        values.append([joined.measure(s, R)["auc"] for s, R in zip(segments, maps, strict=True)])
    assert np.nanmean(values[0]) > 0.9
    assert np.nanmean(values[1]) < np.nanmean(values[0]) - 0.2


def test_a_tagger_without_vocal_tags_is_refused(tagger, monkeypatch):
    monkeypatch.setattr(tagger, "tags", [*TAGS[:5], "instrumental", "drums"])
    with pytest.raises(ValueError, match="must know the tag 'no vocals'"):
        joined.Network(tagger)


def planted(n_frames=1280, n_mels=32, seed=0):
    """A segment with random levels, louder where somebody sings, and voice cells among the loud cells."""
    rng = np.random.default_rng(seed)
    sung = np.repeat(rng.random(n_frames // 20) < 0.5, 20)
    S = rng.normal(-20, 5, (n_mels, n_frames)) + sung
    cells = (S + rng.normal(0, 5, S.shape) > -15) & sung
    return joined.Segment("a/0", "a", S, S, cells, sung)


def test_measures_of_maps_whose_worth_is_known():
    one = planted()
    perfect = joined.measure(one, one.cells)
    assert perfect["auc"] == perfect["auc_equal_energy"] == 1
    assert joined.measure(one, -one.cells.astype(float))["auc"] == 0
    in_time = joined.measure(one, np.tile(one.sung, (32, 1)))
    assert in_time["auc_time"] == in_time["auc_time_equal"] == 1
    for R in (one.S, 10 ** (one.S / 10)):
        energy = joined.measure(one, R)
        assert energy["auc"] > 0.8
        assert energy["auc_time"] > 0.65
        assert abs(energy["auc_equal_energy"] - 0.5) < 0.06
        assert abs(energy["auc_time_equal"] - 0.5) < 0.15
    assert joined.measure(one, np.zeros(one.S.shape)) == pytest.approx(dict.fromkeys(joined.MEASURES, 0.5))


def test_frames_behind_the_measured_ones_are_left_out():
    one = planted()
    R = np.random.default_rng(1).normal(size=(32, 1300))
    assert joined.measure(one, R) == joined.measure(one, R[:, :1280])


def test_a_segment_that_is_sung_throughout_has_no_value_in_time():
    one = planted()
    whole = joined.Segment("a/0", "a", one.S, one.S, one.cells, np.ones(1280, dtype=bool))
    values = joined.measure(whole, one.S)
    assert np.isnan(values["auc_time"])
    assert np.isnan(values["auc_time_equal"])
    assert np.isfinite(values["auc"])


def test_grouped_auc_against_counted_pairs():
    rng = np.random.default_rng(0)
    R, mask = rng.integers(0, 5, 48), rng.random(48) < 0.4
    first, second = rng.random(48), rng.random(48)
    won = total = 0
    order = np.argsort(first)
    for third in np.split(order, 3):
        for group in np.split(third[np.argsort(second[third])], 2):
            for i in group[mask[group]]:
                for j in group[~mask[group]]:
                    won, total = won + (R[i] > R[j]) + 0.5 * (R[i] == R[j]), total + 1
    assert joined._grouped_auc(R, mask, [first, second], (3, 2)) == pytest.approx(won / total)


def test_forms_keep_the_sum_and_raw_is_the_map():
    R = np.zeros((32, 200))
    R[16, 100] = 1
    smooth = joined.forms(R)
    assert list(smooth) == list(joined.FORMS)
    np.testing.assert_array_equal(smooth["raw"], R)
    assert all(form.sum() == pytest.approx(1, abs=1e-3) for form in smooth.values())
    assert smooth["wide"].max() < smooth["smoothed"].max() < 1


def rows_of(values):
    """Rows of two segments for each singer; `values`: (method, target) -> value by singer."""
    return pd.DataFrame([
        {"segment": f"{singer}/{n}", "singer": singer, "method": method, "target": target, "form": "raw",
         **dict.fromkeys(joined.MEASURES, value)}
        for (method, target), by_singer in values.items() for singer, value in by_singer.items() for n in range(2)
    ])  # fmt: skip


def test_intervals_resample_singers_and_differences_are_paired():
    rows = rows_of({("energy", ""): {"a": 0.4, "b": 0.6}, ("lrp", "best"): {"a": 0.5, "b": 0.7},
                    ("lrp/shuffled", "best"): {"a": 0.5, "b": 0.5}})  # fmt: skip
    table = joined.table(rows, repeats=50).set_index("method")
    line = table.loc["lrp"]
    assert (line["auc"], line["auc_low"], line["auc_high"]) == pytest.approx((0.6, 0.5, 0.7))
    assert (line["auc_over_energy_low"], line["auc_over_energy_high"]) == pytest.approx((0.1, 0.1))
    assert line["auc_over_shuffled"] == pytest.approx(0.1)
    assert np.isnan(table.at["energy", "auc_over_shuffled"])


def test_what_is_chosen_on_some_singers_is_reported_on_the_others():
    rows = rows_of({("energy", ""): {"a": 0.9, "b": 0.5}, ("x", "best"): {"a": 0.7, "b": 0.5},
                    ("y", "best"): {"a": 0.6, "b": 0.8}, ("x/shuffled", "best"): {"a": 0.8, "b": 0.4}})  # fmt: skip
    chosen = joined.choose(rows, ["a"], repeats=20).set_index("measure")
    assert list(chosen.index) == list(joined.MEASURES)
    line = chosen.loc["auc"]
    assert (line["method"], line["chosen_on"], line["value"]) == ("x", pytest.approx(0.7), pytest.approx(0.5))
    assert line["over_energy"] == pytest.approx(0)
    assert line["over_shuffled"] == pytest.approx(0.1)
    assert line["segments"] == 2


def test_halves_are_disjoint_and_complete(segments):
    chosen_on, reported_on = joined.halves(segments)
    assert (chosen_on, reported_on) == (["bob"], ["ann", "cid"])


def test_turning_the_voice_down_lowers_what_was_planted(tagger, segments):
    table = joined.down_table(joined.Network(tagger), segments, repeats=20).set_index("logit")
    sounding = np.mean([s.sung.any() for s in segments])
    assert table.at["best vocal tag", "falls"] == table.at["singing", "falls"] >= sounding
    assert table.at["singing", "change"] < -0.1
    assert abs(table.at["no vocals", "change"]) < abs(table.at["singing", "change"]) / 10

"""Class activation maps beside other methods and against stems: values by hand, planted stems, a small network."""

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

from musictools.experiments import class_activations as maps_of
from musictools.explain.metrics import localisation
from musictools.explain.metrics.badge import LIMITS, Badge
from musictools.models.poster import poster_network
from musictools.spectrograms import FrontEnd, ModelInput

FRONT_END = FrontEnd(sr=4000, n_fft=128, hop_length=64, n_mels=16)
SR = FRONT_END.sr
LOW, HIGH = 300.0, 1500.0


def tone(frequency, seconds=2.0):
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * SR)) / SR)).astype(np.float32)


class Planted:
    """Three genres by their instruments: bass makes rock, flute makes pop, the drone is everywhere."""

    instruments = {1: ["bass", "drone"], 2: ["bass", "drone"], 3: ["flute", "drone"], 4: ["flute"], 5: ["drone"]}
    genres = pd.Series({1: "rock", 2: "rock", 3: "pop", 4: "pop", 5: "jazz"})

    def truth(self, clip):
        return {"instruments": self.instruments[clip]}

    def stems(self, clip, sr):
        pitch = {"bass": LOW, "flute": HIGH, "drone": 700.0}
        return {name: tone(pitch[name]) for name in self.instruments[clip]}, sr


def test_instruments_of_genres_by_hand():
    table = maps_of.genre_instruments(Planted(), Planted.genres)
    assert table.loc["rock"].to_dict() == pytest.approx({"bass": 1.0, "drone": 1 / 3, "flute": -2 / 3})
    assert table.loc["jazz"].to_dict() == pytest.approx({"bass": -0.5, "drone": 0.25, "flute": -0.5})


def test_defining_stems_leave_out_clips_without_a_choice():
    table = maps_of.genre_instruments(Planted(), Planted.genres)
    assert maps_of.defining_stems(Planted(), Planted.genres, table) == {1: "bass", 2: "bass", 3: "flute"}
    assert maps_of.defining_stems(Planted(), Planted.genres, table, least=2) == {}


def planted_network():
    """Global average pooling over two maps: low bands speak for genre 0, high bands for genre 1."""
    inputs = layers.Input((16, 30, 1))
    bands = np.zeros((16, 1, 2), np.float32)
    S = [FRONT_END.scale(FRONT_END.compute(tone(f))).mean(axis=1) for f in (LOW, HIGH)]
    bands[:, 0, 0], bands[:, 0, 1] = S[0] > S[1], S[1] > S[0]
    x = layers.Conv2D(2, 1, use_bias=False, name="conv")(inputs)
    x = x * bands
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2, use_bias=False)(x))
    model.set_weights([np.ones((1, 1, 1, 2)), np.eye(2)])
    return model


def test_maps_of_a_planted_network_find_the_stem():
    stems = {1: "bass", 3: "flute"}
    rows = maps_of.localised(
        {"planted": (planted_network(), ["cam"])}, Planted(), stems, ["rock", "pop"], Planted.genres,
        model_input=ModelInput(FRONT_END, 30, 30),
    )  # fmt: skip
    assert rows["instrument"].unique().tolist() == ["bass", "flute"]
    places = localisation.table(rows, by=["network", "method"]).set_index("measure")
    assert places.loc["rank_accuracy", "value"] > places.loc["rank_accuracy", "energy"] + 0.1
    swapped = maps_of.localised(
        {"planted": (planted_network(), ["cam"])}, Planted(), stems, ["pop", "rock"], Planted.genres,
        model_input=ModelInput(FRONT_END, 30, 30),
    )  # fmt: skip
    worse = localisation.table(swapped, by=["network", "method"]).set_index("measure")
    assert worse.loc["rank_accuracy", "value"] < places.loc["rank_accuracy", "value"] - 0.2
    with pytest.raises(ValueError, match="No clip has a stem that is typical of its genre"):
        maps_of.localised({}, Planted(), {}, ["rock"], Planted.genres, model_input=ModelInput(FRONT_END, 30, 30))


def test_only_networks_with_pooling_have_class_activation_maps():
    x, genre = np.random.default_rng(0).random((2, 16, 24, 1), dtype=np.float32), np.array([0, 2])
    options = {"n_outputs": 3, "input_shape": (16, 24, 1), "filters": (3, 4), "seed": 0}
    for kind, expected in (("gap", ["cam", "grad_cam"]), ("vanilla", ["grad_cam"])):
        maps = maps_of.explained(poster_network(kind, **options), x, genre, methods=["cam", "grad_cam"])
        assert list(maps) == expected
        assert all(one.shape == (2, 16, 24) for one in maps.values())
    with pytest.raises(ValueError, match="method must be one of"):
        maps_of.explained(poster_network("gap", **options), x, genre, methods=["nothing"])


def test_agreement_leaves_constant_maps_out():
    ramp, flat = np.arange(6.0).reshape(1, 2, 3), np.ones((1, 2, 3))
    maps = {"a": np.concatenate([ramp, flat]), "b": np.concatenate([-ramp, ramp])}
    table = maps_of.agreement(maps)
    assert table.loc["a", "b"] == table.loc["b", "a"] == pytest.approx(-1)
    assert np.isnan(maps_of.agreement({"a": flat, "b": ramp}).loc["a", "b"])


def test_compared_puts_one_row_for_each_network_and_method():
    ramp = np.arange(6.0).reshape(1, 2, 3)
    maps = {"gap": {"cam": ramp, "gradient": -ramp}}
    own = {
        "gap": {name: Badge(name, {"stability": value}, LIMITS) for name, value in (("cam", 0.2), ("gradient", 2.0))}
    }
    table = maps_of.compared(maps, own).set_index("method")
    assert table["agreement"].tolist() == pytest.approx([-1, -1])
    assert table.at["cam", "concentration"] == pytest.approx(2 / 6)  # 5 and 4 of a sum of 15
    assert table["passed"].tolist() == [True, False]
    assert table["failed"].tolist() == ["", "stability"]
    assert table["rank_accuracy"].isna().all()
    places = pd.DataFrame(
        [{"network": "gap", "method": name, "measure": "rank_accuracy", "value": value, "over_energy": value - 0.3,
          "over_energy_low": 0.0, "over_energy_high": 0.2} for name, value in (("cam", 0.4), ("gradient", 0.2))]
    )  # fmt: skip
    table = maps_of.compared(maps, own, places).set_index("method")
    assert table["rank_accuracy"].tolist() == [0.4, 0.2]
    assert table["over_energy"].tolist() == pytest.approx([0.1, -0.1])


def test_drawings_have_a_title_for_every_map():
    maps = {"one": np.ones((4, 6)), "two": -np.ones((4, 6)), "three": np.zeros((4, 6))}
    fig = maps_of.draw_maps(maps, np.zeros((3, 4, 6)), columns=2)
    titles = [ax.get_title() for ax in fig.axes if ax.get_title()]
    assert [title.split(" (")[0] for title in titles] == list(maps)

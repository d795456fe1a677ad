"""Trained taggers and songs: planted tones, cards that do not fit, the command ``musictools tag``."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
import soundfile

from musictools import audio, cli, inference, models, runs
from musictools.spectrograms import ArrayStore, FrontEnd, Segments

SR = 16000

FRONT_END = FrontEnd(SR, 512, 256, 32)
LENGTH, STEP = 32, 16  # 0.512 s and half of that
SECONDS = LENGTH * 256 / SR


def band(hz):
    return int(np.abs(FRONT_END.frequencies() - hz).argmin())


def listening(hz=(440, 3000)):
    """A model whose scores are the mean levels of two mel bands, steeply compared with -20 dB."""
    layers = keras.layers
    x = inputs = layers.Input((32, LENGTH, 1))
    x = layers.Reshape((32, LENGTH))(x)
    x = layers.GlobalAveragePooling1D(data_format="channels_first")(x)
    model = keras.Model(inputs, layers.Dense(2, activation="sigmoid")(x))
    kernel = np.zeros((32, 2), np.float32)
    kernel[band(hz[0]), 0] = kernel[band(hz[1]), 1] = 60
    model.layers[-1].set_weights([kernel, np.full(2, -30, np.float32)])
    return model


CARD = {
    "version": 1,
    "task": "tags",
    "model": "levels",
    "outputs": ["low", "high"],
    "front_end": FRONT_END.to_json(),
    "length": LENGTH,
    "step": STEP,
    "thresholds": {"f1": {"high": 0.9, "low": 0.2}},
}


def save(folder, *, model=None, name="tagger", beside=True, **card):
    """Write a model and its card; the card in ``cards`` beside ``models`` or beside the model."""
    path = folder / "models" / f"{name}.keras"
    path.parent.mkdir(parents=True, exist_ok=True)
    (model or listening()).save(path)
    place = path.with_suffix(".json") if beside else folder / "cards" / f"{name}.json"
    place.parent.mkdir(exist_ok=True)
    place.write_text(json.dumps(CARD | card))
    return path


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    return inference.Tagger.load(save(tmp_path_factory.mktemp("tagger")))


def tone(hz, start, end, *, seconds=6.0, sr=SR):
    time = np.arange(round(sr * seconds)) / sr
    noise = 1e-4 * np.random.default_rng(0).standard_normal(len(time))
    return (noise + 0.5 * np.sin(2 * np.pi * hz * time) * ((time >= start) & (time < end))).astype(np.float32)


@pytest.mark.parametrize(("hz", "tag", "silent"), [(440, "low", "high"), (3000, "high", "low")])
@pytest.mark.parametrize("sr", [SR, 22050])
def test_a_planted_tone_lights_up_where_it_sounds(tagger, hz, tag, silent, sr):
    taggram = tagger.taggram(tone(hz, 2.0, 3.5, sr=sr), sr=sr)
    table = taggram.to_frame()
    heard = (np.minimum(table["end"], 3.5) - np.maximum(table["start"], 2.0)).clip(lower=0) / SECONDS
    assert (table.loc[heard > 0.7, tag] > 0.5).all()
    assert (table.loc[heard < 0.3, tag] < 0.5).all()
    assert (heard > 0.99).sum() >= 3
    assert table.loc[heard > 0.99, tag].min() > 0.95
    assert table.loc[heard == 0, tag].max() < 0.05
    assert table[silent].max() < 0.05
    lit = np.flatnonzero(table[tag] > 0.5)
    assert abs(taggram.start[lit[0]] + SECONDS / 2 - 2.0) < 1.5 * STEP * 256 / SR
    assert abs(taggram.start[lit[-1]] + SECONDS / 2 - 3.5) < 1.5 * STEP * 256 / SR


@pytest.mark.parametrize(("frames", "inputs"), [(1, 1), (20, 1), (31, 1), (32, 1), (47, 1), (48, 2), (376, 22)])
def test_songs_of_any_length_are_heard(tagger, frames, inputs):
    y = tone(440, 0, 60, seconds=10)[: (frames - 1) * 256 + 10]
    x = tagger.inputs(y)
    assert x.shape == (inputs, 32, LENGTH, 1)
    assert x.dtype == np.float32
    assert x.min() >= 0
    assert x.max() <= 1
    taggram = tagger.taggram(y, sr=SR)
    assert taggram.scores.shape == (inputs, 2)
    np.testing.assert_allclose(taggram.start, np.arange(inputs) * STEP * 256 / SR)
    assert taggram.seconds == pytest.approx(SECONDS)
    S = FRONT_END.compute(y)
    np.testing.assert_array_equal(x[0, :, : min(frames, LENGTH), 0], FRONT_END.scale(S)[:, :LENGTH])
    if frames < LENGTH:  # lengthened by its last column
        np.testing.assert_array_equal(x[0, :, frames:, 0], np.repeat(FRONT_END.scale(S)[:, -1:], LENGTH - frames, 1))


def test_inputs_are_those_of_the_training(tagger):
    y = tone(440, 2, 3)
    S = FRONT_END.compute(y)
    store = ArrayStore(np.zeros((1, 32, S.shape[1]), np.uint8), ["x"])
    store.raw, store.scale = (lambda clip_id: S), FRONT_END.scale
    np.testing.assert_array_equal(tagger.inputs(y), Segments(store, ["x"], length=LENGTH, step=STEP)[:])


def test_scores_of_a_song_and_what_follows_from_them(tagger):
    taggram = tagger.taggram(tone(440, 2.0, 3.5), sr=SR)
    mean, union = taggram.joined(), taggram.joined("union")
    np.testing.assert_allclose(mean, taggram.scores.mean(axis=0))
    np.testing.assert_allclose(union, taggram.scores.max(axis=0))
    assert mean["low"] == pytest.approx(1.5 / 6, abs=0.06)
    with pytest.raises(ValueError, match="join must be 'mean' or 'union'. Got 'max'"):
        taggram.joined("max")
    decided = tagger.decide(mean)
    assert list(decided.columns) == ["tag", "score", "threshold", "predicted"]
    assert decided.to_dict("list")["tag"] == ["low", "high"]
    assert decided.to_dict("list")["threshold"] == [0.2, 0.9]
    assert decided.to_dict("list")["predicted"] == [True, False]
    assert not tagger.decide(mean, rule="half")["predicted"].any()
    both = pd.Series({"high": 0.91, "low": 0.95})
    assert tagger.decide(both)["tag"].to_list() == ["low", "high"]  # both predicted, by score
    predicted_first = tagger.decide(pd.Series({"high": 0.89, "low": 0.3}))
    assert predicted_first["tag"].to_list() == ["low", "high"]
    with pytest.raises(ValueError, match="rule must be 'half', 'f1'. Got 'precision'"):
        tagger.decide(mean, rule="precision")


def test_a_waveform_is_heard_as_well(tmp_path):
    """Score: the mean of the magnitudes, compared with 0.1; the second tag is its opposite."""
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((4000, 1)),
            layers.Conv1D(2, 1, activation="relu", use_bias=False),
            layers.GlobalAveragePooling1D(),
            layers.Dense(2, activation="sigmoid"),
        ]
    )
    model.layers[0].set_weights([np.array([[[1, -1]]], np.float32)])
    model.layers[2].set_weights([np.array([[200, -200], [200, -200]], np.float32), np.array([-20, 20], np.float32)])
    front_end = FrontEnd(SR, 2, 1, 1, kind="waveform")
    path = save(tmp_path, model=model, front_end=front_end.to_json(), length=4000, step=2000, beside=False)
    tagger = inference.Tagger.load(path)
    y = tone(440, 2, 3)
    np.testing.assert_array_equal(tagger.inputs(y)[1, :, 0], y[2000:6000])
    taggram = tagger.taggram(y, sr=SR)
    assert taggram.seconds == 0.25
    np.testing.assert_allclose(taggram.start, np.arange(47) * 0.125)
    lit = taggram.start[taggram.scores[:, 0] > 0.5]
    assert (lit.min(), lit.max()) == (1.875, 2.875)  # half of these two, all of those between
    short = tagger.inputs(y[:1000])
    assert short.shape == (1, 4000, 1)
    np.testing.assert_array_equal(short[0, :1000, 0], y[:1000])
    assert not short[0, 1000:].any()
    assert len(tagger.inputs(y[:4000])) == 1


def test_a_tagger_of_the_suite_is_loaded_with_its_own_layers(tmp_path):
    model = models.build("harmonic_cnn", n_outputs=2, input_shape=(287 * 256, 1), width=0.02, seed=0)
    front_end = FrontEnd(SR, 2, 1, 1, kind="waveform")
    path = save(tmp_path, model=model, front_end=front_end.to_json(), length=287 * 256, step=40000)
    taggram = inference.Tagger.load(path).taggram(tone(440, 1, 2), sr=SR)
    assert taggram.scores.shape == (1, 2)
    assert ((taggram.scores > 0) & (taggram.scores < 1)).all()


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"task": "genre"}, "is no tagger: its card says task='genre'"),
        ({"outputs": ["one"], "thresholds": {}}, "The card names 1 outputs, the model has 2"),
        ({"front_end": None}, "The card's front_end is null"),
        ({"length": 64}, r"inputs of shape \(32, 64, 1\), the model takes \(32, 32, 1\)"),
        ({"front_end": FrontEnd(SR, 512, 256, 16).to_json(), "length": 64}, r"inputs of shape \(16, 64, 1\)"),
    ],
)
def test_cards_of_other_models_are_refused(tmp_path, card, message):
    path = save(tmp_path, **card)
    with pytest.raises(ValueError, match=message) as raised:
        inference.Tagger.load(path)
    assert str(path) in str(raised.value)


def test_damaged_or_missing_files_are_named(tmp_path):
    path = save(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])  # as an interrupted download leaves it
    with pytest.raises(ValueError, match=r"tagger\.keras is damaged, no Keras model"):
        inference.Tagger.load(path)
    path.write_bytes(whole[:2000] + bytes(500) + whole[2500:])
    with pytest.raises(ValueError, match=r"tagger\.keras is damaged, no Keras model"):
        inference.Tagger.load(path)
    with pytest.raises(ValueError, match=r"nothing\.keras: no such file"):
        inference.Tagger.load(tmp_path / "nothing.keras")


# --- The command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def songs(tmp_path):
    """Two songs: with a low tone for most of the time, and with none."""
    paths = [tmp_path / "songs" / f"{name}.wav" for name in ("hum", "hush")]
    audio.write(paths[0], tone(440, 1, 5), sr=SR)
    audio.write(paths[1], tone(440, 0, 0, sr=22050), sr=22050)
    return [str(path) for path in paths]


def test_the_command_says_tags_and_writes_taggrams(tmp_path, songs, capsys, monkeypatch):
    monkeypatch.setattr(runs, "root", lambda: tmp_path)
    save(tmp_path / "outputs" / "demo")
    out = tmp_path / "new" / "folder"
    assert cli.main(["tag", *songs, "--out", str(out)]) == 0
    text = capsys.readouterr().out
    lines = text.splitlines()
    score = pd.read_csv(out / "hum.taggram.csv")["low"].mean()
    assert score == pytest.approx(4 / 6, abs=0.06)
    assert [line for line in lines if line.startswith("*")] == [f"* {'low':24} {score:5.2f}       0.20"]
    assert "hum.wav (6.0 s, 22 inputs, rule f1)" in text
    assert sum(line.startswith("  high") for line in lines) == 2
    for name in ("hum", "hush"):
        table = pd.read_csv(out / f"{name}.taggram.csv")
        assert list(table.columns) == ["start", "end", "low", "high"]
        assert len(table) == 22
        assert (out / f"{name}.taggram.png").read_bytes()[:4] == b"\x89PNG"
        assert str(out / f"{name}.taggram.png") in text
    assert len(list(out.iterdir())) == 4
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_the_command_shows_as_many_tags_as_wanted_and_all_predicted(tmp_path, songs, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path, thresholds={"precision": {"low": 0.0, "high": 0.0}})
    for rule, shown in (("precision", 2), ("half", 1), (None, 1)):  # without "f1" in the card a half is the threshold
        options = [] if rule is None else ["--rule", rule]
        assert cli.main(["tag", songs[0], "--model", str(path), "--top", "1", *options]) == 0
        text = capsys.readouterr().out
        assert sum(line[2:].startswith(("low ", "high ")) for line in text.splitlines()) == shown
        assert f"rule {rule or 'half'}" in text
    assert (tmp_path / "hum.taggram.csv").is_file()


def test_what_the_command_cannot_do(tmp_path, songs, capsys, monkeypatch):
    monkeypatch.setattr(runs, "root", lambda: tmp_path)
    path = str(save(tmp_path))
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"")
    soundfile.write(tmp_path / "hum.wav", np.zeros(100), SR)
    for arguments, message in (
        (
            [songs[0]],
            "outputs/demo/models/tagger.keras: no such model. Make one with: musictools rebuild --profile "
            "demo --only 03",
        ),
        ([songs[0], "--model", "other.keras"], "other.keras: no such model"),
        ([str(broken), "--model", path], "broken.wav: the file is empty (0 bytes)"),
        (["/none.mp3", "--model", path], "/none.mp3: no such file"),
        ([songs[0], "--model", path, "--rule", "precision"], "rule must be 'half', 'f1'. Got 'precision'"),
        ([songs[0], str(tmp_path / "hum.wav"), "--model", path], "Several songs are called 'hum'"),
    ):
        assert cli.main(["tag", *arguments, "--out", str(tmp_path / "out")]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("musictools: ")
        assert captured.err.count("\n") == 1
        assert message in captured.err
    assert not (tmp_path / "out").exists()
    for top in ("0", "-1", "many"):
        with pytest.raises(SystemExit, match="2"):
            cli.main(["tag", songs[0], "--top", top])
        assert "must be a positive int" in capsys.readouterr().err


def tagger_of(tags):
    """A tagger whose scores are the levels of two bands, by other names."""
    card = inference.ModelCard(**{**CARD, "outputs": tags, "thresholds": {}})
    return inference.Tagger(listening(), card)


def test_a_tagger_may_know_genres():
    tagger = tagger_of(["techno", "guitar"])
    assert tagger.descriptors == ["guitar"]
    genres = inference.TaggerGenres(tagger)
    assert (genres.tags, genres.members) == (["electronic"], {"electronic": ["techno"]})
    x = np.random.default_rng(0).random((3, 32, LENGTH, 1), dtype=np.float32)
    np.testing.assert_array_equal(genres.scores(x)[:, 0], tagger.scores(x)[:, 0])
    with pytest.raises(ValueError, match="None of the tagger's tags is a genre: guitar, flute"):
        inference.TaggerGenres(tagger_of(["guitar", "flute"]))


def test_a_genre_has_the_highest_score_of_its_tags_that_count():
    tagger = tagger_of(["techno", "dance"])
    x = np.random.default_rng(0).random((50, 32, LENGTH, 1), dtype=np.float32)
    both = tagger.scores(x)
    np.testing.assert_array_equal(inference.TaggerGenres(tagger).scores(x)[:, 0], both.max(axis=1))
    middle = float(np.median(both[:, 0]))
    counted = inference.TaggerGenres(tagger, least={"techno": middle, "dance": 1.0}).scores(x)[:, 0]
    np.testing.assert_array_equal(counted, np.where(both[:, 0] > middle, both[:, 0], 0))
    assert 0 < (counted > 0).sum() < len(x)


def test_the_default_is_a_released_network_where_one_is_here(tmp_path, capsys, monkeypatch):
    """Without one it is the demo's tagger, with a sentence where that learnt from composed music."""
    song = tmp_path / "song.wav"
    soundfile.write(song, tone(440, 0, 2, seconds=2.0), SR)
    monkeypatch.setattr(runs, "root", lambda: tmp_path / "checkout")
    monkeypatch.setattr(runs, "data_home", lambda: tmp_path / "data")
    own = tmp_path / "checkout" / "outputs" / "demo"
    save(own, name="tagger", beside=False, data="composed")
    assert cli.main(["tag", str(song), "--out", str(tmp_path / "a")]) == 0
    out = capsys.readouterr().out
    assert "For songs of people: musictools models get won2020-mtat-fcn" in out
    for name in ("won2020-msd-fcn", "won2020-mtat-fcn"):
        about = {"provenance": {"release": name}, "data": "magnatagatune", "licence": "MIT"}
        save(tmp_path / "data", name=name, thresholds={"share": {"high": 0.9, "low": 0.2}}, **about)
    assert cli.main(["tag", str(song), "--out", str(tmp_path / "b")]) == 0
    out = capsys.readouterr().out
    assert "rule share" in out
    assert "The tags are those of won2020-mtat-fcn (licence: MIT), which learnt from magnatagatune." in out
    assert "models get" not in out

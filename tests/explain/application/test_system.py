"""The explanation system: merging by hand, songs with tones planted in them, the command."""

import collections
import json
import re

import keras
import numpy as np
import pandas as pd
import pytest

from musictools import audio, cli, evaluation, explain, runs
from musictools.explain.application import system
from musictools.inference import GenreClassifier, Tagger
from musictools.models.card import ModelCard
from musictools.spectrograms import FrontEnd

SR = 16000
MEL, COARSE, WAVE = FrontEnd(SR, 512, 256, 32), FrontEnd(SR, 1024, 512, 16), FrontEnd(SR, 2, 1, 1, kind="waveform")
ODD = "low <b> & 'quiet'"  # a name that would break a careless page


def band(front_end, hz):
    return int(np.abs(front_end.frequencies() - hz).argmin())


def levels(front_end, length, tones, *, head, steep=60.0, bias=-30.0):
    """A model that compares the mean levels of single mel bands with -20 dB."""
    layers = keras.layers
    inputs = layers.Input((front_end.n_mels, length, 1))
    x = layers.Flatten()(layers.AveragePooling2D((1, length))(inputs))
    model = keras.Model(inputs, layers.Dense(len(tones), activation=head)(x))
    kernel = np.zeros((front_end.n_mels, len(tones)), np.float32)
    for k, hz in enumerate(tones):
        kernel[band(front_end, hz), k] = steep
    model.layers[-1].set_weights([kernel, np.full(len(tones), bias, np.float32)])
    return model


def tagger(**card):
    card = {
        "task": "tags",
        "model": "levels",
        "outputs": [ODD, "high", "never"],
        "front_end": MEL,
        "length": 32,
        "step": 16,
        "thresholds": {"f1": {"high": 0.1, ODD: 0.2, "never": 0.5}},
    } | card
    return Tagger(levels(MEL, 32, (440, 3000, 6500), head="sigmoid"), ModelCard(**card))


def genre_card(**card):
    card = {
        "task": "genre",
        "model": "levels",
        "outputs": ["bass & co", "birds"],
        "front_end": COARSE,
        "length": 16,
        "step": 400,
    } | card
    return ModelCard(**card)


def genre_model(**card):
    return GenreClassifier(levels(COARSE, 16, (440, 3000), head="softmax"), genre_card(**card))


def song(*, seconds=6.0, sr=SR):
    """440 Hz at 1-3 s and 3 kHz at 2.5-5 s."""
    time = np.arange(round(sr * seconds)) / sr
    y = 1e-4 * np.random.default_rng(0).standard_normal(len(time))
    for hz, start, end in ((440, 1, 3), (3000, 2.5, 5)):
        y += 0.4 * np.sin(2 * np.pi * hz * time) * ((time >= start) & (time < end))
    return y.astype(np.float32)


@pytest.fixture(scope="module")
def models():
    return genre_model(), tagger()


@pytest.fixture(scope="module")
def found(models):
    return system.ExplanationSystem(*models).explain(song(), sr=SR)


# --- Merging --------------------------------------------------------------------------------------------------------


def test_heatmaps_are_merged_by_their_maximum():
    """rotheneder2023 5.4: zeros where nothing is predicted, the maximum where two overlap."""
    heatmaps = np.array([[[1, 5, 2], [0, 0, 1]], [[3, 1, 1], [0, 2, 0]], [[7, 8, 9], [1, 1, 1]]], float)
    merged = system.merge(heatmaps, starts=[0, 2, 6], n_frames=8)
    np.testing.assert_array_equal(merged, [[1, 5, 3, 1, 1, 0, 7, 8], [0, 0, 1, 2, 0, 0, 1, 1]])


def test_signed_heatmaps_are_merged_by_their_magnitude():
    merged = system.merge(np.array([[[1.0, -3.0]], [[2.0, -1.0]]]), starts=[0, 1], n_frames=3)
    np.testing.assert_array_equal(merged, [[1, -3, -1]])


def test_nothing_to_merge_and_short_songs():
    assert not system.merge(np.zeros((0, 4, 3)), starts=[], n_frames=5).any()
    np.testing.assert_array_equal(system.merge(np.ones((1, 2, 9)), starts=[0], n_frames=4), np.ones((2, 4)))


@pytest.mark.parametrize(
    ("shape", "starts", "message"),
    [
        ((2, 3), [0, 1], "heatmaps must have shape"),
        ((2, 3, 4), [0], "with one start each. Got .* and 1 starts"),
        ((2, 3, 4), [0, 9], r"starts must lie in the song, from 0 to 8. Got \[0, 9\]"),
        ((1, 3, 4), [-1], "starts must lie in the song"),
    ],
)
def test_heatmaps_that_cannot_be_merged(shape, starts, message):
    with pytest.raises(ValueError, match=message):
        system.merge(np.zeros(shape), starts=starts, n_frames=9)


# --- A song ---------------------------------------------------------------------------------------------------------


def test_sections_vote_for_the_genre(found):
    votes = found.votes
    assert list(votes.columns) == ["start", "end", "genre", "score", "bass & co", "birds"]
    np.testing.assert_allclose(votes["start"], np.arange(len(votes)) * 16 * 512 / SR)  # no gaps: not the card's step
    np.testing.assert_allclose(votes["end"] - votes["start"], 16 * 512 / SR)
    alone = votes[(votes["start"] >= 1) & (votes["end"] <= 2.5)], votes[(votes["start"] >= 3) & (votes["end"] <= 5)]
    assert set(alone[0]["genre"]) == {"bass & co"}
    assert set(alone[1]["genre"]) == {"birds"}
    assert found.genre == votes["genre"].value_counts().idxmax()
    np.testing.assert_allclose(votes["score"], votes[["bass & co", "birds"]].max(axis=1))


def test_descriptors_one_by_one_and_together(found, models):
    sections = found.sections
    np.testing.assert_allclose(sections["start"], np.arange(len(sections)) * 16 * 256 / SR)
    table = found.descriptors.set_index("tag")
    for tag in models[1].tags:
        assert table.loc[tag, "score"] == pytest.approx(sections[tag].mean())
        assert table.loc[tag, "sections"] == (sections[tag] > table.loc[tag, "threshold"]).sum()
    assert dict(table["predicted"]) == {"high": True, ODD: True, "never": False}
    assert 0 < table.loc[ODD, "sections"] < len(sections)
    assert table.loc["never", "sections"] == 0
    assert found.heard == pytest.approx(sections["end"].iloc[-1])


@pytest.mark.parametrize(("tag", "hz", "start", "end"), [(ODD, 440, 1, 3), ("high", 3000, 2.5, 5)])
def test_heatmaps_lie_where_the_tone_is(found, tag, hz, start, end):
    relevance = found.heatmaps[tag]
    assert relevance.shape == found.S.shape == (32, 376)
    assert relevance.min() >= 0
    time = np.arange(376) * 256 / SR
    section = 32 * 256 / SR  # a section that predicts the tag may reach so far beyond the tone
    assert relevance[band(MEL, hz)].sum() > 0.999 * relevance.sum()
    assert not relevance[:, (time < start - section) | (time > end + section)].any()
    inside = relevance[:, (time > start) & (time < end)]
    assert inside.sum() > 0.8 * relevance.sum()
    assert (inside[band(MEL, hz)] > 0).mean() > 0.98


def test_relevance_is_the_score_above_the_threshold(found, models):
    """By hand from the model's weights, in every section that predicts the tag."""
    x = models[1].inputs(song())
    row = x[..., 0][:, band(MEL, 440)]
    logit = 60 * row.mean(axis=1) - 30
    above = logit - np.log(0.2 / 0.8)
    wanted = np.zeros(376)
    for k in np.flatnonzero(above > 0):
        part = wanted[k * 16 : k * 16 + 32]
        np.maximum(part, above[k] * row[k] / row[k].sum(), out=part)
    np.testing.assert_allclose(found.heatmaps[ODD][band(MEL, 440)], wanted, rtol=1e-3, atol=1e-6)


def test_evidence_holds_the_tone_and_the_loop_closes(found):
    def level(y, hz):
        place = round(hz * len(y) / SR)
        return np.abs(np.fft.rfft(y * np.hanning(len(y))))[place - 50 : place + 50].max()

    y = song()
    for tag, mine, other in ((ODD, 440, 3000), ("high", 3000, 440)):
        part = found.evidence[tag]
        np.testing.assert_allclose(part.sound + part.rest, y, atol=1e-6)
        assert level(part.sound, mine) > 0.9 * level(y, mine)
        assert level(part.sound, other) < 0.01 * level(y, other)
        assert level(part.rest, mine) < 0.1 * level(y, mine)
    loop = found.loop.set_index("tag")
    assert list(loop.index) == list(found.heatmaps) == list(found.descriptors["tag"][:2])
    assert loop[["accepted", "kept", "lost"]].all().all()
    table = found.descriptors.set_index("tag")
    assert loop.loc[ODD, "clip"] == pytest.approx(table.loc[ODD, "score"], abs=1e-6)
    assert set(found.seconds) == {"genre", "descriptors", "relevance", "badges", "evidence", "loop"}
    assert set(found.badges) == set(found.heatmaps)
    assert all(text.startswith("deep_taylor ") and "passes" in text for text in found.badges.values())


def test_relevance_is_asked_once_for_each_tag_that_a_section_predicts_and_for_no_other(models, monkeypatch):
    asked, plain = [], explain.relevance

    def watched(model, x, neuron, *, reference, **options):
        asked.append((len(x), neuron, dict(zip(neuron, reference, strict=True)), options))
        return plain(model, x, neuron, reference=reference, **options)

    monkeypatch.setattr(explain, "relevance", watched)
    settings = {"method": "lrp_epsilon", "epsilon": 1e-3}
    found = system.ExplanationSystem(*models).explain(song(), sr=SR, **settings)
    thresholds = found.descriptors.set_index("tag")["threshold"]
    neurons = {tag: models[1].tags.index(tag) for tag in found.heatmaps}
    predicted = found.sections[list(neurons)] > thresholds[list(neurons)]
    best = {tag: found.sections[tag].argmax() for tag in neurons}
    assert all(predicted[tag].iloc[row] for tag, row in best.items()), "no map is needed for a badge alone"
    for tag, neuron in neurons.items():
        assert sum(n for n, some, *_ in asked if neuron in some) == predicted[tag].sum() < len(predicted)
    assert len(asked) == len(predicted[predicted.any(axis=1)].drop_duplicates())
    references = {neuron: reference for _, _, some, _ in asked for neuron, reference in some.items()}
    assert references == pytest.approx({neurons[tag]: thresholds[tag] for tag in neurons})
    assert all(options == settings for *_, options in asked)
    assert found.method == "lrp_epsilon"


@pytest.fixture
def calls(monkeypatch):
    """Every resampling, spectrogram, score and map that is computed, with all that it depends on."""
    seen, made, alive = [], {}, []  # alive: no id is used twice

    def watch(thing, name, key):
        plain = getattr(thing, name)

        def watched(*args, **options):
            seen.extend((name, *one) for one in key(*args, **options))
            return plain(*args, **options)

        monkeypatch.setattr(thing, name, watched)

    def maps(explainer, x, neuron, *, reference=None, contrast=None):
        """One entry for each sample and neuron."""
        neurons = np.array(neuron) if isinstance(neuron, list) else np.broadcast_to(neuron, len(x))[:, None]
        neurons = np.broadcast_to(neurons, (len(x), neurons.shape[-1]))
        levels = np.full(neurons.shape, np.nan) if reference is None else np.asarray(reference, float)
        levels = levels[:, None] if levels.shape == (len(x),) and not isinstance(neuron, list) else levels
        levels = np.broadcast_to(levels, neurons.shape).round(9)
        for i, one in enumerate(np.asarray(x, np.float32)):
            for k, r in zip(neurons[i], levels[i], strict=True):
                yield id(made[id(explainer)]), one.tobytes(), int(k), str(r), contrast

    def remember(explainer, model, **options):
        made[id(explainer)] = model
        alive.append((explainer, model))
        return ()

    watch(FrontEnd, "compute", lambda front_end, y: [(front_end, np.asarray(y, np.float32).tobytes())])
    watch(audio, "resample", lambda y, **rates: [(y.tobytes(), *rates.values())])
    watch(evaluation, "predict", lambda model, x, **o: [(id(model), np.asarray(x).tobytes())])
    watch(explain.Explainer, "__init__", remember)
    watch(explain.Explainer, "__call__", maps)
    return seen


@pytest.mark.parametrize("method", ["deep_taylor", "gradient"])
def test_everything_is_computed_once(calls, method):
    """Both models have the same rate, and in the second run the same front end as well."""
    descriptor_model = tagger()  # a new one, so that its explainers are made under observation
    same = GenreClassifier(levels(MEL, 16, (440, 3000), head="softmax"), genre_card(front_end=MEL, step=16))
    for genre in (genre_model(), same):
        calls.clear()
        found = system.ExplanationSystem(genre, descriptor_model).explain(song(sr=22050), sr=22050, method=method)
        assert len(found.heatmaps) == len(found.badges) == 2
        twice = {key[:2] for key, n in collections.Counter(calls).items() if n > 1}
        assert not twice
        assert sum(name == "resample" for name, *_ in calls) == 1
        mine = [what for name, *what in calls if name == "compute"]
        front_ends = {MEL, genre.front_end}
        whole = len(found.y) * 4
        assert sum(front_end in front_ends and len(y) == whole for front_end, y in mine) == len(front_ends) + 2 * 2
        assert sum(name == "__call__" for name, *_ in calls) > 2 * len(found.heatmaps)
        assert sum(name == "predict" for name, *_ in calls) == 2 + 2 * 2  # two models, and two sounds for each tag


def badges_alone(explained, y, model):
    """Badges of the maps in the sections with the highest scores, without the system."""
    from musictools.explain.metrics import badge

    tags = list(explained.heatmaps)
    best = explained.sections[tags].to_numpy().argmax(axis=0)
    neurons = np.array([model.tags.index(tag) for tag in tags])
    reference = explained.descriptors.set_index("tag").loc[tags, "threshold"].to_numpy()
    x, method = model.inputs(y)[best], explained.method
    single = badge.badges(model.model, x, neurons, method=method, reference=reference)
    return {tag: str(one) for tag, one in zip(tags, single, strict=True)}


def test_an_explanation_does_not_depend_on_the_songs_before(models):
    """Badges too: inputs and tags of an earlier song must not be used to test the maps of a later one."""
    songs = song(), song()[: 4 * SR] + np.float32(0.05) * song()[: -4 * SR - 1 : -1]
    wanted = [system.ExplanationSystem(genre_model(), tagger()).explain(y, sr=SR, method="gradient") for y in songs]
    badges = [badges_alone(explained, y, tagger()) for explained, y in zip(wanted, songs, strict=True)]
    assert badges[0] != badges[1]
    for order in ((0, 1), (1, 0)):
        shared = system.ExplanationSystem(*models)
        before = dict(vars(shared))
        for number in order:
            explained = shared.explain(songs[number], sr=SR, method="gradient")
            assert explained.badges == badges[number]
            for tag, heatmap in wanted[number].heatmaps.items():
                np.testing.assert_array_equal(explained.heatmaps[tag], heatmap)
            pd.testing.assert_frame_equal(explained.loop, wanted[number].loop)
        assert vars(shared) == before


def test_badges_are_those_of_the_maps_in_the_best_sections(found, models):
    assert found.badges == badges_alone(found, song(), models[1])


def test_chosen_descriptors_need_not_be_predicted(models):
    found = system.ExplanationSystem(None, models[1]).explain(song(), sr=SR, tags=["never", "high", "never"])
    assert list(found.heatmaps) == ["never", "high"]
    assert not found.heatmaps["never"].any()
    assert not found.evidence["never"].sound.any()
    np.testing.assert_array_equal(found.evidence["never"].rest, song())
    row = found.loop.set_index("tag").loc["never"]
    assert not row[["accepted", "kept", "lost"]].any()
    assert found.genre is None
    assert found.votes.empty


def test_other_rates_other_rules_and_a_mapping(models):
    def mapping(scores):
        assert list(scores.index) == models[1].tags
        return pd.Series({"birds": scores["high"], "bass & co": scores[ODD]})

    found = system.ExplanationSystem(*models, mapping).explain(song(sr=22050), sr=22050, rule="half")
    assert len(found.y) == 6 * SR
    assert (found.descriptors["threshold"] == 0.5).all()
    scores = found.descriptors.set_index("tag")["score"]
    assert dict(found.membership) == {"birds": scores["high"], "bass & co": scores[ODD]}


@pytest.mark.parametrize("seconds", [0.05, 0.4])
def test_songs_shorter_than_a_section(models, seconds):
    y = song()[round(1.5 * SR) : round((1.5 + seconds) * SR)]
    found = system.ExplanationSystem(*models).explain(y, sr=SR)
    assert len(found.sections) == len(found.votes) == 1
    assert found.heatmaps[ODD].shape == found.S.shape
    assert found.heatmaps[ODD].any()
    assert len(found.evidence[ODD].sound) == len(y)
    assert found.heard == pytest.approx(seconds)


def test_silence_has_no_descriptors(models):
    found = system.ExplanationSystem(*models).explain(np.zeros(3 * SR), sr=SR)
    assert found.heatmaps == found.evidence == {}
    assert found.loop.empty
    assert not found.descriptors["predicted"].any()


def test_a_model_that_hears_waveforms():
    """Score: the mean magnitude, compared with 0.1."""
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((4000, 1)),
            layers.Conv1D(2, 1, activation="relu", use_bias=False),
            layers.GlobalAveragePooling1D(),
            layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.layers[0].set_weights([np.array([[[1, -1]]], np.float32)])
    model.layers[2].set_weights([np.array([[200], [200]], np.float32), np.array([-20], np.float32)])
    card = ModelCard(
        task="tags",
        model="loud",
        outputs=["loud"],
        front_end=WAVE,
        length=4000,
        step=2000,
        thresholds={"f1": {"loud": 0.1}},
    )
    y = song()
    found = system.ExplanationSystem(None, Tagger(model, card)).explain(y, sr=SR)
    relevance = found.heatmaps["loud"]
    assert relevance.shape == (1, len(y))
    time = np.arange(len(y)) / SR
    assert not relevance[0, (time < 0.7) | (time > 5.3)].any()
    part = found.evidence["loud"]
    np.testing.assert_allclose(part.sound + part.rest, y, atol=1e-6)
    assert np.sum(part.sound**2) > 0.8 * np.sum(y**2)
    assert found.loop.loc[0, ["accepted", "kept", "lost"]].all()


@pytest.mark.parametrize(
    ("y", "options", "message"),
    [
        (np.zeros((2, 9)), {}, r"y must be a finite mono waveform of shape \(n,\), n > 0. Got shape \(2, 9\)"),
        (np.zeros(0), {}, "y must be a finite mono waveform"),
        (np.array([np.nan, 0]), {}, "y must be a finite mono waveform"),
        (np.zeros(9), {"sr": 0}, "sr must be a positive int. Got 0"),
        (np.zeros(9), {"tags": ["hihg"]}, "tags must be known to the descriptor model. Got hihg; known: "),
        (np.zeros(9), {"rule": "best"}, "rule must be 'half', 'f1'. Got 'best'"),
        (song(), {"method": "deep_tailor"}, "method must be one of .* Got 'deep_tailor'"),
        (song(), {"mask": {"power": 0}}, "power be positive"),
    ],
)
def test_what_cannot_be_explained(models, y, options, message):
    with pytest.raises(ValueError, match=message):
        system.ExplanationSystem(*models).explain(y, **{"sr": SR, **options})


def test_plots_of_a_song(found):
    import matplotlib.pyplot as plt

    ax = found.plot("high", title="3 kHz")
    assert ax.get_title() == "3 kHz"
    assert len(ax.images) == 2
    plt.close("all")
    with pytest.raises(ValueError, match="tag must be one of those explained: high, low .* Got 'never'"):
        found.plot("never")


# --- Genre classifiers ----------------------------------------------------------------------------------------------


def test_a_genre_classifier_is_read_with_its_card(tmp_path):
    path = save(tmp_path, genre_model())
    assert GenreClassifier.load(path).tags == ["bass & co", "birds"]
    with pytest.raises(ValueError, match=r"is no tagger: its card says task='genre'"):
        Tagger.load(path)
    with pytest.raises(ValueError, match=r"is no genre classifier: its card says task='tags'"):
        GenreClassifier.load(save(tmp_path, tagger()))
    with pytest.raises(ValueError, match="The card's front_end is null"):
        genre_model(front_end=None)
    with pytest.raises(ValueError, match="The card names 1 outputs, the model has 2"):
        genre_model(outputs=["one"])


def save(folder, model, name=None):
    path = folder / "models" / f"{name or model.kind}.keras"
    path.parent.mkdir(parents=True, exist_ok=True)
    model.model.save(path)
    place = folder / "cards" / f"{path.stem}.json"
    place.parent.mkdir(exist_ok=True)
    place.write_text(model.card.model_dump_json())
    return path


# --- The command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The checkout's models, and a song."""
    monkeypatch.setattr(runs, "root", lambda: tmp_path)
    save(tmp_path / "outputs" / "demo", tagger(), "tagger")
    save(tmp_path / "outputs" / "demo", genre_model(), "genre_model")
    audio.write(tmp_path / "hum.wav", song(), sr=SR)
    return tmp_path


def test_the_command_writes_a_page(place, capsys):
    out = place / "out"
    assert cli.main(["explain", str(place / "hum.wav"), "--out", str(out), "--seconds", "4", "--audio", "wav"]) == 0
    text = capsys.readouterr().out
    assert "hum.wav (the first 4 s of 6.0 s, rule f1, lrp_composite)" in text
    assert re.search(r"(bass & co|birds): \d+ of 7 sections", text)
    assert re.search(rf"{re.escape(ODD)} +0\.\d\d +0\.20 +0\.\d\d +0\.\d\d", text)
    assert str(out / "index.html") in text
    numbers = json.loads((out / "explanation.json").read_text())
    assert (numbers["title"], numbers["file"], numbers["length"], numbers["duration"]) == ("hum", "hum.wav", 6, 4)
    assert numbers["genre_file"].endswith("genre_model.keras")
    assert len(list(out.iterdir())) == 3 + 1 + 3 * 2  # page, numbers, spectrogram; song; heatmap, evidence and rest


def test_the_command_without_a_genre_and_with_chosen_tags(place, capsys):
    out = place / "out"
    arguments = ["--genre", "none", "--tags", "never", "--method", "gradient", "--rule", "half"]
    assert cli.main(["explain", str(place / "hum.wav"), "--out", str(out), *arguments]) == 0
    assert "sections" not in capsys.readouterr().out
    numbers = json.loads((out / "explanation.json").read_text())
    assert (numbers["genre"], numbers["genre_file"], numbers["method"]) == (None, None, "gradient")
    assert list(numbers["files"]) == ["never"]


def test_what_the_command_cannot_explain(place, capsys):
    (place / "empty.wav").write_bytes(b"")
    hum = str(place / "hum.wav")
    for arguments, message in (
        (["/none.mp3"], "/none.mp3: no such file"),
        ([str(place / "empty.wav")], "empty.wav: the file is empty (0 bytes)"),
        (
            [hum, "--tagger", "other"],
            "other.keras: no such model. Make one with: musictools rebuild --profile demo --only 03",
        ),
        (
            [hum, "--genre", "other"],
            "other.keras: no such model. Make one with: musictools rebuild --profile demo --only 02",
        ),
        ([hum, "--genre", "tagger"], "is no genre classifier: its card says task='tags'"),
        ([hum, "--method", "deep_tailor"], "Got 'deep_tailor'"),
        ([hum, "--tags", "hihg"], "tags must be known to the descriptor model. Got hihg"),
        ([hum, "--rule", "precision"], "rule must be 'half', 'f1'. Got 'precision'"),
    ):
        assert cli.main(["explain", *arguments, "--out", str(place / "out")]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("musictools: ")
        assert captured.err.count("\n") == 1
        assert message in captured.err
    assert not (place / "out").exists()
    with pytest.raises(SystemExit, match="2"):
        cli.main(["explain", hum])
    assert "--out" in capsys.readouterr().err

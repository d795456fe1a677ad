"""Feature maps that carry a descriptor: the right map of the right section, and sentences where there is none."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from musictools.explorer import feature_maps
from musictools.explorer.controller import Explorer
from musictools.explorer.work import Progress
from musictools.inference import GenreClassifier, Tagger
from musictools.models.card import ModelCard
from musictools.spectrograms import FrontEnd

SR, LENGTH = 16000, 32
MEL, LINEAR = FrontEnd(SR, 512, 256, 32), FrontEnd(SR // 2, 512, 256, 16)
TAGS = ("drums", "flute <b>", "calm", "unprobed")


def network(task, front_end, kind):
    """A network whose two maps are its input and its negative."""
    import keras

    layers = keras.layers
    inputs = layers.Input((front_end.n_mels, LENGTH, 1))
    x = layers.Conv2D(2, 1, name="conv1")(inputs)
    x = layers.MaxPooling2D(2, name="pool1")(x)
    outputs = list(TAGS) if task == "tags" else ["rock", "pop"]
    x = layers.Dense(len(outputs), activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x)
    model.get_layer("conv1").set_weights([np.array([[[[1.0, -1.0]]]]), np.zeros(2)])
    card = ModelCard(task=task, model="tiny", outputs=outputs, front_end=front_end, length=LENGTH, step=LENGTH)
    return kind(model, card)


class System:
    """Two networks that are loaded already."""

    def __init__(self):
        self.genre_model, self.descriptor_model = (
            network("genre", LINEAR, GenreClassifier),
            network("tags", MEL, Tagger),
        )
        self.reference = self.mapping = None


@pytest.fixture(scope="module")
def system():
    return System()


@pytest.fixture
def explorer(tmp_path, system):
    from support import explanations

    folder = tmp_path / "demo"
    for kind in ("models", "tables"):
        (folder / kind).mkdir(parents=True)
    for name in ("tagger", "tagger_tiny", "tagger_other", "genre_model"):
        (folder / "models" / f"{name}.keras").write_text(name.replace("tagger_tiny", "tagger"))
    rows = [
        ("genre", "pool1", "drums", 1, 0.75, 0.5, 0.125),
        ("genre untrained", "pool1", "drums", 0, 0.625, 0.5, -0.1),
        ("genre", "input", "drums", 0, 0.75, 0.5, 0.125),
        ("tagger", "pool1", "drums", 0, 0.875, 0.5, 0.25),
        ("tagger", "pool1", "flute <b>", 0, 0.6, 0.5, -0.01),
        ("tagger", "pool1", "calm", 1, 0.6, 0.5, np.nan),
    ]
    columns = ["network", "layer", "tag", "feature_map", "f1", "guess_f1", "over_guess_low"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "tables" / "probing_best_maps.csv", index=False)
    files = {path.stem: path for path in (folder / "models").glob("tagger*")}
    explorer = Explorer(
        folder,
        files={"taggers": {}, "genres": {"genre_model": folder / "models" / "genre_model.keras"}, "mappings": {}},
    )
    explorer.files["taggers"] |= files
    explorer.tagger, explorer.genre, explorer._system = "tagger", "genre_model", system
    explorer.explanation = explanations.explanation(TAGS)
    explorer.explanation.badges |= dict.fromkeys(TAGS, "a passes: passes 1")
    scores = np.zeros(len(explorer.explanation.sections))
    scores[3] = 1.0
    explorer.explanation.sections["drums"] = scores
    explorer.chosen = ("drums",)
    yield explorer
    explorer.close()


@pytest.fixture
def made(explorer):
    maps = feature_maps.CarryingMaps(explorer)
    maps.ask()
    assert explorer.wait(60)
    assert explorer.error == ""
    return maps


def test_thumbnails_are_the_maps_of_the_section_with_the_highest_score(made, explorer, system):
    genre, tagger = made.of("drums")
    assert (genre.name, tagger.name) == ("genre model, pool1, map 1", "tagger, pool1, map 0")
    assert (genre.f1, genre.guess, genre.untrained) == (0.75, 0.5, 0.625)
    assert np.isnan(tagger.untrained)
    best = explorer.explanation.sections.iloc[3]
    middle = (best["start"] + best["end"]) / 2
    for one, model, sign in ((genre, system.genre_model, -1), (tagger, system.descriptor_model, 1)):
        seconds = LENGTH * 256 / model.front_end.sr
        assert one.end - one.start == pytest.approx(seconds)
        assert abs((one.start + one.end) / 2 - middle) <= seconds / 2 + 1e-6
        y = explorer.explanation.y
        if model.front_end.sr != SR:
            from musictools import audio

            y = audio.resample(y, orig_sr=SR, sr=model.front_end.sr)
        x = sign * model.inputs(y)[round(one.start / seconds)][..., 0]
        pooled = x.reshape(x.shape[0] // 2, 2, x.shape[1] // 2, 2).max(axis=(1, 3))
        np.testing.assert_allclose(one.values, pooled, atol=1e-4)


def test_maps_are_computed_once(made, explorer, monkeypatch):
    monkeypatch.setattr(explorer, "work", lambda *_: pytest.fail("computed twice"))
    made.ask()
    explorer.genre = "other"
    assert made.of("drums") is None, "another network"


def test_what_failed_is_asked_for_again_only_by_the_user(explorer, monkeypatch):
    maps = feature_maps.CarryingMaps(explorer)
    monkeypatch.setattr(feature_maps, "_section", lambda *_: 1 / 0)
    for _ in range(2):
        maps.ask()
        assert explorer.wait(60)
    assert explorer.error == "The feature maps of the genre model cannot be computed."
    assert maps.sentence("drums") == "drums: the feature maps have not been computed."
    monkeypatch.undo()
    maps.ask()
    assert explorer.wait(60)
    assert maps.of("drums") is None
    maps.ask_again()
    maps.ask()
    assert explorer.wait(60)
    assert len(maps.of("drums")) == 2


def test_each_thumbnail_has_a_text_and_names_are_escaped(made, explorer):
    html = feature_maps.html(made)
    assert html.count("<img") == html.count(' alt="Feature map: ') == 2
    assert "F1 0.75 (always yes 0.50, random weights 0.62)" in html
    explorer.chosen = ("flute <b>",)
    made.ask()
    explorer.wait(60)
    assert feature_maps.html(made).startswith(
        '<p class="mt-note">No feature map of the genre model and tagger predicts'
    )
    assert "<b>" not in feature_maps.html(made)


def test_what_is_said_where_there_are_no_maps(made, explorer):
    assert (
        "has not probed the genre model and tagger for unprobed. It has for calm, drums, flute <b>."
        in made.sentence("unprobed")
    )
    assert made.sentence("calm") == "calm: the feature maps are being computed."
    explorer.tagger, explorer.genre = "tagger_other", "no genre"
    assert "none of the two is chosen" in made.sentence("drums")
    explorer.tagger = "tagger_tiny"
    assert made._networks() == ["tagger"], "notebook 03 writes its best tagger twice"
    (explorer.folder / "tables" / "probing_best_maps.csv").write_text("a,b\n")
    assert "musictools rebuild --profile demo --only 06" in made.sentence("drums")
    made.ask()
    assert made.of("drums") is None


def test_nothing_is_computed_before_the_heatmap_is_tested(explorer, monkeypatch):
    explorer.explanation.badges.clear()
    monkeypatch.setattr(explorer, "work", lambda *_: pytest.fail("too early"))
    feature_maps.CarryingMaps(explorer).ask()


def test_the_work_is_named(explorer):
    maps = feature_maps.CarryingMaps(explorer)
    maps._explained = maps._key()
    steps = list(maps._compute("drums", maps._table()))
    assert [step.step for step in steps] == ["computing feature maps of drums"] * 3
    assert all(isinstance(step, Progress) for step in steps)


def test_a_map_of_one_value_is_called_so():
    one = feature_maps.Thumbnail("tagger", "pool4", 7, np.ones((1, 1)), 1.0, 2.0, 0.5, 0.5, np.nan)
    assert one.name == "tagger, pool4, map 7 (a single value)"
    assert one.alt.endswith("1.0 to 2.0 s of the song, a single value")


def test_pictures_are_upright_and_constant_maps_dark():
    values = np.zeros((3, 4))
    values[0, 3] = 2.0
    pixels = np.asarray(Image.open(io.BytesIO(feature_maps.picture(values))))
    assert pixels.shape == (3, 4, 3)
    assert pixels[2, 3].sum() > 600
    assert pixels[:2].sum() < 100
    assert np.asarray(Image.open(io.BytesIO(feature_maps.picture(np.ones((2, 2)))))).sum() < 50

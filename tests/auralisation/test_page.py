"""The page of sounds: groups, numbers, pictures and players; every text literal."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from support.pages import NASTY, check

from musictools.auralisation import page


def entry(layer, feature, clip, **more):
    return {
        "layer": layer,
        "feature": feature,
        "clip": clip,
        "file": f"../audio/{clip}.mp3",
        "S": None,
        "numbers": {"level": -6.0},
    } | more


def test_features_are_grouped_by_layer(tmp_path):
    S = np.add.outer(np.arange(12.0), np.zeros(30))
    entries = [
        entry("conv1", "feature 0", "a", S=S),
        entry("conv1", "feature 0", "b", S=S, top=40.0),
        entry("conv1", "feature 1", "a"),
        entry("conv2", "feature 1", "a", numbers={"n": 1234.5, "x": np.nan}),
    ]
    path = page.write(tmp_path / "new" / "page.html", entries, title="A & B", note="a note")
    read = check(path.read_text(encoding="utf-8"), shows=["A & B", "a note", "level-6.00", "n1,234 x–"])
    order = [tag for tag, _ in read.tags if tag in ("h2", "h3", "figure")]
    assert order == ["h2", "h3", "figure", "figure", "h3", "figure", "h2", "h3", "figure"]
    assert read.all("audio", "src") == [f"../audio/{name}.mp3" for name in "abaa"]
    assert read.all("audio", "aria-label")[0] == "feature 0, a"
    pictures = read.all("img", "src")
    assert len(pictures) == 2
    assert len(set(pictures)) == 2  # the second one's brightest colour is set
    assert read.all("img", "alt") == ["Spectrogram of feature 0, a", "Spectrogram of feature 0, b"]


def test_every_text_is_shown_literally(tmp_path):
    entries = [entry(text, text, text, file=text, numbers={text: text}, S=np.zeros((4, 5))) for text in NASTY]
    path = page.write(tmp_path / "page.html", entries, title=NASTY[0], note=NASTY[1])
    check(path.read_text(encoding="utf-8"), shows=NASTY)


def test_a_page_needs_a_sound(tmp_path):
    with pytest.raises(ValueError, match="entries must hold at least one sound. Got none"):
        page.write(tmp_path / "page.html", [], title="")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("S", "bright"), [(np.full((9, 30), -80.0), False), (np.r_[np.zeros((5, 30)), np.full((4, 30), -80.0)], True)]
)
def test_thumbnails_of_silence_are_dark(S, bright):
    picture = np.asarray(Image.open(BytesIO(page.thumbnail(S))).convert("L"))
    assert (picture[-1].mean() > 200) == bright
    assert picture[0].mean() < 20  # the highest frequencies are on top


@pytest.mark.parametrize("shape", [(1, 1), (129, 200), (130, 201), (1000, 3)])
def test_thumbnails_are_small_and_show_the_loudest_cell(shape):
    S = np.full(shape, -60.0)
    S[-1, -1] = 0
    picture = np.asarray(Image.open(BytesIO(page.thumbnail(S))).convert("L"))
    assert picture.shape[0] <= 129
    assert picture.shape[1] <= 200
    assert picture[0, -1] == picture.max()

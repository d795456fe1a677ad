"""What a released network says of songs whose instruments anybody hears; skips where the songs are not."""

import numpy as np
import pytest
from support.released import files

from musictools import audio, released
from musictools.explain.application import system
from musictools.inference import TaggerGenres
from musictools.released import installation, shares

SONGS = {  # part of the file's name -> descriptors of which one must be predicted, genre; None: no matter
    "Lets_Go_Fishin": ({"guitar"}, None),
    "Hungarian_Dance": ({"strings", "violin"}, "classic"),
    "Choice": ({"drums"}, None),
    "joram": ({"beat", "beats", "synth"}, "electronic"),
}


@pytest.fixture(scope="module")
def fcn(shared_data):
    file = files(shared_data)["won2020-mtat-fcn"]
    if not file.is_file():
        pytest.skip(f"no released network here: {file}")
    return installation.tagger_of(released.describe("won2020-mtat-fcn"), file)


def song(shared_data, name):
    found = [path for path in (shared_data / "songs").glob(f"*{name}*") if path.suffix in (".ogg", ".mp3")]
    if not found:
        pytest.skip(f"no song {name} here")
    y, sr = audio.load(found[0])
    return y[: 29 * sr], sr


@pytest.mark.parametrize("name", SONGS)
def test_descriptors_and_genre_are_sensible(name, fcn, shared_data):
    y, sr = song(shared_data, name)
    genres = TaggerGenres(fcn, least=shares.shares("magnatagatune"))
    explained = system.ExplanationSystem(genres, fcn).explain(
        y, sr=sr, rule="share", method="input_x_gradient", badges=False
    )
    wanted, genre = SONGS[name]
    predicted = set(explained.descriptors.query("predicted")["tag"])
    assert wanted & predicted
    assert wanted & set(explained.descriptors["tag"][:5])
    assert not predicted & {"rock", "techno", "classical", "electronic"}, "genres explain no genre"
    assert genre in (None, explained.genre)
    assert explained.networks["genre"]["licence"] == "MIT"
    assert all(np.any(heatmap) for heatmap in explained.heatmaps.values())

"""Model files of strangers: no code of theirs runs, and none is opened that would not fit."""

import io
import json
import os
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest
from support import mutations, tones

from musictools import cli, models
from musictools.inference import Tagger
from musictools.mapping.membership import Mapping
from musictools.models import archive
from musictools.models.card import ModelCard


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Parts of a tagger by name."""
    folder = tones.write_networks(tmp_path_factory.mktemp("networks") / "a")
    with zipfile.ZipFile(folder / "models" / "tagger.keras") as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.fixture
def written(tmp_path, whole):
    """Write a tagger with other parts and its card; return its path."""

    def write(compression=zipfile.ZIP_STORED, **parts):
        named = {{"config": "config.json", "weights": "model.weights.h5"}.get(k, k): v for k, v in parts.items()}
        content = {name: part for name, part in (whole | named).items() if part is not None}
        (tmp_path / "a.keras").write_bytes(mutations.archived(content.items(), compression=compression))
        (tmp_path / "a.json").write_text(tones.card("tags").model_dump_json())
        return tmp_path / "a.keras"

    return write


def test_a_whole_model_passes(written):
    path = written()
    archive.check(path)
    assert Tagger.load(path).tags == list(tones.TONES)


def with_layer(whole, layer):
    """Configuration with a further layer at its end."""
    config = json.loads(whole["config.json"])
    config["config"]["layers"].append(
        {"inbound_nodes": [], "name": "more", "registered_name": None, "build_config": {}} | layer
    )
    return json.dumps(config).encode()


def lambda_model(path, effect):
    """A model whose Lambda layer leaves a file."""
    inputs = keras.layers.Input((40, 32, 1))

    def call(x):
        import pathlib

        pathlib.Path(effect).write_text("executed")
        return x

    keras.Model(inputs, keras.layers.Lambda(call, output_shape=(40, 32, 1))(inputs)).save(path)


@pytest.mark.parametrize("load", [models.load, Tagger.load, Mapping.load])
def test_a_lambda_layer_is_refused_and_not_executed(tmp_path, load):
    path, effect = tmp_path / "a.keras", tmp_path / "executed"
    lambda_model(path, str(effect))
    effect.unlink(missing_ok=True)  # building the model calls the function once
    task = "mapping" if load == Mapping.load else "tags"
    card = (
        ModelCard(task="mapping", model="m", inputs=["a"], outputs=["b"]) if task == "mapping" else tones.card("tags")
    )
    (tmp_path / "a.json").write_text(card.model_dump_json())
    with pytest.raises(ValueError, match=r"a\.keras is damaged.*a layer Lambda, which may run code or read files"):
        load(path)
    assert not effect.exists()


CODE = {"class_name": "__lambda__", "config": {"value": "4wA="}}
KERAS = {"module": "keras.layers"}


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"class_name": "system", "module": "os", "config": {"command": "touch executed"}}, r"os\.system, which is"),
        ({"class_name": "function", "module": "subprocess", "config": "run"}, r"subprocess\.function, which is"),
        (KERAS | {"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}}, "StringLookup"),
        (KERAS | {"class_name": "TFSMLayer", "config": {"filepath": "/tmp"}}, "TFSMLayer"),
        (KERAS | {"class_name": "Dense", "config": {"units": 3, "kernel_initializer": CODE}}, "__lambda__"),
        ({"class_name": "Unheard", "module": "musictools.models.layers", "config": {}}, "layers unknown here"),
    ],
)
def test_foreign_code_and_layers_that_read_files_are_refused(written, whole, layer, words, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"a\.keras is damaged.*{words}"):
        models.load(written(config=with_layer(whole, layer)))
    assert not (tmp_path / "executed").exists()


def h5(make):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        make(file)
    return buffer.getvalue()


def claiming(file):
    """Numbers that are not in the file: they are all equal, and HDF5 stores none."""
    file.create_dataset("huge", shape=(2**33,), dtype="f4", chunks=(2**20,))


def elsewhere(file):
    file.create_dataset("secret", shape=(100,), dtype="u1", external=[("/etc/passwd", 0, 100)])


def linked(file):
    file["secret"] = h5py.ExternalLink("other.h5", "/weights")


def zipped(file):
    file.create_dataset("a", data=np.zeros(10**7, np.float32), compression="gzip")


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (claiming, r"its weights claim 34,359,738,368 bytes"),
        (zipped, r"its weights claim 40,000,000 bytes"),
        (elsewhere, r"its weights 'secret' lie in another file"),
        (linked, r"its weights 'secret' are a link"),
    ],
)
def test_weights_outside_the_file_are_refused(written, weights, words):
    began = time.process_time()
    with pytest.raises(ValueError, match=rf"a\.keras is damaged.*{words}"):
        models.load(written(weights=h5(weights)))
    assert time.process_time() - began < 1


def test_compressed_parts_are_refused_before_they_are_unpacked(written):
    path = written(compression=zipfile.ZIP_DEFLATED, weights=bytes(2**27))
    assert path.stat().st_size < 2**20
    began = time.process_time()
    with pytest.raises(ValueError, match=r"a\.keras is damaged.*is compressed, which Keras never does"):
        models.load(path)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "assets/../../out", "..\\out.txt", "assets/x.txt"])
def test_other_parts_are_refused_and_nothing_is_written(written, name, tmp_path):
    path = written(**{name: b"x"})
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(ValueError, match=r"a\.keras is damaged.*is no part of a model"):
        models.load(path)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"config": None}, "it must hold config.json, metadata.json, model.weights.h5, each once"),
        ({"config": b"[" * 10**5}, "nested too deeply"),
        ({"config": b"\xff"}, "its configuration is no JSON"),
        ({"config": b" " * (2**24 + 1)}, "more than the 16,777,216 allowed"),
        ({"weights": b"HDF"}, "it is damaged"),
    ],
)
def test_damaged_parts_are_sentences(written, parts, words):
    with pytest.raises(ValueError, match=rf"a\.keras is damaged.*{words}") as caught:
        models.load(written(**parts))
    assert "\n" not in str(caught.value)


def test_the_commands_refuse_in_one_line(tmp_path, capsys):
    import soundfile

    path = tmp_path / "a.keras"
    lambda_model(path, str(tmp_path / "executed"))
    (tmp_path / "a.json").write_text(tones.card("tags").model_dump_json())
    soundfile.write(tmp_path / "song.wav", tones.song(), tones.SR)
    capsys.readouterr()
    for command in (
        ["tag", "--model"],
        ["explain", "--genre", "none", "--mapping", "none", "--out", str(tmp_path / "out"), "--tagger"],
    ):
        assert cli.main([command[0], str(tmp_path / "song.wav"), *command[1:], str(path)]) == 2
        err = capsys.readouterr().err
        assert err.startswith("musictools: ")
        assert "a layer Lambda" in err
        assert err.count("\n") == 1

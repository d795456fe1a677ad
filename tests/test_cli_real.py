"""The command line as a user meets it: no mocks, real files, exit statuses, and a sentence where something is wrong.

Light commands run in a process of their own. Those that load TensorFlow run in this one, where it is loaded already;
`test_songs_are_tagged_and_explained_in_a_process_of_their_own` shows that both ways agree.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from musictools import __version__, audio, cli, datasets, models
from musictools.models.card import ModelCard
from musictools.spectrograms import FrontEnd

SR, LENGTH = 16000, 64
FRONT_END = FrontEnd(SR, 512, 256, 32)
OUTPUTS = {"tagger": ("guitar", "piano", "voice"), "genre": ("jazz", "rock")}
BUILDERS = {"tagger": "se_cnn", "genre": "ckn19"}


def command(*arguments, folder, **environment):
    """Run ``musictools`` as a user does: in a process of its own, from a folder that is not the checkout."""
    done = subprocess.run(
        [sys.executable, "-m", "musictools", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def refusal(capsys, *arguments):
    """Run a command in this process that has to end with status 2 and one line; return the line."""
    assert cli.main([*map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("musictools: ")
    assert captured.err.count("\n") == 1
    return captured.err


def save(folder, kind):
    """Save a tiny untrained model and its card; return the model's path."""
    name = BUILDERS[kind]
    model = models.build(name, n_outputs=len(OUTPUTS[kind]), width=0.0625, input_shape=(32, LENGTH, 1), seed=0)
    card = ModelCard(
        task="tags" if kind == "tagger" else "genre",
        model=name,
        outputs=OUTPUTS[kind],
        front_end=FRONT_END,
        length=LENGTH,
        step=LENGTH // 2,
        thresholds={"f1": dict.fromkeys(OUTPUTS[kind], 0.0)} if kind == "tagger" else {},
    )
    model.save(folder / f"{kind}.keras")
    (folder / f"{kind}.json").write_text(card.model_dump_json())
    return folder / f"{kind}.keras"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A tagger, a genre model and a song of four seconds."""
    folder = tmp_path_factory.mktemp("models")
    for kind in BUILDERS:
        save(folder, kind)
    seconds = np.arange(4 * SR) / SR
    audio.write(folder / "hum.wav", 0.3 * np.sin(2 * np.pi * 440 * seconds).astype(np.float32), sr=SR)
    return folder


# --- Light commands -------------------------------------------------------------------------------------------------


def test_version(tmp_path):
    done = command("--version", folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"musictools {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["rebild"], "invalid choice: 'rebild'"),
        ([], "the following arguments are required: COMMAND"),
        (["tag"], "the following arguments are required: SONG"),
        (["rebuild", "--prophile", "demo"], "unrecognized arguments: --prophile"),
        (["rebuild", "--profile", "smoke", "-p", "epohcs=3"], "-p: unknown parameter 'epohcs'. Did you mean 'epochs'?"),
        (["rebuild", "--profile", "smoke", "-p", "epochs=many"], "-p epochs must be a whole number"),
        (["rebuild", "--profile", "smok"], "unknown profile 'smok'. Did you mean 'smoke'?"),
        (["rebuild", "--profile", "smoke", "--only", "77"], "unknown notebook '77'"),
        (["data", "validate", "folder", "--data-dir", "nowhere"], "nowhere"),
        (["tag", "hum.wav", "--model", "none.keras"], "none.keras: no such model. Make one with: musictools rebuild"),
    ],
)
def test_wrong_use_gives_a_sentence_and_status_2(arguments, sentence, tmp_path):
    done = command(*arguments, *["--output-root", "out"] * (arguments[:1] == ["rebuild"]), folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert sentence in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir()), "nothing is written before all parameters are checked"


def test_data_sets_are_listed_and_those_that_are_here_marked(tmp_path):
    (tmp_path / "data" / "gtzan").mkdir(parents=True)
    environment = {"MUSICTOOLS_DATA": str(tmp_path / "data"), "MUSICTOOLS_SHARED_DATA": str(tmp_path / "none")}
    done = command("data", "list", folder=tmp_path, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert set(lines) == set(datasets.available())
    assert [name for name, line in lines.items() if line.split()[1] == "here"] == ["gtzan"]


def test_a_data_set_is_validated(tmp_path):
    songs = tmp_path / "songs"
    for genre in ("rock", "jazz"):
        audio.write(songs / genre / "one.wav", np.zeros(SR, np.float32), sr=SR)
    arguments = "data", "validate", "folder", "--data-dir", songs
    done = command(*arguments, folder=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "folder: 0 missing, 0 invalid.\n", "")
    (songs / "jazz" / "two.wav").write_bytes((songs / "jazz" / "one.wav").read_bytes()[:20])
    (songs / "jazz" / "three.wav").touch()
    done = command(*arguments, folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "invalid  jazz/three.wav" in done.stdout
    assert "invalid  jazz/two.wav" in done.stdout
    assert done.stdout.endswith("folder: 0 missing, 2 invalid.\n")


# --- Models ---------------------------------------------------------------------------------------------------------


def test_a_song_is_tagged(place, tmp_path, capsys):
    arguments = ["tag", place / "hum.wav", "--model", place / "tagger.keras", "--out", tmp_path / "out"]
    assert cli.main([*map(str, arguments)]) == 0
    captured = capsys.readouterr()
    assert "hum.wav (4.0 s, 6 inputs, rule f1)" in captured.out
    assert {line.split()[1] for line in captured.out.splitlines() if line.startswith("*")} == set(OUTPUTS["tagger"])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"hum.taggram.png", "hum.taggram.csv"}


def test_a_song_is_explained(place, tmp_path, capsys):
    chosen = ["--tagger", place / "tagger.keras", "--genre", place / "genre.keras", "--mapping", "none"]
    arguments = ["explain", place / "hum.wav", *chosen, "--tags", "piano", "--out", tmp_path / "out"]
    assert cli.main([*map(str, arguments)]) == 0
    captured = capsys.readouterr()
    assert "hum.wav (4.0 s, rule f1, lrp_composite)" in captured.out
    assert "piano" in captured.out
    kept = json.loads((tmp_path / "out" / "explanation.json").read_text())
    assert list(kept["files"]) == ["piano"]
    assert kept["genre"] in OUTPUTS["genre"]
    assert "piano" in (tmp_path / "out" / "index.html").read_text()


def without_weights(path):
    """Take the weights out of a model's file, which stays a sound zip file."""
    with zipfile.ZipFile(path) as whole:
        kept = {name: whole.read(name) for name in whole.namelist() if name.endswith(".json")}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)


def garbled(path):
    """Turn the bits of some bytes in the middle: the weights' checksum no longer fits."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(255 - byte for byte in content[middle : middle + 64])
    path.write_bytes(content)


def of_another_shape(path):
    """Replace the network by one whose inputs are not those of the card."""
    models.build("se_cnn", n_outputs=3, width=0.0625, input_shape=(16, LENGTH, 1), seed=0).save(path)


DAMAGE = {  # what happens to the file of a model, and the sentence
    "empty": (lambda path: path.write_bytes(b""), "tagger.keras is damaged, no Keras model"),
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "is damaged"),
    "cut at its end": (lambda path: path.write_bytes(path.read_bytes()[:-10]), "tagger.keras is damaged"),
    "garbled": (garbled, "tagger.keras is damaged"),
    "text": (lambda path: path.write_text("no model\n" * 1000), "tagger.keras is damaged"),
    "without weights": (without_weights, "tagger.keras is damaged"),
    "of another shape": (of_another_shape, "The card describes inputs of shape (32, 64, 1), the model takes (16"),
    "without card": (lambda path: path.with_suffix(".json").unlink(), "tagger.keras has no card"),
    "card cut off": (lambda path: path.with_suffix(".json").write_text('{"task": "tags"'), "tagger.json: no JSON"),
    "card of a list": (lambda path: path.with_suffix(".json").write_text("[1]"), "tagger.json: no JSON object"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "tagger.keras: no such model"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_model_gives_a_sentence(kind, place, tmp_path, capsys):
    for name in ("tagger.keras", "tagger.json"):
        shutil.copy(place / name, tmp_path)
    damage, sentence = DAMAGE[kind]
    damage(tmp_path / "tagger.keras")
    song, out = place / "hum.wav", tmp_path / "out"
    assert sentence in refusal(capsys, "tag", song, "--model", tmp_path / "tagger.keras", "--out", out)
    chosen = ["--tagger", tmp_path / "tagger.keras", "--genre", place / "genre.keras"]
    assert sentence in refusal(capsys, "explain", song, *chosen, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize("content", [b"", b"RIFF", b"hello\n" * 100])
def test_a_damaged_song_gives_a_sentence(content, place, tmp_path, capsys):
    (tmp_path / "song.wav").write_bytes(content)
    out = tmp_path / "out"
    said = refusal(capsys, "tag", tmp_path / "song.wav", "--model", place / "tagger.keras", "--out", out)
    assert "song.wav: " in said
    chosen = ["--tagger", place / "tagger.keras", "--genre", "none"]
    assert "song.wav: " in refusal(capsys, "explain", tmp_path / "song.wav", *chosen, "--out", out)
    assert not out.exists()


@pytest.mark.full
def test_songs_are_tagged_and_explained_in_a_process_of_their_own(place, tmp_path):
    song, tagger = place / "hum.wav", place / "tagger.keras"
    done = command("tag", song, "--model", tagger, "--out", "out", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "hum.wav (4.0 s, 6 inputs, rule f1)" in done.stdout
    done = command("explain", song, "--tagger", tagger, "--genre", "none", "--out", "page", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page" / "index.html").is_file()
    (tmp_path / "empty.keras").touch()
    shutil.copy(tagger.with_suffix(".json"), tmp_path / "empty.json")
    done = command("tag", song, "--model", "empty.keras", folder=tmp_path)
    assert done.returncode == 2
    assert "empty.keras is damaged, no Keras model" in done.stderr.splitlines()[-1]

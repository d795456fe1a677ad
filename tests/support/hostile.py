"""Every kind of file that a user may hand over: how one looks, how it is changed, and who reads it.

``kinds(folder)`` makes them. A kind has originals (file contents), a function that changes one, a name for the file,
and the public function that reads it. Reading may write below `folder` only.
"""

import contextlib
import io
import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from support import mutations, tones

AUDIO = ("wav", "flac", "ogg", "mp3", "au", "aiff")
_SUBTYPES = {"wav": ["PCM_16", "FLOAT", "ALAW", "MS_ADPCM"], "aiff": ["PCM_16", "PCM_24"], "au": ["PCM_16", "ULAW"]}


@dataclass(frozen=True)
class Kind:
    """One kind of file: `name` of the file, contents of whole ones, what changes one, what reads one."""

    name: str
    originals: list[bytes]
    change: Callable
    read: Callable[[Path], object]
    beside: tuple[tuple[str, bytes], ...] = ()  # other files that a reader needs: name, content

    def make(self, folder, rng):
        """Write a changed file into an empty folder; return its path."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, content in self.beside:
            _write(folder / name, content)
        original = self.originals[rng.integers(len(self.originals))]
        name = self.name
        if name.startswith("song.") and rng.random() < 0.1:  # a wrong ending
            name = f"song.{AUDIO[rng.integers(len(AUDIO))]}"
        return _write(folder / name, self.change(original, rng))


def kinds(folder: Path, only=None) -> dict[str, Kind]:
    """All kinds by name; whole files are made in `folder`. TensorFlow is loaded if one of `only`, or None, needs it."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {**_audio(), **_tables(), **_json(folder), **_arrays(folder)}
    return known if only and set(only) <= set(known) else known | _applied(folder) | _networks(folder)


def _write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _sounds(suffix, *, seconds=1.5):
    """Mono and stereo, in the subtypes of a format."""
    y, originals = tones.song(seconds=seconds), []
    for subtype in _SUBTYPES.get(suffix, [None]):
        for channels in (1, 2):
            buffer = io.BytesIO()
            soundfile.write(buffer, np.repeat(y[:, None], channels, 1), tones.SR, format=suffix, subtype=subtype)
            originals.append(buffer.getvalue())
    return originals


def _audio():
    from musictools import audio

    def load(path):
        y, sr = audio.load(path, sr=16000)
        assert y.ndim == 1, y.shape
        assert sr == 16000
        assert np.isfinite(y).all()
        assert audio.duration(path) >= 0

    return {kind: Kind(f"song.{kind}", _sounds(kind), mutations.of_bytes, load) for kind in AUDIO}


def _applied(folder):
    """Songs for the commands and the explorer."""
    from musictools.explorer import songs
    from musictools.explorer.upload import Upload

    networks = tones.write_networks(folder / "networks")
    out = str(folder / "out")
    models = {name: str(networks / "models" / f"{name}.keras") for name in ("tagger", "genre_model")}

    def tag(path):
        _command(["tag", str(path), "--model", models["tagger"], "--out", out])

    def explain(path):
        given = ["--tagger", models["tagger"], "--genre", models["genre_model"], "--mapping", "none"]
        _command(["explain", str(path), *given, "--out", out, "--seconds", "1", "--audio", "wav"])

    def upload(path):
        sent, refused = [], []
        widget = Upload(received=lambda *file: sent.append(file), failed=refused.append)
        content = path.read_bytes()
        widget._handle_custom_msg({"kind": "begin", "name": path.name, "size": len(content)}, [])
        if not refused:
            widget._handle_custom_msg({"kind": "piece"}, [memoryview(content)])
        if refused:
            raise ValueError(refused[0])
        assert len(sent) == 1
        songs.read_upload(*sent[0])

    originals = [content for kind in AUDIO for content in _sounds(kind)[:1]]
    return {
        name: Kind("song.wav", originals, mutations.of_bytes, read)
        for name, read in (("tag", tag), ("explain", explain), ("upload", upload))
    }


def _command(arguments):
    """Run a command; its complaint, which is one line, becomes a ValueError."""
    from musictools import cli

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        status = cli.main(arguments)
    if status:
        complaint = err.getvalue()
        assert status == 2, status
        assert complaint.startswith("musictools: "), complaint
        assert complaint.count("\n") == 1, complaint
        raise ValueError(complaint.strip())


def _tables():
    import pandas as pd

    from musictools import annotation, datasets

    asked = pd.DataFrame({"clip": ["a", "b", "c"], "tag": "guitar"})
    answers = b"clip,tag,answer\na,guitar,yes\nb,guitar,no\nc,guitar,unsure\n"
    labels = b"path,genre,artist,title,tags\nrock/a.mp3,rock,Ann,One,loud;fast\nb.mp3,rock;pop,Ben,Two,\nc.mp3,,,,\n"
    info = "clip_id\ttrack_number\ttitle\tartist\talbum\turl\tsegmentStart\tsegmentEnd\n"
    info += "".join(f"{k}\t{k}\tSong {k}\tAnn\tOne\thttp://a\t{29 * k}\t{29 * k + 29}\n" for k in (2, 6, 10))
    tags = "clip_id\trock\tloud guitar\tmp3_path\n2\t1\t0\t0/a.mp3\n6\t0\t1\tf/b.mp3\n10\t0\t0\t1/c.mp3\n"
    jamendo = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
    jamendo += "track_0000214\tartist_000014\talbum_000031\t14/214.mp3\t124.6\tgenre---rock\tmood/theme---happy\n"
    jamendo += "track_0000215\tartist_000015\talbum_000032\t15/215.mp3\t151.4\tinstrument---guitar\n"
    tracks = ",artist,album,track,track,track,set,set\n,name,title,title,genre_top,genres_all,split,subset\n"
    tracks += 'track_id,,,,,,,\n2,Ann,One,Song,Rock,"[12, 25]",training,small\n5,Ben,Two,Tune,Pop,[10],test,small\n'
    genres = "genre_id,#tracks,parent,title,top_level\n10,9,0,Pop,10\n12,9,0,Rock,12\n25,9,12,Punk,12\n"

    def of(name):
        def read(path):
            data = datasets.load(name, data_dir=path.parents[len(places[name].parts) - 1])
            assert data.tags.shape[0] == len(data.tracks)

        return read

    places = {"folder": Path("labels.csv"), "magnatagatune": Path("annotations_final.csv"),
              "mtg_jamendo": Path("data/autotagging.tsv"), "fma": Path("fma_metadata/tracks.csv")}  # fmt: skip
    csv, meta = mutations.of_text, "fma_metadata/"
    fma = ((f"{meta}genres.csv", genres.encode()),), ((f"{meta}tracks.csv", tracks.encode()),)
    tsv = (("clip_info_final.csv", info.encode()),)
    songs = (("rock/a.mp3", b"x"),)
    return {
        "csv answers": Kind("answers.csv", [answers], csv, lambda path: annotation.Session(path, asked).table()),
        "csv labels": Kind("labels.csv", [labels], csv, of("folder"), songs),
        "csv fma": Kind(f"{meta}tracks.csv", [tracks.encode()], csv, of("fma"), fma[0]),
        "csv fma genres": Kind(f"{meta}genres.csv", [genres.encode()], csv, of("fma"), fma[1]),
        "tsv annotations": Kind("annotations_final.csv", [tags.encode()], csv, of("magnatagatune"), tsv),
        "tsv clip info": Kind(
            "clip_info_final.csv", [info.encode()], csv, of("magnatagatune"),
            (("annotations_final.csv", tags.encode()),),
        ),
        "tsv jamendo": Kind("data/autotagging.tsv", [jamendo.encode()], csv, of("mtg_jamendo")),
    }  # fmt: skip


def _json(folder):
    from musictools import datasets, runs
    from musictools.explorer import stored
    from musictools.explorer.songs import Song
    from musictools.models.card import ModelCard
    from support import explanations

    parameters = (
        b"dataset: composed\nepochs: 3\nrate: 1.0e-4\nunits: [50, 100]\nwide: false\nname: 'a: b'\nmore: {a: 1}\n"
    )
    cell = 'dataset = "a"\nepochs = 3\nrate = 0.1\nunits = [5]\nwide = False\nname = "x"\nmore = {}'
    notebook = {"cells": [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": cell, "outputs": []}],
                "metadata": {}, "nbformat": 4, "nbformat_minor": 5}  # fmt: skip
    book = json.dumps(notebook).encode()
    track = "TRAAAAW128F429D538"
    song = {"track_id": track, "artist": "Ann", "title": "Song", "tags": [["rock", "100"], ["loud", "3"]],
            "similars": [], "timestamp": "2011-08-02 20:13:25.674526"}  # fmt: skip
    y = np.zeros(16000, np.float32)
    one = explanations.explanation()
    one = replace(one, loop=one.loop.fillna(0.5))  # a stored explanation holds numbers only
    made = stored.write(folder / "stored", one, song=Song("a", y, 16000, 1.0), note="")
    others = [(p.name, p.read_bytes()) for p in made.parent.iterdir() if p != made]

    def msd(path):
        datasets.load("million_song", data_dir=path.parents[4])

    return {
        "yaml parameters": Kind(
            "02_a.yaml", [parameters], mutations.of_text,
            lambda path: runs.resolve(path.with_name("02_a.ipynb"), path), (("02_a.ipynb", book),),
        ),
        "json notebook": Kind("02_a.ipynb", [book], mutations.of_json, runs.parameters),
        "json card": Kind(
            "a.json", [tones.card(task).model_dump_json().encode() for task in ("tags", "genre")], mutations.of_json,
            ModelCard.read,
        ),
        "json song": Kind(f"lastfm_train/A/A/A/{track}.json", [json.dumps(song).encode()], mutations.of_json, msd),
        "json explanation": Kind(
            made.name, [made.read_bytes()], mutations.of_json, lambda path: stored.read(path.parent), tuple(others)
        ),
    }  # fmt: skip


def _arrays(folder):
    from musictools import datasets, familiarity, files
    from musictools.concepts import storing
    from musictools.explain.attribution.explanation import Explanation
    from musictools.released import checkpoints
    from support import checkpoint_files, concept_files

    def npz(**arrays):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    rng, names = np.random.default_rng(0), np.array(["a", "b"])
    gtzan = npz(spec=rng.integers(0, 255, (2, 8, 16), dtype=np.uint8), name=names, genre=np.array(["x", "y"]))
    mir = npz(clip=names, length=np.array([3, 4]), vocal=np.array([1, 0, 1, 0, 0, 1, 1]))
    saved = concept_files.write(folder / "concepts", concept_files.songs(folder / "songs")).read_bytes()
    relevance = rng.normal(size=(2, 8, 16, 1)).astype(np.float32)
    Explanation(relevance, "gradient", 0, np.zeros(2)).save(folder / "explanation.npz")
    reference = familiarity.Reference.fit([rng.normal(size=8) for _ in range(40)], what="songs")

    def inputs(path):
        storing.load(path)
        storing.load_inputs(path)

    def familiar(path):
        familiarity.find(None, path.with_name("a.keras"))

    def of(name):
        return lambda path: datasets.load(name, data_dir=path.parent)

    clips = tuple((f"clips/{name}.{part}.ogg", b"x") for name in names for part in ("voice", "accomp"))
    change = mutations.of_zip
    state = {"weight": rng.normal(size=(4, 6)).astype(np.float32), "count": np.array(7, np.int64)}
    checkpoint = [checkpoint_files.legacy(state), checkpoint_files.zipped(state)]
    return {
        "pth": Kind("a.pth", checkpoint, mutations.of_zip_or_bytes, checkpoints.read),
        "npz arrays": Kind("a.npz", [gtzan, mir], change, files.read_npz),
        "npz gtzan": Kind("a.npz", [gtzan], change, of("gtzan_spectrograms")),
        "npz mir1k": Kind("labels.npz", [mir], change, of("mir1k"), clips),
        "npz concepts": Kind("concepts.npz", [saved], change, inputs),
        "npz explanation": Kind("a.npz", [(folder / "explanation.npz").read_bytes()], change, Explanation.load),
        "npz familiarity": Kind("a.familiarity.npz", [reference.to_bytes()], change, familiar),
        "npy million song": Kind(
            "train_y.npy", [_npy(np.eye(3, dtype=np.int8)), _npy(np.eye(3))], mutations.of_bytes, of("million_song"),
            (("tags.txt", b"rock\npop\nloud\n"),),
        ),
    }  # fmt: skip


def _npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _networks(folder):
    import keras

    from musictools.inference import Tagger
    from musictools.mapping.membership import Mapping
    from musictools.models.card import ModelCard

    models = folder / "networks" / "models"
    card = (folder / "networks" / "cards" / "tagger.json").read_bytes()
    inputs = keras.layers.Input((4,))
    mapping = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(inputs))
    mapping.save(folder / "mapping.keras")
    about = ModelCard(task="mapping", model="m", inputs=["a", "b", "c", "d"], outputs=["x", "y"]).model_dump_json()
    return {
        "keras tagger": Kind(
            "a.keras", [(models / "tagger.keras").read_bytes()], mutations.of_zip, Tagger.load, (("a.json", card),)
        ),
        "keras mapping": Kind(
            "a.mapping.keras", [(folder / "mapping.keras").read_bytes()], mutations.of_zip, Mapping.load,
            (("a.mapping.json", about.encode()),),
        ),
    }  # fmt: skip

"""What is wrong with an input is said in a sentence that a person can act on: one test, many kinds of bad input."""

import nbformat
import numpy as np
import pandas as pd
import pytest
import soundfile

from musictools import audio, datasets, evaluation, models, published, runs, tags, training
from musictools.datasets import leakage, splits
from musictools.spectrograms import FrontEnd, Segments, SpectrogramStore, open_store, segments


def silence(path, *, sr=16000, n=1600, value=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(n, value, np.float32), sr, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def holding(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content)
    return path


def magnatagatune(folder, *, annotations="clip_id\trock\tmp3_path\n2\t1\t0/a.mp3\n", info=None):
    header = "clip_id\ttrack_number\ttitle\tartist\talbum\turl\tsegmentStart\tsegmentEnd\n"
    holding(folder / "annotations_final.csv", annotations)
    holding(folder / "clip_info_final.csv", header + "2\t1\tSong\tAnn\tOne\thttp\t0\t29\n" if info is None else info)
    return datasets.load("magnatagatune", data_dir=folder)


def gtzan_twice(folder):
    silence(folder / "blues" / "blues.00000.wav")
    silence(folder / "blues" / "blues.00000.flac")
    return datasets.load("gtzan", data_dir=folder)


def npz(folder, **arrays):
    whole = {"spec": np.zeros((2, 4, 8), np.uint8), "name": np.array(["a", "b"]), "genre": np.array(["x", "y"])}
    np.savez(folder / "songs.npz", **{k: v for k, v in (whole | arrays).items() if v is not None})
    return datasets.load("gtzan_spectrograms", data_dir=folder)


def songs(folder):
    silence(folder / "rock" / "a.wav")
    return datasets.load("folder", data_dir=folder)


def broken(folder):
    holding(folder / "rock" / "a.mp3", "no audio")
    return datasets.load("folder", data_dir=folder)


def labels(folder, content):
    return datasets.load("folder", data_dir=holding(folder / "labels.csv", content).parent)


def parameters(folder, yaml=None, cell='epochs = 3\nname = "ckn19"\nrate = 0.1\nwide = False', **options):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell, metadata={"tags": ["parameters"]})])
    nbformat.write(notebook, folder / "02_train.ipynb")
    sources = [] if yaml is None else [holding(folder / "02_train.yaml", yaml)]
    return runs.resolve(folder / "02_train.ipynb", *sources, **options)


TABLE = pd.DataFrame({"rock": [True, False]})
STRATA = pd.Series(["a", "b"] * 5)
FRONT_END = {"sr": 16000, "n_fft": 1024, "hop_length": 512, "n_mels": 128}
X, Y = np.zeros((4, 8, 8, 1), np.float32), np.eye(2)[[0, 1, 0, 1]]


def tiny():
    return models.build("ckn19", n_outputs=2, input_shape=(8, 8, 1), width=0.02)


BAD = {
    # audio files
    "no such file": (lambda p: audio.load(p / "a.wav"), r"a\.wav: no such file"),
    "a folder": (lambda p: audio.load(p), r"is a folder, not an audio file"),
    "an empty file": (lambda p: audio.load(holding(p / "a.mp3", b"")), r"a\.mp3: the file is empty \(0 bytes\)"),
    "text called wav": (lambda p: audio.load(holding(p / "a.wav", "hello")), r"a\.wav: not an audio file .*Format not"),
    "text called mp3": (
        lambda p: audio.load(holding(p / "a.mp3", "hello" * 99)),
        r"a\.mp3: not an audio file .*Format",
    ),
    "noise called au": (
        lambda p: audio.load(holding(p / "a.au", b"\x7f" * 999)),
        r"a\.au: not an audio file .*AU header",
    ),
    "a cut header": (
        lambda p: audio.load(holding(p / "b.flac", silence(p / "a.flac").read_bytes()[:30])),
        r"b\.flac: not an audio file",
    ),
    "a header only": (lambda p: audio.load(silence(p / "a.wav", n=0)), r"a\.wav: holds no audio, nothing could be"),
    "NaN samples": (lambda p: audio.load(silence(p / "a.wav", value=np.nan)), r"1600 of 1600 samples are NaN or Inf"),
    "too short": (
        lambda p: audio.load(silence(p / "a.wav"), sr=8000, min_samples=1024),
        r"too short\. It has 800 samples \(0\.10 s at 8000 Hz\), at least 1024 \(0\.13 s\)",
    ),
    "sr zero": (lambda p: audio.load(silence(p / "a.wav"), sr=0), r"sr must be a positive int or None\. Got 0\."),
    "duration of text": (lambda p: audio.duration(holding(p / "a.ogg", "hello")), r"a\.ogg: not an audio file"),
    "writing too loud": (
        lambda p: audio.write(p / "a.wav", np.full(9, 2.0), sr=8000),
        r"would clip, its peak is 2\.000",
    ),
    "writing NaN": (lambda p: audio.write(p / "a.wav", np.full(9, np.nan), sr=8000), r"the waveform holds NaN or Inf"),
    "writing stereo": (lambda p: audio.write(p / "a.wav", np.zeros((9, 2)), sr=8000), r"shape \(n,\).* Got \(9, 2\)"),
    "writing a doc": (
        lambda p: audio.write(p / "a.doc", np.zeros(9), sr=8000),
        r"unknown format '\.doc'\. Known: \.wav",
    ),
    "writing over": (
        lambda p: audio.write(silence(p / "a.wav"), np.zeros(9), sr=8000, overwrite=False),
        r"exists already",
    ),
    "writing without rate": (
        lambda p: audio.write(p / "a.wav", np.zeros(9), sr=0.5),
        r"sr must be a positive int\. Got 0.5",
    ),
    "mp3 at 96 kHz": (
        lambda p: audio.write(p / "a.mp3", np.zeros(9), sr=96000),
        r"a\.mp3: cannot be written at 96000 Hz",
    ),
    # front ends and frames
    "hop zero": (lambda p: FrontEnd(16000, 1024, 0, 128), r"hop_length must be a positive int\. Got 0\."),
    "rate with a fraction": (lambda p: FrontEnd(16000.0, 1024, 512, 128), r"sr must be a positive int\. Got 16000\.0"),
    "odd window": (lambda p: FrontEnd(16000, 1023, 512, 128), r"n_fft must be even\. Got 1023"),
    "unknown kind": (
        lambda p: FrontEnd(**FRONT_END, kind="mfcc"),
        r"kind must be 'mel', 'stft', 'cqt', 'waveform' or 'image'\. Got 'mfcc'",
    ),
    "unknown mel scale": (
        lambda p: FrontEnd(**FRONT_END, mel_scale="mel"),
        r"mel_scale must be 'slaney' or 'htk'\. Got 'mel'",
    ),
    "unknown padding": (
        lambda p: FrontEnd(**FRONT_END, padding="wrap"),
        r"padding must be 'zero' or 'reflect'\. Got 'wrap'",
    ),
    "negative reference": (lambda p: FrontEnd(**FRONT_END, ref=-1), r"ref must be a positive number or 'max'\. Got -1"),
    "infinite reference": (
        lambda p: FrontEnd(**FRONT_END, ref=np.inf),
        r"ref must be a positive number or 'max'\. Got inf",
    ),
    "floor above ceiling": (
        lambda p: FrontEnd(**FRONT_END, floor=50.0),
        r"floor must lie below ceiling\. Got floor=50",
    ),
    "bottomless floor": (
        lambda p: FrontEnd(**FRONT_END, floor=-np.inf),
        r"floor must lie below ceiling\. Got floor=-inf",
    ),
    "CQT beyond Nyquist": (
        lambda p: FrontEnd(8000, 512, 256, 96, kind="cqt"),
        r"96 bins of the CQT reach 7902 Hz, beyond",
    ),
    "stereo waveform": (
        lambda p: FrontEnd(**FRONT_END).compute(np.zeros((9, 2))),
        r"mono waveform .* Got shape \(9, 2\)",
    ),
    "empty waveform": (lambda p: FrontEnd(**FRONT_END).compute([]), r"mono waveform of shape \(n,\), n > 0"),
    "NaN waveform": (lambda p: FrontEnd(**FRONT_END).compute([0.0, np.nan]), r"y holds NaN or Inf"),
    "too short a spectrogram": (
        lambda p: segments(np.zeros((4, 90)), length=128, step=64),
        r"S has 90 frames, length=128 needs at least 128\. Short clips can be padded",
    ),
    "step zero": (lambda p: segments(np.zeros((4, 90)), length=8, step=0), r"step must be a positive int\. Got 0"),
    "one-dimensional S": (lambda p: segments(np.zeros(90), length=8, step=8), r"S must have shape .* Got \(90,\)"),
    "unknown description": (lambda p: models.describe("vgg16"), r"No model is called 'vgg16'\. Known: ckn19, pg20"),
    "no store there": (lambda p: SpectrogramStore(p), r"no spectrogram store\. Build one with"),
    "a store of nothing": (
        lambda p: SpectrogramStore.build(p / "a", {}, front_end=FrontEnd(**FRONT_END), seconds=1),
        r"No clips to make spectrograms of",
    ),
    "inputs of no length": (lambda p: Segments(None, [], length=0, step=1), r"length must be a positive int\. Got 0"),
    "only broken songs": (
        lambda p: open_store(broken(p), FrontEnd(**FRONT_END)),
        r"no clip can be read\. .*a\.mp3: not an audio",
    ),
    # data folders and tables
    "unknown data set": (lambda p: datasets.load("gtzam"), r"No data set is called 'gtzam'\. Known: composed, fma"),
    "no folder": (lambda p: datasets.load("gtzan", data_dir=p / "x"), r"x: no such folder\. gtzan: mirdata documents"),
    "an option too many": (lambda p: datasets.load("gtzan", data_dir=p, n_clips=3), r"gtzan takes no n_clips"),
    "folder without folder": (lambda p: datasets.load("folder"), r"'folder' needs data_dir"),
    "empty GTZAN": (lambda p: datasets.load("gtzan", data_dir=p), r"no GTZAN files\. Expected genres/blues"),
    "a clip twice": (gtzan_twice, r"clip blues\.00000 is there twice, with two endings"),
    "no tables": (
        lambda p: datasets.load("magnatagatune", data_dir=p),
        r"annotations_final\.csv: no such file.*get them",
    ),
    "commas for tabs": (
        lambda p: magnatagatune(p, annotations="clip_id,rock,mp3_path\n2,1,a\n"),
        r"lacks the columns clip_id, mp3_path\. Is it tab separated",
    ),
    "an empty table": (
        lambda p: magnatagatune(p, annotations=""),
        r"annotations_final\.csv: not a tab separated table",
    ),
    "tags of two": (
        lambda p: magnatagatune(p, annotations="clip_id\trock\tmp3_path\n2\t2\t0/a.mp3\n"),
        r"tags must be 0 or 1\. Not so: rock",
    ),
    "a row twice": (
        lambda p: magnatagatune(p, annotations="clip_id\trock\tmp3_path\n2\t1\ta\n2\t0\tb\n"),
        r"clip 2 stands there twice",
    ),
    "a clip without path": (
        lambda p: magnatagatune(p, annotations="clip_id\trock\tmp3_path\n2\t1\t\n"),
        r"clip 2 has no mp3_path",
    ),
    "a clip without info": (
        lambda p: magnatagatune(p, annotations="clip_id\trock\tmp3_path\n7\t1\t0/a.mp3\n"),
        r"says nothing of 1 annotated clips, for example 7",
    ),
    "no npz": (lambda p: datasets.load("gtzan_spectrograms", data_dir=p), r"expected one \.npz .*Found 0"),
    "text called npz": (
        lambda p: datasets.load("gtzan_spectrograms", data_dir=holding(p / "a.npz", "hello").parent),
        r"a\.npz: not an \.npz file",
    ),
    "a broken zip": (
        lambda p: datasets.load("gtzan_spectrograms", data_dir=holding(p / "a.npz", b"PK\3\4junk").parent),
        r"a\.npz: not an \.npz file",
    ),
    "npz without genre": (lambda p: npz(p, genre=None), r"lacks genre\. It has name, spec"),
    "npz of floats": (lambda p: npz(p, spec=np.zeros((2, 4, 8))), r"spec must be uint8 .* Got float64 \(2, 4, 8\)"),
    "npz of unequal length": (lambda p: npz(p, name=np.array(["a"])), r"name must have shape \(2,\).* Got \(1,\)"),
    "npz with a name twice": (lambda p: npz(p, name=np.array(["a", "a"])), r"the name a stands there twice"),
    "npz of a scalar": (lambda p: npz(p, spec=np.uint8(3)), r"spec must be uint8 of shape .* Got uint8 \(\)"),
    "no songs": (lambda p: datasets.load("folder", data_dir=p), r"no audio in sub-folders\. Expected <genre>/<song>"),
    "labels without genre": (
        lambda p: labels(p, "path\na.wav\n"),
        r"labels\.csv: lacks the column genre\. It has path",
    ),
    "labels twice": (lambda p: labels(p, "path,genre\na.wav,x\na.wav,y\n"), r"a\.wav stands there twice"),
    "no labels": (lambda p: labels(p, "path,genre\n"), r"labels\.csv: lists no songs"),
    "an empty labels.csv": (lambda p: labels(p, ""), r"labels\.csv: not a comma separated table"),
    "unknown clip": (lambda p: songs(p).path("rock/b.wav"), r"folder has no clip 'rock/b\.wav'"),
    # tags
    "tags that are numbers": (lambda p: tags.counts(TABLE.astype(int)), r"True and False only\. Not bool: rock"),
    "tags named twice": (lambda p: tags.counts(pd.concat([TABLE, TABLE], axis=1)), r"Tags are named twice: rock"),
    "a synonym of two": (
        lambda p: tags.merge(TABLE, {"a": ("rock",), "b": ("rock",)}),
        r"'rock' is a synonym of both 'a'",
    ),
    "too many tags": (lambda p: tags.top(TABLE, 5), r"n must be an int and lie between 1 and .* 1\. Got 5"),
    "unknown vocabulary": (lambda p: tags.vocabulary("law2009"), r"No vocabulary is called 'law2009'"),
    "unknown table": (lambda p: published.table("rotheneder2023_table_9_9"), r"No published table is called"),
    # splits
    "unknown split": (lambda p: songs(p).split("official"), r"folder has no split 'official'\. Known: random, artist"),
    "split of an unknown clip": (lambda p: songs(p).split("random", ids=["x"]), r"folder has no clip 'x'"),
    "shares above one": (
        lambda p: splits.random(STRATA, shares={"a": 0.8, "b": 0.3}, seed=0),
        r"add up to 1\. Got \{'a': 0",
    ),
    "a share of NaN": (
        lambda p: splits.random(STRATA, shares={"a": np.nan, "b": 1.0}, seed=0),
        r"positive numbers that add",
    ),
    "one subset": (lambda p: splits.random(STRATA, shares={"a": 1.0}, seed=0), r"at least two positive numbers"),
    "shares of a fixed split": (
        lambda p: magnatagatune(p).split("official", shares={"a": 0.5, "b": 0.5}),
        r"'official' comes with the data; shares cannot be chosen",
    ),
    "no training subset": (
        lambda p: leakage(pd.Series(["a", "b"]), pd.DataFrame({"artist": ["x", "y"]})),
        r"No clip is in the subset 'train'\. Subsets: a, b",
    ),
    # models, training, evaluation
    "unknown model": (
        lambda p: models.build("resnet", n_outputs=8),
        r"No model is called 'resnet'\. Known: ckn19, pg20",
    ),
    "one class": (
        lambda p: models.build("ckn19", n_outputs=1),
        r"n_outputs of ckn19 must be an int of at least 2\. Got 1",
    ),
    "width zero": (lambda p: models.build("ckn19", n_outputs=2, width=0), r"width must be positive\. Got 0"),
    "width in words": (
        lambda p: models.build("ckn19", n_outputs=2, width="wide"),
        r"width must be positive\. Got 'wide'",
    ),
    "too small an input": (
        lambda p: models.build("pg20", n_outputs=2, input_shape=(32, 64, 1)),
        r"sides of at least \(64, 64, 1\) .* Got \(32, 64, 1\)",
    ),
    "unequal numbers": (lambda p: training.fit(tiny(), X, Y[:3]), r"x has 4 examples, y has 3"),
    "no examples": (lambda p: training.fit(tiny(), X[:0], Y[:0]), r"There are no examples"),
    "no validation examples": (
        lambda p: training.fit(tiny(), X, Y, validation=(X[:0], Y[:0])),
        r"no validation examples",
    ),
    "NaN labels": (lambda p: training.fit(tiny(), X, Y * np.nan), r"y holds NaN"),
    "no epochs": (lambda p: training.fit(tiny(), X, Y, epochs=0), r"epochs must be a positive int\. Got 0"),
    "negative rate": (
        lambda p: training.fit(tiny(), X, Y, learning_rate=-1),
        r"learning_rate must be positive\. Got -1",
    ),
    "best without validation": (lambda p: training.fit(tiny(), X, Y), r"best_by='val_accuracy' needs validation data"),
    "best by a typo": (
        lambda p: training.fit(tiny(), X, Y, epochs=1, best_by="acuracy"),
        r"best_by='acuracy' is no column .*There are: .*accuracy",
    ),
    "decay zero": (lambda p: training.constant_then_exponential(decay=0), r"decay positive\. Got hold=10, decay=0"),
    "share of two": (lambda p: splits.choose_groups(np.arange(4), share=2, seed=0), r"share must lie between 0 and 1"),
    "one group": (lambda p: splits.choose_groups(np.zeros(4), share=0.2, seed=0), r"at least two\. Got 1"),
    "no scores": (lambda p: evaluation.genre_metrics([], np.zeros((0, 2))), r"same length above 0\. Got 0 and 0"),
    "unequal scores": (lambda p: evaluation.genre_metrics([0], np.zeros((2, 2))), r"same length above 0\. Got 1 and 2"),
    "frames without clip": (lambda p: evaluation.vote(np.zeros((3, 2)), np.zeros(2)), r"Got \(3, 2\) and \(2,\)"),
    "level of 95": (lambda p: evaluation.bootstrap(len, [0], level=95), r"level must lie in \(0, 1\).*Got level=95"),
    "batches of none": (
        lambda p: evaluation.predict(None, X, batch_size=0),
        r"batch_size must be a positive int\. Got 0",
    ),
    # parameters of a run
    "a misspelt parameter": (lambda p: parameters(p, "epoch: 3"), r"epoch.*epochs"),
    "a misspelt override": (lambda p: parameters(p, overrides={"ratte": 0.2}), r"ratte.*rate"),
    "text for a number": (lambda p: parameters(p, "epochs: many"), r"epochs must be a whole number .*Got 'many'"),
    "a fraction for a count": (lambda p: parameters(p, "epochs: 2.0"), r"epochs must be a whole number .*Write 2"),
    "YAML's 1e-3": (lambda p: parameters(p, "rate: 1e-3"), r"rate must be a number .*write 1\.0e-3"),
    "true in quotes": (lambda p: parameters(p, 'wide: "true"'), r"wide must be true or false .*without quotes"),
    "not a number": (lambda p: parameters(p, "rate: .nan"), r"rate must be a finite number"),
    "a list at the top": (lambda p: parameters(p, "- epochs"), r"must hold lines 'name: value'\. Got a list"),
    "an empty file of parameters": (lambda p: parameters(p, ""), r"02_train\.yaml: is empty"),
    "broken YAML": (lambda p: parameters(p, "epochs: [3"), r"02_train\.yaml: is no valid YAML"),
    "set twice": (lambda p: parameters(p, "epochs: 3\nepochs: 4"), r"'epochs' is set twice"),
    "no literal": (lambda p: parameters(p, cell="epochs = 3 * x"), r"'epochs' must be a literal"),
    "workers zero": (lambda p: runs.map(len, ["a"], workers=0), r"workers must be a positive int or None\. Got 0"),
}


def test_there_are_many_kinds():
    assert len(BAD) >= 30


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_refused_with_its_reason(kind, tmp_path):
    call, message = BAD[kind]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        call(tmp_path)

"""Tables, JSON, YAML and arrays that are too large, too wide, too deep, in another encoding, or damaged."""

import io
import json
import time
import zipfile

import numpy as np
import pandas as pd
import pytest
from support import hostile, mutations, tones

from musictools import annotation, datasets, familiarity, files, released, runs
from musictools.concepts import storing
from musictools.explain.attribution.explanation import Explanation
from musictools.models.card import ModelCard
from musictools.runs import settings


def labels(folder, content):
    (folder / "labels.csv").write_bytes(content)
    return datasets.load("folder", data_dir=folder)


# --- Tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"path,genre" + b",x" * 10**6 + b"\n", r"Its first line has more columns, at most 10,000 are read"),
        (b"path,genre" + b"," * 20_000 + b"\n", r"Its first line has 20,002 columns, at most 10,000 are read"),
        ("path,genre\na.mp3,Jazz für Ö\n".encode("latin-1"), r"not a comma separated table \('utf-8' codec can't"),
        ("path,genre\na.mp3,rock\n".encode("utf-16"), r"not a comma separated table \('utf-8' codec can't"),
        (b"path,genre\na.mp3,rock\nb,c,d,e\n", r"\(Error tokenizing data\. C error: Expected 2 fields in line 3"),
        (b'path,genre\na.mp3,"rock\n', r"not a comma separated table \(Error tokenizing data"),
    ],
    ids=["a million columns", "20,000 columns", "latin-1", "utf-16", "ragged", "open quote"],
)
def test_tables_that_are_none(tmp_path, content, words):
    began = time.process_time()
    with pytest.raises(ValueError, match=rf"labels\.csv: .*{words}") as caught:
        labels(tmp_path, content)
    assert "\n" not in str(caught.value)
    assert time.process_time() - began < 2


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    assert list(labels(tmp_path, "path,genre\na.mp3,rock\n".encode("utf-8-sig")).genres) == ["rock"]
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf" + tones.card("tags").model_dump_json().encode())
    assert ModelCard.read(tmp_path / "a.json") == tones.card("tags")


def test_answers_in_a_wide_file(tmp_path):
    (tmp_path / "answers.csv").write_bytes(b"," * 10**7)
    with pytest.raises(ValueError, match=r"answers\.csv: not a table of answers\. Its first line has more columns"):
        annotation.Session(tmp_path / "answers.csv", pd.DataFrame({"clip": ["a"], "tag": "b"}))


# --- JSON and YAML ----------------------------------------------------------------------------------------------------

DEEP = b"[" * 100_000
READERS = {"a.json": ModelCard.read, "02_a.ipynb": runs.parameters, "a.yaml": settings.read_yaml}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "content",
    [DEEP, b'{"a":' * 100_000, b"\xff\xfe{\x00}\x00", b"\x00", b"9" * 10_000],
    ids=["lists", "mappings", "utf-16", "zero", "digits"],
)
def test_deep_and_odd_texts_are_sentences(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:
        READERS[name](path)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("cells", [[1, 2], {"a": 1}, None, [{"metadata": 3}], [{"metadata": {"tags": ["parameters"]}}]])
def test_cells_that_are_none(tmp_path, cells):
    (tmp_path / "02_a.ipynb").write_text(json.dumps({"cells": cells}))
    with pytest.raises(ValueError, match=r"02_a\.ipynb is no readable notebook"):
        runs.parameters(tmp_path / "02_a.ipynb")


@pytest.mark.parametrize(("name", "size"), [("a.json", 2**26 + 1), ("a.yaml", 2**18 + 1), ("02_a.ipynb", 2**26 + 1)])
def test_large_texts_are_refused_before_they_are_read(tmp_path, name, size):
    with (tmp_path / name).open("wb") as file:
        file.truncate(size)
    with pytest.raises(ValueError, match=rf"{name}: has {size:,} bytes, more than the {size - 1:,} allowed"):
        READERS[name](tmp_path / name)


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS, r"aliases \(\*name\) are not read.* line 2"),
        ("a: !!python/object/apply:os.system [ls]\n", r"could not determine a constructor for the tag"),
        ("a: 2024-13-45\n", r"month must be in 1\.\.12"),
        ("a: 1\nb: 2\na: 3\n", r"'a' is set twice"),
        ("- " * 5000, "is no valid YAML"),
    ],
)
def test_yaml_that_grows_or_calls_is_refused(tmp_path, text, words):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"a\.yaml: is no valid YAML .*{words}" if "valid" not in words else words):
        settings.read_yaml(tmp_path / "a.yaml")
    with pytest.raises(ValueError, match=r"-p a=.*no valid YAML"):
        settings.from_command_line("a=[&x 1, *x]")


def test_many_names_do_not_take_the_square_of_their_time(tmp_path):
    (tmp_path / "a.yaml").write_text("".join(f"n{k}: 1\n" for k in range(20_000)))
    began = time.process_time()
    assert len(settings.read_yaml(tmp_path / "a.yaml")) == 20_000
    assert time.process_time() - began < 15


def test_a_long_value_is_not_shown_whole(tmp_path):
    with pytest.raises(ValueError, match="must be a whole number") as caught:
        settings.fitting("x" * 10**5, 3, where="epochs")
    assert len(str(caught.value)) < 400


# --- Arrays -----------------------------------------------------------------------------------------------------------


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def bomb(size):
    """An .npz of a thousandth of the size that it unpacks to."""
    buffer = io.BytesIO()
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (size,)})
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("mean.npy", "w") as file:
        file.write(head.getvalue())
        for _ in range(0, size, 2**20):
            file.write(bytes(2**20))
    return buffer.getvalue()


def find(path):
    return familiarity.find(None, path.with_name("a.keras"))


@pytest.mark.parametrize("read", [files.read_npz, storing.load, Explanation.load, find])
def test_archives_that_unpack_to_any_size_are_refused_at_once(tmp_path, monkeypatch, read):
    path = tmp_path / "a.familiarity.npz"
    path.write_bytes(bomb(2**27))
    assert path.stat().st_size < 2**18
    monkeypatch.setattr(files.read_npz, "__kwdefaults__", {"max_bytes": 2**26})
    monkeypatch.setattr(np, "load", None)  # nothing may be unpacked
    with pytest.raises(ValueError, match=r"a\.familiarity\.npz: .*have 134,\d+,\d+ bytes, more than the 67,108,864"):
        read(path)


def test_the_declared_size_of_ten_gigabytes_is_refused_within_a_second(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(mutations.declared(npz(a=np.zeros(10**5)), size=2**32 - 1))
    began = time.process_time()
    with pytest.raises(ValueError, match=r"a\.npz: its arrays have 4,294,967,295 bytes, more than"):
        files.read_npz(path)
    assert time.process_time() - began < 1


def test_a_pickle_in_an_archive_is_not_read(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([print], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npz: not an \.npz file \(Object arrays cannot be loaded"):
        files.read_npz(tmp_path / "a.npz")


def test_names_outside_the_archive_write_nothing(tmp_path):
    parts = [("../out.npy", b"x"), ("/tmp/out.npy", b"x")]
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "a.npz").write_bytes(mutations.archived(parts))
    with pytest.raises(ValueError, match="not an .npz file"):
        files.read_npz(tmp_path / "a" / "a.npz")
    assert [p.name for p in tmp_path.rglob("*")] == ["a", "a.npz"]


@pytest.mark.parametrize("order", "<>")
def test_characters_that_do_not_exist_are_refused(tmp_path, order):
    whole = np.array(["a", "\U0010ffff"]).astype(f"{order}U1")
    np.savez(tmp_path / "a.npz", name=whole)
    assert files.read_npz(tmp_path / "a.npz")["name"].tolist() == ["a", "\U0010ffff"]
    numbers = np.array([97, 0x110000], f"{order}u4")
    np.savez(tmp_path / "a.npz", name=numbers.view(f"{order}U1"))
    with pytest.raises(ValueError, match=r"a\.npz: not an \.npz file \(name holds characters that do not exist"):
        files.read_npz(tmp_path / "a.npz")


def test_another_file_than_the_published_one_never_reaches_hdf5(tmp_path, monkeypatch):
    monkeypatch.setattr("h5py.File", lambda *arguments: pytest.fail("opened"))
    (tmp_path / "model.hdf5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(1000))
    with pytest.raises(ValueError, match=r"model\.hdf5: not the file that the authors of choi2018 published"):
        released.add("choi2018", tmp_path / "model.hdf5")


def test_names_that_look_like_numbers_are_names(tmp_path):
    head = "clip_id\ttrack_number\ttitle\tartist\talbum\turl\tsegmentStart\tsegmentEnd\n"
    (tmp_path / "clip_info_final.csv").write_text(head + "2\t1\t1999\t311\t13\thttp\t0\t29\n")
    (tmp_path / "annotations_final.csv").write_text("clip_id\trock\tmp3_path\n2\t1\t0/a.mp3\n")
    data = datasets.load("magnatagatune", data_dir=tmp_path)
    assert data.tracks.loc[2, ["artist", "album", "title", "track"]].tolist() == [
        "311",
        "13",
        "1999",
        "311 / 13 / 1 1999",
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mean": np.zeros(3)}, r"their shapes are \(3,\), \(8, 8\)"),
        ({"mean": np.array(["a"] * 8)}, "they are no numbers"),
        ({"distances": np.zeros((2, 2))}, "their shapes are"),
        ({"mean": None}, "mean"),
    ],
)
def test_statistics_that_do_not_fit_are_refused(change, words):
    arrays = {"mean": np.zeros(8), "whitening": np.eye(8), "distances": np.zeros(40), "what": np.array("songs")}
    content = npz(**{k: v for k, v in (arrays | change).items() if v is not None})
    with pytest.raises(ValueError, match=rf"No statistics of reference clips \(.*{words}"):
        familiarity.Reference.from_bytes(content)
    assert familiarity.Reference.from_bytes(npz(**arrays)).what == "songs"


def test_whole_files_of_all_kinds_are_read(tmp_path):
    """What the tests with changed files start from; those that need TensorFlow are in the fuzz test."""
    for name, kind in hostile.kinds(tmp_path / "whole", only=["wav"]).items():
        for content in kind.originals:
            path = hostile.Kind(kind.name, [content], lambda content, rng: content, kind.read, kind.beside).make(
                tmp_path / "case", np.random.default_rng(1)
            )
            try:
                kind.read(path)
            except ValueError as error:
                pytest.fail(f"{name}: {error}")


def test_changed_json_stays_json_most_of_the_time():
    content = json.dumps({"a": [1, {"b": "c"}], "d": None}).encode()
    made = [mutations.of_json(content, np.random.default_rng(k)) for k in range(50)]
    parsed = 0
    for one in made:
        try:
            json.loads(one)
            parsed += 1
        except (ValueError, RecursionError):
            pass
    assert parsed > 25
    assert len(set(made)) > 25

"""Files are written completely or not at all, read within limits, and only from inside their folder."""

import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from musictools import datasets, files


def test_atomic_writing_is_all_or_nothing(tmp_path):
    path = tmp_path / "new" / "model.keras"
    with files.atomic(path) as temporary:
        temporary.write_text("old")
        assert temporary.suffix == ".keras"
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), files.atomic(path) as temporary:
        temporary.write_text(f"half {1 / 0}")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_stale_temporary_files_go_and_living_ones_stay(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".tmp-{ended.pid}-a.csv").touch()
    (tmp_path / f".tmp-{os.getpid()}-b.csv").touch()
    files.remove_stale(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f".tmp-{os.getpid()}-b.csv"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    place = tmp_path / "new" / "maps"
    with files.atomic_folder(place) as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("whole")
        assert not place.exists()

    def half():
        with files.atomic_folder(tmp_path / "half") as temporary:
            temporary.mkdir()
            (temporary / "a").write_text(f"half {1 / 0}")

    with pytest.raises(ZeroDivisionError):
        half()
    assert (place / "a").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert [path.name for path in place.parent.iterdir()] == ["maps"]


def test_the_folder_that_is_there_first_stays(tmp_path):
    with files.atomic_folder(tmp_path / "a") as temporary:
        temporary.mkdir()
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "first").touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["first"]
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_stale_temporary_folders_go_and_living_ones_stay(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".tmp-{ended.pid}-a.zarr" / "inner").mkdir(parents=True)
    (tmp_path / f".tmp-{ended.pid}-a.zarr" / f".tmp-{ended.pid}-b").touch()
    (tmp_path / f".tmp-{os.getpid()}-b.zarr").mkdir()
    files.remove_stale(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f".tmp-{os.getpid()}-b.zarr"]


@pytest.mark.parametrize("relative", ["a.mp3", "rock/a.mp3", "rock/..a/b...mp3", "a b/ü.mp3", "./a.mp3"])
def test_paths_inside_a_folder_are_taken(tmp_path, relative):
    assert files.inside(tmp_path, relative) == tmp_path / relative


@pytest.mark.parametrize(
    "relative",
    [
        "",
        "/etc/passwd",
        "../a.mp3",
        "rock/../../a.mp3",
        "..",
        "C:\\a.mp3",
        "c:a.mp3",
        "\\\\server\\a.mp3",
        "rock\\..\\..\\a.mp3",
    ],
)
def test_paths_that_leave_the_folder_are_refused(tmp_path, relative):
    with pytest.raises(ValueError, match=r"must be relative and stay in its folder, without '\.\.'"):
        files.inside(tmp_path, relative)


@pytest.mark.parametrize("path", ["../secret.wav", "/etc/passwd"])
def test_tables_of_data_sets_name_no_files_outside(tmp_path, path):
    (tmp_path / "labels.csv").write_text(f"path,genre\n{path},rock\n")
    with pytest.raises(ValueError, match=r"folder.*: clip .*: .* must be relative and stay in its folder"):
        datasets.load("folder", data_dir=tmp_path)
    columns = "clip_id\ttrack_number\ttitle\tartist\talbum\turl\tsegmentStart\tsegmentEnd\toriginal_url\tmp3_path\n"
    (tmp_path / "clip_info_final.csv").write_text(columns + f"2\t1\ta\tb\tc\tu\t0\t29\to\t{path}\n")
    (tmp_path / "annotations_final.csv").write_text(f"clip_id\trock\tmp3_path\n2\t1\t{path}\n")
    with pytest.raises(ValueError, match=r"magnatagatune.*: clip '2': .* must be relative and stay in its folder"):
        datasets.load("magnatagatune", data_dir=tmp_path)


def npy(shape, data=b"", dtype="|u1"):
    """Bytes of an array whose header claims `shape`."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def test_arrays_are_read_as_they_were_saved(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=np.arange(5), text=np.array("x"))
    arrays = files.read_npz(tmp_path / "a.npz")
    assert arrays["a"].tolist() == [0, 1, 2, 3, 4]
    assert str(arrays["text"]) == "x"


def test_a_small_file_of_large_arrays_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.npz"
    np.savez_compressed(bomb, a=np.zeros(10**7, np.uint8))
    assert bomb.stat().st_size < 20_000
    monkeypatch.setattr(np, "load", lambda *a, **k: pytest.fail("the arrays were unpacked"))
    with pytest.raises(ValueError, match=r"bomb.npz: its arrays have 10,000,\d+ bytes, .* 1,000,000 allowed"):
        files.read_npz(bomb, max_bytes=10**6)


@pytest.mark.parametrize("member", [npy((10**15,)), npy((3,), b"ab"), npy((1,), b"12345678", "|O"), b"no array"])
def test_arrays_that_are_not_what_they_claim_are_refused(tmp_path, member):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", member)
    with pytest.raises(ValueError, match=r"a.npz: not an .npz file"):
        files.read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"PK\3\4 torn", b"no archive at all"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a.npz: not an .npz file"):
        files.read_npz(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"none.npz: not an .npz file"):
        files.read_npz(tmp_path / "none.npz")


def test_fingerprints_follow_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(bytes(10_000))
    (tmp_path / "b").write_bytes(bytes(5_000) + b"x" + bytes(4_999))
    (tmp_path / "c").write_bytes(bytes(10_000))
    prints = [files.fingerprint(tmp_path / name) for name in "abc"]
    assert prints[0] == prints[2] != prints[1]
    assert files.fingerprint(tmp_path / "none") == "absent"

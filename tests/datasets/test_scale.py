"""What large data sets need: work that grows with the number of clips, counted in calls instead of seconds."""

import hashlib
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pandas as pd
import pytest
import soundfile

from musictools import audio, datasets, files, runs, spectrograms
from musictools.datasets import base
from musictools.spectrograms import ArrayStore, FrontEnd, Segments

SR, FRONT_END = 8000, FrontEnd(8000, 256, 128, 16)


def tones(folder, n, *, empty=()):
    """A data set of `n` short tones, some of them empty files."""
    names = [f"{k:03d}.wav" for k in range(n)]
    folder.mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(names):
        soundfile.write(folder / name, 0.1 * np.sin(np.arange(1600) * (1 + k) / 100), SR)
        if k in empty:
            (folder / name).write_bytes(b"")
    tracks = pd.DataFrame(
        {"artist": "a", "album": "", "title": names, "path": names}, pd.Index(range(n), name="clip_id")
    )
    words = pd.DataFrame({"loud": True}, tracks.index)
    data = datasets.Dataset(folder, tracks=tracks, tags=words, genres=words, descriptors=words[[]])
    data.name = "tones"
    return data


def slow_checksum(data):
    digest = hashlib.sha256(data.name.encode())
    for clip_id, path in data.tracks["path"].items():
        digest.update(f"{clip_id} {path} {files.fingerprint(data.folder / path)};".encode())
    return digest.hexdigest()


@pytest.fixture
def remembers(monkeypatch, tmp_path):
    """Checksums of files are remembered although these have just been written; returns the folder."""
    monkeypatch.setenv("MUSICTOOLS_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(base, "_SETTLED", -1.0)
    return runs.data_home() / "checksums"


def test_a_remembered_checksum_reads_no_file_and_asks_for_each_once(remembers, monkeypatch, tmp_path):
    data = tones(tmp_path / "songs", 12)
    assert data.checksum() == slow_checksum(data)
    assert len(list(remembers.iterdir())) == 1
    expected, asked, stat = slow_checksum(data), [], os.stat
    monkeypatch.setattr(files, "fingerprint", lambda path: pytest.fail("read again"))
    monkeypatch.setattr(base.os, "stat", lambda path, **options: asked.append(str(path)) or stat(path, **options))
    assert data.checksum() == expected
    assert sorted(path for path in asked if path.endswith(".wav")) == [str(path) for path in data.paths().values()]


def test_a_file_that_was_replaced_unnoticeably_is_noticed(remembers, tmp_path):
    data = tones(tmp_path / "songs", 3)
    before, path = data.checksum(), data.path(1)
    state, content = path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    assert data.checksum() == slow_checksum(data) != before


@pytest.mark.parametrize("content", [b"", b"0" * 63, b"g" * 64, b"\xff" * 64])
def test_a_damaged_memory_of_a_checksum_is_not_believed(remembers, tmp_path, content):
    data = tones(tmp_path / "songs", 2)
    data.checksum()
    (memory,) = remembers.iterdir()
    memory.write_bytes(content)
    assert data.checksum() == slow_checksum(data) == memory.read_text()


def test_files_that_may_still_be_written_are_not_remembered(monkeypatch, tmp_path):
    monkeypatch.setenv("MUSICTOOLS_DATA", str(tmp_path / "home"))
    data = tones(tmp_path / "songs", 2)
    assert data.checksum() == slow_checksum(data)
    assert not (tmp_path / "home" / "checksums").exists()


def test_a_checksum_is_right_where_nothing_can_be_remembered(remembers, tmp_path):
    remembers.parent.mkdir()
    remembers.write_text("a file where the folder should be")
    data = tones(tmp_path / "songs", 2)
    assert data.checksum() == slow_checksum(data)
    data.path(0).unlink()
    assert data.checksum() == slow_checksum(data)  # "absent"


def test_tables_are_hashed_in_parts_as_at_once(monkeypatch, tmp_path):
    data = tones(tmp_path, 7)
    whole = hashlib.sha256(data.name.encode())
    for table in (data.tracks, data.tags, data.genres):
        whole.update(pd.util.hash_pandas_object(table.astype(str), index=True).to_numpy().tobytes())
    monkeypatch.setattr(base, "_ROWS", 3)
    assert data.tables_checksum == whole.hexdigest()


def test_paths_of_many_clips_are_those_of_each(tmp_path):
    data = tones(tmp_path, 5)
    assert data.paths() == {k: data.path(k) for k in range(5)}
    assert list(data.paths([3, 1])) == [3, 1]
    with pytest.raises(ValueError, match="tones has no clip 9"):
        data.paths([1, 9])


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../a.mp3", "a/../../b.mp3", "a\\..\\b.mp3", "C:a.mp3", "C:/a.mp3", "\\\\host\\a.mp3", ".."]
)
def test_paths_that_leave_the_folder_are_refused(path):
    tracks = pd.DataFrame({"artist": "a", "album": "", "title": "", "path": ["0/good.mp3", path]})
    with pytest.raises(ValueError, match="clip '1': .* must be relative and stay in its folder"):
        datasets.Dataset("songs", tracks=tracks, tags=tracks, genres=tracks, descriptors=tracks)


@pytest.mark.parametrize(
    "index",
    [3, np.int64(-2), slice(2, 9, 3), slice(None, None, -2), slice(4, 4), [5, 0, 5], np.array([7, -1]), [],
     np.arange(12) % 5 == 0, np.array(6)],
    ids=repr,
)  # fmt: skip
def test_segments_are_indexed_as_arrays_are(index):
    S = np.arange(3 * 4 * 40, dtype=np.uint8).reshape(3, 4, 40)
    segments = Segments(ArrayStore(S, ["a", "b", "c"]), ["a", "b", "c"], length=10, step=10)
    whole = np.stack([S[k, :, start : start + 10] for k in range(3) for start in range(0, 40, 10)])[..., None]
    expected = whole[np.asarray(index, int) if index == [] else index] if isinstance(index, list) else whole[index]
    if isinstance(index, np.ndarray) and index.ndim == 0:
        expected = expected[None]  # as before: an array of numbers gives an array of segments
    np.testing.assert_array_equal(segments[index], expected.astype(np.float32) / 255)


def test_segments_beyond_the_last_are_refused():
    segments = Segments(ArrayStore(np.zeros((1, 4, 40), np.uint8), ["a"]), ["a"], length=10, step=10)
    for index in (4, -5, np.array([0, 4]), [9]):
        with pytest.raises(IndexError):
            segments[index]


def test_empty_files_are_left_out_in_words_and_tried_in_this_process(monkeypatch, tmp_path):
    data = tones(tmp_path / "songs", 20, empty=(4, 17))
    store = spectrograms.open_store(data, FRONT_END, folder=tmp_path, workers=2)
    assert store.ids == [k for k in range(20) if k not in (4, 17)]
    assert set(store.failed) == {4, 17}
    assert store.failed[17].endswith("017.wav: the file is empty (0 bytes).")
    data = tones(tmp_path / "others", 20, empty=(17,))
    spectrograms.open_store(data, FRONT_END, folder=tmp_path, workers=2)
    loaded, load = [], audio.load
    monkeypatch.setattr(audio, "load", lambda path, **options: loaded.append(path) or load(path, **options))
    monkeypatch.setattr(audio, "duration", lambda path: pytest.fail("all files are asked for their length"))
    spectrograms.open_store(data, FRONT_END, folder=tmp_path, workers=2)
    assert loaded == [str(data.path(17))]


COUNT = """
    import json, sys
    from collections import Counter
    from pathlib import Path

    sys.path.insert(0, sys.argv[1])
    import test_scale
    from musictools import spectrograms
    from musictools.datasets import base

    base._SETTLED = -1.0
    opened, folder = [], Path(sys.argv[2])
    sys.addaudithook(lambda event, given: event == "open" and opened.append(str(given[0])))
    for n in (32, 96):
        data = test_scale.tones(folder / f"songs{n}", n)
        counts = []
        for call in ("build", "open"):
            opened.clear()
            store = spectrograms.open_store(data, test_scale.FRONT_END, folder=folder / str(n), workers=1)
            own = Counter(Path(path).name for path in opened if path.startswith(str(store.folder)))
            counts.append({
                "sounds": sum(path.endswith(".wav") for path in opened),
                "group": sum(path == str(store.folder / "zarr.json") for path in opened),
                "files": sum(own.values()),
            })
        print(json.dumps(counts + [len(list(store.folder.rglob("*"))), len(store)]))
"""


def test_a_finished_store_is_opened_with_as_many_files_for_any_number_of_clips(tmp_path):
    """Building looks at the group's attributes, which name all clips, equally often; each row is one file."""
    command = [sys.executable, "-c", textwrap.dedent(COUNT), os.path.dirname(__file__), str(tmp_path)]
    environment = os.environ | {"MUSICTOOLS_DATA": str(tmp_path / "home")}
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    (few, few_open, few_files, n_few), (many, many_open, many_files, n_many) = map(json.loads, printed.splitlines())
    assert (n_few, n_many) == (32, 96)
    assert few_open == many_open
    assert few_open["sounds"] == 0
    assert few["group"] == many["group"]
    assert many_files - few_files == 64 + 4  # rows, and blocks of 16 of them

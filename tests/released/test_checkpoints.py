"""Checkpoints of PyTorch are read without PyTorch, and what is no state dict of tensors is refused in words."""

import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from support.checkpoint_files import legacy, zipped

from musictools.released import checkpoints

ARRAYS = {
    "weight": np.arange(24, dtype=np.float32).reshape(4, 6),
    "count": np.array(7, np.int64),
    "half": np.array([1.5, -2], np.float16),
    "flag": np.array([True, False]),
    "none": np.zeros((0, 3), np.float64),
}
FORMATS = {"legacy": legacy, "zip": zipped}


@pytest.fixture
def refused(tmp_path):
    """Read content that must be refused; return the message."""

    def read(content):
        path = tmp_path / "model.pth"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"model\.pth: ") as caught:
            checkpoints.read(path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return read


@pytest.mark.parametrize("kind", FORMATS)
def test_arrays_come_back(kind, tmp_path):
    (tmp_path / "model.pth").write_bytes(FORMATS[kind](ARRAYS))
    state = checkpoints.read(tmp_path / "model.pth")
    assert list(state) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert state[name].dtype == array.dtype
        np.testing.assert_array_equal(state[name], array)
        assert state[name].flags.writeable


@pytest.mark.parametrize("kind", FORMATS)
def test_views_of_a_storage_come_back(kind, tmp_path):
    whole = np.arange(24, dtype=np.float32)
    content = FORMATS[kind]({"w": whole}, offset=7, shape=(2, 3), strides=(2, 6))
    (tmp_path / "model.pth").write_bytes(content)
    state = checkpoints.read(tmp_path / "model.pth")
    np.testing.assert_array_equal(state["w"], whole.reshape(4, 6)[1:4, 1:5:2].T)


class Malicious:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("hidden", [Malicious(), OrderedDict(weight=Malicious()), [print]])
def test_code_is_refused_and_not_executed(kind, protocol, hidden, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(FORMATS[kind]({}, state=pickle.dumps(hidden, protocol)))
    name = r"builtins.print" if isinstance(hidden, list) else f"{os.system.__module__}.system"
    assert f"the file contains code ({name})" in message.replace("__builtin__", "builtins")
    assert message.endswith("is not read.")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("state", "words"),
    [
        (pickle.dumps([1, 2], 2), "holds no state dict but list"),
        (pickle.dumps({"epoch": 3}, 2), "entry 'epoch' is no tensor"),
        (pickle.dumps({3: "x"}, 2), "entry '3' is no tensor"),
        (pickle.dumps({"x": 1.5}, 2), "more than the tensors of a state dict (BINFLOAT)"),
        (pickle.dumps(bytearray(9), 5), "more than the tensors of a state dict"),
    ],
)
def test_other_pickles_are_refused(kind, state, words, refused):
    assert words in refused(FORMATS[kind]({}, state=state))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 2**31 - 1}, "storage 0"),  # not allocated
        ({"size": -1}, "a storage is described in an unknown way"),
        ({"shape": (5, 6)}, "exceeds its storage of 24"),
        ({"shape": (2**30, 2**30), "strides": (0, 0)}, "exceeds its storage of 24"),
        ({"offset": 1}, "exceeds its storage of 24"),
        ({"offset": -1}, "impossible shape"),
        ({"shape": (24,)}, "impossible shape"),
        ({"strides": (-6, 1)}, "impossible shape"),
        ({"storage": "Double"}, "storage 0"),
    ],
)
def test_impossible_tensors_are_refused(kind, options, words, refused):
    assert words in refused(FORMATS[kind]({"weight": ARRAYS["weight"]}, **options))


@pytest.mark.parametrize("kind", FORMATS)
def test_no_file_that_is_cut_off_anywhere_is_read(kind, refused):
    content = FORMATS[kind](ARRAYS)
    for end in [0, 1, 2, 100, *range(10, len(content), 37), len(content) - 1]:
        assert "no checkpoint of PyTorch, or damaged or cut off" in refused(content[:end])


def test_damaged_files_are_refused_or_give_arrays(tmp_path):
    """Whatever byte is changed, nothing but a sentence or arrays comes out."""
    rng, path, read = np.random.default_rng(0), tmp_path / "model.pth", 0
    for make in FORMATS.values():
        content = np.frombuffer(make(ARRAYS), np.uint8)
        for place in rng.choice(len(content), 300, replace=False):
            changed = content.copy()
            changed[place] ^= rng.integers(1, 256, dtype=np.uint8)
            path.write_bytes(changed.tobytes())
            try:
                state = checkpoints.read(path)
            except ValueError:
                continue
            assert all(isinstance(array, np.ndarray) for array in state.values())
            read += 1
    assert 0 < read < 600


def test_other_files_are_refused(refused, tmp_path, monkeypatch):
    assert "no checkpoint" in refused(b"GIF89a")
    assert "no checkpoint" in refused(legacy(ARRAYS, magic=3))
    assert "big-endian" in refused(legacy(ARRAYS, little=False))
    assert "compressed" in refused(zipped(ARRAYS, compression=zipfile.ZIP_DEFLATED))
    assert "object number" in refused(legacy({}, state=b"\x80\x02}r\xff\xff\xff\xff."))
    with pytest.raises(ValueError, match="absent: no such file"):
        checkpoints.read(tmp_path / "absent")
    monkeypatch.setattr(checkpoints, "_LARGEST", 10)
    assert "bytes, more than the 10 allowed" in refused(legacy(ARRAYS))

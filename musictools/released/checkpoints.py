"""Checkpoints of PyTorch, read without PyTorch: the arrays of a state dict, and nothing else.

A checkpoint is a pickle, and a pickle can call any function of Python. Here only the few operations and names are
allowed that a state dict of tensors needs; everything else is refused before anything is executed. Both formats are
read: the one before PyTorch 1.6 (pickles one after the other, then the numbers) and the zip archive since.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

__all__ = ["read"]

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # first two pickles of the older format
_LARGEST = 2**30  # bytes of a file
_TYPES = {
    "FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
    "ShortStorage": "<i2", "CharStorage": "i1", "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
_NAMES = {"collections.OrderedDict", "torch._utils._rebuild_tensor_v2", *(f"torch.{name}" for name in _TYPES)}
_OPERATIONS = {
    "PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID", "NONE", "NEWTRUE", "NEWFALSE", "BININT",
    "BININT1", "BININT2", "LONG1", "BINUNICODE", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2",
    "TUPLE3", "APPEND", "APPENDS", "SETITEM", "SETITEMS", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET",
}  # fmt: skip


class _Storage(NamedTuple):
    """A place for numbers that the pickle names: type, key, how many."""

    dtype: np.dtype
    key: str
    size: int


class _Tensor(NamedTuple):
    """A view of a storage, as the arguments of `_rebuild_tensor_v2`."""

    storage: _Storage
    offset: int
    shape: tuple
    strides: tuple


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Read the state dict in a checkpoint.

    Parameters
    ----------
    path : str or Path
        What ``torch.save(model.state_dict(), path)`` wrote, in either format.

    Returns
    -------
    state : dict of str to np.ndarray
        The same arrays as those of ``torch.load(path, weights_only=True)``.

    Raises
    ------
    ValueError
        If there is no such file, it is damaged or cut off, holds code or anything but tensors, or is larger than 1 GiB.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file.")
    if path.stat().st_size > _LARGEST:
        raise ValueError(f"{path}: has {path.stat().st_size:,} bytes, more than the {_LARGEST:,} allowed.")
    content = path.read_bytes()
    try:
        return _zipped(content) if content.startswith(b"PK") else _legacy(content)
    except _Refused as error:
        raise ValueError(f"{path}: {error}, and is not read.") from None
    # What pickle, pickletools, zipfile and numpy raise for damaged files.
    except (
        ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError, RuntimeError, MemoryError,
        pickle.UnpicklingError, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        raise ValueError(f"{path}: no checkpoint of PyTorch, or damaged or cut off ({error}).") from None


class _Refused(Exception):
    """The file holds what a state dict does not need."""


def _legacy(content):
    stream = io.BytesIO(content)
    magic, protocol, system = (_unpickle(stream) for _ in range(3))
    if (magic, protocol) != (_MAGIC, _PROTOCOL):
        raise ValueError("it does not begin as one")
    if system.get("little_endian") is not True:
        raise ValueError("its numbers are big-endian")
    tensors = _tensors(_unpickle(stream))
    storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
    numbers = {}
    for key in _unpickle(stream):
        size = int(np.frombuffer(stream.read(8), "<i8")[0])
        storage = storages[key]
        if size != storage.size:
            raise ValueError(f"storage {key} has {size} numbers instead of {storage.size}")
        numbers[key] = _numbers(stream.read(size * storage.dtype.itemsize), storage)
    return {name: _array(tensor, numbers) for name, tensor in tensors.items()}


def _zipped(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
            raise ValueError("its parts are compressed")  # never by PyTorch, and they could unpack to any size
        if "byteorder" in members and archive.read(members["byteorder"]) != b"little":
            raise ValueError("its numbers are big-endian")
        tensors = _tensors(_unpickle(io.BytesIO(archive.read(members["data.pkl"]))))
        storages = {tensor.storage.key: tensor.storage for tensor in tensors.values()}
        numbers = {key: _numbers(archive.read(members[f"data/{key}"]), storage) for key, storage in storages.items()}
    return {name: _array(tensor, numbers) for name, tensor in tensors.items()}


def _unpickle(stream):
    """Read one pickle, after checking that it holds nothing but allowed operations and names."""
    start, length = stream.tell(), len(stream.getbuffer())
    operations, names, texts = set(), set(), []
    for operation, argument, _ in pickletools.genops(stream):
        operations.add(operation.name)
        if operation.name in ("GLOBAL", "INST"):
            names.add(argument.replace(" ", "."))
        elif operation.name == "STACK_GLOBAL":
            names.add(".".join(texts[-2:]))
        elif isinstance(argument, str):
            texts.append(argument)
        elif operation.name == "LONG_BINPUT" and argument > length:  # Python would make room for as many objects
            raise ValueError(f"object number {argument}")
    if names - _NAMES:
        raise _Refused(f"the file contains code ({min(names - _NAMES)})")
    if operations - _OPERATIONS:
        raise _Refused(f"the file contains more than the tensors of a state dict ({min(operations - _OPERATIONS)})")
    end = stream.tell()
    stream.seek(start)
    return _Unpickler(io.BytesIO(stream.read(end - start))).load()


class _Unpickler(pickle.Unpickler):
    """Makes descriptions of tensors from the few names that `_unpickle` lets pass."""

    def find_class(self, module, name):
        if name == "OrderedDict":
            return OrderedDict
        return name if name in _TYPES else lambda *arguments: _Tensor(*arguments[:4])

    def persistent_load(self, pid):
        kind, name, key, _, size, *view = pid
        known = kind == "storage" and isinstance(key, str) and type(size) is int and size >= 0
        if not known or any(view):  # views of storages are older than PyTorch 0.4
            raise ValueError("a storage is described in an unknown way")
        return _Storage(np.dtype(_TYPES[name]), key, size)


def _tensors(state):
    if not isinstance(state, dict):
        raise _Refused(f"the file holds no state dict but {type(state).__name__}")
    if other := [name for name, value in state.items() if not (isinstance(name, str) and isinstance(value, _Tensor))]:
        raise _Refused(f"the file's entry {str(other[0])[:80]!r} is no tensor")
    return dict(state)


def _numbers(content, storage):
    if len(content) != storage.size * storage.dtype.itemsize:
        raise ValueError(f"storage {storage.key} has {len(content)} bytes")
    return np.frombuffer(content, storage.dtype)


def _array(tensor, numbers):
    """Copy what a tensor shows of its storage."""
    storage, offset, shape, strides = tensor
    if len(shape) != len(strides) or any(type(n) is not int or n < 0 for n in (offset, *shape, *strides)):
        raise ValueError("a tensor has an impossible shape")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    if prod(shape) > storage.size or (prod(shape) and last >= storage.size):
        raise ValueError(f"a tensor of shape {tuple(shape)} exceeds its storage of {storage.size} numbers")
    values, itemsize = numbers[storage.key][offset:], storage.dtype.itemsize
    return np.lib.stride_tricks.as_strided(values, shape, [step * itemsize for step in strides]).copy()

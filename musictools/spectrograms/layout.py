"""How a spectrogram store lies on disk: a zarr group whose attributes describe it, levels, and a list of its rows.

The group's arrays are ``S`` (rows x bins x frames; none for waveforms) and ``rows`` (frames and checksum of every row,
0 where it is absent). Each chunk is one file. ``rows.bin`` repeats ``rows`` as of the end of the last build, and
``failed.json`` says why rows are absent. Attributes, rows and both lists of rows have
checksums; what is damaged counts as absent, with a warning. `store` computes and reads what lies here.
"""

from __future__ import annotations

import hashlib
import json
import warnings
import zlib
from contextlib import contextmanager, suppress

import numpy as np

from musictools import files
from musictools.spectrograms.frontends import FrontEnd

VERSION = 3  # of the format; raise it whenever stored values mean something else

ROWS = 16  # rows that one worker makes at a time and then marks as complete
LIST = "rows.bin"  # frames and checksums of all rows as of the end of the last build, so that opening takes no time
_CHUNK = 2048  # frames of a chunk at most: 33 s at 16 kHz and a hop of 256 samples


def described(folder):
    """Group and attributes of a store, which are checked if they are of this version."""
    import zarr

    try:
        group = zarr.open_group(folder, mode="r", zarr_format=3)
        known = dict(group.attrs)
        if known.get("version") == VERSION:
            bins = FrontEnd.from_json(known["front_end"]).n_bins
            shapes = [(len(known["ids"]), 2), (len(known["ids"]), bins, known["columns"])]
            if [group[name].shape for name in ("rows", "S") if name in group] != shapes[: 1 + known["levels"]]:
                raise ValueError("arrays are missing or of another shape")
            if known.pop("checksum") != _checksum(known):
                raise ValueError("its attributes do not fit their checksum")
    except (ValueError, TypeError, AttributeError, LookupError, FileNotFoundError) as error:  # zarr's and our own
        raise ValueError(
            f"{folder}: the description of the store is damaged ({error}). SpectrogramStore.build and open_store build "
            "it again."
        ) from error
    return group, known


def _checksum(attributes):
    return hashlib.sha256(json.dumps(attributes, sort_keys=True).encode()).hexdigest()


def create(folder, paths, front_end, seconds):
    """Make the empty store if it is not there; return the frames of every row so far."""
    import zarr

    if not paths:
        raise ValueError("No clips to make spectrograms of.")
    attributes = {
        "version": VERSION,
        "front_end": front_end.to_json(),
        "ids": list(paths),
        "columns": front_end.n_frames(round(seconds * front_end.sr)),
        "levels": front_end.kind != "waveform",
    }
    if folder.is_dir() and any(folder.iterdir()) and not _usable(folder, attributes):
        files.remove_folder(folder)
    if not (folder / "zarr.json").is_file():
        source = hashlib.sha256(" ".join(files.fingerprint(path) for path in paths.values()).encode()).hexdigest()
        attributes |= {"source": source, "seconds": float(seconds)}
        with files.atomic_folder(folder) as temporary:
            group = zarr.open_group(temporary, mode="w", attributes=attributes | {"checksum": _checksum(attributes)})
            # Frames and checksum of every row. The codec finds damage in this list itself.
            packed = (zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec())
            flat = {"name": "default", "separator": "."}  # one file per chunk, without two folders around it
            shape = (len(paths), 2)
            options = {"dtype": "uint32", "fill_value": 0, "compressors": packed, "chunk_key_encoding": flat}
            group.create_array("rows", shape=shape, chunks=(ROWS, 2), **options)
            if attributes["levels"]:
                shape = (len(paths), front_end.n_bins, attributes["columns"])
                chunks = (1, shape[1], min(shape[2], _CHUNK))
                options |= {"dtype": "uint8", "compressors": packed[:1]}
                group.create_array("S", shape=shape, chunks=chunks, **options)
    return read_rows(folder, zarr.open_group(folder, mode="r")["rows"])[:, 0]


def _usable(folder, attributes):
    """Whether the store in a folder can be completed, or may be removed; stores of something else are refused."""
    if not (folder / "zarr.json").is_file():
        if not (folder / "rows" / "zarr.json").is_file():
            raise ValueError(f"{folder}: is neither empty nor a spectrogram store. Choose another folder.")
        warnings.warn(f"{folder}: the description of the store is missing. The store is built again.", stacklevel=5)
        return False
    try:
        _, there = described(folder)
    except ValueError as error:
        warnings.warn(str(error), stacklevel=5)
        return False
    if any(there.get(name) != attributes[name] for name in ("ids", "front_end")):
        raise ValueError(f"{folder}: holds spectrograms of other clips or another front end.")
    if there.get("version") != VERSION:
        warnings.warn(
            f"{folder}: a store of format {there.get('version', 1)}. It is built again in format {VERSION}.",
            stacklevel=5,
        )
        return False
    if there["columns"] != attributes["columns"]:
        raise ValueError(f"{folder}: holds rows of another length. Choose another folder.")
    return True


def blocks(n):
    """Rows that one worker makes at a time, as ranges."""
    return [range(start, min(start + ROWS, n)) for start in range(0, n, ROWS)]


def read_rows(folder, rows):
    """Frames and checksum of every row, 0 where it is absent."""
    try:
        content = (folder / LIST).read_bytes()
        if len(content) == 4 + 8 * rows.shape[0] and zlib.crc32(content[4:]) == int.from_bytes(content[:4], "little"):
            return np.frombuffer(content[4:], "<u4").astype(np.uint32).reshape(-1, 2)
    except FileNotFoundError:  # the last build was not completed
        pass
    return _read_blocks(rows)


def list_rows(folder):
    """Write the list of rows that `read_rows` reads."""
    import zarr

    content = _read_blocks(zarr.open_group(folder, mode="r")["rows"]).astype("<u4").tobytes()
    with files.atomic(folder / LIST) as temporary:
        temporary.write_bytes(zlib.crc32(content).to_bytes(4, "little") + content)


def _read_blocks(rows):
    """Entries of all rows; a damaged block counts as absent, so that the next build makes its rows again."""
    with suppress(ValueError, RuntimeError):  # the codec's
        return rows[:]
    return np.concatenate([_read_block(rows, block) for block in blocks(rows.shape[0])])


def _read_block(rows, block):
    with suppress(ValueError, RuntimeError):
        return rows[block.start : block.stop]
    warnings.warn(
        f"{str(rows.store_path).removeprefix('file://')}: entries {block.start} to {block.stop - 1} are damaged. Their "
        "rows are computed again.",
        stacklevel=6,
    )
    return np.zeros((len(block), 2), np.uint32)


def remove_partial(folder):
    """Remove what a killed build left: zarr writes beside a chunk and then renames."""
    for path in folder.rglob("*.partial"):
        path.unlink()


def write_row(folder, S, row, values):
    """Write the levels of a row."""
    for k in range(-(-S.shape[2] // S.chunks[2])):  # a chunk that is there may be damaged: zarr would read it first
        (folder / "S" / f"c.{row}.0.{k}").unlink(missing_ok=True)
    S[row, :, : values.shape[1]] = values


@contextmanager
def naming(folder):
    """Let an error of the system, such as a full disk, name the store."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, folder) from None


def read_failures(folder):
    """Why rows are absent, by their number as text."""
    try:
        return json.loads((folder / "failed.json").read_text())
    except (OSError, ValueError):  # it only says why rows are absent
        return {}

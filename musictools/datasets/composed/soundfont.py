"""The General MIDI bank, repaired for symusic's synthesizer.

symusic 0.5.9 ignores the SoundFont generator *overridingRootKey*: in a bank that relies on it (as TimGM6mb does) most
instruments then sound at a wrong pitch, up to two octaves off. It remembers what it read from a sample, so that
programs with a sample in common sound like whichever came first, and it reads beyond the end of samples that loop to
their end; both make two runs differ. Here the bank that pretty_midi installs is read; root keys move to sample headers,
which the synthesizer does obey; loops are kept off the end of their sample; low-pass filters, which can become
unstable, are opened; and every program has a synthesizer of its own. The sound samples themselves are not touched. The
synthesizer knows neither velocity nor release; `rendering` sees to these.
"""

from __future__ import annotations

import functools
import importlib.util
import pathlib
import struct
import tempfile

import numpy as np

__all__ = ["bank_path", "play", "repaired"]

ROOT_KEY, SAMPLE, FILTER_CUTOFF = 58, 53, 8  # generator numbers of the SoundFont 2.01 standard
RENDER_SR = 32000  # twice the corpus rate: the synthesizer rounds loops to whole samples, which detunes high notes
OPEN_CUTOFF = 13500  # the SoundFont standard's value for "no filter", in absolute cents
LOOP_MARGIN = 4  # samples
HEADER = np.dtype(
    [("name", "S20"), ("points", "<u4", 4), ("rate", "<u4"), ("root", "u1"), ("cents", "i1"), ("link", "<u4")]
)
GENERATOR = np.dtype([("code", "<u2"), ("value", "<i2")])
ZONE = np.dtype([("generator", "<u2"), ("modulator", "<u2")])


def bank_path() -> pathlib.Path:
    """Return the path of the General MIDI bank that pretty_midi installs.

    Returns
    -------
    path : pathlib.Path

    Raises
    ------
    FileNotFoundError
        If pretty_midi or its bank is not installed.
    """
    spec = importlib.util.find_spec("pretty_midi")
    path = pathlib.Path(spec.origin).parent / "TimGM6mb.sf2" if spec else None
    if path is None or not path.is_file():
        raise FileNotFoundError("The composed corpus needs TimGM6mb.sf2 of pretty_midi. Install pretty_midi >= 0.2.10.")
    return path


def _chunks(data, start, stop):
    """Yield (name, position, size) of the RIFF chunks between two positions."""
    while start < stop:
        name, size = struct.unpack_from("<4sI", data, start)
        yield name, start + 8, size
        start += 8 + size + size % 2


def _tables(data):
    """Return {name: (position, size)} of the bank's tables."""
    lists = [(at, size) for name, at, size in _chunks(data, 12, len(data)) if name == b"LIST"]
    return {name: (at, n) for start, size in lists for name, at, n in _chunks(data, start + 4, start + size)}


def _own_headers(zones, generators, headers):
    """Point every zone of `generators` (changed in place) to a sample header with that zone's root key."""
    known, new = {}, list(headers[:-1])
    for first, last in zip(zones["generator"][:-1], zones["generator"][1:], strict=True):
        zone = generators[first:last]
        value = dict(zip(zone["code"].tolist(), zone["value"].tolist(), strict=True))
        if value.get(ROOT_KEY, -1) < 0 or SAMPLE not in value:
            continue
        key = value[SAMPLE], value[ROOT_KEY]
        if key not in known:
            known[key] = len(new)
            header = headers[key[0]].copy()
            header["root"] = key[1]
            new.append(header)
        zone["value"][zone["code"] == SAMPLE] = known[key]
    return np.array([*new, headers[-1]], dtype=HEADER)


def _safe_loops(headers):
    """Move loops that reach their sample's end to the left, in place: the synthesizer reads beyond them."""
    points = headers["points"].astype(np.int64)  # start, end, start of the loop, end of the loop
    over = np.clip(points[:, 3] + LOOP_MARGIN - points[:, 1], 0, np.maximum(points[:, 2] - points[:, 0], 0))
    points[:, 2:] -= over[:, None]
    headers["points"] = points.astype(np.uint32)


def repaired(data: bytes) -> bytes:
    """Return a SoundFont whose zones' root keys stand in the sample headers.

    Parameters
    ----------
    data : bytes
        A SoundFont 2 file whose last table is the sample headers, as is usual.

    Returns
    -------
    repaired : bytes
        The same bank, playable by symusic at the right pitch.
    """
    tables = _tables(data)
    kinds = {b"igen": GENERATOR, b"ibag": ZONE, b"shdr": HEADER}
    read = {name: np.frombuffer(data[at : at + n], kinds[name]) for name, (at, n) in tables.items() if name in kinds}
    generators = read[b"igen"].copy()
    headers = _own_headers(read[b"ibag"], generators, read[b"shdr"])
    _safe_loops(headers)
    generators["value"][generators["code"] == FILTER_CUTOFF] = OPEN_CUTOFF
    at, size = tables[b"shdr"]
    out = bytearray(data[: at - 4]) + struct.pack("<I", headers.nbytes) + headers.tobytes()
    out[tables[b"igen"][0] : sum(tables[b"igen"])] = generators.tobytes()
    last, last_size = [(at, size) for _, at, size in _chunks(data, 12, len(data))][-1]
    struct.pack_into("<I", out, last - 4, last_size + headers.nbytes - size)
    struct.pack_into("<I", out, 4, len(out) - 8)
    return bytes(out)


@functools.lru_cache(maxsize=1)
def _bank():
    """Return the repaired bank's bytes."""
    return repaired(bank_path().read_bytes())


@functools.lru_cache(maxsize=8)
def synthesizer(program, is_drum):
    """Return symusic's synthesizer at `RENDER_SR` for one program alone: it mixes up programs that share a sample."""
    import symusic

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "bank.sf2"
        path.write_bytes(_bank())
        return symusic.Synthesizer(sf_path=str(path), sample_rate=RENDER_SR, quality=0)


def play(program: int, pitch: int, seconds: float, *, is_drum: bool = False) -> np.ndarray:
    """Render one note at full velocity.

    Parameters
    ----------
    program : int in [0, 127]
        General MIDI program, or drum kit if `is_drum`.
    pitch : int in [0, 127]
        MIDI pitch, or drum.
    seconds : float > 0
        Length of the note.
    is_drum : bool
        Play the percussion bank.

    Returns
    -------
    y : np.ndarray [shape=(RENDER_SR * seconds,), float32]
        Mono sound at `RENDER_SR`; not finite where the synthesizer fails.
    """
    import symusic

    track = symusic.Track("", program, is_drum, ttype="second")
    track.notes.append(symusic.Note(0.0, seconds, pitch, 100, ttype="second"))
    score = symusic.Score(ttype="second")
    score.tracks.append(track)
    return np.asarray(synthesizer(program, is_drum).render(score, stereo=True)).mean(axis=0, dtype=np.float32)

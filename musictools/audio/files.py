"""Audio files in and out.

MP3, FLAC, OGG, WAV and AU are decoded by libsndfile, everything else by ffmpeg where it is installed. Resampling is
soxr's, high quality. Every error names the file and the cause; all of them are `AudioError`, a `ValueError`.
"""

import os
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np

from musictools.audio.chatter import silenced
from musictools.files import atomic

__all__ = ["MAX_SAMPLES", "SOUNDFILE_SUFFIXES", "AudioError", "duration", "load", "resample", "write"]

SOUNDFILE_SUFFIXES = {".mp3", ".flac", ".ogg", ".oga", ".opus", ".wav", ".au", ".snd", ".aif", ".aiff"}
FFMPEG_SECONDS = 300
MAX_SAMPLES = 2**28  # of a mono waveform, 1 GiB: 1.7 h at 44.1 kHz; a small file can unpack to any length
_LEAST_RATE = 1000  # Hz, of what is resampled: a header that claims 1 Hz would make a second of every sample
_BLOCK = 2**20  # samples of all channels
_SYSTEM_ERROR = 2  # libsndfile's code of errors of the system


class AudioError(ValueError):
    """An audio file that cannot be used; the message names the file and the cause.

    Examples
    --------
    >>> load("none.mp3")
    Traceback (most recent call last):
        ...
    musictools.audio.files.AudioError: none.mp3: no such file.
    """


def load(path: str | Path, *, sr: int | None = None, min_samples: int = 1) -> tuple[np.ndarray, int]:
    """Decode an audio file to mono.

    A file that breaks off in the middle is decoded as far as possible, with a warning that says how far.

    Parameters
    ----------
    path : str or Path
    sr : int > 0 or None
        Sampling rate of the result in Hz; None keeps the file's own.
    min_samples : int > 0
        Fewest samples (after resampling) that are accepted, for example one frame of a front end.

    Returns
    -------
    y : np.ndarray [shape=(n,), float32]
        Channels averaged.
    sr : int
        Sampling rate of `y` in Hz.

    Raises
    ------
    AudioError
        If the file is missing, empty, not audio, holds NaN or Inf, is too short, has more than `MAX_SAMPLES` samples
        per channel, or needs ffmpeg where there is none.
    ValueError
        If `sr` is neither None nor a positive int.

    See Also
    --------
    duration : Length of a file without decoding it.
    write : Write a waveform.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write(Path(folder) / "tone.wav", np.sin(np.arange(8000) / 5), sr=8000)
    ...     y, sr = load(path, sr=16000)
    >>> y.shape, y.dtype, sr
    ((16000,), dtype('float32'), 16000)
    """
    if sr is not None and (not isinstance(sr, int | np.integer) or sr <= 0):
        raise ValueError(f"sr must be a positive int or None. Got {sr!r}.")
    path = Path(path)
    _check_file(path)
    y, native = _decode(path)
    if y.ndim == 2:
        y = y.mean(axis=1, dtype=np.float32)
    if not np.isfinite(y).all():
        raise AudioError(f"{path}: {np.count_nonzero(~np.isfinite(y))} of {y.size} samples are NaN or Inf.")
    if sr is not None and native != sr:
        _check_resampling(path, y.size, native, sr)
        y = resample(y, orig_sr=native, sr=sr)
    rate = native if sr is None else int(sr)
    if y.size < min_samples:
        raise AudioError(
            f"{path}: too short. It has {y.size} samples ({y.size / rate:.2f} s at {rate} Hz), "
            f"at least {min_samples} ({min_samples / rate:.2f} s) are needed."
        )
    return y, rate


def resample(y: np.ndarray, *, orig_sr: int, sr: int) -> np.ndarray:
    """Resample a waveform with soxr at its high quality.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
    orig_sr, sr : int > 0
        From and to, in Hz.

    Returns
    -------
    y : np.ndarray [shape=(round(n * sr / orig_sr),), float32]

    Examples
    --------
    >>> resample(np.zeros(44100), orig_sr=44100, sr=16000).shape
    (16000,)
    """
    import soxr

    return soxr.resample(np.asarray(y, dtype=np.float32), orig_sr, sr, quality="HQ").astype(np.float32, copy=False)


def duration(path: str | Path) -> float:
    """Length of an audio file in seconds, read from its header where possible.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    seconds : float

    Raises
    ------
    AudioError
        If the file cannot be read.

    See Also
    --------
    load : The samples themselves.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     duration(write(Path(folder) / "tone.wav", np.zeros(4000), sr=8000))
    0.5
    """
    import soundfile

    path = Path(path)
    _check_file(path)
    if path.suffix.lower() in SOUNDFILE_SUFFIXES:
        try:
            with silenced():
                info = soundfile.info(path)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{path}: not an audio file that libsndfile can read ({_reason(error)}).") from None
        if info.samplerate > 0 and 0 <= info.frames <= MAX_SAMPLES:
            return info.frames / info.samplerate
    y, sr = load(path)  # also where the header claims an absurd length
    return y.size / sr


def write(path: str | Path, y: np.ndarray, *, sr: int, overwrite: bool = True) -> Path:
    """Write a mono waveform; the ending chooses the format (wav, flac, ogg, mp3).

    The file is written completely or not at all.

    Parameters
    ----------
    path : str or Path
    y : np.ndarray [shape=(n,)], in [-1, 1]
    sr : int > 0
        Hz.
    overwrite : bool

    Returns
    -------
    path : Path

    Raises
    ------
    AudioError
        If `y` is not mono, empty, not finite or beyond [-1, 1], the format is unknown, or the file exists and
        `overwrite` is False.
    ValueError
        If `sr` is no positive int.

    See Also
    --------
    load : Read a file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write(Path(folder) / "tone.mp3", 0.5 * np.sin(np.arange(16000) / 5), sr=16000).name
    'tone.mp3'
    """
    import soundfile

    path = Path(path)
    y = np.asarray(y, dtype=np.float32)
    if not isinstance(sr, int | np.integer) or sr <= 0:
        raise ValueError(f"sr must be a positive int. Got {sr!r}.")
    if y.ndim != 1 or y.size == 0:
        raise AudioError(f"{path}: a waveform has shape (n,) with n > 0. Got {y.shape}.")
    if not np.isfinite(y).all():
        raise AudioError(f"{path}: the waveform holds NaN or Inf.")
    peak = float(np.abs(y).max())
    if peak > 1:
        raise AudioError(f"{path}: the waveform would clip, its peak is {peak:.3f}. Divide it by its peak first.")
    if path.suffix.lower()[1:] not in {"wav", "flac", "ogg", "mp3"}:
        raise AudioError(f"{path}: unknown format {path.suffix!r}. Known: .wav, .flac, .ogg, .mp3.")
    if path.exists() and not overwrite:
        raise AudioError(f"{path}: exists already.")
    with atomic(path) as temporary:
        try:
            soundfile.write(temporary, y, sr)
        except soundfile.LibsndfileError as error:
            if error.code == _SYSTEM_ERROR:  # such as a full disk: `atomic` names the file
                raise
            raise AudioError(f"{path}: cannot be written at {sr} Hz ({_reason(error)}).") from None
    return path


def _check_file(path):
    if not path.exists():
        raise AudioError(f"{path}: no such file.")
    if path.is_dir():
        raise AudioError(f"{path}: is a folder, not an audio file.")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes).")
    if path.suffix.lower() in {".au", ".snd"}:  # without a header libsndfile takes anything for 8 kHz mu-law
        with path.open("rb") as file:
            if file.read(4) not in (b".snd", b"dns."):
                raise AudioError(f"{path}: not an audio file (it has no AU header).")


def _check_resampling(path, n_samples, native, sr):
    if native < _LEAST_RATE:
        raise AudioError(f"{path}: has a sampling rate of {native} Hz, at least {_LEAST_RATE:,} Hz are needed.")
    if n_samples * sr > MAX_SAMPLES * native:
        raise _too_long(path, MAX_SAMPLES / sr)


def _too_long(path, seconds):
    return AudioError(f"{path}: too long, at most {seconds / 60:.0f} min can be read. Cut it into parts first.")


def _decode(path):
    if path.suffix.lower() in SOUNDFILE_SUFFIXES:
        return _decode_soundfile(path)
    return _decode_ffmpeg(path)


def _decode_soundfile(path):
    import soundfile

    try:
        with silenced():
            y, sr, expected = _read_as_far_as_possible(path)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: not an audio file that libsndfile can read ({_reason(error)}).") from None
    except MemoryError:
        raise AudioError(f"{path}: there is not enough memory for its audio.") from None
    if sr <= 0:
        raise AudioError(f"{path}: has a sampling rate of {sr} Hz.")
    if y.shape[0] == 0:
        raise AudioError(f"{path}: holds no audio, nothing could be decoded.")
    missing = _missing(path, y.shape[0], expected, sr)
    if missing:
        warnings.warn(f"{path}: truncated. {missing}", stacklevel=4)
    return y, sr


def _missing(path, decoded, expected, sr):
    """What the header promised and the file does not hold, in words; empty when all is there."""
    suffix = path.suffix.lower()
    if 0 < expected < 2**62 and decoded < expected and (suffix != ".mp3" or _mp3_tells_length(path)):
        return f"{decoded / sr:.2f} of {expected / sr:.2f} s could be decoded."
    # For the following formats libsndfile reports the frames that are there, not those that were promised.
    if suffix in {".ogg", ".oga", ".opus"} and not _ogg_ends(path):
        return f"{decoded / sr:.2f} s could be decoded, the end of the stream is missing."
    sizes = {".wav": _wav_data_bytes, ".au": _au_data_bytes, ".snd": _au_data_bytes}
    promised, there = sizes[suffix](path) if suffix in sizes else (0, 0)
    if promised > there:
        return f"{decoded / sr:.2f} s could be decoded, {there / promised:.0%} of what the header promises."
    return ""


def _mp3_tells_length(path):
    """Whether the first frame states the length; without that, libsndfile's number of frames is an estimate."""
    with path.open("rb") as file:
        head = file.read(10)
        size = head[6:10] if head[:3] == b"ID3" else bytes(4)
        tag_bytes = sum(byte << 7 * place for byte, place in zip(size, (3, 2, 1, 0), strict=True))
        file.seek(tag_bytes + 10 if tag_bytes else 0)
        frame = file.read(256)
    return any(tag in frame for tag in (b"Xing", b"Info", b"VBRI"))


def _wav_data_bytes(path):
    """(bytes that the data chunk promises, bytes that follow); zeros where the header does not tell."""
    with path.open("rb") as file:
        if file.read(4) == b"RIFF":
            file.seek(12)
            for _ in range(1000):  # a damaged file may consist of empty chunks
                if len(chunk := file.read(8)) < 8:
                    break
                length = int.from_bytes(chunk[4:], "little")
                if chunk[:4] == b"data":
                    return (length, path.stat().st_size - file.tell()) if length < 2**32 - 1 else (0, 0)
                file.seek(length + length % 2, os.SEEK_CUR)
    return 0, 0


def _au_data_bytes(path):
    """As `_wav_data_bytes`, for an AU file."""
    with path.open("rb") as file:
        head = file.read(12)
    order = "big" if head[:4] == b".snd" else "little"
    start, length = (int.from_bytes(head[k : k + 4], order) for k in (4, 8))
    return (length, path.stat().st_size - start) if length < 2**32 - 1 else (0, 0)


def _ogg_ends(path):
    """Whether the last page of an Ogg file is marked as the end of its stream."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**17))  # a page has at most 64 KiB
        tail = file.read()
    last = tail.rfind(b"OggS")
    return 0 <= last < len(tail) - 5 and bool(tail[last + 5] & 4)


def _read_as_far_as_possible(path):
    """(samples, sampling rate, frames that the header promises): all at once; if that breaks, up to the break.

    Long files, and those whose header claims to be long, are read in blocks, and their channels are averaged at once.
    """
    import soundfile

    with soundfile.SoundFile(path) as file:
        sr, expected, channels = file.samplerate, file.frames, file.channels
        long = not 0 <= expected * channels <= MAX_SAMPLES
        try:
            if not long:
                return file.read(dtype="float32"), sr, expected
        except soundfile.LibsndfileError:
            pass  # the file cannot be rewound after this
    for frames in (max(1, _BLOCK // channels), 4096) if long else (4096,):
        blocks, error = _read_blocks(path, frames, mix=long)
        if error is None:
            break
    if not blocks and error is not None:
        raise error
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32), sr, expected


def _read_blocks(path, frames, *, mix):
    """(blocks up to the break or the end, the error there or None); with `mix`, channels are averaged."""
    import soundfile

    blocks, n = [], 0
    with soundfile.SoundFile(path) as file:
        try:
            while len(block := file.read(frames, dtype="float32")):
                blocks.append(block.mean(axis=1, dtype=np.float32) if mix and block.ndim == 2 else block)
                n += len(block)
                if n > MAX_SAMPLES:
                    raise _too_long(path, MAX_SAMPLES / max(file.samplerate, 1))
        except soundfile.LibsndfileError as error:
            return blocks, error
    return blocks, None


def _decode_ffmpeg(path):
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        known = ", ".join(sorted(SOUNDFILE_SUFFIXES))
        raise AudioError(
            f"{path}: {path.suffix or 'a file without ending'} needs ffmpeg, which is not installed. "
            f"Without it: {known}."
        )
    sr = _ffmpeg_rate(path)
    command = [
        ffmpeg,
        "-v",
        "error",
        "-nostdin",
        *_only(path),
        "-map",
        "0:a:0",
        "-ac",
        "1",
        "-ar",
        str(sr),
        "-fs",  # no more bytes than this
        str(4 * (MAX_SAMPLES + 1)),
        "-f",
        "f32le",
        "-",
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=FFMPEG_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise AudioError(f"{path}: ffmpeg did not finish within {FFMPEG_SECONDS} s.") from None
    y = np.frombuffer(done.stdout[: len(done.stdout) // 4 * 4], dtype="<f4").astype(np.float32)
    if y.size > MAX_SAMPLES:
        raise _too_long(path, MAX_SAMPLES / sr)
    complaint = done.stderr.decode(errors="replace").strip().splitlines()
    if y.size == 0:
        reason = complaint[-1] if complaint else "no audio"
        raise AudioError(f"{path}: not an audio file that ffmpeg can read ({reason}).")
    if done.returncode or complaint:
        warnings.warn(f"{path}: truncated or damaged. {y.size / sr:.2f} s could be decoded.", stacklevel=4)
    return y, sr


def _ffmpeg_rate(path, *, default=44100):
    """Native sampling rate by ffprobe, which comes with ffmpeg; 44.1 kHz where it cannot tell."""
    probe = shutil.which("ffprobe")
    if probe is None:
        return default
    command = [
        probe,
        "-v",
        "error",
        "-select_streams",
        "a:0",
        "-show_entries",
        "stream=sample_rate",
        "-of",
        "csv=p=0",
        *_only(path),
    ]
    try:
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        raise AudioError(f"{path}: ffprobe did not finish within 60 s.") from None
    first = done.stdout.decode(errors="replace").strip().splitlines()[:1]
    return int(first[0]) if first and first[0].isdigit() and int(first[0]) > 0 else default


def _only(path):
    """Options of ffmpeg and ffprobe: read this file and nothing else, whatever playlist or address it holds."""
    return ["-protocol_whitelist", "file", "-i", f"file:{path}"]


def _reason(error):
    reason = str(getattr(error, "error_string", error)).rstrip(". ")
    return "Format not recognised" if "does not exist" in reason else reason  # said of an MP3 without a valid frame

"""Audio files in and out.

Conventions
-----------
`y` is mono float32 in [-1, 1], shape (n,); `sr` is in Hz. MP3, FLAC, OGG, WAV and AU are decoded by libsndfile,
everything else by ffmpeg where it is installed. Resampling is soxr's, high quality. Every error names the file
and the cause; all of them are `AudioError`, a `ValueError`.
"""

import os
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np

__all__ = ["AudioError", "duration", "load", "resample", "write"]

SOUNDFILE_SUFFIXES = {".mp3", ".flac", ".ogg", ".oga", ".opus", ".wav", ".au", ".snd", ".aif", ".aiff"}
FFMPEG_SECONDS = 300


class AudioError(ValueError):
    """An audio file that cannot be used; the message names the file and the cause."""


def load(path, *, sr=None, min_samples=1):
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
        If the file is missing, empty, not audio, holds NaN or Inf, is too short, or needs ffmpeg where there is none.
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
        y = resample(y, orig_sr=native, sr=sr)
    rate = native if sr is None else int(sr)
    if y.size < min_samples:
        raise AudioError(
            f"{path}: too short. It has {y.size} samples ({y.size / rate:.2f} s at {rate} Hz), "
            f"at least {min_samples} ({min_samples / rate:.2f} s) are needed."
        )
    return y, rate


def resample(y, *, orig_sr, sr):
    """Resample with soxr, high quality.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
    orig_sr, sr : int > 0
        From and to, in Hz.

    Returns
    -------
    y : np.ndarray [shape=(round(n * sr / orig_sr),), float32]
    """
    import soxr

    return soxr.resample(np.asarray(y, dtype=np.float32), orig_sr, sr, quality="HQ").astype(np.float32, copy=False)


def duration(path):
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
    """
    import soundfile

    path = Path(path)
    _check_file(path)
    if path.suffix.lower() in SOUNDFILE_SUFFIXES:
        try:
            return float(soundfile.info(path).duration)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{path}: not an audio file that libsndfile can read ({_reason(error)}).") from None
    y, sr = load(path)
    return y.size / sr


def write(path, y, *, sr, overwrite=True):
    """Write a mono waveform; the ending chooses the format (wav, flac, ogg, mp3).

    The file appears whole or not at all.

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
        If `y` is not mono, empty, not finite or beyond [-1, 1], the format unknown, or the file there already.
    """
    import soundfile

    path = Path(path)
    y = np.asarray(y, dtype=np.float32)
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
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        soundfile.write(part, y, sr)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _check_file(path):
    if not path.exists():
        raise AudioError(f"{path}: no such file.")
    if path.is_dir():
        raise AudioError(f"{path}: is a folder, not an audio file.")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes).")


def _decode(path):
    if path.suffix.lower() in SOUNDFILE_SUFFIXES:
        return _decode_soundfile(path)
    return _decode_ffmpeg(path)


def _decode_soundfile(path):
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            sr, expected = file.samplerate, file.frames
            y = _read_as_far_as_possible(file)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: not an audio file that libsndfile can read ({_reason(error)}).") from None
    if y.shape[0] == 0:
        raise AudioError(f"{path}: holds no audio, nothing could be decoded.")
    missing = _missing(path, y.shape[0], expected, sr)
    if missing:
        warnings.warn(f"{path}: truncated. {missing}", stacklevel=4)
    return y, sr


def _missing(path, decoded, expected, sr):
    """What the header promised and the file does not hold, in words; empty when all is there."""
    if 0 < expected < 2**62 and decoded < expected:
        return f"{decoded / sr:.2f} of {expected / sr:.2f} s could be decoded."
    if path.suffix.lower() == ".wav":  # libsndfile shortens `frames` to what is there, the chunk size still tells
        promised = _wav_data_bytes(path)
        if promised is not None and promised[0] > promised[1]:
            return f"{decoded / sr:.2f} s could be decoded, {promised[1] / promised[0]:.0%} of what the header promises."
    return ""


def _wav_data_bytes(path):
    """(bytes that the data chunk promises, bytes that follow), or None where there is no plain data chunk."""
    with path.open("rb") as file:
        head = file.read(65536)
    at = head.find(b"data", 12)
    if head[:4] != b"RIFF" or at < 0:
        return None
    promised = int.from_bytes(head[at + 4 : at + 8], "little")
    return (promised, path.stat().st_size - at - 8) if 0 < promised < 2**32 - 1 else None


def _read_as_far_as_possible(file):
    """All frames at once; if that breaks, block by block up to the break."""
    import soundfile

    try:
        return file.read(dtype="float32")
    except soundfile.LibsndfileError:
        blocks = []
        try:
            file.seek(0)
            while len(block := file.read(16384, dtype="float32")):
                blocks.append(block)
        except soundfile.LibsndfileError:
            if not blocks:
                raise
        return np.concatenate(blocks)


def _decode_ffmpeg(path):
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        known = ", ".join(sorted(SOUNDFILE_SUFFIXES))
        raise AudioError(f"{path}: {path.suffix or 'a file without ending'} needs ffmpeg, which is not installed. "
                         f"Without it: {known}.")
    sr = _ffmpeg_rate(path)
    command = [ffmpeg, "-v", "error", "-nostdin", "-i", str(path), "-map", "0:a:0", "-ac", "1", "-ar", str(sr),
               "-f", "f32le", "-"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=FFMPEG_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise AudioError(f"{path}: ffmpeg did not finish within {FFMPEG_SECONDS} s.") from None
    y = np.frombuffer(done.stdout[: len(done.stdout) // 4 * 4], dtype="<f4").astype(np.float32)
    complaint = done.stderr.decode(errors="replace").strip().splitlines()
    if y.size == 0:
        raise AudioError(f"{path}: not an audio file that ffmpeg can read ({complaint[-1] if complaint else 'no audio'}).")
    if done.returncode or complaint:
        warnings.warn(f"{path}: truncated or damaged. {y.size / sr:.2f} s could be decoded.", stacklevel=4)
    return y, sr


def _ffmpeg_rate(path, *, default=44100):
    """Native sampling rate by ffprobe, which comes with ffmpeg; 44.1 kHz where it cannot tell."""
    probe = shutil.which("ffprobe")
    if probe is None:
        return default
    command = [probe, "-v", "error", "-select_streams", "a:0", "-show_entries", "stream=sample_rate",
               "-of", "csv=p=0", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    first = done.stdout.strip().splitlines()[:1]
    return int(first[0]) if first and first[0].isdigit() and int(first[0]) > 0 else default


def _reason(error):
    return str(getattr(error, "error_string", error)).rstrip(". ")

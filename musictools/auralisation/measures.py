"""Measures of sounds, so that not every feature has to be listened to.

All measures are computed from one power spectrogram with Hann windows of 46 ms and a hop of a quarter window. For
silence the level is -120 dB and every other measure is NaN.

- `level_db`: power of the sound relative to that of the clip; without a clip relative to full scale.
- `onset`: share of the energy in sudden rises, in [0, 1]: the sum of all rises of power from one window to the one
  46 ms later, in eight bands of equal width in mel, over the total. 0 for a steady tone, 1 for a single click.
- `onset_correlation`: correlation of librosa's onset strengths of the sound and of the clip.
- `percussive`: share of the power that librosa's harmonic-percussive separation by median filters calls percussive.
- `centroid_hz`, `band_low_hz`, `band_high_hz`: spectral centroid, and the frequencies below which 5 % and 95 % of the
  energy lie.
- `kick`: likeness to a kick drum, in [0, 1]: the share of the energy below 150 Hz, times `onset` of that band alone. 0
  for a low steady tone, which has no onsets, and for a hi-hat, which has no energy there.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["COLUMNS", "clicks_and_tone", "measure", "stem_correlations"]

COLUMNS = ("level_db", "onset", "onset_correlation", "percussive", "centroid_hz", "band_low_hz", "band_high_hz", "kick")
_WINDOW, _OVERLAP = 0.0464, 4  # seconds; windows over every sample
_KICK = 150.0  # Hz
_SILENT = -120.0  # dB


def measure(y: np.ndarray, *, sr: int, clip: np.ndarray | None = None) -> dict[str, float]:
    """Measure a sound.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        The sound.
    sr : int > 0
        Sampling rate in Hz.
    clip : np.ndarray [shape=(n,)] or None
        The clip that the sound was made from.

    Returns
    -------
    numbers : dict of str to float
        `COLUMNS`, as defined at the top of the module; `onset_correlation` is NaN without a clip.

    Raises
    ------
    ValueError
        If `y` is no finite waveform, or the clip has another length.

    Examples
    --------
    >>> clicks, tone = clicks_and_tone(sr=11025)
    >>> {name: round(measure(y, sr=11025)["onset"], 1) for name, y in (("clicks", clicks), ("tone", tone))}
    {'clicks': 1.0, 'tone': 0.0}
    """
    y = _waveform(y, "y")
    if clip is not None and len(_waveform(clip, "clip")) != len(y):
        raise ValueError(f"clip must have the length of y, {len(y)} samples. Got {len(clip)}.")
    power = _power(y, sr)
    against = 1.0 if clip is None else float(np.mean(np.square(clip, dtype=np.float64)))
    level = 10 * np.log10(max(float(np.mean(np.square(y, dtype=np.float64))) / max(against, 1e-12), 1e-12))
    if not power.any() or level <= _SILENT:
        return dict.fromkeys(COLUMNS, np.nan) | {"level_db": _SILENT}
    import librosa

    energy, frequencies = power.sum(axis=1), np.linspace(0, sr / 2, len(power))
    part = np.cumsum(energy) / energy.sum()
    low = frequencies < _KICK
    harmonic, percussive = (np.square(p, dtype=np.float64).sum() for p in librosa.decompose.hpss(np.sqrt(power)))
    return {
        "level_db": level,
        "onset": _rises(power, sr),
        "onset_correlation": np.nan if clip is None else _onset_correlation(y, clip, sr),
        "percussive": float(percussive / (harmonic + percussive)),
        "centroid_hz": float(frequencies @ energy / energy.sum()),
        "band_low_hz": float(frequencies[np.searchsorted(part, 0.05)]),
        "band_high_hz": float(frequencies[np.searchsorted(part, 0.95)]),
        "kick": float(energy[low].sum() / energy.sum()) * _share_of_rises(power[low].sum(axis=0)[None]),
    }


def stem_correlations(
    y: np.ndarray, stems: dict[str, np.ndarray], *, sr: int, clip: np.ndarray | None = None
) -> pd.Series:
    """Correlate a sound with every stem, cell by cell of a mel spectrogram.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        The sound.
    stems : dict of str to np.ndarray [shape=(n,)]
        Stems of its clip.
    sr : int > 0
        Sampling rate of all of them in Hz.
    clip : np.ndarray [shape=(n,)] or None
        The clip that the sound was made from. Its own correlation with the stem is subtracted.

    Returns
    -------
    likeness : pd.Series [stem -> float]
        Correlation of square roots of the amplitudes (64 mel bands), with a clip the gain over the clip's. NaN where a
        sound or a stem is silent.

    Raises
    ------
    ValueError
        If the lengths differ or something is no finite waveform.

    Examples
    --------
    >>> clicks, tone = clicks_and_tone(sr=11025)
    >>> stem_correlations(clicks, {"clicks": clicks, "tone": tone}, sr=11025, clip=clicks + tone) > 0
    clicks     True
    tone      False
    Name: likeness, dtype: bool
    """
    heard = _compressed(_waveform(y, "y"), sr)
    own = None if clip is None else _compressed(_waveform(clip, "clip"), sr)
    values = {}
    for name, stem in stems.items():
        if len(stem) != len(y):
            raise ValueError(f"stem {name!r} must have the length of y, {len(y)} samples. Got {len(stem)}.")
        other = _compressed(_waveform(stem, f"stem {name!r}"), sr)
        values[name] = _correlation(heard, other) - (0.0 if own is None else _correlation(own, other))
    return pd.Series(values, dtype=float, name="likeness")


def clicks_and_tone(
    *, sr: int, seconds: float = 4.0, every: float = 0.5, hertz: float = 1000.0
) -> tuple[np.ndarray, np.ndarray]:
    """Make a click track and a steady tone to test features on: their sum is a clip with known stems.

    Parameters
    ----------
    sr : int > 0
        Sampling rate in Hz.
    seconds, every : float > 0
        Duration, and time from click to click. A click is 2 ms of noise.
    hertz : float > 0
        Frequency of the tone, which fades in and out over a quarter of a second.

    Returns
    -------
    clicks, tone : np.ndarray [shape=(n,), float32]
        With a peak of 0.5 each.

    Examples
    --------
    >>> clicks, tone = clicks_and_tone(sr=8000, seconds=1.0)
    >>> clicks.shape, round(float(np.abs(tone).max()), 3)
    ((8000,), 0.5)
    """
    n, rng = round(seconds * sr), np.random.default_rng(0)
    clicks = np.zeros(n, dtype=np.float32)
    length = max(1, round(0.002 * sr))
    burst = rng.uniform(-0.5, 0.5, length).astype(np.float32)
    burst *= np.float32(0.5 / np.abs(burst).max())
    for start in np.arange(round(every * sr / 2), n - length, round(every * sr)):
        clicks[start : start + length] = burst
    fade = np.clip(np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.25 * sr), 0, 1)
    tone = 0.5 * np.sin(2 * np.pi * hertz * np.arange(n) / sr) * np.sin(np.pi / 2 * fade) ** 2
    return clicks, tone.astype(np.float32)


def _waveform(y, name):
    y = np.asarray(y, dtype=np.float32)
    if y.ndim != 1 or y.size == 0 or not np.isfinite(y).all():
        raise ValueError(f"{name} must be a finite mono waveform of shape (n,), n > 0. Got shape {y.shape}.")
    return y


def _power(y, sr):
    """Power spectrogram, bins x windows."""
    size = 2 * round(_WINDOW * sr / 2)
    padded = np.pad(y, size // 2 + size % 2, mode="constant")
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[:: max(1, size // _OVERLAP)]
    return np.square(np.abs(np.fft.rfft(windows * np.hanning(size + 1)[:-1], axis=1))).T.astype(np.float32)


def _rises(power, sr):
    """Rises in eight bands of equal width in mel, over the total."""
    import librosa

    edges = librosa.mel_frequencies(9, fmin=0, fmax=sr / 2)
    band = np.clip(np.searchsorted(edges, np.linspace(0, sr / 2, len(power)), side="right") - 1, 0, 7)
    return _share_of_rises(np.stack([power[band == k].sum(axis=0) for k in range(8)]))


def _share_of_rises(bands):
    """Sum of the rises over one window's length, over the total."""
    total = float(bands.sum())
    if not total:
        return 0.0
    # Windows overlap: compared with the window one length before, every click counts once.
    before = np.pad(bands, ((0, 0), (_OVERLAP, 0)), mode="edge")[:, : bands.shape[1]]
    return float(np.maximum(bands - before, 0).sum()) / total


def _onset_correlation(y, clip, sr):
    import librosa

    heard, own = (librosa.onset.onset_strength(y=v, sr=sr) for v in (y, clip))
    return _correlation(heard, own)


def _compressed(y, sr):
    import librosa

    return librosa.feature.melspectrogram(y=y, sr=sr, n_fft=1024, hop_length=512, n_mels=64) ** 0.25


def _correlation(a, b):
    a, b = a.ravel() - a.mean(), b.ravel() - b.mean()
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / size if size > 0 else np.nan

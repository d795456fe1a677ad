"""Human-understandable features of songs, as in the radar charts of `sharma2022` (4.2.4).

Echonest gave songs eight features, which `sharma2022` takes from FMA. They cover one of six clips of its small subset,
and how they were computed was never published. `estimate` measures something of the same name in any waveform. These
estimates are *not* Echonest's values: they order songs, and the constants below only fix where 0.5 lies.

What the estimates measure, all of a mono waveform at 22.05 kHz (S is a mel spectrogram of 64 bands):

| feature | estimate |
|---|---|
| tempo | peak of the autocorrelation of the onset strength with a prior around 120 bpm (Ellis 2007; librosa), in bpm |
| danceability | pulse clarity, the height of that peak (Lartillot et al. 2008), and closeness of the tempo to 120 bpm |
| energy | level, onsets per second, spectral flatness |
| acousticness | little percussive energy (Fitzgerald 2010), few high frequencies, wide dynamics |
| instrumentalness | little energy that glides and trembles as voices do (two windows; Tachibana et al. 2014) |
| speechiness | modulation of the bands around 4 Hz, many frames far below the mean level (Scheirer and Slaney 1997) |
| valence | major rather than minor key (profiles of Krumhansl and Kessler 1982), and tempo |
| liveness | flat spectrum in the quietest tenth of the frames, as the noise of an audience has |

There is no data here on which liveness could be tested. `musictools.experiments.song_features` compares the others with
what is known of songs.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pandas as pd

from musictools import audio, runs
from musictools.datasets import Dataset
from musictools.datasets.fma import FEATURES

__all__ = ["FEATURES", "estimate", "on_unit_scale", "table"]

SLOWEST, FASTEST = 40.0, 220.0  # bpm, the ends of a radar chart's axis
SR, N_FFT, HOP, N_MELS = 22050, 2048, 512, 64

_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def estimate(y: np.ndarray, *, sr: int) -> pd.Series:
    """Estimate the eight features of a waveform; see the module for what is measured.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        At least 1 s.
    sr : int > 0
        Sampling rate in Hz.

    Returns
    -------
    features : pd.Series [feature -> value]
        In [0, 1], tempo in beats per minute. NaN for silence.

    Raises
    ------
    ValueError
        If `y` is no mono waveform of at least 1 s.

    Examples
    --------
    >>> clicks = np.zeros(22050 * 10)
    >>> clicks[:: 22050 // 2] = 1  # two a second
    >>> bool(abs(estimate(clicks, sr=22050)["tempo"] - 120) < 5)
    True
    """
    y = np.asarray(y, np.float32)
    if y.ndim != 1 or y.size < sr or not np.isfinite(y).all():
        raise ValueError(f"y must be a finite mono waveform of at least 1 s ({sr} samples). Got shape {y.shape}.")
    if not np.any(y):
        return pd.Series(np.nan, index=list(FEATURES), name="estimated")
    sound = _Sound(y if sr == SR else audio.resample(y, orig_sr=sr, sr=SR))
    values = {
        "acousticness": 1 - np.mean([sound.percussive, sound.bright, 1 - sound.dynamic]),
        "danceability": np.mean([sound.pulse, np.exp(-2 * np.log2(sound.tempo / 120) ** 2)]),
        "energy": np.mean([sound.loud, sound.busy, sound.noisy]),
        "instrumentalness": 1 - sound.voiced,
        "liveness": sound.noisy_pauses,
        "speechiness": np.sqrt(sound.syllables * sound.pauses),
        "tempo": sound.tempo,
        "valence": np.mean([sound.major, _unit(sound.tempo, 70, 150)]),
    }
    return pd.Series(values, name="estimated", dtype=float)[list(FEATURES)]


def table(data: Dataset, ids: Sequence | None = None, *, workers: int | None = None) -> pd.DataFrame:
    """The eight features of the songs of a data set: Echonest's where there are any, else estimates.

    Parameters
    ----------
    data : Dataset
        Its attribute `echonest`, where it has one (FMA), is used first.
    ids : sequence of clip id or None
        None: all clips.
    workers : int > 0 or None
        As in `musictools.runs.map`.

    Returns
    -------
    table : pd.DataFrame [clip id x features]
        The columns `FEATURES`, and ``source``: "echonest", "estimated", or "" with NaN for clips that have neither
        because their audio is missing or unreadable.

    Examples
    --------
    >>> table(datasets.load("composed"), [1, 2])["source"].unique()  # doctest: +SKIP
    array(['estimated'], dtype=object)
    """
    ids = list(data.tracks.index if ids is None else ids)
    known = getattr(data, "echonest", pd.DataFrame(columns=list(FEATURES), dtype=float)).dropna()
    known = known[known.index.isin(ids)]
    rest = [clip_id for clip_id in ids if clip_id not in known.index] if data.has_audio else []
    rows = runs.map(functools.partial(_of_clip, data), rest, workers=workers, description="features of songs")
    made = pd.DataFrame(rows, index=pd.Index(rest, name=data.tracks.index.name), columns=list(FEATURES))
    source = pd.Series("estimated", made.index).where(made.notna().any(axis=1), "")
    made, known = made.assign(source=source), known.assign(source="echonest")
    both = pd.concat([part for part in (known, made) if len(part)]) if len(known) or len(made) else made
    return both.reindex(pd.Index(ids, name=data.tracks.index.name)).fillna({"source": ""})


def on_unit_scale(features: pd.DataFrame) -> pd.DataFrame:
    """Scale tempo to [0, 1] like the other features, for radar charts: 0 is 40 bpm, 1 is 220 bpm.

    Parameters
    ----------
    features : pd.DataFrame
        From `table`.

    Returns
    -------
    scaled : pd.DataFrame [same rows, `FEATURES`]

    Examples
    --------
    >>> on_unit_scale(pd.DataFrame({name: [0.5] for name in FEATURES} | {"tempo": [130.0]}))["tempo"].tolist()
    [0.5]
    """
    tempo = ((features["tempo"] - SLOWEST) / (FASTEST - SLOWEST)).clip(0, 1)
    return features[list(FEATURES)].assign(tempo=tempo)


def _of_clip(data, clip_id):
    try:
        y, sr = data.audio(clip_id, sr=SR)
        return estimate(y, sr=sr)
    except ValueError:  # damaged, missing or too short
        return pd.Series(np.nan, index=list(FEATURES))


def _harmonic_share(y, n_fft):
    """Share of the energy between 200 and 4000 Hz that is more continuous over 17 frames than over 17 bins."""
    import librosa
    from scipy.ndimage import median_filter

    frequencies = librosa.fft_frequencies(sr=SR, n_fft=n_fft)
    amplitude = np.abs(librosa.stft(y, n_fft=n_fft, hop_length=n_fft // 4))[(frequencies > 200) & (frequencies < 4000)]
    harmonic = median_filter(amplitude, (1, 17)) > median_filter(amplitude, (17, 1))
    return float(np.sum(amplitude**2, where=harmonic) / max(np.sum(amplitude**2), 1e-12))


def _unit(value, low, high):
    """Logistic function: 0.12 at `low`, 0.5 halfway, 0.88 at `high`."""
    return float(1 / (1 + np.exp(-4 * (value - (low + high) / 2) / (high - low))))


class _Sound:
    """Measurements of one waveform at `SR`; properties are in [0, 1] but for `tempo`."""

    def __init__(self, y):
        import librosa

        power = np.abs(librosa.stft(y, n_fft=N_FFT, hop_length=HOP)) ** 2
        self._mel = librosa.feature.melspectrogram(S=power, sr=SR, n_mels=N_MELS)
        self._decibels = librosa.power_to_db(self._mel, ref=1.0, top_db=None, amin=1e-8)
        self._flatness = 10 * np.log10(librosa.feature.spectral_flatness(S=power, power=1.0)[0])
        self._level = 10 * np.log10(self._mel.sum(axis=0) + 1e-8)
        self._onsets = librosa.onset.onset_strength(S=self._decibels, sr=SR, hop_length=HOP)
        self._chroma = librosa.feature.chroma_stft(S=power, sr=SR, norm=None).sum(axis=1)
        self._rms = 10 * np.log10(np.mean(np.square(y, dtype=np.float64)) + 1e-12)
        self._y, self._seconds = y, len(y) / SR

    @functools.cached_property
    def tempo(self):
        import librosa

        return float(librosa.feature.tempo(onset_envelope=self._onsets, sr=SR, hop_length=HOP)[0])

    @functools.cached_property
    def pulse(self):
        """Height of the autocorrelation's highest peak between 40 and 220 bpm."""
        strength = self._onsets - self._onsets.mean()
        n = len(strength)
        correlation = np.correlate(strength, strength, "full")[n - 1 :]
        lags = slice(round(60 / FASTEST * SR / HOP), round(60 / SLOWEST * SR / HOP) + 1)
        unbiased = correlation[lags] * n / (n - np.arange(n)[lags])
        return _unit(unbiased.max(initial=0) / max(correlation[0], 1e-12), 0.1, 0.6)

    @functools.cached_property
    def percussive(self):
        """Share of the energy that is more continuous over frequency than over time."""
        from scipy.ndimage import median_filter

        amplitude = np.sqrt(self._mel)
        harmonic, percussive = median_filter(amplitude, (1, 17)), median_filter(amplitude, (11, 1))
        share = np.sum(percussive**2) / max(np.sum(percussive**2 + harmonic**2), 1e-12)
        return _unit(share, 0.05, 0.5)

    @functools.cached_property
    def bright(self):
        """Energy above 4 kHz beside all, in dB."""
        import librosa

        high = librosa.mel_frequencies(n_mels=N_MELS, fmax=SR / 2) > 4000
        mean = self._mel.mean(axis=1)
        return _unit(10 * np.log10((mean[high].sum() + 1e-10) / (mean.sum() + 1e-10)), -35, -10)

    @functools.cached_property
    def dynamic(self):
        """Standard deviation of the level over 0.5 s, in dB."""
        n = round(0.5 * SR / HOP)
        level = np.convolve(10 ** (self._level / 10), np.full(n, 1 / n), "valid")
        return _unit(np.std(10 * np.log10(level + 1e-8)), 1, 6)

    @functools.cached_property
    def loud(self):
        return _unit(self._rms, -32, -10)

    @functools.cached_property
    def busy(self):
        import librosa

        onsets = librosa.onset.onset_detect(onset_envelope=self._onsets, sr=SR, hop_length=HOP)
        return _unit(len(onsets) / self._seconds, 1, 6)

    @functools.cached_property
    def noisy(self):
        return _unit(np.mean(self._flatness), -50, -15)

    @functools.cached_property
    def voiced(self):
        """Fluctuating harmonic energy between 200 and 4000 Hz: shares of long and of short windows, in nepers.

        A voice glides and trembles. In windows of 0.4 s that looks percussive, in windows of 0.05 s harmonic, while
        drums are percussive and held tones harmonic in both.
        """
        long = 1 - _harmonic_share(self._y, 8192)
        return _unit(np.log(long + 1e-6) + np.log(_harmonic_share(self._y, 1024) + 1e-6), -1.7, -0.85)

    @functools.cached_property
    def noisy_pauses(self):
        quiet = self._level <= np.quantile(self._level, 0.1)
        return _unit(np.mean(self._flatness[quiet]), -50, -10)

    @functools.cached_property
    def syllables(self):
        """Share of the bands' modulation between 0.5 and 20 Hz that lies at 3 to 6 Hz."""
        bands = np.sqrt(self._mel)
        spectrum = np.abs(np.fft.rfft(bands - bands.mean(axis=1, keepdims=True), axis=1)) ** 2
        rates = np.fft.rfftfreq(bands.shape[1], HOP / SR)
        middle, whole = (rates >= 3) & (rates <= 6), (rates >= 0.5) & (rates <= 20)
        return _unit(spectrum[:, middle].sum() / max(spectrum[:, whole].sum(), 1e-12), 0.1, 0.4)

    @functools.cached_property
    def pauses(self):
        """Share of frames whose amplitude is below half of its mean over 1 s."""
        n = min(round(SR / HOP), len(self._level))
        amplitude = 10 ** (self._level / 20)
        return _unit(np.mean(amplitude < 0.5 * np.convolve(amplitude, np.full(n, 1 / n), "same")), 0.05, 0.4)

    @functools.cached_property
    def major(self):
        """Correlation of the chroma with the best major key, less that with the best minor key."""
        best = [
            max(np.corrcoef(self._chroma, np.roll(profile, key))[0, 1] for key in range(12))
            for profile in (_MAJOR, _MINOR)
        ]
        return _unit(np.nan_to_num(best[0]) - np.nan_to_num(best[1]), -0.3, 0.3)

"""Evidence to hear: relevance becomes a mask, the mask a sound, and the sound is given back to the model.

Conventions
-----------
`mask` holds amplitude factors in [0, 1], on the cells of the front end, shape (n_mels, n_frames), or on FFT bins,
shape (n_fft // 2 + 1, n_frames); frame j is centred at sample j * hop_length. The mask of a waveform has shape (1, n).
Only positive relevance is evidence. `y` is at the front end's sampling rate. Evidence and rest have its length, keep
its phase and add up to it.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from musictools.spectrograms import FrontEnd

__all__ = ["Evidence", "evidence", "evidences", "feed_back", "gap", "mask_from", "resynthesise", "spread"]

_DEPTH = 60.0  # dB below the loudest cell that `gap` looks at
_COLUMNS = ["tag", "threshold", "accepted", "clip", "evidence", "rest", "kept", "lost", "area", "gap"]


@dataclasses.dataclass(frozen=True)
class Evidence:
    """The part of a clip in which a model found a tag, and the rest.

    Attributes
    ----------
    mask : np.ndarray [shape=(n_bins, n_frames)], in [0, 1]
        On the front end's cells.
    sound, rest : np.ndarray [shape=(n,), float32]
        They add up to the clip.
    gap : float
        Difference in dB between the masked spectrogram and the sound's own, see `gap`.
    """

    mask: np.ndarray
    sound: np.ndarray
    rest: np.ndarray
    gap: float

    @property
    def area(self) -> float:
        """Mean of the mask: the share of the cells that passes, float in [0, 1]."""
        return float(self.mask.mean())


def evidence(y: np.ndarray, relevance: np.ndarray, *, front_end: FrontEnd, **options) -> Evidence:
    """Turn a clip and its relevance into evidence to hear.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        Waveform at ``front_end.sr``.
    relevance : np.ndarray [shape=(n_bins, n_frames)]
        Map of the whole clip.
    front_end : FrontEnd
        Front end of the map.
    **options
        Options of `mask_from`.

    Returns
    -------
    evidence : Evidence

    See Also
    --------
    evidences : Evidence for several tags of one clip.

    Examples
    --------
    >>> from musictools.spectrograms import FrontEnd
    >>> y, front_end = np.array([0.5, -0.5, 0.25, 0.25]), FrontEnd(4, 2, 1, 1, kind="waveform")
    >>> found = evidence(y, np.array([[3.0, 3.0, 0.0, 0.0]]), front_end=front_end, seconds=0)
    >>> found.sound.tolist(), found.rest.tolist(), found.area
    ([0.5, -0.5, 0.0, 0.0], [0.0, 0.0, 0.25, 0.25], 0.5)
    """
    return evidences(y, {"": relevance}, front_end=front_end, **options)[""]


def evidences(
    y: np.ndarray, heatmaps: Mapping[str, np.ndarray], *, front_end: FrontEnd, **options
) -> dict[str, Evidence]:
    """Turn a clip and the relevance of several tags into evidence; the clip is transformed once for all of them.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        Waveform at ``front_end.sr``.
    heatmaps : dict of str to np.ndarray [shape=(n_bins, n_frames)]
        Maps of the whole clip, by tag.
    front_end : FrontEnd
        Front end of the maps.
    **options
        Options of `mask_from`.

    Returns
    -------
    evidences : dict of str to Evidence
        By tag.
    """
    clip, result = _Clip(y, front_end) if heatmaps else None, {}
    for tag, relevance in heatmaps.items():
        mask = mask_from(relevance, front_end=front_end, **options)
        sound, rest = clip.split(mask)
        result[tag] = Evidence(mask, sound, rest, clip.gap(sound, mask))
    return result


def mask_from(
    relevance: np.ndarray,
    *,
    front_end: FrontEnd,
    seconds: float = 0.1,
    bands: float = 2.0,
    quantile: float = 0.7,
    power: float = 2.0,
) -> np.ndarray:
    """Turn relevance into a mask.

    Positive relevance is smoothed, divided by one of its quantiles and raised to a power. Cells at the quantile and
    above pass unchanged, weaker ones in part. With the defaults about a third of a clip's cells pass. They were chosen
    on composed clips: more accepted instruments stayed in the evidence, and fewer in the rest, than with sharper,
    fainter or less smooth masks, or with the same mask shifted by half a clip.

    Parameters
    ----------
    relevance : np.ndarray [shape=(n_bins, n_frames)]
    front_end : FrontEnd
        Front end of the map.
    seconds, bands : float >= 0
        Standard deviation of the Gaussian that smooths over time and over bands.
    quantile : float in (0, 1]
        Taken over the cells with positive relevance.
    power : float > 0
        Below 1, faint relevance becomes audible too. Partly masked cells remain audible in both signals, though.

    Returns
    -------
    mask : np.ndarray [shape=(n_bins, n_frames), float32], in [0, 1]
        0 everywhere if no relevance is positive.

    Raises
    ------
    ValueError
        If `relevance` is no finite matrix or a number is out of range.
    """
    relevance = np.asarray(relevance, dtype=np.float32)
    if relevance.ndim != 2 or not np.isfinite(relevance).all():
        raise ValueError(f"relevance must be a finite matrix (n_bins, n_frames). Got shape {relevance.shape}.")
    if not (seconds >= 0 and bands >= 0 and 0 < quantile <= 1 and power > 0):
        raise ValueError(
            "seconds and bands must be at least 0, quantile lie in (0, 1] and power be positive. "
            f"Got {seconds}, {bands}, {quantile} and {power}."
        )
    positive = np.maximum(relevance, 0)
    if not positive.any():
        return positive
    from scipy.ndimage import gaussian_filter

    width = seconds * front_end.sr / front_end.hop_length
    smooth = gaussian_filter(positive, (0 if len(positive) == 1 else bands, width), mode="constant", truncate=3.0)
    top = float(np.quantile(smooth[smooth > smooth.max() * 1e-6], quantile))
    return np.minimum(smooth / top, 1) ** np.float32(power)


def spread(mask: np.ndarray, *, front_end: FrontEnd) -> np.ndarray:
    """Spread a mask of mel bands over FFT bins.

    Every bin takes the mean of the bands that it belongs to, weighted as in the mel filters.

    Parameters
    ----------
    mask : np.ndarray [shape=(n_mels, n_frames)]
    front_end : FrontEnd
        Its kind is mel, or stft, whose bins are FFT bins already.

    Returns
    -------
    mask : np.ndarray [shape=(n_fft // 2 + 1, n_frames), float32]
        0 in bins outside all bands: the lowest and the highest.

    Raises
    ------
    ValueError
        If the front end has no FFT bins, or the mask has other bands.
    """
    mask = np.asarray(mask, dtype=np.float32)
    if front_end.kind not in ("mel", "stft"):
        raise ValueError(f"Only spectrograms of kind 'mel' and 'stft' have FFT bins. Got {front_end.kind!r}.")
    if mask.ndim != 2 or len(mask) != front_end.n_bins:
        raise ValueError(f"mask must have shape ({front_end.n_bins}, n_frames). Got {mask.shape}.")
    if front_end.kind == "stft":
        return mask
    weights = front_end.mel_weights()
    total = weights.sum(axis=0)
    inside = total > 1e-6 * total.max()  # rounding leaves a trace of weight at the upper end
    return np.where(inside, 1 / np.where(inside, total, 1), 0).astype(np.float32)[:, None] * (weights.T @ mask)


def resynthesise(y: np.ndarray, mask: np.ndarray, *, front_end: FrontEnd) -> tuple[np.ndarray, np.ndarray]:
    """Split a clip into what passes a mask and the rest.

    The clip's short-time Fourier transform has the front end's window, at a hop of a quarter window. It is multiplied
    by the mask, interpolated linearly between frames, and inverted with the clip's own phase.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        Waveform at ``front_end.sr``.
    mask : np.ndarray, in [0, 1]
        On the front end's cells (mel bands are `spread`) or on FFT bins; the mask of a waveform has shape (1, n).
    front_end : FrontEnd
        Front end of the mask.

    Returns
    -------
    evidence, rest : np.ndarray [shape=(n,), float32]
        They add up to `y`. A mask of ones on FFT bins gives `y` back, silence gives silence. They are not scaled: where
        phases no longer cancel, a peak may exceed that of `y`.

    Raises
    ------
    ValueError
        If `y` is no finite waveform or the mask does not fit it.
    """
    return _Clip(y, front_end).split(mask)


def gap(y: np.ndarray, sound: np.ndarray, mask: np.ndarray, *, front_end: FrontEnd) -> float:
    """Measure how far a sound's spectrogram is from the masked spectrogram that it was made from.

    Neighbouring windows overlap, so most masked spectrograms belong to no signal. Both are taken in dB and cut off
    60 dB below the loudest cell of the masked one. Cells in which both lie below are left out.

    Parameters
    ----------
    y, sound : np.ndarray [shape=(n,)]
        The clip, and what passed the mask.
    mask : np.ndarray [shape=(n_bins, n_frames)]
        On the front end's cells.
    front_end : FrontEnd
        Front end of the mask.

    Returns
    -------
    gap : float >= 0
        Mean difference in dB; 0 for silence and for waveforms, where no window overlaps.
    """
    return _Clip(y, front_end).gap(sound, mask)


def feed_back(
    scores: Callable[[np.ndarray], Mapping[str, float]],
    clip: Mapping[str, float],
    sounds: Mapping[str, Evidence],
    *,
    thresholds: Mapping[str, float],
) -> pd.DataFrame:
    """Give the evidence to the model: each tag should be accepted in its evidence alone and rejected in the rest.

    Parameters
    ----------
    scores : callable
        Maps a waveform, shape (n,), to the scores of all tags, pd.Series or dict.
    clip : pd.Series or dict [tag -> float]
        Scores of the whole clip.
    sounds : dict of str to Evidence
        By tag.
    thresholds : pd.Series or dict [tag -> float]

    Returns
    -------
    table : pd.DataFrame
        One row for each tag: tag, threshold, accepted (the clip exceeds the threshold), clip, evidence, rest (scores of
        the three), kept (accepted in the clip and in the evidence alone), lost (accepted in the clip, but not in the
        rest), area (share of the cells in the evidence), gap (dB).

    Examples
    --------
    >>> def scores(y):
    ...     return {"loud": np.abs(y).max()}
    >>> sounds = {"loud": Evidence(np.ones((1, 2)), np.array([0.9, 0.0]), np.array([0.0, 0.1]), 0.0)}
    >>> table = feed_back(scores, {"loud": 0.9}, sounds, thresholds={"loud": 0.5})
    >>> table[["accepted", "kept", "lost"]].to_numpy().tolist()
    [[True, True, True]]
    """
    rows = []
    for tag, one in sounds.items():
        threshold, whole = float(thresholds[tag]), float(clip[tag])
        alone, rest = float(scores(one.sound)[tag]), float(scores(one.rest)[tag])
        kept, lost = whole > threshold and alone > threshold, whole > threshold and rest <= threshold
        rows.append((tag, threshold, whole > threshold, whole, alone, rest, kept, lost, one.area, one.gap))
    return pd.DataFrame(rows, columns=_COLUMNS)


class _Clip:
    """A clip that masks are applied to; its transforms are computed once, when they are first needed."""

    def __init__(self, y: np.ndarray, front_end: FrontEnd):
        self.y, self.front_end = np.asarray(y, dtype=np.float32), front_end
        if self.y.ndim != 1 or self.y.size == 0 or not np.isfinite(self.y).all():
            raise ValueError(f"y must be a finite mono waveform of shape (n,), n > 0. Got shape {self.y.shape}.")

    def split(self, mask: Any) -> tuple[np.ndarray, np.ndarray]:
        """Evidence and rest, see `resynthesise`."""
        front_end, mask = self.front_end, np.asarray(mask, dtype=np.float32)
        if not (mask.size and np.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1):
            raise ValueError("mask must hold numbers in [0, 1].")
        n_frames, n_bins = front_end.n_frames(len(self.y)), front_end.n_fft // 2 + 1
        if front_end.kind == "cqt":
            raise ValueError("A CQT cannot be turned to sound here. Explain a model with a mel or STFT front end.")
        rows = {front_end.n_bins} | ({n_bins} if front_end.kind == "mel" else set())
        if mask.ndim != 2 or len(mask) not in rows or mask.shape[1] != n_frames:
            sizes = " or ".join(map(str, sorted(rows)))
            raise ValueError(f"mask must have {sizes} rows and {n_frames} frames. Got shape {mask.shape}.")
        if front_end.kind == "waveform":
            part = mask[0] * self.y
        else:
            part = self._filtered(spread(mask, front_end=front_end) if len(mask) == front_end.n_bins else mask)
        return part, self.y - part

    def gap(self, sound: np.ndarray, mask: np.ndarray) -> float:
        """Mean difference in dB, see the function `gap`."""
        if self.front_end.kind == "waveform":
            return 0.0
        with np.errstate(divide="ignore"):
            wanted = self._levels + 20 * np.log10(np.asarray(mask, dtype=np.float32))
        lowest = max(float(wanted.max()) - _DEPTH, -199.0)
        wanted, actual = np.maximum(wanted, lowest), np.maximum(self._absolute.compute(sound), lowest)
        counted = (wanted > lowest) | (actual > lowest)
        return float(np.abs(wanted - actual)[counted].mean()) if counted.any() else 0.0

    @functools.cached_property
    def _absolute(self):
        """The front end with a fixed reference and practically no floor."""
        return dataclasses.replace(self.front_end, ref=1.0, floor=-200.0, ceiling=200.0)

    @functools.cached_property
    def _levels(self):
        return self._absolute.compute(self.y)

    @functools.cached_property
    def _analysis(self):
        """Window, hop and spectra (n_blocks, n_bins) of the padded clip."""
        from scipy.fft import rfft

        n_fft = self.front_end.n_fft
        hop = n_fft // (4 if n_fft % 4 == 0 else 2)
        window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
        padded = np.pad(self.y, (n_fft, n_fft + -len(self.y) % hop))
        blocks = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
        return window, hop, rfft(blocks * window, axis=1)

    def _filtered(self, mask):
        """Apply a mask on FFT bins and synthesise by least squares, so that a mask of ones gives the clip back."""
        from scipy.fft import irfft

        (window, hop, spectra), n_fft = self._analysis, self.front_end.n_fft
        turns, n_blocks = n_fft // hop, len(spectra)  # turns: windows over every sample
        centres = (np.arange(n_blocks) * hop - n_fft // 2) / self.front_end.hop_length
        blocks = irfft(spectra * _between(mask, centres).T, n=n_fft, axis=1) * window
        total, weight = np.zeros((2, n_blocks + turns - 1, hop), dtype=np.float32)
        for turn in range(turns):
            total[turn : turn + n_blocks] += blocks[:, turn * hop : (turn + 1) * hop]
            weight[turn : turn + n_blocks] += window[turn * hop : (turn + 1) * hop] ** 2
        inside = slice(n_fft, n_fft + len(self.y))
        return total.ravel()[inside] / weight.ravel()[inside]


def _between(mask, frames):
    """Columns of a mask at fractional frames, by linear interpolation; outside, those at its ends."""
    frames = np.clip(frames, 0, mask.shape[1] - 1)
    left = np.minimum(frames.astype(int), max(mask.shape[1] - 2, 0))
    share = (frames - left).astype(np.float32)
    return mask[:, left] * (1 - share) + mask[:, np.minimum(left + 1, mask.shape[1] - 1)] * share

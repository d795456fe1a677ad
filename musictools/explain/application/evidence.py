"""Evidence to hear: relevance becomes a mask, the mask a sound, and the sound is fed back to the model.

Conventions
-----------
`mask` holds amplitude factors in [0, 1], on the cells of the front end, shape (n_mels, n_frames), or on FFT bins,
shape (n_fft // 2 + 1, n_frames); frame j is centred at sample j * hop_length. Of a waveform it has shape (1, n). Only
positive relevance is evidence. `y` is at the front end's sampling rate; evidence and rest have its length, keep its
phase and add up to it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["Evidence", "evidence", "feed_back", "gap", "mask_from", "resynthesise", "spread"]

_DEPTH = 60.0  # dB below the loudest cell that `gap` looks at


@dataclass(frozen=True)
class Evidence:
    """The part of a clip that a model heard something in, and the rest.

    Attributes
    ----------
    mask : np.ndarray [shape=(n_bins, n_frames)], in [0, 1]
        On the front end's cells.
    sound, rest : np.ndarray [shape=(n,), float32]
        They add up to the clip.
    gap : float
        dB between what was asked for and what the sound's own spectrogram shows, see `gap`.
    """

    mask: np.ndarray
    sound: np.ndarray
    rest: np.ndarray
    gap: float

    @property
    def area(self):
        """Mean of the mask: the share of the cells that is let through, float in [0, 1]."""
        return float(self.mask.mean())


def evidence(y, relevance, *, front_end, **options):
    """Turn a clip and its relevance into evidence to hear.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        At ``front_end.sr``.
    relevance : np.ndarray [shape=(n_bins, n_frames)]
        Of the whole clip.
    front_end : FrontEnd
    **options
        Passed to `mask_from`.

    Returns
    -------
    evidence : Evidence
    """
    mask = mask_from(relevance, front_end=front_end, **options)
    sound, rest = resynthesise(y, mask, front_end=front_end)
    return Evidence(mask, sound, rest, gap(y, sound, mask, front_end=front_end))


def mask_from(relevance, *, front_end, seconds=0.1, bands=2.0, quantile=0.7, power=2.0):
    """Turn relevance into a mask.

    Positive relevance is smoothed, divided by a quantile of itself and raised to a power: cells at that quantile and
    above are let through whole, weaker ones in part. The defaults let about a third of a clip's cells through; they
    were chosen on composed clips, where they kept more accepted instruments in the evidence and fewer in the rest than
    sharper, fainter or less smooth masks, and than the same mask moved by half a clip.

    Parameters
    ----------
    relevance : np.ndarray [shape=(n_bins, n_frames)]
    front_end : FrontEnd
    seconds, bands : float >= 0
        Standard deviation of the Gaussian that smooths over time and over bands.
    quantile : float in (0, 1]
        Of the cells with positive relevance.
    power : float > 0
        Below 1 faint relevance is heard as well; but where a mask is neither 0 nor 1, evidence and rest both hold
        what it lets through, and a network that hears decibels finds it in either.

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


def spread(mask, *, front_end):
    """Spread a mask of mel bands over FFT bins.

    Every bin takes the mean of the bands that it belongs to, weighted as in the mel filters.

    Parameters
    ----------
    mask : np.ndarray [shape=(n_mels, n_frames)]
    front_end : FrontEnd
        Of kind mel, or stft, whose bins are FFT bins already.

    Returns
    -------
    mask : np.ndarray [shape=(n_fft // 2 + 1, n_frames), float32]
        0 in bins outside all bands: the lowest and the highest.

    Raises
    ------
    ValueError
        If the front end has no FFT bins, or the mask not its bands.
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


def resynthesise(y, mask, *, front_end):
    """Split a clip in what a mask lets through and the rest.

    The clip's short-time Fourier transform, window and size as in the front end but at a hop of a quarter window, is
    multiplied by the mask (between frames: interpolated linearly) and inverted with the clip's own phase.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        At ``front_end.sr``.
    mask : np.ndarray, in [0, 1]
        On the front end's cells (mel bands are `spread`) or on FFT bins; of a waveform shape (1, n).
    front_end : FrontEnd

    Returns
    -------
    evidence, rest : np.ndarray [shape=(n,), float32]
        They add up to `y`. A mask of ones on FFT bins gives `y` back, silence gives silence. Not scaled: where phases
        no longer cancel, a peak may exceed that of `y`.

    Raises
    ------
    ValueError
        If `y` is no finite waveform or the mask does not fit it.
    """
    y, mask = np.asarray(y, dtype=np.float32), np.asarray(mask, dtype=np.float32)
    if y.ndim != 1 or y.size == 0 or not np.isfinite(y).all():
        raise ValueError(f"y must be a finite mono waveform of shape (n,), n > 0. Got shape {y.shape}.")
    if not (mask.size and np.isfinite(mask).all() and mask.min() >= 0 and mask.max() <= 1):
        raise ValueError("mask must hold numbers in [0, 1].")
    n_frames, n_bins = front_end.n_frames(len(y)), front_end.n_fft // 2 + 1
    if front_end.kind == "cqt":
        raise ValueError("A CQT cannot be turned to sound here. Explain a model with a mel or STFT front end.")
    rows = {front_end.n_bins} | ({n_bins} if front_end.kind == "mel" else set())
    if mask.ndim != 2 or len(mask) not in rows or mask.shape[1] != n_frames:
        raise ValueError(
            f"mask must have {' or '.join(map(str, sorted(rows)))} rows and {n_frames} frames. Got shape {mask.shape}."
        )
    if front_end.kind == "waveform":
        part = mask[0] * y
    else:
        bins = spread(mask, front_end=front_end) if len(mask) == front_end.n_bins else mask
        part = _filtered(y, bins, n_fft=front_end.n_fft, hop_length=front_end.hop_length)
    return part, y - part


def gap(y, sound, mask, *, front_end):
    """How far a sound's spectrogram is from the masked spectrogram that it was made from.

    No signal has every masked spectrogram: neighbouring windows overlap. Both are taken in dB and cut off 60 dB below
    the loudest cell of the masked one; where both lie below, a cell does not count.

    Parameters
    ----------
    y, sound : np.ndarray [shape=(n,)]
        The clip, and what came of it through the mask.
    mask : np.ndarray [shape=(n_bins, n_frames)]
        On the front end's cells.
    front_end : FrontEnd

    Returns
    -------
    gap : float >= 0
        Mean difference in dB; 0 for silence and for waveforms, where no window overlaps.
    """
    if front_end.kind == "waveform":
        return 0.0
    from dataclasses import replace

    fixed = replace(front_end, ref=1.0, floor=-200.0, ceiling=200.0)
    with np.errstate(divide="ignore"):
        wanted = fixed.compute(y) + 20 * np.log10(np.asarray(mask, dtype=np.float32))
    lowest = max(float(wanted.max()) - _DEPTH, -199.0)
    wanted, found = np.maximum(wanted, lowest), np.maximum(fixed.compute(sound), lowest)
    counted = (wanted > lowest) | (found > lowest)
    return float(np.abs(wanted - found)[counted].mean()) if counted.any() else 0.0


def feed_back(scores, y, sounds, *, thresholds):
    """Close the loop: does the model hear a tag in its evidence alone, and none in the rest?

    Parameters
    ----------
    scores : callable
        Maps a waveform, shape (n,), to the scores of all tags, pd.Series or dict.
    y : np.ndarray [shape=(n,)]
        The clip.
    sounds : dict of str to Evidence
        By tag.
    thresholds : pd.Series or dict [tag -> float]

    Returns
    -------
    table : pd.DataFrame
        A row a tag: tag, threshold, accepted (the clip exceeds the threshold), clip, evidence, rest (scores of the
        three), kept (accepted, and of the evidence alone too), lost (accepted, but not of the rest), area (share of
        the cells in the evidence), gap (dB).
    """
    whole, rows = scores(y), []
    for tag, found in sounds.items():
        threshold, clip = float(thresholds[tag]), float(whole[tag])
        alone, rest = float(scores(found.sound)[tag]), float(scores(found.rest)[tag])
        rows.append(
            {
                "tag": tag,
                "threshold": threshold,
                "accepted": clip > threshold,
                "clip": clip,
                "evidence": alone,
                "rest": rest,
                "kept": clip > threshold and alone > threshold,
                "lost": clip > threshold and rest <= threshold,
                "area": found.area,
                "gap": found.gap,
            }
        )
    columns = ["tag", "threshold", "accepted", "clip", "evidence", "rest", "kept", "lost", "area", "gap"]
    return pd.DataFrame(rows, columns=columns)


def _filtered(y, mask, *, n_fft, hop_length):
    """Analysis, mask, synthesis; least squares, so that a mask of ones gives `y` back."""
    from scipy.fft import irfft, rfft

    turns = 4 if n_fft % 4 == 0 else 2  # windows over every sample
    hop = n_fft // turns
    window = np.hanning(n_fft + 1)[:-1].astype(np.float32)
    padded = np.pad(y, (n_fft, n_fft + -len(y) % hop))
    blocks = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    centres = (np.arange(len(blocks)) * hop - n_fft // 2) / hop_length
    parts = irfft(rfft(blocks * window, axis=1) * _at(mask, centres).T, n=n_fft, axis=1) * window
    total, weight = np.zeros((2, len(blocks) + turns - 1, hop), dtype=np.float32)
    for turn in range(turns):
        total[turn : turn + len(blocks)] += parts[:, turn * hop : (turn + 1) * hop]
        weight[turn : turn + len(blocks)] += window[turn * hop : (turn + 1) * hop] ** 2
    inside = slice(n_fft, n_fft + len(y))
    return total.ravel()[inside] / weight.ravel()[inside]


def _at(mask, frames):
    """Columns of a mask between its frames, by linear interpolation; before and after it those at its ends."""
    frames = np.clip(frames, 0, mask.shape[1] - 1)
    left = np.minimum(frames.astype(int), max(mask.shape[1] - 2, 0))
    share = (frames - left).astype(np.float32)
    return mask[:, left] * (1 - share) + mask[:, np.minimum(left + 1, mask.shape[1] - 1)] * share

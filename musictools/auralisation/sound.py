"""From a deconvolved image to sound: magnitudes from the image, phase from the clip.

Front ends give decibels scaled to [0, 1], so an image is on that scale, but of any size and sign. Its negative values
are set to 0. The rest is multiplied by one factor per feature, the same for all clips that are compared, which brings
the 99.9th percentile of the feature's images to that of the clips. So a feature that a clip does not excite stays
silent in that clip instead of being amplified. The image is then read in one of two ways:

- ``"mask"``, the default: as an amplitude factor in [0, 1] for every cell of the clip's transform, as in the program
  that the author of `choi2018` published with the chapter. Half of the image is -6 dB.
- ``"decibels"``: as a scaled decibel spectrogram. Its amplitude, at most that of the clip, with the clip's phase is the
  sound. This is listing 7.1 of `choi2018`, "img * SRC.phase", with the front end inverted. Half of the image is half of
  the front end's range, 60 dB, so features are told apart more clearly, but only scattered cells remain, which sound
  watery.

Both are masks in the end. `explain.application.evidence.resynthesise` spreads mel bands over FFT bins and applies them,
so a sound has exactly the clip's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from musictools.explain.application import evidence
from musictools.spectrograms import segments

if TYPE_CHECKING:
    from musictools.auralisation.deconvolution import Deconvolution
    from musictools.spectrograms import FrontEnd

__all__ = ["READINGS", "Auralisation", "auralise", "image_of_clip", "mask_of", "scale_of", "sound_of"]

READINGS = ("mask", "decibels")
_TOP = 99.9  # percentile that determines an image's scale


@dataclass(frozen=True)
class Auralisation:
    """One feature in one clip, as image and sound.

    Parameters
    ----------
    layer : str
        Name of the layer.
    feature : int
        Index of the feature map, from 0.
    image : np.ndarray [shape=(n_bins, n_frames), float32]
        Deconvolved, rectified and scaled, in the front end's units of [0, 1]; may exceed 1.
    mask : np.ndarray [shape=(n_bins, n_frames), float32], in [0, 1]
        Amplitude factors.
    sound, rest : np.ndarray [shape=(n,), float32]
        Their sum is the clip times `gain`.
    gain : float in (0, 1]
        Below 1 if the sound would have clipped.
    activation : float >= 0
        Mean of the feature's map in this clip, negative values counted as 0.
    """

    layer: str
    feature: int
    image: np.ndarray
    mask: np.ndarray
    sound: np.ndarray
    rest: np.ndarray
    gain: float
    activation: float


def auralise(
    deconvolution: Deconvolution,
    clips: dict[str, np.ndarray],
    features: int | Sequence[int],
    *,
    front_end: FrontEnd,
    length: int,
    step: int | None = None,
    join: str = "mean",
    reading: str = "mask",
    batch_size: int = 8,
) -> dict[tuple[str, int], Auralisation]:
    """Auralise features in clips.

    Parameters
    ----------
    deconvolution : Deconvolution
        Of the layer whose features are auralised.
    clips : dict of str to np.ndarray [shape=(n,)]
        Waveforms at ``front_end.sr``, of any length. A feature's loudness is comparable among them.
    features : int or sequence of int
        Indices of feature maps, from 0.
    front_end : musictools.spectrograms.FrontEnd
        The model's front end, of kind mel or stft.
    length : int > 0
        Frames of one segment, the model's input.
    step : int > 0 or None
        Frames from one segment to the next; None: half a segment.
    join : {"mean", "max"}
        How overlapping segments are combined.
    reading : {"mask", "decibels"}
        How an image becomes amplitude factors, as defined at the top of the module.
    batch_size : int > 0
        Number of segments times features computed at once.

    Returns
    -------
    sounds : dict of (str, int) to Auralisation
        By clip and feature, all features of a clip in a row.

    Raises
    ------
    ValueError
        If the front end cannot be inverted, there is no clip, or an argument does not fit.

    See Also
    --------
    musictools.auralisation.measure : Measures of a sound.

    Examples
    --------
    >>> from musictools import auralisation, models
    >>> from musictools.spectrograms import FrontEnd
    >>> model = models.build("choi_stft", n_outputs=3, width=0.05, input_shape=(129, 40, 1), seed=0)
    >>> front_end = FrontEnd(8000, 256, 128, 129, kind="stft")
    >>> clicks, tone = auralisation.measures.clicks_and_tone(sr=8000, seconds=1.0)
    >>> deconvolution = auralisation.Deconvolution(model, "conv1")
    >>> sounds = auralise(deconvolution, {"both": clicks + tone}, [0, 1], front_end=front_end, length=40)
    >>> sounds["both", 1].sound.shape
    (8000,)
    """
    if front_end.kind not in ("mel", "stft"):
        raise ValueError(f"Only front ends of kind 'mel' and 'stft' can be turned to sound. Got {front_end.kind!r}.")
    if not clips:
        raise ValueError("clips must name at least one waveform. Got none.")
    features = [int(k) for k in np.atleast_1d(features)]
    spectra, images, levels = {}, {}, {}
    for name, y in clips.items():
        spectra[name] = front_end.scale(front_end.compute(y))
        images[name], levels[name] = image_of_clip(
            deconvolution, spectra[name], features, length=length, step=step, join=join, batch_size=batch_size
        )
    scales = [scale_of([images[name][i] for name in clips], list(spectra.values())) for i in range(len(features))]
    sounds = {}
    for name, y in clips.items():
        for i, feature in enumerate(features):
            image = np.maximum(images[name][i], 0) * np.float32(scales[i])
            mask = mask_of(image, spectra[name], front_end=front_end, reading=reading)
            sound, rest, gain = sound_of(y, mask, front_end=front_end)
            sounds[name, feature] = Auralisation(
                deconvolution.layer, feature, image, mask, sound, rest, gain, float(levels[name][i])
            )
    return sounds


def image_of_clip(
    deconvolution: Deconvolution,
    S: np.ndarray,
    features: Sequence[int],
    *,
    length: int,
    step: int | None = None,
    join: str = "mean",
    batch_size: int = 8,
) -> tuple[np.ndarray, np.ndarray]:
    """Deconvolve a whole clip by joining the images of overlapping segments.

    Parameters
    ----------
    deconvolution : Deconvolution
        Of the layer whose features are wanted.
    S : np.ndarray [shape=(n_bins, n_frames)], in [0, 1]
        Scaled by the front end. If it is shorter than one segment, its last column is repeated, as by
        `inference.Tagger`, and the images are cropped.
    features : sequence of int
        Indices of feature maps, from 0.
    length : int > 0
        Frames of one segment.
    step : int > 0 or None
        Frames from one segment to the next; None: half a segment. The last segment ends with the clip.
    join : {"mean", "max"}
        How overlapping segments are combined.
    batch_size : int > 0
        Number of segments times features computed at once.

    Returns
    -------
    images : np.ndarray [shape=(k, n_bins, n_frames), float32]
    levels : np.ndarray [shape=(k,)]
        Mean activation of the features.

    Raises
    ------
    ValueError
        If `join` is unknown or an argument does not fit.
    """
    if join not in ("mean", "max"):
        raise ValueError(f"join must be 'mean' or 'max'. Got {join!r}.")
    step = max(1, length // 2) if step is None else step
    n = S.shape[1]
    x = segments(S, length=length, step=step, pad_to=length)
    starts = np.arange(len(x)) * step
    if n > length and starts[-1] + length < n:
        x, starts = np.concatenate([x, S[None, :, n - length :]]), np.r_[starts, n - length]
    x = np.asarray(x, dtype=np.float32)[..., None]
    parts = deconvolution.images(x, features, batch_size=batch_size)
    levels = np.mean(
        [np.maximum(deconvolution.maps(x[i : i + 1]), 0).mean(axis=(0, 1, 2))[features] for i in range(len(x))], axis=0
    )
    whole = np.zeros((len(parts[0]), len(S), max(n, length)), dtype=np.float32)
    if join == "max":
        whole[:] = -np.inf
    count = np.zeros(whole.shape[2], dtype=np.float32)
    for part, start in zip(parts, starts, strict=True):
        place = np.s_[..., start : start + length]
        whole[place] = np.maximum(whole[place], part) if join == "max" else whole[place] + part
        count[start : start + length] += 1
    return whole[..., :n] / (1 if join == "max" else count[:n]), levels


def scale_of(images: Sequence[np.ndarray], spectra: Sequence[np.ndarray]) -> float:
    """Compute the factor that brings a feature's images to the level of its clips.

    Parameters
    ----------
    images : sequence of np.ndarray [shape=(n_bins, n_frames)]
        Images of one feature, one per clip. Only positive values count.
    spectra : sequence of np.ndarray [shape=(n_bins, n_frames)], in [0, 1]
        The clips, scaled by the front end.

    Returns
    -------
    scale : float >= 0
        0 if no image is positive anywhere: a dead feature is silent.

    Examples
    --------
    >>> scale_of([np.full((2, 2), 4.0)], [np.full((2, 2), 0.5)])
    0.125
    """
    top = float(np.percentile(np.concatenate([np.maximum(d, 0).ravel() for d in images]), _TOP))
    top = top or max(float(np.max(d)) for d in images)
    return float(np.percentile(np.concatenate([S.ravel() for S in spectra]), _TOP)) / top if top > 0 else 0.0


def mask_of(image: np.ndarray, S: np.ndarray, *, front_end: FrontEnd, reading: str = "mask") -> np.ndarray:
    """Read an image as amplitude factors.

    Parameters
    ----------
    image : np.ndarray [shape=(n_bins, n_frames)]
        Scaled. Cells that are not positive are silent.
    S : np.ndarray [shape=(n_bins, n_frames)], in [0, 1]
        The clip, scaled by the front end.
    front_end : musictools.spectrograms.FrontEnd
        The front end of both.
    reading : {"mask", "decibels"}
        As defined at the top of the module.

    Returns
    -------
    mask : np.ndarray [shape=(n_bins, n_frames), float32], in [0, 1]

    Raises
    ------
    ValueError
        If the reading is unknown, the shapes differ, or the image is not finite.
    """
    if reading not in READINGS:
        raise ValueError(f"reading must be one of {', '.join(READINGS)}. Got {reading!r}.")
    image, S = np.asarray(image, dtype=np.float32), np.asarray(S, dtype=np.float32)
    if image.shape != S.shape or image.ndim != 2 or not np.isfinite(image).all():
        raise ValueError(f"image must be finite and have the shape of S, {S.shape}. Got {image.shape}.")
    if reading == "mask":
        return np.clip(image, 0, 1)
    below = (front_end.ceiling - front_end.floor) * np.minimum(image - S, 0)
    return np.where(image > 0, np.float32(10) ** (below / np.float32(20)), 0).astype(np.float32)


def sound_of(y: np.ndarray, mask: np.ndarray, *, front_end: FrontEnd) -> tuple[np.ndarray, np.ndarray, float]:
    """Apply a mask to a clip, with a gain that prevents clipping.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        The clip, at ``front_end.sr``.
    mask : np.ndarray [shape=(n_bins, n_frames)], in [0, 1]
        Amplitude factors.
    front_end : musictools.spectrograms.FrontEnd
        The front end of the mask.

    Returns
    -------
    sound, rest : np.ndarray [shape=(n,), float32]
        `sound` lies in [-1, 1]. Their sum is the clip times `gain`.
    gain : float in (0, 1]
    """
    sound, rest = evidence.resynthesise(y, mask, front_end=front_end)
    gain = min(1.0, 1.0 / max(float(np.abs(sound).max()), 1e-9))
    sound = sound.astype(np.float32) * np.float32(gain)
    return np.clip(sound, -1, 1), rest.astype(np.float32) * np.float32(gain), gain

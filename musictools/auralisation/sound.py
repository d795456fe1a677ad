"""From a deconvolved image to sound: the clip's own phase, and as magnitude what the feature brought down.

The front ends give decibels scaled to [0, 1], so an image is in that domain, of any size and sign. Its negative part is
cut off. The rest is multiplied by one number a feature, the same for all clips that are compared: it brings the
99.9th percentile of the feature's images to that of the clips. So a feature that a clip does not excite stays silent in
that clip, and is not turned up until something is heard. Then the image is read in one of two ways:

- ``"mask"``, the default: as an amplitude factor in [0, 1] for every cell, multiplied onto the clip's transform. So
  does the program that the author of `choi2018` published with the chapter. Half of the image is -6 dB.
- ``"decibels"``: as what it is, a scaled decibel spectrogram. Its amplitude, with the clip's phase, is the sound; where
  it exceeds the clip's own it is brought down to it. This is listing 7.1 of `choi2018`, "img * SRC.phase", with the
  front end undone. It is merciless: half of the image is half of the front end's range, 60 dB. Features are told apart
  more clearly, but what is left of them are scattered cells that no sound has, a watery noise.

Both are a mask in the end; what stands in mel bands is spread over FFT bins, and `explain.evidence.resynthesise` does
the rest, so a sound has exactly the clip's length.
"""

from dataclasses import dataclass

import numpy as np

from musictools.explain.application import evidence
from musictools.spectrograms import segments

__all__ = ["READINGS", "Auralisation", "auralise", "image_of_clip", "mask_of", "scale_of", "sound_of"]

READINGS = ("mask", "decibels")
_TOP = 99.9  # percentile that an image's scale looks at


@dataclass(frozen=True)
class Auralisation:
    """One feature in one clip, to see and to hear.

    Attributes
    ----------
    layer : str
    feature : int
    image : np.ndarray [shape=(n_bins, n_frames), float32]
        Deconvolved, rectified and scaled, in the front end's units of [0, 1]; may exceed 1.
    mask : np.ndarray [shape=(n_bins, n_frames), float32], in [0, 1]
        Amplitude factors.
    sound, rest : np.ndarray [shape=(n,), float32]
        Together the clip, times `gain`.
    gain : float in (0, 1]
        Below 1 where the sound would have clipped.
    activation : float >= 0
        Mean of the feature's map in this clip, its negative part counted as 0.
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
    deconvolution, clips, features, *, front_end, length, step=None, join="mean", reading="mask", batch_size=8
):
    """Auralise features in clips.

    Parameters
    ----------
    deconvolution : Deconvolution
    clips : dict of str to np.ndarray [shape=(n,)]
        Waveforms at ``front_end.sr``, of any length; a feature's loudness is comparable among them.
    features : int or sequence of int
    front_end : musictools.spectrograms.FrontEnd
        The model's, of kind mel or stft.
    length : int > 0
        Frames of one model input.
    step : int > 0 or None
        Frames from one input to the next; None: half an input.
    join, reading, batch_size
        As in `image_of_clip`, `mask_of` and `Deconvolution.images`.

    Returns
    -------
    found : dict of (str, int) to Auralisation
        By clip and feature, features of a clip after each other.

    Raises
    ------
    ValueError
        If something does not fit, see the functions named.
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
    found = {}
    for name, y in clips.items():
        for i, feature in enumerate(features):
            image = np.maximum(images[name][i], 0) * np.float32(scales[i])
            mask = mask_of(image, spectra[name], front_end=front_end, reading=reading)
            sound, rest, gain = sound_of(y, mask, front_end=front_end)
            found[name, feature] = Auralisation(
                deconvolution.layer, feature, image, mask, sound, rest, gain, float(levels[name][i])
            )
    return found


def image_of_clip(deconvolution, S, features, *, length, step=None, join="mean", batch_size=8):
    """Deconvolved images of a whole clip, put together from those of overlapping inputs.

    Parameters
    ----------
    deconvolution : Deconvolution
    S : np.ndarray [shape=(n_bins, n_frames)], in [0, 1]
        Scaled by the front end. Shorter than one input: its last column is repeated, as a `inference.Tagger` does, and
        what is added is cut off again.
    features : sequence of int
    length : int > 0
        Frames of one input.
    step : int > 0 or None
        Frames from one input to the next; None: half an input. The last input ends with the clip.
    join : {"mean", "max"}
        Of inputs that overlap.
    batch_size : int > 0

    Returns
    -------
    images : np.ndarray [shape=(k, n_bins, n_frames), float32]
    levels : np.ndarray [shape=(k,)]
        Mean activation of the features.
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
    for part, start in zip(parts, starts):
        place = np.s_[..., start : start + length]
        whole[place] = np.maximum(whole[place], part) if join == "max" else whole[place] + part
        count[start : start + length] += 1
    return whole[..., :n] / (1 if join == "max" else count[:n]), levels


def scale_of(images, spectra):
    """The factor that brings a feature's images to the level of the clips that it is compared on.

    Parameters
    ----------
    images : sequence of np.ndarray [shape=(n_bins, n_frames)]
        One feature's, one a clip; only what is positive counts.
    spectra : sequence of np.ndarray [shape=(n_bins, n_frames)], in [0, 1]
        The clips, scaled by the front end.

    Returns
    -------
    scale : float >= 0
        0 where no image is positive anywhere: a dead feature is silent.
    """
    top = float(np.percentile(np.concatenate([np.maximum(d, 0).ravel() for d in images]), _TOP))
    top = top or max(float(np.max(d)) for d in images)
    return float(np.percentile(np.concatenate([S.ravel() for S in spectra]), _TOP)) / top if top > 0 else 0.0


def mask_of(image, S, *, front_end, reading="mask"):
    """Read an image as amplitude factors.

    Parameters
    ----------
    image : np.ndarray [shape=(n_bins, n_frames)]
        Scaled; what is not positive is silent.
    S : np.ndarray [shape=(n_bins, n_frames)], in [0, 1]
        The clip, scaled by the front end.
    front_end : musictools.spectrograms.FrontEnd
    reading : {"mask", "decibels"}
        See the module's head.

    Returns
    -------
    mask : np.ndarray [shape=(n_bins, n_frames), float32], in [0, 1]

    Raises
    ------
    ValueError
        If the reading is unknown or the shapes differ.
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


def sound_of(y, mask, *, front_end):
    """Turn a mask to sound that fits a file.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]
        At ``front_end.sr``.
    mask : np.ndarray [shape=(n_bins, n_frames)], in [0, 1]
    front_end : musictools.spectrograms.FrontEnd

    Returns
    -------
    sound, rest : np.ndarray [shape=(n,), float32]
        `sound` lies in [-1, 1]; together they are the clip times `gain`.
    gain : float in (0, 1]
    """
    sound, rest = evidence.resynthesise(y, mask, front_end=front_end)
    gain = min(1.0, 1.0 / max(float(np.abs(sound).max()), 1e-9))
    sound = sound.astype(np.float32) * np.float32(gain)
    return np.clip(sound, -1, 1), rest.astype(np.float32) * np.float32(gain), gain

"""Adversarial examples of a tagger: waveforms that sound like a clip and are scored otherwise.

The attack is projected gradient descent in the waveform (Madry et al. 2018): small steps along the derivative of a
tag's logit, and after each step a projection onto the waveforms whose difference from the clip is so many decibels
weaker than the clip. The front end is part of what is differentiated, so the result is a sound and not only a
spectrogram.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from musictools.inference import AudioModel

__all__ = ["AdversarialExample", "adversarial_example", "signal_to_noise"]

_REACH = 2.5  # sum of the steps, in radii of the ball


@dataclasses.dataclass
class AdversarialExample:
    """A changed clip and what became of one tag's score.

    Attributes
    ----------
    y : np.ndarray [shape=(n,), float32]
        The changed clip, in [-1, 1].
    tag : str
    before, after : float
        The tag's score, mean of the segments, of the clip and of the changed clip.
    snr : float
        Ratio in dB of the clip to what was added.
    history : np.ndarray [shape=(n_steps + 1,)]
        Mean logit before every step, and after the last one.
    """

    y: np.ndarray
    tag: str
    before: float
    after: float
    snr: float
    history: np.ndarray


def adversarial_example(
    model: AudioModel,
    y: np.ndarray,
    tag: str,
    *,
    raised: bool = True,
    snr: float = 30.0,
    n_steps: int = 40,
    seed: int = 0,
) -> AdversarialExample:
    """Change a clip little, so that a tag's score rises or falls much.

    Parameters
    ----------
    model : AudioModel
        Tagger or genre classifier with a mel, STFT or waveform front end.
    y : np.ndarray [shape=(n,)]
        Clip in [-1, 1], not silent, at the front end's sampling rate.
    tag : str
        Name of an output.
    raised : bool
        Whether the score is to rise or to fall.
    snr : float
        Smallest ratio in dB of the clip to what is added.
    n_steps : int > 0
    seed : int >= 0
        Seed of the first, random change, a tenth of what is allowed.

    Returns
    -------
    example : AdversarialExample
        The best of all steps.

    Raises
    ------
    ValueError
        If the tag is unknown, `y` is silent or exceeds [-1, 1], or `n_steps` is not positive.

    See Also
    --------
    musictools.models.front_end.ScaledSpectrogram : The front end as a part of the model.

    Examples
    --------
    >>> import keras
    >>> from musictools.inference import Tagger
    >>> from musictools.models.card import ModelCard
    >>> from musictools.spectrograms import FrontEnd
    >>> layers = [keras.Input((40, 30, 1)), keras.layers.Flatten(), keras.layers.Dense(2, activation="sigmoid")]
    >>> card = ModelCard(task="tags", model="tiny", outputs=["drums", "flute"], length=30, step=15,
    ...                  front_end=FrontEnd(8000, 512, 256, 40))
    >>> example = adversarial_example(Tagger(keras.Sequential(layers), card), np.sin(np.arange(16000) / 5), "flute")
    >>> example.after > example.before, example.snr >= 30
    (True, True)
    """
    y = np.asarray(y, dtype=np.float32)
    if tag not in model.tags:
        raise ValueError(f"tag must be one of the model's outputs: {', '.join(model.tags)}. Got {tag!r}.")
    if y.ndim != 1 or not y.any() or not np.abs(y).max() <= 1:
        raise ValueError("y must be a mono waveform in [-1, 1] that is not silent.")
    if n_steps < 1:
        raise ValueError(f"n_steps must be positive. Got {n_steps}.")
    neuron = model.tags.index(tag)
    slope = _slope(model, len(y), neuron, 1.0 if raised else -1.0)
    radius = float(np.linalg.norm(y.astype(float))) * 10 ** (-snr / 20) * (1 - 1e-5)  # rounding must not exceed it
    noise = np.random.default_rng(seed).standard_normal(len(y))
    change = _within(y, 0.1 * radius * noise / np.linalg.norm(noise), radius)
    best, highest, history = change, -np.inf, []
    for step in range(n_steps + 1):
        value, gradient = slope((y + change)[None])
        history.append(float(value))
        if value > highest:
            best, highest = change, float(value)
        length = float(np.linalg.norm(gradient))
        if step == n_steps or length == 0:
            break
        change = _within(y, change + _REACH * radius / n_steps * gradient[0] / length, radius)
    changed = (y + best).astype(np.float32)
    before, after = (float(model.taggram(one, sr=model.front_end.sr).scores[:, neuron].mean()) for one in (y, changed))
    history = np.array(history) if raised else -np.array(history)
    return AdversarialExample(changed, tag, before, after, signal_to_noise(y, changed), history)


def signal_to_noise(y: np.ndarray, changed: np.ndarray) -> float:
    """Ratio of a clip to what was added to it.

    Parameters
    ----------
    y, changed : np.ndarray [shape=(n,)]

    Returns
    -------
    ratio : float
        dB; infinite where nothing was added.

    Examples
    --------
    >>> round(signal_to_noise(np.ones(4), np.full(4, 1.1)), 6)
    20.0
    """
    y, changed = np.asarray(y, dtype=float), np.asarray(changed, dtype=float)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.sum(y**2) / np.sum((changed - y) ** 2)))


def _within(y, change, radius):
    """The nearest change that is allowed: no longer than the radius, and no sample beyond full scale."""
    change = change * min(1.0, radius / max(float(np.linalg.norm(change)), 1e-30))
    return (np.clip(y + change, -1, 1) - y).astype(np.float32)


def _slope(model, n_samples, neuron, sign):
    """Function of a waveform (1, n): mean logit of the segments times a sign, and its derivative."""
    from keras import ops

    from musictools.models.front_end import ScaledSpectrogram
    from musictools.models.graph.autodiff import compiled_arrays, pull
    from musictools.models.graph.reading import read

    graph, length, step = read(model.model), model.length, model.step
    spectrogram = None if model.front_end.kind == "waveform" else ScaledSpectrogram(model.front_end)
    shape = (-1, *model.model.input_shape[1:])

    def mean_logit(y):
        S = y if spectrogram is None else spectrogram(y)[0]
        missing = length - S.shape[-1]
        if missing > 0:  # as in AudioModel.inputs
            last = 0 * S[:, -1:] if spectrogram is None else S[:, -1:]
            S = ops.concatenate([S, ops.repeat(last, missing, axis=1)], axis=1)
        starts = range(0, S.shape[-1] - length + 1, step)
        x = ops.reshape(ops.stack([S[:, start : start + length] for start in starts]), shape)
        return sign * ops.mean(graph.run(x)[:, neuron])

    def both(y):
        return mean_logit(y), pull(mean_logit, y, ops.ones(()))

    return compiled_arrays(both, (1, n_samples))

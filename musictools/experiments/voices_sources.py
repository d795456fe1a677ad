"""Evidence for a voice at the level of sources: components of the mix instead of single cells.

Sources are soft masks over the spectrogram that add up to 1. They come from the mix alone:

``nmf``
    Components of a non-negative matrix factorisation: what sounds together.
``textures``
    Sustained, fluctuating and percussive sound, by median filters of two lengths (after FitzGerald 2010 and Tachibana
    et al. 2010). A singing voice is harmonic in short excerpts but not steady in long ones.
``foreground``
    What repeats and what does not (REPET-SIM, Rafii and Pardo 2012): every frame is compared with the median of the
    frames that resemble it.

A source's contribution is the loss of the logit when it is attenuated by 20 dB (audioLIME, Haunschmid et al. 2020), or
its Shapley value. `pooled` needs no further pass through the network: it averages any map within each source and a
window of time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from musictools.experiments import voices

__all__ = ["KINDS", "divide", "pooled", "removed", "shapley"]

KINDS = ("nmf", "textures", "foreground")
_DOWN = 20.0  # dB
_LOWEST = -80.0  # dB below the maximum; quieter cells count as that loud
_LONG, _SHORT, _BANDS = 61, 9, 13  # sides of the median filters: frames, frames, bands


def divide(S: np.ndarray, kind: str, *, n_components: int = 16) -> np.ndarray:
    """Divide a spectrogram into sources.

    Parameters
    ----------
    S : np.ndarray [shape=(n_mels, n_frames)]
        Power in dB.
    kind : str
        One of `KINDS`.
    n_components : int > 0
        Number of components of ``nmf``.

    Returns
    -------
    shares : np.ndarray [shape=(n_sources, n_mels, n_frames)], in [0, 1]
        ``textures``: sustained, fluctuating, percussive. ``foreground``: what does not repeat, what repeats.

    Raises
    ------
    ValueError
        If the kind is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}. Got {kind!r}.")
    if kind == "nmf":
        shares = voices.components(S, n_components)
        return shares + np.maximum(1 - shares.sum(axis=0), 0) / n_components  # cells in which all components are silent
    amplitude = 10 ** (np.maximum(S - S.max(), _LOWEST) / 20)
    return _textures(amplitude) if kind == "textures" else _foreground(amplitude)


def pooled(R: np.ndarray, shares: np.ndarray, *, frames: float) -> np.ndarray:
    """Average a map within each source and a window of time, and paint the averages over the cells of the sources.

    Parameters
    ----------
    R : np.ndarray [shape=(n_mels, n_frames)]
    shares : np.ndarray [shape=(n_sources, n_mels, n_frames)]
        From `divide`.
    frames : float > 0
        Standard deviation of the window.

    Returns
    -------
    pooled : np.ndarray [shape=(n_mels, n_frames)]

    Examples
    --------
    >>> shares = np.array([[[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]])
    >>> pooled(np.array([[1.0, 3.0], [0.0, 0.0]]), shares, frames=100).round(2).tolist()
    [[2.0, 2.0], [0.0, 0.0]]
    """
    from scipy.ndimage import gaussian_filter1d

    total = gaussian_filter1d((R * shares).sum(axis=1), frames, axis=1)
    size = gaussian_filter1d(shares.sum(axis=1), frames, axis=1)
    return np.einsum("kt,kft->ft", total / np.maximum(size, 1e-9), shares)


def removed(score: Callable[[np.ndarray], np.ndarray], S: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Loss of the score when one source after the other is attenuated by 20 dB.

    Parameters
    ----------
    score : callable
        Spectrograms in dB (m, n_mels, n_frames) -> scores (m,).
    S : np.ndarray [shape=(n_mels, n_frames)]
    shares : np.ndarray [shape=(n_sources, n_mels, n_frames)]

    Returns
    -------
    losses : np.ndarray [shape=(n_sources,)]
        ``np.tensordot(losses, shares, 1)`` is the map.
    """
    sets = np.concatenate([np.zeros((1, len(shares))), np.eye(len(shares))])
    scores = score(_without(S, shares, sets))
    return scores[0] - scores[1:]


def shapley(score: Callable[[np.ndarray], np.ndarray], S: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Shapley values of the sources, exactly: the score of every subset, all other sources attenuated by 20 dB.

    Parameters
    ----------
    score, S, shares
        As for `removed`; 2 ** n_sources spectrograms are scored.

    Returns
    -------
    values : np.ndarray [shape=(n_sources,)]
        They add up to the difference of the scores with all sources and with none.
    """
    n = len(shares)
    kept = np.array(list(itertools.product((0, 1), repeat=n)))
    scores = dict(zip(map(tuple, kept), score(_without(S, shares, 1 - kept)), strict=True))
    values = np.zeros(n)
    for subset, value in scores.items():
        for i in range(n):
            size = sum(subset) - subset[i]  # of the others
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            values[i] += weight * value * (1 if subset[i] else -1)
    return values


def _without(S, shares, sets):
    """Spectrograms in which sets of sources (m, n_sources) are attenuated."""
    attenuated = np.tensordot(sets, shares, axes=1)
    return (S + 10 * np.log10(1 - (1 - 10 ** (-_DOWN / 10)) * np.clip(attenuated, 0, 1))).astype(np.float32)


def _textures(amplitude):
    sustained = _median(amplitude, (1, _LONG))
    fluctuating = _median(amplitude, (1, _SHORT))
    percussive = _median(amplitude, (_BANDS, 1))
    power = np.stack([sustained, np.maximum(fluctuating - sustained, 0), np.maximum(percussive - sustained, 0)]) ** 2
    return power / np.maximum(power.sum(axis=0), 1e-20)


def _foreground(amplitude):
    import librosa

    repeating = librosa.decompose.nn_filter(amplitude, aggregate=np.median, metric="cosine", width=63)
    repeating = np.minimum(repeating, amplitude)
    voice = librosa.util.softmask(amplitude - repeating, 2 * repeating, power=2, split_zeros=True)
    return np.stack([voice, 1 - voice])


def _median(amplitude, sides):
    from scipy.ndimage import median_filter

    return median_filter(amplitude, size=sides, mode="reflect")

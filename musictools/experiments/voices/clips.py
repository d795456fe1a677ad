"""Real songs with voice and accompaniment, the cells of the voice, and components without stems."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from musictools.datasets.mir1k import Mir1k
    from musictools.released.choi2018 import Choi2018

__all__ = ["Clip", "choose_clips", "components", "voice_cells"]

_RANGE = 60.0  # dB below the maximum of the mix in which a cell is audible


@dataclass(frozen=True)
class Clip:
    """A song with its voice and accompaniment as separate signals.

    Attributes
    ----------
    name, singer : str
    voice, accompaniment : np.ndarray [shape=(n,)]
        At the tagger's sampling rate; their sum is the mix.
    times : np.ndarray [shape=(m,)]
        Times of the labels in seconds, ascending.
    vocal : np.ndarray [shape=(m,), bool]
        Whether somebody sings.
    """

    name: str
    singer: str
    voice: np.ndarray
    accompaniment: np.ndarray
    times: np.ndarray
    vocal: np.ndarray


def choose_clips(songs: Mir1k, tagger: Choi2018, *, n: int, seed: int = 0) -> list[Clip]:
    """Choose clips of MIR-1K, each singer in turn.

    Parameters
    ----------
    songs : musictools.datasets.mir1k.Mir1k
    tagger : musictools.released.choi2018.Choi2018
        Its front end gives the sampling rate.
    n : int > 0
        Number of clips; all if there are fewer.
    seed : int >= 0
        Seed of the order.

    Returns
    -------
    clips : list of Clip
    """
    shuffled = songs.tracks.sample(frac=1, random_state=seed)
    turns = shuffled.assign(turn=shuffled.groupby("artist").cumcount()).sort_values(["turn", "artist"])
    chosen = []
    for name, singer in turns["artist"].head(n).items():
        stems, _ = songs.stems(name, sr=tagger.front_end.sr)
        chosen.append(Clip(name, singer, *stems.values(), *songs.flags(name)))
    return chosen


def voice_cells(voice: np.ndarray, accompaniment: np.ndarray, mix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells in which the voice is louder than the accompaniment.

    Parameters
    ----------
    voice, accompaniment, mix : np.ndarray [shape=(n_mels, n_frames)]
        Power in dB.

    Returns
    -------
    cells : np.ndarray [same shape, bool]
        Audible cells in which the voice is louder than the accompaniment.
    audible : np.ndarray [same shape, bool]
        Cells in which the mix lies at most 60 dB below its maximum.

    Examples
    --------
    >>> cells, audible = voice_cells(np.array([[0.0, -9.0]]), np.array([[-9.0, 0.0]]), np.array([[0.5, 0.5]]))
    >>> cells.tolist(), audible.tolist()
    ([[True, False]], [[True, True]])
    """
    audible = mix > mix.max() - _RANGE
    return (voice > accompaniment) & audible, audible


def components(S: np.ndarray, n_components: int = 8) -> np.ndarray:
    """Divide a spectrogram into components that sound together, by non-negative matrix factorisation.

    Parameters
    ----------
    S : np.ndarray [shape=(n_mels, n_frames)]
        Power in dB.
    n_components : int > 0

    Returns
    -------
    shares : np.ndarray [shape=(n_components, n_mels, n_frames)], in [0, 1]
        Share of every component in a cell's amplitude; the shares of a cell that is not silent add up to 1.

    Examples
    --------
    >>> S = np.array([[0.0, -80.0], [-80.0, 0.0]])
    >>> components(S, 2).sum(axis=0).round(3).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    amplitude = 10 ** (np.maximum(S - S.max(), -80.0) / 20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 60 iterations separate well enough
        model = NMF(n_components, init="nndsvda", max_iter=60, tol=1e-3, random_state=0)
        bands, activations = model.fit_transform(amplitude), model.components_
    pieces = bands.T[:, :, None] * activations[:, None]
    return pieces / np.maximum(pieces.sum(axis=0), 1e-9)

"""What is true of a clip, and how well a map agrees with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from musictools.experiments.voices.terms import FORMS
from musictools.explain.metrics import localisation

if TYPE_CHECKING:
    from musictools.experiments.voices.clips import Clip
    from musictools.spectrograms import FrontEnd

__all__ = ["GROUPS", "Truth", "forms_of", "mass", "sung_frames"]

GROUPS = 100  # number of groups of cells with nearly equal energy


class Truth:
    """Voice cells, audible cells and sung frames, against which a clip's maps are measured.

    Parameters
    ----------
    x : np.ndarray [shape=(n_mels, n_frames)]
        The spectrogram, scaled.
    cells, audible : np.ndarray [same shape, bool]
        From `voice_cells`.
    sung : np.ndarray [shape=(n_frames,), bool]
    """

    def __init__(self, x: np.ndarray, cells: np.ndarray, audible: np.ndarray, sung: np.ndarray) -> None:
        self.x, self.cells, self.audible, self.sung = x, cells, audible, sung
        order = np.argsort(x, axis=None, kind="stable")
        self.groups = order[len(order) % GROUPS :].reshape(GROUPS, 1, -1)
        inside = cells.ravel()[self.groups].sum(axis=(1, 2))
        self.pairs = inside * (self.groups.shape[2] - inside)

    def measure(self, R: np.ndarray) -> dict[str, float]:
        """Measure a map, its positive part ranked.

        Parameters
        ----------
        R : np.ndarray [shape=(n_mels, n_frames)]

        Returns
        -------
        measures : dict of str to float
            `MEASURES`, mass and area.
        """
        R = np.maximum(R, 0)
        grouped = localisation.auc(R.ravel()[self.groups], self.cells.ravel()[self.groups])
        mixed = self.pairs > 0  # groups with voice cells and others
        equal = np.average(grouped[mixed], weights=self.pairs[mixed]) if mixed.any() else np.nan
        return {"auc": localisation.auc(R, self.cells), "auc_equal_energy": equal,
                "auc_loud": localisation.auc(R[None, self.audible], self.cells[None, self.audible]),
                "auc_time": localisation.auc(R.sum(axis=0, keepdims=True), self.sung[None]),
                "mass": mass(R, self.cells), "area": self.cells.mean()}  # fmt: skip


def sung_frames(clip: Clip, n_frames: int, front_end: FrontEnd) -> np.ndarray:
    """Whether somebody sings in each frame of the spectrogram, by the label nearest in time.

    Parameters
    ----------
    clip : Clip
    n_frames : int > 0
    front_end : musictools.spectrograms.FrontEnd

    Returns
    -------
    sung : np.ndarray [shape=(n_frames,), bool]
    """
    seconds = np.arange(n_frames) * front_end.hop_length / front_end.sr
    between = (clip.times[1:] + clip.times[:-1]) / 2
    return np.asarray(clip.vocal, dtype=bool)[np.searchsorted(between, seconds)]


def forms_of(R: np.ndarray, x: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """A map in all its forms.

    Parameters
    ----------
    R, x : np.ndarray [shape=(n_mels, n_frames)]
        The map and the scaled spectrogram.

    Returns
    -------
    forms : list of (str, np.ndarray)
        In the order of `FORMS`.
    """
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(R, (1, 2))
    return list(zip(FORMS, (R, smooth, np.maximum(smooth, 0) * x), strict=True))


def mass(R: np.ndarray, cells: np.ndarray) -> float:
    """Share of the positive relevance that lies in some cells.

    Parameters
    ----------
    R : np.ndarray
    cells : np.ndarray [same shape, bool]

    Returns
    -------
    share : float in [0, 1]

    Examples
    --------
    >>> mass(np.array([3.0, 1.0, -2.0]), np.array([True, False, True]))
    0.75
    """
    R = np.maximum(R, 0)
    return float(R[cells].sum() / max(R.sum(), 1e-30))

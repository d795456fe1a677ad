"""Spectrograms: front ends, segments, and the store that keeps them on disk.

`frontends` turns waveforms into decibels and spectrograms into the segments that models take. `store` keeps the
spectrograms of a data set, and `cutting` cuts segments from them on demand. The front end and the segments of a model
are given by `musictools.models.describe`. `images` resizes spectrograms to images and augments them with bands of
silence.
"""

from musictools.spectrograms.cutting import Segments
from musictools.spectrograms.frontends import SHARMA2022, FrontEnd, ModelInput, segments
from musictools.spectrograms.images import BandedImages, add_bands
from musictools.spectrograms.store import ArrayStore, SpectrogramStore, compute_file, open_store

__all__ = [
    "SHARMA2022",
    "ArrayStore",
    "BandedImages",
    "FrontEnd",
    "ModelInput",
    "Segments",
    "SpectrogramStore",
    "add_bands",
    "compute_file",
    "open_store",
    "segments",
]

"""Spectrograms: front ends, frames, and the store that keeps them on disk.

`frontends` turns waveforms into decibels and spectrograms into model inputs; `store` keeps the spectrograms of a
data set and cuts model inputs from them on demand.
"""

from musictools.spectrograms.frontends import FRONT_ENDS, MODEL_INPUTS, FrontEnd, ModelInput, frames, model_input
from musictools.spectrograms.store import ArrayStore, Segments, SpectrogramStore, compute_file, open_store

__all__ = [
    "FRONT_ENDS",
    "MODEL_INPUTS",
    "ArrayStore",
    "FrontEnd",
    "ModelInput",
    "Segments",
    "SpectrogramStore",
    "compute_file",
    "frames",
    "model_input",
    "open_store",
]

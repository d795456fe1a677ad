"""Waveforms: files in and out, resampling, deformations.

Conventions
-----------
`y` is mono float32 in [-1, 1], shape (n,); `sr` is in Hz.
"""

from musictools.audio.deformations import CHANNELS, DEFORMATIONS, KINDS, compress, deform
from musictools.audio.files import SOUNDFILE_SUFFIXES, AudioError, duration, load, resample, write

__all__ = [
    "CHANNELS",
    "DEFORMATIONS",
    "KINDS",
    "SOUNDFILE_SUFFIXES",
    "AudioError",
    "compress",
    "deform",
    "duration",
    "load",
    "resample",
    "write",
]

"""Front ends: from waveform to decibel spectrogram, and from spectrogram to model inputs.

Conventions
-----------
`S` has shape (n_bins, n_frames), low frequency first, float32, in dB of *power*: ``10 log10(power / ref)``, never
below `floor`. Frames are centred (zero padding of n_fft // 2 on both sides), the window is a periodic Hann, mel
bands are Slaney's with area normalisation: all as librosa 0.11 does by default. ``mel_scale="htk"`` and
``padding="reflect"`` are the defaults of torchaudio instead. The transform runs in double
precision, as librosa's does, everything after it in single: a single precision transform is 1.5 times faster but
misses librosa by up to 2e-3 dB in bands 90 dB below their frame's maximum. Models see ``FrontEnd.scale(S)``,
which maps [floor, ceiling] linearly to [0, 1]. A model that takes the waveform itself has a front end of kind
``"waveform"``: `S` is then the waveform, shape (1, n), and is not scaled. A front end of kind ``"image"`` resizes the
mel spectrogram of the first seconds of a clip to an image of fixed size, as networks for photographs take it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from musictools.spectrograms.images import resize, resizing_weights

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["SHARMA2022", "FrontEnd", "ModelInput", "segments"]

_BLOCK = 32  # spectrogram frames transformed at once: stays in the processor's cache, memory flat in the clip's length


@dataclass(frozen=True)
class FrontEnd:
    """Settings of a spectrogram: frozen, hashable, serialisable.

    Parameters
    ----------
    sr : int > 0
        Sampling rate in Hz that waveforms are resampled to before.
    n_fft : int > 0, even
        Samples of one analysis window (not used by the CQT).
    hop_length : int > 0
        Samples from one frame to the next.
    n_mels : int > 0
        Mel bands; bins of the CQT (12 an octave from C1). Ignored by the STFT, which has n_fft // 2 + 1 bins.
    kind : {"mel", "stft", "cqt", "waveform", "image"}
        "waveform" leaves the samples alone: n_fft, hop_length and n_mels are then 2, 1 and 1. "image" resizes a mel
        spectrogram of `seconds` to `image`.
    ref : float > 0 or "max"
        Power of 0 dB; "max" takes the clip's own maximum, so that loudness is lost.
    floor, ceiling : float
        In dB. Values below `floor` are raised to it; `scale` maps [floor, ceiling] to [0, 1].
    mel_scale : {"slaney", "htk"}
        Slaney's bands all have the same area, those of HTK all have the height 1.
    padding : {"zero", "reflect"}
        What precedes and follows the waveform in the windows at its ends (not used by the CQT).
    image : tuple of int or None
        Rows and columns of the image, for the kind "image" only.
    seconds : float > 0 or None
        Part of a clip that the image shows, from its start; shorter clips are followed by silence. For the kind
        "image" only.

    Raises
    ------
    ValueError
        If a value is out of range, or bins of a CQT lie beyond half the sampling rate.

    See Also
    --------
    musictools.models.describe : The front end of a model.
    musictools.spectrograms.open_store : The spectrograms of a whole data set.

    Examples
    --------
    >>> front_end = FrontEnd(sr=16000, n_fft=512, hop_length=256, n_mels=128)
    >>> S = front_end.compute(np.sin(2 * np.pi * 440 / 16000 * np.arange(16000)))
    >>> S.shape, bool(abs(front_end.frequencies()[S[:, 30].argmax()] - 440) < 15)
    ((128, 63), True)
    """

    sr: int
    n_fft: int
    hop_length: int
    n_mels: int
    kind: str = "mel"
    ref: float | str = 1.0
    floor: float = -80.0
    ceiling: float = 40.0
    mel_scale: str = "slaney"
    padding: str = "zero"
    image: tuple[int, int] | None = None
    seconds: float | None = None

    def __post_init__(self):
        for name in ("sr", "n_fft", "hop_length", "n_mels"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value <= 0:
                raise ValueError(f"{name} must be a positive int. Got {value!r}.")
            object.__setattr__(self, name, int(value))
        if self.n_fft % 2:
            raise ValueError(f"n_fft must be even. Got {self.n_fft}.")
        if self.kind not in ("mel", "stft", "cqt", "waveform", "image"):
            raise ValueError(f"kind must be 'mel', 'stft', 'cqt', 'waveform' or 'image'. Got {self.kind!r}.")
        if self.mel_scale not in _MEL_SCALES:
            raise ValueError(f"mel_scale must be 'slaney' or 'htk'. Got {self.mel_scale!r}.")
        if self.padding not in _PADDINGS:
            raise ValueError(f"padding must be 'zero' or 'reflect'. Got {self.padding!r}.")
        if self.kind == "waveform" and (self.n_fft, self.hop_length, self.n_mels) != (2, 1, 1):
            raise ValueError(
                "A waveform has n_fft=2, hop_length=1 and n_mels=1. "
                f"Got {self.n_fft}, {self.hop_length} and {self.n_mels}."
            )
        self._check_image()
        if self.ref != "max" and not (_is_finite(self.ref) and self.ref > 0):
            raise ValueError(f"ref must be a positive number or 'max'. Got {self.ref!r}.")
        if not (_is_finite(self.floor) and _is_finite(self.ceiling) and self.floor < self.ceiling):
            raise ValueError(f"floor must lie below ceiling. Got floor={self.floor}, ceiling={self.ceiling}.")
        for name in {"ref", "floor", "ceiling"} - ({"ref"} if self.ref == "max" else set()):
            object.__setattr__(self, name, float(getattr(self, name)))  # equal front ends have equal keys
        if self.kind == "cqt" and self.frequencies()[-1] * 2 ** (1 / 24) > self.sr / 2:
            raise ValueError(
                f"{self.n_mels} bins of the CQT reach {self.frequencies()[-1]:.0f} Hz, beyond half of "
                f"sr={self.sr}. Take fewer."
            )

    def _check_image(self):
        if self.kind != "image":
            if self.image is not None or self.seconds is not None:
                raise ValueError(f"Only the kind 'image' has image and seconds. Got {self.kind!r}.")
            return
        size = tuple(self.image) if isinstance(self.image, tuple | list) else ()
        if len(size) != 2 or not all(isinstance(n, int | np.integer) and n > 0 for n in size):
            raise ValueError(f"image must be two positive int, rows and columns. Got {self.image!r}.")
        if not (_is_finite(self.seconds) and self.seconds * self.sr >= 1):
            raise ValueError(f"seconds must be positive. Got {self.seconds!r}.")
        object.__setattr__(self, "image", (int(size[0]), int(size[1])))
        object.__setattr__(self, "seconds", float(self.seconds))

    @property
    def n_bins(self) -> int:
        """Rows of a spectrogram."""
        if self.kind == "image":
            return self.image[0]
        return self.n_fft // 2 + 1 if self.kind == "stft" else self.n_mels

    @property
    def frame_seconds(self) -> float:
        """Seconds from one column of a spectrogram to the next."""
        return self.seconds / self.image[1] if self.kind == "image" else self.hop_length / self.sr

    @property
    def key(self) -> str:
        """Short hash that names this front end in files, str of 12 hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    def to_json(self) -> str:
        """Serialise.

        Returns
        -------
        text : str
            `from_json` reads it back. Without `mel_scale`, `padding`, `image` and `seconds` where they have their
            defaults, so that the keys of front ends do not change.
        """
        left_out = {"mel_scale": "slaney", "padding": "zero", "image": None, "seconds": None}
        values = dataclasses.asdict(self)
        return json.dumps({k: v for k, v in values.items() if v != left_out.get(k)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> FrontEnd:
        """Read what `to_json` wrote.

        Parameters
        ----------
        text : str

        Returns
        -------
        front_end : FrontEnd
        """
        return cls(**json.loads(text))

    def n_frames(self, n_samples: int) -> int:
        """Number of frames of a clip's spectrogram.

        Parameters
        ----------
        n_samples : int >= 0
            Samples of the clip at `sr`.

        Returns
        -------
        n_frames : int
        """
        if self.kind == "image":
            return self.image[1]
        return n_samples if self.kind == "waveform" else 1 + n_samples // self.hop_length

    def frequencies(self) -> np.ndarray:
        """Centre frequency of every bin.

        Returns
        -------
        frequencies : np.ndarray [shape=(n_bins,)]
            In Hz; of an image, the mean of the mel bands that a row shows.

        Raises
        ------
        ValueError
            If the front end is of kind "waveform".
        """
        if self.kind in ("mel", "image"):
            centres = _MEL_SCALES[self.mel_scale](self.sr, self.n_mels)[1:-1]
            return centres if self.kind == "mel" else resizing_weights(self.n_mels, self.n_bins) @ centres
        if self.kind == "waveform":
            raise ValueError("The bins of a waveform have no frequency.")
        import librosa

        if self.kind == "cqt":
            return librosa.cqt_frequencies(self.n_mels, fmin=librosa.note_to_hz("C1"))
        return librosa.fft_frequencies(sr=self.sr, n_fft=self.n_fft)

    def mel_weights(self) -> csr_array:
        """How much of each FFT bin's power goes to each mel band.

        Returns
        -------
        weights : scipy.sparse.csr_array [shape=(n_mels, n_fft // 2 + 1), float32]

        Raises
        ------
        ValueError
            If the front end is of another kind than "mel".
        """
        if self.kind != "mel":
            raise ValueError(f"Only a front end of kind 'mel' has mel bands. Got {self.kind!r}.")
        return _mel_bands(self.sr, self.n_fft, self.n_mels, self.mel_scale)

    def compute(self, y: np.ndarray) -> np.ndarray:
        """Decibel spectrogram of a waveform.

        Parameters
        ----------
        y : np.ndarray [shape=(n,)]
            Waveform at `sr`.

        Returns
        -------
        S : np.ndarray [shape=(n_bins, 1 + n // hop_length), float32]
            dB of power, at least `floor`. Silence gives `floor` everywhere. An image has the shape `image`.

        Raises
        ------
        ValueError
            If `y` is not mono, empty, or holds NaN or Inf.
        """
        y = np.asarray(y, dtype=np.float32)
        if y.ndim != 1 or y.size == 0:
            raise ValueError(f"y must be a mono waveform of shape (n,), n > 0. Got shape {y.shape}.")
        if not np.isfinite(y).all():
            raise ValueError("y holds NaN or Inf.")
        if self.kind == "waveform":
            return y[None]
        if self.kind == "image":
            n = round(self.seconds * self.sr)
            S = self._decibel(self._power(np.pad(y[:n], (0, max(0, n - y.size)))))
            return np.maximum(resize(S, self.image), np.float32(self.floor))  # less by rounding only
        return self._decibel(self._cqt_power(y) if self.kind == "cqt" else self._power(y))

    def scale(self, S: np.ndarray) -> np.ndarray:
        """Map decibels to the model's input range: floor -> 0, ceiling -> 1, clipped.

        Parameters
        ----------
        S : np.ndarray, in dB

        Returns
        -------
        x : np.ndarray [same shape, float32], in [0, 1]
            A waveform as it is.
        """
        if self.kind == "waveform":
            return np.asarray(S, dtype=np.float32)
        x = (np.asarray(S, dtype=np.float32) - self.floor) / (self.ceiling - self.floor)
        return np.clip(x, 0.0, 1.0, out=x)

    def _power(self, y):
        from scipy.fft import rfft

        padded = np.pad(y, self.n_fft // 2, mode=_PADDINGS[self.padding])
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft)[:: self.hop_length]
        window = _window(self.n_fft)
        mel = None if self.kind == "stft" else _mel_bands(self.sr, self.n_fft, self.n_mels, self.mel_scale)
        power = np.empty((self.n_bins if mel is None else self.n_mels, len(windows)), dtype=np.float32)
        for start in range(0, len(windows), _BLOCK):
            spectrum = rfft(windows[start : start + _BLOCK] * window, axis=1, overwrite_x=True)
            block = np.ascontiguousarray((spectrum.real**2 + spectrum.imag**2).T, dtype=np.float32)
            power[:, start : start + _BLOCK] = block if mel is None else mel @ block
        return power

    def _cqt_power(self, y):
        import librosa

        try:
            C = librosa.cqt(y, sr=self.sr, hop_length=self.hop_length, n_bins=self.n_mels)  # from C1
        except librosa.util.exceptions.ParameterError as error:
            raise ValueError(f"y has {y.size} samples and cannot be transformed ({error}).") from None
        return np.square(np.abs(librosa.util.fix_length(C, size=self.n_frames(y.size), axis=1))).astype(np.float32)

    def _decibel(self, power):
        lowest = 10.0 ** (self.floor / 10.0)
        ref = float(power.max()) if self.ref == "max" else float(self.ref)
        if ref <= 0:
            return np.full(power.shape, self.floor, dtype=np.float32)
        S = np.maximum(power, np.float32(max(lowest * ref, np.finfo(np.float32).tiny)), dtype=np.float32)
        S /= np.float32(ref)
        np.log10(S, out=S)
        S *= np.float32(10.0)
        return np.ascontiguousarray(np.maximum(S, np.float32(self.floor), out=S))


def _is_finite(value):
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and bool(np.isfinite(value))


@lru_cache(maxsize=32)
def _window(n_fft):
    return np.hanning(n_fft + 1)[:-1]  # periodic; scipy.signal's would cost a second of import in every worker


@lru_cache(maxsize=32)
def _mel_bands(sr, n_fft, n_mels, scale):
    """The weights of `librosa.filters.mel`, without librosa, whose import takes longer than 100 clips.

    Sparse: an FFT bin belongs to two bands at most, and a dense product would wake all BLAS threads for little work.
    """
    from scipy.sparse import csr_array

    edges, bins = _MEL_SCALES[scale](sr, n_mels), np.arange(n_fft // 2 + 1) * sr / n_fft
    distance, width = edges[:, None] - bins, np.diff(edges)[:, None]
    weights = np.maximum(0, np.minimum(-distance[:-2] / width[:-1], distance[2:] / width[1:]))
    if scale == "slaney":
        weights *= 2 / (edges[2:] - edges[:-2])[:, None]
    return csr_array(weights.astype(np.float32))


def _slaney_edges(sr, n_mels):
    """Lower edge, centres and upper edge of the bands in Hz: linear up to 1 kHz, then 27 steps to a factor of 6.4."""
    linear, log = 200 / 3, np.log(6.4) / 27
    top = sr / 2
    mel = np.linspace(0, top / linear if top < 1000 else 15 + np.log(top / 1000) / log, n_mels + 2)
    return np.where(mel < 15, mel * linear, 1000 * np.exp(log * (mel - 15)))


def _htk_edges(sr, n_mels):
    """The same of HTK's scale, mel = 2595 log10(1 + f / 700)."""
    mel = np.linspace(0, 2595 * np.log10(1 + sr / 2 / 700), n_mels + 2)
    return 700 * (10 ** (mel / 2595) - 1)


_MEL_SCALES = {"slaney": _slaney_edges, "htk": _htk_edges}
_PADDINGS = {"zero": "constant", "reflect": "reflect"}  # numpy's names


@dataclass(frozen=True)
class ModelInput:
    """The input of a model: a front end, and how its spectrogram is cut into segments.

    Parameters
    ----------
    front_end : FrontEnd
    length : int > 0
        Frames of one input.
    step : int > 0
        Frames from the start of one input to the start of the next.

    Examples
    --------
    >>> short_chunk = ModelInput(FrontEnd(16000, 512, 256, 128), length=230, step=115)
    >>> short_chunk.shape, short_chunk.count(1821)
    ((128, 230, 1), 14)
    """

    front_end: FrontEnd
    length: int
    step: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Input shape of the model, (n_bins, length, 1); of one that takes a waveform (length, 1)."""
        return (self.length, 1) if self.front_end.kind == "waveform" else (self.front_end.n_bins, self.length, 1)

    def count(self, n_frames: int) -> int:
        """Number of inputs that a spectrogram gives.

        Parameters
        ----------
        n_frames : int >= 0
            Frames of the spectrogram.

        Returns
        -------
        count : int
        """
        return max(0, (n_frames - self.length) // self.step + 1)


# The mel spectrogram of `sharma2022`. Its network takes an image of it, see `musictools.models.describe("resnet34")`.
SHARMA2022 = FrontEnd(44100, 1024, 512, 128)


def segments(S: np.ndarray, *, length: int, step: int, pad_to: int | None = None) -> np.ndarray:
    """Cut a spectrogram into overlapping segments, the inputs of a model.

    Parameters
    ----------
    S : np.ndarray [shape=(n_bins, n_frames)]
        Spectrogram.
    length : int > 0
        Frames of one segment.
    step : int > 0
        Frames from the start of one segment to the start of the next.
    pad_to : int or None
        Repeat the last frame of a shorter spectrogram until it has so many frames.

    Returns
    -------
    segments : np.ndarray [shape=(n_segments, n_bins, length)]
        A read-only view where possible; frames after the last complete segment are left out.

    Raises
    ------
    ValueError
        If `S` is no matrix or shorter than `length`, or a number is not positive.

    Examples
    --------
    >>> segments(np.zeros((128, 911)), length=128, step=64).shape
    (13, 128, 128)
    """
    S = np.asarray(S)
    if S.ndim != 2:
        raise ValueError(f"S must have shape (n_bins, n_frames). Got {S.shape}.")
    for name, value in (("length", length), ("step", step)):
        if not isinstance(value, int | np.integer) or value <= 0:
            raise ValueError(f"{name} must be a positive int. Got {value!r}.")
    if pad_to is not None and 0 < S.shape[1] < pad_to:
        S = np.pad(S, ((0, 0), (0, pad_to - S.shape[1])), mode="edge")
    if S.shape[1] < length:
        raise ValueError(
            f"S has {S.shape[1]} frames, length={length} needs at least {length}. "
            "Short clips can be padded with pad_to=length."
        )
    return np.lib.stride_tricks.sliding_window_view(S, length, axis=1)[:, ::step].swapaxes(0, 1)

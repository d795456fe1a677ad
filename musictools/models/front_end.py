"""Front ends as Keras layers, with derivatives.

`FrontEnd.compute` is what models are trained and applied with. `ScaledSpectrogram` computes the same numbers inside a
model, so that a score can be differentiated with respect to the waveform. `Preprocessing` holds the steps between a
scaled spectrogram and the first convolution, so that variants of them share one store.
"""

from __future__ import annotations

import json
import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from musictools.spectrograms import FrontEnd

__all__ = ["Preprocessing", "ScaledSpectrogram"]


@keras.saving.register_keras_serializable("musictools")
class ScaledSpectrogram(layers.Layer):
    """Decibel spectrogram of a waveform, scaled to [0, 1] as models see it.

    Input shape: (batch, n_samples). Output shape: (batch, n_bins, 1 + n_samples // hop_length), low frequency first.

    Parameters
    ----------
    front_end : FrontEnd or dict
        Of kind "mel" or "stft", with a number as `ref`. A dict holds the front end's settings.
    **kwargs
        Arguments of every Keras layer. ``dtype`` defaults to float64, as in `FrontEnd.compute`; the output is float32.

    Raises
    ------
    ValueError
        If the front end is of another kind, or `ref` is "max".

    Examples
    --------
    >>> layer = ScaledSpectrogram(FrontEnd(16000, 512, 256, 40))
    >>> layer(np.zeros((1, 4096))).shape
    TensorShape([1, 40, 17])
    """

    def __init__(self, front_end: FrontEnd | dict, **kwargs: Any):
        super().__init__(**{"dtype": "float64", **kwargs})
        self.front_end = front_end if isinstance(front_end, FrontEnd) else FrontEnd(**front_end)
        if self.front_end.kind not in ("mel", "stft") or self.front_end.ref == "max":
            raise ValueError(
                "front_end must be of kind 'mel' or 'stft' and have a number as ref. "
                f"Got {self.front_end.kind!r} and {self.front_end.ref!r}."
            )

    def call(self, inputs: Any) -> Any:  # noqa: D102 - as in keras.layers.Layer
        f = self.front_end
        mode = "constant" if f.padding == "zero" else "reflect"
        padded = ops.pad(inputs, ((0, 0), (f.n_fft // 2, f.n_fft // 2)), mode=mode)
        real, imaginary = ops.stft(padded, f.n_fft, f.hop_length, f.n_fft, center=False)
        power = ops.square(real) + ops.square(imaginary)
        if f.kind == "mel":
            power = ops.matmul(power, ops.convert_to_tensor(f.mel_weights().toarray().T, dtype=self.compute_dtype))
        faintest = f.ref * 10 ** (f.floor / 10)
        decibels = (10 / math.log(10)) * ops.log(ops.maximum(power, faintest) / f.ref)
        scaled = ops.clip((decibels - f.floor) / (f.ceiling - f.floor), 0.0, 1.0)
        return ops.cast(ops.transpose(scaled, (0, 2, 1)), "float32")

    def compute_output_shape(self, input_shape: tuple) -> tuple:  # noqa: D102 - as in keras.layers.Layer
        n_samples = input_shape[1]
        return input_shape[0], self.front_end.n_bins, None if n_samples is None else self.front_end.n_frames(n_samples)

    def get_config(self) -> dict[str, Any]:  # noqa: D102 - as in keras.layers.Layer
        return {**super().get_config(), "front_end": json.loads(self.front_end.to_json())}


@keras.saving.register_keras_serializable("musictools")
class Preprocessing(layers.Layer):
    """Decibels or magnitudes, weighted by frequency, standardised and multiplied: the variants of `choi2018` 5.2.3.

    The steps, in this order:

    1. The scaling of the front end is undone. The values are decibels or, with ``decibels=False``, magnitudes, the
       square roots of power.
    2. Each frequency bin is multiplied by its gain, and its offset is added. They are 1 and 0 until `weigh` sets them.
    3. Each input gets mean 0 and standard deviation 1. A constant one becomes 0.
    4. Everything is multiplied by `factor`.

    Input and output shape: (batch, n_bins, n_frames, 1). Gains and offsets are weights that are not trained.

    Parameters
    ----------
    front_end : FrontEnd or dict
        The one that scaled the input. A dict holds its settings.
    decibels : bool
    standardise : bool
        Whether step 3 is done.
    factor : float
    **kwargs
        Arguments of every Keras layer; ``dtype`` defaults to float32.

    Examples
    --------
    >>> layer = Preprocessing(FrontEnd(16000, 512, 256, 40), decibels=False, standardise=False)
    >>> decibels = np.full((1, 40, 2, 1), 20.0)
    >>> float(layer((decibels + 80) / 120)[0, 0, 0, 0])
    10.0
    """

    def __init__(
        self,
        front_end: FrontEnd | dict,
        decibels: bool = True,
        standardise: bool = True,
        factor: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.front_end = front_end if isinstance(front_end, FrontEnd) else FrontEnd(**front_end)
        if self.front_end.kind == "waveform":
            raise ValueError("front_end must be that of a spectrogram. Got a waveform.")
        if not factor > 0:
            raise ValueError(f"factor must be positive. Got {factor!r}.")
        self.decibels, self.standardise, self.factor = bool(decibels), bool(standardise), float(factor)

    def build(self, input_shape: tuple) -> None:  # noqa: D102 - as in keras.layers.Layer
        shape = (self.front_end.n_bins, 1, 1)
        self.gain = self.add_weight(shape=shape, name="gain", initializer="ones", trainable=False)
        self.offset = self.add_weight(shape=shape, name="offset", initializer="zeros", trainable=False)

    def weigh(self, gain: Any, offset: Any) -> None:
        """Set gain and offset of every frequency bin; the layer must be built.

        Parameters
        ----------
        gain, offset : array-like [shape=(n_bins,)]

        Raises
        ------
        ValueError
            If there are not as many as bins.
        """
        for name, values, weight in (("gain", gain, self.gain), ("offset", offset, self.offset)):
            if np.shape(values) != (self.front_end.n_bins,):
                raise ValueError(f"{name} must have shape ({self.front_end.n_bins},). Got {np.shape(values)}.")
            weight.assign(np.reshape(values, weight.shape))

    def call(self, inputs: Any) -> Any:  # noqa: D102 - as in keras.layers.Layer
        f = self.front_end
        x = f.floor + (f.ceiling - f.floor) * inputs
        if not self.decibels:
            x = ops.exp((math.log(10) / 20) * x)
        x = self.gain * x + self.offset
        if self.standardise:
            x = x - ops.mean(x, axis=(1, 2, 3), keepdims=True)
            x = x / ops.sqrt(ops.maximum(ops.mean(ops.square(x), axis=(1, 2, 3), keepdims=True), 1e-12))
        return self.factor * x

    def compute_output_shape(self, input_shape: tuple) -> tuple:  # noqa: D102 - as in keras.layers.Layer
        return input_shape

    def get_config(self) -> dict[str, Any]:  # noqa: D102 - as in keras.layers.Layer
        return {
            **super().get_config(),
            "front_end": json.loads(self.front_end.to_json()),
            "decibels": self.decibels,
            "standardise": self.standardise,
            "factor": self.factor,
        }

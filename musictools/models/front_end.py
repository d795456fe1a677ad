"""A front end as a Keras layer: waveform in, scaled spectrogram out, with derivatives.

`FrontEnd.compute` is what models are trained and applied with. This layer computes the same numbers inside a model, so
that a score can be differentiated with respect to the waveform.
"""

from __future__ import annotations

import json
import math
from typing import Any

import keras
from keras import layers, ops

from musictools.spectrograms import FrontEnd

__all__ = ["ScaledSpectrogram"]


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

"""The package's own Keras layers; importing this module registers them, so that Keras can read models with them."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers, ops

__all__ = ["FAINTEST", "LOWEST_DECIBELS", "ClassToken", "EllipticalMask", "HarmonicFilters"]

ALPHA, BETA = 0.1079, 24.7  # bandwidth in Hz of the ear's filters: slope, and at 0 Hz (Glasberg and Moore)
LOWEST = 440 * 2 ** ((24 - 69) / 12)  # C1
FAINTEST = 1e-10  # power below which decibels stop
LOWEST_DECIBELS = 10 * math.log10(FAINTEST)


@keras.saving.register_keras_serializable("musictools")
class HarmonicFilters(layers.Layer):
    """Power in decibels of a waveform in triangular bands around the harmonics of pitches a quarter tone apart.

    The filter of band b and harmonic h has its centre at f = h * C1 * 2^(b / 24) and falls to 0 at f ± w / 2, where
    w = (0.1079 f + 24.7) / Q. Q is the layer's only weight. Centres above half the sample rate pass nothing.

    Input shape: (batch, n_samples, 1). Output shape: (batch, n_bands, 1 + n_samples // hop, n_harmonics), low
    frequency first.

    Parameters
    ----------
    n_harmonics : int > 0
    n_bands : int > 0
    sample_rate : int > 0
        In Hz.
    n_fft, hop : int > 0
        Samples of a Hann window and between two; windows are centred, the waveform's ends mirrored.
    q : float > 0
        First value of Q.
    **kwargs
        Arguments of every Keras layer; ``dtype`` defaults to float32, as half precision has no Fourier transform.

    Examples
    --------
    >>> HarmonicFilters(n_harmonics=2, n_bands=24)(np.zeros((1, 1024, 1))).shape
    TensorShape([1, 24, 5, 2])
    """

    def __init__(
        self,
        n_harmonics: int = 6,
        n_bands: int = 128,
        sample_rate: int = 16000,
        n_fft: int = 512,
        hop: int = 256,
        q: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.n_harmonics, self.n_bands, self.sample_rate = n_harmonics, n_bands, sample_rate
        self.n_fft, self.hop, self.first_q = n_fft, hop, q

    def build(self, input_shape: tuple) -> None:  # noqa: D102 - as in keras.layers.Layer
        self.q = self.add_weight(shape=(), name="q", initializer=keras.initializers.Constant(self.first_q))

    def centres(self) -> list[float]:
        """Centre frequencies of the filters.

        Returns
        -------
        centres : list of float
            In Hz, the bands of harmonic 1 first.
        """
        pitches = [LOWEST * 2 ** (band / 24) for band in range(self.n_bands)]
        return [harmonic * pitch for harmonic in range(1, self.n_harmonics + 1) for pitch in pitches]

    def filters(self, dtype: str | None = None) -> Any:
        """Weight of every FFT bin in every filter, for the present Q.

        Parameters
        ----------
        dtype : str or None
            Type of the numbers. None: the layer's.

        Returns
        -------
        filters : tensor [shape=(n_fft // 2 + 1, n_harmonics * n_bands)]
            In [0, 1].
        """
        dtype = dtype or self.compute_dtype
        centres = ops.convert_to_tensor(self.centres(), dtype=dtype)
        bins = ops.arange(self.n_fft // 2 + 1, dtype=dtype) * (self.sample_rate / self.n_fft)
        widths = (ALPHA * centres + BETA) / ops.cast(self.q, dtype)
        return ops.relu(1 - 2 * ops.abs(bins[:, None] - centres) / widths)

    def power(self, inputs: Any, dtype: str | None = None) -> Any:
        """Power in every band.

        Parameters
        ----------
        inputs : tensor [shape=(n, n_samples, 1)]
            Waveforms of type `dtype`.
        dtype : str or None
            Type of the numbers. None: the layer's.

        Returns
        -------
        power : tensor [shape=(n, n_bands, 1 + n_samples // hop, n_harmonics)]
        """
        real, imaginary = ops.stft(inputs[..., 0], self.n_fft, self.hop, self.n_fft)
        power = ops.matmul(ops.square(real) + ops.square(imaginary), self.filters(dtype))
        power = ops.reshape(power, (-1, 1 + inputs.shape[1] // self.hop, self.n_harmonics, self.n_bands))
        return ops.transpose(power, (0, 3, 1, 2))

    def call(self, inputs: Any) -> Any:  # noqa: D102 - as in keras.layers.Layer
        return (10 / math.log(10)) * ops.log(ops.maximum(self.power(inputs), FAINTEST))

    def compute_output_shape(self, input_shape: tuple) -> tuple:  # noqa: D102 - as in keras.layers.Layer
        return input_shape[0], self.n_bands, 1 + input_shape[1] // self.hop, self.n_harmonics

    def get_config(self) -> dict[str, Any]:  # noqa: D102 - as in keras.layers.Layer
        return {
            **super().get_config(),
            "n_harmonics": self.n_harmonics,
            "n_bands": self.n_bands,
            "sample_rate": self.sample_rate,
            "n_fft": self.n_fft,
            "hop": self.hop,
            "q": self.first_q,
        }


@keras.saving.register_keras_serializable("musictools")
class ClassToken(layers.Layer):
    """Put a learned token before the steps of a sequence.

    Input shape: (batch, n, units). Output shape: (batch, n + 1, units).

    Parameters
    ----------
    seed : int or None
        Seed of the token's first value, uniform in [0, 1) as in the release.
    **kwargs
        Arguments of every Keras layer.

    Examples
    --------
    >>> ClassToken()(np.zeros((1, 4, 8))).shape
    TensorShape([1, 5, 8])
    """

    def __init__(self, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape: tuple) -> None:  # noqa: D102 - as in keras.layers.Layer
        self.token = self.add_weight(
            shape=(1, 1, input_shape[-1]),
            name="token",
            initializer=keras.initializers.RandomUniform(0.0, 1.0, seed=self.seed),
        )

    def call(self, inputs: Any) -> Any:  # noqa: D102 - as in keras.layers.Layer
        batch = ops.shape(inputs)[0]
        return ops.concatenate([ops.tile(ops.cast(self.token, inputs.dtype), (batch, 1, 1)), inputs], axis=1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:  # noqa: D102 - as in keras.layers.Layer
        batch, steps, units = input_shape
        return batch, steps + 1, units

    def get_config(self) -> dict[str, Any]:  # noqa: D102 - as in keras.layers.Layer
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable("musictools")
class EllipticalMask(layers.Layer):
    """Keep each feature map only inside an ellipse around its maximum, after Zhang, Wu and Zhu (2018).

    Let d be the distance from the map's maximum, measured so that d = 1 on the ellipse. A cell is multiplied by
    min(1, (1 - d) / edge), and by 0 outside the ellipse. With ``edge=1`` this is the paper's template with an ellipse
    instead of a diamond. The position of the maximum counts as a constant when derivatives are computed.

    The filter loss is equation 3 of the paper, minus the mutual information between the maps of a batch and templates
    max(1 - d, -1) at all positions and a negative one; see `filter_loss`. It is added in training only.

    Input shape: (batch, n_bins, n_frames, n_filters), not negative. The output has the same shape.

    Parameters
    ----------
    axes : (float, float)
        Semi-axes of the ellipse along frequency and time, as shares of the map's sides. Infinite ones mask nothing.
    edge : float in (0, 1]
        Part of the semi-axes over which the mask falls from 1 to 0.
    loss_weight : float >= 0
        Weight of the filter loss; 0 leaves it out.
    sharpness : float > 0
        Templates of the loss are multiplied by this number over the number of positions; 0.5 in the paper.
    **kwargs
        Arguments of every Keras layer.

    Examples
    --------
    >>> mask = EllipticalMask(axes=(0.5, 0.5), edge=0.5)
    >>> mask(np.ones((1, 1, 4, 1))).numpy().ravel().tolist()
    [1.0, 1.0, 0.0, 0.0]
    """

    def __init__(
        self,
        axes: tuple[float, float] = (0.5, 0.5),
        edge: float = 1.0,
        loss_weight: float = 0.0,
        sharpness: float = 0.5,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        axes = tuple(float(axis) for axis in axes)
        if len(axes) != 2 or not all(axis > 0 for axis in axes):
            raise ValueError(f"axes must be two positive numbers, along frequency and time. Got {axes}.")
        if not 0 < edge <= 1:
            raise ValueError(f"edge must lie in (0, 1]. Got {edge!r}.")
        if not 0 <= loss_weight < math.inf or not 0 < sharpness < math.inf:
            raise ValueError(
                f"loss_weight must be at least 0 and sharpness positive. Got {loss_weight!r} and {sharpness!r}."
            )
        self.axes, self.edge, self.loss_weight, self.sharpness = axes, edge, loss_weight, sharpness

    def mask(self, inputs: Any) -> Any:
        """Compute the mask of every map.

        Parameters
        ----------
        inputs : tensor [shape=(n, n_bins, n_frames, n_filters)]

        Returns
        -------
        mask : tensor [shape of `inputs`]
            In [0, 1].
        """
        _, n_bins, n_frames, n_filters = inputs.shape
        peak = ops.argmax(ops.reshape(inputs, (-1, n_bins * n_frames, n_filters)), axis=1)
        squares = 0.0
        for axis, peaks in enumerate((peak // n_frames, peak % n_frames)):
            side = inputs.shape[1 + axis]
            shape = (1, side, 1, 1) if axis == 0 else (1, 1, side, 1)
            away = ops.reshape(ops.arange(side, dtype=inputs.dtype), shape) - ops.cast(
                peaks[:, None, None, :], inputs.dtype
            )
            squares = squares + ops.square(away / (self.axes[axis] * side))
        return ops.stop_gradient(ops.clip((1.0 - ops.sqrt(squares)) / self.edge, 0.0, 1.0))

    def filter_loss(self, inputs: Any) -> Any:
        """Compute minus the mutual information between the maps of a batch and the templates, a mean over filters.

        The loss is low if each map of a filter fits one template much better than the filter's other maps do: it then
        has one peak, or is inactive. Labels play no part in it. In the paper they enter its approximate gradient only.

        Parameters
        ----------
        inputs : tensor [shape=(n, n_bins, n_frames, n_filters)]

        Returns
        -------
        loss : tensor []
            In nats, between -log n and 0.
        """
        _, n_bins, n_frames, n_filters = inputs.shape
        n = n_bins * n_frames
        templates = ops.convert_to_tensor(self._templates(n_bins, n_frames), dtype=inputs.dtype)
        fits = ops.einsum("bpf,pt->tbf", ops.reshape(inputs, (-1, n, n_filters)), templates)
        log_p = ops.log_softmax(fits, axis=1)  # log p(x | T)
        prior = ops.convert_to_tensor([1 / (n + 1)] * (n + 1), dtype=inputs.dtype)[:, None, None]
        log_marginal = ops.logsumexp(log_p + ops.log(prior), axis=0, keepdims=True)
        information = ops.sum(prior * ops.exp(log_p) * (log_p - log_marginal), axis=(0, 1))
        return -ops.mean(information)

    def _templates(self, n_bins, n_frames):
        """Templates as columns: one for every position, and the negative one."""
        row, column = (side.ravel() for side in np.indices((n_bins, n_frames)))
        squares = sum(
            ((place[:, None] - place) / (axis * side)) ** 2
            for place, axis, side in zip((row, column), self.axes, (n_bins, n_frames), strict=True)
        )
        templates = np.maximum(1 - np.sqrt(squares), -1)
        return np.c_[templates, -np.ones(len(row))] * (self.sharpness / len(row))

    def call(self, inputs: Any, training: bool | None = None) -> Any:  # noqa: D102 - as in keras.layers.Layer
        if training and self.loss_weight:
            self.add_loss(self.loss_weight * self.filter_loss(inputs))
        return inputs * self.mask(inputs)

    def compute_output_shape(self, input_shape: tuple) -> tuple:  # noqa: D102 - as in keras.layers.Layer
        return input_shape

    def get_config(self) -> dict[str, Any]:  # noqa: D102 - as in keras.layers.Layer
        return {
            **super().get_config(),
            "axes": self.axes,
            "edge": self.edge,
            "loss_weight": self.loss_weight,
            "sharpness": self.sharpness,
        }

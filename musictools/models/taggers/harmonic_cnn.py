"""`harmonic_cnn`: learned band-pass filters, the harmonics of a pitch stacked as channels, and a 2D network.

Source: Won, Chun, Nieto and Serra 2020, "Data-driven harmonic filters for audio representation learning" (ICASSP),
in the version that Won et al. 2020, "Evaluation of CNN-based automatic music tagging models" (SMC, arXiv:2006.00751),
released; the slides name 128 bands, 6 harmonics and inputs of 5 s. The sizes are those of that release: seven blocks
of 3x3 convolutions, the first and the fifth plain, the others residual with two each; 128 filters, from the fifth on
256; poolings of 2x2, the last two of 2x3; a hidden layer of 256. No stated size was found.

Input: (80000, 1), 5 s at 16 kHz in [-1, 1]. 313 frames enter the network, one is left of its poolings; of longer
inputs the maximum over time is taken, as in the release.

Deviations: the window has 512 samples, that of the release 513, with equal numbers of frames and bins. The first
normalisation, that of the decibels, starts with the moving mean -30 and deviation 40 instead of 0 and 1, so that an
untrained network does not saturate.

At the first bandwidths the lowest filters are narrower than the 31.25 Hz between bins: one of harmonic 1 lies between
two bins and passes nothing until Q falls, four pass next to nothing; by the release's formulas that is so there, too.
"""

import math

import keras
from keras import layers, ops

from musictools.models.blocks import Tagger

__all__ = ["MODELS", "HarmonicFilters"]

ALPHA, BETA = 0.1079, 24.7  # bandwidth in Hz of the ear's filters: slope, and at 0 Hz (Glasberg and Moore)
LOWEST = 440 * 2 ** ((24 - 69) / 12)  # C1
FAINTEST = 1e-10  # power below which decibels stop
BLOCKS = ((128, (2, 2)), (128, (2, 2)), (128, (2, 2)), (128, (2, 2)), (256, (2, 2)), (256, (2, 3)), (256, (2, 3)))
PLAIN = (1, 5)  # blocks of one convolution


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
        Of every Keras layer; ``dtype`` defaults to float32, as half precision has no Fourier transform.
    """

    def __init__(self, n_harmonics=6, n_bands=128, sample_rate=16000, n_fft=512, hop=256, q=1.0, **kwargs):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.n_harmonics, self.n_bands, self.sample_rate = n_harmonics, n_bands, sample_rate
        self.n_fft, self.hop, self.first_q = n_fft, hop, q

    def build(self, input_shape):
        """Make Q."""
        self.q = self.add_weight(shape=(), name="q", initializer=keras.initializers.Constant(self.first_q))

    def centres(self):
        """Centres in Hz as list of float, the bands of harmonic 1 first."""
        pitches = [LOWEST * 2 ** (band / 24) for band in range(self.n_bands)]
        return [harmonic * pitch for harmonic in range(1, self.n_harmonics + 1) for pitch in pitches]

    def filters(self):
        """Weights in [0, 1], tensor (n_fft // 2 + 1, n_harmonics * n_bands)."""
        centres = ops.convert_to_tensor(self.centres(), dtype=self.compute_dtype)
        bins = ops.arange(self.n_fft // 2 + 1, dtype=self.compute_dtype) * (self.sample_rate / self.n_fft)
        widths = (ALPHA * centres + BETA) / self.q
        return ops.relu(1 - 2 * ops.abs(bins[:, None] - centres) / widths)

    def call(self, inputs):
        """Return the bands' decibels."""
        real, imaginary = ops.stft(inputs[..., 0], self.n_fft, self.hop, self.n_fft)
        power = ops.matmul(ops.square(real) + ops.square(imaginary), self.filters())
        power = ops.reshape(power, (-1, 1 + inputs.shape[1] // self.hop, self.n_harmonics, self.n_bands))
        decibels = (10 / math.log(10)) * ops.log(ops.maximum(power, FAINTEST))
        return ops.transpose(decibels, (0, 3, 1, 2))

    def compute_output_shape(self, input_shape):
        """(batch, n_bands, frames, n_harmonics)."""
        return input_shape[0], self.n_bands, 1 + input_shape[1] // self.hop, self.n_harmonics

    def get_config(self):
        """Arguments for `from_config`."""
        return {**super().get_config(), "n_harmonics": self.n_harmonics, "n_bands": self.n_bands,
                "sample_rate": self.sample_rate, "n_fft": self.n_fft, "hop": self.hop, "q": self.first_q}


def _harmonic_cnn(x, *, wide, seeds, momentum):
    x = HarmonicFilters(name="harmonics")(x)
    x = layers.BatchNormalization(momentum=momentum, name="norm0", moving_mean_initializer=_constant(-30.0),
                                  moving_variance_initializer=_constant(40.0**2))(x)
    for block, (filters, pool) in enumerate(BLOCKS, start=1):
        y = _conv_norm(x, f"{block}" if block in PLAIN else f"{block}a", wide(filters), seeds, momentum)
        if block not in PLAIN:
            y = _conv_norm(layers.ReLU(name=f"relu{block}a")(y), f"{block}b", wide(filters), seeds, momentum)
            y = layers.Add(name=f"add{block}")([x, y])
        x = layers.ReLU(name=f"relu{block}")(y)
        x = layers.MaxPooling2D(pool, name=f"pool{block}")(x)
    x = layers.GlobalMaxPooling2D(name="maximum")(x)
    x = layers.Dense(wide(256), name="dense", kernel_initializer=seeds.glorot())(x)
    x = layers.BatchNormalization(momentum=momentum, name="norm_dense")(x)
    x = layers.ReLU(name="relu_dense")(x)
    return layers.Dropout(0.5, name="dropout", seed=seeds.next())(x)


def _constant(value):
    return keras.initializers.Constant(value)


def _conv_norm(x, part, filters, seeds, momentum):
    x = layers.Conv2D(filters, 3, padding="same", name=f"conv{part}", kernel_initializer=seeds.glorot())(x)
    return layers.BatchNormalization(momentum=momentum, name=f"norm{part}")(x)


MODELS = {"harmonic_cnn": Tagger((80000, 1), (287 * 256, 1), _harmonic_cnn)}

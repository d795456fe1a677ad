"""`harmonic_cnn`: learned band-pass filters, the harmonics of a pitch stacked as channels, and a 2D network.

Source: Won, Chun, Nieto and Serra 2020, "Data-driven harmonic filters for audio representation learning" (ICASSP),
in the version that Won et al. 2020, "Evaluation of CNN-based automatic music tagging models" (SMC, arXiv:2006.00751),
released; the slides name 128 bands, 6 harmonics and inputs of 5 s. The sizes are those of that release: seven blocks
of 3x3 convolutions, the first and the fifth plain, the others residual with two each; 128 filters, from the fifth on
256; poolings of 2x2, the last two of 2x3; a hidden layer of 256. The source states no size.

Input: (80000, 1), 5 s at 16 kHz in [-1, 1]. 313 frames enter the network, one is left of its poolings; of longer
inputs the maximum over time is taken, as in the release.

Deviations: the window has 512 samples, that of the release 513, with equal numbers of frames and bins. The first
normalisation, that of the decibels, starts with the moving mean -30 and deviation 40 instead of 0 and 1, so that an
untrained network does not saturate.

At the first bandwidths the lowest filters are narrower than the 31.25 Hz between bins: one of harmonic 1 lies between
two bins and passes nothing until Q falls, four pass next to nothing; by the release's formulas that is so there, too.
"""

from musictools.models.description import Description
from musictools.models.lazy import keras, layers
from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["MODELS"]

BLOCKS = ((128, (2, 2)), (128, (2, 2)), (128, (2, 2)), (128, (2, 2)), (256, (2, 2)), (256, (2, 3)), (256, (2, 3)))
PLAIN = (1, 5)  # blocks of one convolution


def _harmonic_cnn(x, *, wide, seeds, momentum):
    from musictools.models.layers import HarmonicFilters

    x = HarmonicFilters(name="harmonics")(x)
    mean, variance = keras.initializers.Constant(-30.0), keras.initializers.Constant(40.0**2)
    x = layers.BatchNormalization(
        momentum=momentum, name="norm0", moving_mean_initializer=mean, moving_variance_initializer=variance
    )(x)
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


def _conv_norm(x, suffix, filters, seeds, momentum):
    x = layers.Conv2D(filters, 3, padding="same", name=f"conv{suffix}", kernel_initializer=seeds.glorot())(x)
    return layers.BatchNormalization(momentum=momentum, name=f"norm{suffix}")(x)


MODELS = {
    "harmonic_cnn": Description(
        source="tagger_slides",
        body=_harmonic_cnn,
        smallest=(287 * 256, 1),
        place=9,
        input=ModelInput(FrontEnd(16000, 2, 1, 1, kind="waveform"), length=80000, step=40000),
    )  # 5 s
}

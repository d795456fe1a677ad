"""Musicnn of Pons et al. 2018 (PPNCP+18) in the sizes of `rotheneder2023`, section 5.1.5: `musicnn`.

Two sets of convolutions side by side on the spectrogram, each with ReLU, then batch normalisation: timbral ones, as
high as 40 % and 90 % of the mel bands (51 and 115 of 128) and 1, 3 and 7 frames long, of which the maximum over
frequency is kept, and temporal ones of 165, 128, 64 and 32 frames on the mean over frequency. Three convolutions over
time with residual connections follow, a pooling between them, then maximum and mean over time and 200 dense units.

- The thesis gives shapes, layers and the 200 units, but no numbers of filters and no parameters: filters, paddings,
  residual connections and dropouts are those of Pons et al.'s public code (music-audio-tagging-at-scale-models,
  spectrogram front end with its 16 filters as the unit), whose order of layers is that of the thesis.
- Pons et al. end in 500 units where the thesis has 200; the thesis is followed.
- Convolutions over time are written as 2-D ones of height 1, so that every feature map has a frequency and a time axis.
- Initial weights are Glorot's as everywhere in this package, in the public code those of variance scaling.

At width 1 there are 5,630,580 parameters for 108 tags. The 787 thousand that musicnn-training states for the later
library "musicnn" (Pons and Serra 2019; 50 tags, 96 mel bands) are those of another network, with five front-end
shapes and 64 filters in the middle, not of a width of this one.
"""

from musictools.models.description import Description
from musictools.models.lazy import layers
from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["MODELS"]

_TIMBRAL_PERCENTS = (90, 40)
_TIMBRAL = ((7, 16), (3, 32), (1, 64))  # frames, filters
_TEMPORAL = ((165, 16), (128, 32), (64, 64), (32, 128))


def _body(x, *, wide, seeds, momentum):
    x = layers.Concatenate(name="front_end")(
        [*_timbral(x, wide, seeds, momentum), *_temporal(x, wide, seeds, momentum)]
    )
    x = _convolved(x, wide(512), (1, 7), "1", seeds, momentum, padding="valid")
    x = layers.Add(name="add2")([x, _convolved(x, wide(512), (1, 7), "2", seeds, momentum)])
    x = layers.MaxPooling2D((1, 2), name="pool2")(x)
    x = layers.Add(name="add3")([x, _convolved(x, wide(512), (1, 7), "3", seeds, momentum)])
    x = layers.Concatenate(name="global_pools")(
        [layers.GlobalMaxPooling2D(name="global_max")(x), layers.GlobalAveragePooling2D(name="global_mean")(x)]
    )
    x = layers.Dropout(0.5, name="dropout1", seed=seeds.next())(x)
    x = layers.Dense(wide(200), activation="relu", name="dense", kernel_initializer=seeds.glorot())(x)
    x = layers.BatchNormalization(momentum=momentum, name="norm")(x)
    return layers.Dropout(0.5, name="dropout2", seed=seeds.next())(x)


def _timbral(x, wide, seeds, momentum):
    n_mels = x.shape[1]
    # Padded in time only: a filter that hangs over the edge of the mel bands would take the zeros for timbre.
    padded = {
        frames: layers.ZeroPadding2D((0, frames // 2), name=f"pad_timbral_{frames}")(x) if frames > 1 else x
        for frames, _ in _TIMBRAL
    }
    for percent in _TIMBRAL_PERCENTS:
        height = n_mels * percent // 100
        for frames, filters in _TIMBRAL:
            name = f"_timbral{percent}_{frames}"
            y = _convolved(padded[frames], wide(filters), (height, frames), name, seeds, momentum, padding="valid")
            yield layers.MaxPooling2D((n_mels - height + 1, 1), name=f"pool{name}")(y)


def _temporal(x, wide, seeds, momentum):
    x = layers.AveragePooling2D((x.shape[1], 1), name="pool_temporal")(x)
    for frames, filters in _TEMPORAL:
        yield _convolved(x, wide(filters), (1, frames), f"_temporal_{frames}", seeds, momentum)


def _convolved(x, filters, kernel, name, seeds, momentum, *, padding="same"):
    x = layers.Conv2D(
        filters, kernel, padding=padding, activation="relu", name=f"conv{name}", kernel_initializer=seeds.glorot()
    )(x)
    return layers.BatchNormalization(momentum=momentum, name=f"norm{name}")(x)


MODELS = {
    "musicnn": Description(
        source="rotheneder2023",
        body=_body,
        input=ModelInput(FrontEnd(16000, 512, 256, 128), 188, 94),
        smallest=(3, 8, 1),
        learning_rate=1e-3,
        batch_size=64,
        place=4,
    )
}

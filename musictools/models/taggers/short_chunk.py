"""Short-chunk CNNs of Won et al. 2020 (WFBS20): `short_chunk` and its residual variant `short_chunk_res`.

`short_chunk` is that of `rotheneder2023`, section 5.1.3 and table 5.3: seven 3x3 convolutions, each with batch
normalisation, ReLU and 2x2 pooling; 3,721,708 parameters at 108 tags and width 1.

- The table ends dense, dropout, ReLU, sigmoid, which could give no score below 0.5; the end is that of Won et al.:
  dense 512, batch normalisation, ReLU, dropout, dense, sigmoid, with the same parameters.
- The table's third convolution prints 128 output channels, but its parameters and the text are those of 256.
- Won et al. pool what the convolutions leave by a global maximum; as in the table it is flattened, the same for the
  table's input, where one position is left.
- Won et al. normalise the spectrogram by a batch normalisation of its own; as in the table there is none.

`short_chunk_res` is not in `rotheneder2023`: each convolution becomes convolution, normalisation, ReLU, convolution,
normalisation, to which the block's input is added before the ReLU, through a 3x3 convolution and a normalisation where
the channels change; 10,224,364 parameters at 108 tags and width 1.

- The authors' code (minzwon/sota-music-tagging-models) halves by strides of 2 in the block's first convolution and in
  the shortcut, which every block then needs; here the 2x2 poolings of `short_chunk` halve.
"""

from functools import partial

from musictools.models.description import Description
from musictools.models.lazy import layers
from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["MODELS"]

_FILTERS = (128, 128, 256, 256, 256, 256, 512)


def _body(x, *, block, wide, seeds, momentum):
    for number, filters in enumerate(_FILTERS, start=1):
        x = block(x, wide(filters), number, seeds, momentum)
        x = layers.ReLU(name=f"relu{number}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(wide(512), name="dense", kernel_initializer=seeds.glorot())(x)
    x = layers.BatchNormalization(momentum=momentum, name="norm")(x)
    x = layers.ReLU(name="relu")(x)
    return layers.Dropout(0.5, name="dropout", seed=seeds.next())(x)


def _normalized(x, filters, number, seeds, momentum):
    x = layers.Conv2D(filters, 3, padding="same", name=f"conv{number}", kernel_initializer=seeds.glorot())(x)
    return layers.BatchNormalization(momentum=momentum, name=f"norm{number}")(x)


def _residual(x, filters, number, seeds, momentum):
    y = _normalized(x, filters, f"{number}a", seeds, momentum)
    y = layers.ReLU(name=f"relu{number}a")(y)
    y = _normalized(y, filters, f"{number}b", seeds, momentum)
    # Compared at width 1 by position, not by number of channels, so that a narrow network has the same layers.
    if number == 1 or _FILTERS[number - 1] != _FILTERS[number - 2]:
        x = _normalized(x, filters, f"{number}_shortcut", seeds, momentum)
    return layers.Add(name=f"add{number}")([x, y])


_SHAPES = {"input": ModelInput(FrontEnd(16000, 512, 256, 128), 230, 115), "smallest": (128, 128, 1), "place": 2}
MODELS = {
    "short_chunk": Description(source="rotheneder2023", body=partial(_body, block=_normalized), **_SHAPES),
    "short_chunk_res": Description(source="tagger_slides", body=partial(_body, block=_residual), **_SHAPES),
}

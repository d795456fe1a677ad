"""FCN-4 of Choi et al. 2016 (CFS16) and its adaptation to short inputs of Ferraro et al. (FBJ+21): `fcn4`, `vgg_cnn`.

Both as in `rotheneder2023`, section 5.1.4 and table 5.4: four 3x3 convolutions, each with batch normalisation, ReLU,
pooling and dropout, no hidden dense layer; 17,491,436 parameters each at 108 tags and width 1.

- The fourth convolution moves in strides of 3, which neither the text nor the table states but the table's shapes need
  (12x22 -> 4x8, 11x6 -> 4x2).
- The first two poolings are 2x4, which only the shapes tell; 1366 -> 342 needs padded ("same") poolings.
- The table lists two ReLU shapes of the adaptation wrongly: the first with the pooled size, the third with 76 channels.
- Table 5.4 flattens a single position; a larger input leaves several, which are flattened into more features.
"""

from functools import partial

from musictools.models.description import Description
from musictools.models.lazy import layers
from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["MODELS"]

_FILTERS = (128, 384, 768, 2048)
_STRIDES = (1, 1, 1, 3)
_FCN4_POOLS = (((2, 4), (2, 4)), ((2, 4), (2, 4)), ((3, 8), (2, 4)), ((4, 8), (4, 8)))  # size, stride
_VGG_CNN_POOLS = (((2, 4), (2, 4)), ((2, 4), (2, 4)), ((4, 8), (3, 4)), ((4, 2), (4, 2)))


def _body(x, *, pools, wide, seeds, momentum):
    for block, (filters, stride, (size, step)) in enumerate(zip(_FILTERS, _STRIDES, pools, strict=True), start=1):
        x = layers.Conv2D(
            wide(filters), 3, strides=stride, padding="same", name=f"conv{block}", kernel_initializer=seeds.glorot()
        )(x)
        x = layers.BatchNormalization(momentum=momentum, name=f"norm{block}")(x)
        x = layers.ReLU(name=f"relu{block}")(x)
        x = layers.MaxPooling2D(size, strides=step, padding="same", name=f"pool{block}")(x)
        x = layers.Dropout(0.5, name=f"dropout{block}", seed=seeds.next())(x)
    return layers.Flatten(name="flatten")(x)


MODELS = {
    "fcn4": Description(
        source="rotheneder2023",
        body=partial(_body, pools=_FCN4_POOLS),
        smallest=(1, 1, 1),
        input=ModelInput(FrontEnd(12000, 256, 256, 96), 1366, 1366),
        batch_size=64,
        place=3,
    ),
    "vgg_cnn": Description(
        source="rotheneder2023",
        body=partial(_body, pools=_VGG_CNN_POOLS),
        smallest=(1, 1, 1),
        input=ModelInput(FrontEnd(16000, 512, 256, 128), 342, 171),
        learning_rate=1e-3,
        batch_size=128,
        place=3,
    ),
}

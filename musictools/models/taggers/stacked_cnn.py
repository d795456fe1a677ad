"""The second, better network of Donini da Silva et al. 2020 (dSdCD20) as in `rotheneder2023`: `stacked_cnn`.

Section 5.1.6 and table 5.5: seven blocks of 3x3 convolution with ReLU, batch normalisation, dropout and 2x2 pooling,
then dense layers of 256 and 128 units; 1,311,660 parameters at 108 tags and width 1. "Stacked" is its training, not
its layers: a second stage trains the same network on the same input from the weights that the first has left.

- Neither the text nor the table names an activation for the two hidden dense layers; they have ReLU.
"""

from musictools.models.description import Description
from musictools.models.lazy import layers
from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["MODELS"]

_BLOCKS = ((16, 0.2), (32, 0.2), (64, 0.25), (128, 0.3), (128, 0.3), (256, 0.3), (256, 0.3))  # filters, dropout


def _body(x, *, wide, seeds, momentum):
    for block, (filters, rate) in enumerate(_BLOCKS, start=1):
        x = layers.Conv2D(
            wide(filters), 3, padding="same", activation="relu", name=f"conv{block}", kernel_initializer=seeds.glorot()
        )(x)
        x = layers.BatchNormalization(momentum=momentum, name=f"norm{block}")(x)
        x = layers.Dropout(rate, name=f"dropout{block}", seed=seeds.next())(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate((256, 128), start=1):
        x = layers.Dense(wide(units), activation="relu", name=f"dense{number}", kernel_initializer=seeds.glorot())(x)
    return x


MODELS = {
    "stacked_cnn": Description(
        source="rotheneder2023",
        body=_body,
        input=ModelInput(FrontEnd(22050, 8192, 2048, 128), 314, 314),
        smallest=(128, 128, 1),
        learning_rate=1e-3,
        stages=2,
        place=5,
    )
}

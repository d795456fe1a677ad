"""`compact_convnet`: five convolutions of 32 filters whose features chapter 6 of `choi2018` transfers.

Source: `choi2018`, section 2.4 and table 2-B, and the network that its author's repository of chapter 6 publishes for
Keras 2, whose layers this has one by one: 39,602 parameters at 50 tags besides its front end. The text states no size.
On GTZAN these weights do not give the published features of chapter 6, which seem to come from another training of
the same network, for Keras 1: the repository keeps the two apart.

Input: (96, 1360, 1), 96 mel bands of 29 s at 12 kHz, 512/256, in decibels. Like the published network it standardises
every clip first, so any linear scaling of the decibels gives the same scores.

Table 2-B and the published network differ twice, and the network is followed: the poolings are (2, 4), (3, 4), (2, 5),
(2, 4), (4, 4), which leave one value of 96 bands and 1,360 frames, where the table's (2, 4), (4, 4), (4, 5), (2, 4),
(4, 4) need 256 bands; batch normalisation and ELU stand before the pooling, not after it.

Deviations: the published convolutions were initialised after He, these after Glorot. Clips are standardised by
Keras's layer normalisation, with 1e-6 added to the variance instead of a small number to the deviation.
"""

from musictools.models.description import Description
from musictools.models.lazy import layers
from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["MODELS"]

POOLS = ((2, 4), (3, 4), (2, 5), (2, 4), (4, 4))  # bands, frames


def _compact_convnet(x, *, wide, seeds, momentum):
    x = layers.LayerNormalization(axis=[1, 2, 3], center=False, scale=False, epsilon=1e-6, name="standardise")(x)
    for block, pool in enumerate(POOLS, start=1):
        x = layers.Conv2D(wide(32), 3, padding="same", name=f"conv{block}", kernel_initializer=seeds.glorot())(x)
        x = layers.BatchNormalization(momentum=momentum, name=f"norm{block}")(x)
        x = layers.ELU(name=f"elu{block}")(x)
        x = layers.MaxPooling2D(pool, name=f"pool{block}")(x)
    return layers.GlobalMaxPooling2D(name="maximum")(x)


MODELS = {
    "compact_convnet": Description(
        source="choi2018",
        body=_compact_convnet,
        input=ModelInput(FrontEnd(12000, 512, 256, 96), 1360, 1360),
        smallest=(96, 1280, 1),
        place=10,
    )
}

"""`crnn`: convolutions that find local features, gated recurrent units that sum them up over time.

Source: `choi2018`, section 4.2.4 and table 4-A (published before as Choi et al. 2017, ICASSP, arXiv:1609.04243). The
widths are those of the column "0.5", half a million parameters with 2 % tolerance: convolutions of 68, 137, 137 and
137 filters, two layers of 68 units. ``width`` = 30/68, 48/68, 96/68 and 169/68 give the other four columns within a
filter or two. The slides say no more than four 3x3 convolutions and two layers of GRU.

Input: (96, 1366, 1), 96 mel bands of 29 s at 12 kHz, 512/256. Batch normalisation, ELU, pooling and dropout follow
every convolution; the last state of the second recurrent layer feeds the output.

The text gives 15 steps before the recurrent layers, which pooling 1,366 frames alone does not (14); the published
weights are those of 1,440 frames, so 37 empty ones are added on either side here, as there.

Deviations: the GRU is Keras's with two biases, which runs on cuDNN, 408 parameters more than with one. The batch
normalisation of the input in the published weights is left out, as the chapter does not mention it. Dropout 0.1
stands after all four poolings, where the text only says "between convolutional layers". The smaller network of
the published weights (64, 128, 128, 128 filters, 32 units) is in no column of the table and not built.
`models.structures` has all five columns with exactly their widths, and with that normalisation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from musictools.models.blocks import Seeds
from musictools.models.description import Description
from musictools.models.lazy import keras, layers
from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["MODELS", "recurrent_body"]

POOLS = (2, 3, 4, 4)  # sides
EMPTY_FRAMES = 37  # on either side


def recurrent_body(
    x: Any,
    *,
    filters: Sequence[int] = (68, 137, 137, 137),
    units: int = 68,
    normalise: bool = False,
    wide: Callable[[int], int],
    seeds: Seeds,
    momentum: float,
) -> Any:
    """Build the network below its output.

    Parameters
    ----------
    x : keras.KerasTensor
    filters : sequence of int
        Of the four convolutions.
    units : int > 0
        Of both recurrent layers.
    normalise : bool
        Batch normalisation of every frame of the input, as in the published weights.
    wide, seeds, momentum
        As for `Description.body`.

    Returns
    -------
    features : keras.KerasTensor
    """
    x = layers.ZeroPadding2D((0, EMPTY_FRAMES), name="padding")(x)
    if normalise:
        x = layers.BatchNormalization(axis=2, momentum=momentum, name="norm0")(x)
    for block, (width, pool) in enumerate(zip(filters, POOLS, strict=True), start=1):
        x = layers.Conv2D(wide(width), 3, padding="same", name=f"conv{block}", kernel_initializer=seeds.glorot())(x)
        x = layers.BatchNormalization(momentum=momentum, name=f"norm{block}")(x)
        x = layers.ELU(name=f"elu{block}")(x)
        x = layers.MaxPooling2D(pool, name=f"pool{block}")(x)
        x = layers.Dropout(0.1, name=f"dropout{block}", seed=seeds.next())(x)
    x = layers.Permute((2, 1, 3), name="time_first")(x)
    x = layers.Reshape((x.shape[1], -1), name="steps")(x)
    x = _gru(x, "gru1", wide(units), seeds, return_sequences=True)
    return _gru(x, "gru2", wide(units), seeds)


def _gru(x, name, units, seeds, **options):
    return layers.GRU(
        units,
        name=name,
        kernel_initializer=seeds.glorot(),
        recurrent_initializer=keras.initializers.Orthogonal(seed=seeds.next()),
        **options,
    )(x)


MODELS = {
    "crnn": Description(
        source="choi2018",
        body=recurrent_body,
        input=ModelInput(FrontEnd(12000, 512, 256, 96), 1366, 1366),
        smallest=(96, 96 - 2 * EMPTY_FRAMES, 1),
        place=7,
    )
}

"""Four structures in five sizes, to compare them at equal numbers of parameters: `choi2018`, chapter 4.

`k1c2` has kernels in time only, `k2c1` one that spans all bands and then kernels in time, `k2c2` kernels of 3x3, and
`crnn` two recurrent layers over the last maps. ``<structure>_<size>`` is the network of a column of table 4-A, for
example ``k2c2_0_25m`` that of 250,000 parameters. `models.names("structure")` lists all twenty; with 50 tags they have
the number of trainable parameters that `BUDGETS` gives, within 2 %, except `k1c2_0_1m` with 4.8 % more.

Input: (96, 1366, 1), 96 mel bands of 29 s at 12 kHz, 512/256. Batch normalisation and ELU follow every convolution and
every dense layer but the last; only the CRNN has dropout, 0.1 after each pooling. The last maps have 96 bands and one
frame (k1c2), one band and one frame (k2c1, k2c2), one band and 15 frames (CRNN).

What the text leaves open or contradicts itself in:

- Batch normalisation of every frame of the input is not mentioned. Both networks that the author published with an
  input of this size have it, and without it k2c1, k2c2 and CRNN would have 2.5 to 3.2 % too little at 0.1 million.
- Kernels of 1x4 in k1c2, which the text states, would give 5 to 8 % too little in four of the five sizes, and the
  convolutions 7 % of the parameters at 0.5 million where the text has 13 %. With 1x8 they have 13 %.
- "(1x4) or (1x5)" for the poolings of k2c1: 4, 4, 4, 4, 5 leave one frame, which the widths of its dense layers need.
"""

from functools import partial

from musictools.models.description import Description
from musictools.models.lazy import layers
from musictools.models.taggers.crnn import recurrent_body
from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["BUDGETS", "MODELS", "STRUCTURES"]

BUDGETS = {"0_1m": 100_000, "0_25m": 250_000, "0_5m": 500_000, "1m": 1_000_000, "3m": 3_000_000}
STRUCTURES = ("k1c2", "k2c1", "k2c2", "crnn")
_WIDTHS = {  # widths of the layers in table 4-A, without repetitions: one row per structure, one tuple per size
    "k1c2": ((15, 30), (23, 47), (33, 66), (47, 95), (81, 163)),
    "k2c1": ((43, 87), (72, 145), (106, 212), (152, 304), (265, 535)),
    "k2c2": ((20, 41, 62, 83), (33, 66, 100, 133), (47, 95, 142, 190), (67, 135, 203, 271), (118, 236, 355, 473)),
    "crnn": ((30, 60), (48, 96), (68, 137), (96, 195), (169, 339)),
}
_K2C2_POOLS = ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4))  # bands, frames


def _k1c2(x, *, widths, wide, seeds, momentum):
    a, b = widths
    x = _normalised_frames(x, momentum)
    for number, (filters, pool) in enumerate(zip((a, a, b, b), (4, 5, 8, 8), strict=True), start=1):
        x = _block(x, number, wide(filters), (1, 8), (1, pool), seeds=seeds, momentum=momentum)
    return _dense(x, (b, b), wide=wide, seeds=seeds, momentum=momentum)


def _k2c1(x, *, widths, wide, seeds, momentum):
    a, b = widths
    x = _normalised_frames(x, momentum)
    x = layers.ZeroPadding2D(((0, 0), (1, 2)), name="padding")(x)  # the first kernel leaves one band and all frames
    for number, (filters, pool) in enumerate(zip((a, a, a, b, b), (4, 4, 4, 4, 5), strict=True), start=1):
        kernel = (x.shape[1], 4)
        padding = "valid" if number == 1 else "same"
        x = _block(x, number, wide(filters), kernel, (1, pool), padding=padding, seeds=seeds, momentum=momentum)
    return _dense(x, (b, b), wide=wide, seeds=seeds, momentum=momentum)


def _k2c2(x, *, widths, wide, seeds, momentum):
    a, b, c, d = widths
    x = _normalised_frames(x, momentum)
    for number, (filters, pool) in enumerate(zip((a, b, b, c, d), _K2C2_POOLS, strict=True), start=1):
        x = _block(x, number, wide(filters), 3, pool, seeds=seeds, momentum=momentum)
    return layers.Flatten(name="flatten")(x)


def _crnn(x, *, widths, wide, seeds, momentum):
    units, filters = widths
    return recurrent_body(
        x, filters=(units, filters, filters, filters), units=units, normalise=True, wide=wide, seeds=seeds,
        momentum=momentum,
    )  # fmt: skip


def _normalised_frames(x, momentum):
    return layers.BatchNormalization(axis=2, momentum=momentum, name="norm0")(x)


def _block(x, number, filters, kernel, pool, *, padding="same", seeds, momentum):
    x = layers.Conv2D(filters, kernel, padding=padding, name=f"conv{number}", kernel_initializer=seeds.glorot())(x)
    x = layers.BatchNormalization(momentum=momentum, name=f"norm{number}")(x)
    x = layers.ELU(name=f"elu{number}")(x)
    return layers.MaxPooling2D(pool, name=f"pool{number}")(x)


def _dense(x, widths, *, wide, seeds, momentum):
    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate(widths, start=1):
        x = layers.Dense(wide(units), name=f"dense{number}", kernel_initializer=seeds.glorot())(x)
        x = layers.BatchNormalization(momentum=momentum, name=f"dense_norm{number}")(x)
        x = layers.ELU(name=f"dense_elu{number}")(x)
    return x


_BODIES = {"k1c2": _k1c2, "k2c1": _k2c1, "k2c2": _k2c2, "crnn": _crnn}
_SMALLEST = {"k1c2": (1, 1280, 1), "k2c1": (1, 1280, 1), "k2c2": (96, 1280, 1), "crnn": (96, 22, 1)}

MODELS = {
    f"{structure}_{size}": Description(
        source="choi2018",
        kind="structure",
        body=partial(_BODIES[structure], widths=widths),
        input=ModelInput(FrontEnd(12000, 512, 256, 96), 1366, 1366),
        smallest=_SMALLEST[structure],
        learning_rate=1e-3,
        place=11,
    )
    for structure in STRUCTURES
    for size, widths in zip(BUDGETS, _WIDTHS[structure], strict=True)
}

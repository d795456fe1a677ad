"""The genre classifiers: `ckn19` and `pg20` of `rotheneder2023` (3.2, 3.3), `choi_stft` of `choi2018` (7.2.4).

Input: (n_bins, length, 1), low frequency first, scaled to [0, 1] by the front end. Output: softmax over genres.
The logits are the input of the layer named ``softmax``. Padding is "same" throughout; ckn19's batch normalisation
stands after the ReLU of its convolution ("composed of a convolutional layer, followed by a batch normalization").

The input of choi_stft is a plain STFT, 257 bins and 173 frames (4 s, as `choi2018` cuts its songs). The chapter gives
its five convolutions, poolings and "two fully connected layers" without their sizes: 512 and 256 units with dropout 0.5
stand in the example that the author published with it, as hidden layers below the softmax. No batch normalisation is
named and none is used; the local response normalisation of that example is left out.
"""

from musictools.models.description import Description
from musictools.models.lazy import layers
from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["MODELS"]


def _ckn19(x, *, wide, seeds, momentum):
    for block, filters in enumerate((64, 128, 256), start=1):
        x = layers.Conv2D(
            wide(filters), 3, padding="same", activation="relu", name=f"conv{block}", kernel_initializer=seeds.glorot()
        )(x)
        x = layers.BatchNormalization(momentum=momentum, name=f"norm{block}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(wide(512), activation="relu", name="dense", kernel_initializer=seeds.glorot())(x)
    return layers.Dropout(0.2, name="dropout", seed=seeds.next())(x)


def _pg20(x, *, wide, seeds, momentum):
    for block, filters in enumerate((64, 128, 256, 512, 1024, 2048), start=1):
        # Table 3.3 lists from its fourth row on the parameters of the layer below; its total is that of 2x2 kernels.
        x = layers.Conv2D(
            wide(filters), 2, padding="same", activation="relu", name=f"conv{block}", kernel_initializer=seeds.glorot()
        )(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(wide(4096), activation="relu", name="dense", kernel_initializer=seeds.glorot())(x)
    return layers.Dropout(0.5, name="dropout", seed=seeds.next())(x)


def _choi_stft(x, *, wide, seeds, momentum):
    for block in range(1, 6):
        x = layers.Conv2D(
            wide(64), 3, padding="same", activation="relu", name=f"conv{block}", kernel_initializer=seeds.glorot()
        )(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate((512, 256), start=1):
        x = layers.Dense(wide(units), activation="relu", name=f"dense{number}", kernel_initializer=seeds.glorot())(x)
        x = layers.Dropout(0.5, name=f"dropout{number}", seed=seeds.next())(x)
    return x


_INPUT = ModelInput(FrontEnd(16000, 1024, 512, 128), length=128, step=64)
_TRAINING = {"kind": "genre", "learning_rate": 1e-3, "batch_size": 64, "place": 0}  # rotheneder2023 3.4
MODELS = {
    "ckn19": Description(source="rotheneder2023", body=_ckn19, input=_INPUT, smallest=(8, 8, 1), **_TRAINING),
    "pg20": Description(source="rotheneder2023", body=_pg20, input=_INPUT, smallest=(64, 64, 1), **_TRAINING),
    "choi_stft": Description(
        source="choi2018",
        body=_choi_stft,
        smallest=(32, 32, 1),
        **_TRAINING,
        input=ModelInput(FrontEnd(11025, 512, 256, 257, kind="stft"), length=173, step=173),
    ),
}

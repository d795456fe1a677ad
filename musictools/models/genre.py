"""The genre classifiers: `ckn19` and `pg20` of `rotheneder2023` (3.2, 3.3), `choi_stft` of `choi2018` (7.2.4).

Input: (n_bins, length, 1), low frequency first, scaled to [0, 1] by the front end. Output: softmax over genres.
The logits are the input of the layer named ``softmax``. Padding is "same" throughout; ckn19's batch normalisation
stands after the ReLU of its convolution ("composed of a convolutional layer, followed by a batch normalization").

choi_stft listens to a plain STFT, 257 bins and 173 frames (4 s). The chapter gives its five convolutions, poolings and
"two fully connected layers" without their sizes: 512 and 256 units with dropout 0.5 stand in the example that the
author published with it, as hidden layers below the softmax. No batch normalisation is named and none is used; the
local response normalisation of that example is left out.
"""

import keras
from keras import layers

from musictools.models.blocks import Seeds, check_build

__all__ = ["build"]


def build(name, *, n_classes, input_shape=(128, 128, 1), width=1.0, norm_momentum=0.99, seed=None):
    """Build a genre classifier.

    Parameters
    ----------
    name : {"ckn19", "pg20", "choi_stft"}
    n_classes : int > 1
    input_shape : tuple of 3 int
        (n_bins, length, 1); each side at least 8 (ckn19), 64 (pg20) or 32 (choi_stft) because of the poolings.
        choi_stft's own is (257, 173, 1).
    width : float > 0
        Multiplier for filters and units; 1.0 gives 33,930,504 and 44,769,480 parameters at 8 classes, and of choi_stft
        1,592,968 at its own input shape.
    norm_momentum : float in [0, 1)
        Momentum of ckn19's batch normalisation; Keras's 0.99 needs some hundred steps before the moving averages
        mean anything, small runs take 0.9.
    seed : int or None
        Seed of initial weights and dropout.

    Returns
    -------
    model : keras.Model
        Functional; float32 probabilities, shape (batch, n_classes).

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> build("ckn19", n_classes=8).count_params()
    33930504
    """
    builders = {"ckn19": (_ckn19, 8), "pg20": (_pg20, 64), "choi_stft": (_choi_stft, 32)}
    if name not in builders:
        raise ValueError(f"No genre model is called {name!r}. Known: {', '.join(builders)}.")
    body, smallest = builders[name]
    check_build(name, n_outputs=n_classes, outputs_name="n_classes", smallest=2, width=width,
                norm_momentum=norm_momentum)
    if len(input_shape) != 3 or input_shape[2] != 1 or min(input_shape[:2]) < smallest:
        raise ValueError(
            f"input_shape must be (n_mels, length, 1) with sides of at least {smallest} for {name}. Got {input_shape}."
        )
    seeds = Seeds(seed)
    inputs = layers.Input(input_shape, name="spectrogram")
    x = body(inputs, lambda n: max(1, round(n * width)), seeds, norm_momentum)
    x = layers.Dense(int(n_classes), name="logits", kernel_initializer=seeds.glorot())(x)
    return keras.Model(inputs, layers.Softmax(name="softmax")(x), name=name)


def _ckn19(x, wide, seeds, norm_momentum):
    for block, filters in enumerate((64, 128, 256), start=1):
        x = layers.Conv2D(wide(filters), 3, padding="same", activation="relu", name=f"conv{block}",
                          kernel_initializer=seeds.glorot())(x)
        x = layers.BatchNormalization(momentum=norm_momentum, name=f"norm{block}")(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(wide(512), activation="relu", name="dense", kernel_initializer=seeds.glorot())(x)
    return layers.Dropout(0.2, name="dropout", seed=seeds.next())(x)


def _pg20(x, wide, seeds, _):
    for block, filters in enumerate((64, 128, 256, 512, 1024, 2048), start=1):
        # Table 3.3 lists from its fourth row on the parameters of the layer below; its total is that of 2x2 kernels.
        x = layers.Conv2D(wide(filters), 2, padding="same", activation="relu", name=f"conv{block}",
                          kernel_initializer=seeds.glorot())(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(wide(4096), activation="relu", name="dense", kernel_initializer=seeds.glorot())(x)
    return layers.Dropout(0.5, name="dropout", seed=seeds.next())(x)


def _choi_stft(x, wide, seeds, _):
    for block in range(1, 6):
        x = layers.Conv2D(wide(64), 3, padding="same", activation="relu", name=f"conv{block}",
                          kernel_initializer=seeds.glorot())(x)
        x = layers.MaxPooling2D(2, name=f"pool{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    for number, units in enumerate((512, 256), start=1):
        x = layers.Dense(wide(units), activation="relu", name=f"dense{number}", kernel_initializer=seeds.glorot())(x)
        x = layers.Dropout(0.5, name=f"dropout{number}", seed=seeds.next())(x)
    return x

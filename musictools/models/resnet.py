"""ResNet-34 of He et al. (2016), the genre classifier of `sharma2022` (4.1.2.1): `resnet34`.

Input: the image of a song, (224, 224, 1) or any other spectrogram, in [0, 1]. A convolution of 7x7 and a pooling, then
3, 4, 6 and 3 blocks of two 3x3 convolutions with 64, 128, 256 and 512 filters, whose input is added to their output,
the mean over the last maps, and the logits. Convolutions have no bias; each is followed by a batch normalisation.

- The thesis says that inputs are padded with zeros where a connection skips to more filters. The network that it
  trains, PyTorch's, has convolutions of 1x1 there, with which the 21,797,672 parameters of 1,000 classes and three
  channels come out; these are used here.
- Paddings are PyTorch's (the same on both sides), so that weights trained there can be loaded, see
  `musictools.released.imagenet`. They are layers of their own: Keras's "same" pads strided convolutions on one side.
- Names follow PyTorch's with underscores: its ``layer4.2.conv2``, the bottleneck of `sharma2022`, is
  ``layer4_2_conv2``.

The thesis starts from weights of photographs, trains the last two convolutions and the head, and shows four versions of
four songs in a batch:

>>> model = imagenet.set_weights(models.build("resnet34", n_outputs=8), "resnet34.pth")  # doctest: +SKIP
>>> training.fit(train_last_layers(model), BandedImages(x), np.repeat(y, 4, axis=0), validation=validation,
...              epochs=50, batch_size=16, learning_rate=1e-4)  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from musictools.models.description import Description
from musictools.models.lazy import layers
from musictools.spectrograms import FrontEnd, ModelInput

if TYPE_CHECKING:
    import keras

__all__ = ["MODELS", "train_last_layers"]

BLOCKS = ((64, 3), (128, 4), (256, 6), (512, 3))  # filters, blocks
EPSILON = 1e-5  # of PyTorch's batch normalisation
_IMAGE = FrontEnd(44100, 1024, 512, 128, kind="image", image=(224, 224), seconds=30)


def _body(x, *, wide, seeds, momentum):
    def normalised(x, filters, size, name, *, stride=1):
        """Convolution, padded on all sides, and batch normalisation."""
        if stride > 1 and size > 1:
            x = layers.ZeroPadding2D(size // 2, name=f"{name}_pad")(x)
        x = layers.Conv2D(
            filters,
            size,
            strides=stride,
            padding="valid" if stride > 1 else "same",
            use_bias=False,
            name=name,
            kernel_initializer=seeds.glorot(),
        )(x)
        return layers.BatchNormalization(momentum=momentum, epsilon=EPSILON, name=f"{name}_norm")(x)

    x = layers.ReLU(name="relu1")(normalised(x, wide(64), 7, "conv1", stride=2))
    x = layers.ZeroPadding2D(1, name="pool1_pad")(x)  # 0 is the least that a ReLU lets pass
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    for number, (filters, n_blocks) in enumerate(BLOCKS, start=1):
        for block in range(n_blocks):
            name, stride = f"layer{number}_{block}", 2 if number > 1 and block == 0 else 1
            skipped = x
            x = layers.ReLU(name=f"{name}_relu1")(normalised(x, wide(filters), 3, f"{name}_conv1", stride=stride))
            x = normalised(x, wide(filters), 3, f"{name}_conv2")
            if stride > 1:
                skipped = normalised(skipped, wide(filters), 1, f"{name}_skip", stride=stride)
            x = layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_add")([x, skipped]))
    return layers.GlobalAveragePooling2D(name="global_mean")(x)


def train_last_layers(model: keras.Model, *, convolutions: int = 2) -> keras.Model:
    """Let only the last convolutions and the head learn, as `sharma2022` fine-tunes weights of photographs (4.1.2.2).

    All other layers are frozen. Frozen batch normalisations use their moving averages also during training.

    Parameters
    ----------
    model : keras.Model
        Changed in place; ``musictools.training.fit`` compiles it anew.
    convolutions : int >= 0
        Number of convolutions that learn, counted from the end; the dense layers after them always learn.

    Returns
    -------
    model : keras.Model

    Raises
    ------
    ValueError
        If the model does not have so many convolutions.

    Examples
    --------
    >>> from musictools import models
    >>> model = train_last_layers(models.build("resnet34", n_outputs=8, width=0.125, seed=0))
    >>> [weight.path for weight in model.trainable_weights]
    ['layer4_2_conv1/kernel', 'layer4_2_conv2/kernel', 'logits/kernel', 'logits/bias']
    """
    from keras import layers as kinds

    found = [layer.name for layer in model.layers if isinstance(layer, kinds.Conv2D | kinds.Conv1D)]
    if not 0 <= convolutions <= len(found):
        raise ValueError(f"{model.name} has {len(found)} convolutions. Got convolutions={convolutions!r}.")
    learning = set(found[len(found) - convolutions :])
    after = max((number for number, layer in enumerate(model.layers) if layer.name in found), default=-1)
    for number, layer in enumerate(model.layers):
        layer.trainable = layer.name in learning or (number > after and isinstance(layer, kinds.Dense))
    return model


MODELS = {
    "resnet34": Description(
        source="sharma2022",
        body=_body,
        input=ModelInput(_IMAGE, length=224, step=224),
        smallest=(32, 32, 1),
        kind="genre",
        learning_rate=1e-4,
        batch_size=16,
        channels=(1, 3),
        place=0,
    )
}

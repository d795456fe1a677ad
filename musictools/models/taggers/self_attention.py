"""`self_attention`: a convolutional front end whose steps in time attend to each other.

Source: Won, Chun and Serra 2019, "Toward interpretable music tagging with self-attention" (arXiv:1906.04972), in the
version that Won et al. 2020, "Evaluation of CNN-based automatic music tagging models" (SMC, arXiv:2006.00751),
released and the slides list: seven residual blocks of strided 3x3 convolutions, then two layers of a Transformer
encoder as in BERT (256 units, 8 heads, 1,024 hidden units, GELU, normalisation after the sum) on the steps and a class
token, whose last state passes a dense layer with tanh. The sizes are those of that release. The source states no size.

Input: (128, 938, 1), 128 mel bands of 15 s at 16 kHz, 512/256; 118 steps reach the encoder.

Deviations: the class token is learned, in the release it is random and stays so (256 parameters more). The batch
normalisation of the input is left out, as the front end scales it. Strided convolutions are padded as Keras does,
at the end first. Units are rounded to a multiple of the 8 heads, which matters at widths other than 1 only. Like the
release, and unlike BERT, the encoder knows no positions. With more than 128 bands every remaining band and step is
a token of its own.
"""

from musictools.models.description import Description
from musictools.models.lazy import layers
from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["MODELS"]

HEADS = 8
STRIDES = (2, 2, 2, (2, 1), (2, 1), (2, 1), (2, 1))


def _self_attention(x, *, wide, seeds, momentum):
    from musictools.models.layers import ClassToken

    units = HEADS * max(1, round(wide(256) / HEADS))
    for block, strides in enumerate(STRIDES, start=1):
        x = _residual(x, block, wide(128) if block < 3 else units, strides, seeds, momentum)
    x = layers.Permute((2, 1, 3), name="time_first")(x)
    x = layers.Reshape((-1, units), name="steps")(x)
    x = ClassToken(seed=seeds.next(), name="class_token")(x)
    for number in (1, 2):
        x = _encoder(x, number, units, 4 * units, seeds)
    x = layers.Cropping1D((0, x.shape[1] - 1), name="class_state")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(units, activation="tanh", name="dense", kernel_initializer=seeds.glorot())(x)
    return layers.Dropout(0.5, name="dropout", seed=seeds.next())(x)


def _residual(x, block, filters, strides, seeds, momentum):
    def conv_norm(y, suffix, strides=1):
        y = layers.Conv2D(
            filters, 3, strides=strides, padding="same", name=f"conv{block}{suffix}", kernel_initializer=seeds.glorot()
        )(y)
        return layers.BatchNormalization(momentum=momentum, name=f"norm{block}{suffix}")(y)

    y = layers.ReLU(name=f"relu{block}a")(conv_norm(x, "a", strides))
    y = layers.Add(name=f"add{block}")([conv_norm(y, "b"), conv_norm(x, "_shortcut", strides)])
    return layers.ReLU(name=f"relu{block}")(y)


def _encoder(x, number, units, hidden, seeds):
    attention = layers.MultiHeadAttention(
        HEADS,
        units // HEADS,
        dropout=0.5,
        name=f"attention{number}",
        kernel_initializer=seeds.glorot(),
        seed=seeds.next(),
    )
    y = attention(x, x)
    # Keras gives queries, keys and values equal weights when the initialiser has a seed.
    for dense in (attention.key_dense, attention.value_dense, attention.output_dense):
        dense.kernel.assign(seeds.glorot()(dense.kernel.shape))
    x = _add_norm(x, y, f"{number}a", seeds)
    y = layers.Dense(hidden, activation="gelu", name=f"hidden{number}", kernel_initializer=seeds.glorot())(x)
    y = layers.Dense(units, name=f"forward{number}", kernel_initializer=seeds.glorot())(y)
    return _add_norm(x, y, f"{number}b", seeds)


def _add_norm(x, y, suffix, seeds):
    y = layers.Dropout(0.4, name=f"encoder_dropout{suffix}", seed=seeds.next())(y)
    x = layers.Add(name=f"encoder_add{suffix}")([x, y])
    return layers.LayerNormalization(epsilon=1e-12, name=f"encoder_norm{suffix}")(x)


MODELS = {
    "self_attention": Description(
        source="tagger_slides",
        body=_self_attention,
        input=ModelInput(FrontEnd(16000, 512, 256, 128), 938, 469),
        smallest=(8, 8, 1),
        place=8,
    )
}

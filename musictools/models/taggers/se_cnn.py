"""SE-CNN of Ju et al. (JHP22) as `rotheneder2023` builds it (section 5.1.2, table 5.2): `se_cnn`.

Five convolutions with ReLU, each weighted channel by channel by a squeeze-and-excitation block; 793,738 parameters at
108 tags and width 1.

- The text puts 2x4 poolings after the first three blocks, the table 2x4, 2x4, 2x2; the table's shapes are followed.
- The table gives the SE blocks no parameters, but its total holds 1,540 of them: those of dense layers without biases
  that squeeze to a 32nd of the channels, rounded down.
- The table's 783,738 trainable parameters are a misprint: total less non-trainable is 783,658.
"""

from musictools.models.description import Description
from musictools.models.lazy import layers
from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["MODELS"]

_SQUEEZE_RATIO = 32
_BLOCKS = (  # filters, kernel, pooling
    (50, (3, 7), (2, 4)),
    (100, (3, 5), (2, 4)),
    (70, (3, 3), (2, 2)),
    (70, (3, 3), None),
    (70, (3, 3), (2, 2)),
)


def _body(x, *, wide, seeds, momentum):
    for block, (filters, kernel, pool) in enumerate(_BLOCKS, start=1):
        x = layers.Conv2D(
            wide(filters),
            kernel,
            padding="same",
            activation="relu",
            name=f"conv{block}",
            kernel_initializer=seeds.glorot(),
        )(x)
        x = _gated(x, block, seeds)
        if pool is not None:
            x = layers.MaxPooling2D(pool, name=f"pool{block}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.BatchNormalization(momentum=momentum, name="norm")(x)
    return layers.Dropout(0.6, name="dropout", seed=seeds.next())(x)


def _gated(x, block, seeds):
    filters = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(name=f"gate{block}_mean")(x)
    gate = layers.Dense(
        max(1, filters // _SQUEEZE_RATIO),
        activation="relu",
        use_bias=False,
        name=f"gate{block}_squeeze",
        kernel_initializer=seeds.glorot(),
    )(gate)
    gate = layers.Dense(
        filters, activation="sigmoid", use_bias=False, name=f"gate{block}_excite", kernel_initializer=seeds.glorot()
    )(gate)
    gate = layers.Reshape((1, 1, filters), name=f"gate{block}_reshape")(gate)
    return layers.Multiply(name=f"gate{block}")([x, gate])


MODELS = {
    "se_cnn": Description(
        source="rotheneder2023",
        body=_body,
        input=ModelInput(FrontEnd(16000, 512, 512, 128), 628, 90),
        smallest=(16, 64, 1),
        batch_size=32,
        place=1,
    )
}

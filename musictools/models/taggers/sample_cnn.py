"""`sample_cnn` and `sample_cnn_se`: very short filters on the waveform itself.

`sample_cnn` is the 3^9 network of Lee et al. 2017, "Sample-level deep convolutional neural networks for music
auto-tagging using raw waveforms" (SMC, arXiv:1703.01789); the tagger slides describe the same. Its layers and its
stated size, 1.9 million parameters, are given from memory and agree with the layers that Won et al. 2020 released.
`sample_cnn_se` is SE+multi of Kim et al. 2018, "Sample-level CNN architectures for music auto-tagging using raw
waveforms" (ICASSP, arXiv:1710.10451), with the sizes of its authors' release: gates with 16 times as many hidden units
as channels, the maxima of the last three blocks, a hidden layer of their joint size. The source states no size for it.

Input: (59049, 1), in [-1, 1]; 3.7 s at 16 kHz as in Won et al. 2020 and the slides.

Deviations: the papers sample at 22.05 kHz. Kim et al. initialise convolutions after He, here Glorot's initialiser
serves for all. `sample_cnn` takes the maximum over time before its dropout, which changes nothing at 59,049 samples,
where one step is left, and admits longer inputs. The slides' model is the release of Won et al., which adds residual
connections to the gates; here stand the gates alone, as in Kim et al.
"""

from musictools.models.description import Description
from musictools.models.lazy import layers
from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["MODELS"]

FILTERS = (128, 128, 256, 256, 256, 256, 256, 256, 512)
AMPLIFICATION = 16  # hidden units of a gate per channel


def _sample_cnn(x, *, wide, seeds, momentum):
    x = _norm_relu(_first(x, wide, seeds), "1", momentum)
    for block, filters in enumerate(FILTERS, start=2):
        x = _block(x, block, wide(filters), seeds, momentum)
    x = layers.Conv1D(wide(512), 1, name="conv11", kernel_initializer=seeds.glorot())(x)
    x = _norm_relu(x, "11", momentum)
    x = layers.GlobalMaxPooling1D(name="maximum")(x)
    return layers.Dropout(0.5, name="dropout", seed=seeds.next())(x)


def _sample_cnn_se(x, *, wide, seeds, momentum):
    x = _norm_relu(_first(x, wide, seeds), "1", momentum)
    levels = []
    for block, filters in enumerate(FILTERS, start=2):
        x = _block(x, block, wide(filters), seeds, momentum)
        x = _gate(x, block, seeds)
        levels.append(x)
    last = list(enumerate(levels, start=2))[-3:]
    x = layers.Concatenate(name="levels")([layers.GlobalMaxPooling1D(name=f"maximum{k}")(y) for k, y in last])
    x = layers.Dense(x.shape[-1], name="dense", kernel_initializer=seeds.glorot())(x)
    x = _norm_relu(x, "_dense", momentum)
    return layers.Dropout(0.5, name="dropout", seed=seeds.next())(x)


def _first(x, wide, seeds):
    return layers.Conv1D(wide(128), 3, strides=3, name="conv1", kernel_initializer=seeds.glorot())(x)


def _block(x, block, filters, seeds, momentum):
    x = layers.Conv1D(filters, 3, padding="same", name=f"conv{block}", kernel_initializer=seeds.glorot())(x)
    x = _norm_relu(x, block, momentum)
    return layers.MaxPooling1D(3, name=f"pool{block}")(x)


def _norm_relu(x, block, momentum):
    x = layers.BatchNormalization(momentum=momentum, name=f"norm{block}")(x)
    return layers.ReLU(name=f"relu{block}")(x)


def _gate(x, block, seeds):
    """Every channel times a number in (0, 1) that depends on the means of all (squeeze and excitation)."""
    channels = x.shape[-1]
    gate = layers.GlobalAveragePooling1D(keepdims=True, name=f"squeeze{block}")(x)
    gate = layers.Dense(
        channels * AMPLIFICATION, activation="relu", name=f"excite{block}", kernel_initializer=seeds.glorot()
    )(gate)
    gate = layers.Dense(channels, activation="sigmoid", name=f"gate{block}", kernel_initializer=seeds.glorot())(gate)
    return layers.Multiply(name=f"gated{block}")([x, gate])


_INPUT = ModelInput(FrontEnd(16000, 2, 1, 1, kind="waveform"), length=3**10, step=29524)  # 3.7 s
MODELS = {
    "sample_cnn": Description(source="tagger_slides", body=_sample_cnn, input=_INPUT, smallest=(3**10, 1), place=6),
    "sample_cnn_se": Description(
        source="tagger_slides", body=_sample_cnn_se, input=_INPUT, smallest=(3**10, 1), place=6
    ),
}

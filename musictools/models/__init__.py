"""Keras models by name; no data and no training here.

Every model has a `Description`: its builder, its front end and segments, how its source trains it. Taggers stand in
`taggers`, one family per file, genre classifiers in `genre` and `resnet`, networks that are compared at equal numbers
of parameters in `structures`. Every builder takes ``width``, a multiplier for the number of filters and units, so that
a small machine can train a narrow copy of the same network; ``width=1.0`` is the source's own network, parameter by
parameter.
"""

from __future__ import annotations

import functools
import math
import pkgutil
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from musictools.models import archive
from musictools.models.blocks import Seeds
from musictools.models.description import Description
from musictools.models.lazy import keras

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["build", "describe", "layer_table", "load", "names"]


@functools.cache
def _descriptions():
    """Descriptions of all models by name, in the order in which they are listed."""
    from musictools.models import genre, resnet, structures, taggers

    modules = [
        genre,
        resnet,
        structures,
        *(import_module(f"{taggers.__name__}.{m.name}") for m in pkgutil.iter_modules(taggers.__path__)),
    ]
    known = {name: description for module in modules for name, description in module.MODELS.items()}
    return dict(sorted(known.items(), key=lambda pair: pair[1].place))


def names(kind: str | None = None) -> tuple[str, ...]:
    """Names that `build` and `describe` know.

    Parameters
    ----------
    kind : {None, "genre", "tagger", "structure"}
        The genre classifiers, the taggers, or the networks of `models.structures`; None: the first two.

    Returns
    -------
    names : tuple of str

    Raises
    ------
    ValueError
        If `kind` is unknown.

    Examples
    --------
    >>> names("genre")
    ('ckn19', 'pg20', 'choi_stft', 'resnet34')
    """
    if kind not in (None, "genre", "tagger", "structure"):
        raise ValueError(f"kind must be None, 'genre', 'tagger' or 'structure'. Got {kind!r}.")
    kinds = ("genre", "tagger") if kind is None else (kind,)
    return tuple(name for name, description in _descriptions().items() if description.kind in kinds)


def describe(name: str) -> Description:
    """Look up what is known of a model before it is built; TensorFlow is not loaded.

    Parameters
    ----------
    name : str
        One of `names()` or `names("structure")`.

    Returns
    -------
    description : Description

    Raises
    ------
    ValueError
        If the name is unknown.

    See Also
    --------
    build : The model itself.

    Examples
    --------
    >>> short_chunk = describe("short_chunk")
    >>> short_chunk.input.shape, short_chunk.front_end.sr, short_chunk.source
    ((128, 230, 1), 16000, 'rotheneder2023')
    """
    if name not in _descriptions():
        raise ValueError(f"No model is called {name!r}. Known: {', '.join(names())}.")
    return _descriptions()[name]


def build(
    name: str,
    *,
    n_outputs: int,
    input_shape: tuple[int, ...] | None = None,
    width: float = 1.0,
    norm_momentum: float = 0.99,
    seed: int | None = None,
) -> keras.Model:
    """Build an untrained model by name.

    Parameters
    ----------
    name : str
        One of `names()` or `names("structure")`.
    n_outputs : int > 0
        Number of tags, or of genres, which must be at least 2.
    input_shape : tuple of int or None
        Without the batch; None takes the source's.
    width : float > 0
        Multiplier for filters and units; 1.0 is the source's network.
    norm_momentum : float in [0, 1)
        Momentum of batch normalisation; Keras's 0.99 needs some hundred steps before the moving averages mean
        anything, small runs take 0.9.
    seed : int or None
        Seed of initial weights and dropout.

    Returns
    -------
    model : keras.Model
        Functional; float32 scores in (0, 1), shape (batch, n_outputs). The layer ``logits`` feeds the layer ``sigmoid``
        of a tagger, ``softmax`` of a genre classifier.

    Raises
    ------
    ValueError
        If the name is unknown, an argument is out of range, or the input is too small for the poolings.

    See Also
    --------
    load : Read a trained model.

    Examples
    --------
    >>> build("se_cnn", n_outputs=108).count_params()
    793738
    >>> build("ckn19", n_outputs=8, width=0.125, seed=0).output_shape
    (None, 8)
    """
    description = describe(name)
    least = 2 if description.kind == "genre" else 1
    if isinstance(n_outputs, bool) or not isinstance(n_outputs, int | np.integer) or n_outputs < least:
        raise ValueError(f"n_outputs of {name} must be an int of at least {least}. Got {n_outputs!r}.")
    if not isinstance(width, int | float) or not 0 < width < math.inf:
        raise ValueError(f"width must be positive. Got {width!r}.")
    if not 0 <= norm_momentum < 1:
        raise ValueError(f"norm_momentum must lie in [0, 1). Got {norm_momentum!r}.")
    shape, smallest = tuple(input_shape or description.input.shape), description.smallest
    channels = "one channel" if description.channels == (1,) else "one or three channels"
    if len(shape) != len(smallest) or any(np.less(shape, smallest)) or shape[-1] not in description.channels:
        raise ValueError(
            f"input_shape of {name} must have {len(smallest)} sides of at least {smallest} and {channels}. Got {shape}."
        )
    seeds = Seeds(seed)
    inputs = keras.layers.Input(shape, name="waveform" if len(shape) == 2 else "spectrogram")
    x = description.body(inputs, wide=lambda n: max(1, round(n * width)), seeds=seeds, momentum=norm_momentum)
    # Logits and scores are two layers, so that explanations can start from the logits.
    x = keras.layers.Dense(int(n_outputs), name="logits", kernel_initializer=seeds.glorot())(x)
    genre = description.kind == "genre"
    head = keras.layers.Softmax(name="softmax") if genre else keras.layers.Activation("sigmoid", name="sigmoid")
    return keras.Model(inputs, head(x), name=name)


def load(path: str | Path) -> keras.Model:
    """Read a saved model, also one with the package's own layers.

    Parameters
    ----------
    path : str or Path
        A ``.keras`` file.

    Returns
    -------
    model : keras.Model

    Raises
    ------
    ValueError
        If there is no such file, it is damaged or no Keras model, or its layers run code or read files, such as Lambda.

    See Also
    --------
    build : An untrained model.
    musictools.inference.AudioModel : A trained model with its card, applied to songs.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     build("se_cnn", n_outputs=8, width=0.125).save(Path(folder) / "model.keras")
    ...     load(Path(folder) / "model.keras").output_shape
    (None, 8)
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file. A trained model ends in .keras.")
    for name in ("layers", "front_end"):  # they register the package's own layers with Keras
        import_module(f"musictools.models.{name}")
    try:
        archive.check(path)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # noqa: BLE001 - Keras and TensorFlow raise nearly anything for impossible settings
        text = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} is damaged, no Keras model, or has layers unknown here ({text}).") from error


def layer_table(model: keras.Model, *, activations: bool = False, one_output_row: bool = False) -> pd.DataFrame:
    """A model's layers as the sources list them.

    Parameters
    ----------
    model : keras.Model
        Built. The layers of a squeeze-and-excitation gate, ``gate<n>…``, make one row.
    activations : bool
        Name the ReLU of a convolution, as `rotheneder2023` does in chapter 5 and not in chapter 3.
    one_output_row : bool
        Name the activation of the output in the row of its dense layer, as in tables 3.2, 3.3 and 5.2.

    Returns
    -------
    table : pd.DataFrame
        layer (kind and size), output_shape (without the batch), parameters; the last row is the total.

    Examples
    --------
    >>> layer_table(build("ckn19", n_outputs=8)).iloc[[1, -1]]["parameters"].tolist()
    [640, 33930504]
    """
    import pandas as pd

    rows = []
    for name, group in groupby(model.layers, key=lambda layer: _block(layer.name)):
        layers = list(group)
        shape = ", ".join(str(n) for n in layers[-1].output.shape[1:])
        kind = "SE-Block" if name.startswith("gate") else _describe(layers[0], activations)
        rows.append((kind, shape, sum(layer.count_params() for layer in layers)))
    if one_output_row and rows[-1][0] in ("Softmax", "Sigmoid"):
        (dense, shape, n_parameters), (activation, _, _) = rows[-2:]
        rows[-2:] = [(f"{dense} ({activation})", shape, n_parameters)]
    return pd.DataFrame([*rows, ("Total", "", model.count_params())], columns=["layer", "output_shape", "parameters"])


def _block(name):
    """The gate that a layer belongs to, else its own name."""
    return name.split("_")[0] if name.startswith("gate") else name


def _describe(layer, activations):
    kind = type(layer).__name__
    size = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    size = f" ({'x'.join(map(str, size if isinstance(size, tuple) else (size,)))})" if size else ""
    rate = f" ({layer.rate})" if kind == "Dropout" else ""
    if kind == "Activation":
        return layer.activation.__name__.capitalize()
    names = {"InputLayer": "Input Layer", "BatchNormalization": "Batch Normalization"}
    relu = " (ReLU)" if activations and kind == "Conv2D" and layer.activation.__name__ == "relu" else ""
    return (names.get(kind) or kind.replace("Conv2D", "Convolutional Layer")) + relu + size + rate

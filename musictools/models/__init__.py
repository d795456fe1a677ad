"""Keras models by name, one family a file; no data and no training here.

Every builder takes ``width``, a multiplier for the number of filters and units, so that a small machine can
train a narrow copy of the same network. ``width=1.0`` is the source's own network, parameter by parameter.
"""

import zlib
from importlib import import_module
from itertools import groupby
from pathlib import Path
from zipfile import BadZipFile

__all__ = ["build", "layer_table", "load", "names"]

GENRE = ("ckn19", "pg20", "choi_stft")


def names(kind=None):
    """Names that `build` knows.

    Parameters
    ----------
    kind : {None, "genre", "tagger"}
        All, the genre classifiers, or the taggers.

    Returns
    -------
    names : tuple of str
    """
    from musictools.models import taggers

    known = {None: GENRE + taggers.names(), "genre": GENRE, "tagger": taggers.names()}
    if kind not in known:
        raise ValueError(f"kind must be None, 'genre' or 'tagger'. Got {kind!r}.")
    return known[kind]


def build(name, **options):
    """Build an untrained model by name.

    Parameters
    ----------
    name : str
        One of `names()`.
    **options
        Passed to the family's builder: ``n_classes`` of a genre classifier, ``n_tags`` of a tagger, ``input_shape``,
        ``width``, ``norm_momentum``, ``seed``.

    Returns
    -------
    model : keras.Model

    Raises
    ------
    ValueError
        If the name is unknown or an option is out of range.
    """
    if name not in names():
        raise ValueError(f"No model is called {name!r}. Known: {', '.join(names())}.")
    from musictools.models import genre, taggers

    return (genre if name in GENRE else taggers).build(name, **options)


def load(path):
    """Read a saved model of the suite, its own layers included.

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
        If there is no such file, or it is damaged or no Keras model.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file. A trained model ends in .keras.")
    import keras

    from musictools.models import taggers

    for family in taggers.FAMILIES:
        import_module(f"musictools.models.taggers.{family}")  # registers its layers with Keras
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, OSError, KeyError, TypeError, BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged, no Keras model, or has layers unknown here ({error}).") from error


def layer_table(model, *, activations=False):
    """A model's layers as the sources list them.

    Parameters
    ----------
    model : keras.Model
        Built. The layers of a squeeze-and-excitation gate, ``gate<n>…``, make one row.
    activations : bool
        Name the ReLU of a convolution, as `rotheneder2023` does in chapter 5 and not in chapter 3.

    Returns
    -------
    table : pd.DataFrame
        layer (kind and size), output_shape (without the batch), parameters; the last row is the total.
    """
    import pandas as pd

    rows = []
    for name, group in groupby(model.layers, key=lambda layer: _block(layer.name)):
        layers = list(group)
        shape = ", ".join(str(n) for n in layers[-1].output.shape[1:])
        kind = "SE-Block" if name.startswith("gate") else _describe(layers[0], activations)
        rows.append((kind, shape, sum(layer.count_params() for layer in layers)))
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

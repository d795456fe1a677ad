"""Keras models by name, one family a file; no data and no training here.

Every builder takes ``width``, a multiplier for the number of filters and units, so that a small machine can
train a narrow copy of the same network. ``width=1.0`` is the source's own network, parameter by parameter.
"""

from importlib import import_module
from pathlib import Path

__all__ = ["build", "layer_table", "load", "names"]

GENRE = ("ckn19", "pg20")


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
        If there is no such file or it is no Keras model.
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
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no Keras model, or one with layers unknown here ({error}).") from error


def layer_table(model):
    """A model's layers as the sources list them.

    Parameters
    ----------
    model : keras.Model
        Built.

    Returns
    -------
    table : pd.DataFrame
        layer (kind and size), output_shape (without the batch), parameters; the last row is the total.
    """
    import pandas as pd

    rows = [(_describe(layer), ", ".join(str(n) for n in layer.output.shape[1:]), layer.count_params())
            for layer in model.layers]
    return pd.DataFrame([*rows, ("Total", "", model.count_params())], columns=["layer", "output_shape", "parameters"])


def _describe(layer):
    kind = type(layer).__name__
    size = getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None)
    size = f" ({'x'.join(map(str, size if isinstance(size, tuple) else (size,)))})" if size else ""
    rate = f" ({layer.rate})" if kind == "Dropout" else ""
    names = {"InputLayer": "Input Layer", "BatchNormalization": "Batch Normalization"}
    return (names.get(kind) or kind.replace("Conv2D", "Convolutional Layer")) + size + rate

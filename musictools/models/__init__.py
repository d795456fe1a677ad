"""Keras models by name, one family a file; no data and no training here.

Every builder takes ``width``, a multiplier for the number of filters and units, so that a small machine can
train a narrow copy of the same network. ``width=1.0`` is the source's own network, parameter by parameter.
"""

__all__ = ["build", "layer_table", "names"]

GENRE = ("ckn19", "pg20")


def names():
    """Names that `build` knows, as a tuple of str."""
    return GENRE


def build(name, *, n_classes, **options):
    """Build an untrained model by name.

    Parameters
    ----------
    name : str
        One of `names()`.
    n_classes : int > 0
        Genres of a genre model, tags of a tagger.
    **options
        Passed to the family's builder: `input_shape`, `width`, `seed`.

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
    from musictools.models import genre

    return genre.build(name, n_classes=n_classes, **options)


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

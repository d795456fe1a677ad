"""Keras models by name, one family a file; no data and no training here.

Every builder takes ``width``, a multiplier for the number of filters and units, so that a small machine can
train a narrow copy of the same network. ``width=1.0`` is the source's own network, parameter by parameter.
"""

__all__ = ["build", "names"]

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

"""The taggers of the sources, one family a file; every one ends in the layers ``logits`` and ``sigmoid``.

Spectrogram models take (n_mels, length, 1), low frequency first, scaled to [0, 1] by the front end; waveform models
take (n_samples, 1) in [-1, 1]. A family's module holds `MODELS`: name -> `Tagger`, the input shape that its source
uses, the smallest that its poolings allow, and the function that builds everything below the head.
"""

from importlib import import_module

__all__ = ["FAMILIES", "build", "input_shape", "names"]

FAMILIES = {
    "se_cnn": ("se_cnn",),
    "short_chunk": ("short_chunk", "short_chunk_res"),
    "fcn": ("fcn4", "vgg_cnn"),
    "musicnn": ("musicnn",),
    "stacked_cnn": ("stacked_cnn",),
    "sample_cnn": ("sample_cnn", "sample_cnn_se"),
    "crnn": ("crnn",),
    "self_attention": ("self_attention",),
    "harmonic_cnn": ("harmonic_cnn",),
    "compact_convnet": ("compact_convnet",),
}


def names():
    """Names that `build` knows, as a tuple of str."""
    return tuple(name for family in FAMILIES.values() for name in family)


def input_shape(name):
    """Input shape of a tagger in its source, without the batch, tuple of int."""
    return _tagger(name).input_shape


def build(name, *, n_tags, input_shape=None, width=1.0, norm_momentum=0.99, seed=None):
    """Build an untrained tagger.

    Parameters
    ----------
    name : str
        One of `names()`.
    n_tags : int > 0
    input_shape : tuple of int or None
        Without the batch; None takes the source's, `input_shape(name)`.
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
        Functional; float32 scores in (0, 1), shape (batch, n_tags). The layer ``logits`` feeds the layer ``sigmoid``.

    Raises
    ------
    ValueError
        If an argument is out of range or the input too small for the poolings.

    Examples
    --------
    >>> build("se_cnn", n_tags=108).count_params()
    793738
    """
    tagger = _tagger(name)
    import keras

    from musictools.models import blocks

    blocks.check_build(name, n_outputs=n_tags, outputs_name="n_tags", smallest=1, width=width,
                       norm_momentum=norm_momentum)
    shape = tagger.input_shape if input_shape is None else tuple(input_shape)
    if len(shape) != len(tagger.smallest) or any(a < b for a, b in zip(shape, tagger.smallest)) or shape[-1] != 1:
        raise ValueError(f"input_shape of {name} must have {len(tagger.smallest)} sides of at least {tagger.smallest} "
                         f"and one channel. Got {shape}.")
    seeds = blocks.Seeds(seed)
    inputs = keras.layers.Input(shape, name="waveform" if len(shape) == 2 else "spectrogram")
    x = tagger.body(inputs, wide=lambda n: max(1, round(n * width)), seeds=seeds, momentum=norm_momentum)
    return keras.Model(inputs, blocks.sigmoid_head(x, n_tags, seeds), name=name)


def _tagger(name):
    for family, members in FAMILIES.items():
        if name in members:
            return import_module(f"musictools.models.taggers.{family}").MODELS[name]
    raise ValueError(f"No tagger is called {name!r}. Known: {', '.join(names())}.")

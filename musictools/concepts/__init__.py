"""Concepts of spectrogram networks: what parts of the music drive an output.

`discover` cuts spectrograms into patches, clusters their activations into concepts and tests which of them an output
depends on (`sharma2022`; ACE and TCAV, corrected). `tcav` tests a concept that is given by examples. Both take any
Functional or Sequential Keras model. Names are loaded when they are first used: importing this package loads neither
TensorFlow nor scikit-learn.

>>> from musictools import concepts
>>> found = concepts.discover(model, x, labels, names=genres)  # doctest: +SKIP
>>> found.ranked("rock").head()  # doctest: +SKIP
"""

from importlib import import_module

_NAMES = {
    "Bottleneck": "bottleneck",
    "Cav": "vectors",
    "CavSet": "vectors",
    "Concepts": "discovery",
    "Patches": "patches",
    "TcavResult": "testing",
    "alike": "layout",
    "arrange": "layout",
    "associations": "correctness",
    "best_associations": "correctness",
    "discover": "discovery",
    "fit_cav": "vectors",
    "flag": "artefacts",
    "frequency": "discovery",
    "load": "storing",
    "patch_properties": "correctness",
    "save": "storing",
    "segment": "patches",
    "tcav": "testing",
}

__all__ = list(_NAMES)


def __getattr__(name: str):
    if name not in _NAMES:
        raise AttributeError(f"musictools.concepts has no {name!r}")
    thing = getattr(import_module(f"musictools.concepts.{_NAMES[name]}"), name)
    globals()[name] = thing
    return thing

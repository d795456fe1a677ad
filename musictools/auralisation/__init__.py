"""What a feature of a convnet sounds like: deconvolution, sound, numbers beside the ear, pruning (`choi2018`, 7.2).

Names are loaded when they are first used, so that measures of sounds alone do not load TensorFlow.
"""

from importlib import import_module

_HOMES = {"ActivationMask": "ren", "Auralisation": "sound", "Deconvolution": "deconvolution", "ablate": "pruning",
          "auralise": "sound", "effective_sizes": "kernels", "masked_by_activation": "ren", "measure": "measures",
          "upsampled_deconvolution": "ren"}
_MODULES = ("deconvolution", "figures", "items", "kernels", "measures", "page", "pruning", "ren", "sanity", "sound",
            "survey")

__all__ = [*_HOMES, *_MODULES]


def __getattr__(name):
    if name in _MODULES:
        return import_module(f"musictools.auralisation.{name}")
    if name not in _HOMES:
        raise AttributeError(f"musictools.auralisation has no {name!r}")
    found = getattr(import_module(f"musictools.auralisation.{_HOMES[name]}"), name)
    globals()[name] = found
    return found

"""What a feature of a CNN sounds like: deconvolution, resynthesis, measures of the sounds, pruning (`choi2018`, 7.2).

Names are loaded when they are first used, so that measures of sounds alone do not load TensorFlow.
"""

from importlib import import_module

_NAMES = {
    "ActivationMask": "activation_masks",
    "Auralisation": "sound",
    "Deconvolution": "deconvolution",
    "ablate": "pruning",
    "auralise": "sound",
    "effective_sizes": "kernels",
    "masked_by_activation": "activation_masks",
    "measure": "measures",
    "upsampled_deconvolution": "activation_masks",
}
_MODULES = ("activation_masks", "deconvolution", "kernels", "measures", "page", "pruning", "sanity", "sound")

__all__ = [*_NAMES, *_MODULES]


def __getattr__(name):
    if name in _MODULES:
        return import_module(f"musictools.auralisation.{name}")
    if name not in _NAMES:
        raise AttributeError(f"musictools.auralisation has no {name!r}")
    return getattr(import_module(f"musictools.auralisation.{_NAMES[name]}"), name)

"""Features of a trained network on other tasks: averages of its layers, judged by support vector machines.

The package follows chapter 6 of `choi2018`. A network is run once over every clip, the averages of its feature maps
are kept for each layer, and a support vector machine learns a new task from the averages of some of the layers.

    features    feature vectors of clips: averages of layers, statistics of MFCCs, subsets of layers
    tasks       targets, groups and folds
    machines    support vector machines over a grid of kernels and costs
    selection   a machine is chosen and measured: nested, or on the same folds as in the source

A machine is measured on clips that it was not chosen on, and clips of one group (such as an artist) are never on both
sides of a fold. The source chooses and measures on the same folds; `selection.same_folds` does that, for comparison.
"""

from importlib import import_module

__all__ = ["features", "machines", "selection", "tasks"]


def __getattr__(name):
    if name in __all__:
        return import_module(f"musictools.transfer.{name}")
    raise AttributeError(f"musictools.transfer has no {name!r}")

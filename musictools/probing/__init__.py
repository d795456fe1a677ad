"""Which feature map predicts which descriptor: every map of a trained network alone as the input of small classifiers.

The package follows chapter 6 and appendix A of `rotheneder2023` and adds what the thesis left out: the support vector
machine, baselines (a constant prediction, an untrained network), intervals, sets of maps, and stems. Modules are loaded
when they are first used.

    maps           feature maps on disk, read one at a time
    clips          which tags are probed for, and which segment of every clip
    knn            k nearest neighbours, one search for all tags
    streams        feature maps in passes that fit a disk budget
    random_forest  random forests, one for all sizes
    svm            support vector machines with a linear, an exact and an approximate kernel
    probes         these classifiers on every map, in parallel
    scores         measures with jackknife intervals, tables
    map_sets       the smallest set of maps that together predict a descriptor
    dissection     whether a map is active where the instrument sounds
"""

from importlib import import_module

__all__ = ["clips", "dissection", "knn", "map_sets", "maps", "probes", "random_forest", "scores", "streams", "svm"]


def __getattr__(name):
    if name in __all__:
        return import_module(f"musictools.probing.{name}")
    raise AttributeError(f"musictools.probing has no {name!r}")

"""Which feature map carries which descriptor: every map of a trained network alone as the input of a small classifier.

`rotheneder2023`, chapter 6 and appendix A, with what the thesis left out: the support vector machine, a guess, an
untrained network, intervals, sets of maps, and stems. Modules are loaded when they are first used.

    maps           feature maps on disk, one read at a time
    clips          which clips and tags take part, and how they are divided
    knn            nearest neighbours, equal to scikit-learn's, one search for all tags
    random_forest  random forests, one for all sizes
    svm            support vector machines: linear, exact and approximate kernel
    probes         all of these on every map, through `runs.map`
    scores         measures with jackknife intervals, tables
    map_sets       the smallest set of maps that carries a descriptor together
    dissection     does a map light up where the instrument sounds
"""

from importlib import import_module

__all__ = ["clips", "dissection", "knn", "map_sets", "maps", "probes", "random_forest", "scores", "svm"]


def __getattr__(name):
    if name in __all__:
        return import_module(f"musictools.probing.{name}")
    raise AttributeError(f"musictools.probing has no {name!r}")

"""Splits of clips, subsets of clips, and what leaks from one subset of a split into another.

`drawing` holds the general splits, `held_out` the clips that no model is trained on, `procedures` the splits of the
notebooks, `limits` the subsets with at most so many clips
of a class or tag, `leaks` the check for shared artists, albums and tracks.

Conventions
-----------
A split is a Series, clip id -> name of a subset, such as ``"train"`` or ``"test"``. Shares are shares of clips; they
are met as closely as whole clips, or whole artists, allow. Every draw depends on the arguments and `seed` only.
"""

from musictools.datasets.splits.drawing import choose_groups, folds, grouped, random, shuffle_split, strata, train_test
from musictools.datasets.splits.held_out import check_held_out, held_out_clips
from musictools.datasets.splits.leaks import leakage
from musictools.datasets.splits.limits import limit_per_class, limit_per_tag
from musictools.datasets.splits.procedures import genre_split, tagger_split

__all__ = [
    "check_held_out",
    "choose_groups",
    "folds",
    "genre_split",
    "grouped",
    "held_out_clips",
    "leakage",
    "limit_per_class",
    "limit_per_tag",
    "random",
    "shuffle_split",
    "strata",
    "tagger_split",
    "train_test",
]

"""The composed corpus: music that this package composes and renders, in MagnaTagATune's layout.

It knows what no real data set knows: the complete tags of every clip, its instruments apart, its tempo, key and chords.

>>> from musictools.datasets import composed
>>> plans = composed.plan(400)
>>> composed.truth(plans[0])["meter"]
'4/4'
"""

from .annotating import CONCEPTS, annotate, tag_names, tag_stems, truth
from .composing import Score, Stem, compose
from .dataset import Composed
from .genres import GENRES
from .planning import ClipPlan, plan
from .rendering import N_SAMPLES, SR, mix, stems
from .writer import VERSION, build, load_plans

__all__ = [
    "CONCEPTS",
    "GENRES",
    "N_SAMPLES",
    "SR",
    "VERSION",
    "ClipPlan",
    "Composed",
    "Score",
    "Stem",
    "annotate",
    "build",
    "compose",
    "load_plans",
    "mix",
    "plan",
    "stems",
    "tag_names",
    "tag_stems",
    "truth",
]

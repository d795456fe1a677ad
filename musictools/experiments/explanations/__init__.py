"""Experiments of notebook 05: many clips and many methods, one table per question.

``tagger`` is an `inference.Tagger`, or an object with the same attributes. ``data`` is any data set with audio. What is
true of a clip are its complete descriptors if the data set knows them, else its annotated ones. `stem_tags` and
`localisation_rows` need the stems of every tag, ``tag_stems``, as the composed corpus has them.
"""

from musictools.experiments.explanations.checks import best_methods, conservation_table, consistency_table
from musictools.experiments.explanations.comparison import concentration, draw_methods, most_alike, workflow
from musictools.experiments.explanations.evidence_effects import faithfulness_tables, feedback_table
from musictools.experiments.explanations.inputs import accepted_inputs, explainers, true_descriptors, unseen_clips
from musictools.experiments.explanations.instruments import choose_clips, draw_instruments, localisation_rows, stem_tags

__all__ = [
    "accepted_inputs",
    "best_methods",
    "choose_clips",
    "unseen_clips",
    "conservation_table",
    "concentration",
    "consistency_table",
    "draw_instruments",
    "draw_methods",
    "explainers",
    "faithfulness_tables",
    "feedback_table",
    "localisation_rows",
    "most_alike",
    "stem_tags",
    "true_descriptors",
    "workflow",
]

"""Scores of trained models: segment level and clip level, with intervals.

Conventions
-----------
`scores` are probabilities, shape (n, n_classes); `labels` are class indices, shape (n,); `clip` is the clip of every
segment, shape (n_segments,). Segment-level measures (the sources say "frame level") count every segment once,
clip-level measures every clip once. Precision, recall and ROC-AUC are macro averages: the plain mean over classes. A
class without examples has no ROC-AUC (NaN) and is left out of the mean. Intervals resample groups such as clips or
artists, never segments, since the segments of one clip are no independent observations.

For taggers `labels` are bool, shape (n, n_tags), and a tag is predicted where its score exceeds its threshold. A tag
that all examples have, or none, is left out of every macro average and counted as undefined; micro averages, binary
accuracy and tags an example count all cells. A tag that is never predicted has precision 0.
"""

from musictools.evaluation.clips import max_by_clip, mean_by_clip, predict, vote
from musictools.evaluation.intervals import Interval, bootstrap
from musictools.evaluation.metrics import choose_thresholds, confusion, genre_metrics, roc_auc, tag_metrics, tag_table

__all__ = [
    "Interval",
    "bootstrap",
    "choose_thresholds",
    "confusion",
    "genre_metrics",
    "max_by_clip",
    "mean_by_clip",
    "predict",
    "roc_auc",
    "tag_metrics",
    "tag_table",
    "vote",
]

"""Taggers at work: protocols, experiments and comparisons of notebook 03, and trained models that hear songs."""

from . import comparison
from .experiments import IMBALANCE, Job, Result, divide, grid, label_table, open_stores, run_job, tasks
from .protocols import PROTOCOLS, Protocol, protocol
from .tagger import GenreClassifier, Listener, Tagger, Taggram

__all__ = ["IMBALANCE", "PROTOCOLS", "GenreClassifier", "Job", "Listener", "Protocol", "Result", "Tagger", "Taggram",
           "comparison", "divide", "grid", "label_table", "open_stores", "protocol", "run_job", "tasks"]

"""Taggers at work: protocols, experiments and comparisons of notebook 03, and a trained tagger that hears songs."""

from . import comparison
from .experiments import IMBALANCE, Job, Result, divide, label_table, run_job
from .protocols import PROTOCOLS, Protocol, protocol
from .tagger import Tagger, Taggram

__all__ = ["IMBALANCE", "PROTOCOLS", "Job", "Protocol", "Result", "Tagger", "Taggram", "comparison", "divide",
           "label_table", "protocol", "run_job"]

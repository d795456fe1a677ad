"""Metrics of attribution: does a map deserve belief."""

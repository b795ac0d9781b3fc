"""Experiments side by side: settings, progress, records and results. Needs no torch."""

from tidyvoice.runs.experiments import Experiment, find_experiments, read_experiment
from tidyvoice.runs.listing import USUAL, compare_experiments, list_experiments

__all__ = [
    "USUAL",
    "Experiment",
    "compare_experiments",
    "find_experiments",
    "list_experiments",
    "read_experiment",
]

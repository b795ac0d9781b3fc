"""The experiments of a folder beside one another: settings, progress, results. Needs no torch."""

from tidyvoice.runs.comparison import Comparison, compare_experiments, format_comparison
from tidyvoice.runs.experiments import Experiment, find_experiments
from tidyvoice.runs.listing import Listing, format_listing, list_experiments
from tidyvoice.runs.results import Result, measure

__all__ = [
    "Comparison",
    "Experiment",
    "Listing",
    "Result",
    "compare_experiments",
    "find_experiments",
    "format_comparison",
    "format_listing",
    "list_experiments",
    "measure",
]

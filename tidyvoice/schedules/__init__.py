"""Schedules of the learning rate and of the margin, built by name.

A new schedule is one file here, below the decorator of its registry, and its import below.
"""

from tidyvoice.schedules.registry import LEARNING_RATES, MARGINS

__all__ = ["LEARNING_RATES", "MARGINS"]

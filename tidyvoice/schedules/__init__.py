"""Schedules of the learning rate and of the margin, built by name."""

from tidyvoice.schedules.registry import LEARNING_RATES, MARGINS

__all__ = ["LEARNING_RATES", "MARGINS"]

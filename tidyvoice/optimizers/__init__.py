"""Optimizers, built by name."""

from tidyvoice.optimizers.registry import OPTIMIZERS, Parameters

__all__ = ["OPTIMIZERS", "Parameters"]

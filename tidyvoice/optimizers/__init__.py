"""Optimizers, built by name.

A new optimizer is one file here, below ``@OPTIMIZERS.register(NAME)``, and its import below.
"""

from tidyvoice.optimizers.registry import OPTIMIZERS, Parameters

__all__ = ["OPTIMIZERS", "Parameters"]

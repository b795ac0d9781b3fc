"""Samplers, built by name: the order of the utterances in a pass over the data.

A new sampler is one file here, below ``@SAMPLERS.register(NAME)``, and its import below.
"""

from tidyvoice.samplers import orders
from tidyvoice.samplers.registry import SAMPLERS, Sampler, Utterances

__all__ = ["SAMPLERS", "Sampler", "Utterances", "orders"]

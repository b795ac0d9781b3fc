"""Samplers, built by name: the order of the utterances in a pass over the data."""

from tidyvoice.samplers import episodes  # noqa: F401
from tidyvoice.samplers.registry import SAMPLERS, Sampler, Utterances

__all__ = ["SAMPLERS", "Sampler", "Utterances"]

"""Samplers, built by name: the order of the utterances in a pass over the data.

A new sampler is one file here, with a subclass of ``Sampler`` below ``@SAMPLERS.register(NAME)``,
and its import below.
"""

from tidyvoice.samplers.balanced import Balanced
from tidyvoice.samplers.registry import SAMPLERS, Sampler, Utterances
from tidyvoice.samplers.shuffled import Shuffled
from tidyvoice.samplers.windowed import Windowed

__all__ = ["SAMPLERS", "Balanced", "Sampler", "Shuffled", "Utterances", "Windowed"]

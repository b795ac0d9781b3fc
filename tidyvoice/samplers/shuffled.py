"""Every utterance once a pass, in random order."""

import numpy as np
from numpy.random import Generator

from tidyvoice.samplers.pairs import paired
from tidyvoice.samplers.registry import SAMPLERS, Sampler, Utterances


@SAMPLERS.register("Shuffled")
class Shuffled(Sampler):
    """Random order.

    With ``pairs``, the first half of it: see ``paired``.
    """

    def __init__(self, pairs: bool = False):
        self.pairs = self.by_language = pairs

    def __call__(self, utterances: Utterances, random: Generator) -> np.ndarray:
        order = random.permutation(utterances.rows)
        return paired(order, utterances, random) if self.pairs else order

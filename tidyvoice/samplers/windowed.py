"""Random order that reads few shards at a time, for disks that seek slowly."""

import numpy as np
from numpy.random import Generator

from tidyvoice.samplers.registry import SAMPLERS, Sampler, Utterances
from tidyvoice.settings.registry import Count


@SAMPLERS.register("Windowed")
class Windowed(Sampler):
    """Every utterance once: shards in random order, shuffled within every window of shards.

    Args:
        shards: shards of a window.
    """

    def __init__(self, shards: Count = 16):
        self.shards = shards

    def __call__(self, utterances: Utterances, random: Generator) -> np.ndarray:
        rows = utterances.rows
        present, codes = np.unique(utterances.shards[rows], return_inverse=True)
        place = random.permutation(len(present))
        return rows[np.lexsort((random.random(len(rows)), place[codes] // self.shards))]

"""The registry of samplers, and what the samplers have in common."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from tidyvoice.settings.registry import Registry


@dataclass(frozen=True)
class Utterances:
    """The rows of the data that a training may use, int64 [N], and codes of every row."""

    rows: np.ndarray
    shards: np.ndarray
    speakers: np.ndarray
    languages: np.ndarray


class Sampler:
    """Returns the rows of a pass over the data in order, int64 [N].

    The order depends on the utterances and the generator only, so that all processes and restarts
    of a training agree on it.
    """

    pairs = False  # rows 2i and 2i + 1 belong together in one batch
    by_language = False  # the sampler needs utterances whose language is known

    def __call__(self, utterances: Utterances, random: Generator) -> np.ndarray:
        raise NotImplementedError


SAMPLERS: Registry[type[Sampler]] = Registry("sampler")

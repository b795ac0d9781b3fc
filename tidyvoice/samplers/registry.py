"""The registry of samplers, and what the samplers have in common."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from tidyvoice.settings.registry import Registry


@dataclass(frozen=True)
class Utterances:
    """The utterances that a training may use.

    Attributes:
        rows: their rows in the data, int64 [N].
        shards, speakers, languages: codes of every row of the data.
    """

    rows: np.ndarray
    shards: np.ndarray
    speakers: np.ndarray
    languages: np.ndarray


class Sampler:
    """Returns the rows of a pass over the data in order, int64 [N].

    The order depends on the utterances and the generator only: every process and every restart of
    a training computes the same order and takes its share of it.

    Attributes:
        pairs: rows 2i and 2i + 1 belong together in one batch.
        by_language: the sampler needs utterances whose language is known.
    """

    pairs = False
    by_language = False

    def __call__(self, utterances: Utterances, random: Generator) -> np.ndarray:
        raise NotImplementedError


SAMPLERS: Registry[type[Sampler]] = Registry("sampler")

"""Speakers or languages in proportions of your choice."""

from typing import Annotated, Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field

from tidyvoice.samplers.pairs import paired
from tidyvoice.samplers.registry import SAMPLERS, Sampler, Utterances


@SAMPLERS.register("Balanced")
class Balanced(Sampler):
    """As many draws as utterances, where a group of n gets a share proportional to n**power.

    Utterances of a group repeat only when all of them have been drawn. Each group is spread evenly
    over the pass, so that a batch holds few utterances of one group.

    Args:
        by: what makes a group.
    """

    def __init__(
        self,
        by: Literal["speaker", "language"] = "language",
        power: Annotated[float, Field(ge=0, le=1)] = 0.0,
        pairs: bool = False,
    ):
        self.by = by
        self.power = power
        self.pairs = pairs
        self.by_language = pairs or by == "language"

    def __call__(self, utterances: Utterances, random: Generator) -> np.ndarray:
        groups = utterances.speakers if self.by == "speaker" else utterances.languages
        rows = utterances.rows
        order = rows[self._places(groups[rows], random)]
        return paired(order, utterances, random) if self.pairs else order

    def _places(self, groups: np.ndarray, random: Generator) -> np.ndarray:
        """Return a place for each draw, given the group of each place [N]."""
        total = len(groups)
        names, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
        draws = _apportion(total, counts.astype(float) ** self.power)
        by_group = np.lexsort((random.random(total), codes))
        first = np.cumsum(counts) - counts
        group = np.repeat(np.arange(len(names)), draws)
        number = np.arange(total) - np.repeat(np.cumsum(draws) - draws, draws)
        drawn = by_group[first[group] + number % counts[group]]
        moment = (number + random.random(total)) / draws[group]
        return drawn[np.argsort(moment, kind="stable")]


def _apportion(total: int, weights: np.ndarray) -> np.ndarray:
    """Divide ``total`` into integers proportional to the weights, by the largest remainders."""
    exact = total * weights / weights.sum()
    parts = np.floor(exact).astype(np.int64)
    lacking = total - int(parts.sum())
    parts[np.argsort(parts - exact, kind="stable")[:lacking]] += 1
    return parts

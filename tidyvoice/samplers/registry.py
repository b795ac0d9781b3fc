"""The registry of samplers, what they have in common, and three samplers."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field

from tidyvoice.settings.registry import Count, Registry


@dataclass(frozen=True)
class Utterances:
    """The rows of the data that a training may use, int64 [N], and codes of every row."""

    rows: np.ndarray
    shards: np.ndarray
    speakers: np.ndarray
    languages: np.ndarray  # -1 where it is unknown
    batch_size: int  # of one process


class Sampler:
    """Returns the rows of a pass over the data in order, int64 [N].

    The order depends on the utterances and the generator only, so that all processes and restarts
    of a training agree on it.
    """

    pairs = False  # rows 2i and 2i + 1 belong together in one batch
    grouped = False  # a batch holds several utterances of a speaker
    by_language = False  # the sampler needs utterances whose language is known

    def check(self, batch_size: int) -> None:
        """Raise a ValueError about a batch size of one process that the sampler cannot fill."""
        if self.pairs and batch_size % 2:
            raise ValueError(f"pairs need an even batch_size, not {batch_size}")

    def describe(self, utterances: Utterances) -> str | None:
        """Return a line for the log; raise an error about utterances that allow no pass."""

    def __call__(self, utterances: Utterances, random: Generator) -> np.ndarray:
        raise NotImplementedError


SAMPLERS: Registry[type[Sampler]] = Registry("sampler")


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
        self.pairs = self.grouped = pairs
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


@SAMPLERS.register("Shuffled")
class Shuffled(Sampler):
    """Every utterance once, in random order.

    With ``pairs``, the first half of it: see ``paired``.
    """

    def __init__(self, pairs: bool = False):
        self.pairs = self.grouped = self.by_language = pairs

    def __call__(self, utterances: Utterances, random: Generator) -> np.ndarray:
        order = random.permutation(utterances.rows)
        return paired(order, utterances, random) if self.pairs else order


@SAMPLERS.register("Windowed")
class Windowed(Sampler):
    """Every utterance once: shards in random order, shuffled within every window of shards.

    It reads few shards at a time, for disks that seek slowly.

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


def paired(order: np.ndarray, utterances: Utterances, random: Generator) -> np.ndarray:
    """Return the first half of an order [N], each row followed by another one of its speaker.

    The other utterance is in another language if the speaker has one, else in the same language;
    a speaker's only utterance follows itself.

    Sorted by speaker and language, ``rows`` might be those of one speaker in en, fr, fr and nl. For
    an anchor in fr (same_first = first + 1, same_count = 2), ``other`` is the first or the last of
    them. If all four were in fr, ``within`` would be one of the three that follow it in a circle.
    """
    speakers, languages, rows = utterances.speakers, utterances.languages, utterances.rows
    rows = rows[np.lexsort((random.random(len(rows)), languages[rows], speakers[rows]))]
    of_speaker = _runs(speakers[rows])
    of_language = _runs(speakers[rows], languages[rows])
    position = np.empty(int(rows.max()) + 1, np.int64)
    position[rows] = np.arange(len(rows))

    anchors = order[: len(order) // 2]
    at = position[anchors]
    first, count = of_speaker[0][at], of_speaker[1][at]
    same_first, same_count = of_language[0][at], of_language[1][at]
    draw = random.random(len(anchors))
    # Utterances in another language lie before and after those in the anchor's own.
    other = first + (draw * (count - same_count)).astype(np.int64)
    other += np.where(other >= same_first, same_count, 0)
    within = first + (at - first + 1 + (draw * (count - 1)).astype(np.int64)) % count
    partners = rows[np.where(count > same_count, np.minimum(other, first + count - 1), within)]
    return np.stack([anchors, partners], axis=1).ravel()


def occurrences(order: np.ndarray) -> np.ndarray:
    """Return how often each row of an order [N] came before, int64 [N]."""
    by_row = np.argsort(order, kind="stable")
    starts, _ = _runs(order[by_row])
    counts = np.empty(len(order), np.int64)
    counts[by_row] = np.arange(len(order)) - starts
    return counts


def _runs(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first position and the length of the run of equal keys at each position, [N]."""
    new = np.ones(len(keys[0]), bool)
    new[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    starts = np.flatnonzero(new)
    run = np.cumsum(new) - 1
    return starts[run], np.diff(np.append(starts, len(new)))[run]

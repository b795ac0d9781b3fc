"""Sampler whose batches are episodes: some utterances of each of a few speakers."""

from typing import Annotated, Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field

from tidyvoice.errors import TidyVoiceError
from tidyvoice.samplers.registry import SAMPLERS, Sampler, Utterances, occurrences


@SAMPLERS.register("Episodes")
class Episodes(Sampler):
    """Batches of ``utterances`` of each of several speakers, who all speak one language.

    L-Proto: Language-Aware Episodic Prototypical Training for Multilingual Speaker Verification,
    arXiv 2606.17416. The batch size decides how many speakers there are. In each round, a
    speaker's utterances in a language (a cell) are shuffled and cut into tuples, and tuples of
    different speakers are dealt to batches. What is left over waits for another round. A pass has
    as many rounds as it takes to fill as many batches as there are utterances for.

    Of several languages, each gets the same number of speakers. Batches with a speaker in two of
    them are left out of a round that has other batches.

    Args:
        utterances: utterances of each speaker in a batch.
        languages: languages of a batch; null takes utterances of any languages.
    """

    grouped = True

    def __init__(
        self,
        utterances: Annotated[int, Field(ge=2, le=1000)] = 2,
        languages: Literal[1, 2, 4] | None = 1,
    ):
        self.utterances = utterances
        self.languages = languages
        self.by_language = languages is not None

    def check(self, batch_size: int) -> None:
        unit = self.utterances * (self.languages or 1)
        if batch_size % unit or batch_size < 2 * unit:
            each = f"each with sampler.args.utterances {self.utterances}"
            if self.languages:
                each += f", in each of sampler.args.languages {self.languages}"
            fix = f"set batch_size to {2 * unit} or a larger multiple of {unit}, not {batch_size}"
            raise ValueError(f"an episode has 2 or more speakers, {each}: {fix}")

    def describe(self, utterances: Utterances) -> str:
        """Return how many speakers and languages can take part."""
        cells, usable, width = self._cells(utterances)
        names, counts = np.unique(cells[cells >= 0], return_counts=True)
        full = names[counts >= self.utterances]
        total, able, enough = (len(np.unique(each % width)) for each in (cells, usable, full))
        episode = f"{utterances.batch_size // self.utterances} speakers x {self.utterances}"
        of, languages, within = "any languages", "", ""
        if self.languages:
            of = f"{self.languages} language{'s'[self.languages == 1 :]}"
            known, taken = (len(np.unique(each // width)) for each in (names, usable))
            languages, within = f", {taken} of {known} languages", " in any language"
        text = f"episodes: {episode} utterances of {of}; {able:,} of {total:,} speakers{languages}"
        text += " can take part"
        if few := total - enough:
            text += f"; {few:,} speakers have fewer than {self.utterances} utterances{within}"
        return text

    def __call__(self, utterances: Utterances, random: Generator) -> np.ndarray:
        cells, usable, width = self._cells(utterances)
        place = np.isin(cells, usable)
        rows, cells = utterances.rows[place], cells[place]
        wanted = len(utterances.rows) // utterances.batch_size
        episodes: list[np.ndarray] = []
        while len(episodes) < wanted:
            episodes += list(self._round(rows, cells, width, utterances.batch_size, random))
        return np.concatenate(episodes[:wanted])

    def _cells(self, utterances: Utterances) -> tuple[np.ndarray, np.ndarray, int]:
        """Return the cell of each row [N], the cells that can take part [C], and their width.

        A cell is language * width + speaker, below zero if the language is unknown.
        """
        width = int(utterances.speakers.max()) + 1
        cells = utterances.speakers[utterances.rows].astype(np.int64)
        if self.languages:
            cells += utterances.languages[utterances.rows].astype(np.int64) * width
        names, counts = np.unique(cells, return_counts=True)
        names = names[(counts >= self.utterances) & (names >= 0)]
        _, of, speakers = np.unique(names // width, return_inverse=True, return_counts=True)
        each = self._speakers_of_language(utterances.batch_size)
        if (speakers >= each).sum() < (self.languages or 1):
            where = {None: "", 1: " in one language"}
            where = where.get(self.languages, f" in each of {self.languages} languages")
            least = f"{each} speakers with {self.utterances} utterances{where}"
            fix = "reduce data.batch_size, or change data.sampler.args"
            raise TidyVoiceError(f"data.sampler: an episode needs {least}: {fix}")
        return cells, names[speakers[of] >= each], width

    def _speakers_of_language(self, batch_size: int) -> int:
        return batch_size // self.utterances // (self.languages or 1)

    def _round(
        self, rows: np.ndarray, cells: np.ndarray, width: int, batch_size: int, random: Generator
    ) -> np.ndarray:
        """Return batches [E x B] in random order, in which no row occurs twice."""
        order = np.lexsort((random.random(len(rows)), cells))
        rows, cells = rows[order], cells[order]
        _, of, counts = np.unique(cells, return_inverse=True, return_counts=True)
        size = self.utterances
        whole = occurrences(cells) < counts[of] // size * size
        tuples, cells = rows[whole].reshape(-1, size), cells[whole][::size]
        parts, each = [], self._speakers_of_language(batch_size)
        for language in np.unique(cells // width):
            places = np.flatnonzero(cells // width == language)
            parts.append(places[deal(cells[places], each, random)])
        languages = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        dealt = deal(languages, self.languages or 1, random)
        places = np.concatenate(parts)[dealt].reshape(len(dealt), -1)
        speakers = np.sort(cells[places] % width, axis=1)
        distinct = (np.diff(speakers, axis=1) != 0).all(axis=1)
        episodes = tuples[places[distinct] if distinct.any() else places]
        return random.permutation(episodes.reshape(-1, batch_size))


def deal(groups: np.ndarray, size: int, random: Generator) -> np.ndarray:
    """Return as many rows of items [E x size] as possible with no group twice in a row.

    ``groups`` [N] are those of the items. An item is in one row at most; those that are left out
    are of the largest groups.
    """
    _, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    # E rows are possible if the groups have E * size items, of which none counts more than E.
    total = len(groups) // size
    while total > (most := int(np.minimum(counts, total).sum()) // size):
        total = most
    items = np.lexsort((random.random(len(groups)), codes))
    numbers = occurrences(codes[items])
    kept = np.lexsort((random.random(len(groups)), numbers))[: total * size]
    left = np.bincount(codes[items[kept]], minlength=len(counts))
    following = np.cumsum(counts) - counts
    rows = np.empty((total, size), np.int64)
    for number in range(total):
        # Draw groups without replacement in proportion to their items (an exponential race). A
        # group with an item for every further row goes first; at most ``size`` are such groups,
        # so that at least ``size`` groups have items until the end: empty ones are never drawn.
        weights = left / random.standard_exponential(len(left))
        weights[left == total - number] = np.inf
        drawn = np.sort(np.argpartition(weights, -size)[-size:])
        rows[number] = items[following[drawn]]
        following[drawn] += 1
        left[drawn] -= 1
    return rows

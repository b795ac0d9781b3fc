"""Pairs of utterances of one speaker, if possible in two languages."""

import numpy as np
from numpy.random import Generator

from tidyvoice.samplers.registry import Utterances


def paired(order: np.ndarray, utterances: Utterances, random: Generator) -> np.ndarray:
    """Return the first half of an order [N], each row followed by another one of its speaker.

    The other utterance is in another language if the speaker has one, else in the same language;
    a speaker's only utterance follows itself.
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

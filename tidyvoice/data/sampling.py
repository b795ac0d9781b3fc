"""Which utterance comes when in a pass over the data.

An order is an int64 array of rows, a function of the generator given alone: every rank and every
restart of a training makes the same one and takes its share of it.

Shapes: N rows of utterances.
"""

import numpy as np
from numpy.random import Generator


def windowed(rows: np.ndarray, shards: np.ndarray, window: int, random: Generator) -> np.ndarray:
    """Rows [N], each once: shards in random order, shuffled within every ``window`` of them.

    A disk then reads ``window`` shards at a time, rather than jumping among all.

    Args:
        rows: [N].
        shards: the shard of each, [N].
    """
    present, codes = np.unique(shards, return_inverse=True)
    place = random.permutation(len(present))
    return rows[np.lexsort((random.random(len(rows)), place[codes] // window))]


def balanced(rows: np.ndarray, groups: np.ndarray, power: float, random: Generator) -> np.ndarray:
    """N rows, drawn so that a group of n utterances gets a share proportional to n**power.

    With power 0 all groups come equally often, with power 1 as often as they are. Utterances of a
    group repeat only when all have come. Each group is spread evenly over the pass, so that a batch
    holds few utterances of one.

    Args:
        rows: [N].
        groups: the group (speaker, language) of each, [N].
    """
    names, codes, counts = np.unique(groups, return_inverse=True, return_counts=True)
    slots = _shared_out(len(rows), counts.astype(float) ** power)
    by_group = np.lexsort((random.random(len(rows)), codes))
    first = np.cumsum(counts) - counts
    group = np.repeat(np.arange(len(names)), slots)
    number = np.arange(len(rows)) - np.repeat(np.cumsum(slots) - slots, slots)
    drawn = by_group[first[group] + number % counts[group]]
    moment = (number + random.random(len(rows))) / slots[group]
    return rows[drawn[np.argsort(moment, kind="stable")]]


def _shared_out(total: int, weights: np.ndarray) -> np.ndarray:
    """``total`` in whole parts proportional to the weights; largest remainders are rounded up."""
    exact = total * weights / weights.sum()
    parts = np.floor(exact).astype(np.int64)
    lacking = total - int(parts.sum())
    parts[np.argsort(parts - exact, kind="stable")[:lacking]] += 1
    return parts


def paired(
    order: np.ndarray,
    rows: np.ndarray,
    speakers: np.ndarray,
    languages: np.ndarray,
    random: Generator,
) -> np.ndarray:
    """The first half of an order, each row followed by another utterance of its speaker.

    The other is in another language where the speaker has one, else any other, else the same.

    Args:
        order: rows [N], all of them among ``rows``.
        rows: the utterances that may be taken.
        speakers, languages: of every row of the data.

    Returns:
        rows [2 * (N // 2)]: first and second of each pair in turn.
    """
    rows = rows[np.lexsort((random.random(len(rows)), languages[rows], speakers[rows]))]
    of_speaker = _spans(speakers[rows])
    of_language = _spans(speakers[rows], languages[rows])
    position = np.empty(int(rows.max()) + 1, np.int64)
    position[rows] = np.arange(len(rows))

    anchors = order[: len(order) // 2]
    at = position[anchors]
    first, count = of_speaker[0][at], of_speaker[1][at]
    same_first, same_count = of_language[0][at], of_language[1][at]
    draw = random.random(len(anchors))
    # Those of another language lie before and after those of the anchor's own.
    other = first + (draw * (count - same_count)).astype(np.int64)
    other += np.where(other >= same_first, same_count, 0)
    within = first + (at - first + 1 + (draw * (count - 1)).astype(np.int64)) % count
    partners = rows[np.where(count > same_count, np.minimum(other, first + count - 1), within)]
    return np.stack([anchors, partners], axis=1).ravel()


def _spans(*keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the run of equal keys that each position is in begins, and its length, [N] each."""
    new = np.ones(len(keys[0]), bool)
    new[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    starts = np.flatnonzero(new)
    run = np.cumsum(new) - 1
    return starts[run], np.diff(np.append(starts, len(new)))[run]


def occurrences(order: np.ndarray) -> np.ndarray:
    """How often each row of an order [N] came before, int64 [N]."""
    by_row = np.argsort(order, kind="stable")
    starts, _ = _spans(order[by_row])
    counts = np.empty(len(order), np.int64)
    counts[by_row] = np.arange(len(order)) - starts
    return counts

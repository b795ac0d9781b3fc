"""Trials drawn from the utterances of a data folder, and the comparison of trial lists."""

from bisect import bisect
from collections.abc import Sequence

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.trials import LABELS, Trials, by_stem

BLOCK = 2**16
# A unit (see ``_draw``) with fewer pairs than this for each one drawn is listed completely.
DENSE = 4


def make_trials(
    ids: Sequence[str],
    speakers: Sequence[str],
    languages: Sequence[str] | None,
    targets: int,
    nontargets: int,
    seed: int,
) -> tuple[Trials, dict[str, int]]:
    """Draw labelled trials of N utterances, targets first.

    Half of the targets and half of the non-targets are within one language, the others across two.
    All speakers with enough pairs get the same number of targets, and all pairs of speakers with
    enough pairs the same number of non-targets. No pair of utterances comes twice, in either order.
    The list depends only on the seed and on the set of utterances.

    Return the trials, and {kind: number of missing trials} for the kinds with too few pairs.
    """
    by_stem(ids, "the utterances")
    speaker = _codes(speakers)
    language = _codes([""] * len(ids) if languages is None else languages)
    order = np.lexsort((np.asarray(ids, dtype=np.str_), language, speaker))
    speaker, language = speaker[order], language[order]
    rng = np.random.Generator(np.random.PCG64(seed))

    sides, labels, lacking = [], [], {}
    for label, draw, wanted in ((True, _targets, targets), (False, _nontargets, nontargets)):
        kinds = [("", True, wanted)]
        if languages is not None:
            half = wanted // 2
            kinds = [("same-language ", True, wanted - half), ("cross-language ", False, half)]
        drawn = 0
        for kind, same, part in kinds:
            pair = draw(speaker, language, same, part, rng)
            swapped = rng.random(pair.shape[1]) < 0.5
            sides.append(np.where(swapped, pair[::-1], pair))
            labels.append(np.full(pair.shape[1], label))
            drawn += pair.shape[1]
            if pair.shape[1] < part:
                lacking[f"{kind}{'targets' if label else 'non-targets'}"] = part - pair.shape[1]
        if wanted and not drawn:
            kind, fix = "target" if label else "non-target", "give more speakers and utterances"
            raise TidyVoiceError(f"no {kind} trial among {len(ids):,} utterances: {fix}")
    used, codes = np.unique(np.concatenate(sides, axis=1), return_inverse=True)
    enroll, test = codes.reshape(2, -1).astype(np.int32)
    names = [ids[place] for place in order[used]]
    return Trials(names, enroll, test, np.concatenate(labels), f"trials of seed {seed}"), lacking


def difference(left: Trials, right: Trials) -> str | None:
    """Describe the first line in which two lists differ; None if they hold the same trials."""
    line = left.first_other(right)
    if line is not None:
        one, other = (f"{t.source}:{line + 1} has '{_line(t, line)}'" for t in (left, right))
        return f"{one}, but {other}"
    if len(left) == len(right):
        return None
    short, long = sorted((left, right), key=len)
    ends = f"{short.source}:{len(short)}: the file ends here"
    return f"{ends}, but {long.source} has {len(long):,} lines"


def _line(trials: Trials, line: int) -> str:
    if trials.label is None:
        return trials.pair(line)
    return f"{trials.pair(line)} {LABELS[0] if trials.label[line] else LABELS[1]}"


def _codes(names: Sequence[str]) -> np.ndarray:
    return np.unique(np.asarray(names, dtype=np.str_), return_inverse=True)[1]


# Below, the N utterances are sorted by speaker, then by language: ``speaker`` and ``language`` are
# their codes, int64 [N], and a pair is two places in them. Results are int64 [2 x drawn].


def _targets(
    speaker: np.ndarray, language: np.ndarray, same: bool, wanted: int, rng: np.random.Generator
) -> np.ndarray:
    cell = speaker * (language.max(initial=0) + 1) + language
    end = np.searchsorted(cell, cell, side="right")
    # The partners of an utterance are those that come after it: [first, last).
    first = np.arange(1, len(cell) + 1) if same else end
    last = end if same else np.searchsorted(speaker, speaker, side="right")
    edges = np.append(0, np.cumsum(last - first))
    starts = np.searchsorted(speaker, np.arange(speaker.max(initial=-1) + 2))
    unit, rank = _draw(np.diff(edges[starts]), wanted, rng)
    rank += edges[starts][unit]
    rows = np.searchsorted(edges, rank, side="right") - 1
    return np.stack([rows, first[rows] + rank - edges[rows]])


def _nontargets(
    speaker: np.ndarray, language: np.ndarray, same: bool, wanted: int, rng: np.random.Generator
) -> np.ndarray:
    shape = (speaker.max(initial=-1) + 1, language.max(initial=0) + 1)
    counts = np.bincount(speaker * shape[1] + language, minlength=shape[0] * shape[1])
    starts = (np.cumsum(counts) - counts).reshape(shape)
    counts = counts.reshape(shape)
    total = counts.sum(axis=1)
    left, right = (side.astype(np.int32) for side in np.triu_indices(shape[0], 1))
    pairs = (counts.astype(np.float64) @ counts.T)[left, right].astype(np.int64)
    if not same:
        pairs = total[left] * total[right] - pairs
    units, ranks = _draw(pairs, wanted, rng)

    drawn = np.empty((2, len(units)), dtype=np.int64)
    for start in range(0, len(units), BLOCK):
        part = slice(start, start + BLOCK)
        a, b, rank = left[units[part]], right[units[part]], ranks[part]
        # Partners at speaker b of an utterance of a in each language, [t x L].
        partners = counts[b] if same else total[b, None] - counts[b]
        sizes = counts[a] * partners
        edges = np.cumsum(sizes, axis=1)
        place = (edges <= rank[:, None]).sum(axis=1)
        row = np.arange(len(a))
        i, j = np.divmod(rank - (edges - sizes)[row, place], partners[row, place])
        begin = starts[b, place]
        if same:
            j += begin
        else:
            j += starts[b, 0]
            j += counts[b, place] * (j >= begin)
        drawn[:, part] = starts[a, place] + i, j
    return drawn


def _draw(
    capacity: np.ndarray, wanted: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw distinct pairs, equally from all units (speakers, pairs of speakers).

    Given the number of pairs of each unit, return the unit of each pair and its number within it.
    """
    quota = _quotas(capacity, wanted, rng)
    edges = np.append(0, np.cumsum(capacity))

    units = np.flatnonzero((quota > 0) & (capacity <= DENSE * quota))
    unit = np.repeat(units, capacity[units])
    place = np.arange(len(unit)) - np.repeat(
        np.cumsum(capacity[units]) - capacity[units], capacity[units]
    )
    shuffled = np.lexsort((rng.random(len(unit)), unit))
    listed = (edges[unit] + place)[shuffled[place < quota[unit]]]

    units = np.flatnonzero((quota > 0) & (capacity > DENSE * quota))
    unit = np.repeat(units, quota[units])
    thrown = edges[unit] + rng.integers(0, capacity[unit])
    while True:
        again = np.ones(len(thrown), dtype=bool)
        again[np.unique(thrown, return_index=True)[1]] = False
        if not again.any():
            break
        thrown[again] = edges[unit[again]] + rng.integers(0, capacity[unit[again]])

    pairs = np.sort(np.concatenate([listed, thrown]))
    unit = np.searchsorted(edges, pairs, side="right") - 1
    return unit, pairs - edges[unit]


def _quotas(capacity: np.ndarray, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """Return the pairs of each unit: the same number, or all it has, or at random one more."""
    wanted = min(wanted, int(capacity.sum()))
    levels = range(1, int(capacity.max(initial=0)) + 1)
    low = bisect(levels, wanted, key=lambda level: np.minimum(capacity, level).sum())
    quota = np.minimum(capacity, low)
    spare = np.flatnonzero(capacity > low)
    quota[rng.choice(spare, wanted - quota.sum(), replace=False)] += 1
    return quota

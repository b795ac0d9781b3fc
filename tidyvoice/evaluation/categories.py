"""Metrics by language: all trials, four kinds of targets against non-targets, and each language.

A category is named "targets/non-targets": "different/same" sets target trials in two different
languages against non-target trials in the same language. It is the hardest category, because the
language misleads in both kinds of trials (TidyVoice evaluation plan, arXiv 2601.21960).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.groups import Groups, same_language
from tidyvoice.scoring.metrics import (
    Costs,
    SortedScores,
    act_dcf,
    cllr,
    eer_of,
    error_rates,
    min_cllr,
    min_dcf_of,
)
from tidyvoice.scoring.trials import ScoreTable

POOLED = "all/all"
# The kinds (see ``trial_kinds``) of target and of non-target trials by category.
KINDS = {
    POOLED: ((2, 3), (0, 1)),
    "different/different": ((2,), (0,)),
    "different/same": ((2,), (1,)),
    "same/different": ((3,), (0,)),
    "same/same": ((3,), (1,)),
}
CATEGORIES = tuple(KINDS)[1:]
# The challenge's operating point, and that of the VoxSRC challenges.
OPERATING_POINTS = (Costs(p_target=0.01), Costs(p_target=0.05))

Interval = tuple[float, float]


@dataclass(frozen=True)
class Point:
    """Detection costs at one operating point, with confidence intervals if requested."""

    costs: Costs
    min_dcf: float
    act_dcf: float
    min_dcf_interval: Interval | None = None
    act_dcf_interval: Interval | None = None


@dataclass(frozen=True)
class Row:
    """The metrics of one category.

    Attributes:
        targets, nontargets: numbers of trials; None where the languages are not known.
        eer, cllr, min_cllr: a fraction, and bits; None without trials of both kinds.
        points: detection costs by operating point; empty without trials of both kinds.
    """

    category: str
    targets: int | None
    nontargets: int | None
    eer: float | None = None
    points: tuple[Point, ...] = ()
    cllr: float | None = None
    min_cllr: float | None = None
    eer_interval: Interval | None = None
    cllr_interval: Interval | None = None

    @property
    def min_dcf(self) -> float | None:
        """The normalised minimum detection cost at the first operating point."""
        return self.points[0].min_dcf if self.points else None

    @property
    def act_dcf(self) -> float | None:
        """The normalised actual detection cost at the first operating point."""
        return self.points[0].act_dcf if self.points else None


@dataclass(frozen=True)
class LanguageRow:
    """The metrics of one language, or of one pair of languages.

    Attributes:
        languages: one for the trials with at least one side in it; two, in alphabetical order, for
            those with a side in each, and twice the same one for those within it.
        eer, min_dcf: a fraction, and normalised; None without trials of both kinds.
    """

    languages: tuple[str, ...]
    targets: int
    nontargets: int
    eer: float | None
    min_dcf: float | None


def evaluate(
    table: ScoreTable, languages: Groups | None, points: Sequence[Costs] = OPERATING_POINTS
) -> list[Row]:
    """Compute the metrics of all trials and of the four categories: five rows, in this order.

    Without languages the four have no metrics. Trials without labels or of one kind are an error.
    """
    rows = {category: Row(category, None, None) for category in KINDS}
    for category, scores in category_scores(table, languages):
        targets, nontargets = map(len, scores)
        rows[category] = Row(category, targets, nontargets)
        if targets and nontargets:
            rates = error_rates(scores)
            costs = tuple(Point(at, min_dcf_of(rates, at), act_dcf(scores, at)) for at in points)
            metrics = eer_of(rates), costs, cllr(scores), min_cllr(rates, targets, nontargets)
            rows[category] = Row(category, targets, nontargets, *metrics)
    return list(rows.values())


def category_scores(
    table: ScoreTable, languages: Groups | None
) -> Iterator[tuple[str, SortedScores]]:
    """Yield category and scores: ``POOLED``, then the four, with one side empty, if languages."""
    kinds = trial_kinds(table, languages)
    parts = [np.sort(table.scores[kinds == kind]) for kind in range(4)]
    for category, sides in KINDS.items():
        if category == POOLED or languages is not None:
            # A stable sort merges sorted runs, which is fast.
            joined = [np.concatenate([parts[kind] for kind in side]) for side in sides]
            scores = SortedScores(*(np.sort(side, kind="stable") for side in joined))
            if category == POOLED and not all(map(len, scores)):
                kind = "non-target" if len(scores.targets) else "target"
                where = table.trials.source
                raise TidyVoiceError(f"{where}: no {kind} trial in it; metrics need both kinds")
            yield category, scores


def trial_kinds(table: ScoreTable, languages: Groups | None) -> np.ndarray:
    """Return the kind of each trial, uint8 [T]: 2 for a target, plus 1 within one language.

    Without languages all trials count as cross-language.
    """
    if table.trials.label is None:
        fix = "score a list with 'target|nontarget', or give such a list with --trials"
        raise TidyVoiceError(f"{table.trials.source}: metrics need labels: {fix}")
    kinds = table.trials.label.astype(np.uint8) * 2
    if languages is not None:
        kinds += same_language(table.trials, languages)
    return kinds


def by_language(
    table: ScoreTable, languages: Groups, costs: Costs = OPERATING_POINTS[0]
) -> tuple[list[LanguageRow], list[LanguageRow]]:
    """Compute the metrics of each language and of each pair of languages that has trials.

    A trial across two languages counts for both of them. ``costs`` are those of minDCF.
    """
    names, codes = languages.names, languages.codes.astype(np.int32)
    enroll, test = codes[table.trials.enroll], codes[table.trials.test]
    key = (np.minimum(enroll, test) * len(names) + np.maximum(enroll, test)) * 2
    key += table.trials.label
    if 2 * len(names) ** 2 <= 2**16:
        key = key.astype(np.uint16)  # radix sort takes a tenth of the time
    order = np.argsort(key, kind="stable")
    scores = table.scores[order]
    bounds = np.searchsorted(key[order], np.arange(2 * len(names) ** 2 + 1))
    parts: dict[tuple[str, str], SortedScores] = {}
    for pair in np.flatnonzero(bounds[2::2] > bounds[:-2:2]):
        nontargets, targets, end = bounds[2 * pair : 2 * pair + 3]
        sides = np.sort(scores[targets:end]), np.sort(scores[nontargets:targets])
        parts[names[pair // len(names)], names[pair % len(names)]] = SortedScores(*sides)
    single = []
    for name in names:
        portions = [part for pair, part in parts.items() if name in pair]
        if portions:
            sides = (np.concatenate(side) for side in zip(*portions, strict=True))
            joined = SortedScores(*(np.sort(side, kind="stable") for side in sides))
            single.append(_row((name,), joined, costs))
    return single, [_row(pair, part, costs) for pair, part in parts.items()]


def _row(languages: tuple[str, ...], scores: SortedScores, costs: Costs) -> LanguageRow:
    counts = len(scores.targets), len(scores.nontargets)
    if not all(counts):
        return LanguageRow(languages, *counts, None, None)
    rates = error_rates(scores)
    return LanguageRow(languages, *counts, eer_of(rates), min_dcf_of(rates, costs))

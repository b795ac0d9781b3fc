"""Metrics of each language and of each pair of languages."""

from dataclasses import dataclass

import numpy as np

from tidyvoice.evaluation.categories import OPERATING_POINTS
from tidyvoice.scoring.groups import Groups
from tidyvoice.scoring.metrics import Costs, SortedScores, eer_of, error_rates, min_dcf_of
from tidyvoice.scoring.trials import ScoreTable


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

"""Metrics of each language and of each pair of languages."""

from dataclasses import dataclass

import numpy as np

from tidyvoice.evaluation.categories import require_labels
from tidyvoice.scoring.groups import Groups
from tidyvoice.scoring.metrics import Costs, SortedScores, eer_of, error_rates, min_dcf_of
from tidyvoice.scoring.trials import ScoreTable


@dataclass(frozen=True)
class LanguageRow:
    """The metrics of one language, or of one pair of languages.

    Attributes:
        languages: one language for the trials with at least one side in it. Two languages, in
            alphabetical order, for the trials with a side in each; twice the same one for the
            trials within it.
        targets, nontargets: numbers of trials.
        eer: a fraction; None without trials of both kinds, as ``min_dcf``.
        min_dcf: normalised.
    """

    languages: tuple[str, ...]
    targets: int
    nontargets: int
    eer: float | None
    min_dcf: float | None


def by_language(
    table: ScoreTable, languages: Groups, costs: Costs | None = None
) -> tuple[list[LanguageRow], list[LanguageRow]]:
    """Compute the metrics of each language and of each pair of languages that has trials.

    A trial across two languages counts for both of them.

    Args:
        costs: of minDCF; ``Costs()`` by default.

    Raises:
        TidyVoiceError: the trials carry no labels.
    """
    require_labels(table.trials)
    costs, names = costs or Costs(), languages.names
    codes = languages.codes.astype(np.int32)
    enroll, test = codes[table.trials.enroll], codes[table.trials.test]
    key = (np.minimum(enroll, test) * len(names) + np.maximum(enroll, test)) * 2
    key += table.trials.label
    if 2 * len(names) ** 2 <= 2**16:
        key = key.astype(np.uint16)  # radix sort takes a tenth of the time
    order = np.argsort(key, kind="stable")
    scores = table.scores[order]
    bounds = np.searchsorted(key[order], np.arange(2 * len(names) ** 2 + 1))

    parts: dict[tuple[int, int], SortedScores] = {}
    for pair in np.flatnonzero(bounds[2::2] > bounds[:-2:2]):
        nontargets, targets, end = bounds[2 * pair : 2 * pair + 3]
        parts[divmod(int(pair), len(names))] = SortedScores(
            np.sort(scores[targets:end]), np.sort(scores[nontargets:targets])
        )
    pairs = [
        LanguageRow((names[first], names[second]), *_metrics(part, costs))
        for (first, second), part in parts.items()
    ]
    single = []
    for code, name in enumerate(names):
        portions = [part for pair, part in parts.items() if code in pair]
        if portions:
            both = (
                np.sort(np.concatenate(side), kind="stable") for side in zip(*portions, strict=True)
            )
            single.append(LanguageRow((name,), *_metrics(SortedScores(*both), costs)))
    return single, pairs


def _metrics(scores: SortedScores, costs: Costs) -> tuple[int, int, float | None, float | None]:
    counts = len(scores.targets), len(scores.nontargets)
    if not all(counts):
        return *counts, None, None
    rates = error_rates(scores)
    return *counts, eer_of(rates), min_dcf_of(rates, costs)

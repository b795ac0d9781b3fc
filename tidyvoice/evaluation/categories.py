"""Metrics by language: all trials, and four kinds of targets against non-targets.

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
from tidyvoice.scoring.trials import ScoreTable, Trials

POOLED = "all/all"
CATEGORIES = ("different/different", "different/same", "same/different", "same/same")
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
        category: one of ``CATEGORIES``, or ``POOLED``.
        targets, nontargets: numbers of trials; None where the languages are not known.
        eer: a fraction; None without trials of both kinds, as are ``cllr`` and ``min_cllr``.
        points: detection costs by operating point; empty without trials of both kinds.
        cllr, min_cllr: in bits.
        eer_interval, cllr_interval: confidence intervals, if requested.
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


def evaluate(
    table: ScoreTable,
    languages: Groups | None,
    points: Sequence[Costs] = OPERATING_POINTS,
) -> list[Row]:
    """Compute the metrics of all trials and of the four categories: five rows, in this order.

    Args:
        table: T scored trials with labels.
        languages: see ``groups.languages_of``; None leaves the categories without metrics.
        points: priors and costs.

    Raises:
        TidyVoiceError: the trials carry no labels, or are all of one kind.
    """
    return [
        Row(category, targets, nontargets) if scores is None else row_of(category, scores, points)
        for category, targets, nontargets, scores in category_scores(table, languages)
    ]


def row_of(category: str, scores: SortedScores, points: Sequence[Costs]) -> Row:
    """Compute the metrics of one category."""
    rates = error_rates(scores)
    targets, nontargets = len(scores.targets), len(scores.nontargets)
    costs = tuple(Point(at, min_dcf_of(rates, at), act_dcf(scores, at)) for at in points)
    minimum = min_cllr(rates, targets, nontargets)
    return Row(category, targets, nontargets, eer_of(rates), costs, cllr(scores), minimum)


def category_scores(
    table: ScoreTable, languages: Groups | None
) -> Iterator[tuple[str, int | None, int | None, SortedScores | None]]:
    """Yield category, numbers of targets and non-targets, and scores: ``POOLED``, then the four.

    The numbers are None where the languages are not known. The scores are None there too, and
    where the trials are all of one kind.

    Raises:
        TidyVoiceError: the trials carry no labels, or are all of one kind.
    """
    kinds = sorted_kinds(table, languages)
    for category, (targets, nontargets) in category_kinds().items():
        if category != POOLED and languages is None:
            yield category, None, None, None
            continue
        scores = SortedScores(
            # A stable sort merges sorted runs, which is fast.
            *(
                np.sort(np.concatenate([kinds[kind] for kind in side]), kind="stable")
                for side in (targets, nontargets)
            )
        )
        has_both = len(scores.targets) and len(scores.nontargets)
        if category == POOLED and not has_both:
            kind = "non-target" if len(scores.targets) else "target"
            raise TidyVoiceError(
                f"{table.trials.source}: no {kind} trial in it; metrics need both kinds"
            )
        yield category, len(scores.targets), len(scores.nontargets), scores if has_both else None


def category_kinds() -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return the kinds (see ``trial_kinds``) of targets and of non-targets by category."""
    kinds: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {POOLED: ((2, 3), (0, 1))}
    for category in CATEGORIES:
        targets, nontargets = (kind == "same" for kind in category.split("/"))
        kinds[category] = ((2 + targets,), (0 + nontargets,))
    return kinds


def trial_kinds(table: ScoreTable, languages: Groups | None) -> np.ndarray:
    """Return the kind of each trial, uint8 [T]: 2 for a target, plus 1 within one language.

    Without languages all trials count as cross-language.

    Raises:
        TidyVoiceError: the trials carry no labels.
    """
    require_labels(table.trials)
    kinds = table.trials.label.astype(np.uint8) * 2
    if languages is not None:
        kinds += same_language(table.trials, languages)
    return kinds


def require_labels(trials: Trials) -> None:
    """Refuse a list without labels."""
    if trials.label is None:
        raise TidyVoiceError(
            f"{trials.source}: metrics need labels; score a list with 'target|nontarget', or "
            "give such a list with --trials"
        )


def sorted_kinds(table: ScoreTable, languages: Groups | None) -> list[np.ndarray]:
    """Return the scores of each of the four kinds (see ``trial_kinds``), float64, ascending.

    Raises:
        TidyVoiceError: the trials carry no labels.
    """
    kinds = trial_kinds(table, languages)
    return [np.sort(table.scores[kinds == kind]) for kind in range(4)]

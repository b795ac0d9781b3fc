"""The difference of two systems on the same trials, and whether it is more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tidyvoice.evaluation.bootstrap import interval
from tidyvoice.evaluation.categories import Interval
from tidyvoice.evaluation.evaluate import Draws, Evaluation


@dataclass(frozen=True)
class Difference:
    """One system's metric minus the main one's, with the paired interval where it is known."""

    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Differences:
    """One system's EER by category and minDCF by operating point, minus those of the main one."""

    eer: dict[str, Difference | None]
    min_dcf: tuple[Difference, ...]


def differences(main: Evaluation, other: Evaluation) -> Differences | None:
    """Subtract the metrics of ``main`` from those of ``other``; None if their trials differ.

    Intervals are paired: resample r drew the same speakers for both systems.
    """
    if main.trials != other.trials:
        return None
    left, right = main.draws, other.draws
    if left is None or right is None or left.speakers != right.speakers:
        left = right = Draws("", {}, ((),) * len(main.points))
    eer = {}
    for first, second in zip(main.categories, other.categories, strict=True):
        draws = left.eer.get(first.category, ()), right.eer.get(first.category, ())
        eer[first.category] = _difference(first.eer, second.eer, *draws)
    costs = ([point.min_dcf for point in item.pooled.points] for item in (main, other))
    pairs = zip(*costs, left.min_dcf, right.min_dcf, strict=True)
    return Differences(eer, tuple(_difference(*pair) for pair in pairs))


def _difference(
    first: float | None, second: float | None, left: Sequence, right: Sequence
) -> Difference | None:
    """Subtract ``first`` from ``second``, and their values in R resamples if both are known."""
    if first is None or second is None:
        return None
    between = None
    if left and right:
        between = interval(np.array(right, dtype=float) - np.array(left, dtype=float))
    return Difference(second - first, between)

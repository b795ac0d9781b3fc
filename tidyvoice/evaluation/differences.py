"""The difference of two systems on the same trials, and whether it is more than chance."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tidyvoice.evaluation.bootstrap import interval
from tidyvoice.evaluation.categories import Interval
from tidyvoice.evaluation.evaluate import Evaluation


@dataclass(frozen=True)
class Difference:
    """One system's metric minus the main one's, with the paired interval where it is known."""

    value: float
    interval: Interval | None = None


@dataclass(frozen=True)
class Differences:
    """One system's metrics minus the main one's; below 0 is better.

    Attributes:
        eer: by category, in fractions; None where one of the systems has none.
        min_dcf: of all trials, one for each operating point.
    """

    eer: dict[str, Difference | None]
    min_dcf: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the differences for JSON."""
        return asdict(self)


def differences(main: Evaluation, other: Evaluation) -> Differences | None:
    """Subtract the metrics of ``main`` from those of ``other``.

    Resample r drew the same speakers for both systems, so the intervals are those of the
    differences resample by resample.

    Returns:
        None unless both were scored on the same trials.
    """
    if main.trials != other.trials:
        return None
    left, right = main.draws, other.draws
    if left is None or right is None or left.speakers != right.speakers:
        left = right = None
    eer: dict[str, Difference | None] = {}
    for first, second in zip(main.categories, other.categories, strict=True):
        category = first.category
        if first.eer is None or second.eer is None:
            eer[category] = None
            continue
        paired = left and category in left.eer and category in right.eer
        between = _interval(left.eer[category], right.eer[category]) if paired else None
        eer[category] = Difference(second.eer - first.eer, between)
    points = zip(main.pooled.points, other.pooled.points, strict=True)
    return Differences(
        eer,
        tuple(
            Difference(
                second.min_dcf - first.min_dcf,
                _interval(left.min_dcf[place], right.min_dcf[place]) if left else None,
            )
            for place, (first, second) in enumerate(points)
        ),
    )


def _interval(left: tuple[float | None, ...], right: tuple[float | None, ...]) -> Interval | None:
    return interval(np.array(right, dtype=float) - np.array(left, dtype=float))

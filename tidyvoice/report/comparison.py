"""Two systems on the same trials: differences, and whether they are more than chance."""

from dataclasses import dataclass

import numpy as np

from tidyvoice.evaluation.bootstrap import interval
from tidyvoice.evaluation.categories import CATEGORIES, POOLED, Interval
from tidyvoice.report.system import SystemResult


@dataclass(frozen=True)
class Difference:
    """One system's metric less the main one's, with the paired interval where it is known."""

    value: float
    interval: Interval | None = None

    @property
    def sure(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


@dataclass(frozen=True)
class Comparison:
    """What another system's metrics exceed the main one's by; negative is better.

    Attributes:
        eer: by category, in fractions; None where one of them has none.
        min_dcf: all trials, one an operating point.
    """

    name: str
    eer: dict[str, Difference | None]
    min_dcf: list[Difference]


def compare(main: SystemResult, other: SystemResult) -> Comparison | None:
    """Set a system beside the main one; None unless they were scored on the same trials."""
    if main.checksum != other.checksum:
        return None
    # Resample r drew the same speakers for both, so that differences are taken draw by draw.
    paired = _same_speakers(main, other) and main.resampled and other.resampled
    eer: dict[str, Difference | None] = {}
    for one, two in zip(main.rows, other.rows, strict=True):
        if one.eer is None or two.eer is None:
            eer[one.category] = None
            continue
        found = None
        if paired and one.category in main.resampled and one.category in other.resampled:
            draws = other.resampled[one.category].eer - main.resampled[one.category].eer
            found = interval(draws)
        eer[one.category] = Difference(two.eer - one.eer, found)
    min_dcf = []
    for place, (one, two) in enumerate(zip(main.rows[0].points, other.rows[0].points, strict=True)):
        found = None
        if paired:
            draws = other.resampled[POOLED].min_dcf[place] - main.resampled[POOLED].min_dcf[place]
            found = interval(draws)
        min_dcf.append(Difference(two.min_dcf - one.min_dcf, found))
    return Comparison(other.name, {key: eer[key] for key in (POOLED, *CATEGORIES)}, min_dcf)


def _same_speakers(main: SystemResult, other: SystemResult) -> bool:
    if main.speakers is None or other.speakers is None:
        return False
    return main.speakers.names == other.speakers.names and np.array_equal(
        main.speakers.codes, other.speakers.codes
    )

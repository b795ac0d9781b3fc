"""Features of a trial for calibration: its scores and quality measures.

Reference:
    J. Thienpondt, B. Desplanques, K. Demuynck, "The IDLab VoxSRC-20 submission: large margin
        fine-tuning and quality-aware score calibration in DNN based speaker verification",
        ICASSP 2021.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.embeddings import Embeddings
from tidyvoice.scoring.trials import Trials

BLOCK = 2**16
# At most as many targets and as many non-targets are drawn to judge a measure.
DRAWN = 2**16
# Area under the ROC curve above which a measure alone gives the answer away. It is 0.5 where both
# kinds are equally often in one language, as in the challenge's lists, and 0.75 or more where each
# speaker speaks one of two languages or more. A value that is constant within each speaker reaches
# 2/3. A measure at 0.65 that is independent of the score lowers an EER of 5 % by a twentieth.
SEPARATING = 0.65


@dataclass(frozen=True)
class Features:
    """Scores of one or several systems, and quality measures, of T trials over U ids.

    A value of an utterance gives two measures, the smaller and the larger of the trial's sides, so
    that it does not matter which side is the enrolment.

    Attributes:
        trials: the trials.
        scores: float [T] of each system, in an order that is the same for fitting and applying.
        utterance: {name: float64 [U], a value of each of ``trials.ids``}.
        language_match: bool or float [T], 1 where both sides are in the same language, 0 where not,
            or the probability of it; None without this measure.
    """

    trials: Trials
    scores: Sequence[np.ndarray]
    utterance: Mapping[str, np.ndarray] = field(default_factory=dict)
    language_match: np.ndarray | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The F features: "score", or "score 1", "score 2" and so on, then the measures."""
        number = len(self.scores)
        names = ["score"] if number == 1 else [f"score {n + 1}" for n in range(number)]
        names += [f"{side} {name}" for name in self.utterance for side in ("smaller", "larger")]
        return (*names, *(["language match"] if self.language_match is not None else []))

    def block(self, part: slice | np.ndarray) -> np.ndarray:
        """Return the features of some trials, given a slice or places [t]: float64 [t x F]."""
        enroll, test = self.trials.enroll[part], self.trials.test[part]
        scores = [np.asarray(scores[part], dtype=np.float64)[:, None] for scores in self.scores]
        measures = []
        for values in self.utterance.values():
            left, right = values[enroll], values[test]
            measures += [np.minimum(left, right), np.maximum(left, right)]
        if self.language_match is not None:
            measures.append(self.language_match[part])
        # The memory layout decides how a product with the weights is rounded.
        return np.hstack([*scores, *([np.array(measures, np.float64).T] if measures else [])])

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield all trials in order, each block with its place in the list."""
        for start in range(0, len(self.trials), BLOCK):
            part = slice(start, start + BLOCK)
            yield part, self.block(part)


def separation(features: Features) -> dict[str, float] | None:
    """Return how well each quality measure alone separates targets from non-targets.

    Returns:
        The area under the ROC curve, by the measure's name, in the direction in which it is 0.5 or
        more; an estimate for lists of more than ``DRAWN`` trials of a kind. None if labels or
        trials of one kind are missing.
    """
    label = features.trials.label
    if label is None or label.all() or not label.any():
        return None
    rng = np.random.Generator(np.random.PCG64(0))
    places = [np.flatnonzero(kind) for kind in (label, ~label)]
    places = [
        kind if len(kind) <= DRAWN else kind[rng.integers(len(kind), size=DRAWN)] for kind in places
    ]
    targets, nontargets = map(len, places)
    values, systems = features.block(np.concatenate(places)), len(features.scores)
    areas = {}
    for name, column in zip(features.names[systems:], values.T[systems:], strict=True):
        _, place, counts = np.unique(column, return_inverse=True, return_counts=True)
        ranks = np.cumsum(counts) - counts / 2  # ties share their mean rank
        area = (ranks[place[:targets]].mean() - targets / 2) / nontargets
        areas[name] = float(max(area, 1 - area))
    return areas


def quality_measures(
    trials: Trials,
    seconds: Mapping[str, float] | None = None,
    embeddings: Embeddings | None = None,
    cohort: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Return a value of each of the U ids for every measure whose input is given, by its name.

    Args:
        trials: trials over U ids.
        seconds: {id: duration}; the measure is its logarithm.
        embeddings: raw embeddings; the measure is the logarithm of their length ‖e‖, before any
            mean is subtracted.
        cohort: float [U], the mean score of each id against a cohort.
    """
    measures = {}
    if seconds is not None:
        places = trials.places_in(list(seconds), "duration")
        durations = np.fromiter(seconds.values(), np.float64, len(seconds))[places]
        measures["log duration"] = _log(trials, "duration", durations)
    if embeddings is not None:
        lengths = np.linalg.norm(embeddings.vectors.astype(np.float64), axis=1)
        places = trials.places_in(embeddings.ids, "embedding")
        measures["log magnitude"] = _log(trials, "length of the embedding", lengths[places])
    if cohort is not None:
        measures["cohort score"] = np.asarray(cohort, dtype=np.float64)
    return measures


def _log(trials: Trials, what: str, values: np.ndarray) -> np.ndarray:
    wrong = ~((values > 0) & np.isfinite(values))
    if wrong.any():
        raise TidyVoiceError(
            f"{trials.source}: the {what} of '{trials.ids[np.argmax(wrong)]}' is "
            f"{values[np.argmax(wrong)]:g} ({int(wrong.sum()):,} such ids). It must be a finite "
            "number above 0: check the audio."
        )
    return np.log(values)

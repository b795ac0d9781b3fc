"""Features of a trial for calibration: its scores, and measures of how far to trust them.

Reference:
    J. Thienpondt, B. Desplanques, K. Demuynck, "The IDLab VoxSRC-20 submission: large margin
        fine-tuning and quality-aware score calibration in DNN based speaker verification",
        ICASSP 2021.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tidyvoice.embeddings import Embeddings
from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.trials import Trials

BLOCK = 2**16


@dataclass(frozen=True)
class Quality:
    """Quality measures of T trials, made block by block from values of their U utterances.

    A value of an utterance gives two measures, the smaller and the larger of the trial's sides, so
    that it does not matter which side is the enrolment.

    Attributes:
        trials: the trials.
        utterance: {name: float64 [U], a value of each of ``trials.ids``}.
        language_match: bool or float [T], 1 where both sides are in the same language, 0 where not,
            or the probability of it; None where that is not known.

    Raises:
        TidyVoiceError: an array of the wrong length, or a value that is not finite.
    """

    trials: Trials
    utterance: Mapping[str, np.ndarray]
    language_match: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, values in self.utterance.items():
            if np.shape(values) != (len(self.trials.ids),):
                raise TidyVoiceError(
                    f"{self.trials.source}: {name} has shape {np.shape(values)} for "
                    f"{len(self.trials.ids):,} ids; give one value an id"
                )
            broken = ~np.isfinite(values)
            if broken.any():
                raise TidyVoiceError(
                    f"{self.trials.source}: {name} of '{self.trials.ids[np.argmax(broken)]}' is "
                    f"{values[np.argmax(broken)]} ({int(broken.sum()):,} such ids); mend it or "
                    "leave this measure out"
                )
        match = self.language_match
        if match is not None and np.shape(match) != (len(self.trials),):
            raise TidyVoiceError(
                f"{self.trials.source}: language match has shape {np.shape(match)} for "
                f"{len(self.trials):,} trials; give one value a trial"
            )
        # NaN fails both comparisons.
        if match is not None and len(match) and not (match.min() >= 0 and match.max() <= 1):
            line = int(np.argmax(~((match >= 0) & (match <= 1))))
            raise TidyVoiceError(
                f"{self.trials.source}:{line + 1}: language match is {match[line]}; it is a "
                "probability, between 0 and 1"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The F measures, in the order of the columns of ``block``."""
        names = [f"{side} {name}" for name in self.utterance for side in ("smaller", "larger")]
        return (*names, *(["language match"] if self.language_match is not None else []))

    def block(self, part: slice | np.ndarray) -> np.ndarray:
        """The measures of some trials, float64 [t x F].

        Args:
            part: a slice of the list, or places in it, int [t].
        """
        enroll, test = self.trials.enroll[part], self.trials.test[part]
        # Written and read by columns.
        block = np.empty((len(enroll), len(self.names)), order="F")
        for column, values in enumerate(self.utterance.values()):
            one, other = values[enroll], values[test]
            np.minimum(one, other, out=block[:, 2 * column])
            np.maximum(one, other, out=block[:, 2 * column + 1])
        if self.language_match is not None:
            block[:, -1] = self.language_match[part]
        return block


@dataclass(frozen=True)
class Features:
    """Scores of one or several systems, and quality measures, of T trials.

    Attributes:
        trials: the trials.
        scores: float [T] of each system, in an order that is the same for fitting and applying.
        quality: their quality measures, if any.

    Raises:
        TidyVoiceError: no scores, another number of them than of trials, or one that is not finite.
    """

    trials: Trials
    scores: Sequence[np.ndarray]
    quality: Quality | None = None

    def __post_init__(self) -> None:
        if not self.scores:
            raise TidyVoiceError(f"{self.trials.source}: no scores; give those of one system")
        for name, scores in zip(self.names, self.scores, strict=False):
            if np.shape(scores) != (len(self.trials),):
                raise TidyVoiceError(
                    f"{self.trials.source}: {name} has shape {np.shape(scores)} for "
                    f"{len(self.trials):,} trials; score this list"
                )
            broken = ~np.isfinite(scores)
            if broken.any():
                raise TidyVoiceError(
                    f"{self.trials.source}:{np.argmax(broken) + 1}: {name} is not finite "
                    f"({int(broken.sum()):,} such trials); score again"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """The F features: "score", or "score 1", "score 2" and so on, then the measures."""
        one = len(self.scores) == 1
        scores = ["score"] if one else [f"score {n + 1}" for n in range(len(self.scores))]
        return (*scores, *(self.quality.names if self.quality else ()))

    def block(self, part: slice | np.ndarray) -> np.ndarray:
        """The features of some trials (a slice of the list, or places in it), float64 [t x F]."""
        columns = [np.asarray(scores[part], dtype=np.float64)[:, None] for scores in self.scores]
        return np.hstack(columns + ([self.quality.block(part)] if self.quality else []))

    def blocks(self) -> Iterator[tuple[slice, np.ndarray]]:
        """All trials in order, each block with its place in the list."""
        for start in range(0, len(self.trials), BLOCK):
            part = slice(start, start + BLOCK)
            yield part, self.block(part)


def quality_measures(
    trials: Trials,
    *,
    seconds: Mapping[str, float] | None = None,
    embeddings: Embeddings | None = None,
    cohort: np.ndarray | None = None,
    language_match: np.ndarray | None = None,
) -> Quality:
    """The measures for which something is given.

    Args:
        trials: T trials over U ids.
        seconds: {id: duration}, measured as its logarithm.
        embeddings: raw ones; measured as the logarithm of their length ‖e‖, before any mean is
            subtracted.
        cohort: float [U], the mean score of each id against a cohort.
        language_match: bool or float [T], see ``Quality``.

    Raises:
        TidyVoiceError: an id without duration or embedding, a duration or a length that is not
            above 0, and see ``Quality``.
    """
    utterance = {}
    if seconds is not None:
        places = trials.places_in(list(seconds), "duration")
        durations = np.fromiter(seconds.values(), np.float64, len(seconds))[places]
        utterance["log duration"] = _log(trials, "duration", durations)
    if embeddings is not None:
        lengths = np.linalg.norm(embeddings.vectors.astype(np.float64), axis=1)
        places = trials.places_in(embeddings.ids, "embedding")
        utterance["log magnitude"] = _log(trials, "length of the embedding", lengths[places])
    if cohort is not None:
        utterance["cohort score"] = np.asarray(cohort, dtype=np.float64)
    return Quality(trials, utterance, language_match)


def _log(trials: Trials, what: str, values: np.ndarray) -> np.ndarray:
    wrong = ~(values > 0)
    if wrong.any():
        raise TidyVoiceError(
            f"{trials.source}: the {what} of '{trials.ids[np.argmax(wrong)]}' is "
            f"{values[np.argmax(wrong)]:g} ({int(wrong.sum()):,} such ids); it must be above 0: "
            "look at its audio"
        )
    return np.log(values)

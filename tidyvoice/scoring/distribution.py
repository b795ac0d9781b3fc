"""Score distributions of a labelled list, small enough to be kept with a model without the list."""

import math
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, model_validator

from tidyvoice.errors import TidyVoiceError
from tidyvoice.settings import Strict

BINS = 400
TAIL = 0.005  # share of the non-target scores that the tail is fitted to, or,
ENOUGH = 400  # if that is less, this many of them, or the upper quarter
FEWEST = {"target": 10, "non-target": 40}  # trials
RAREST, HEAVIEST = 1e-30, 3  # false-alarm rate and shape whose threshold does not overflow
Counts = Annotated[tuple[NonNegativeInt, ...], Field(min_length=BINS, max_length=BINS)]


class Distribution(Strict):
    """Histograms of scores in ``BINS`` bins of equal width, and the tail of the non-targets.

    With start, share, scale and shape of ``tail``, a generalized Pareto distribution:
    P(score > x) = share (1 + shape (x - start) / scale)^(-1/shape) for x above start.

    J. R. M. Hosking, J. R. Wallis, "Parameter and Quantile Estimation for the Generalized Pareto
    Distribution", Technometrics 29, 1987 (their k is minus this shape).
    """

    target: Counts
    nontarget: Counts
    tail: tuple[float, float, float, float]
    span: tuple[float, float] = (-1.0, 1.0)

    @model_validator(mode="after")
    def _usable(self) -> "Distribution":
        start, share, scale, shape = self.tail
        if not all(0 < sum(counts) < 2**53 for counts in (self.target, self.nontarget)):
            raise ValueError("there are no trials of one kind, or too many")
        possible = 0 < share < 1 and scale > 0 and 0 != shape <= HEAVIEST
        if not possible or not self.span[0] <= start <= self.span[1]:
            raise ValueError(f"the tail {self.tail} is not possible")
        return self

    @classmethod
    def of(cls, scores: np.ndarray, is_target: np.ndarray) -> "Distribution":
        """Return the distribution of labelled scores [T], in -1..1 if they are cosines."""
        for kind, fewest in FEWEST.items():
            if (count := int((is_target == (kind == "target")).sum())) < fewest:
                raise TidyVoiceError(f"{count} {kind} trials are too few: use {fewest} or more")
        span = (-1.0, 1.0)
        if np.abs(scores).max() > 1 + 1e-5:
            span = (float(np.floor(scores.min())), float(np.ceil(scores.max())))
        clipped = scores.clip(*span)
        counts = [np.histogram(clipped[kind], BINS, span)[0] for kind in (is_target, ~is_target)]
        target, nontarget = (count.tolist() for count in counts)
        return cls(target=target, nontarget=nontarget, tail=_tail(clipped[~is_target]), span=span)

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins, float64 [BINS + 1]."""
        return np.linspace(*self.span, BINS + 1)

    def threshold(self, false_alarm: float, voices: int = 1) -> float:
        """Return the score that the best of ``voices`` strangers exceeds with ``false_alarm``.

        Scores are taken as independent; those of one recording are not, so that the threshold is
        rather too high than too low.
        """
        if voices < 1:
            raise TidyVoiceError(f"{voices} voices: give one or more")
        if not RAREST <= false_alarm < 1:
            raise TidyVoiceError(f"false_alarm {false_alarm:g}: give a probability, {RAREST} to 1")
        each = -math.expm1(math.log1p(-false_alarm) / voices)
        start, share, scale, shape = self.tail
        if each <= share:
            return start + scale * ((share / each) ** shape - 1) / shape
        below = np.append(0, np.cumsum(self.nontarget)) / sum(self.nontarget)
        return min(float(np.interp(1 - each, below, self.edges)), start)


def _tail(scores: np.ndarray) -> tuple[float, float, float, float]:
    """Fit the tail by probability-weighted moments of the highest scores.

    About one standard error, 1/sqrt(n), is added to the shape: thresholds for far more voices than
    trials must not give more false alarms (0.0075 instead of 0.038 where 0.01 was requested).
    """
    ordered = np.sort(scores.astype(np.float64))
    above = max(round(TAIL * len(ordered)), min(ENOUGH, len(ordered) // 4))
    start = ordered[-above - 1]
    excess = ordered[-above:] - start
    rank = (np.arange(1, above + 1) - 0.35) / above
    first, second = excess.mean(), (excess * (1 - rank)).mean()
    if second <= 0 or first <= 2 * second:
        raise TidyVoiceError("the highest non-target scores are all equal: check the list")
    shape = 2 - first / (first - 2 * second) + above**-0.5
    scale = 2 * first * second / (first - 2 * second)
    return float(start), above / len(ordered), float(scale), float(shape)

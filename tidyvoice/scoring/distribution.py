"""Distribution of the scores of a labelled list: histograms, and the tail of the non-targets.

It is small, so that it can be kept with a model without the list.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning

BINS = 400
TAIL = 0.005  # share of the non-target scores that the tail is fitted to, or,
ENOUGH = 400  # if that is less, this many of them, or the upper quarter
FEWEST = 10  # targets, and scores of the tail
ROUGH = 1000  # non-targets, below which the tail is inaccurate


@dataclass(frozen=True)
class Tail:
    """Generalized Pareto distribution of the highest scores.

    P(score > x) = share (1 + shape (x - start) / scale)^(-1/shape) for x above ``start``; with a
    shape below zero no score lies above start - scale / shape.

    J. R. M. Hosking, J. R. Wallis, "Parameter and Quantile Estimation for the Generalized Pareto
    Distribution", Technometrics 29, 1987 (their k is minus this shape).

    Attributes:
        share: of all scores, those above ``start``.
    """

    start: float
    share: float
    scale: float
    shape: float

    @classmethod
    def fit(cls, scores: np.ndarray) -> "Tail":
        """Fit by probability-weighted moments of the highest scores.

        About one standard error, 1/sqrt(n), is added to the shape, because thresholds for far more
        voices than trials depend on it and should give fewer false alarms rather than more. (Of
        20,000 normal scores, the threshold for one in a hundred among 1,000 voices gave 0.0075 in
        the mean and 0.037 at worst; without it 0.038 and 0.17.)
        """
        ordered = np.sort(scores.astype(np.float64))
        above = max(round(TAIL * len(ordered)), min(ENOUGH, len(ordered) // 4))
        if above < FEWEST:
            raise TidyVoiceError(
                f"{len(ordered)} non-target trials are too few for a threshold. Use a list with "
                f"{ROUGH:,}."
            )
        start = ordered[-above - 1]
        excess = ordered[-above:] - start
        rank = (np.arange(1, above + 1) - 0.35) / above
        first, second = excess.mean(), (excess * (1 - rank)).mean()
        if second <= 0 or first <= 2 * second:
            raise TidyVoiceError("the highest non-target scores are all equal. Check the list.")
        shape = 2 - first / (first - 2 * second) + above**-0.5
        scale = 2 * first * second / (first - 2 * second)
        return cls(float(start), above / len(ordered), float(scale), float(shape))

    def score_at(self, probability: float) -> float:
        """Return the score that is exceeded with a ``probability`` of at most ``share``."""
        ratio = self.share / probability
        if abs(self.shape) < 1e-6:
            return self.start + self.scale * math.log(ratio)
        return self.start + self.scale * (ratio**self.shape - 1) / self.shape


@dataclass(frozen=True)
class Distribution:
    """Histograms of target and non-target scores in ``BINS`` bins of equal width.

    Attributes:
        target, nontarget: trials in each bin.
        tail: upper tail of the non-target scores.
        span: lowest and highest edge of the bins.

    Example:
        >>> import numpy as np
        >>> scores = np.random.default_rng(0).normal(0, 0.1, 20_000)
        >>> scores[:1000] += 0.6
        >>> made = Distribution.of(scores, np.arange(20_000) < 1000)
        >>> round(made.threshold(0.01), 2), round(made.threshold(0.01, voices=1000), 2)
        (0.23, 0.43)
    """

    target: tuple[int, ...]
    nontarget: tuple[int, ...]
    tail: Tail
    span: tuple[float, float] = (-1.0, 1.0)

    @classmethod
    def of(cls, scores: np.ndarray, is_target: np.ndarray) -> "Distribution":
        """Return the distribution of labelled scores, float [T].

        The bins span -1..1 for cosines, and all scores otherwise.

        Raises:
            TidyVoiceError: too few trials of a kind.
        """
        targets, nontargets = int(is_target.sum()), int((~is_target).sum())
        if targets < FEWEST:
            raise TidyVoiceError(f"{targets} target trials are too few. Use {FEWEST} or more.")
        if nontargets < ROUGH:
            warnings.warn(
                f"{nontargets:,} non-target trials: thresholds for few false alarms are inaccurate",
                TidyVoiceWarning,
                stacklevel=3,
            )
        span = (-1.0, 1.0)
        if np.abs(scores).max() > 1 + 1e-5:
            span = (float(np.floor(scores.min())), float(np.ceil(scores.max())))
        clipped = scores.clip(*span)
        counts = (np.histogram(clipped[kind], BINS, span)[0] for kind in (is_target, ~is_target))
        counts = (tuple(count.tolist()) for count in counts)
        return cls(*counts, Tail.fit(clipped[~is_target]), span)

    @property
    def edges(self) -> np.ndarray:
        """Edges of the bins, float64 [BINS + 1]."""
        return np.linspace(*self.span, BINS + 1)

    def threshold(self, false_alarm: float, voices: int = 1) -> float:
        """Return the score that the best of ``voices`` strangers exceeds with ``false_alarm``.

        Scores of one recording are not independent, as is assumed here, so that the threshold is
        rather too high than too low.
        """
        if not 0 < false_alarm < 1 or voices < 1:
            raise TidyVoiceError(
                f"false_alarm {false_alarm:g} among {voices} voices. Give a probability between 0 "
                "and 1, and at least one voice."
            )
        each = -math.expm1(math.log1p(-false_alarm) / voices)
        if each <= self.tail.share:
            return self.tail.score_at(each)
        below = np.append(0, np.cumsum(self.nontarget)) / sum(self.nontarget)
        return min(float(np.interp(1 - each, below, self.edges)), self.tail.start)

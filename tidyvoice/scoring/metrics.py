"""Metrics of a speaker-verification system: EER, detection costs, Cllr.

References:
    A. Martin, G. Doddington, T. Kamm, M. Ordowski, M. Przybocki, "The DET curve in assessment of
        detection task performance", Eurospeech 1997.
    NIST 2019 Speaker Recognition Evaluation plan, section 3.1 (detection cost, normalisation).
    N. Brümmer, J. du Preez, "Application-independent evaluation of speaker detection", Computer
        Speech and Language 20, 2006 (Cllr, its minimum, the Bayes threshold).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

from tidyvoice.errors import TidyVoiceError


@dataclass(frozen=True)
class Costs:
    """Prior and costs of the detection cost; the defaults are the challenge's."""

    p_target: float = 0.01
    c_miss: float = 1.0
    c_fa: float = 1.0

    def __post_init__(self) -> None:
        for name, most in (("p_target", 1), ("c_miss", np.inf), ("c_fa", np.inf)):
            value = getattr(self, name)
            if not 0 < value < most:
                raise TidyVoiceError(f"{name} is {value:g}. Give a number between 0 and {most}.")

    @property
    def weights(self) -> tuple[float, float]:
        """Weights of the miss rate and of the false-alarm rate in the normalised cost."""
        miss, false_alarm = self.c_miss * self.p_target, self.c_fa * (1 - self.p_target)
        return miss / min(miss, false_alarm), false_alarm / min(miss, false_alarm)

    @property
    def threshold(self) -> float:
        """Bayes threshold: the log-likelihood ratio from which accepting costs less."""
        miss, false_alarm = self.weights
        return float(np.log(false_alarm / miss))


class SortedScores(NamedTuple):
    """Scores of target and of non-target trials, each float64, ascending, not empty."""

    targets: np.ndarray
    nontargets: np.ndarray


class ErrorRates(NamedTuple):
    """Both error rates, float64 [K] each, at the operating points where their curve turns.

    A trial is accepted if its score is at least the threshold. The first point accepts every trial,
    the last one, with threshold infinity, none. All others lie on straight lines between these.
    """

    thresholds: np.ndarray
    fnr: np.ndarray
    fpr: np.ndarray


def sort_scores(scores: np.ndarray, is_target: np.ndarray) -> SortedScores:
    """Split scores, float [T], by ``is_target``, bool [T], and sort them.

    A score that is NaN is an error, and so are trials of one kind only.
    """
    scores, is_target = np.asarray(scores, dtype=np.float64), np.asarray(is_target, dtype=bool)
    if np.isnan(scores).any():
        raise TidyVoiceError(f"{int(np.isnan(scores).sum()):,} of {len(scores):,} scores are NaN")
    targets, nontargets = np.sort(scores[is_target]), np.sort(scores[~is_target])
    if not len(targets) or not len(nontargets):
        kind = "non-target" if len(targets) else "target"
        raise TidyVoiceError(f"no {kind} trial among {len(scores):,}: error rates need both kinds")
    return SortedScores(targets, nontargets)


def error_rates(scores: SortedScores) -> ErrorRates:
    """Compute FNR(θ) = P(s < θ | target) and FPR(θ) = P(s ≥ θ | non-target).

    Trials with equal scores are accepted or rejected together, so the order of the trials has no
    influence.
    """
    targets, nontargets = scores
    # The curve can turn only at targets and at the first non-target above each of them.
    above = np.searchsorted(nontargets, targets, side="right")
    runs = nontargets[:1], nontargets[above[above < len(nontargets)]], targets
    points = np.sort(np.concatenate(runs), kind="stable")  # merges sorted runs
    points = points[np.append(True, points[1:] != points[:-1])]
    missed, rejected = (np.append(np.searchsorted(side, points), len(side)) for side in scores)
    # Between steps of one kind, targets or non-targets, the curve goes straight on.
    miss, reject = np.diff(missed) > 0, np.diff(rejected) > 0
    straight = (miss[1:] != reject[1:]) & (miss[1:] == miss[:-1]) & (reject[1:] == reject[:-1])
    turns = np.concatenate([[True], ~straight, [True]])
    total, others = len(targets), len(nontargets)
    thresholds = np.append(points, np.inf)[turns]
    return ErrorRates(thresholds, missed[turns] / total, (others - rejected[turns]) / others)


def eer(scores: np.ndarray, is_target: np.ndarray) -> float:
    """Return the equal error rate, a fraction: where FNR = FPR.

    Between neighbouring operating points i and i + 1 the rates run along a straight line, with
    d = FNR − FPR rising from below to at least zero: with w = −d_i / (d_{i+1} − d_i),

        EER = FNR_i + w (FNR_{i+1} − FNR_i)

    Scores are float [T], ``is_target`` bool [T]; errors as in ``sort_scores``.
    """
    return eer_of(error_rates(sort_scores(scores, is_target)))


def min_dcf(
    scores: np.ndarray,
    is_target: np.ndarray,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """Return the minimum of the normalised detection cost over all thresholds (NIST SRE plan):

        DCF(θ) = [C_miss P_target FNR(θ) + C_fa (1 − P_target) FPR(θ)] / DCF_0
        DCF_0  = min(C_miss P_target, C_fa (1 − P_target))

    DCF_0 is the cost of the better of accepting and rejecting everything, so the result lies
    between 0 and 1. Scores are float [T], ``is_target`` bool [T]; errors as in ``sort_scores``.
    """
    costs = Costs(p_target, c_miss, c_fa)
    return min_dcf_of(error_rates(sort_scores(scores, is_target)), costs)


def eer_of(rates: ErrorRates) -> float:
    """Return the equal error rate, see ``eer``."""
    difference = rates.fnr - rates.fpr
    after = int(np.argmax(difference >= 0))  # at least 1: the first point has difference -1
    before = after - 1
    weight = -difference[before] / (difference[after] - difference[before])
    return float(rates.fnr[before] + weight * (rates.fnr[after] - rates.fnr[before]))


def min_dcf_of(rates: ErrorRates, costs: Costs) -> float:
    """Return the minimum detection cost, see ``min_dcf``."""
    miss, false_alarm = costs.weights
    return float((miss * rates.fnr + false_alarm * rates.fpr).min())


def act_dcf(scores: SortedScores, costs: Costs) -> float:
    """Return the actual cost: DCF at the Bayes threshold of natural log-likelihood ratios."""
    fnr = np.searchsorted(scores.targets, costs.threshold) / len(scores.targets)
    fpr = 1 - np.searchsorted(scores.nontargets, costs.threshold) / len(scores.nontargets)
    miss, false_alarm = costs.weights
    return float(miss * fnr + false_alarm * fpr)


def cllr(scores: SortedScores) -> float:
    """Return the cost of log-likelihood ratios l in bits: 0 if perfect, 1 if uninformative.

    Cllr = 1/2 [mean over targets of log2(1 + e^−l) + mean over non-targets of log2(1 + e^l)]
    """
    both = _mean_softplus(scores.targets, -1) + _mean_softplus(scores.nontargets, 1)
    return float(both / (2 * np.log(2)))


def min_cllr(rates: ErrorRates, targets: int, nontargets: int) -> float:
    """Return Cllr after the best non-decreasing map of the scores (pool adjacent violators).

    ``rates`` are those of ``targets`` target and ``nontargets`` non-target trials.
    """
    hits = np.rint(np.diff(rates.fnr) * targets)
    others = np.rint(-np.diff(rates.fpr) * nontargets)
    posterior = isotonic_regression(hits / (hits + others), weights=hits + others).x
    # Log-likelihood ratios of the map; an infinite one is never counted on its wrong side.
    with np.errstate(divide="ignore"):
        odds = np.log(posterior) - np.log1p(-posterior) + np.log(nontargets / targets)
    miss = (hits[hits > 0] * np.logaddexp(0, -odds[hits > 0])).sum() / targets
    false_alarm = (others[others > 0] * np.logaddexp(0, odds[others > 0])).sum() / nontargets
    return float((miss + false_alarm) / (2 * np.log(2)))


def _mean_softplus(values: np.ndarray, sign: int) -> float:
    """Return the mean of ln(1 + e^(sign v)), in blocks that fit into the cache."""
    total, block = 0.0, 2**16
    for start in range(0, len(values), block):
        part = sign * values[start : start + block]
        total += float(np.sum(np.maximum(part, 0) + np.log1p(np.exp(-np.abs(part)))))
    return total / len(values)

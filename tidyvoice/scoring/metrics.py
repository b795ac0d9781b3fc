"""Error rates of a speaker-verification system: EER and minimum detection cost.

References:
    A. Martin, G. Doddington, T. Kamm, M. Ordowski, M. Przybocki, "The DET curve in assessment of
        detection task performance", Eurospeech 1997.
    NIST 2019 Speaker Recognition Evaluation plan, section 3.1 (detection cost, normalisation).
"""

from typing import NamedTuple

import numpy as np

from tidyvoice.errors import TidyVoiceError


class ErrorRates(NamedTuple):
    """Both error rates at K + 1 operating points, for K distinct scores.

    A trial is accepted when its score reaches the threshold. The first point accepts every trial
    (FNR 0, FPR 1), the last, with threshold infinity, none (FNR 1, FPR 0).

    Attributes:
        thresholds: float64 [K + 1], ascending.
        fnr: float64 [K + 1], false negatives (misses) over target trials, ascending.
        fpr: float64 [K + 1], false positives (false alarms) over non-target trials, descending.
    """

    thresholds: np.ndarray
    fnr: np.ndarray
    fpr: np.ndarray


def error_rates(scores: np.ndarray, is_target: np.ndarray) -> ErrorRates:
    """FNR(θ) = P(s < θ | target) and FPR(θ) = P(s ≥ θ | non-target) for every θ that matters.

    Trials of equal score are accepted or rejected together: operating points exist only between
    distinct scores, so that the order of the trials has no influence.

    Args:
        scores: float [T].
        is_target: bool [T].

    Raises:
        TidyVoiceError: a score is NaN, or there is no target or no non-target trial.
    """
    scores, is_target = np.asarray(scores), np.asarray(is_target, dtype=bool)
    if scores.shape != is_target.shape or scores.ndim != 1:
        raise TidyVoiceError(f"{scores.shape} scores for {is_target.shape} labels")
    if np.isnan(scores).any():
        raise TidyVoiceError(f"{int(np.isnan(scores).sum()):,} of {len(scores):,} scores are NaN")
    targets = int(is_target.sum())
    nontargets = len(scores) - targets
    if not targets or not nontargets:
        kind = "non-target" if targets else "target"
        raise TidyVoiceError(f"no {kind} trial among {len(scores):,}: error rates need both kinds")

    order = np.argsort(scores)
    scores = scores[order]
    ends = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)
    rejected_targets = np.cumsum(is_target[order])[ends]
    accepted_nontargets = nontargets - (ends + 1 - rejected_targets)
    return ErrorRates(
        thresholds=np.append(scores[ends], np.inf).astype(np.float64),
        fnr=np.insert(rejected_targets / targets, 0, 0.0),
        fpr=np.insert(accepted_nontargets / nontargets, 0, 1.0),
    )


def eer(scores: np.ndarray, is_target: np.ndarray) -> float:
    """Equal error rate, a fraction: where FNR = FPR.

    Between neighbouring operating points i and i + 1 the rates run along a straight line, with
    d = FNR − FPR rising from below to at least zero: with w = −d_i / (d_{i+1} − d_i),

        EER = FNR_i + w (FNR_{i+1} − FNR_i)

    Args:
        scores: float [T].
        is_target: bool [T].

    Raises:
        TidyVoiceError: see ``error_rates``.
    """
    return eer_of(error_rates(scores, is_target))


def min_dcf(
    scores: np.ndarray,
    is_target: np.ndarray,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """Minimum over the thresholds of the normalised detection cost (NIST SRE plan):

        DCF(θ) = [C_miss P_target FNR(θ) + C_fa (1 − P_target) FPR(θ)] / DCF_0
        DCF_0  = min(C_miss P_target, C_fa (1 − P_target))

    DCF_0 is the cost of the better of accepting and rejecting everything, so the result lies
    between 0 and 1.

    Args:
        scores: float [T].
        is_target: bool [T].
        p_target: prior of a target trial, between 0 and 1.
        c_miss, c_fa: costs of a miss and of a false alarm, above 0.

    Raises:
        TidyVoiceError: see ``error_rates``; a prior or cost out of range.
    """
    return min_dcf_of(error_rates(scores, is_target), p_target, c_miss, c_fa)


def eer_of(rates: ErrorRates) -> float:
    """``eer`` of error rates at hand."""
    difference = rates.fnr - rates.fpr
    after = int(np.argmax(difference >= 0))  # at least 1: the first point has difference -1
    before = after - 1
    weight = -difference[before] / (difference[after] - difference[before])
    return float(rates.fnr[before] + weight * (rates.fnr[after] - rates.fnr[before]))


def min_dcf_of(
    rates: ErrorRates, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0
) -> float:
    """``min_dcf`` of error rates at hand."""
    if not 0 < p_target < 1:
        raise TidyVoiceError(f"p_target is {p_target:g}; it must lie between 0 and 1")
    for name, cost in (("c_miss", c_miss), ("c_fa", c_fa)):
        if not 0 < cost < np.inf:
            raise TidyVoiceError(f"{name} is {cost:g}; a cost must be a number above 0")
    miss, false_alarm = c_miss * p_target, c_fa * (1 - p_target)
    return float((miss * rates.fnr + false_alarm * rates.fpr).min() / min(miss, false_alarm))

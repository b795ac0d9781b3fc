"""The curves of the figures, computed from scores and thinned to what a page needs."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import expit, ndtri

from tidyvoice.evaluation.categories import trial_kinds
from tidyvoice.scoring.groups import Groups
from tidyvoice.scoring.metrics import (
    Costs,
    ErrorRates,
    SortedScores,
    act_dcf,
    eer_of,
    min_dcf_of,
)
from tidyvoice.scoring.trials import ScoreTable

DET_POINTS = 300
BINS = (40, 100)
COST_POINTS = 400
COST_SHOWN = 1.2  # a normalised cost of 1 is that of ignoring the score
LOG_ODDS = np.arange(-56, 57) / 8
LLR_EDGES = np.arange(-10.0, 11.0)


@dataclass(frozen=True)
class DetCurve:
    """Operating points of a category, float [P] each, and its EER, a fraction."""

    fpr: np.ndarray
    fnr: np.ndarray
    eer: float


@dataclass(frozen=True)
class CostCurve:
    """Normalised detection cost at P thresholds, float64 [P] each, and its minimum."""

    threshold: np.ndarray
    cost: np.ndarray
    best_threshold: float
    best_cost: float


@dataclass(frozen=True)
class BayesError:
    """Normalised cost at each of ``LOG_ODDS``, float64 [P]; ``actual`` for LLRs only."""

    minimum: np.ndarray
    actual: np.ndarray | None


@dataclass(frozen=True)
class Reliability:
    """LLRs in the B bins between ``LLR_EDGES``; the outermost bins are open.

    Attributes:
        targets, nontargets: numbers of trials, int64 [B].
        predicted: mean LLR, with equal weight for targets and non-targets, float64 [B]; NaN in
            an empty bin.
        observed: ln of the share of all targets over the share of all non-targets, float64 [B]: the
            log odds of a target at prior 0.5; infinite where a kind is missing, NaN where both are.
    """

    targets: np.ndarray
    nontargets: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray


def det_curve(rates: ErrorRates, eer: float) -> DetCurve:
    """Return at most ``DET_POINTS`` operating points, evenly spaced on the probit axes.

    These axes have no rates of 0 and 1, so such points are left out; a system without errors has
    an empty curve.
    """
    inside = (rates.fnr > 0) & (rates.fpr > 0) & (rates.fnr < 1) & (rates.fpr < 1)
    fnr, fpr = rates.fnr[inside], rates.fpr[inside]
    if len(fnr) > DET_POINTS:
        along = ndtri(fnr) - ndtri(fpr)  # grows from point to point
        chosen = np.searchsorted(along, np.linspace(along[0], along[-1], DET_POINTS))
        chosen = np.unique(chosen)
        fnr, fpr = fnr[chosen], fpr[chosen]
    return DetCurve(fpr, fnr, eer)


def histograms(
    table: ScoreTable, languages: Groups | None
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the edges of the bins, float64 [B + 1], and the density [B] of each kind of trial.

    The number of bins follows the Rice rule for the rarest kind, 2 n^(1/3), within ``BINS``.
    """
    kinds = trial_kinds(table, languages)
    number = np.bincount(kinds)
    bins = int(np.clip(2 * np.cbrt(number[number > 0].min()), *BINS))
    edges = np.histogram_bin_edges(table.scores, bins)
    densities = {}
    for label, name in ((2, "target"), (0, "non-target")):
        for same, where in ((1, ", same language"), (0, ", cross-language")):
            scores = table.scores[kinds == label + same]
            if len(scores):
                kind = name if languages is None else name + where
                densities[kind] = np.histogram(scores, edges, density=True)[0]
    return edges, densities


def eer_threshold(scores: SortedScores, rates: ErrorRates) -> float:
    """Return the score at which both error rates are closest to the EER and to each other."""
    rate = eer_of(rates)
    candidates = []
    for side, share in ((scores.targets, rate), (scores.nontargets, 1 - rate)):
        rank = int(share * len(side))
        candidates += [side[min(place, len(side) - 1)] for place in (rank, rank + 1)]
    fnr, fpr = rates_at(scores, np.array(candidates))
    return float(candidates[np.argmin(np.abs(fnr - fpr))])


def rates_at(scores: SortedScores, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return FNR and FPR at thresholds [P], float64 [P] each; a score at one is accepted."""
    fnr = np.searchsorted(scores.targets, thresholds) / len(scores.targets)
    return fnr, 1 - np.searchsorted(scores.nontargets, thresholds) / len(scores.nontargets)


def cost_curve(scores: SortedScores, rates: ErrorRates, costs: Costs) -> CostCurve:
    """Return the cost against the threshold, from a cost of ``COST_SHOWN`` by false alarms."""
    miss, false_alarm = costs.weights
    at_points = miss * rates.fnr + false_alarm * rates.fpr
    best = int(np.argmin(at_points))
    least = rates.thresholds[best]
    if not np.isfinite(least):  # the best decision is to reject everything
        least = max(scores.targets[-1], scores.nontargets[-1])
    low = np.quantile(scores.nontargets, max(0.0, 1 - COST_SHOWN / false_alarm))
    high = np.quantile(scores.targets, min(1.0, COST_SHOWN / miss, 0.98))
    thresholds = np.linspace(min(low, least), max(high, least), COST_POINTS)
    fnr, fpr = rates_at(scores, thresholds)
    cost = miss * fnr + false_alarm * fpr
    return CostCurve(thresholds, cost, float(least), float(at_points[best]))


def bayes_error(scores: SortedScores, rates: ErrorRates, calibrated: bool) -> BayesError:
    """Return actual and minimum normalised cost at the prior log odds ``LOG_ODDS``.

    N. Brümmer, J. du Preez, "Application-independent evaluation of speaker detection", Computer
    Speech and Language 20, 2006.
    """
    points = [Costs(p_target=float(prior)) for prior in expit(LOG_ODDS)]
    minimum = np.array([min_dcf_of(rates, at) for at in points])
    actual = np.array([act_dcf(scores, at) for at in points]) if calibrated else None
    return BayesError(minimum, actual)


def reliability(scores: SortedScores) -> Reliability:
    """Return predicted and observed log odds at prior 0.5, by bins of the LLR."""
    counts, sums = zip(*(_binned(side) for side in scores), strict=True)
    shares = [number / len(side) for number, side in zip(counts, scores, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        weighted = sums[0] / len(scores.targets) + sums[1] / len(scores.nontargets)
        predicted = weighted / (shares[0] + shares[1])
        observed = np.log(shares[0]) - np.log(shares[1])
    return Reliability(counts[0], counts[1], predicted, observed)


def _binned(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return number and sum of ascending values in each bin."""
    inner = np.searchsorted(values, LLR_EDGES)
    bounds = [0, *inner.tolist(), len(values)]
    sums = [values[low:high].sum() for low, high in pairwise(bounds)]
    return np.diff(bounds), np.array(sums)

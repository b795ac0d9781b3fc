"""The curves of the figures, computed from scores."""

import numpy as np
from scipy.special import expit

from tidyvoice.evaluation.categories import trial_kinds
from tidyvoice.scoring.groups import Groups
from tidyvoice.scoring.metrics import Costs, ErrorRates, SortedScores, act_dcf, min_dcf_of
from tidyvoice.scoring.trials import ScoreTable

BINS = (40, 100)
COST_POINTS = 400
COST_SHOWN = 1.2  # a normalised cost of 1 is that of ignoring the score
LOG_ODDS = np.arange(-56, 57) / 8
LLR_EDGES = np.arange(-10.0, 11.0)


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


def cost_curve(
    scores: SortedScores, rates: ErrorRates, costs: Costs
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Return ``COST_POINTS`` thresholds with their costs, then the best threshold with its cost.

    The thresholds begin where false alarms alone cost ``COST_SHOWN``.
    """
    miss, false_alarm = costs.weights
    at_points = miss * rates.fnr + false_alarm * rates.fpr
    best = int(np.argmin(at_points))
    # The last threshold is infinite: it rejects everything.
    least = min(float(rates.thresholds[best]), max(scores.targets[-1], scores.nontargets[-1]))
    low = np.quantile(scores.nontargets, max(0.0, 1 - COST_SHOWN / false_alarm))
    high = np.quantile(scores.targets, min(1.0, COST_SHOWN / miss, 0.98))
    thresholds = np.linspace(min(low, least), max(high, least), COST_POINTS)
    fnr = np.searchsorted(scores.targets, thresholds) / len(scores.targets)
    fpr = 1 - np.searchsorted(scores.nontargets, thresholds) / len(scores.nontargets)
    return thresholds, miss * fnr + false_alarm * fpr, least, float(at_points[best])


def bayes_error(scores: SortedScores, rates: ErrorRates) -> tuple[np.ndarray, np.ndarray]:
    """Return minimum and actual normalised cost at the prior log odds ``LOG_ODDS``."""
    points = [Costs(p_target=float(prior)) for prior in expit(LOG_ODDS)]
    minimum = np.array([min_dcf_of(rates, at) for at in points])
    return minimum, np.array([act_dcf(scores, at) for at in points])


def reliability(scores: SortedScores) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return predicted and observed log odds [B], and trials [2 x B], by bins at ``LLR_EDGES``.

    Predicted is the mean LLR, with equal weight for targets and non-targets; NaN in an empty bin.
    Observed is the log odds of a target at prior 0.5. The outermost bins are open.
    """
    places = [np.digitize(side, LLR_EDGES) for side in scores]
    bins = len(LLR_EDGES) + 1
    counts = np.stack([np.bincount(place, minlength=bins) for place in places])
    sums = [np.bincount(place, side, bins) for place, side in zip(places, scores, strict=True)]
    sizes = np.array([[len(side)] for side in scores])
    with np.errstate(divide="ignore", invalid="ignore"):
        predicted = (sums / sizes).sum(axis=0) / (counts / sizes).sum(axis=0)
        targets, nontargets = np.log(counts / sizes)
        return predicted, targets - nontargets, counts

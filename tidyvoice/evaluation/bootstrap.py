"""Confidence intervals by resampling speakers.

The trials of one speaker are not independent, so resampling trials would give intervals that are
far too narrow. Instead, speakers are drawn with replacement. A speaker that was drawn w times
stands for w different speakers: a target trial counts w times, and a non-target trial of speakers a
and b counts w_a w_b times. Trials between two copies of one speaker do not exist.

References:
    B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 8 and 13.
    N. Poh, S. Bengio, "Estimating the confidence interval of expected performance curve in
        biometric authentication using joint bootstrap", ICASSP 2007 (resampling of users).
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from tidyvoice.evaluation.categories import KINDS, POOLED, Interval, Row, trial_kinds
from tidyvoice.readahead import usable_cores
from tidyvoice.scoring.groups import Groups
from tidyvoice.scoring.metrics import Costs
from tidyvoice.scoring.trials import ScoreTable

# Thresholds of a resampled curve for each kind of trial: so many at even ranks of the scores, and
# as many at logarithmic ranks from each end, where the error rates are low.
RANKS = 1500
PAIRS = 2**15  # pairs of speakers whose weights a thread holds at once
CHUNK = 64  # resamples at once, so that a row of weights has four cache lines
LEVEL = 0.95


@dataclass(frozen=True)
class Resampled:
    """The metrics in R resamples; NaN where one lacks a kind of trial: float64 [R] or [P x R]."""

    eer: np.ndarray
    cllr: np.ndarray
    min_dcf: np.ndarray
    act_dcf: np.ndarray


def resample(
    table: ScoreTable,
    languages: Groups | None,
    speakers: Groups,
    points: Sequence[Costs],
    resamples: int = 1000,
    seed: int = 1,
) -> dict[str, Resampled]:
    """Compute the metrics of each category in resamples of the speakers; see the module.

    Scores are binned once, at about 6 x ``RANKS`` thresholds, so that the time depends little on
    the number of trials. Resample r draws the same speakers for all tables with the same speakers,
    so that systems can be compared resample by resample. Without languages only all trials are
    resampled. Speakers that contradict a label are an error.
    """
    trials, kinds = table.trials, trial_kinds(table, languages)
    codes, number = speakers.codes.astype(np.int32), len(speakers.names)
    enroll, test = codes[trials.enroll], codes[trials.test]
    fix = "has a label that contradicts the speakers: correct it, or give the right --utt2spk"
    trials.refuse((enroll == test) != trials.label, fix)
    edges = _edges(table, points)
    bins = np.searchsorted(edges, table.scores, side="right").astype(np.int32)
    in_bin = np.maximum(np.bincount(bins, minlength=len(edges) + 1), 1)
    sums = [np.bincount(bins, np.logaddexp(0, s * table.scores), len(edges) + 1) for s in (-1, 1)]
    softplus = np.stack(sums) / in_bin
    counts = [_count(*(a[kinds == kind] for a in (enroll, test, bins)), edges) for kind in range(4)]
    rng = np.random.Generator(np.random.PCG64([seed, number]))
    weights = rng.multinomial(number, np.full(number, 1 / number), size=resamples).T
    categories = KINDS if languages is not None else {POOLED: KINDS[POOLED]}

    def evaluate(start: int) -> list[np.ndarray]:
        chunk = np.ascontiguousarray(weights[:, start : start + CHUNK], dtype=np.float32)
        curves = [_weighted(count, chunk, kind >= 2) for kind, count in enumerate(counts)]
        sides = [[sum(curves[k] for k in side) for side in both] for both in categories.values()]
        return [_metrics(*both, softplus, edges, points) for both in sides]

    with ThreadPoolExecutor(usable_cores()) as pool:
        parts = list(pool.map(evaluate, range(0, resamples, CHUNK)))
    resampled = {}
    for category, chunks in zip(categories, zip(*parts, strict=True), strict=True):
        eer, cllr, *costs = np.concatenate(chunks, axis=1)
        least, actual = np.split(np.stack(costs), 2)
        resampled[category] = Resampled(eer, cllr, least, actual)
    return resampled


def interval(values: np.ndarray) -> Interval | None:
    """Return the percentile interval of resampled values [R]; None if all are NaN."""
    if np.isnan(values).all():
        return None
    low, high = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def with_intervals(rows: Sequence[Row], resampled: Mapping[str, Resampled]) -> list[Row]:
    """Return the rows with the intervals of the categories that were resampled, and no others."""
    result = []
    for row in rows:
        eer = cllr = None
        costs = [(None, None)] * len(row.points)
        if row.points and (draws := resampled.get(row.category)):
            eer, cllr = interval(draws.eer), interval(draws.cllr)
            costs = zip(map(interval, draws.min_dcf), map(interval, draws.act_dcf), strict=True)
        points = tuple(
            replace(point, min_dcf_interval=least, act_dcf_interval=actual)
            for point, (least, actual) in zip(row.points, costs, strict=True)
        )
        result.append(replace(row, points=points, eer_interval=eer, cllr_interval=cllr))
    return result


def _edges(table: ScoreTable, points: Sequence[Costs]) -> np.ndarray:
    """Return ascending thresholds: scores at chosen ranks, and the Bayes thresholds."""
    edges = [np.array([at.threshold for at in points])]
    for side in (table.trials.label, ~table.trials.label):
        scores = np.sort(table.scores[side])
        last = len(scores) - 1
        steps = np.geomspace(1, last + 1, RANKS) - 1
        ranks = np.concatenate([np.linspace(0, last, RANKS), steps, last - steps])
        edges.append(scores[np.unique(ranks.astype(np.int64))])
    return np.unique(np.concatenate(edges))


def _count(
    enroll: np.ndarray, test: np.ndarray, bins: np.ndarray, edges: np.ndarray
) -> tuple[np.ndarray, np.ndarray, sparse.csc_array]:
    """Return both speakers of each pair with trials, [P] each, and counts [bins x P]."""
    low, high = np.minimum(enroll, test), np.maximum(enroll, test)
    speakers, number = int(high.max(initial=0)) + 1, len(edges) + 1
    key = (low.astype(np.int64) * speakers + high) * number + bins
    key, counts = np.unique(key, return_counts=True)
    pair, row = np.divmod(key, number)
    pair, sizes = np.unique(pair, return_counts=True)
    values = counts.astype(np.float32), row.astype(np.int32), np.append(0, np.cumsum(sizes))
    return *np.divmod(pair, speakers), sparse.csc_array(values, shape=(number, len(pair)))


def _weighted(
    count: tuple[np.ndarray, np.ndarray, sparse.csc_array], weights: np.ndarray, targets: bool
) -> np.ndarray:
    """Return counts by bin, float [bins x R], given the speakers' weights [S x R]."""
    low, high, matrix = count
    total = np.zeros((matrix.shape[0], weights.shape[1]), dtype=np.float32)
    for start in range(0, len(low), PAIRS):
        part = slice(start, start + PAIRS)
        times = weights[low[part]]
        if not targets:
            times *= weights[high[part]]
        total += matrix[:, part] @ times
    return total


def _metrics(
    targets: np.ndarray,
    nontargets: np.ndarray,
    softplus: np.ndarray,
    edges: np.ndarray,
    points: Sequence[Costs],
) -> np.ndarray:
    """Return EER, Cllr, minimum and actual costs, [2 + 2 P x R], from counts by bin [bins x R]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        # Threshold edges[k] rejects the bins up to k.
        fnr = np.cumsum(targets, axis=0, dtype=np.float64)
        fpr = np.cumsum(nontargets, axis=0, dtype=np.float64)
        cllr = (softplus[0] @ targets / fnr[-1] + softplus[1] @ nontargets / fpr[-1]) / np.log(4)
        fnr, fpr = fnr / fnr[-1], 1 - fpr / fpr[-1]
        start = np.zeros((1, fnr.shape[1]))
        fnr, fpr = np.concatenate([start, fnr]), np.concatenate([start + 1, fpr])
        rise = fnr - fpr
        after = np.maximum(np.argmax(rise >= 0, axis=0), 1)
        column = np.arange(len(after))
        low, high = rise[after - 1, column], rise[after, column]
        step = fnr[after, column] - fnr[after - 1, column]
        eer = fnr[after - 1, column] - low / (high - low) * step
    least, actual = [], []
    for at in points:
        miss, false_alarm = at.weights
        cost = miss * fnr + false_alarm * fpr
        least.append(cost.min(axis=0))
        actual.append(cost[np.searchsorted(edges, at.threshold) + 1])
    return np.stack([eer, cllr, *least, *actual])

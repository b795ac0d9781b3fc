"""EER and minDCF: published numbers, ties by hand, and a brute-force reference."""

import json
from pathlib import Path

import numpy as np
import pytest

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.metrics import (
    Costs,
    act_dcf,
    cllr,
    eer,
    error_rates,
    min_cllr,
    min_dcf,
    sort_scores,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "golden.json").read_text())["metrics"]


def golden_scores(case: dict) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.Generator(np.random.PCG64([case["seed"], 77]))
    targets = rng.standard_normal(case["n_tar"]) + case["shift"]
    scores = np.concatenate([targets, rng.standard_normal(case["n_non"])])
    return scores, np.arange(len(scores)) < case["n_tar"]


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: str(case["seed"]))
def test_agrees_with_the_published_numbers(case):
    scores, is_target = golden_scores(case)
    within = 1 / min(case["n_tar"], case["n_non"])
    assert eer(scores, is_target) == pytest.approx(case["eer"], abs=within)
    cost = min_dcf(scores, is_target, p_target=case["p_target"])
    assert cost == pytest.approx(case["min_dcf"], abs=1e-6)


@pytest.mark.parametrize(
    ("targets", "nontargets", "expected"),
    [
        # Perfect, reversed, and one tie of everything: the line from (0, 1) to (1, 0).
        ([3, 4], [1, 2], 0.0),
        ([1, 2], [3, 4], 1.0),
        ([5, 5], [5, 5, 5], 0.5),
        # A point at exactly FNR = FPR = 1/2, between 1 and 2.
        ([1, 2], [1, 2], 0.5),
        # Points (FNR, FPR): (0, 1), (0, 1/2), (1/2, 0), (1, 0): the second line crosses at 1/4.
        ([2, 3], [1, 2], 0.25),
        # Points (0, 1), (0, 1/3), (1, 0), with both targets tied to one non-target: d runs from
        # -1/3 to 1, so a quarter of the way.
        ([2, 2], [1, 1, 2], 0.25),
    ],
)
def test_ties_by_hand(targets, nontargets, expected):
    scores = np.array(targets + nontargets, dtype=float)
    is_target = np.arange(len(scores)) < len(targets)
    assert eer(scores, is_target) == pytest.approx(expected, abs=1e-15)


def test_cost_by_hand():
    # Points (FNR, FPR): (0, 1), (0, 1/2), (1/2, 0), (1, 0); P = 0.1 weighs them 9, 4.5, 0.5, 1.
    scores, is_target = np.array([2, 3, 1, 2.0]), np.array([1, 1, 0, 0], dtype=bool)
    assert min_dcf(scores, is_target, p_target=0.1) == pytest.approx(0.5)
    # With P = 0.9 a miss costs nine times a false alarm: 1, 0.5, 4.5, 9.
    assert min_dcf(scores, is_target, p_target=0.9) == pytest.approx(0.5)
    # C_miss = 18 at P = 0.1 makes 1.8 and 0.9: DCF_0 is the latter; 1, 0.5, 1, 2.
    assert min_dcf(scores, is_target, p_target=0.1, c_miss=18) == pytest.approx(0.5)
    # C_fa = 1/90 at P = 0.1 makes 0.1 and 0.01: 1, 0.5, 5, 10.
    assert min_dcf(scores, is_target, p_target=0.1, c_fa=1 / 90) == pytest.approx(0.5)
    # Worse than rejecting all: 1, never above.
    assert min_dcf(-scores, is_target, p_target=0.01) == pytest.approx(1)


def brute_force(scores, is_target, p_target):
    """One threshold below, between and above all distinct scores, each counted from the start."""
    points = np.unique(scores)
    middle = (points[1:] + points[:-1]) / 2
    thresholds = np.concatenate([[points[0] - 1], middle, [points[-1] + 1]])
    fnr = np.array([np.mean(scores[is_target] < t) for t in thresholds])
    fpr = np.array([np.mean(scores[~is_target] > t) for t in thresholds])
    cost = (p_target * fnr + (1 - p_target) * fpr).min() / min(p_target, 1 - p_target)
    after = next(i for i in range(len(fnr)) if fnr[i] >= fpr[i])
    a, b = fpr[after - 1] - fnr[after - 1], fnr[after] - fpr[after]
    return (fnr[after - 1] * b + fnr[after] * a) / (a + b), cost


@pytest.mark.parametrize("seed", range(20))
def test_agrees_with_brute_force_and_knows_no_order(seed):
    rng = np.random.Generator(np.random.PCG64([seed, 8]))
    is_target = np.r_[True, False, rng.random(58) < rng.uniform(0.1, 0.9)]
    # One decimal or none: many ties.
    scores = np.round(rng.standard_normal(60) + is_target, seed % 2).astype(np.float32)
    expected = brute_force(scores, is_target, 0.05)
    assert (eer(scores, is_target), min_dcf(scores, is_target, 0.05)) == pytest.approx(expected)
    order = rng.permutation(60)
    assert eer(scores[order], is_target[order]) == eer(scores, is_target)
    assert min_dcf(scores[order], is_target[order]) == min_dcf(scores, is_target)
    # Only the order of the scores counts.
    assert eer(np.exp(scores), is_target) == eer(scores, is_target)


def test_error_rates_at_their_thresholds():
    scores, is_target = np.array([2, 3, 1, 2.0]), np.array([1, 1, 0, 0], dtype=bool)
    rates = error_rates(sort_scores(scores, is_target))
    assert rates.thresholds.tolist() == [1, 2, 3, np.inf]
    assert rates.fnr.tolist() == [0, 0, 0.5, 1]
    assert rates.fpr.tolist() == [1, 0.5, 0, 0]


@pytest.mark.parametrize("seed", range(20))
def test_the_curve_turns_only_where_it_must_and_holds_every_operating_point(seed):
    rng = np.random.Generator(np.random.PCG64([seed, 9]))
    is_target = np.r_[True, False, rng.random(58) < rng.uniform(0.1, 0.9)]
    scores = np.round(rng.standard_normal(60) + 2 * is_target, seed % 3)
    rates = error_rates(sort_scores(scores, is_target))
    assert np.all(np.diff(rates.thresholds) > 0)
    for threshold, fnr, fpr in zip(*rates, strict=True):
        assert fnr == np.mean(scores[is_target] < threshold)
        assert fpr == pytest.approx(np.mean(scores[~is_target] >= threshold))
    # Every threshold's point lies on the curve: beyond it in both directions none is missing.
    for threshold in np.append(np.unique(scores), np.inf):
        point = np.mean(scores[is_target] < threshold), np.mean(scores[~is_target] >= threshold)
        at = np.searchsorted(rates.fnr, point[0])
        on_horizontal = np.interp(point[0], rates.fnr, rates.fpr)
        vertical = rates.fpr[rates.fnr == point[0]]
        assert (len(vertical) and vertical.min() - 1e-12 <= point[1] <= vertical.max() + 1e-12) or (
            point[1] == pytest.approx(on_horizontal)
        ), at


def separate(seed: int = 0, targets: int = 400, nontargets: int = 900, digits: int = 1):
    rng = np.random.Generator(np.random.PCG64([seed, 10]))
    scores = np.concatenate(
        [rng.standard_normal(targets) * 2 + 3, rng.standard_normal(nontargets) * 2 - 3]
    )
    return np.round(scores, digits), np.arange(len(scores)) < targets


@pytest.mark.parametrize("seed", range(5))
def test_the_actual_cost_is_that_of_the_bayes_threshold(seed):
    scores, is_target = separate(seed)
    for costs in (Costs(), Costs(0.2, 3, 0.5), Costs(0.9)):
        beta = costs.c_fa * (1 - costs.p_target) / (costs.c_miss * costs.p_target)
        miss = np.mean(scores[is_target] < np.log(beta)) * costs.c_miss * costs.p_target
        accepted = np.mean(scores[~is_target] >= np.log(beta))
        false_alarm = accepted * costs.c_fa * (1 - costs.p_target)
        least = min(costs.c_miss * costs.p_target, costs.c_fa * (1 - costs.p_target))
        actual = act_dcf(sort_scores(scores, is_target), costs)
        assert actual == pytest.approx((miss + false_alarm) / least)
        low = min_dcf(scores, is_target, costs.p_target, costs.c_miss, costs.c_fa)
        assert low <= actual + 1e-12


def pool_adjacent_violators(scores, is_target):
    """Blocks of trials in the order of their scores, merged while their target shares fall."""
    blocks = []
    for score in np.unique(scores):
        label = is_target[scores == score]
        blocks.append([label.sum(), len(label)])
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            last = blocks.pop()
            blocks[-1] = [blocks[-1][0] + last[0], blocks[-1][1] + last[1]]
    return blocks


@pytest.mark.parametrize("digits", [0, 1, 9])
@pytest.mark.parametrize("seed", range(4))
def test_cllr_and_its_minimum_by_their_definition(seed, digits):
    scores, is_target = separate(seed, digits=digits)
    targets, nontargets = int(is_target.sum()), int((~is_target).sum())
    mean = np.mean(np.log2(1 + np.exp(-scores[is_target])))
    mean += np.mean(np.log2(1 + np.exp(scores[~is_target])))
    parts = sort_scores(scores, is_target)
    assert cllr(parts) == pytest.approx(mean / 2)

    miss = false_alarm = 0.0
    for hits, total in pool_adjacent_violators(scores, is_target):
        others = total - hits
        ratio = (hits / targets) / (others / nontargets) if others else np.inf
        miss += hits * np.log2(1 + 1 / ratio) if hits else 0
        false_alarm += others * np.log2(1 + ratio) if others else 0
    least = (miss / targets + false_alarm / nontargets) / 2
    found = min_cllr(error_rates(parts), targets, nontargets)
    assert found == pytest.approx(least)
    assert found <= cllr(parts)


def test_cllr_at_its_ends():
    label = np.array([True, True, False, False])
    silent, sure = np.zeros(4), np.where(label, 400.0, -400.0)
    assert cllr(sort_scores(silent, label)) == pytest.approx(1)
    assert cllr(sort_scores(sure, label)) == pytest.approx(0)
    assert cllr(sort_scores(-sure, label)) == pytest.approx(400 / np.log(2))
    assert min_cllr(error_rates(sort_scores(silent, label)), 2, 2) == pytest.approx(1)
    assert min_cllr(error_rates(sort_scores(sure, label)), 2, 2) == 0


@pytest.mark.parametrize(
    ("scores", "is_target", "said"),
    [
        ([1, 2], [0, 0], "no target trial among 2"),
        ([1, 2], [1, 1], "no non-target trial among 2"),
        ([], [], "no target trial among 0"),
        ([1, np.nan], [1, 0], "1 of 2 scores are NaN"),
        ([1, 2, 3], [1, 0], "labels"),
    ],
)
def test_what_has_no_error_rates(scores, is_target, said):
    for metric in (eer, min_dcf):
        with pytest.raises(TidyVoiceError, match=said):
            metric(np.array(scores, dtype=float), np.array(is_target, dtype=bool))


@pytest.mark.parametrize(
    "bad", [{"p_target": 0}, {"p_target": 1}, {"c_miss": 0}, {"c_fa": -1}, {"c_fa": np.nan}]
)
def test_priors_and_costs_out_of_range(bad):
    with pytest.raises(TidyVoiceError, match=next(iter(bad))):
        min_dcf(np.array([1.0, 2.0]), np.array([False, True]), **bad)

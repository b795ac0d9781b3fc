"""EER, detection costs and Cllr: published numbers, ties by hand, and brute-force references."""

import numpy as np
import pytest

from tests.conftest import seeded
from tests.scoring.support import refused
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


def test_agrees_with_the_published_numbers(golden):
    for case in golden["metrics"]:
        rng = seeded(case["seed"], 77)
        targets = rng.standard_normal(case["n_tar"]) + case["shift"]
        scores = np.concatenate([targets, rng.standard_normal(case["n_non"])])
        is_target = np.arange(len(scores)) < case["n_tar"]
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


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        # Points (FNR, FPR): (0, 1), (0, 1/2), (1/2, 0), (1, 0); P = 0.1 weighs them 9, 4.5, 0.5, 1.
        ({"p_target": 0.1}, 0.5),
        # With P = 0.9 a miss costs nine times a false alarm: 1, 0.5, 4.5, 9.
        ({"p_target": 0.9}, 0.5),
        # C_miss = 4 at P = 0.1 makes 0.4 and 0.9: DCF_0 is the former; 2.25, 1.125, 0.5, 1.
        ({"p_target": 0.1, "c_miss": 4}, 0.5),
        # C_fa = 1/12 at P = 0.1 makes 0.1 and 0.075: 1, 0.5, 2/3, 4/3.
        ({"p_target": 0.1, "c_fa": 1 / 12}, 0.5),
    ],
)
def test_cost_by_hand(costs, expected):
    scores, is_target = np.array([2, 3, 1, 2.0]), np.array([1, 1, 0, 0], dtype=bool)
    assert min_dcf(scores, is_target, **costs) == pytest.approx(expected)
    # Worse than rejecting or accepting all: 1, never above.
    assert min_dcf(-scores, is_target, **costs) == pytest.approx(1)


def random_scores(seed: int, digits: int) -> tuple[np.ndarray, np.ndarray]:
    """Rounded scores, with ties, and labels."""
    rng = seeded(seed, 8)
    is_target = np.r_[True, False, rng.random(98) < rng.uniform(0.1, 0.9)]
    return np.round(2 * rng.standard_normal(100) + 4 * is_target - 2, digits), is_target


@pytest.mark.parametrize("digits", [0, 1, 9])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_brute_force_in_any_order(seed, digits):
    scores, is_target = random_scores(seed, digits)
    thresholds = np.append(np.unique(scores), np.inf)
    fnr = np.array([np.mean(scores[is_target] < t) for t in thresholds])
    fpr = np.array([np.mean(scores[~is_target] >= t) for t in thresholds])
    # All operating points lie on the lines between those where the curve turns.
    rates = error_rates(sort_scores(scores, is_target))
    assert set(rates.thresholds) <= set(thresholds)
    assert np.all(np.diff(rates.thresholds) > 0)
    np.testing.assert_allclose(np.interp(fnr - fpr, rates.fnr - rates.fpr, rates.fnr), fnr)
    np.testing.assert_allclose(np.interp(fnr - fpr, rates.fnr - rates.fpr, rates.fpr), fpr)

    after = int(np.argmax(fnr >= fpr))
    a, b = fpr[after - 1] - fnr[after - 1], fnr[after] - fpr[after]
    crossing = (fnr[after - 1] * b + fnr[after] * a) / (a + b)
    assert eer(scores, is_target) == pytest.approx(crossing)
    cost = (0.05 * fnr + 0.95 * fpr).min() / 0.05
    assert min_dcf(scores, is_target, 0.05) == pytest.approx(cost)
    order = seeded(seed).permutation(100)
    assert eer(scores[order], is_target[order]) == eer(scores, is_target)
    assert eer(np.exp(scores), is_target) == eer(scores, is_target)


@pytest.mark.parametrize("costs", [Costs(), Costs(0.2, 3, 0.5), Costs(0.9)])
def test_the_actual_cost_is_that_of_the_bayes_threshold(costs):
    scores, is_target = random_scores(1, 9)
    weights = costs.c_miss * costs.p_target, costs.c_fa * (1 - costs.p_target)
    threshold = np.log(weights[1] / weights[0])
    miss = np.mean(scores[is_target] < threshold) * weights[0]
    false_alarm = np.mean(scores[~is_target] >= threshold) * weights[1]
    actual = act_dcf(sort_scores(scores, is_target), costs)
    assert actual == pytest.approx((miss + false_alarm) / min(weights))
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


@pytest.mark.parametrize("digits", [0, 9])
@pytest.mark.parametrize("seed", range(3))
def test_cllr_and_its_minimum_by_their_definition(seed, digits):
    scores, is_target = random_scores(seed, digits)
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
    assert min_cllr(error_rates(parts), targets, nontargets) == pytest.approx(least)


def test_cllr_at_its_ends():
    label = np.array([True, True, False, False])
    silent, sure = np.zeros(4), np.where(label, 400.0, -400.0)
    assert cllr(sort_scores(silent, label)) == pytest.approx(1)
    assert cllr(sort_scores(-sure, label)) == pytest.approx(400 / np.log(2))
    assert min_cllr(error_rates(sort_scores(silent, label)), 2, 2) == pytest.approx(1)
    assert min_cllr(error_rates(sort_scores(sure, label)), 2, 2) == 0


@pytest.mark.parametrize(
    ("scores", "is_target", "options", "message"),
    [
        ([1, 2], [0, 0], {}, "no target trial among 2"),
        ([1, 2], [1, 1], {}, "no non-target trial among 2"),
        ([1, np.nan], [1, 0], {}, "1 of 2 scores are NaN"),
        ([1, 2], [0, 1], {"p_target": 1}, "p_target"),
        ([1, 2], [0, 1], {"c_fa": np.nan}, "c_fa"),
    ],
)
def test_scores_without_error_rates_and_wrong_costs_are_refused(
    scores, is_target, options, message
):
    label = np.array(is_target, dtype=bool)
    assert message in refused(min_dcf, np.array(scores, dtype=float), label, **options)

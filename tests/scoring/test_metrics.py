"""EER, detection costs and Cllr: published numbers, ties by hand, and brute-force references."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from tests.conftest import refused, seeded
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
    order = seeded(seed).permutation(100)
    assert eer(scores[order], is_target[order]) == eer(scores, is_target)
    assert eer(np.exp(scores), is_target) == eer(scores, is_target)


@pytest.mark.parametrize("costs", [Costs(), Costs(0.2, 3, 0.5), Costs(0.9)])
@pytest.mark.parametrize("digits", [0, 9])
def test_costs_by_their_definition(costs, digits):
    scores, is_target = random_scores(1, digits)
    weights = costs.c_miss * costs.p_target, costs.c_fa * (1 - costs.p_target)

    def cost(threshold: float) -> float:
        misses = weights[0] * np.mean(scores[is_target] < threshold)
        return (misses + weights[1] * np.mean(scores[~is_target] >= threshold)) / min(weights)

    minimum = min(map(cost, [*scores, np.inf]))
    ours = min_dcf(scores, is_target, costs.p_target, costs.c_miss, costs.c_fa)
    assert ours == pytest.approx(minimum)
    actual = act_dcf(sort_scores(scores, is_target), costs)
    assert actual == pytest.approx(cost(np.log(weights[1] / weights[0])))


@pytest.mark.parametrize("digits", [0, 9])
@pytest.mark.parametrize("seed", range(3))
def test_cllr_and_its_minimum_by_their_definition(seed, digits):
    scores, is_target = random_scores(seed, digits)
    mean = np.mean(np.log2(1 + np.exp(-scores[is_target])))
    mean += np.mean(np.log2(1 + np.exp(scores[~is_target])))
    parts = sort_scores(scores, is_target)
    assert cllr(parts) == pytest.approx(mean / 2)
    posterior = IsotonicRegression().fit_transform(scores, is_target)
    targets, nontargets = map(len, parts)
    with np.errstate(divide="ignore"):
        ratios = np.log(posterior / (1 - posterior)) - np.log(targets / nontargets)
    least = cllr(sort_scores(ratios, is_target))
    assert min_cllr(error_rates(parts), targets, nontargets) == pytest.approx(least)


def test_cllr_at_its_ends():
    label = np.array([True, True, False, False])
    silent, sure = np.zeros(4), np.where(label, 400.0, -400.0)
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
    ],
)
def test_scores_without_error_rates_and_wrong_costs_are_refused(
    scores, is_target, options, message
):
    label = np.array(is_target, dtype=bool)
    assert message in refused(min_dcf, np.array(scores, dtype=float), label, **options)

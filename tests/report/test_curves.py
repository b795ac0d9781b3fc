"""Curves, the training log, the heat map's scale."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from tests.report.support import plain_rates
from tidyvoice.evaluation.categories import LanguageRow
from tidyvoice.report.curves import LOG_ODDS, bayes_error, cost_curve, reliability
from tidyvoice.report.matrix import matrix_picture, scale_top, step
from tidyvoice.report.training_log import read_log
from tidyvoice.scoring.metrics import Costs, error_rates, sort_scores


@pytest.fixture(scope="module")
def many() -> tuple[np.ndarray, np.ndarray]:
    """Scores of 40,000 trials that are log-likelihood ratios, and their labels."""
    rng = np.random.Generator(np.random.PCG64(4))
    label = rng.random(40_000) < 0.3
    return 2 * (rng.standard_normal(40_000) + 2 * label) - 2, label


def test_cost_curve_and_bayes_error_are_the_cost(many):
    scores = sort_scores(*many)
    threshold, cost, best_threshold, best_cost = cost_curve(scores, error_rates(scores), Costs())
    some = slice(None, None, 57)
    fnr, fpr = plain_rates(*many, [*threshold[some], best_threshold])
    assert [*cost[some], best_cost] == pytest.approx(fnr + 99 * fpr)
    assert best_cost <= cost.min()
    assert 1.2 <= cost[0] < 2.2
    minimum, actual = bayes_error(scores, error_rates(scores))
    fnr, fpr = plain_rates(*many, [2.0])
    assert actual[LOG_ODDS == -2] == pytest.approx(fnr + fpr * np.exp(2))
    assert np.all(minimum <= actual + 1e-12)
    middle = np.abs(LOG_ODDS) < 3
    assert actual[middle] == pytest.approx(minimum[middle], abs=0.02)


def test_reliability_counts_its_bins(many):
    scores, label = many
    predicted, observed, counts = reliability(sort_scores(scores, label))
    assert counts.sum(axis=1).tolist() == [label.sum(), (~label).sum()]
    assert counts[:, 0].tolist() == [(scores[kind] < -10).sum() for kind in (label, ~label)]
    inside = (scores >= -3) & (scores < -2)  # the ninth bin
    targets, nontargets = (inside & label).sum(), (inside & ~label).sum()
    assert counts[:, 8].tolist() == [targets, nontargets]
    ratio = targets / label.sum() / (nontargets / (~label).sum())
    assert observed[8] == pytest.approx(np.log(ratio))
    weights = np.where(label, 1 / label.sum(), 1 / (~label).sum())[inside]
    assert predicted[8] == pytest.approx(np.average(scores[inside], weights=weights))
    assert predicted[6:15] == pytest.approx(observed[6:15], abs=0.3)


def test_the_scale_is_round_and_few_outliers_do_not_pale_the_others():
    rates = ([0.02, 0.03, 0.041], [0.02, 0.02, 0.02, 0.5])
    assert [scale_top(each) for each in rates] == pytest.approx([0.05, 0.06])
    assert scale_top([0.0, 0.0]) > 0 < scale_top([])
    top = scale_top([0.1])
    assert [step(rate, top) for rate in (0.0, 0.0101, 0.0999, 0.1, 0.5)] == [0, 1, 9, 9, 9]


def test_forty_languages_fit_and_every_pair_has_a_cell():
    rows = [LanguageRow((f"l{n:02d}",), 9, 9, 0.1, 0.5) for n in range(40)]
    svg = matrix_picture("m", "EER", SimpleNamespace(languages=rows, pairs=rows)).inline
    assert svg.count("<title>") == 40 * 41 // 2
    assert svg.count(": no trials<") == 40 * 39 // 2
    assert float(svg.split('viewBox="0 0 ')[1].split()[0]) < 960


def test_a_resumed_training_replaces_the_steps_after_its_checkpoint(tmp_path):
    path = tmp_path / "train.jsonl"
    steps = [{"iteration": i, "loss": loss} for i, loss in ((1, 5), (2, 4), (3, 3), (2, 6))]
    path.write_text("\n".join([*map(json.dumps, steps), "[", '{"iteration": 3, "loss": 1e400}']))
    log = read_log(path)
    assert log.iteration.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(log.values["loss"], [5, 6, np.nan])
    assert log.unreadable == 1
    path.write_text("")
    assert read_log(path) is None

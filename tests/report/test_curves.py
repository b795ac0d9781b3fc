"""Curves and their thinning, the training log, the heat map's scale."""

import numpy as np
import pytest
from scipy.special import ndtri

from tests.report.support import plain_rates
from tidyvoice.evaluation.languages import LanguageRow
from tidyvoice.report import hardest
from tidyvoice.report.curves import (
    COST_POINTS,
    DET_POINTS,
    LOG_ODDS,
    bayes_error,
    cost_curve,
    det_curve,
    eer_threshold,
)
from tidyvoice.report.drawing import HEAT
from tidyvoice.report.matrix import matrix_picture, scale_top, step
from tidyvoice.report.training_log import read_log
from tidyvoice.scoring.metrics import Costs, eer, error_rates, sort_scores
from tidyvoice.scoring.trials import ScoreTable, Trials


@pytest.fixture(scope="module")
def many() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.Generator(np.random.PCG64(4))
    label = rng.random(40_000) < 0.3
    return rng.standard_normal(40_000) + 2 * label, label


def test_the_thinned_curve_is_the_curve(many):
    rates = error_rates(sort_scores(*many))
    curve = det_curve(rates, eer(*many))
    assert 0.6 * DET_POINTS < len(curve.fpr) <= DET_POINTS
    points = set(zip(rates.fpr, rates.fnr, strict=True))
    assert points.issuperset(zip(curve.fpr, curve.fnr, strict=True))
    along = ndtri(curve.fnr) - ndtri(curve.fpr)
    assert np.all(np.diff(along) > 0)
    assert np.diff(along[np.abs(along) < 4]).max() < 0.15  # further out there are few errors
    assert curve.fpr[0] == rates.fpr[rates.fnr > 0][0]
    assert curve.fnr[-1] == rates.fnr[rates.fpr > 0][-1]


def test_the_threshold_of_the_error_rate_balances_both_kinds(many):
    # In the second case no operating point lies near the EER, yet a threshold does.
    runs = np.concatenate([np.linspace(low, low + 1, 100) for low in (2, 0, 4)])
    for scores, label, error in ((*many, 3e-4), (runs, np.arange(300) >= 100, 0.02)):
        both = sort_scores(scores, label)
        fnr, fpr = plain_rates(scores, label, [eer_threshold(both, error_rates(both))])
        assert fnr[0] == pytest.approx(fpr[0], abs=error)
    both = sort_scores(np.array([1.0, 2, 3, 4]), np.array([False, False, True, True]))
    assert len(det_curve(error_rates(both), 0.0).fpr) == 0  # a system without errors
    assert eer_threshold(both, error_rates(both)) == 3.0


def test_the_cost_curve_is_the_cost(many):
    scores = sort_scores(*many)
    curve = cost_curve(scores, error_rates(scores), Costs())
    assert len(curve.threshold) == COST_POINTS
    some = slice(None, None, 57)
    fnr, fpr = plain_rates(*many, curve.threshold[some])
    assert curve.cost[some] == pytest.approx(fnr + 99 * fpr)
    assert curve.best_cost <= curve.cost.min()
    fnr, fpr = plain_rates(*many, [curve.best_threshold])
    assert fnr[0] + 99 * fpr[0] == pytest.approx(curve.best_cost)
    assert 1.2 <= curve.cost[0] < 2.2


def test_the_bayes_error_is_the_cost_at_every_prior(many):
    llr = 2 * many[0] - 2  # right for two normal distributions 2 apart
    scores = sort_scores(llr, many[1])
    found = bayes_error(scores, error_rates(scores), calibrated=True)
    place = int(np.flatnonzero(LOG_ODDS == -2)[0])
    fnr, fpr = plain_rates(llr, many[1], [2.0])
    prior = 1 / (1 + np.exp(2))
    assert found.actual[place] == pytest.approx(fnr[0] + fpr[0] * (1 - prior) / prior)
    assert np.all(found.minimum <= found.actual + 1e-12)
    middle = np.abs(LOG_ODDS) < 3
    assert found.actual[middle] == pytest.approx(found.minimum[middle], abs=0.02)
    assert bayes_error(scores, error_rates(scores), calibrated=False).actual is None


def test_equal_scores_are_listed_in_the_order_of_the_list():
    ids = [f"u{n}" for n in range(60)]
    side = np.arange(60, dtype=np.int32)
    table = ScoreTable(Trials(ids, side, side[::-1], side < 30), np.repeat(1.0, 60))
    targets, nontargets = hardest.hardest_trials(table, None)
    assert [row[0] for row in targets.rows] == ids[:10]
    assert [row[0] for row in nontargets.rows] == ids[30:40]


def test_the_scale_is_round_and_few_outliers_do_not_pale_the_others():
    assert scale_top([0.02, 0.03, 0.041]) == pytest.approx(0.05)
    assert scale_top([0.02, 0.02, 0.02, 0.5]) == pytest.approx(0.06)
    assert scale_top([0.0, 0.0]) > 0
    assert scale_top([]) > 0
    top = scale_top([0.1])
    assert [step(rate, top) for rate in (0.0, 0.0101, 0.0999, 0.1, 0.5)] == [0, 1, 9, 9, 9]
    assert len(set(HEAT)) == 10


def test_forty_languages_fit_and_every_pair_has_a_cell():
    names = [f"l{n:02d}" for n in range(40)]
    rows = [LanguageRow((one, one), 9, 9, 0.1, 0.5) for one in names[1:]]
    rows.append(LanguageRow(("l00", "l01"), 0, 9, None, None))
    svg = matrix_picture("m", "EER", names, rows).inline
    assert svg.count("<title>") == 40 * 41 // 2
    assert "<title>l00 – l01: 0 targets, 9 non-targets: no EER without both</title>" in svg
    assert svg.count("url(#m-hatch)") == 1
    assert svg.count(": no trials<") == 40 * 41 // 2 - 40
    assert float(svg.split('viewBox="0 0 ')[1].split()[0]) < 960


def test_a_resumed_training_replaces_the_steps_after_its_checkpoint(tmp_path):
    path = tmp_path / "train.jsonl"
    lines = ['{"iteration": 1, "loss": 5, "lr": 1}', '{"iteration": 2, "loss": 4, "lr": 1}']
    path.write_text("\n".join([*lines, '{"iteration": 3, "lo', '{"iteration": 2, "loss": 3}', "7"]))
    log = read_log(path)
    assert log.iteration.tolist() == [1, 2]
    assert log.values["loss"].tolist() == [5, 3]
    assert log.unreadable == 2
    # A training that was resumed from the checkpoint after iteration 1 replaces what follows.
    path.write_text("\n".join([*lines, '{"iteration": 1, "loss": 3}']))
    assert read_log(path).iteration.tolist() == [1]
    assert read_log(tmp_path / "none") is None
    path.write_text("")
    assert read_log(path) is None

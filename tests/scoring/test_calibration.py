"""Calibration: against likelihood ratios that are known, across speakers, and on disk."""

import numpy as np
import pytest

from tests.conftest import refused
from tidyvoice.scoring import calibration, metrics
from tidyvoice.scoring.calibration import (
    Calibration,
    Features,
    Origin,
    cross_fit,
    fit_calibration,
)
from tidyvoice.scoring.trials import Trials
from tidyvoice.settings import read_json

SPEAKERS = 40
IDS = [f"s{n % SPEAKERS:02d}/u{n}" for n in range(400)]
SPEAKER = np.arange(400) % SPEAKERS
MU = 9.0  # true log-likelihood ratios are N(±MU/2, MU): the EER is Φ(−√MU / 2) = 6.7 %


def some_trials(seed: int, size: int = 20_000) -> Trials:
    rng = np.random.Generator(np.random.PCG64([seed, 5]))
    enroll, test = rng.integers(0, 400, (2, size), dtype=np.int32)
    third = size // 3
    test[:third] = enroll[:third] % SPEAKERS + SPEAKERS * rng.integers(0, 10, third)
    return Trials(IDS, enroll, test, SPEAKER[enroll] == SPEAKER[test], f"list {seed}")


def true_llrs(trials: Trials, seed: int) -> np.ndarray:
    rng = np.random.Generator(np.random.PCG64([seed, 6]))
    noise = rng.standard_normal(len(trials))
    return np.where(trials.label, MU / 2, -MU / 2) + np.sqrt(MU) * noise


def cllr(llrs: np.ndarray, label: np.ndarray) -> float:
    return metrics.cllr(metrics.sort_scores(llrs, label))


@pytest.mark.parametrize("prior", [0.01, 0.1, 0.5])
@pytest.mark.parametrize(("slope", "offset"), [(0.04, 0.3), (300.0, -1e4)])
def test_known_ratios_come_back(prior, slope, offset):
    fitted_on, other = some_trials(1, 60_000), some_trials(2, 60_000)
    scores = [slope * true_llrs(t, n) + offset for n, t in ((1, fitted_on), (2, other))]
    made = fit_calibration(Features(fitted_on, scores[:1]), prior)
    llrs = made.apply(Features(other, scores[1:]))
    true = true_llrs(other, 2)
    # A tenth of a nat where most trials are, and a slope within 4 %.
    weight, shift = np.polyfit(true, llrs, 1)
    assert weight == pytest.approx(1, abs=0.04)
    assert shift == pytest.approx(0, abs=0.12)
    assert cllr(llrs, other.label) < cllr(true, other.label) + 0.001


def test_the_fit_is_the_least_of_its_formula(monkeypatch):
    monkeypatch.setattr(calibration, "L2", 0.3)
    trials = some_trials(3, 2000)
    scores = true_llrs(trials, 3)
    made = fit_calibration(Features(trials, [scores]), prior=0.2)
    x = (scores - made.mean[0]) / made.scale[0]

    def formula(weight, offset):
        log_odds = weight * x + offset + np.log(0.2 / 0.8)
        loss = 0.2 * np.logaddexp(0, -log_odds[trials.label]).mean()
        loss += 0.8 * np.logaddexp(0, log_odds[~trials.label]).mean()
        entropy = -0.2 * np.log(0.2) - 0.8 * np.log(0.8)
        return loss / entropy + 0.3 / 2 * weight**2

    least = formula(made.weights[0], made.offset)
    for step in (1e-3, -1e-3):
        assert formula(made.weights[0] + step, made.offset) > least
        assert formula(made.weights[0], made.offset + step) > least


def with_quality(
    trials: Trials, seed: int, harm: float, spread: float = 1.0
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Scores that the shorter side of a trial shifts by ``harm``, and the measure of it."""
    values = spread * np.random.Generator(np.random.PCG64(8)).standard_normal(len(IDS)) - 0.1
    worse = np.minimum(values[trials.enroll], values[trials.test])
    return true_llrs(trials, seed) + harm * worse, {"value": values}


@pytest.mark.parametrize(("harm", "spread"), [(3.0, 1.0), (0.0, 1.0), (0.0, 0.0)])
def test_a_measure_that_matters_helps_and_noise_does_not_hurt(harm, spread):
    fitted_on, other = some_trials(4), some_trials(5)
    got = []
    for use in (False, True):
        features = []
        for seed, trials in ((4, fitted_on), (5, other)):
            scores, measure = with_quality(trials, seed, harm, spread)
            features.append(Features(trials, [scores], measure if use else {}))
        llrs = fit_calibration(features[0]).apply(features[1])
        got.append(cllr(llrs, other.label))
    least, most = (0.03, 1) if harm else (-0.001, 0.001)
    assert least < got[0] - got[1] < most


def test_fusion_is_better_than_its_parts():
    fitted_on, other = some_trials(6), some_trials(7)
    both = [
        [0.1 * true_llrs(t, 10 * s + n) for n in (1, 2)] for s, t in ((6, fitted_on), (7, other))
    ]
    fused = fit_calibration(Features(fitted_on, both[0])).apply(Features(other, both[1]))
    # Two independent systems: their ratios add up.
    assert cllr(fused, other.label) == pytest.approx(cllr(10 * sum(both[1]), other.label), abs=2e-3)
    one = fit_calibration(Features(fitted_on, both[0][:1])).apply(Features(other, both[1][:1]))
    assert cllr(fused, other.label) < cllr(one, other.label) - 0.05


def test_long_lists_are_sampled(monkeypatch):
    trials = some_trials(11, 3000)
    features = Features(trials, [true_llrs(trials, 11)])
    assert fit_calibration(features, seed=0).weights == fit_calibration(features, seed=1).weights
    monkeypatch.setattr(calibration, "LIMIT", 400)
    one, again, other = (fit_calibration(features, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one.weights != other.weights


def test_cross_fitting_is_about_as_good_as_knowing_the_truth():
    trials = some_trials(12, 40_000)
    true = true_llrs(trials, 12)
    llrs = cross_fit(Features(trials, [0.1 * true]), SPEAKER)
    assert cllr(llrs, trials.label) < cllr(true, trials.label) + 0.003


@pytest.mark.parametrize("poisoned", [0, 23])
def test_cross_fitting_never_sees_the_speakers_of_a_trial(poisoned):
    trials = some_trials(13, 8000)
    scores, measure = with_quality(trials, 13, 1.0)
    involved = (SPEAKER[trials.enroll] == poisoned) | (SPEAKER[trials.test] == poisoned)
    label = np.where(involved, ~trials.label, trials.label)
    flipped = Trials(IDS, trials.enroll, trials.test, label, "flipped")
    results = [
        cross_fit(Features(t, [scores], measure), SPEAKER, prior=0.5) for t in (trials, flipped)
    ]
    same = results[0] == results[1]
    assert same[involved].all()
    # The labels do have an influence, on those trials that are in other folds.
    assert 0.2 < same.mean() < 0.6


def test_a_calibration_comes_back_from_disk(tmp_path):
    trials = some_trials(15, 2000)
    scores, measure = with_quality(trials, 15, 1.0)
    origin = Origin(systems=(), speakers=("zoë",))
    made = fit_calibration(Features(trials, [scores], measure), origin=origin)
    made.save(tmp_path / "one.json")
    read = read_json(Calibration, tmp_path / "one.json", "")
    assert read == made
    assert read.notes["targets"] == trials.label.sum()


def test_what_cannot_be_fitted_is_named():
    trials = some_trials(17, 500)
    scores = true_llrs(trials, 17)
    for label in (None, np.zeros(500, dtype=bool), np.ones(500, dtype=bool)):
        one_kind = Trials(IDS, trials.enroll, trials.test, label, "one")
        message = refused(fit_calibration, Features(one_kind, [scores]))
        assert "one: a calibration is fitted on labelled targets and non-targets" in message
    message = refused(fit_calibration, Features(trials, [scores, -scores]))
    assert "list 17: score 2 is no higher for targets" in message
    assert "prior is 1" in refused(fit_calibration, Features(trials, [scores]), 1.0)
    for folds in (2, 41):
        message = refused(cross_fit, Features(trials, [scores]), SPEAKER, folds)
        assert f"{folds} folds of 40 speakers" in message

import json
import math
import shutil

import numpy as np
import pytest
from conftest import seeded

from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.scoring.distribution import BINS, Distribution, Tail
from tidyvoice.verifier import Verifier, directions


def listed(targets=2000, nontargets=20_000, seed=1):
    rng = seeded(seed)
    scores = np.append(rng.normal(0.6, 0.1, targets), rng.normal(0.0, 0.1, nontargets))
    return scores, np.arange(len(scores)) < targets


@pytest.fixture(scope="module")
def verifier(voices):
    return Verifier.load(voices / "model")


@pytest.mark.parametrize("prior", [0.001, 0.01, 0.5, 0.9])
def test_decision_llr_and_threshold_agree(verifier, prior):
    for score in np.linspace(-1, 1, 41):
        found = verifier.decide(float(score), prior)
        posterior = 1 / (1 + math.exp(-(found.llr + math.log(prior / (1 - prior)))))
        assert found.probability == pytest.approx(posterior)
        assert found.same_speaker == (found.score > found.threshold)
        assert found.same_speaker == (found.probability > 0.5)


def test_a_rarer_target_needs_a_higher_score(verifier):
    thresholds = [verifier.decide(0.0, prior).threshold for prior in (0.9, 0.5, 0.1, 0.01)]
    assert thresholds == sorted(thresholds)


@pytest.mark.parametrize("prior", [0, 1, -1, math.nan])
def test_a_prior_is_a_probability(verifier, prior):
    with pytest.raises(TidyVoiceError, match="between 0 and 1"):
        verifier.decide(0.5, prior)


def test_it_is_written_and_read(verifier, tmp_path):
    path = verifier.save(tmp_path)
    again = Verifier.load(tmp_path)
    np.testing.assert_array_equal(again.mean, verifier.mean)
    assert again.distribution == verifier.distribution
    assert (again.slope, again.offset) == (verifier.slope, verifier.offset)
    assert again.save(tmp_path).read_bytes() == path.read_bytes()
    assert Verifier.load(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda v: v.update(format="other"), "its format is not"),
        (lambda v: v.pop("slope"), "key 'slope' is missing"),
        (lambda v: v.update(slope=-1.0), "out of range"),
        (lambda v: v.update(mean=["x"]), "cannot be read"),
        (lambda v: v.update(mean=0.5), "'mean' is no row of numbers"),
        (lambda v: v.update(mean=[v["mean"]]), "'mean' is no row of numbers"),
        (lambda v: v["distribution"].update(target=[1, 2]), "out of range"),
        (lambda v: v["distribution"]["tail"].pop("shape"), "key 'shape' is missing"),
    ],
)
def test_a_damaged_file_is_named(voices, tmp_path, spoil, message):
    shutil.copy(voices / "model/verifier.json", tmp_path)
    values = json.loads((tmp_path / "verifier.json").read_text())
    spoil(values)
    (tmp_path / "verifier.json").write_text(json.dumps(values))
    with pytest.raises(TidyVoiceError, match=message) as error:
        Verifier.load(tmp_path)
    assert str(tmp_path / "verifier.json") in str(error.value)


def test_no_json_is_named(tmp_path):
    (tmp_path / "verifier.json").write_text("{")
    with pytest.raises(TidyVoiceError, match=r"verifier\.json: cannot be read"):
        Verifier.load(tmp_path)


def test_directions_are_unit_vectors_of_what_is_left():
    made = directions(np.array([[3.0, 4.0], [1.0, 1.0]], np.float32), np.array([1.0, 1.0]))
    np.testing.assert_allclose(np.linalg.norm(made[0]), 1)
    assert (made[1] == 0).all()


def test_histograms_hold_every_trial():
    scores, is_target = listed()
    made = Distribution.of(scores, is_target)
    assert (len(made.target), sum(made.target), sum(made.nontarget)) == (BINS, 2000, 20_000)
    centres = (made.edges[1:] + made.edges[:-1]) / 2
    assert np.average(centres, weights=made.target) == pytest.approx(0.6, abs=0.01)


@pytest.mark.parametrize("false_alarm", [0.2, 0.05, 0.01, 0.001])
def test_a_threshold_is_exceeded_as_often_as_asked(false_alarm):
    fresh = seeded(99).normal(0.0, 0.1, 1_000_000)
    thresholds = [Distribution.of(*listed(seed=n)).threshold(false_alarm) for n in range(10)]
    found = np.mean([(fresh > threshold).mean() for threshold in thresholds])
    assert found == pytest.approx(false_alarm, rel=0.3)


@pytest.mark.parametrize("voices", [10, 100, 1000])
def test_the_best_of_many_strangers_exceeds_it_as_seldom(voices):
    found = []
    for seed in range(10):
        threshold = Distribution.of(*listed(seed=seed)).threshold(0.05, voices)
        best = seeded(99, seed).normal(0.0, 0.1, (1000, voices)).max(axis=1)
        found.append((best > threshold).mean())
    # Few trials tell little about a thousand voices; what they leave open must be on the safe side.
    assert 0.01 < np.mean(found) < 0.06


def test_thresholds_rise_with_voices_and_stay_cosines():
    made = Distribution.of(*listed())
    each = [made.threshold(0.01, voices) for voices in (1, 2, 5, 10, 100, 10_000, 10**7)]
    assert each == sorted(each)
    assert each[-1] <= 1


@pytest.mark.parametrize(("false_alarm", "voices"), [(0, 1), (1, 1), (0.1, 0), (math.nan, 1)])
def test_impossible_thresholds_are_refused(false_alarm, voices):
    with pytest.raises(TidyVoiceError, match="Give a probability"):
        Distribution.of(*listed()).threshold(false_alarm, voices)


def test_few_trials_are_refused_or_said():
    with pytest.raises(TidyVoiceError, match="9 target trials are too few"):
        Distribution.of(*listed(targets=9))
    with pytest.warns(TidyVoiceWarning, match="500 non-target trials"):
        Distribution.of(*listed(nontargets=500))
    with pytest.raises(TidyVoiceError, match="20 non-target trials are too few"):
        Tail.fit(np.arange(20.0))
    with pytest.raises(TidyVoiceError, match="all equal"):
        Tail.fit(np.zeros(2000))


def test_a_tail_of_known_shape_is_found():
    # Uniform scores have the shape -1, exponential ones 0.
    uniform = Tail.fit(seeded(1).random(1_000_000))
    assert uniform.shape == pytest.approx(-1, abs=0.1)
    assert uniform.score_at(1e-6) == pytest.approx(1, abs=1e-3)
    exponential = Tail.fit(seeded(2).exponential(0.05, 1_000_000))
    assert exponential.shape == pytest.approx(0, abs=0.05)
    assert exponential.score_at(1e-4) == pytest.approx(0.05 * math.log(1e4), rel=0.03)

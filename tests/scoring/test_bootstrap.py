"""Intervals by resampling speakers: against resampled lists, and against repeated experiments."""

import numpy as np
import pytest

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.bootstrap import interval, resample, with_intervals
from tidyvoice.evaluation.categories import CATEGORIES, OPERATING_POINTS, POOLED, evaluate
from tidyvoice.scoring.groups import languages_of, speakers_of
from tidyvoice.scoring.metrics import act_dcf, cllr, eer, min_dcf, sort_scores
from tidyvoice.scoring.trials import ScoreTable, Trials

SPEAKERS = 24


def scored(seed: int = 0, speakers: int = SPEAKERS, each: int = 6, shift: float = 2.5):
    """All pairs of utterances; a speaker has a score offset of its own, which trials share."""
    rng = np.random.Generator(np.random.PCG64([seed, 15]))
    ids = [f"s{s:03d}/{('en', 'fr')[n % 2]}/{n}.wav" for s in range(speakers) for n in range(each)]
    enroll, test = (side.astype(np.int32) for side in np.triu_indices(len(ids), 1))
    speaker = np.arange(len(ids)) // each
    label = speaker[enroll] == speaker[test]
    offset = 0.6 * rng.standard_normal(speakers)
    scores = rng.standard_normal(len(label)) + shift * (2 * label - 1)
    scores += offset[speaker[enroll]] + offset[speaker[test]]
    return ScoreTable(Trials(ids, enroll, test, label, "list"), scores)


def resampled(table, resamples, seed=1):
    languages, speakers = languages_of(table.trials), speakers_of(table.trials)
    return resample(table, languages, speakers, OPERATING_POINTS, resamples, seed)


def test_a_resample_is_the_list_with_each_trial_as_often_as_its_speakers():
    table = scored(each=4)
    trials, speakers = table.trials, speakers_of(table.trials)
    found = resampled(table, 5)
    rng = np.random.Generator(np.random.PCG64([1, SPEAKERS]))
    drawn = rng.multinomial(SPEAKERS, np.full(SPEAKERS, 1 / SPEAKERS), size=5)
    spoken = languages_of(trials).codes
    same = spoken[trials.enroll] == spoken[trials.test]
    for number, weights in enumerate(drawn):
        one, other = (weights[speakers.codes[side]] for side in (trials.enroll, trials.test))
        times = np.where(trials.label, one, one * other)
        for category in (POOLED, *CATEGORIES):
            targets, nontargets = (side == "same" for side in category.split("/"))
            mask = np.where(trials.label, same == targets, same == nontargets)
            mask |= category == POOLED
            rows = np.repeat(np.flatnonzero(mask), times[mask])
            scores, label = table.scores[rows], trials.label[rows]
            got = found[category]
            assert got.eer[number] == pytest.approx(eer(scores, label), abs=1e-6)
            assert got.cllr[number] == pytest.approx(cllr(sort_scores(scores, label)), abs=1e-4)
            for at, costs in enumerate(OPERATING_POINTS):
                least = min_dcf(scores, label, costs.p_target)
                assert got.min_dcf[at, number] == pytest.approx(least, abs=1e-6)
                actual = act_dcf(sort_scores(scores, label), costs)
                assert got.act_dcf[at, number] == pytest.approx(actual, abs=1e-6)


def test_intervals_are_as_wide_as_repeated_experiments_spread():
    """Resampled trials would fail here: their intervals are about five times narrower."""
    tables = [scored(seed, each=8) for seed in range(60)]
    spread = np.std([eer(table.scores, table.trials.label) for table in tables])
    ends = [interval(resampled(table, 300)[POOLED].eer) for table in tables[:6]]
    width = np.mean(np.diff(ends)) / (2 * 1.96)
    assert 0.6 * spread < width < 1.6 * spread


def test_two_systems_draw_the_same_speakers_and_the_seed_decides_which():
    one = scored(0)
    better = ScoreTable(one.trials, one.scores + 0.5 * one.trials.label)
    first, second = resampled(one, 100)[POOLED], resampled(better, 100)[POOLED]
    assert np.all(second.eer <= first.eer)
    assert not np.array_equal(first.eer, resampled(one, 100, seed=2)[POOLED].eer)
    # More resamples start with the same ones.
    np.testing.assert_array_equal(first.eer, resampled(one, 130)[POOLED].eer[:100])


def test_rows_get_their_intervals():
    table = scored()
    rows = evaluate(table, languages_of(table.trials))
    for row in with_intervals(rows, resampled(table, 200)):
        pairs = [(row.eer, row.eer_interval), (row.cllr, row.cllr_interval)]
        pairs += [(point.min_dcf, point.min_dcf_interval) for point in row.points]
        pairs += [(point.act_dcf, point.act_dcf_interval) for point in row.points]
        assert all(low <= value <= high and low < high for value, (low, high) in pairs)
    alone = resample(table, None, speakers_of(table.trials), OPERATING_POINTS, 10)
    assert list(alone) == [POOLED]
    assert with_intervals(rows, alone)[1:] == rows[1:]
    assert interval(np.array([np.nan])) is None
    assert interval(np.array([np.nan, 0.5])) == (0.5, 0.5)


def test_labels_that_the_speakers_contradict_are_refused():
    table = scored()
    table.trials.label[7] = not table.trials.label[7]
    with pytest.raises(TidyVoiceError, match=r"list:8: .*label that contradicts the speakers"):
        resampled(table, 10)

"""Metrics of languages and of their pairs, against masks of the whole list."""

import numpy as np
import pytest

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.languages import by_language
from tidyvoice.scoring.groups import languages_of
from tidyvoice.scoring.metrics import Costs, eer, min_dcf
from tidyvoice.scoring.trials import ScoreTable, Trials


def scored(seed: int = 0, trials: int = 4000) -> ScoreTable:
    rng = np.random.Generator(np.random.PCG64([seed, 14]))
    ids = [f"s{n % 9}/{('en', 'fr', 'zh-CN', 'sw')[n % 4]}/{n}.wav" for n in range(72)]
    enroll, test = rng.integers(0, 72, (2, trials), dtype=np.int32)
    label = (enroll % 9) == (test % 9)
    scores = np.round(rng.standard_normal(trials) + 2 * label, 2)
    return ScoreTable(Trials(ids, enroll, test, label, "list"), scores)


@pytest.mark.parametrize("names", [4, 200])
def test_each_row_holds_its_trials(names):
    table = scored()
    languages = languages_of(table.trials)
    if names > 4:  # more pairs than a 16-bit number holds
        absent = [f"zzz-{n:03d}" for n in range(names - 4)]
        languages = type(languages)(languages.codes, languages.names + absent)
    single, pairs = by_language(table, languages, Costs(0.1))
    spoken = np.array([i.split("/")[1] for i in table.trials.ids])
    one, other = spoken[table.trials.enroll], spoken[table.trials.test]
    assert [row.languages[0] for row in single] == ["en", "fr", "sw", "zh-CN"]
    assert len(pairs) == 10
    for row in [*single, *pairs]:
        if len(row.languages) == 1:
            mask = (one == row.languages[0]) | (other == row.languages[0])
        else:
            a, b = row.languages
            mask = ((one == a) & (other == b)) | ((one == b) & (other == a))
        scores, label = table.scores[mask], table.trials.label[mask]
        assert (row.targets, row.nontargets) == (label.sum(), (~label).sum())
        assert row.eer == eer(scores, label)
        assert row.min_dcf == min_dcf(scores, label, 0.1)
    assert sum(row.targets + row.nontargets for row in pairs) == len(table.trials)


def test_a_pair_of_one_kind_has_counts_alone():
    table = scored()
    spoken = np.array([i.split("/")[1] for i in table.trials.ids])
    french = (spoken[table.trials.enroll] == "fr") & (spoken[table.trials.test] == "fr")
    kept = ~(french & table.trials.label)
    trials = table.trials
    label = trials.label[kept]
    trials = Trials(trials.ids, trials.enroll[kept], trials.test[kept], label, "list")
    _, pairs = by_language(ScoreTable(trials, table.scores[kept]), languages_of(trials))
    row = next(row for row in pairs if row.languages == ("fr", "fr"))
    assert (row.targets, row.eer, row.min_dcf) == (0, None, None)
    assert row.nontargets > 0


def test_labels_are_needed():
    table = scored()
    trials = Trials(table.trials.ids, table.trials.enroll, table.trials.test, None, "list")
    with pytest.raises(TidyVoiceError, match="list: metrics need labels"):
        by_language(ScoreTable(trials, table.scores), languages_of(table.trials))

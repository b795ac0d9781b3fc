"""Metrics of languages and of their pairs, against masks of the whole list."""

import numpy as np

from tests.conftest import seeded
from tidyvoice.evaluation.categories import by_language
from tidyvoice.scoring.groups import Groups, languages_of
from tidyvoice.scoring.metrics import Costs, eer, min_dcf
from tidyvoice.scoring.trials import ScoreTable, Trials


def test_each_row_holds_its_trials():
    rng = seeded(0, 14)
    ids = [f"s{n % 9}/{('en', 'fr', 'zh-CN', 'sw')[n % 4]}/{n}.wav" for n in range(72)]
    enroll, test = rng.integers(0, 72, (2, 4000), dtype=np.int32)
    # French speakers have no target trials with themselves.
    label = ((enroll % 9) == (test % 9)) & ~((enroll % 4 == 1) & (test % 4 == 1))
    scores = np.round(rng.standard_normal(4000) + 2 * label, 2)
    trials = Trials(ids, enroll, test, label, "list")
    languages = languages_of(trials)
    # More pairs than a 16-bit number holds.
    languages = Groups(languages.codes, [*languages.names, *(f"zzz-{n:03d}" for n in range(200))])
    single, pairs = by_language(ScoreTable(trials, scores), languages, Costs(0.1))
    spoken = np.array([i.split("/")[1] for i in ids])
    one, other = spoken[enroll], spoken[test]
    assert [row.languages[0] for row in single] == ["en", "fr", "sw", "zh-CN"]
    assert len(pairs) == 10
    for row in [*single, *pairs]:
        mask = np.isin(one, row.languages) & np.isin(other, row.languages)
        if len(row.languages) == 1:
            mask = (one == row.languages[0]) | (other == row.languages[0])
        elif row.languages[0] != row.languages[1]:
            mask &= one != other
        assert (row.targets, row.nontargets) == (label[mask].sum(), (~label[mask]).sum())
        if row.languages == ("fr", "fr"):
            assert (row.eer, row.min_dcf) == (None, None)
        else:
            assert row.eer == eer(scores[mask], label[mask])
            assert row.min_dcf == min_dcf(scores[mask], label[mask], 0.1)
    assert sum(row.targets + row.nontargets for row in pairs) == 4000

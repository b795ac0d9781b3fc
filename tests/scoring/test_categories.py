"""The four categories and each language: which trials they hold, and what is not available."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import refused, seeded

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.categories import CATEGORIES, by_language, evaluate
from tidyvoice.scoring.groups import Groups, languages_of, read_maps, speakers_of
from tidyvoice.scoring.metrics import Costs, act_dcf, cllr, eer, min_dcf, sort_scores
from tidyvoice.scoring.trials import ScoreTable, Trials

# Speakers a, b, c; a and b speak two languages.
IDS = ["a/en/1.wav", "a/en/2.wav", "a/fr/3.wav", "b/en/4.wav", "b/zh-CN/5.wav", "c/fr/6.wav"]
SPEAKER, LANGUAGE, _ = np.array([i.split("/") for i in IDS]).T
ENROLL, TEST = (side.astype(np.int32) for side in np.triu_indices(len(IDS), 1))
LABEL, SAME = SPEAKER[ENROLL] == SPEAKER[TEST], LANGUAGE[ENROLL] == LANGUAGE[TEST]
TRIALS = Trials(IDS, ENROLL, TEST, LABEL, "pairs")
TABLE = ScoreTable(TRIALS, np.random.Generator(np.random.PCG64(0)).standard_normal(len(LABEL)))


def test_each_category_holds_its_trials():
    rows = evaluate(TABLE, languages_of(TRIALS), [Costs(0.2), Costs(0.6)])
    assert [row.category for row in rows] == ["all/all", *CATEGORIES]
    for row in rows[1:]:
        targets, nontargets = (side == "same" for side in row.category.split("/"))
        chosen = np.where(LABEL, targets == SAME, nontargets == SAME)
        scores, label = TABLE.scores[chosen], LABEL[chosen]
        assert row.eer == eer(scores, label)
        assert [point.min_dcf for point in row.points] == [
            min_dcf(scores, label, prior) for prior in (0.2, 0.6)
        ]
        assert row.act_dcf == act_dcf(sort_scores(scores, label), Costs(0.2))
        assert row.cllr == pytest.approx(cllr(sort_scores(scores, label)))
    # 4 targets: a1-a2 within English, a1-a3, a2-a3, b4-b5 across. 11 others, 3 within.
    counts = [(row.targets, row.nontargets) for row in rows]
    assert counts == [(4, 11), (3, 8), (3, 3), (1, 8), (1, 3)]


@pytest.mark.parametrize("odd", ["flat", "id10270/8jEAjG6SegY/00001.wav", "a/b/en/1.wav"])
def test_ids_that_tell_no_language(odd):
    trials = replace(TRIALS, ids=[*IDS[:-1], odd])
    assert languages_of(trials) is None
    for row in evaluate(ScoreTable(trials, TABLE.scores), None)[1:]:
        assert (row.targets, row.nontargets, row.eer, row.min_dcf, row.cllr) == (None,) * 5


def test_a_category_without_trials_of_a_kind_is_shown():
    kept = ~(SAME & LABEL)
    trials = Trials(IDS, ENROLL[kept], TEST[kept], LABEL[kept])
    rows = evaluate(ScoreTable(trials, TABLE.scores[kept]), languages_of(trials))
    by_name = {row.category: row for row in rows}
    assert (by_name["same/same"].targets, by_name["same/same"].nontargets) == (0, 3)
    assert by_name["same/same"].eer is None
    assert by_name["different/same"].eer is not None


def test_languages_and_speakers_from_ids_and_from_tables(tmp_path):
    for groups, expected in ((speakers_of(TRIALS), SPEAKER), (languages_of(TRIALS), LANGUAGE)):
        assert [groups.names[code] for code in groups.codes] == expected.tolist()
    lines = [f"{i.removesuffix('.wav')}\t{k}\n" for i, k in zip(IDS, LANGUAGE, strict=True)]
    for name, part in (("one", lines[:3]), ("two", [*lines[3:], "unused xx\n"])):
        (tmp_path / name).write_text("".join(part))
    table = read_maps([tmp_path / "one", tmp_path / "two"], "language")
    assert languages_of(TRIALS, table).names == ["en", "fr", "zh-CN"]
    del table["b/en/4"]
    assert "pairs:3: no language for 'b/en/4.wav'" in refused(languages_of, TRIALS, table)
    with pytest.raises(TidyVoiceError, match="another file has a speaker of 'a/en/1' already"):
        read_maps([tmp_path / "one", tmp_path / "one"], "speaker")
    assert speakers_of(replace(TRIALS, ids=list("abcdef"))) is None


def test_each_language_and_pair_of_languages_holds_its_trials():
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

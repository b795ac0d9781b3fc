"""The four categories: which trials they hold, and what is not available."""

from dataclasses import replace

import numpy as np
import pytest

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.categories import CATEGORIES, evaluate
from tidyvoice.scoring.groups import languages_of, read_maps, speakers_of
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


def test_languages_from_a_table_or_from_ids(tmp_path):
    lines = (f"{i.removesuffix('.wav')}\t{k}\n" for i, k in zip(IDS, LANGUAGE, strict=True))
    (tmp_path / "utt2lang").write_text("".join([*lines, "unused xx\n"]))
    utt2lang = read_maps([tmp_path / "utt2lang"], "language")
    assert evaluate(TABLE, languages_of(TRIALS, utt2lang)) == evaluate(TABLE, languages_of(TRIALS))
    del utt2lang["b/en/4"]
    with pytest.raises(TidyVoiceError, match=r"pairs:3: no language for 'b/en/4.wav'"):
        languages_of(TRIALS, utt2lang)


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


def test_speakers_from_tables_or_from_ids(tmp_path):
    found = speakers_of(TRIALS)
    assert [found.names[code] for code in found.codes] == SPEAKER.tolist()
    flat = replace(TRIALS, ids=[f"u{n}" for n in range(6)])
    assert speakers_of(flat) is None
    (tmp_path / "one").write_text("u0 x\nu1 x\nu2 y\n")
    (tmp_path / "two").write_text("u3 y\nu4 z\nu5 z\n")
    speakers = read_maps([tmp_path / "one", tmp_path / "two"], "speaker")
    assert speakers_of(flat, speakers).names == ["x", "y", "z"]
    with pytest.raises(TidyVoiceError, match="another file has a speaker of 'u0' already"):
        read_maps([tmp_path / "one", tmp_path / "one"], "speaker")

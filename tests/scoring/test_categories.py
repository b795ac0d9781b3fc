"""The four categories: which trials they hold, what is n/a, and how results are shown."""

from dataclasses import replace

import numpy as np
import pytest

from tidyvoice.errors import TidyVoiceError
from tidyvoice.evaluation.categories import CATEGORIES, evaluate
from tidyvoice.scoring.groups import languages_of, read_maps, same_language, speakers_of
from tidyvoice.scoring.metrics import Costs, act_dcf, cllr, eer, min_dcf, sort_scores
from tidyvoice.scoring.trials import ScoreTable, Trials

# Speakers a, b, c; a and b speak two languages.
IDS = ["a/en/1.wav", "a/en/2.wav", "a/fr/3.wav", "b/en/4.wav", "b/zh-CN/5.wav", "c/fr/6.wav"]
SPEAKER = np.array([i.split("/")[0] for i in IDS])
LANGUAGE = [i.split("/")[1] for i in IDS]


def all_pairs(scores_seed: int = 0) -> ScoreTable:
    enroll, test = (side.astype(np.int32) for side in np.triu_indices(len(IDS), 1))
    label = SPEAKER[enroll] == SPEAKER[test]
    scores = np.random.Generator(np.random.PCG64(scores_seed)).standard_normal(len(enroll))
    return ScoreTable(Trials(IDS, enroll, test, label, "pairs"), scores)


def test_each_category_holds_its_trials():
    table = all_pairs()
    rows = evaluate(table, languages_of(table.trials), [Costs(0.2), Costs(0.6)])
    assert [row.category for row in rows] == ["all/all", *CATEGORIES]
    for row, category in zip(rows[1:], CATEGORIES, strict=True):
        target_kind, nontarget_kind = category.split("/")
        trials, chosen = table.trials, []
        for e, t, is_target in zip(trials.enroll, trials.test, trials.label, strict=True):
            kind = "same" if LANGUAGE[e] == LANGUAGE[t] else "different"
            chosen.append(kind == (target_kind if is_target else nontarget_kind))
        scores, label = table.scores[chosen], table.trials.label[chosen]
        assert (row.targets, row.nontargets) == (label.sum(), (~label).sum())
        assert row.eer == eer(scores, label)
        assert row.min_dcf == min_dcf(scores, label, 0.2)
        assert row.points[1].min_dcf == min_dcf(scores, label, 0.6)
        assert row.act_dcf == act_dcf(sort_scores(scores, label), Costs(0.2))
        assert row.cllr == pytest.approx(cllr(sort_scores(scores, label)))
    # 4 targets: a1-a2 within English, a1-a3, a2-a3, b4-b5 across. 11 others, 3 within.
    counts = [(row.targets, row.nontargets) for row in rows]
    assert counts == [(4, 11), (3, 8), (3, 3), (1, 8), (1, 3)]


def test_languages_from_a_table_or_from_ids(tmp_path):
    table = all_pairs()
    text = "".join(f"{i.removesuffix('.wav')}\t{k}\n" for i, k in zip(IDS, LANGUAGE, strict=True))
    (tmp_path / "utt2lang").write_text(text + "unused xx\n")
    utt2lang = read_maps([tmp_path / "utt2lang"], "language")
    from_table = evaluate(table, languages_of(table.trials, utt2lang))
    assert from_table == evaluate(table, languages_of(table.trials))
    del utt2lang["b/en/4"]
    with pytest.raises(TidyVoiceError, match=r"pairs:3: no language for 'b/en/4.wav'"):
        languages_of(table.trials, utt2lang)


@pytest.mark.parametrize("odd", ["flat", "id10270/8jEAjG6SegY/00001.wav", "a/b/en/1.wav"])
def test_ids_that_tell_no_language(odd):
    table = all_pairs()
    trials = replace(table.trials, ids=[*IDS[:-1], odd])
    assert languages_of(trials) is None
    rows = evaluate(ScoreTable(trials, table.scores), None)
    assert rows[0] == evaluate(table, None)[0]
    for row in rows[1:]:
        assert (row.targets, row.nontargets, row.eer, row.min_dcf, row.cllr) == (None,) * 5


def test_a_category_without_trials_of_a_kind_is_shown():
    table = all_pairs()
    trials = table.trials
    kept = ~(same_language(trials, languages_of(trials)) & trials.label)
    trials = Trials(IDS, trials.enroll[kept], trials.test[kept], trials.label[kept])
    rows = evaluate(ScoreTable(trials, table.scores[kept]), languages_of(trials))
    by_name = {row.category: row for row in rows}
    assert (by_name["same/same"].targets, by_name["same/same"].nontargets) == (0, 3)
    assert by_name["same/same"].eer is None
    assert by_name["different/same"].eer is not None


def test_speakers_from_a_table_or_from_ids(tmp_path):
    table = all_pairs()
    found = speakers_of(table.trials)
    assert [found.names[code] for code in found.codes] == SPEAKER.tolist()
    flat = replace(table.trials, ids=[f"u{n}" for n in range(6)])
    assert speakers_of(flat) is None
    (tmp_path / "one").write_text("u0 x\nu1 x\nu2 y\n")
    (tmp_path / "two").write_text("u3 y\nu4 z\nu5 z\n")
    speakers = read_maps([tmp_path / "one", tmp_path / "two"], "speaker")
    assert speakers_of(flat, speakers).names == ["x", "y", "z"]
    with pytest.raises(TidyVoiceError, match="another file has a speaker of 'u0' already"):
        read_maps([tmp_path / "one", tmp_path / "one"], "speaker")


def test_trials_without_labels_have_no_metrics():
    table = all_pairs()
    trials = replace(table.trials, label=None)
    with pytest.raises(TidyVoiceError, match="pairs: metrics need labels"):
        evaluate(ScoreTable(trials, table.scores), None)

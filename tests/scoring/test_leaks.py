"""The leak guard: speakers on both sides, under any name."""

import numpy as np
import pytest

from tests.conftest import refused
from tidyvoice.model_files import OTHERS
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.provenance import describe
from tidyvoice.scoring.trials import Trials


def people(role: str, speakers: str, ids: str = "{}/en", utt2spk=None) -> People:
    ids = [f"{ids.format(speaker)}/{number}.wav" for speaker in speakers for number in range(2)]
    rows = np.arange(len(ids), dtype=np.int32)
    return People.of(role, "x", Trials(ids, rows, rows[::-1], None, role), utt2spk)


def cohort(speakers) -> People:
    return People.named("cohort", "c.npz", speakers)


def test_other_names_for_the_same_utterances_do_not_hide_them():
    names = {f"{speaker}/en/{number}": f"x{speaker}" for speaker in "ab" for number in range(2)}
    renamed = people("trials", "ab", utt2spk=names)
    assert "share 2 speakers" in refused(LeakGuard().disjoint, renamed, people("mean", "ab"))
    flat = people("trials", "ab", "u{}")  # ua/0: no speaker in the ids
    assert flat.names is None
    assert "share 4 utterances" in refused(LeakGuard().disjoint, flat, people("mean", "ab", "u{}"))
    guard = LeakGuard()
    guard.disjoint(renamed, people("mean", "cd"))
    (text,) = map(describe, guard.remarks)
    assert "the ids of the trials of x name other ones" in text


def labelled(wrong: int) -> Trials:
    """1,000 trials of 20 speakers with so many wrong labels among the 500 targets."""
    ids = [f"s{number // 10}/en/{number % 10}" for number in range(200)]
    enroll = np.arange(1000, dtype=np.int32) % 200
    label = np.arange(1000) < 500
    test = np.where(label, enroll // 10 * 10 + (enroll + 1) % 10, (enroll + 10) % 200)
    label[100 : 100 + wrong] = False
    return Trials(ids, enroll, test.astype(np.int32), label, "dev.trials")


@pytest.mark.parametrize("wrong", [1, 40])
def test_a_wrong_label_does_not_take_the_speakers_from_the_guard(wrong):
    assert "dev.trials:101: the trial" in refused(People.of, "trials", "x", labelled(wrong))
    names = {utterance: f"x{utterance}" for utterance in labelled(wrong).ids}
    given = People.of("trials", "x", labelled(wrong), names)
    assert "share 1 speakers (s3)" in refused(LeakGuard().disjoint, given, cohort(["s3"]))
    # Folders that many labels contradict are no speakers.
    assert People.of("trials", "x", labelled(90)).names is None


def test_allowed_overlaps_and_unknown_speakers_are_recorded():
    guard, dev = LeakGuard(allow_overlap=True), people("trials", "ab")
    guard.disjoint(dev, cohort("bc"))
    guard.disjoint(people("trials", "ab", "u{}"), cohort("xy"))
    for names in (None, None, ["c", OTHERS]):
        guard.disjoint(dev, cohort(names))
    assert [remark.kind for remark in guard.remarks] == ["in-sample"] + 3 * ["unchecked"]
    texts = list(map(describe, guard.remarks))
    assert texts[0] == "the trials of x and the cohort c.npz share 1 speakers"
    assert [text.rpartition(": ")[2] for text in texts[1:]] == [
        "those of the trials of x are not known",
        "those of the cohort c.npz are not known",
        "some of those of the cohort c.npz are not known",
    ]
    assert describe(guard.remarks[0], lambda path: f"<{path}>").startswith("the trials of <x> and")

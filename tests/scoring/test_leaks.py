"""The leak guard and the lineage of scores."""

import json

import numpy as np
import pytest

from tidyvoice.errors import TidyVoiceError
from tidyvoice.scoring.leaks import LeakGuard
from tidyvoice.scoring.lineage import Lineage, Step, read_lineage, steps_of, write_with_lineage
from tidyvoice.scoring.trials import Trials, write_scores

TRIALS = Trials(["a", "b"], np.array([0, 1]), np.array([1, 0]), None, "list")
STEPS = [
    Step("cosine", "cosine", {"embeddings": "e.npz"}, (), ("speakers of x",)),
    Step("calibration", "by logistic regression", {}, ("dev and cohort share 2 speakers",)),
]


def test_speakers_on_both_sides_are_refused_by_name():
    guard = LeakGuard()
    guard.disjoint("dev", {"a", "b"}, "the cohort", ["c", "d"])
    assert (guard.in_sample, guard.unchecked) == ([], [])
    with pytest.raises(TidyVoiceError) as error:
        guard.disjoint("dev", "abcde", "the cohort", "bcdef")
    assert "dev and the cohort share 4 speakers (b, c, d, ...)" in str(error.value)
    assert "--in-sample" in str(error.value)


def test_an_allowed_overlap_is_kept_and_the_unknown_is_said():
    guard = LeakGuard(allow=True)
    guard.disjoint("dev", "ab", "the cohort", "bc")
    guard.disjoint("dev", "ab", "the calibration", "cd")
    guard.disjoint("eval", None, "the cohort", "ab")
    guard.disjoint("dev", "ab", "the model", None)
    assert guard.in_sample == ["dev and the cohort share 1 speakers (b)"]
    assert [said.rpartition(": ")[2] for said in guard.unchecked] == [
        "the speakers of eval are not known",
        "the speakers of the model are not known",
    ]


def test_the_steps_come_back_and_say_what_they_are(tmp_path):
    path = tmp_path / "dev.score"
    write_with_lineage(path, TRIALS, np.array([0.5, 1.5]), STEPS)
    lineage = read_lineage(path)
    assert lineage == Lineage(tuple(STEPS))
    assert lineage.calibrated
    assert lineage.in_sample == ["dev and cohort share 2 speakers"]
    assert steps_of(path) == tuple(STEPS)
    assert not Lineage(tuple(STEPS[:1])).calibrated
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dev.score", "dev.score.json"]


def test_what_does_not_belong_to_the_scores_says_nothing_about_them(tmp_path):
    path = tmp_path / "dev.score"
    write_with_lineage(path, TRIALS, np.array([0.5, 1.5]), STEPS)
    write_scores(path, TRIALS, np.array([0.25, 1.5]))
    assert read_lineage(path) is None
    assert steps_of(path) == ()
    assert read_lineage(tmp_path / "other.score") is None


@pytest.mark.parametrize("broken", ["{", "[]", '{"bytes": 3}', '{"bytes": 3, "steps": [{}]}'])
def test_a_broken_lineage_is_named(tmp_path, broken):
    path = tmp_path / "dev.score"
    write_scores(path, TRIALS, np.array([0.5, 1.5]))
    (tmp_path / "dev.score.json").write_text(broken)
    with pytest.raises(TidyVoiceError, match=r"dev\.score\.json: cannot be read"):
        read_lineage(path)


def test_refused_scores_leave_no_lineage(tmp_path):
    path = tmp_path / "dev.score"
    with pytest.raises(TidyVoiceError):
        write_with_lineage(path, TRIALS, np.array([0.5, np.nan]), STEPS)
    assert list(tmp_path.iterdir()) == []
    write_with_lineage(path, TRIALS, np.array([0.5, 1.0]), STEPS[:1])
    assert json.loads((tmp_path / "dev.score.json").read_text())["steps"][0]["step"] == "cosine"

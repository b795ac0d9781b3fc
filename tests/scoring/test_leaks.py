"""The leak guard and the lineage of scores."""

import json

import numpy as np
import pytest

from tidyvoice.errors import TidyVoiceError
from tidyvoice.model_files import OTHERS
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.lineage import Lineage, Step, read_lineage, write_with_lineage
from tidyvoice.scoring.trials import ScoreTable, Trials, write_scores

TRIALS = Trials(["a", "b"], np.array([0, 1]), np.array([1, 0]), None, "list")
STEPS = [
    Step("cosine", "cosine", {"embeddings": "e.npz"}, (), ("speakers of x",)),
    Step("calibration", "by logistic regression", {}, ("dev and cohort share 2 speakers",)),
]


def people(what: str, speakers: str, folder: str = "{}/en", label=None, utt2spk=None) -> People:
    ids = [f"{folder.format(speaker)}/{number}.wav" for speaker in speakers for number in range(2)]
    rows = np.arange(len(ids), dtype=np.int32)
    return People.of(what, Trials(ids, rows, rows[::-1], label, what), utt2spk)


def test_speakers_on_both_sides_are_refused_by_name():
    guard = LeakGuard()
    guard.disjoint(people("dev", "ab"), People.named("the cohort", "cd"))
    guard.disjoint(people("dev", "ab"), people("the mean", "cd"))
    assert (guard.in_sample, guard.unchecked) == ([], [])
    for other in (People.named("the cohort", "bcdef"), people("the cohort", "bcdef")):
        with pytest.raises(TidyVoiceError) as error:
            guard.disjoint(people("dev", "abcde"), other)
        assert "dev and the cohort share 4 speakers (b, c, d, ...)" in str(error.value)
        assert "--allow-overlap" in str(error.value)


def test_other_names_for_the_same_utterances_do_not_hide_them():
    names = {f"{speaker}/en/{number}": f"x{speaker}" for speaker in "ab" for number in range(2)}
    renamed = people("dev", "ab", utt2spk=names)
    with pytest.raises(TidyVoiceError, match="share 2 speakers"):
        LeakGuard().disjoint(renamed, people("the mean", "ab"))
    flat = {"a": "u{}", "b": "u{}"}
    one = people("dev", "ab", folder=flat["a"])  # u{a}/0: no speaker in the ids
    assert one.read is None
    with pytest.raises(TidyVoiceError, match="share 4 utterances"):
        LeakGuard().disjoint(one, people("the mean", "ab", folder=flat["b"]))
    guard = LeakGuard()
    guard.disjoint(renamed, people("the mean", "cd"))
    assert guard.unchecked == [
        "dev against the mean: the given speakers of dev differ from those in its ids"
    ]


def test_folders_that_the_labels_contradict_are_no_speakers():
    label = np.zeros(4, dtype=bool)  # a meets b, b meets a: different speakers, same folder
    assert people("dev", "ab", folder="dev/{}", label=label).read is None
    assert people("dev", "ab", label=label).read == {"a", "b"}


def labelled(wrong: int) -> Trials:
    """1,000 trials of 20 speakers with so many wrong labels among the 500 targets."""
    ids = [f"s{number // 10}/en/{number % 10}" for number in range(200)]
    enroll = np.arange(1000, dtype=np.int32) % 200
    label = np.arange(1000) < 500
    test = np.where(label, enroll // 10 * 10 + (enroll + 1) % 10, (enroll + 10) % 200)
    label[100 : 100 + wrong] = False
    return Trials(ids, enroll, test.astype(np.int32), label, "dev.trials")


def test_a_wrong_label_does_not_take_the_speakers_from_the_guard():
    for wrong in (1, 40):
        with pytest.raises(TidyVoiceError) as error:
            People.of("dev", labelled(wrong))
        assert str(error.value).startswith("dev.trials:101: 's10/en/0 s10/en/1' is labelled non")
        assert "correct the label, or give --utt2spk" in str(error.value)
        names = {utterance: f"x{utterance}" for utterance in labelled(wrong).ids}
        given = People.of("dev", labelled(wrong), names)
        with pytest.raises(TidyVoiceError, match=r"share 1 speakers \(s3\)"):
            LeakGuard().disjoint(given, People.named("the training", ["s3"]))
    assert People.of("dev", labelled(0)).read == {f"s{number}" for number in range(20)}
    assert People.of("dev", labelled(90)).read is None


def test_an_allowed_overlap_is_kept_and_the_unknown_is_said():
    guard = LeakGuard(allow=True)
    dev = people("dev", "ab")
    guard.disjoint(dev, People.named("the cohort", "bc"))
    guard.disjoint(dev, People.named("the calibration", "cd"))
    guard.disjoint(people("eval", "ab", folder="u{}"), People.named("the cohort", "xy"))
    guard.disjoint(dev, People.named("the model", None))
    guard.disjoint(dev, People.named("the training", ["c", OTHERS]))
    assert guard.in_sample == ["dev and the cohort share 1 speakers"]
    assert [said.rpartition(": ")[2] for said in guard.unchecked] == [
        "the speakers of eval are not known",
        "the speakers of the model are not known",
        "some speakers of the training are not known",
    ]


def test_the_steps_come_back_and_say_what_they_are(tmp_path):
    path = tmp_path / "dev.score"
    write_with_lineage(path, ScoreTable(TRIALS, np.array([0.5, 1.5])), STEPS)
    lineage = read_lineage(path)
    assert lineage == Lineage(tuple(STEPS))
    assert lineage.calibrated
    assert lineage.in_sample == ["dev and cohort share 2 speakers"]
    assert not Lineage(tuple(STEPS[:1])).calibrated
    assert sorted(p.name for p in tmp_path.iterdir()) == ["dev.score", "dev.score.json"]


def test_what_does_not_belong_to_the_scores_says_nothing_about_them(tmp_path):
    path = tmp_path / "dev.score"
    write_with_lineage(path, ScoreTable(TRIALS, np.array([0.5, 1.5])), STEPS)
    write_scores(path, ScoreTable(TRIALS, np.array([0.6, 1.5])))  # of the same size
    for unknown in (path, tmp_path / "other.score"):
        (origin,) = read_lineage(unknown).steps
        assert f"origin unknown: nothing beside {unknown} says" in origin.text
        assert str(unknown) in origin.unchecked[0]


def test_records_of_earlier_versions_lose_names_and_own_up_to_what_they_lack(tmp_path):
    path = tmp_path / "dev.score"
    named = "the trials of a (b) and the cohort share 2 speakers (s)1, s2, ...)"
    write_with_lineage(
        path, ScoreTable(TRIALS, np.zeros(2)), [Step("asnorm", "AS-norm", {}, (named,))]
    )
    beside = tmp_path / "dev.score.json"
    content = json.loads(beside.read_text())
    del content["steps"][0]["confounded"]
    beside.write_text(json.dumps(content))
    lineage = read_lineage(path)
    assert [step.step for step in lineage.steps] == ["origin unknown", "asnorm"]
    assert not lineage.known
    assert lineage.in_sample == ["the trials of a (b) and the cohort share 2 speakers"]


@pytest.mark.parametrize(
    "broken", ["{", "[]", '{"steps": 3}', '{"fingerprint": "", "steps": [{}]}']
)
def test_a_broken_lineage_is_named(tmp_path, broken):
    path = tmp_path / "dev.score"
    write_scores(path, ScoreTable(TRIALS, np.array([0.5, 1.5])))
    (tmp_path / "dev.score.json").write_text(broken)
    with pytest.raises(TidyVoiceError, match=r"dev\.score\.json: cannot be read"):
        read_lineage(path)


def test_refused_scores_leave_no_lineage(tmp_path):
    path = tmp_path / "dev.score"
    with pytest.raises(TidyVoiceError):
        write_with_lineage(path, ScoreTable(TRIALS, np.array([0.5, np.nan])), STEPS)
    assert list(tmp_path.iterdir()) == []
    write_with_lineage(path, ScoreTable(TRIALS, np.array([0.5, 1.0])), STEPS[:1])
    assert json.loads((tmp_path / "dev.score.json").read_text())["steps"][0]["step"] == "cosine"

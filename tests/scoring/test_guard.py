"""The leak guard at every step, provenance, scores of unknown origin, confounded measures."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import refusal, refused, succeed
from tests.scoring.support import compare, normalize
from tidyvoice.model_files import OTHERS
from tidyvoice.scoring.embeddings import load_embeddings, save_embeddings
from tidyvoice.scoring.leaks import LeakGuard, People
from tidyvoice.scoring.lineage import read_lineage
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


@pytest.fixture(scope="module")
def bare(pipeline, tmp_path_factory):
    """The scores of dev have lost their provenance; "own" are centred by dev's own mean."""
    folder = tmp_path_factory.mktemp("guard") / "bare"
    shutil.copytree(pipeline, folder)
    succeed(
        f"score --embeddings {folder}/dev.npz --trials {folder}/dev.trials --mean {folder}/dev.npz "
        f"--out {folder}/own.score --allow-overlap"
    )
    succeed(f"fit-backend --embeddings {folder}/dev.npz --out {folder}/dev.json")
    for name in ("dev", "own"):
        (folder / f"{name}.score.json").unlink()
    table = load_embeddings(folder / "dev.npz")
    save_embeddings(folder / "leaky.npz", table.ids, table.vectors, ["id0203", "x"])
    return folder


@pytest.fixture
def lost(bare, monkeypatch):
    monkeypatch.chdir(bare)
    return bare


def line(command, embeddings="dev", mean="", cohort="train", backend="backend"):
    """A command that scores dev, of which each role can be played by dev's speakers."""
    dev = "own.score" if mean == "dev" else "dev.score"
    tables, guessed = f"--embeddings {embeddings}.npz", f"--backend {backend}.json"
    if command == "score":
        return f"score --trials dev.trials {tables} {f'--mean {mean}.npz' if mean else guessed}"
    if command == "normalize":
        others = f"--cohort {cohort}.npz --cohort-utt2spk {cohort}/utt2spk --top-n 10"
        return f"normalize --scores {dev} {tables} --mean {mean or 'train'}.npz {others}"
    tables = f"{tables} --embeddings calib.npz --languages guessed {guessed}"
    if command == "fuse":
        return f"fuse --fit calib.score calib.score --apply {dev} {dev} {tables}"
    return f"calibrate --fit calib.score --apply {dev} {tables}"


@pytest.mark.usefixtures("lost")
@pytest.mark.parametrize(
    ("command", "roles", "message"),
    [
        (command, {role: name}, message)
        for commands, role, name, message in (
            ("score normalize calibrate fuse", "embeddings", "leaky", "the training of the model"),
            ("score normalize", "mean", "dev", "the mean of dev.npz"),
            ("score calibrate fuse", "backend", "dev", "the back end dev.json"),
            ("normalize", "cohort", "dev", "the cohort dev.npz"),
        )
        for command in commands.split()
    ],
)
def test_every_step_refuses_evaluated_speakers_in_every_role(tmp_path, command, roles, message):
    call, out = line(command, **roles), tmp_path / "out.score"
    text = refusal(f"{call} --out", out)
    own = "own.score" if "mean" in roles else "dev.score"
    overlap = f"the trials of {'dev.trials' if command == 'score' else own} and {message}"
    assert overlap in text
    shared = r"(16 speakers \(id0200, id0201, id0202, \.\.\.|1 speakers \(id0203)\)"
    assert re.search(f" share {shared}", text)
    assert not list(tmp_path.iterdir())
    # Records and output have counts in place of names.
    text = succeed(f"{call} --allow-overlap --out", out)
    for each in (text, succeed("metrics", out), (tmp_path / "out.score.json").read_text()):
        assert "id02" not in each
    assert overlap in read_lineage(out).flaws["in-sample"][-1]


def test_overlaps_stay_with_a_saved_calibration(scored, tmp_path):
    succeed(f"fit-backend --embeddings calib.npz --out {tmp_path}/own.json")
    for name in ("calib", "dev"):
        compare(name, tmp_path / name, tmp_path / "own.json", "--allow-overlap")
    apply = f"--apply {tmp_path}/dev"
    succeed(f"calibrate --fit {tmp_path}/calib {apply} --save {tmp_path}/c --out", tmp_path / "a")
    succeed(f"calibrate --use {tmp_path}/c {apply} --out", tmp_path / "b")
    for name in ("a", "b"):
        assert "the back end" in read_lineage(tmp_path / name).flaws["in-sample"][0]


def test_scores_of_unknown_origin_stay_so(lost, tmp_path):
    first, then, fused = (tmp_path / f"{name}.score" for name in ("n", "llr", "fused"))
    normalize("dev", first)
    succeed(f"calibrate --cross-fit 4 --apply {first} --out", then)
    succeed(f"{line('fuse')} --out", fused)
    for path in ("dev.score", first, then, fused):
        text = succeed("metrics", path)
        assert "not checked: how the scores of the trials of dev.score were made" in text
        assert "their origin is not known" in text
        assert not read_lineage(path).complete
    assert json.loads(succeed(f"metrics {then} --json"))["in_sample"] is None
    # A calibration that is fitted on such scores hands it on; the known steps must agree.
    shutil.copy("calib.score", tmp_path / "calib.score")
    out = f"--out {tmp_path}/x"
    succeed(f"calibrate --fit {tmp_path}/calib.score --apply dev.score --save {tmp_path}/c {out}")
    text = succeed(f"calibrate --use {tmp_path}/c --apply dev.score {out}")
    assert f"not checked: how the scores of the trials of {tmp_path}/calib.score" in text
    message = refusal(f"calibrate --fit calib.score --apply {first} {out}")
    assert f"{first} was made by asnorm, but calib.score is fitted to scores of cosine" in message


@pytest.mark.usefixtures("scored")
def test_provenance_of_other_scores_does_not_count(tmp_path):
    path = tmp_path / "dev.score"
    for name in ("dev.score", "dev.score.json"):
        shutil.copy(name, tmp_path)
    assert read_lineage(path).complete
    path.write_text(path.read_text().replace(" target", " nontarget", 1))
    assert not read_lineage(path).complete


MARK = "CONFOUNDED: quality measures alone separate targets from non-targets in the "
FIT = "calibrate --fit calib.score --apply dev.score"


def by_speaker(path, value):
    """A table of the utterances of both lists, of which a speaker has the same value."""
    ids = [i for name in ("calib", "dev") for i in load_embeddings(f"{name}.npz").ids]
    path.write_text("".join(f"{i} {value(int(i[2:6]))}\n" for i in ids))
    return path


def test_a_language_similarity_that_gives_the_answer_away_is_marked(scored, tmp_path):
    # Each speaker speaks one of two languages.
    spoken = by_speaker(tmp_path / "utt2lang", lambda speaker: ("en", "fr")[speaker % 2])
    out, known = tmp_path / "exp" / "scores" / "dev.score", "--languages known"
    out.parent.mkdir(parents=True)
    text = succeed(f"{FIT} {known} --utt2lang {spoken} --save {tmp_path}/c.json --out", out)
    for path, role in (("calib.score", "calibration trials"), ("dev.score", "trials")):
        assert f"warning: {path}: language similarity: this alone separates the targets" in text
        assert f"{MARK}{role} of {path}: area under the ROC curve language similarity 0.7" in text

    # The mark stays with the result, and with what the saved calibration makes.
    assert len(json.loads(succeed("metrics", out, "--json"))["confounded"]) == 2
    (tmp_path / "exp" / "config.yaml").write_text("experiment: exp\n")
    assert f"* CONFOUNDED: {tmp_path / 'exp'}, dev: quality" in succeed("runs", tmp_path / "exp")
    succeed(f"report {out} --out {tmp_path}/page.html --bootstrap 0")
    assert "<strong>Confounded.</strong>" in (tmp_path / "page.html").read_text()
    use = f"calibrate --use {tmp_path}/c.json --apply dev.score {known}"
    text = succeed(f"{use} --out {tmp_path}/x")
    assert f"{MARK}calibration trials of calib.score" in text
    assert f"{MARK}trials" not in text


@pytest.mark.usefixtures("scored")
def test_measures_that_both_kinds_share_are_not_marked(tmp_path):
    fit = f"{FIT} --languages known --out {tmp_path}/o"
    text = succeed(fit)
    for word in ("warning: ", "CONFOUNDED", "quality measures"):
        assert word not in text
    seconds = by_speaker(tmp_path / "utt2dur", lambda speaker: 1 + speaker % 16)
    text = succeed(f"{fit} --utt2dur {seconds}")
    assert "log duration 0.6" in text
    assert "language similarity" not in "".join(x for x in text.splitlines() if "CONFOUNDED" in x)
    # Without labels this is not known.
    scores = Path("dev.score").read_text().replace(" target", "").replace(" nontarget", "")
    (tmp_path / "eval.score").write_text(scores)
    text = succeed(fit.replace("dev.score", f"{tmp_path}/eval.score"))
    assert "eval.score: they have no labels" in text

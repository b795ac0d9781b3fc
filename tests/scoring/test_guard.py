"""The leak guard at every step, provenance, scores of unknown origin, confounded measures."""

import json
import shutil

import numpy as np
import pytest

from tests.scoring.support import COHORT, normalize, refusal, succeed
from tidyvoice.scoring.embeddings import load_embeddings, save_embeddings
from tidyvoice.scoring.lineage import read_lineage, write_with_lineage
from tidyvoice.scoring.provenance import Step
from tidyvoice.scoring.trials import ScoreTable, Trials

ORIGIN = "their origin is unknown"
CALIBRATE = "calibrate --fit calib.score --apply dev.score"


@pytest.fixture(scope="module")
def bare(pipeline, tmp_path_factory):
    """The scores of dev have lost their provenance; "own" are centred by dev's own mean."""
    folder = tmp_path_factory.mktemp("guard") / "bare"
    shutil.copytree(pipeline, folder)
    succeed(
        f"score --embeddings {folder}/dev.npz --trials {folder}/dev.trials --mean {folder}/dev.npz "
        f"--out {folder}/own.score --allow-overlap"
    )
    for name in ("dev", "own"):
        (folder / f"{name}.score.json").unlink()
    table = load_embeddings(folder / "dev.npz")
    save_embeddings(folder / "leaky.npz", table.ids, table.vectors, ["id0203", "x"])
    save_embeddings(folder / "unknown.npz", table.ids, table.vectors)
    return folder


@pytest.fixture
def lost(bare, monkeypatch):
    monkeypatch.chdir(bare)
    return bare


def line(command, embeddings="dev", mean="train", cohort="train"):
    """A command that takes dev's scores, of which each role can be played by dev's speakers."""
    dev = "own.score" if mean == "dev" else "dev.score"
    others = f"--mean {mean}.npz --cohort {cohort}.npz --cohort-utt2spk {cohort}/utt2spk --top-n 10"
    if command == "normalize":
        return f"normalize --scores {dev} --embeddings {embeddings}.npz {others}"
    tables = f"--embeddings calib.npz --embeddings {embeddings}.npz"
    if command == "fuse":
        return f"fuse --fit calib.score calib.score --apply {dev} {dev} {tables}"
    return f"calibrate --fit calib.score --apply {dev} {tables} {others}"


@pytest.mark.usefixtures("lost")
@pytest.mark.parametrize(
    ("command", "roles", "message"),
    [
        ("normalize", {"embeddings": "leaky"}, "the training of the model of leaky.npz"),
        ("normalize", {"mean": "dev"}, "the mean of dev.npz"),
        ("normalize", {"cohort": "dev"}, "the cohort dev.npz"),
        ("calibrate", {"embeddings": "leaky"}, "the training of the model of leaky.npz"),
        ("calibrate", {"mean": "dev"}, "the mean of dev.npz"),
        ("calibrate", {"cohort": "dev"}, "the cohort dev.npz"),
        ("fuse", {"embeddings": "leaky"}, "the training of the model of leaky.npz"),
    ],
)
def test_every_step_refuses_evaluated_speakers_in_every_role(tmp_path, command, roles, message):
    call, out = line(command, **roles), tmp_path / "out.score"
    text = refusal(f"{call} --out", out)
    overlap = f"the trials of {'own' if 'mean' in roles else 'dev'}.score and {message} share"
    assert overlap in text
    assert "speakers (id020" in text
    assert not list(tmp_path.iterdir())
    succeed(f"{call} --allow-overlap --out", out)
    assert overlap in read_lineage(out).in_sample[-1]


def test_scoring_refuses_evaluated_speakers(lost, tmp_path):
    score = f"score --trials dev.trials --out {tmp_path}/s --embeddings"
    own = f"{score} dev.npz --mean dev.npz"
    assert "share 16 speakers (id0200, id0201, id0202, ...)" in refusal(own)
    text = refusal(f"{score} leaky.npz")
    assert "the training of the model of leaky.npz share 1 speakers (id0203)" in text
    assert not list(tmp_path.iterdir())
    assert json.loads(succeed(f"{own} --allow-overlap --json"))["in_sample"]
    assert "IN-SAMPLE: the trials of dev.trials" in succeed("metrics", tmp_path / "s")


def test_records_reports_and_output_have_counts_in_place_of_names(lost, tmp_path):
    out = tmp_path / "out.score"
    text = succeed(f"{line('normalize', mean='dev')} --allow-overlap --out", out)
    assert "the trials of own.score and the mean of dev.npz share 16 speakers" in text
    succeed(f"report {out} --out {tmp_path}/page.html --bootstrap 0")
    page = (tmp_path / "page.html").read_text()
    assert "In sample" in page
    for each in (text, succeed("metrics", out), page, (tmp_path / "out.score.json").read_text()):
        assert "speakers" in each
        assert "(id02" not in each


def test_a_model_of_unknown_training_is_reported(lost, tmp_path):
    what = "the training of the model of unknown.npz"
    expected = f"not checked: the trials of dev.score against {what}: the speakers of {what} are"
    for command in ("normalize", "calibrate"):
        text = succeed(f"{line(command, embeddings='unknown')} --out", tmp_path / "x")
        assert expected in text


def test_overlaps_stay_with_a_saved_calibration(scored, tmp_path):
    leaky = "--cohort calib.npz --cohort-utt2spk calib/utt2spk --top-n 10 --allow-overlap"
    for name in ("calib", "dev"):
        table = f"--scores {name}.score --embeddings {name}.npz --mean train.npz"
        succeed(f"normalize {table} {leaky} --out", tmp_path / name)
    apply = f"--apply {tmp_path}/dev"
    succeed(f"calibrate --fit {tmp_path}/calib {apply} --save {tmp_path}/c --out", tmp_path / "a")
    succeed(f"calibrate --use {tmp_path}/c {apply} --out", tmp_path / "b")
    for name in ("a", "b"):
        assert "the cohort calib.npz" in read_lineage(tmp_path / name).in_sample[0]


def test_scores_of_unknown_origin_stay_so(lost, tmp_path):
    first, then, fused = (tmp_path / f"{name}.score" for name in ("n", "llr", "fused"))
    for text in (
        normalize("dev", first),
        succeed(f"calibrate --cross-fit 4 --apply {first} --out", then),
        succeed(f"{line('fuse')} --out", fused),
        *(succeed("metrics", path) for path in ("dev.score", then, fused)),
    ):
        assert "not checked: the trials of dev.score against" in text
        assert ORIGIN in text
    for path in (first, then, fused):
        assert not read_lineage(path).complete
    found = json.loads(succeed(f"metrics {then} --json"))
    assert found["in_sample"] is None
    assert ORIGIN in found["unchecked"][0]
    succeed(f"report {then} --out {tmp_path}/page.html --bootstrap 0")
    page = (tmp_path / "page.html").read_text()
    assert '<span class="mark">origin unknown</span>' in page
    assert "origin unknown: nothing beside dev.score says" in page
    # A calibration that is fitted on such scores hands it on; the known steps must agree.
    shutil.copy("calib.score", tmp_path / "calib.score")
    out = f"--out {tmp_path}/x"
    succeed(f"calibrate --fit {tmp_path}/calib.score --apply dev.score --save {tmp_path}/c {out}")
    text = succeed(f"calibrate --use {tmp_path}/c --apply dev.score {out}")
    assert f"not checked: the trials of {tmp_path}/calib.score against" in text
    message = refusal(f"calibrate --fit calib.score --apply {first} {out}")
    assert f"{first} was made by asnorm" in message
    assert "calib.score is fitted to scores made by cosine" in message


def test_provenance_of_other_scores_does_not_count(tmp_path):
    path = tmp_path / "dev.score"
    trials = Trials(["a", "b"], np.array([0, 1]), np.array([1, 0]), np.array([True, False]), "list")
    write_with_lineage(path, ScoreTable(trials, np.array([0.5, 1.5])), [Step(step="cosine")])
    assert [step.step for step in read_lineage(path).steps] == ["cosine"]
    path.write_text(path.read_text().replace("0.5", "0.6"))
    assert not read_lineage(path).complete
    beside = tmp_path / "dev.score.json"
    for broken in ("{", "[]", '{"steps": 3}', '{"fingerprint": "", "steps": [{}]}'):
        beside.write_text(broken)
        assert f"{beside}: not a provenance of this version" in refusal("metrics", path)


def write_list(path, first=0, spoken=lambda speaker, number: "en", labelled=True):
    """Scores of 16 speakers' lists, as many targets as non-targets, of languages as ``spoken``."""
    speakers = range(first, first + 16)
    ids = [f"s{s:03d}/{spoken(s, k)}/{k}.wav" for s in speakers for k in range(4)]
    side = np.arange(64, dtype=np.int32)
    targets = [(side, (side // 4 * 4 + (side + shift) % 4)) for shift in (1, 3)]
    others = [(side, (side + shift) % 64) for shift in (5, 9, 21, 25)]
    enroll, test = (
        np.concatenate(both).astype(np.int32) for both in zip(*targets, *others, strict=True)
    )
    label = np.arange(len(enroll)) < 128
    rng = np.random.Generator(np.random.PCG64(first))
    trials = Trials(ids, enroll, test, label if labelled else None, str(path))
    scores = ScoreTable(trials, rng.standard_normal(len(label)) + 1.5 * label)
    write_with_lineage(path, scores, [Step(step="cosine", settings={"model": "m"})])
    return path


def by_speaker(speaker, number):
    """One language for each speaker, two in all."""
    return ("en", "fr")[speaker % 2]


def by_utterance(speaker, number):
    """Two languages for each speaker."""
    return ("en", "fr")[number // 2 % 2]


MARK = "CONFOUNDED: quality measures alone separate targets from non-targets in the "


def test_a_language_match_that_gives_the_answer_away_is_marked(tmp_path):
    calib = write_list(tmp_path / "calib.score", spoken=by_speaker)
    dev = write_list(tmp_path / "dev.score", 100, by_speaker)
    out = tmp_path / "exp" / "scores" / "dev.score"
    out.parent.mkdir(parents=True)
    fit = f"calibrate --fit {calib} --apply {dev} --out {out}"
    assert "confounded" not in succeed(fit).lower()
    text = succeed(f"{fit} --language-match --save {tmp_path}/c.json")
    for path, role in ((calib, "calibration trials"), (dev, "trials")):
        assert (
            f"warning: {path}: language match: this alone separates the targets of the {role}"
            in (text)
        )
        assert f"{MARK}{role} of {path}: area under the ROC curve language match 0.7" in text
    assert len(read_lineage(out).confounded) == 2

    # The mark stays with the result, and with what the saved calibration makes.
    assert MARK in succeed("metrics", out)
    assert len(json.loads(succeed("metrics", out, "--json"))["confounded"]) == 2
    (tmp_path / "exp" / "config.yaml").write_text("experiment: exp\n")
    assert f"* CONFOUNDED: {tmp_path / 'exp'}, dev: quality" in succeed("runs", tmp_path / "exp")
    text = succeed(f"metrics ours={out} --published conf/tidyvoice/published.yaml")
    assert "ours (confounded)" in text
    assert "CONFOUNDED: ours: quality measures" in text
    succeed(f"report {out} --out {tmp_path}/page.html --bootstrap 0")
    page = (tmp_path / "page.html").read_text()
    assert "<strong>Confounded.</strong>" in page
    assert '<span class="mark">confounded</span>' in page
    fair = write_list(tmp_path / "fair.score", 200, by_utterance)
    match = f"--language-match --out {tmp_path}/x.score"
    text = succeed(f"calibrate --use {tmp_path}/c.json --apply {fair} {match}")
    assert f"{MARK}calibration trials of {calib}" in text
    assert f"trials of {fair}" not in text
    assert "warning: " not in text
    assert f"{MARK}trials of {dev}" in succeed(f"calibrate --cross-fit 4 --apply {dev} {match}")


def test_measures_that_both_kinds_share_are_not_marked(tmp_path):
    calib = write_list(tmp_path / "calib.score", spoken=by_utterance)
    dev = write_list(tmp_path / "dev.score", 100, by_utterance)
    fit = f"calibrate --fit {calib} --apply {dev} --language-match --out {tmp_path}/o"
    text = succeed(fit)
    for word in ("warning: ", "CONFOUNDED", "not checked"):
        assert word not in text
    # Durations that are constant within each speaker.
    lines = (calib.read_text() + dev.read_text()).splitlines()
    ids = sorted({word for line in lines for word in line.split()[:2]})
    seconds = tmp_path / "utt2dur"
    seconds.write_text("".join(f"{i} {1 + int(i[1:4]) % 16}\n" for i in ids))
    text = succeed(f"{fit} --utt2dur {seconds}")
    assert "log duration 0.6" in text
    assert "Leave --utt2dur out" in text
    assert "language match" not in "".join(x for x in text.splitlines() if "CONFOUNDED" in x)


def test_measures_of_a_list_without_labels_are_reported_as_unchecked(tmp_path):
    calib = write_list(tmp_path / "calib.score", spoken=by_utterance)
    unlabelled = write_list(tmp_path / "eval.score", 100, by_speaker, labelled=False)
    fit = f"calibrate --fit {calib} --apply {unlabelled} --out {tmp_path}/o"
    assert "not checked" not in succeed(fit)
    text = succeed(f"{fit} --language-match")
    assert f"not checked: the trials of {unlabelled} against the quality measures: without" in text


@pytest.mark.usefixtures("scored")
def test_measures_must_not_have_seen_the_speakers(tmp_path):
    fit = f"{CALIBRATE} --embeddings calib.npz --embeddings dev.npz --top-n 10 --out {tmp_path}/x"
    own = "--cohort dev.npz --cohort-utt2spk dev/utt2spk"
    assert "and the cohort dev.npz" in refusal(f"{fit} {own}")
    assert "and the mean of dev.npz" in refusal(f"{fit} {COHORT} --mean dev.npz")
    assert not (tmp_path / "x").exists()

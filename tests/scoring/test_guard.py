"""The leak guard at every step, scores of unknown origin, measures that tell the answer."""

import json
import shutil

import numpy as np
import pytest

from tests.scoring.support import normalize, refusal, succeed, write_pipeline
from tidyvoice.scoring.embeddings import load_embeddings, save_embeddings
from tidyvoice.scoring.lineage import Step, read_lineage, write_with_lineage
from tidyvoice.scoring.trials import ScoreTable, Trials

ORIGIN = "their origin is unknown"
COSINE = Step(
    "cosine", "cosine of the embeddings", {"trials": "list"}, how={"mean": "none", "model": "m"}
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scores of two lists; dev's have lost what says how they were made, also those in sample."""
    made = write_pipeline(tmp_path_factory.mktemp("guard"))
    succeed("score", "--embeddings", made / "dev.npz", "--trials", made / "dev.trials", "--mean",
            made / "dev.npz", "--out", made / "own.score", "--in-sample")  # fmt: skip
    for name in ("dev", "own"):
        (made / f"{name}.score.json").unlink()
    table = load_embeddings(made / "dev.npz")
    save_embeddings(made / "leaky.npz", table.ids, table.vectors, ["id0203", "x"])
    return made


def step(folder, command, embeddings="dev", mean="train", cohort="train"):
    """A command that takes dev's scores, of which each role can be played by dev's speakers."""
    dev, calib = folder / ("own.score" if mean == "dev" else "dev.score"), folder / "calib.score"
    mean = ("--mean", folder / f"{mean}.npz")
    members = ("--cohort", folder / f"{cohort}.npz", "--cohort-utt2spk", folder / cohort /
               "utt2spk", "--top-n", 10)  # fmt: skip
    if command == "normalize":
        return (command, dev, "--embeddings", folder / f"{embeddings}.npz", *members, *mean)
    tables = ("--embeddings", folder / "calib.npz", "--embeddings", folder / f"{embeddings}.npz")
    if command == "fuse":
        return (command, "--fit", calib, calib, "--apply", dev, dev, *tables)
    return (command, "--fit", calib, "--apply", dev, *tables, *members, *mean)


@pytest.mark.parametrize(
    ("command", "roles", "message"),
    [
        ("normalize", {"embeddings": "leaky"}, "the training of the model of {}/leaky.npz"),
        ("normalize", {"mean": "dev"}, "the mean of {}/dev.npz"),
        ("normalize", {"cohort": "dev"}, "the cohort {}/dev.npz"),
        ("calibrate", {"embeddings": "leaky"}, "the training of the model of {0}/calib.npz, {0}/l"),
        ("calibrate", {"mean": "dev"}, "the mean of {}/dev.npz"),
        ("calibrate", {"cohort": "dev"}, "the cohort {}/dev.npz"),
        ("fuse", {"embeddings": "leaky"}, "the training of the model of {0}/calib.npz, {0}/leaky"),
    ],
)
def test_every_step_refuses_evaluated_speakers_in_every_role(
    folder, tmp_path, command, roles, message
):
    call, out = step(folder, command, **roles), tmp_path / "out.score"
    said = refusal(*call, "--out", out)
    overlap = f"{folder / ('own' if 'mean' in roles else 'dev')}.score and {message.format(folder)}"
    assert f"the trials of {overlap}" in said
    assert "speakers (id020" in said
    assert not list(tmp_path.iterdir())
    succeed(*call, "--out", out, "--in-sample")
    assert f"the trials of {overlap}" in read_lineage(out).in_sample[-1]


def test_what_is_recorded_and_published_has_counts_in_place_of_names(folder, tmp_path):
    out = tmp_path / "out.score"
    said = succeed(*step(folder, "normalize", mean="dev"), "--out", out, "--in-sample")
    assert f"{folder / 'own.score'} and the mean of {folder / 'dev.npz'} share 16 speakers" in said
    succeed("report", out, "--out", tmp_path / "page.html", "--bootstrap", 0)
    page = (tmp_path / "page.html").read_text()
    assert "In sample" in page
    for text in (said, succeed("metrics", out), page, (tmp_path / "out.score.json").read_text()):
        assert " speakers" in text
        assert "(id02" not in text


def test_a_model_whose_training_is_not_known_is_said_not_to_be_checked(folder, tmp_path):
    table = load_embeddings(folder / "dev.npz")
    save_embeddings(tmp_path / "dev.npz", table.ids, table.vectors)
    dev = folder / "dev.score"
    what = f"the training of the model of {tmp_path / 'dev.npz'}"
    said = succeed("normalize", dev, "--embeddings", tmp_path / "dev.npz", "--cohort", folder /
                   "train.npz", "--cohort-utt2spk", folder / "train/utt2spk", "--mean", folder /
                   "train.npz", "--top-n", 10, "--out", tmp_path / "n")  # fmt: skip
    assert f"not checked: the trials of {dev} against {what}: the speakers of {what} are" in said
    both = ("--embeddings", folder / "calib.npz", "--embeddings", tmp_path / "dev.npz")
    said = succeed("calibrate", "--fit", folder / "calib.score", "--apply", dev, *both, "--out",
                   tmp_path / "x")  # fmt: skip
    assert f"against the training of the model of {folder / 'calib.npz'}, {tmp_path}" in said
    assert ": some speakers of the training" in said


def test_scores_that_lost_their_origin_keep_saying_so(folder, tmp_path):
    first, then = tmp_path / "n.score", tmp_path / "llr.score"
    for said in (
        normalize(folder, "dev", first),
        succeed("calibrate", "--cross-fit", 4, "--apply", first, "--out", then),
        succeed("fuse", "--fit", *[folder / "calib.score"] * 2, "--apply", *[folder / "dev.score"]
                * 2, "--out", tmp_path / "fused.score"),
        succeed("metrics", folder / "dev.score"),
        succeed("metrics", then),
        succeed("metrics", tmp_path / "fused.score"),
    ):  # fmt: skip
        assert f"not checked: the trials of {folder / 'dev.score'} against" in said
        assert ORIGIN in said
    for path in (first, then, tmp_path / "fused.score"):
        assert read_lineage(path).steps[0].step == "origin unknown"
    found = json.loads(succeed("metrics", then, "--json"))
    assert found["in_sample"] is None
    assert ORIGIN in found["unchecked"][0]
    succeed("report", then, "--out", tmp_path / "page.html", "--bootstrap", 0)
    page = (tmp_path / "page.html").read_text()
    assert '<span class="mark">origin unknown</span>' in page
    assert f"origin unknown: nothing beside {folder / 'dev.score'} says" in page
    assert ORIGIN in page[page.index('id="provenance"') :]
    # A calibration that is fitted to such scores hands it on; the steps that are known must agree.
    shutil.copy(folder / "calib.score", tmp_path / "calib.score")
    use = ("calibrate", "--use", tmp_path / "c.json", "--out", tmp_path / "x", "--apply")
    succeed("calibrate", "--fit", tmp_path / "calib.score", "--apply", folder / "dev.score",
            "--out", tmp_path / "x", "--save", tmp_path / "c.json")  # fmt: skip
    said = succeed(*use, folder / "dev.score")
    assert f"not checked: the trials of {tmp_path / 'calib.score'} against" in said
    calib = folder / "calib.score"
    message = refusal("calibrate", "--fit", calib, "--apply", first, "--out", tmp_path / "x")
    assert f"{first} was made by asnorm" in message
    assert f"{calib} is fitted to what was made by cosine" in message


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
    path.parent.mkdir(exist_ok=True, parents=True)
    scores = ScoreTable(trials, rng.standard_normal(len(label)) + 1.5 * label)
    write_with_lineage(path, scores, [COSINE])
    return path


def by_speaker(speaker, number):
    """One language for each speaker, two in all."""
    return ("en", "fr")[speaker % 2]


def by_utterance(speaker, number):
    """Two languages for each speaker."""
    return ("en", "fr")[number // 2 % 2]


MARK = "CONFOUNDED: quality measures alone separate targets from non-targets in the "


def test_a_language_match_that_gives_the_answer_away_is_warned_of_and_marked(tmp_path):
    calib = write_list(tmp_path / "calib.score", spoken=by_speaker)
    dev = write_list(tmp_path / "dev.score", 100, by_speaker)
    out = tmp_path / "exp" / "scores" / "dev.score"
    out.parent.mkdir(parents=True)
    fit = ("calibrate", "--fit", calib, "--apply", dev, "--out", out)
    assert "confounded" not in succeed(*fit).lower()
    said = succeed(*fit, "--language-match", "--save", tmp_path / "c.json")
    warned = [line for line in said.splitlines() if line.startswith("warning: ")]
    assert len(warned) == 2
    for line, what in zip(warned, ("calibration trials", "trials"), strict=True):
        assert f"non-targets in the {what} of {tmp_path}" in line
        assert "language match 0.7" in line
        assert "leave --language-match out, or use trials" in line
    assert f"{MARK}calibration trials of {calib}" in said
    assert f"{MARK}trials of {dev}" in said
    assert len(read_lineage(out).steps[-1].confounded) == 2

    # The mark stays with the result, and with what the saved calibration makes.
    assert MARK in succeed("metrics", out)
    assert len(json.loads(succeed("metrics", out, "--json"))["confounded"]) == 2
    (tmp_path / "exp" / "config.yaml").write_text("experiment: exp\n")
    assert f"* CONFOUNDED: {tmp_path / 'exp'}, dev: quality" in succeed("runs", tmp_path / "exp")
    published = ("--published", "conf/tidyvoice/published.yaml")
    said = succeed("metrics", f"ours={out}", *published)
    assert "ours (confounded)" in said
    assert "CONFOUNDED: ours: quality measures" in said
    succeed("report", out, "--out", tmp_path / "page.html", "--bootstrap", 0)
    page = (tmp_path / "page.html").read_text()
    assert "<strong>Confounded.</strong>" in page
    assert '<span class="mark">confounded</span>' in page
    fair = write_list(tmp_path / "fair.score", 200, by_utterance)
    said = succeed("calibrate", "--use", tmp_path / "c.json", "--apply", fair, "--language-match",
                   "--out", tmp_path / "x.score")  # fmt: skip
    assert f"{MARK}calibration trials of {calib}" in said
    assert f"trials of {fair}" not in said
    assert "warning: " not in said
    said = succeed("calibrate", "--cross-fit", 4, "--apply", dev, "--language-match", "--out",
                   tmp_path / "y.score")  # fmt: skip
    assert f"{MARK}trials of {dev}" in said


def test_measures_that_both_kinds_share_are_not_marked(tmp_path):
    calib = write_list(tmp_path / "calib.score", spoken=by_utterance)
    dev = write_list(tmp_path / "dev.score", 100, by_utterance)
    fit = ("calibrate", "--fit", calib, "--apply", dev, "--language-match", "--out", tmp_path / "o")
    said = succeed(*fit)
    assert "warning: " not in said
    assert "CONFOUNDED" not in said
    assert "not checked" not in said
    # Durations that are constant within each speaker.
    ids = sorted({*read_ids(calib), *read_ids(dev)})
    seconds = tmp_path / "utt2dur"
    seconds.write_text("".join(f"{i} {1 + int(i[1:4]) % 16}\n" for i in ids))
    said = succeed(*fit, "--utt2dur", seconds)
    assert "log duration 0.6" in said
    assert "leave --utt2dur out" in said
    assert "language match" not in "".join(x for x in said.splitlines() if "CONFOUNDED" in x)


def read_ids(path):
    return [word for line in path.read_text().splitlines() for word in line.split()[:2]]


def test_a_list_without_labels_is_said_not_to_be_checked(tmp_path):
    calib = write_list(tmp_path / "calib.score", spoken=by_utterance)
    eval_list = write_list(tmp_path / "eval.score", 100, by_speaker, labelled=False)
    fit = ("calibrate", "--fit", calib, "--apply", eval_list, "--out", tmp_path / "o")
    assert "not checked" not in succeed(*fit)
    said = succeed(*fit, "--language-match", "--save", tmp_path / "c.json")
    remark = f"the trials of {eval_list} against the quality measures: without labels"
    assert f"not checked: {remark}" in said
    assert remark in read_lineage(tmp_path / "o").unchecked[0]
    # A calibration of an earlier version does not know of its own fit.
    saved = json.loads((tmp_path / "c.json").read_text())
    del saved["notes"]["confounded"]
    (tmp_path / "c.json").write_text(json.dumps(saved))
    said = succeed("calibrate", "--use", tmp_path / "c.json", "--apply", eval_list,
                   "--language-match", "--out", tmp_path / "o")  # fmt: skip
    assert (
        f"not checked: the calibration {tmp_path / 'c.json'} against its quality measures" in said
    )

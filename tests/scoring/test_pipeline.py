"""From files to calibrated scores by the commands: what they make, and what they print."""

import json

import numpy as np
import pytest

from tests.conftest import invoke, refusal, refused, succeed
from tests.scoring.support import COHORT, DEV, GUESSED, compare, normalize, pooled
from tidyvoice.scoring.lineage import read_lineage
from tidyvoice.scoring.pipeline import calibrate_scores
from tidyvoice.scoring.tables import Tables
from tidyvoice.scoring.trials import read_scores

pytestmark = pytest.mark.usefixtures("scored")
SCORE = "score --embeddings dev.npz --trials dev.trials"
CALIBRATE = "calibrate --fit calib.score --apply dev.score"


def test_the_mean_or_the_back_end_is_stated(tmp_path):
    text = succeed(f"{SCORE} --mean train.npz --out", tmp_path / "s")
    assert "less the mean of 480 in train.npz" in text
    (step,) = read_lineage(tmp_path / "s").steps
    _, mean, trials = step.inputs
    assert (mean.role, mean.path, mean.speakers, trials.speakers) == ("mean", "train.npz", 40, 16)
    assert len(mean.sha256) == 64
    text = compare("dev", tmp_path / "b")
    assert "LDA, cohort offsets: the back end backend.json" in text
    (step,) = read_lineage(tmp_path / "b").steps
    _, backend, trials = step.inputs
    assert (backend.role, backend.path, backend.speakers) == ("backend", "backend.json", 40)
    assert len(backend.sha256) == 64
    # This command takes one table, which a second one must not replace.
    assert invoke(SCORE.replace("dev.npz", "calib.npz dev.npz"), "--out", "x").exit_code == 2
    assert "not centred" in succeed(f"{SCORE} --out", tmp_path / "raw")
    assert not np.allclose(read_scores(tmp_path / "raw").scores, read_scores(tmp_path / "s").scores)


@pytest.mark.parametrize("method", ["asnorm", "snorm"])
def test_normalisation_helps_and_is_recorded(tmp_path, method):
    assert "40 speakers of train.npz" in normalize("dev", tmp_path / "n", "--method", method)
    raw, normal = pooled("dev.score"), pooled(tmp_path / "n")
    assert normal.eer < raw.eer + 0.005
    assert [step.step for step in read_lineage(tmp_path / "n").steps] == ["cosine", method]


def test_unlabelled_lists_pass_through_everything(tmp_path):
    assert "not checked: whether the trials of eval.trials" in compare("eval", tmp_path / "eval")
    compare("calib", tmp_path / "calib")
    compare("dev", tmp_path / "dev")
    for name in ("eval", "dev"):
        fit = f"calibrate --fit {tmp_path}/calib --apply {tmp_path}/{name} --out {tmp_path}/x{name}"
        succeed(f"{fit} --embeddings calib.npz --embeddings {name}.npz {GUESSED}")
    known = "calibrate --fit calib.score --apply eval.score --languages known --out"
    assert "Give --utt2lang, or --languages guessed" in refusal(known, tmp_path / "y")
    flat, labelled = read_scores(tmp_path / "xeval"), read_scores(tmp_path / "xdev")
    assert flat.trials.label is None
    np.testing.assert_allclose(flat.scores, labelled.scores, atol=1e-6)


def test_calibration_on_other_speakers(tmp_path):
    succeed(f"{CALIBRATE} --prior 0.1 --save {tmp_path}/c.json --out", tmp_path / "llr")
    raw, calibrated = pooled("dev.score"), pooled(tmp_path / "llr")
    assert calibrated.eer == pytest.approx(raw.eer)
    assert calibrated.cllr < calibrated.min_cllr + 0.05 < raw.cllr
    assert read_lineage(tmp_path / "llr").calibrated
    succeed(f"calibrate --use {tmp_path}/c.json --apply dev.score --out", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "llr").read_bytes()
    for way in ("--fit calib.score", f"--use {tmp_path}/c.json"):
        message = refusal(f"calibrate {way} --apply calib.score --out", tmp_path / "x")
        assert "share 16 speakers" in message
    assert not (tmp_path / "x").exists()


def test_every_quality_measure_is_fitted_and_applied(tmp_path):
    command = f"{CALIBRATE} --magnitude --prior 0.1"
    for name in ("calib", "dev"):
        command += f" --utt2dur {name}/utt2dur --embeddings {name}.npz"
    known = "--utt2lang calib/utt2lang --utt2lang dev/utt2lang"
    succeed(f"{command} {GUESSED} {known} --save {tmp_path}/c.json --out", tmp_path / "llr")
    assert len(json.loads((tmp_path / "c.json").read_text())["names"]) == 6
    assert pooled(tmp_path / "llr").eer < pooled("dev.score").eer
    succeed(f"{command} --languages known --out", tmp_path / "known")
    known, guessed = (read_scores(tmp_path / name).scores for name in ("known", "llr"))
    assert not np.allclose(known, guessed)
    use = f"calibrate --use {tmp_path}/c.json --apply dev.score --out"
    assert "has to map [score]" in refusal(use, tmp_path / "x")


def test_cross_fitting_needs_no_other_speakers(tmp_path):
    text = succeed("calibrate --cross-fit 4 --apply dev.score --prior 0.1 --out", tmp_path / "llr")
    assert "cross-fitting over 4 folds of 16 speakers" in text
    assert pooled(tmp_path / "llr").cllr < pooled("dev.score").cllr
    assert read_lineage(tmp_path / "llr").flaws == {}
    message = refusal("calibrate --cross-fit 4 --apply eval.score --out", tmp_path / "x")
    assert "eval.score: the ids do not contain speakers. Give --utt2spk" in message
    several = refused(calibrate_scores, ["dev.score"], "x", Tables(), folds=4, save="c.json")
    assert "--save: it needs --fit" in several


def test_fusion(tmp_path):
    for name in ("calib", "dev"):
        compare(name, tmp_path / name)
    fit, apply = (f"{name}.score {tmp_path}/{name}" for name in ("calib", "dev"))
    text = succeed(f"fuse --fit {fit} --apply {apply} --prior 0.1 --out", tmp_path / "fused")
    assert "system 1: cosine of the embeddings, less the mean of 480 in" in text
    assert "system 2: LDA, cohort offsets: the back end backend.json" in text
    fused = pooled(tmp_path / "fused")
    assert fused.min_cllr <= min(pooled(path).min_cllr for path in apply.split()) + 0.01
    assert fused.cllr < fused.min_cllr + 0.05
    (step,) = read_lineage(tmp_path / "fused").steps
    assert [len(steps) for steps in step.systems] == [1, 1]
    message = refusal(f"fuse --fit {fit} --apply dev.score calib.score --out {tmp_path}/x")
    assert "calib.score was made by cosine, but" in message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("calibrate --fit a --cross-fit 3 --apply b", "give one of --fit, --cross-fit and --use"),
        ("calibrate --cross-fit 3 --apply b --save c", "--save: it needs --fit"),
        ("calibrate --use a --apply b --prior 0.1", "--prior: it needs --fit or --cross-fit"),
        (f"{CALIBRATE} --backend b", "--backend: it needs --languages guessed"),
        (f"{CALIBRATE} --utt2lang u", "--utt2lang: it needs --languages"),
        (f"{CALIBRATE} --embeddings e", "--embeddings: it needs --magnitude or --languages"),
        (f"{CALIBRATE} --magnitude", "--magnitude: give --embeddings"),
        (f"{CALIBRATE} {GUESSED}", "--languages guessed: give --embeddings and --backend"),
        (f"{SCORE} --mean train.npz --backend backend.json", "give --mean or --backend"),
        (f"normalize {DEV} {COHORT} --method z", "--method z: use asnorm"),
    ],
)
def test_a_wrong_call_is_refused(tmp_path, line, message):
    assert message in refusal(f"{line} --out", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_metrics_read_them(scored, tmp_path):
    (tmp_path / "lr=0.1.score").write_bytes((scored / "dev.score").read_bytes())
    systems = f"{tmp_path}/lr=0.1.score", f"my: own={tmp_path}/lr=0.1.score"
    text = succeed("metrics --bootstrap 100 --languages --pairs", *systems)
    for word in ("lr=0.1:\n", "my: own:\n", "en – fr"):
        assert word in text

"""From files to calibrated scores by the commands: what is fair, what is said, what is kept."""

import json

import numpy as np
import pytest

from tests.scoring.support import normalize, pooled, refusal, score, succeed, write_pipeline
from tidyvoice.cli import spread
from tidyvoice.scoring.embeddings import load_embeddings, save_embeddings
from tidyvoice.scoring.lineage import read_lineage
from tidyvoice.scoring.trials import read_scores


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


def test_centring_is_stated(folder, tmp_path):
    said = score(folder, "dev", tmp_path / "s")
    assert f"less the mean of 480 in {folder / 'train.npz'}" in said
    step = read_lineage(tmp_path / "s").steps[0]
    assert step.step == "cosine"
    assert "sha256" in step.inputs["mean"]
    assert (step.in_sample, step.unchecked) == ((), ())
    said = succeed(
        "score", "--embeddings", folder / "dev.npz", "--trials", folder / "dev.trials",
        "--out", tmp_path / "raw",
    )  # fmt: skip
    assert "not centred" in said
    assert not np.allclose(read_scores(tmp_path / "raw").scores, read_scores(tmp_path / "s").scores)


def test_scoring_refuses_speakers_that_are_evaluated(folder, tmp_path):
    command = (
        "score", "--embeddings", folder / "dev.npz", "--trials", folder / "dev.trials",
        "--out", tmp_path / "s", "--mean", folder / "dev.npz",
    )  # fmt: skip
    message = refusal(*command)
    assert "share 16 speakers (id0200, id0201, id0202, ...)" in message
    assert not list(tmp_path.iterdir())
    assert "IN-SAMPLE: the trials of" in succeed(*command, "--in-sample")
    assert len(read_lineage(tmp_path / "s").in_sample) == 1
    assert "IN-SAMPLE: the trials of" in succeed("metrics", tmp_path / "s")

    table = load_embeddings(folder / "dev.npz")
    save_embeddings(tmp_path / "leaky.npz", table.ids, table.vectors, ["id0203", "x"])
    message = refusal(
        "score", "--embeddings", tmp_path / "leaky.npz", "--trials", folder / "dev.trials",
        "--out", tmp_path / "t",
    )  # fmt: skip
    assert "the training of the model" in message
    assert "1 speakers (id0203)" in message


@pytest.mark.parametrize("method", ["asnorm", "snorm", "language"])
def test_normalisation_helps_and_is_kept_in_mind(folder, tmp_path, method):
    normalize(folder, "dev", tmp_path / "n", "--method", method)
    raw, normal = pooled(folder / "dev.score"), pooled(tmp_path / "n")
    assert normal.eer < raw.eer + 0.005
    steps = read_lineage(tmp_path / "n").steps
    assert [step.step for step in steps] == ["cosine", method]
    assert "40 speakers of" in steps[1].text
    assert pooled(tmp_path / "n").targets == raw.targets


def test_a_cohort_of_evaluated_speakers_is_refused(folder, tmp_path):
    command = (
        "normalize", folder / "dev.score", "--embeddings", folder / "dev.npz", "--cohort",
        folder / "dev.npz", "--cohort-utt2spk", folder / "dev/utt2spk", "--mean",
        folder / "train.npz", "--out", tmp_path / "n", "--top-n", 10,
    )  # fmt: skip
    assert "and the cohort" in refusal(*command)
    assert not list(tmp_path.iterdir())
    assert json.loads(succeed(*command, "--in-sample", "--json"))["in_sample"]


def test_unlabelled_lists_pass_through_everything(folder, tmp_path):
    first = normalize(folder, "eval", tmp_path / "n")
    assert "not checked: the trials of" in first
    again = normalize(
        folder, "eval", tmp_path / "l", "--method", "language", "--blind", "--cohort-utt2lang",
        folder / "train/utt2lang",
    )  # fmt: skip
    assert "languages guessed" in again
    message = normalize(folder, "eval", tmp_path / "x", "--method", "language", call=refusal)
    assert "give --utt2lang, or --blind" in message
    normalize(folder, "calib", tmp_path / "calib")
    normalize(folder, "dev", tmp_path / "dev")
    fit = ("--fit", tmp_path / "calib")
    succeed("calibrate", *fit, "--apply", tmp_path / "n", "--out", tmp_path / "eval-llr")
    succeed("calibrate", *fit, "--apply", tmp_path / "dev", "--out", tmp_path / "dev-llr")
    flat, labelled = read_scores(tmp_path / "eval-llr"), read_scores(tmp_path / "dev-llr")
    assert flat.trials.label is None
    np.testing.assert_allclose(flat.scores, labelled.scores, atol=1e-6)
    assert len((tmp_path / "eval-llr").read_text().split("\n")[0].split()) == 3


def test_calibration_on_other_speakers(folder, tmp_path):
    command = ("calibrate", "--fit", folder / "calib.score", "--apply", folder / "dev.score")
    saved = ("--save", tmp_path / "c.json")
    succeed(*command, "--out", tmp_path / "llr", "--prior", 0.1, *saved)
    raw, made = pooled(folder / "dev.score"), pooled(tmp_path / "llr")
    assert made.eer == pytest.approx(raw.eer)
    assert made.cllr < made.min_cllr + 0.05 < raw.cllr
    assert read_lineage(tmp_path / "llr").calibrated
    use = ("calibrate", "--use", tmp_path / "c.json", "--apply")
    succeed(*use, folder / "dev.score", "--out", tmp_path / "again")
    np.testing.assert_array_equal(
        read_scores(tmp_path / "again").scores, read_scores(tmp_path / "llr").scores
    )
    for fitted in (command[:3], use[:3]):
        message = refusal(*fitted, "--apply", folder / "calib.score", "--out", tmp_path / "x")
        assert "share 16 speakers" in message
    assert not (tmp_path / "x").exists()


def test_every_quality_measure_is_fitted_and_applied(folder, tmp_path):
    command = (
        "calibrate", "--fit", folder / "calib.score", "--apply", folder / "dev.score",
        "--utt2dur", folder / "calib/utt2dur", "--utt2dur", folder / "dev/utt2dur",
        "--embeddings", folder / "calib.npz", "--embeddings", folder / "dev.npz",
        "--language-match", "--cohort", folder / "train.npz",
        "--cohort-utt2spk", folder / "train/utt2spk", "--top-n", 20,
        "--mean", folder / "train.npz", "--prior", 0.1,
    )  # fmt: skip
    succeed(*command, "--out", tmp_path / "llr", "--save", tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text())["names"] == [
        "score", "smaller log duration", "larger log duration", "smaller log magnitude",
        "larger log magnitude", "smaller cohort score", "larger cohort score", "language match",
    ]  # fmt: skip
    assert pooled(tmp_path / "llr").eer < pooled(folder / "dev.score").eer
    blind = (*command, "--blind", "--cohort-utt2lang", folder / "train/utt2lang")
    succeed(*blind, "--out", tmp_path / "blind")
    assert not np.allclose(
        read_scores(tmp_path / "blind").scores, read_scores(tmp_path / "llr").scores
    )
    message = refusal("calibrate", "--use", tmp_path / "c.json", "--apply", folder / "dev.score",
                      "--out", tmp_path / "x")  # fmt: skip
    assert "it is given [score]" in message


def test_what_was_in_sample_stays_so_through_a_saved_calibration(folder, tmp_path):
    leaky = ("--cohort", folder / "calib.npz", "--cohort-utt2spk", folder / "calib/utt2spk")
    for name in ("calib", "dev"):
        normalize(folder, name, tmp_path / name, *leaky, "--top-n", 10, "--in-sample")
    fit = ("calibrate", "--fit", tmp_path / "calib", "--apply", tmp_path / "dev")
    succeed(*fit, "--save", tmp_path / "c", "--out", tmp_path / "a")
    succeed("calibrate", "--use", tmp_path / "c", "--apply", tmp_path / "dev", "--out",
            tmp_path / "b")  # fmt: skip
    for made in ("a", "b"):
        assert "the cohort" in read_lineage(tmp_path / made).in_sample[0]


def test_measures_must_not_know_the_speakers_either(folder, tmp_path):
    command = (
        "calibrate", "--fit", folder / "calib.score", "--apply", folder / "dev.score",
        "--embeddings", folder / "calib.npz", "--embeddings", folder / "dev.npz",
        "--top-n", 10, "--out", tmp_path / "x",
    )  # fmt: skip
    cohort = ("--cohort", folder / "dev.npz", "--cohort-utt2spk", folder / "dev/utt2spk")
    assert "and the cohort" in refusal(*command, *cohort)
    fair = ("--cohort", folder / "train.npz", "--cohort-utt2spk", folder / "train/utt2spk")
    assert "and the mean of" in refusal(*command, *fair, "--mean", folder / "dev.npz")
    assert not (tmp_path / "x").exists()


def test_languages_that_the_cohort_lacks_are_told(folder, tmp_path):
    spoken = (folder / "dev/utt2lang").read_text()
    (tmp_path / "some").write_text(spoken.replace(" sw\n", " xx\n"))
    (tmp_path / "all").write_text(spoken.replace("\n", "x\n"))
    method = ("--method", "language", "--utt2lang")
    said = normalize(folder, "dev", tmp_path / "n", *method, tmp_path / "some")
    assert "warning: " in said
    assert "1 of 3 languages not in the cohort (xx): they are measured against all" in said
    assert "1 of 3 languages not in the cohort" in read_lineage(tmp_path / "n").steps[1].text
    message = normalize(folder, "dev", tmp_path / "x", *method, tmp_path / "all", call=refusal)
    assert "name the languages alike" in message


def test_cross_fitting_needs_no_other_speakers(folder, tmp_path):
    command = ("calibrate", "--cross-fit", 4, "--apply", folder / "dev.score")
    said = succeed(*command, "--out", tmp_path / "llr", "--prior", 0.1)
    assert "cross-fitting over 4 folds of 16 speakers" in said
    assert pooled(tmp_path / "llr").cllr < pooled(folder / "dev.score").cllr
    assert read_lineage(tmp_path / "llr").in_sample == []
    message = refusal("calibrate", "--cross-fit", 4, "--apply", folder / "eval.score", "--out",
                      tmp_path / "x")  # fmt: skip
    assert "its ids tell no speaker; give --utt2spk" in message


def test_fusion_beats_its_parts(folder, tmp_path):
    rng = np.random.Generator(np.random.PCG64(23))
    names = {}
    for name in ("calib", "dev"):
        table = load_embeddings(folder / f"{name}.npz")
        other = table.vectors + rng.standard_normal(table.vectors.shape).astype(np.float32)
        save_embeddings(tmp_path / f"{name}.npz", table.ids, other, table.trained_on)
        succeed(
            "score", "--embeddings", tmp_path / f"{name}.npz", "--trials",
            folder / f"{name}.trials", "--mean", folder / "train.npz",
            "--out", tmp_path / f"{name}.score",
        )  # fmt: skip
        names[name] = (folder / f"{name}.score", tmp_path / f"{name}.score")
    succeed("fuse", "--fit", *names["calib"], "--apply", *names["dev"], "--prior", 0.1, "--out",
            tmp_path / "fused")  # fmt: skip
    fused = pooled(tmp_path / "fused")
    assert fused.min_cllr <= min(pooled(path).min_cllr for path in names["dev"]) + 1e-3
    assert fused.cllr < fused.min_cllr + 0.05
    lineage = read_lineage(tmp_path / "fused")
    assert lineage.calibrated
    assert "system 2" in lineage.steps[0].inputs
    message = refusal("fuse", "--fit", names["calib"][0], "--apply", *names["dev"], "--out",
                      tmp_path / "x")  # fmt: skip
    assert "--fit has 1 score files, --apply 2" in message
    message = refusal("fuse", "--fit", *names["calib"], "--apply", names["dev"][0],
                      names["calib"][0], "--out", tmp_path / "x")  # fmt: skip
    assert "differ in line 1" in message or "hold" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fit", "a", "--cross-fit", "3", "--apply", "b"), "--fit and --cross-fit"),
        (("--apply", "b"), "none of them is given"),
        (("--fit", "a"), "--apply is missing"),
        (("--cross-fit", "3", "--apply", "b", "--save", "c"), "only what --fit makes is kept"),
        (("--fit", "a", "--apply", "b", "--cohort", "c"), "--cohort needs --cohort-utt2spk"),
        (("--use", "a", "--apply", "b", "--prior", "0.1"), "--prior: a has been fitted already"),
        (("--fit", "a", "--apply", "b", "--top-n", "9"), "--top-n: it is of use with --cohort"),
        (("--fit", "a", "--apply", "b", "--mean", "m"), "--mean: it is of use with --cohort"),
    ],
)
def test_a_wrong_call_says_what_is_right(tmp_path, arguments, message):
    assert message in refusal("calibrate", "--out", tmp_path / "x", *arguments)


def test_options_and_files_of_no_use_are_refused(folder, tmp_path):
    asnorm = ("normalize", folder / "dev.score", "--embeddings", folder / "dev.npz", "--cohort",
              folder / "train.npz", "--cohort-utt2spk", folder / "train" / "utt2spk", "--out",
              tmp_path / "x")  # fmt: skip
    assert "--blind: only --method language minds" in refusal(*asnorm, "--blind")
    dev = folder / "dev.score"
    assert "20 resamples are too few" in refusal("metrics", dev, "--bootstrap", 20)
    assert f"{folder} is a folder; give" in refusal("metrics", folder)
    missing = refusal("metrics", dev, "--utt2lang", tmp_path / "none")
    assert "none is missing; give a file of lines 'utterance language'" in missing
    assert "b'" not in refusal("metrics", folder / "dev.npz")
    assert len(refusal("metrics", folder / "dev.npz")) < 400
    assert "is a score file: name the page" in refusal("report", dev)
    durations = tmp_path / "utt2dur"
    durations.write_text("".join(f"{i} long\n" for i in load_embeddings(folder / "dev.npz").ids))
    said = refusal("calibrate", "--fit", dev, "--apply", dev, "--utt2dur", durations, "--out",
                   tmp_path / "x")  # fmt: skip
    assert f"{durations}: the duration of 'id0200/en/0.wav' is 'long'; give seconds" in said


def test_embeddings_of_different_models_are_not_compared(folder, tmp_path):
    for name in ("dev", "train"):
        table = load_embeddings(folder / f"{name}.npz")
        for model in ("one", "other"):
            save_embeddings(tmp_path / f"{name}-{model}.npz", table.ids, table.vectors,
                            table.trained_on, model)  # fmt: skip
    assert load_embeddings(tmp_path / "dev-one.npz").model == "one"
    score = ("score", "--embeddings", tmp_path / "dev-one.npz", "--trials", folder / "dev.trials",
             "--out", tmp_path / "s", "--mean")  # fmt: skip
    said = refusal(*score, tmp_path / "train-other.npz")
    assert "dev-one.npz and " in said
    assert "train-other.npz are embeddings of different models" in said
    succeed(*score, tmp_path / "train-one.npz")
    normalize = ("normalize", tmp_path / "s", "--embeddings", tmp_path / "dev-one.npz", "--mean",
                 tmp_path / "train-one.npz", "--cohort-utt2spk", folder / "train/utt2spk",
                 "--top-n", 10, "--out", tmp_path / "n", "--cohort")  # fmt: skip
    assert "different models" in refusal(*normalize, tmp_path / "train-other.npz")
    # Tables of other programs do not say.
    succeed(*normalize, folder / "train.npz")


def test_a_path_with_an_equals_sign_can_be_compared(folder, tmp_path):
    odd = tmp_path / "lr=0.1.score"
    odd.write_bytes((folder / "dev.score").read_bytes())
    for other, called in ((odd, "lr=0.1"), (f"mine={odd}", "mine")):
        found = succeed("report", folder / "dev.score", "--out", tmp_path / "page.html",
                        "--bootstrap", 0, "--json", "--compare", other)  # fmt: skip
        assert called in json.loads(found)["systems"]


def test_metrics_by_language_with_intervals(folder):
    scores = folder / "dev.score"
    text = succeed("metrics", scores, "--bootstrap", 100, "--languages", "--pairs")
    assert "en – fr" in text
    found = json.loads(succeed("metrics", scores, "--bootstrap", 100, "--languages", "--json"))
    assert len(found["languages"]) == 3
    low, high = found["categories"][0]["eer_interval"]
    assert low < found["categories"][0]["eer"] < high
    assert json.loads(succeed("metrics", scores, "--json"))["categories"][0]["eer_interval"] is None
    costs = json.loads(succeed("metrics", scores, "--p-target", 0.3, "--c-fa", 2, "--json"))
    points = costs["categories"][0]["points"]
    assert [point["costs"] for point in points] == [{"p_target": 0.3, "c_miss": 1.0, "c_fa": 2.0}]


def test_trials_of_a_data_folder(folder, tmp_path):
    command = ("trials", folder / "calib", "--targets", 600, "--nontargets", 400)
    succeed(*command, "--out", tmp_path / "a")
    succeed(*command, "--out", tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    made = json.loads(succeed(*command, "--out", tmp_path / "c", "--seed", 2, "--json"))
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()
    # 16 speakers have 3 x 6 same-language pairs each: 288 of the 300 asked for.
    assert (made["targets"], made["nontargets"]) == (588, 400)
    assert made["lacking"] == {"same-language targets": 12}
    lines = [line.split() for line in (tmp_path / "a").read_text().splitlines()]
    assert all((a.split("/")[0] == b.split("/")[0]) == (k == "target") for a, b, k in lines)


def test_several_files_after_one_option():
    assert spread(["fuse", "--fit", "a", "b", "--apply", "c", "d", "--out", "e", "f"]) == [
        "fuse", "--fit", "a", "--fit", "b", "--apply", "c", "--apply", "d", "--out", "e", "f",
    ]  # fmt: skip

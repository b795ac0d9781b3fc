"""From files to calibrated scores by the commands: what is fair, what is said, what is kept."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tidyvoice.cli import app, spread
from tidyvoice.embeddings import load_embeddings, save_embeddings
from tidyvoice.scoring.categories import evaluate
from tidyvoice.scoring.lineage import read_lineage
from tidyvoice.scoring.trials import read_scores

LANGUAGES = ("en", "fr", "sw")


def invoke(*arguments):
    return CliRunner().invoke(app, spread([str(argument) for argument in arguments]))


def succeed(*arguments) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def refusal(*arguments) -> str:
    result = invoke(*arguments)
    assert result.exit_code == 1, result.output
    lines = result.output.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    return lines[0]


def write_set(folder: Path, name: str, first: int, speakers: int, trained_on: list[str]) -> None:
    """A data folder and embeddings: speaker, language and channel each pull at them."""
    rng = np.random.Generator(np.random.PCG64([first, 21]))
    voices = rng.standard_normal((speakers, 24))
    tongues = np.random.Generator(np.random.PCG64(22)).standard_normal((3, 24))
    ids, vectors = [], []
    for speaker in range(speakers):
        for number in range(12):
            spoken = number % 3
            ids.append(f"id{first + speaker:04d}/{LANGUAGES[spoken]}/{number}.wav")
            noise = rng.standard_normal(24)
            vectors.append(voices[speaker] + 0.6 * tongues[spoken] + 0.9 * noise + 0.5)
    data = folder / name
    data.mkdir(parents=True)
    for table, value in (
        ("wav.scp", lambda i: f"/nowhere/{i}"),
        ("utt2spk", lambda i: i.split("/")[0]),
        ("utt2lang", lambda i: i.split("/")[1]),
        ("utt2dur", lambda i: f"{2 + int(i.split('/')[2][:-4]) / 4}"),
    ):
        (data / table).write_text("".join(f"{i} {value(i)}\n" for i in sorted(ids)))
    save_embeddings(folder / f"{name}.npz", ids, np.array(vectors, dtype=np.float32), trained_on)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    trained_on = [f"id{n:04d}" for n in range(40)]
    for name, first, speakers in (("train", 0, 40), ("calib", 100, 16), ("dev", 200, 16)):
        write_set(folder, name, first, speakers, trained_on)
    for name in ("calib", "dev"):
        numbers = ("--targets", 700, "--nontargets", 1500)
        succeed("trials", folder / name, "--out", folder / f"{name}.trials", *numbers)
        score(folder, name, folder / f"{name}.score")
    # An evaluation list as the challenge gives it: flat ids, no labels.
    table, flat = load_embeddings(folder / "dev.npz"), {}
    for number, utterance in enumerate(table.ids):
        flat[utterance] = f"j{number:05d}"
    save_embeddings(folder / "eval.npz", list(flat.values()), table.vectors)
    lines = (folder / "dev.trials").read_text().splitlines()
    pairs = ["\t".join(flat[word] for word in line.split()[:2]) for line in lines]
    (folder / "eval.trials").write_text("\n".join(pairs) + "\n")
    score(folder, "eval", folder / "eval.score")
    return folder


def score(folder: Path, name: str, out: Path, *more) -> str:
    return succeed(
        "score", "--embeddings", folder / f"{name}.npz", "--trials", folder / f"{name}.trials",
        "--mean", folder / "train.npz", "--out", out, *more,
    )  # fmt: skip


def normalize(folder: Path, name: str, out: Path, *more, call=succeed) -> str:
    return call(
        "normalize", folder / f"{name}.score", "--embeddings", folder / f"{name}.npz",
        "--cohort", folder / "train.npz", "--cohort-utt2spk", folder / "train/utt2spk",
        "--mean", folder / "train.npz", "--out", out, "--top-n", 20, *more,
    )  # fmt: skip


def pooled(path: Path):
    return evaluate(read_scores(path), None)[0]


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


def test_a_calibration_is_of_scores_made_alike(folder, tmp_path):
    normalize(folder, "dev", tmp_path / "dev")
    command = ("calibrate", "--fit", folder / "calib.score", "--apply")
    message = refusal(*command, tmp_path / "dev", "--out", tmp_path / "x")
    assert "was made by cosine (mean" in message
    assert "treat both lists alike" in message
    succeed(*command, folder / "dev.score", "--out", tmp_path / "y", "--save", tmp_path / "c")
    message = refusal("calibrate", "--use", tmp_path / "c", "--apply", tmp_path / "dev", "--out",
                      tmp_path / "x")  # fmt: skip
    assert "asnorm (cohort" in message
    bare = tmp_path / "bare"
    bare.write_bytes((folder / "dev.score").read_bytes())
    said = succeed(*command, bare, "--out", tmp_path / "z")
    assert "not checked" in said
    assert "how both were made is not known" in said
    message = refusal(*command, folder / "dev.score", bare, "--out", tmp_path / "x")
    assert "give one score file each" in message
    assert not (tmp_path / "x").exists()


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


SCORE = "score --embeddings dev.npz --trials dev.trials --mean train.npz --utt2spk dev/utt2spk"
NORMALIZE = (
    "normalize dev.score --embeddings dev.npz --cohort train.npz --cohort-utt2spk train/utt2spk "
    "--cohort-utt2lang train/utt2lang --method language --utt2lang dev/utt2lang --mean calib.npz"
)
CALIBRATE = (
    "calibrate --apply dev.score --utt2dur dev/utt2dur --embeddings dev.npz --cohort train.npz "
    "--cohort-utt2spk train/utt2spk --mean calib.npz --language-match --utt2lang dev/utt2lang"
)


@pytest.mark.parametrize(
    ("command", "outputs"),
    [
        (SCORE, "dev.npz dev.trials train.npz dev/utt2spk"),
        (NORMALIZE, "dev.score dev.score.json train.npz train/utt2spk train/utt2lang"),
        (NORMALIZE, "calib.npz dev/utt2lang"),
        (f"{CALIBRATE} --fit calib.score", "calib.score.json dev/utt2dur dev.npz train.npz"),
        (f"{CALIBRATE} --fit calib.score", "train/utt2spk calib.npz dev/utt2lang"),
        (f"{CALIBRATE} --cross-fit 3", "dev.score calib.npz"),
        (f"{CALIBRATE} --use calib.score", "calib.score calib.npz"),
        ("report dev.score --bootstrap 0", "dev.score dev.score.json"),
        ("report dev.score --compare calib.score --utt2lang dev/utt2lang", "calib.score"),
        ("report dev.score --utt2spk dev/utt2spk --utt2lang dev/utt2lang", "dev/utt2lang"),
        (f"{CALIBRATE} --fit calib.score --out x --save", "calib.score dev.score train.npz"),
        (f"{CALIBRATE} --fit calib.score --out x --save", "dev.score.json"),
    ],
)
def test_no_input_is_written_over(folder, monkeypatch, command, outputs):
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for name in outputs.split():
        last = [] if command.endswith("--save") else ["--out"]
        message = refusal(*command.split(), *last, name)
        assert f"{name} is read, and would be written over" in message
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_output_takes_the_place_of_another_or_of_a_foreign_file(folder, tmp_path):
    fit = ("calibrate", "--fit", folder / "calib.score", "--apply", folder / "dev.score")
    for name in ("c", "c.json"):
        message = refusal(*fit, "--out", tmp_path / "c", "--save", tmp_path / name)
        assert f"{tmp_path / name} would be written twice" in message
    assert not list(tmp_path.iterdir())
    mine = tmp_path / "mine.json"
    for content in ('{"my": "work"}', "[1, 2]", "3", "no JSON"):
        mine.write_text(content)
        message = refusal(*fit, "--out", tmp_path / "mine")
        assert f"{mine} does not say where scores come from" in message
        assert mine.read_text() == content
    mine.unlink()
    succeed(*fit, "--out", tmp_path / "mine")
    succeed(*fit, "--out", tmp_path / "mine")


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
    assert "20 resamples: the ends" in refusal("metrics", dev, "--bootstrap", 20)
    assert f"{folder} is a folder; give" in refusal("metrics", folder)
    missing = refusal("metrics", dev, "--utt2lang", tmp_path / "none")
    assert "none is missing; give a file of lines 'utterance language'" in missing
    assert "b'" not in refusal("metrics", folder / "dev.npz")
    assert len(refusal("metrics", folder / "dev.npz")) < 400
    assert "is a score file: say with --out" in refusal("report", dev)
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


def of_model(folder: Path, out: Path, model: str) -> Path:
    """The tables and the scores of calib and dev, said to be of a model."""
    out.mkdir()
    for name in ("calib", "dev", "train"):
        table = load_embeddings(folder / f"{name}.npz")
        save_embeddings(out / f"{name}.npz", table.ids, table.vectors, table.trained_on, model)
    for name in ("calib", "dev"):
        succeed("score", "--embeddings", out / f"{name}.npz", "--trials", folder / f"{name}.trials",
                "--out", out / f"{name}.score")  # fmt: skip
    return out


def without(path: Path, *roles: str) -> None:
    """Take roles out of what a lineage says, as one of an earlier version lacks them."""
    beside = path.with_name(f"{path.name}.json")
    content = json.loads(beside.read_text())
    for step in content["steps"]:
        for role in roles:
            step["how"].pop(role, None)
    beside.write_text(json.dumps(content))


def test_a_calibration_is_of_one_model(folder, tmp_path):
    one, other = (of_model(folder, tmp_path / name, name) for name in ("one", "other"))
    out, saved = ("--out", tmp_path / "x"), tmp_path / "c"
    fit = ("calibrate", "--fit", one / "calib.score", "--apply")
    use = ("calibrate", "--use", saved, "--apply")
    said = succeed(*fit, one / "dev.score", "--out", tmp_path / "llr", "--save", saved)
    assert "not checked" not in said
    for command in (fit, use):
        message = refusal(*command, other / "dev.score", *out)
        assert "was made by cosine (mean none, model other), but" in message
        assert "by cosine (mean none, model one)" in message
    systems = (one / "calib.score", other / "calib.score")
    fuse = ("fuse", "--fit", *systems, *out, "--apply")
    assert "in the same order" in refusal(*fuse, other / "dev.score", one / "dev.score")
    assert not (tmp_path / "x").exists()
    fused = ("fuse", "--use", tmp_path / "f", *out, "--apply", one / "dev.score")
    succeed(*fuse, one / "dev.score", other / "dev.score", "--save", tmp_path / "f")
    message = refusal(*fused, other / "dev.score", one / "dev.score")
    assert f"{tmp_path / 'f'}: fitted to the scores of 2 systems, 3 are given" in message
    assert "fitted to the scores of 2 systems, 1 are given" in refusal(
        "calibrate", "--use", tmp_path / "f", "--apply", one / "dev.score", *out
    )
    # Nothing was kept of the model by earlier versions.
    unknown = "whether the model of cosine is the same is not known"
    without(other / "dev.score", "model")
    assert unknown in succeed(*use, other / "dev.score", *out)
    without(one / "calib.score", "model")
    assert unknown in succeed(*fit, other / "dev.score", *out)


def test_what_has_no_effect_is_not_compared(folder, tmp_path):
    snorm, apply = ("--method", "snorm"), ("--apply", tmp_path / "dev", "--out", tmp_path / "x")
    normalize(folder, "calib", tmp_path / "calib", *snorm)
    normalize(folder, "dev", tmp_path / "dev", *snorm, "--top-n", 10)
    succeed("calibrate", "--fit", tmp_path / "calib", *apply)
    language = ("--method", "language")
    normalize(folder, "calib", tmp_path / "calib", *language)
    normalize(folder, "dev", tmp_path / "dev", *language, "--blind")
    message = refusal("calibrate", "--fit", tmp_path / "calib", *apply)
    assert "languages guessed" in message
    assert "languages known" in message
    without(tmp_path / "dev", "languages")
    said = succeed("calibrate", "--fit", tmp_path / "calib", *apply)
    assert "whether the languages of language is the same is not known" in said


def test_a_saved_calibration_is_of_measures_made_alike(folder, tmp_path):
    one, other = (of_model(folder, tmp_path / name, name) for name in ("one", "other"))
    saved, cohort = tmp_path / "c", ("--cohort-utt2spk", folder / "train/utt2spk", "--cohort")
    fit = ("--fit", folder / "calib.score", "--save", saved)

    def call(how, tables, members, top_n, *more, call=succeed):
        return call(
            "calibrate", *how, "--apply", folder / "dev.score", "--out", tmp_path / "x",
            "--embeddings", tables / "dev.npz", "--embeddings", tables / "calib.npz", *cohort,
            members / "train.npz", "--top-n", top_n, "--language-match", *more,
        )  # fmt: skip

    assert "embeddings of different models" in call(fit, one, other, 20, call=refusal)
    assert "embeddings of different models" in call(
        fit, one, one, 20, "--mean", other / "train.npz", call=refusal
    )
    call(fit, one, one, 20)
    use = ("--use", saved)
    call(use, one, one, 20)
    mean = ("--mean", one / "train.npz")
    blind = ("--blind", "--cohort-utt2lang", folder / "train/utt2lang")
    for arguments in ((other, other, 20), (one, folder, 20), (one, one, 19), (one, one, 20, *mean),
                      (one, one, 20, *blind)):  # fmt: skip
        message = call(use, *arguments, call=refusal)
        assert "dev.score was made by quality measures (cohort" in message
    content = json.loads(saved.read_text())
    del content["notes"]["measures"]  # as earlier versions saved it
    saved.write_text(json.dumps(content))
    assert "whether the top_n of quality measures is the same is not known" in call(
        use, one, one, 19
    )


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
    assert "en / fr" in text
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

"""What the commands that write scores refuse: to lose a file, to treat two lists unlike."""

import json
from pathlib import Path

import pytest

from tests.scoring.support import normalize, refusal, succeed, write_pipeline
from tidyvoice.scoring.embeddings import load_embeddings, save_embeddings

SCORE = "score --embeddings dev.npz --trials dev.trials --mean train.npz --utt2spk dev/utt2spk"
NORMALIZE = (
    "normalize dev.score --embeddings dev.npz --cohort train.npz --cohort-utt2spk train/utt2spk "
    "--cohort-utt2lang train/utt2lang --method language --utt2lang dev/utt2lang --mean calib.npz"
)
CALIBRATE = (
    "calibrate --apply dev.score --utt2dur dev/utt2dur --embeddings dev.npz --cohort train.npz "
    "--cohort-utt2spk train/utt2spk --mean calib.npz --language-match --utt2lang dev/utt2lang"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_pipeline(tmp_path_factory.mktemp("pipeline"))


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

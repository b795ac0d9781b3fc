"""Commands that write scores refuse to lose a file and to treat two lists differently."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import refusal, succeed
from tests.scoring.support import compare, normalize
from tidyvoice.scoring.embeddings import load_embeddings, save_embeddings

pytestmark = pytest.mark.usefixtures("scored")
SCORE = "score --embeddings dev.npz --trials dev.trials --utt2spk dev/utt2spk"
NORMALIZE = (
    "normalize --scores dev.score --embeddings dev.npz --cohort train.npz --cohort-utt2spk "
    "train/utt2spk --mean calib.npz"
)
CALIBRATE = "calibrate --apply dev.score --utt2dur dev/utt2dur --languages"
GUESSED = f"{CALIBRATE} guessed --embeddings dev.npz --backend backend.json"
FIT_BACKEND = (
    "fit-backend --embeddings train.npz --utt2spk train/utt2spk --utt2lang train/utt2lang "
    "--held-out calib.npz --trials calib.trials"
)
FIT = "calibrate --fit calib.score --apply"


@pytest.mark.parametrize(
    ("command", "outputs"),
    [
        (f"{SCORE} --mean train.npz", "dev.npz dev.trials train.npz dev/utt2spk"),
        (f"{SCORE} --backend backend.json", "backend.json"),
        (FIT_BACKEND, "train.npz train/utt2spk train/utt2lang calib.npz calib.trials"),
        (NORMALIZE, "dev.score dev.score.json train.npz train/utt2spk calib.npz"),
        (f"{GUESSED} --fit calib.score", "calib.score calib.score.json dev/utt2dur backend.json"),
        (f"{CALIBRATE} known --utt2lang dev/utt2lang --use c.json", "c.json dev/utt2lang"),
        (f"{CALIBRATE} train.npz --use calib.score", "train.npz"),
        ("report dev.score --compare calib.score --utt2lang dev/utt2lang", "calib.score"),
        (
            "submission --scores-a calib.score --scores-u dev.score --trials-a calib.trials "
            "--trials-u dev.trials",
            "dev.score dev.score.json calib.trials",
        ),
        (f"{GUESSED} --fit calib.score --out x --save", "calib.score dev.score.json dev.npz"),
    ],
)
def test_no_input_is_written_over(scored, command, outputs):
    before = {path: path.read_bytes() for path in scored.rglob("*") if path.is_file()}
    for name in outputs.split():
        out = "" if command.endswith("--save") else "--out"
        assert f"{name} is an input and would be overwritten" in refusal(f"{command} {out} {name}")
    assert before == {path: path.read_bytes() for path in scored.rglob("*") if path.is_file()}


def test_no_output_takes_the_place_of_another_or_of_a_foreign_file(tmp_path):
    for name in ("c", "c.json"):
        message = refusal(f"{FIT} dev.score --out {tmp_path}/c --save {tmp_path}/{name}")
        assert f"{tmp_path / name} is the name of two outputs" in message
    assert not list(tmp_path.iterdir())
    assert "names in .json" in refusal(f"{FIT} dev.score --out {tmp_path}/dev.score.json")
    assert "between 1e-30 and 1" in refusal(f"{FIT} dev.score --prior 1e-320 --out {tmp_path}/c")
    mine = tmp_path / "mine.json"
    mine.write_text('{"my": "work"}')
    assert f"{mine} would be replaced" in refusal(f"{FIT} dev.score --out {tmp_path}/mine")


def test_a_calibration_is_of_scores_made_alike(tmp_path):
    normalize("dev", tmp_path / "dev")
    out = f"--out {tmp_path}/x"
    succeed(f"{FIT} dev.score --out {tmp_path}/y --save {tmp_path}/c")
    for way in (FIT, f"calibrate --use {tmp_path}/c --apply"):
        assert "was made by cosine, asnorm, but" in refusal(f"{way} {tmp_path}/dev {out}")
    assert not (tmp_path / "x").exists()
    (tmp_path / "bare").write_bytes(Path("dev.score").read_bytes())
    assert "how at least one of them was made is not known" in succeed(
        f"{FIT} {tmp_path}/bare {out}"
    )


@pytest.mark.parametrize(("value", "shown"), [("0.25", "0.25 and 0.25"), ("1e300", "1e+300")])
def test_scores_that_tell_nothing_or_overflow_are_not_calibrated(tmp_path, value, shown):
    rows = [line.split() for line in Path("dev.score").read_text().splitlines()]
    text = [f"{enroll} {test} {value} {label}\n" for enroll, test, _, label in rows]
    (tmp_path / "flat").write_text("".join(text))
    fuse = f"fuse --fit calib.score calib.score --apply dev.score {tmp_path}/flat"
    message = refusal(f"{fuse} --out {tmp_path}/x")
    assert f"{tmp_path}/flat: all scores are between" in message
    assert shown in message


def of_model(folder: Path, out: Path, model: str) -> Path:
    """The tables and the scores of calib and dev, said to be of a model."""
    out.mkdir()
    for name in ("calib", "dev", "train"):
        table = load_embeddings(folder / f"{name}.npz")
        save_embeddings(out / f"{name}.npz", table.ids, table.vectors, table.trained_on, model)
    for name in ("calib", "dev"):
        lists = f"--embeddings {out}/{name}.npz --trials {name}.trials"
        succeed(f"score {lists} --out {out}/{name}.score")
    return out


def test_a_calibration_is_of_one_model(scored, tmp_path):
    one, other = (of_model(scored, tmp_path / name, name) for name in ("one", "other"))
    out, saved = f"--out {tmp_path}/x", tmp_path / "c"
    fit = f"calibrate --fit {one}/calib.score"
    text = succeed(f"{fit} --apply {one}/dev.score --out {tmp_path}/llr --save {saved}")
    assert "not checked" not in text
    for way in (fit, f"calibrate --use {saved}"):
        assert "differ in the model of cosine" in refusal(f"{way} --apply {other}/dev.score {out}")
    fuse = f"fuse --fit {one}/calib.score {other}/calib.score {out} --apply"
    swapped = f"{other}/dev.score {one}/dev.score"
    assert "in the same order" in refusal(f"{fuse} {swapped}")
    assert not (tmp_path / "x").exists()
    succeed(f"{fuse} {one}/dev.score {other}/dev.score --save {tmp_path}/f")
    use = f"--use {tmp_path}/f {out} --apply"
    assert "of 2 systems, but --apply has 1" in refusal(f"calibrate {use} {one}/dev.score")


def test_what_has_no_effect_is_not_compared(tmp_path):
    calibrate = f"calibrate --fit {tmp_path}/calib --apply {tmp_path}/dev --out {tmp_path}/x"
    normalize("calib", tmp_path / "calib", "--method", "snorm")
    normalize("dev", tmp_path / "dev", "--method", "snorm", "--top-n", 10)
    succeed(calibrate)


def test_a_calibration_is_of_one_back_end(tmp_path):
    other, out = tmp_path / "other.json", f"--out {tmp_path}/x"
    succeed(f"fit-backend --embeddings train.npz --out {other}")
    for name in ("calib", "dev"):
        compare(name, tmp_path / name)
    compare("dev", tmp_path / "else", other)
    fit = f"calibrate --fit {tmp_path}/calib --apply"
    succeed(f"{fit} {tmp_path}/dev --save {tmp_path}/c {out}")
    for way in (fit, f"calibrate --use {tmp_path}/c --apply"):
        assert "differ in the backend. Treat" in refusal(f"{way} {tmp_path}/else {out}")


def test_a_saved_calibration_is_of_measures_made_alike(scored, tmp_path):
    one, other = (of_model(scored, tmp_path / name, name) for name in ("one", "other"))
    saved, alike = tmp_path / "c", tmp_path / "languages.npz"
    save_embeddings(alike, (ids := load_embeddings("dev.npz").ids), np.ones((len(ids), 2)))
    for name, option in (("with", "--cohort"), ("without", "--no-cohort")):
        succeed(f"fit-backend --embeddings {one}/train.npz {option} --out {one}/{name}.json")

    def line(way, tables, languages):
        return (
            f"calibrate {way} --apply dev.score --out {tmp_path}/x --embeddings {tables}/dev.npz "
            f"--embeddings {tables}/calib.npz --magnitude --languages {languages}"
        )

    fit, use = f"--fit calib.score --save {saved}", f"--use {saved}"
    guessed = f"guessed --backend {one}"
    message = refusal(line(fit, other, f"{guessed}/with.json"))
    assert f"{one}/with.json belongs to another model than {other}/dev.npz" in message
    for first, key, tables, languages in (
        (f"{guessed}/with.json", "backend", one, f"{guessed}/without.json"),
        ("known", "languages", one, alike),
        ("known", "model", other, "known"),
    ):
        succeed(line(fit, one, first))
        succeed(line(use, one, first))
        message = refusal(line(use, tables, languages))
        assert f"differ in the {key} of quality measures" in message
    content = json.loads(saved.read_text())
    content["origin"] = None
    saved.write_text(json.dumps(content))
    text = succeed(line(use, one, "known"))
    assert "whether they share the model of quality measures is not known" in text
    assert "share speakers: those of the calibration" in text

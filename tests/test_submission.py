"""The submission: the zip of the challenge, and every way in which it could be wrong."""

import json
import zipfile

import numpy as np
import pytest

from tests.conftest import refusal, succeed
from tidyvoice import submission
from tidyvoice.scoring.lineage import write_with_lineage
from tidyvoice.scoring.provenance import Remark, Source, Step
from tidyvoice.scoring.trials import read_scores

IDS = [f"j8pvmcu6{n:03d}" for n in range(40)]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two lists, of 30 and 20 trials, and their scores."""
    assert submission.TRIALS == {"A": 4_000_000, "U": 1_280_000}
    monkeypatch.setattr(submission, "TRIALS", {"A": 30, "U": 20})
    rng = np.random.Generator(np.random.PCG64(1))
    for which, count in (("A", 30), ("U", 20)):
        pairs = [(IDS[n], IDS[(n * 3 + 1 + (which == "U")) % 40]) for n in range(count)]
        scores = rng.standard_normal(count) * 10.0 ** rng.integers(-12, 12, count)
        # The lists with ".wav", which the scores lack; tabs in one of them.
        mark = "\t" if which == "A" else " "
        (tmp_path / f"tv26_eval-{which}.txt").write_text(
            "".join(f"{a}.wav{mark}{b}.wav\n" for a, b in pairs)
        )
        (tmp_path / f"{which}.score").write_text(
            "".join(f"{a} {b} {s:.16e}\n" for (a, b), s in zip(pairs, scores, strict=True))
        )
    return tmp_path


def line(files, out="s.zip"):
    options = [f"--scores-{w.lower()} {files}/{w}.score" for w in "AU"]
    options += [f"--trials-{w.lower()} {files}/tv26_eval-{w}.txt" for w in "AU"]
    return f"submission --out {files}/{out} {' '.join(options)}"


def test_it_holds_all_digits_of_the_scores_in_the_order_of_the_lists(files):
    row = json.loads(succeed(f"{line(files)} --json"))
    assert row["submission"] == str(files / "s.zip")
    assert row["lines"] == {"tv26_eval-A.txt": 30, "tv26_eval-U.txt": 20}
    assert row["in_sample"] == row["confounded"] == []
    with zipfile.ZipFile(files / "s.zip") as archive:
        assert archive.namelist() == ["tv26_eval-A.txt", "tv26_eval-U.txt"]
        for which in "AU":
            *lines, last = archive.read(f"tv26_eval-{which}.txt").decode().split("\n")
            assert last == ""
            scores = read_scores(files / f"{which}.score").scores
            assert list(map(float, lines)) == scores.tolist()
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert (info.external_attr >> 16, info.create_system) == (0o100644, 3)
            assert info.compress_type == zipfile.ZIP_DEFLATED
    # The same scores give the same bytes, also with labels.
    for which in "AU":
        path = files / f"{which}.score"
        path.write_text("".join(f"{line} target\n" for line in path.read_text().splitlines()))
    assert row["sha256"] in succeed(line(files, "again.zip"))
    assert (files / "again.zip").read_bytes() == (files / "s.zip").read_bytes()


@pytest.mark.parametrize(
    ("name", "line_number", "text", "message"),
    [
        ("A.score", 30, f"{IDS[8]} {IDS[29]} 1", f"A.score:30 has '{IDS[8]} {IDS[29]}', but"),
        ("A.score", 30, None, "A.score:29: the file ends here"),
        ("A.score", 31, "x y 1", "A.txt:30: the file ends here"),
    ],
)
def test_a_wrong_input_is_named(files, name, line_number, text, message):
    (files / "s.zip").write_bytes(b"the one before")
    lines = (files / name).read_text().splitlines()
    lines[line_number - 1 : line_number] = [] if text is None else [text]
    (files / name).write_text("\n".join(lines) + "\n")
    assert message in refusal(line(files))
    assert (files / "s.zip").read_bytes() == b"the one before"
    assert len(list(files.iterdir())) == 5


@pytest.mark.parametrize(("shift", "flip"), [(0, 0xFF), (1e-3, 0)])
def test_a_zip_that_does_not_read_back_is_not_kept(files, monkeypatch, shift, flip):
    write = submission._write

    def damaged(path, scored):
        write(path, {name: scores + shift for name, scores in scored.items()})
        content = bytearray(path.read_bytes())
        content[60] ^= flip
        path.write_bytes(content)

    monkeypatch.setattr(submission, "_write", damaged)
    assert "s.zip is not a readable copy of the scores" in refusal(line(files))
    assert not list(files.glob("*.zip"))


FITTED = Source(role="backend", path="backend.json")
BACKEND = Step(step="backend", inputs=(FITTED,), settings={"title": "LDA, cohort offsets"})


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([Step(step="cosine")], "plain cosine"),
        ([BACKEND, Step(step="calibration")], "LDA, cohort offsets, calibrated"),
    ],
)
def test_the_command_names_the_systems_and_their_flaws(files, steps, expected):
    write_with_lineage(files / "A.score", read_scores(files / "A.score"), steps)
    text = succeed(f"{line(files)} --name tuned")
    assert f"tv26_eval-A.txt: tuned, {expected}; 30 scores\n" in text
    assert "tv26_eval-U.txt: tuned, system not known; 20 scores\n" in text
    one, details = Source(role="trials", path="eval"), {"areas": {"language similarity": 0.8}}
    remark = Remark(kind="confounded", reason="separating", one=one, details=details)
    step = Step(step="calibration", remarks=(remark,))
    write_with_lineage(files / "U.score", read_scores(files / "U.score"), [step])
    assert "U.score is CONFOUNDED: quality measures alone" in succeed(line(files))


def test_lists_of_another_length_need_an_option(files, monkeypatch):
    monkeypatch.setitem(submission.TRIALS, "A", 31)
    assert "A.txt: 30 trials, but the challenge's list A has 31" in refusal(line(files))
    succeed(f"{line(files)} --any-count")

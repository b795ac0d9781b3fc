"""The submission: the zip of the challenge, and every way in which it could be wrong."""

import json
import zipfile

import numpy as np
import pytest

from tests.scoring.support import invoke, refusal, refused, succeed
from tidyvoice import submission
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.scoring.lineage import write_with_lineage
from tidyvoice.scoring.provenance import Remark, Source, Step
from tidyvoice.scoring.trials import read_scores, write_scores
from tidyvoice.submission import write_submission

IDS = [f"j8pvmcu6{n:03d}" for n in range(40)]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two lists, of 30 and 20 trials, and their scores."""
    monkeypatch.setattr(submission, "TRIALS", {"A": 30, "U": 20})
    rng = np.random.Generator(np.random.PCG64(1))
    for which, count in (("A", 30), ("U", 20)):
        pairs = [(IDS[n], IDS[(n * 3 + 1 + (which == "U")) % 40]) for n in range(count)]
        scores = rng.standard_normal(count).astype(np.float32)
        # The lists with ".wav", which the scores lack; tabs in one of them.
        mark = "\t" if which == "A" else " "
        (tmp_path / f"tv26_eval-{which}.txt").write_text(
            "".join(f"{a}.wav{mark}{b}.wav\n" for a, b in pairs)
        )
        (tmp_path / f"{which}.score").write_text(
            "".join(f"{a} {b} {s!s}\n" for (a, b), s in zip(pairs, scores, strict=True))
        )
    return tmp_path


def pack(folder, out="submission.zip", any_count=False, lists="AU", scores="AU"):
    files = {which: folder / f"{name}.score" for which, name in zip("AU", scores, strict=True)}
    trials = {w: folder / f"tv26_eval-{name}.txt" for w, name in zip("AU", lists, strict=True)}
    return write_submission(folder / out, files, trials, any_count)


def edit(path, line, text):
    """Put ``text`` in place of a line (from 1); None removes it."""
    lines = path.read_text().splitlines()
    lines[line - 1 : line] = [] if text is None else [text]
    path.write_text("\n".join(lines) + "\n")


def test_it_holds_one_score_a_line_in_the_order_of_the_lists(files):
    assert pack(files).lines == {"tv26_eval-A.txt": 30, "tv26_eval-U.txt": 20}
    with zipfile.ZipFile(files / "submission.zip") as archive:
        assert archive.namelist() == ["tv26_eval-A.txt", "tv26_eval-U.txt"]
        for which in "AU":
            lines = archive.read(f"tv26_eval-{which}.txt").decode().split("\n")
            assert lines.pop() == ""
            expected = [text.split()[2] for text in (files / f"{which}.score").open()]
            np.testing.assert_array_equal(
                np.array(lines, np.float32), np.array(expected, np.float32)
            )


def test_the_same_scores_give_the_same_bytes(files):
    first = pack(files)
    for which in "AU":
        path = files / f"{which}.score"
        # With labels, as scores of a labelled list would be.
        path.write_text("".join(f"{line} target\n" for line in path.read_text().splitlines()))
    assert pack(files, "again.zip").sha256 == first.sha256
    assert (files / "again.zip").read_bytes() == (files / "submission.zip").read_bytes()
    with zipfile.ZipFile(files / "again.zip") as archive:
        for info in archive.infolist():
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            assert info.external_attr >> 16 == 0o100644
            assert (info.create_system, info.extra, info.comment) == (3, b"", b"")
            assert info.compress_type == zipfile.ZIP_DEFLATED


def test_each_score_keeps_all_its_digits_and_is_spelt_as_in_a_score_file(files):
    rng = np.random.Generator(np.random.PCG64(2))
    path = files / "A.score"
    values = rng.standard_normal(30) * 10.0 ** rng.integers(-12, 12, 30)
    lines = [" ".join(line.split()[:2]) for line in path.read_text().splitlines()]
    path.write_text("".join(f"{a} {v:.16e}\n" for a, v in zip(lines, values, strict=True)))
    pack(files)
    with zipfile.ZipFile(files / "submission.zip") as archive:
        words = archive.read("tv26_eval-A.txt").decode().split()
    assert [float(word) for word in words] == values.tolist()
    write_scores(path, read_scores(path))
    assert words == [line.split()[2] for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("name", "line", "text", "message"),
    [
        ("A.score", 1, f"{IDS[1]} {IDS[0]} 1", f"A.score:1 has '{IDS[1]} {IDS[0]}', but"),
        ("A.score", 30, f"{IDS[8]} {IDS[29]} 1", f"A.score:30 has '{IDS[8]} {IDS[29]}', but"),
        ("A.score", 9, None, "A.score:9 has 'j8pvmcu6009 "),
        ("A.score", 30, None, "A.score:29: the file ends here"),
        ("U.score", 20, "x y 1\nx z 1", "U.score:20 has 'x y', but"),
        ("A.score", 31, "x y 1", "A.txt:30: the file ends here"),
        ("A.score", 1, f"{IDS[0]} {IDS[1]}.wav 1", "are the same id without '.wav'"),
        ("A.score", 12, f"{IDS[11]} {IDS[34]} -inf", "A.score:12: the line is"),
        ("A.score", 12, f"{IDS[11]} {IDS[34]} nan", "A.score:12: the line is"),
        ("U.score", 3, "one two", "U.score:3: the line is 'one two'"),
        ("tv26_eval-A.txt", 30, None, "A.txt:29: 29 trials, but the challenge's list A has 30"),
        ("tv26_eval-U.txt", 20, "a b\nc d", "U.txt:21: 21 trials, but the challenge's list U"),
    ],
)
def test_a_wrong_input_names_the_first_offending_line(files, name, line, text, message):
    (files / "submission.zip").write_bytes(b"the one before")
    edit(files / name, line, text)
    assert message in refused(pack, files)
    assert (files / "submission.zip").read_bytes() == b"the one before"
    assert len(list(files.iterdir())) == 5


def test_swapped_lists_are_named(files):
    assert "swap A and U" in refused(pack, files, scores="UA")
    assert "List U has as many: swap A and U" in refused(pack, files, lists="UA")
    message = refused(pack, files, lists="UA", any_count=True)
    assert f"These are scores of {files}/tv26_eval-A.txt: swap A and U" in message


def test_the_lists_of_the_challenge_have_these_lengths():
    assert submission.TRIALS == {"A": 4_000_000, "U": 1_280_000}


@pytest.mark.parametrize("name", ["U.score", "U.score.json", "tv26_eval-A.txt"])
def test_an_input_is_not_written_over(files, name):
    (files / "U.score.json").write_text("{}")
    before = (files / name).read_bytes()
    assert f"{name} is an input and would be overwritten" in refused(pack, files, name)
    assert (files / name).read_bytes() == before


@pytest.mark.parametrize("damage", ["a byte", "a digit"])
def test_a_zip_that_does_not_read_back_is_not_kept(files, monkeypatch, damage):
    """Damaged as by a bad disk, or sound as a zip but with another score in it."""
    write = submission._write

    def damaged(path, scored):
        if damage == "a digit":
            write(path, {name: scores + 1e-3 for name, scores in scored.items()})
            return
        write(path, scored)
        content = bytearray(path.read_bytes())
        content[60] ^= 0xFF
        path.write_bytes(content)

    monkeypatch.setattr(submission, "_write", damaged)
    with pytest.raises(TidyVoiceError, match="does not hold the scores when it is read back"):
        pack(files)
    assert not list(files.glob("*.zip"))
    assert not list(files.glob(".*"))


def line(files):
    options = [f"--scores-{w.lower()} {files}/{w}.score" for w in "AU"]
    options += [f"--trials-{w.lower()} {files}/tv26_eval-{w}.txt" for w in "AU"]
    return f"submission --out {files}/s.zip {' '.join(options)}"


@pytest.mark.parametrize(
    ("kind", "reason", "details"),
    [
        ("in-sample", "shared", {"count": 2, "unit": "speakers"}),
        ("confounded", "separating", {"areas": {"language match": 0.8}}),
    ],
)
def test_results_that_are_too_optimistic_give_a_warning(files, kind, reason, details):
    source = Source(role="trials", path="eval")
    remark = Remark(kind=kind, reason=reason, one=source, other=source, details=details)
    path = files / "A.score"
    write_with_lineage(path, read_scores(path), [Step(step="cosine", remarks=(remark,))])
    with pytest.warns(TidyVoiceWarning, match=rf"A\.score is {kind.upper()}: "):
        (text,) = getattr(pack(files), kind.replace("-", "_"))
    assert "the trials of eval" in text


def test_the_command_prints_what_it_made(files):
    row = json.loads(succeed(f"{line(files)} --json"))
    assert row["submission"] == str(files / "s.zip")
    assert row["lines"] == {"tv26_eval-A.txt": 30, "tv26_eval-U.txt": 20}
    assert row["in_sample"] == []
    assert row["sha256"] in succeed(line(files))


MEAN = (Source(role="mean", path="train.npz", sha256="1f"),)
COSINE = Step(step="cosine", inputs=MEAN)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), "system not known"),
        ((Step(step="cosine"),), "plain cosine"),
        ((COSINE, Step(step="asnorm")), "centred cosine, AS-norm"),
        (
            (COSINE, Step(step="language", settings={"languages": "known"})),
            "centred cosine, language-aware norm",
        ),
        (
            (
                COSINE,
                Step(step="language", settings={"languages": "guessed"}),
                Step(step="calibration"),
            ),
            "centred cosine, blind language-aware norm, calibrated",
        ),
        ((Step(step="fusion"),), "fused and calibrated"),
    ],
)
def test_the_command_names_the_system_of_each_file(files, steps, expected):
    write_with_lineage(files / "A.score", read_scores(files / "A.score"), steps)
    text = succeed(f"{line(files)} --name tuned")
    assert f"tv26_eval-A.txt: tuned, {expected}; 30 scores\n" in text
    assert "tv26_eval-U.txt: tuned, system not known; 20 scores\n" in text
    assert json.loads(succeed(f"{line(files)} --json"))["systems"]["tv26_eval-A.txt"] == expected


def test_the_command_takes_lists_of_another_length_only_when_told(files):
    submission.TRIALS["A"] = 4_000_000
    assert "A.txt:30: 30 trials, but" in refusal(line(files))
    assert not (files / "s.zip").exists()
    assert invoke(f"{line(files)} --any-count").exit_code == 0

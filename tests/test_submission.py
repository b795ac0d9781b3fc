"""The submission: the zip that the challenge takes, and every way in which it could be wrong."""

import json
import zipfile

import numpy as np
import pytest
from typer.testing import CliRunner

from tidyvoice import submission
from tidyvoice.cli import app
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.scoring.lineage import Step, write_with_lineage
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


def pack(folder, out="submission.zip", any_count=False, **other):
    scores = {which: folder / f"{which}.score" for which in "AU"}
    trials = {which: folder / f"tv26_eval-{which}.txt" for which in "AU"}
    return write_submission(
        folder / out, other.get("scores", scores), other.get("trials", trials), any_count
    )


def edit(path, line, text):
    """Put ``text`` in place of a line (from 1); None removes it."""
    lines = path.read_text().splitlines()
    lines[line - 1 : line] = [] if text is None else [text]
    path.write_text("\n".join(lines) + "\n")


def test_it_holds_one_score_a_line_in_the_order_of_the_lists(files):
    made = pack(files)
    assert made.lines == {"tv26_eval-A.txt": 30, "tv26_eval-U.txt": 20}
    with zipfile.ZipFile(files / "submission.zip") as archive:
        assert archive.namelist() == ["tv26_eval-A.txt", "tv26_eval-U.txt"]
        for which in "AU":
            lines = archive.read(f"tv26_eval-{which}.txt").decode().split("\n")
            assert lines.pop() == ""
            expected = [text.split()[2] for text in (files / f"{which}.score").open()]
            np.testing.assert_array_equal(
                np.array(lines, np.float32), np.array(expected, np.float32)
            )


def test_the_same_scores_give_the_same_bytes_whatever_the_file_is(files):
    first = pack(files)
    for which in "AU":
        path = files / f"{which}.score"
        # With labels, as scores of a labelled list would be.
        path.write_text("".join(f"{line} target\n" for line in path.read_text().splitlines()))
    assert pack(files, "again.zip").sha256 == first.sha256
    assert (files / "again.zip").read_bytes() == (files / "submission.zip").read_bytes()


def test_nothing_in_the_zip_tells_when_or_by_whom_it_was_made(files):
    pack(files)
    with zipfile.ZipFile(files / "submission.zip") as archive:
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


@pytest.mark.parametrize("line", [1, 7, 8, 30])
def test_sides_that_are_exchanged_are_another_trial(files, line):
    path = files / "A.score"
    enroll, test, score = path.read_text().splitlines()[line - 1].split()
    edit(path, line, f"{test} {enroll} {score}")
    with pytest.raises(
        TidyVoiceError, match=rf"A\.score:{line}: the trial '{test} {enroll}' where"
    ):
        pack(files)


@pytest.mark.parametrize(
    ("name", "line", "text", "message"),
    [
        ("A.score", 9, None, r"A\.score:9: the trial 'j8pvmcu6009 .*' where .*A\.txt:9 has"),
        ("A.score", 30, None, r"A\.score:29: the file ends here, after 29 of the 30 trials"),
        ("U.score", 20, "x y 1\nx z 1", r"U\.score:20: the trial 'x y' where"),
        ("A.score", 31, "x y 1", r"A\.score:31: .*A\.txt has no more than 30 trials; score that"),
        ("A.score", 1, f"{IDS[0]} {IDS[1]}.wav 1", r"A\.score: '.*' are the same id once '.wav'"),
        ("A.score", 12, f"{IDS[11]} {IDS[34]} -inf", r"A\.score:12: the score '-inf' is not a"),
        ("A.score", 12, f"{IDS[11]} {IDS[34]} nan", r"A\.score:12: the score 'nan' is not a fin"),
        ("U.score", 3, "one two", r"U\.score:3: 2 columns"),
        ("tv26_eval-A.txt", 30, None, r"A\.txt:29: 29 trials, where .* list A has 30; fetch"),
        ("tv26_eval-U.txt", 20, "a b\nc d", r"U\.txt:21: 21 trials, where .* list U has 20"),
    ],
)
def test_a_wrong_input_names_the_first_offending_line(files, name, line, text, message):
    (files / "submission.zip").write_bytes(b"the one before")
    edit(files / name, line, text)
    with pytest.raises(TidyVoiceError, match=message):
        pack(files)
    assert (files / "submission.zip").read_bytes() == b"the one before"
    assert len(list(files.iterdir())) == 5


def test_a_and_u_swapped_are_told_as_such(files):
    scores = {"A": files / "U.score", "U": files / "A.score"}
    with pytest.raises(TidyVoiceError, match=r"U\.score:1: .*A and U are swapped"):
        pack(files, scores=scores)
    trials = {"A": files / "tv26_eval-U.txt", "U": files / "tv26_eval-A.txt"}
    with pytest.raises(TidyVoiceError, match="list U has as many: A and U are swapped"):
        pack(files, trials=trials)
    with pytest.raises(TidyVoiceError, match=r"the scores of .*-A\.txt: A and U are swapped"):
        pack(files, trials=trials, any_count=True)


def test_the_lists_of_the_challenge_have_these_lengths():
    assert submission.TRIALS == {"A": 4_000_000, "U": 1_280_000}


@pytest.mark.parametrize("name", ["U.score", "U.score.json", "tv26_eval-A.txt"])
def test_an_input_is_not_written_over(files, name):
    (files / "U.score.json").write_text("{}")
    before = (files / name).read_bytes()
    with pytest.raises(TidyVoiceError, match="is read, and would be written over"):
        pack(files, name)
    assert (files / name).read_bytes() == before


def test_a_missing_file_is_named(files):
    (files / "U.score").unlink()
    with pytest.raises(TidyVoiceError, match=r"U\.score: no such file"):
        pack(files)


def test_lists_of_another_length_pass_when_that_is_said(files):
    for name in ("A.score", "tv26_eval-A.txt"):
        edit(files / name, 30, None)
    assert pack(files, any_count=True).lines["tv26_eval-A.txt"] == 29


@pytest.mark.parametrize(
    ("kind", "mark"), [("in_sample", "IN-SAMPLE"), ("confounded", "CONFOUNDED")]
)
def test_scores_that_may_flatter_are_warned_of(files, kind, mark):
    step = Step("cosine", "cosine", {}, **{kind: ("it knows them",)})
    write_with_lineage(files / "A.score", read_scores(files / "A.score"), [step])
    with pytest.warns(TidyVoiceWarning, match=rf"A\.score is {mark}: it knows them"):
        assert getattr(pack(files), kind) == ["it knows them"]


@pytest.mark.parametrize("damage", ["a byte", "a digit", "a line more", "a line less", "a file"])
def test_a_zip_that_does_not_read_back_is_not_kept(files, monkeypatch, damage):
    """Damaged as by a bad disk, or sound as a zip but with other scores in it."""
    write = submission._write

    def damaged(path, scored):
        write(path, scored)
        if damage == "a byte":
            content = bytearray(path.read_bytes())
            content[60] ^= 0xFF
            path.write_bytes(content)
            return
        with zipfile.ZipFile(path) as archive:
            texts = {name: archive.read(name) for name in archive.namelist()}
        text = texts["tv26_eval-U.txt"]
        texts["tv26_eval-U.txt"] = {
            "a digit": text[:-2] + (b"1" if text[-2:-1] == b"2" else b"2") + b"\n",
            "a line more": text + b"0.5\n",
            "a line less": text[: text.rindex(b"\n", 0, -1) + 1],
            "a file": text,
        }[damage]
        if damage == "a file":
            texts["more.txt"] = b""
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in texts.items():
                archive.writestr(name, content)

    monkeypatch.setattr(submission, "_write", damaged)
    with pytest.raises(TidyVoiceError, match="does not read back as the scores, so it is not kept"):
        pack(files)
    assert not (files / "submission.zip").exists()
    assert not list(files.glob(".*"))


def command(files, *more):
    arguments = ["submission", "--out", str(files / "s.zip"), *more]
    for which in "AU":
        arguments += [f"--scores-{which.lower()}", str(files / f"{which}.score")]
        arguments += [f"--trials-{which.lower()}", str(files / f"tv26_eval-{which}.txt")]
    return CliRunner().invoke(app, arguments)


def test_the_command_prints_what_it_made(files):
    result = command(files, "--json")
    assert result.exit_code == 0, result.output
    row = json.loads(result.output)
    assert row["submission"] == str(files / "s.zip")
    assert row["lines"] == {"tv26_eval-A.txt": 30, "tv26_eval-U.txt": 20}
    assert row["in_sample"] == []
    text = command(files).output
    for line in ("A.txt: system not known; 30 scores", "U.txt: system not known; 20 scores"):
        assert f"tv26_eval-{line}\n" in text
    assert row["sha256"] in text


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("cosine", {"mean": "none"})], "plain cosine"),
        ([("cosine", {"mean": "1f"}), ("asnorm", {})], "centred cosine, AS-norm"),
        (
            [("cosine", {"mean": "1f"}), ("language", {"languages": "known"})],
            "centred cosine, language-aware norm",
        ),
        ([("asnorm", {})], "system not known, AS-norm"),
        (
            [
                ("cosine", {"mean": "1f"}),
                ("language", {"languages": "guessed"}),
                ("calibration", {}),
            ],
            "centred cosine, blind language-aware norm, calibrated",
        ),
        ([("fusion", {})], "fused and calibrated"),
    ],
)
def test_the_command_says_which_system_each_file_holds(files, steps, expected):
    made = [Step(name, "in words", how=how) for name, how in steps]
    write_with_lineage(files / "A.score", read_scores(files / "A.score"), made)
    text = command(files, "--name", "fine-tuned").output
    assert f"tv26_eval-A.txt: fine-tuned, {expected}; 30 scores\n" in text
    assert "tv26_eval-U.txt: fine-tuned, system not known; 20 scores\n" in text
    assert json.loads(command(files, "--json").output)["systems"]["tv26_eval-A.txt"] == expected


def test_the_command_takes_lists_of_another_length_only_when_told(files):
    submission.TRIALS["A"] = 4_000_000
    result = command(files)
    assert result.exit_code == 1
    assert len(result.output.strip().splitlines()) == 1
    assert "A.txt:30: 30 trials, where the challenge's list A has 4,000,000" in result.output
    assert not (files / "s.zip").exists()
    assert command(files, "--any-count").exit_code == 0

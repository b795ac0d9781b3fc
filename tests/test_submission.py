"""The submission: the zip that the challenge takes, and every way in which it could be wrong."""

import json
import zipfile

import numpy as np
import pytest
from typer.testing import CliRunner

from tidyvoice import submission
from tidyvoice.cli import app
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.scoring import spool
from tidyvoice.scoring.lineage import Step, write_with_lineage
from tidyvoice.scoring.trials import ScoreTable, Trials
from tidyvoice.submission import write_submission

IDS = [f"j8pvmcu6{n:03d}" for n in range(40)]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two lists, of 30 and 20 trials, and their scores; parts of 7 trials."""
    monkeypatch.setattr(spool, "PART", 7)
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


@pytest.mark.parametrize(
    ("name", "line", "text", "message"),
    [
        ("A.score", 9, None, r"A\.score:9: the trial 'j8pvmcu6009 .*' where .*A\.txt:9 has"),
        ("A.score", 30, None, r"A\.score:29: the file ends here, after 29 of the 30 trials"),
        ("U.score", 20, "x y 1\nx z 1", r"U\.score:20: the trial 'x y' where"),
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


def test_lists_of_another_length_pass_when_that_is_said(files):
    for name in ("A.score", "tv26_eval-A.txt"):
        edit(files / name, 30, None)
    assert pack(files, any_count=True).lines["tv26_eval-A.txt"] == 29


def test_in_sample_scores_are_warned_of(files):
    table = spool.Spool.of_scores(files / "A.score", files)
    with table:
        parts = list(table.tables())
    trials = Trials(
        parts[0].trials.ids,
        np.concatenate([part.trials.enroll for part in parts]),
        np.concatenate([part.trials.test for part in parts]),
        None,
    )
    scores = np.concatenate([part.scores for part in parts])
    step = Step("cosine", "cosine", {}, ("the mean knows them",))
    write_with_lineage(files / "A.score", [ScoreTable(trials, scores)], [step])
    with pytest.warns(TidyVoiceWarning, match=r"A\.score is IN-SAMPLE: the mean knows them"):
        assert pack(files).in_sample == ["the mean knows them"]


def test_a_zip_that_does_not_read_back_is_not_kept(files, monkeypatch):
    write = submission._write

    def damaged(path, scored):
        write(path, scored)
        content = bytearray(path.read_bytes())
        content[60] ^= 0xFF
        path.write_bytes(content)

    monkeypatch.setattr(submission, "_write", damaged)
    with pytest.raises(TidyVoiceError, match="does not read back as the scores, so it is not kept"):
        pack(files)
    assert not (files / "submission.zip").exists()


def test_the_command_prints_what_it_made(files):
    arguments = ["submission", "--out", str(files / "s.zip"), "--json"]
    for which in "AU":
        arguments += [f"--scores-{which.lower()}", str(files / f"{which}.score")]
        arguments += [f"--trials-{which.lower()}", str(files / f"tv26_eval-{which}.txt")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    row = json.loads(result.output)
    assert row["submission"] == str(files / "s.zip")
    assert row["lines"] == {"tv26_eval-A.txt": 30, "tv26_eval-U.txt": 20}

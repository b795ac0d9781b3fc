"""The challenge's zip: what is in it, its bytes, and each way in which its input can be wrong."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from tidyvoice import submission
from tidyvoice.cli import app
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.scoring import spool
from tidyvoice.scoring.lineage import Step, write_with_lineage
from tidyvoice.scoring.trials import read_scores, write_scores
from tidyvoice.submission import NAMES, write_submission

SIZES = {"A": 60, "U": 25}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Parts of seven trials, and a challenge whose lists are as long as ours."""
    monkeypatch.setattr(spool, "PART", 7)
    monkeypatch.setattr(submission, "TRIALS", SIZES)


@pytest.fixture
def files(tmp_path):
    """Scores and lists of A and U, 60 and 25 trials, with flat ids as the challenge has them."""
    rng = np.random.Generator(np.random.PCG64(1))
    scores, trials = {}, {}
    for which, size in SIZES.items():
        pairs = [(f"{which}{e}", f"{which}{t}") for e in range(12) for t in range(e)]
        pairs = [pairs[n] for n in rng.permutation(len(pairs))[:size]]
        values = rng.standard_normal(size) * 10.0 ** rng.integers(-9, 9, size)
        trials[which] = tmp_path / f"list-{which}.txt"
        trials[which].write_text("".join(f"{e}\t{t}\n" for e, t in pairs))
        scores[which] = tmp_path / f"{which}.score"
        lines = (f"{e} {t} {x!r}\n" for (e, t), x in zip(pairs, values.tolist(), strict=True))
        scores[which].write_text("".join(lines))
    return {"scores": scores, "trials": trials}


def lines_of(path):
    return path.read_text().splitlines(keepends=True)


def refusal(tmp_path, files, **more) -> str:
    """The one line in which it is refused; nothing is left behind."""
    out = tmp_path / "new" / "submission.zip"
    with pytest.raises(TidyVoiceError) as error:
        write_submission(out, **files, **more)
    assert "\n" not in str(error.value)
    assert list(out.parent.glob("*") if out.parent.exists() else ()) == []
    return str(error.value)


def test_the_zip_holds_the_scores_in_list_order(tmp_path, files):
    made = write_submission(tmp_path / "s.zip", **files)
    assert made.lines == {"tv26_eval-A.txt": 60, "tv26_eval-U.txt": 25}
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert archive.namelist() == ["tv26_eval-A.txt", "tv26_eval-U.txt"]
        for which, name in NAMES.items():
            text = archive.read(name).decode()
            assert text.endswith("\n")
            found = [float(line) for line in text.splitlines()]
            expected = [float(line.split()[2]) for line in lines_of(files["scores"][which])]
            assert found == expected
        info = archive.infolist()
    assert {i.date_time for i in info} == {(1980, 1, 1, 0, 0, 0)}
    assert {i.external_attr >> 16 for i in info} == {0o100644}
    assert {i.compress_type for i in info} == {zipfile.ZIP_DEFLATED}


def test_a_score_is_written_as_in_a_score_file(tmp_path, files):
    path = files["scores"]["A"]
    write_scores(path, [read_scores(path)])
    write_submission(tmp_path / "s.zip", **files)
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        words = archive.read(NAMES["A"]).decode().split()
    assert words == [line.split()[2] for line in lines_of(path)]


def test_the_same_scores_give_the_same_bytes(tmp_path, files):
    first = write_submission(tmp_path / "1.zip", **files)
    path = files["scores"]["A"]
    words = [line.split() for line in lines_of(path)]
    path.write_text("".join(f"{e}.wav \t {t}.wav {float(x):.17e} target\n" for e, t, x in words))
    second = write_submission(tmp_path / "deeper" / "2.zip", **files)
    assert first.sha256 == second.sha256
    assert first.out.read_bytes() == second.out.read_bytes()
    path.write_text(path.read_text().replace("e+0", "e-0"))
    assert write_submission(tmp_path / "3.zip", **files).sha256 != first.sha256


@pytest.mark.parametrize("place", [0, 6, 7, 41, 59])
@pytest.mark.parametrize("which", NAMES)
def test_another_trial_is_named_with_its_line(tmp_path, files, which, place):
    place = place % SIZES[which]
    path = files["scores"][which]
    lines = lines_of(path)
    enroll, test, score = lines[place].split()
    lines[place] = f"{test} {enroll} {score}\n"
    path.write_text("".join(lines))
    listed = files["trials"][which]
    assert refusal(tmp_path, files) == (
        f"{path}:{place + 1}: the trial '{test} {enroll}' where {listed}:{place + 1} has "
        f"'{enroll} {test}'; score that list"
    )


def test_trials_in_another_order_are_refused(tmp_path, files):
    path = files["scores"]["U"]
    lines = lines_of(path)
    path.write_text("".join([*lines[:12], lines[13], lines[12], *lines[14:]]))
    assert f"{path}:13: the trial '" in refusal(tmp_path, files)


def test_scores_that_lack_trials_or_have_more_are_refused(tmp_path, files):
    path = files["scores"]["U"]
    lines = lines_of(path)
    path.write_text("".join(lines[:-3]))
    assert f"{path}:22: the file ends here, after 22 of the 25" in refusal(tmp_path, files)
    path.write_text("".join([*lines, "U1 new 0.5\n"]))
    said = refusal(tmp_path, files)
    assert f"{path}:26: {files['trials']['U']} has no more than 25 trials" in said


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf", "1,5", "high"])
def test_a_score_that_is_no_finite_number_is_named(tmp_path, files, bad):
    path = files["scores"]["A"]
    lines = lines_of(path)
    lines[37] = " ".join([*lines[37].split()[:2], bad]) + "\n"
    path.write_text("".join(lines))
    assert f"{path}:38: the score '{bad}' is not a finite number" in refusal(tmp_path, files)


def test_swapped_scores_are_called_so(tmp_path, files):
    scores, trials = files["scores"], files["trials"]
    files["scores"] = {"A": scores["U"], "U": scores["A"]}
    said = refusal(tmp_path, files)
    assert f"{scores['U']}:1: the trial 'U" in said
    assert said.endswith(f"; these are the scores of {trials['U']}: A and U are swapped")


def test_swapped_lists_are_called_so(tmp_path, files):
    trials = files["trials"]
    files["trials"] = {"A": trials["U"], "U": trials["A"]}
    said = refusal(tmp_path, files)
    assert said.startswith(f"{trials['U']}:25: 25 trials, where the challenge's list A has 60")
    assert said.endswith("list U has as many: A and U are swapped")
    said = refusal(tmp_path, files, any_count=True)
    assert said.endswith(f"these are the scores of {trials['A']}: A and U are swapped")


@pytest.mark.parametrize(("kept", "line"), [(58, 58), (60, 61)])
def test_a_list_of_another_length_is_refused_unless_allowed(tmp_path, files, kept, line):
    for kind in ("trials", "scores"):
        path = files[kind]["A"]
        score = " 0.5" if kind == "scores" else ""
        more = [f"A{n} more{score}\n" for n in range(4)] if kept == 60 else []
        path.write_text("".join([*lines_of(path)[:kept], *more]))
    said = refusal(tmp_path, files)
    assert f"{files['trials']['A']}:{line}: {kept + len(more)} trials, where" in said
    assert "--any-count" in said
    made = write_submission(tmp_path / "s.zip", **files, any_count=True)
    assert made.lines[NAMES["A"]] == kept + len(more)


def test_the_challenge_has_these_numbers(monkeypatch):
    monkeypatch.undo()
    assert submission.TRIALS == {"A": 4_000_000, "U": 1_280_000}


def test_ids_that_only_wav_tells_apart_are_refused(tmp_path, files):
    path = files["scores"]["A"]
    enroll = lines_of(path)[0].split()[0]
    path.write_text(path.read_text().replace(f"{enroll} ", f"{enroll}.wav ", 1))
    said = refusal(tmp_path, files)
    assert f"{path}: '" in said
    assert "are the same id once '.wav' is dropped" in said


@pytest.mark.parametrize("kind", ["scores", "trials"])
def test_an_input_is_not_written_over(tmp_path, files, kind):
    path = files[kind]["U"]
    before = path.read_bytes()
    with pytest.raises(TidyVoiceError, match="is read, and would be written over"):
        write_submission(path, **files)
    assert path.read_bytes() == before


def test_a_missing_file_is_named(tmp_path, files):
    files["scores"]["U"] = tmp_path / "none.score"
    assert refusal(tmp_path, files) == f"{tmp_path / 'none.score'}: no such file"


@pytest.mark.parametrize("damage", ["a digit", "a byte", "a line more"])
def test_a_zip_that_does_not_read_back_is_not_kept(tmp_path, files, monkeypatch, damage):
    write = submission._write

    def write_badly(path, scored):
        write(path, scored)
        if damage == "a byte":
            data = bytearray(path.read_bytes())
            data[200] ^= 0xFF
            path.write_bytes(data)
            return
        with zipfile.ZipFile(path) as archive:
            texts = {name: archive.read(name) for name in archive.namelist()}
        text = texts[NAMES["U"]]
        texts[NAMES["U"]] = text + b"0.1\n" if damage == "a line more" else b"9" + text[1:]
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in texts.items():
                archive.writestr(name, content)

    monkeypatch.setattr(submission, "_write", write_badly)
    (tmp_path / "s.zip").write_text("as it was")
    with pytest.raises(TidyVoiceError, match=r"s\.zip: what was written does not read back"):
        write_submission(tmp_path / "s.zip", **files)
    assert (tmp_path / "s.zip").read_text() == "as it was"
    assert not list(tmp_path.glob(".*"))


def test_scores_marked_in_sample_are_warned_of(tmp_path, files):
    path, step = files["scores"]["U"], Step("cosine", "cosine of the embeddings")
    said = "the trials and the mean share 3 speakers"
    write_with_lineage(path, [read_scores(path)], [replace(step, in_sample=(said,))])
    with pytest.warns(TidyVoiceWarning, match=f"U.score is IN-SAMPLE: {said}"):
        made = write_submission(tmp_path / "s.zip", **files)
    assert made.in_sample == [said]


def arguments(tmp_path, files):
    given = [("scores", "A"), ("scores", "U"), ("trials", "A"), ("trials", "U")]
    paths = [(f"--{kind}-{which.lower()}", str(files[kind][which])) for kind, which in given]
    return ["submission", *sum(paths, ()), "--out", str(tmp_path / "s.zip")]


def test_the_command_says_what_it_wrote(tmp_path, files):
    result = CliRunner().invoke(app, arguments(tmp_path, files))
    assert result.exit_code == 0, result.output
    assert "tv26_eval-A.txt with 60 scores, tv26_eval-U.txt with 25 scores" in result.output
    result = CliRunner().invoke(app, [*arguments(tmp_path, files), "--json"])
    found = json.loads(result.output)
    assert found["submission"] == str(tmp_path / "s.zip")
    assert found["lines"] == {"tv26_eval-A.txt": 60, "tv26_eval-U.txt": 25}
    assert found["in_sample"] == []
    assert found["sha256"] in CliRunner().invoke(app, arguments(tmp_path, files)).output


def test_the_command_takes_lists_of_another_length_only_when_told(tmp_path, files, monkeypatch):
    monkeypatch.setattr(submission, "TRIALS", {"A": 4_000_000, "U": 1_280_000})
    result = CliRunner().invoke(app, arguments(tmp_path, files))
    assert result.exit_code == 1
    assert len(result.output.strip().splitlines()) == 1
    assert "60 trials, where the challenge's list A has 4,000,000" in result.output
    result = CliRunner().invoke(app, [*arguments(tmp_path, files), "--any-count"])
    assert result.exit_code == 0, result.output

"""EERs of score files: those of the scoring code, kept and never stale."""

import os

import numpy as np
import pytest
from runs.support import make

from tests.report.support import COHORT, COSINE, OVERLAP, make_trials, plain_eer
from tidyvoice.errors import TidyVoiceError, TidyVoiceWarning
from tidyvoice.runs import results
from tidyvoice.runs.results import measure
from tidyvoice.scoring.lineage import write_with_lineage
from tidyvoice.scoring.metrics import min_dcf
from tidyvoice.scoring.trials import ScoreTable, checksum, read_scores, read_trials, write_scores


@pytest.fixture
def path(tmp_path):
    return make(tmp_path / "a") / "scores" / "dev.score"


@pytest.fixture
def readings(monkeypatch):
    """The score files that were read, in order."""
    read, seen = results.trials.read_scores, []

    def counted(path):
        seen.append(path.name)
        return read(path)

    monkeypatch.setattr(results.trials, "read_scores", counted)
    return seen


def rewrite(path, shift):
    table = read_scores(path)
    write_scores(path, ScoreTable(table.trials, table.scores + shift * table.trials.label))


def test_it_is_what_the_scoring_code_says(path, tmp_path):
    table = read_scores(path)
    found = measure(path)
    assert found.eer == pytest.approx(plain_eer(table.scores, table.trials.label))
    assert found.min_dcf == min_dcf(table.scores, table.trials.label)
    assert (found.targets, found.nontargets) == (
        table.trials.label.sum(),
        (~table.trials.label).sum(),
    )
    assert found.trials == checksum(table.trials)
    lines = [line.split() for line in path.read_text().splitlines()]
    (tmp_path / "list").write_text("".join(f"{a} {b} {label}\n" for a, b, _, label in lines))
    assert found.trials == checksum(read_trials(tmp_path / "list"))


def test_a_file_is_read_once(path, readings):
    first = measure(path)
    assert measure(path) == first
    assert readings == ["dev.score"]


def test_other_scores_are_measured_anew_even_with_the_same_size_and_time(path, readings):
    first, before = measure(path), path.stat()
    lines = path.read_text().splitlines()
    scores = [line.split()[2] for line in lines]
    swapped = [
        " ".join([*line.split()[:2], score, line.split()[3]])
        for line, score in zip(lines, reversed(scores), strict=True)
    ]
    path.write_text("\n".join(swapped) + "\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    second = measure(path)
    assert second.eer != first.eer
    assert len(readings) == 2


def test_a_change_that_the_fingerprint_misses_is_seen_by_the_times(path, readings, monkeypatch):
    monkeypatch.setattr(results, "fingerprint", lambda path: "1 same")
    measure(path)
    before = path.stat()
    rewrite(path, 1.0)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    measure(path)
    assert len(readings) == 2


def test_scores_that_change_while_they_are_read_are_not_kept(path, monkeypatch):
    read = results.trials.read_scores

    def overtaken(path):
        table = read(path)
        rewrite(path, 1.0)
        return table

    monkeypatch.setattr(results.trials, "read_scores", overtaken)
    old = measure(path)
    monkeypatch.setattr(results.trials, "read_scores", read)
    assert measure(path).eer < old.eer


def test_another_lineage_and_another_program_are_measured_anew(path, readings, monkeypatch):
    assert measure(path).in_sample == ()
    write_with_lineage(path, read_scores(path), [COSINE, COHORT])
    readings.clear()
    assert measure(path).in_sample == (OVERLAP,)
    assert measure(path).in_sample == (OVERLAP,)
    assert readings == ["dev.score"]
    monkeypatch.setattr(results.metrics, "__file__", str(path))
    measure(path)
    assert len(readings) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sources": 3, "result": null}', "\udcff"])
def test_what_was_kept_and_is_damaged_does_not_count(path, readings, text):
    first = measure(path)
    (kept,) = path.parent.glob(".dev.score.*.json")
    kept.write_bytes(text.encode("utf-8", "surrogateescape"))
    assert measure(path) == first
    assert len(readings) == 2


def test_a_list_without_labels_has_no_result_and_is_read_once(path, readings):
    path.write_text("a b 0.5\nc d 0.25\n")
    assert measure(path) is None
    assert measure(path) is None
    assert len(readings) == 1


def test_a_folder_that_cannot_be_written_is_warned_of(path, monkeypatch):
    def full(path, text):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(results, "write_text", full)
    with pytest.warns(TidyVoiceWarning, match=f"{path.parent}: Permission denied"):
        found = measure(path)
    assert found.targets > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [("a b x target\n", "dev.score:1"), ("a b 1 target\n", "no non-target"), ("", "dev.score")],
)
def test_a_faulty_file_is_an_error_each_time(path, text, said):
    path.write_text(text)
    for _ in range(2):
        with pytest.raises(TidyVoiceError, match=said):
            measure(path)
    assert not list(path.parent.glob(".*"))


def test_gzip_is_measured_like_plain_text(path):
    trials = make_trials()
    scores = np.arange(len(trials)) % 7 + 2.0 * trials.label
    zipped = path.with_name("dev.score.gz")
    write_scores(path, ScoreTable(trials, scores))
    write_scores(zipped, ScoreTable(trials, scores))
    assert measure(zipped) == measure(path)

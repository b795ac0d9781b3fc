"""NAME.metrics.json beside NAME.score: read back while it holds, computed anew otherwise."""

import hashlib
import json
import os
import re
from dataclasses import replace

import pytest
from conftest import invoke, refusal, succeed

import tidyvoice
from tests.report.support import COHORT, COSINE, LLR, OVERLAP, make_experiment
from tidyvoice.scoring.lineage import write_with_lineage
from tidyvoice.scoring.trials import read_scores, write_scores

MARK = 0.123  # an EER that no evaluation gives: it shows that the kept file was read


@pytest.fixture
def path(tmp_path):
    return make_experiment(tmp_path / "a") / "scores" / "dev.score"


def metrics(*arguments):
    return json.loads(succeed("metrics", *arguments, "--json"))


def eer(*arguments):
    return metrics(*arguments)["categories"][0]["eer"]


def tamper(path, change=lambda content: content["categories"][0].update(eer=MARK)):
    """Change the kept evaluation, by default its EER, and its checksum."""
    kept = path.with_name("dev.metrics.json")
    content = json.loads(kept.read_text())
    del content["sha256"]
    change(content)
    text = json.dumps(content)[1:]
    kept.write_text(f'{{"sha256":"{hashlib.sha256(text.encode()).hexdigest()}",{text}')


def test_an_evaluation_is_computed_once_and_read_back_by_every_command(path):
    table = read_scores(path)
    assert eer(path) == tidyvoice.eer(table.scores, table.trials.label)
    tamper(path)
    assert eer(path) == MARK
    folder = path.parents[1]
    report = json.loads(succeed("report", folder, "--bootstrap", 0, "--json"))
    assert report["systems"]["a"]["categories"][0]["eer"] == MARK
    twice = ("--trials", "a=one", "--trials", "a=two")
    assert "two: write NAME=LIST, each NAME once, among a" in refusal("report", folder, *twice)
    (folder / "config.yaml").write_text("experiment: a\n")
    (row,) = json.loads(succeed("runs", folder, "--json"))["experiments"]
    assert row["results"]["dev"]["categories"][0]["eer"] == MARK


def swap_scores(path):
    """Other scores of the same size and time."""
    before, lines = path.stat(), path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in lines[::-1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def change_lineage(path):
    write_with_lineage(path, read_scores(path), [COSINE, COHORT])


def change_code(path):
    tamper(path, lambda content: content["inputs"].update(code="of another version"))


@pytest.mark.parametrize("change", [swap_scores, change_lineage, change_code])
def test_another_input_or_version_is_evaluated_anew(path, change):
    eer(path)
    tamper(path)
    assert eer(path) == MARK
    change(path)
    assert eer(path) != MARK


def test_targets_that_score_lower_give_a_warning(path):
    table = read_scores(path)
    write_scores(path, replace(table, scores=-table.scores))
    for command in ("metrics", "report"):
        result = invoke(command, path, *(("--out", path.parent / "r") * (command == "report")))
        assert result.exit_code == 0
        assert f"warning: {path}: the EER is 9" in result.stderr


def test_intervals_are_kept_and_shown_only_when_they_are_asked_for(path):
    plain = metrics(path)
    with_intervals = metrics(path, "--bootstrap", 100)
    assert with_intervals["categories"][1]["eer_interval"] is not None
    assert metrics(path) == plain
    assert plain["categories"][0]["points"][0]["min_dcf_interval"] is None
    tamper(path)
    assert eer(path, "--bootstrap", 100) == eer(path) == MARK
    assert eer(path, "--bootstrap", 120) != MARK
    assert "5 resamples are too few" in invoke("metrics", path, "--bootstrap", 5).output


def test_a_file_of_another_kind_is_left_alone_and_named(path):
    kept = path.with_name("dev.metrics.json")
    kept.write_text("mine")
    result = invoke("metrics", path)
    assert result.exit_code == 0
    assert f"warning: {kept} is another kind of file" in result.stderr
    assert kept.read_text() == "mine"


def test_nothing_is_kept_of_faulty_scores_and_of_other_operating_points(path):
    metrics(path, "--p-target", 0.3)
    for text, problem in (("a b x target\n", "dev.score:1"), ("a b 1 target\n", "no non-target")):
        path.write_text(text)
        assert problem in invoke("metrics", path).output
    assert not path.with_name("dev.metrics.json").exists()


def test_several_systems_are_compared_with_paired_intervals(tmp_path):
    for name, shift, seed, steps in (("a", 0.5, 0, (COSINE, COHORT, LLR)), ("b", 0.2, 1, None)):
        make_experiment(tmp_path / name, shift, seed=seed, steps=steps)
    a, b = (tmp_path / name / "scores" / "dev.score" for name in "ab")
    text = succeed("metrics", f"a={a}", f"b={b}", "--bootstrap", 200)
    head, _, first, *_ = text.splitlines()
    names = ["", "a (in-sample)", "b (origin unknown)", "Difference to a: b"]
    assert re.split(r"\s{2,}", head) == names
    found = metrics(f"a={a}", f"b={b}", "--bootstrap", 200)
    one, two = (found["systems"][name]["categories"][0]["eer"] for name in "ab")
    difference = found["differences"]["b"]["eer"]["all/all"]
    assert difference["value"] == two - one
    low, high = difference["interval"]
    assert 0 < low < two - one < high
    assert f"{100 * (two - one):+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]" in first
    assert f"IN-SAMPLE: a: {OVERLAP}" in text
    # Other trials are not subtracted.
    b.write_text("".join(b.read_text().splitlines(keepends=True)[:1000]))
    assert "Difference" not in succeed("metrics", f"a={a}", f"b={b}")
    assert metrics(f"a={a}", f"b={b}")["differences"]["b"] is None


def test_one_table_is_aligned_and_rounded(path):
    lines = succeed("metrics", path).splitlines()
    assert len({len(line) for line in lines[:7]}) == 1
    row = metrics(path)["categories"][0]
    costs = [*(p["min_dcf"] for p in row["points"]), *(p["act_dcf"] for p in row["points"])]
    shown = [f"{value:.3f}" for value in (*costs, row["cllr"], row["min_cllr"])]
    assert lines[2].split() == ["all/all", "120", "1,008", f"{100 * row['eer']:.2f}", *shown]

"""`tidyvoice metrics --published`: our score files beside published results."""

import json
import re
from pathlib import Path

import pytest
import yaml
from conftest import invoke, succeed

from tests.report.support import COHORT, COSINE, OVERLAP, make_experiment
from tidyvoice.evaluation.categories import CATEGORIES, POOLED

PUBLISHED = Path(__file__).parents[2] / "conf/tidyvoice/published.yaml"
EER = dict(zip((POOLED, *CATEGORIES), (3.07, 1.79, 5.19, 0.88, 2.97), strict=True))


def make_scores(folder, name, shift=0.5, steps=(COSINE,), **options):
    make_experiment(folder, shift, log=False, steps=steps, name=name, **options)
    return folder / "scores" / f"{name}.score"


def compare(*arguments):
    return succeed("metrics", *arguments)


@pytest.fixture
def figures(tmp_path):
    """A file of published results; its list "dev" is as long as our score files."""
    here = {"eer_percent": EER, "min_dcf": {POOLED: 0.82}}
    there = {"eer_percent": {POOLED: 9.0}}
    low = {"eer_percent": {POOLED: 0.01}, "min_dcf": {POOLED: 0.1}}
    systems = {
        "baseline": {"source": "a paper", "results": {"dev": here, "eval": there}},
        "best": {"source": "a page", "results": {"dev": low}},
        "far": {"source": "a talk", "results": {"eval": there}},
    }
    lists = {"eval": {"name": "another", "trials": 4}, "dev": {"name": "a list", "trials": 1128}}
    path = tmp_path / "published.yaml"
    path.write_text(yaml.safe_dump({"lists": lists, "systems": systems}, sort_keys=False))
    return path


def test_the_published_results_are_those_of_the_challenge(tmp_path):
    path = make_scores(tmp_path, "x")
    ranked = {}
    for name in ("dev", "eval-A", "eval-U"):
        found = json.loads(compare(path, "--published", PUBLISHED, "--list", name, "--json"))
        rows = [row for row in found["ranking"] if not row["source"].startswith("ours")]
        assert all(row["source"] for row in rows)
        ranked[name] = {row["system"]: row["eer"] and 100 * row["eer"] for row in rows}
    assert {name: len(rows) for name, rows in ranked.items()} == {
        "dev": 12, "eval-A": 9, "eval-U": 8,
    }  # fmt: skip
    for system, eer in {
        "baseline": (3.07, 9.06, 11.60),
        "T01, winner": (0.56, 1.39, 1.95),
        "LI-MSV": (0.89, 2.46, 4.45),
    }.items():
        assert [rows[system] for rows in ranked.values()] == pytest.approx(list(eer))
    text = compare(path, "--published", PUBLISHED)
    assert "x: 1,128 trials, but the published list has 12,000,000" in text
    for category, published in EER.items():
        assert re.search(rf"^EER % {category} +{published:.2f} ", text, re.MULTILINE)


def test_each_category_has_the_difference_to_the_published_value(figures, tmp_path):
    good = make_scores(tmp_path, "good", 0.8)
    bad = make_scores(tmp_path, "bad", 0.2, seed=2)
    text = compare(f"none={good}", bad, "--published", figures)
    assert text.splitlines()[0].split() == ["baseline,", "published", "none", "bad"]
    found = json.loads(compare(f"none={good}", bad, "--published", figures, "--json"))
    for place, name in enumerate(("none", "bad"), 1):
        rows = {row["category"]: row for row in found["systems"][name]["categories"]}
        for category, published in EER.items():
            (line,) = re.findall(rf"^EER % {category} +(.*)$", text, re.MULTILINE)
            eer = 100 * rows[category]["eer"]
            cells = line.replace(" (", "(").split()
            assert cells[0] == f"{published:.2f}"
            assert cells[place] == f"{eer:.2f}({eer - published:+.2f})"
        cost = rows[POOLED]["min_dcf"]
        assert f"{cost:.3f} ({cost - 0.82:+.3f})" in text
        assert [row["values"][name] for row in found["rows"]] == [
            *(rows[category]["eer"] for category in EER), cost,
        ]  # fmt: skip
    assert "baseline: a list; a paper" in text
    assert "cannot be compared" not in text


def test_ours_are_ranked_among_the_published_systems(figures, tmp_path):
    path = make_scores(tmp_path, "x", steps=(COSINE, COHORT))
    text = compare(path, "--published", figures)
    ranking = text.split("a list, all trials, by EER:\n")[1].splitlines()[2:5]
    rows = [re.split(r"\s{2,}", line) for line in ranking]
    assert rows[0] == ["best", "0.01", "0.100", "a page"]
    assert rows[1][0] == "baseline"
    assert (rows[2][0], rows[2][-1]) == ("x (in-sample)", "ours")
    text = compare(path, "--published", figures, "--list", "eval")
    assert "ours, on another list: 1,128 trials" in text
    (line,) = re.findall("^minDCF all/all.*$", text, re.MULTILINE)
    assert line.split()[2] == "n/a"
    assert "(" not in line


def test_scores_are_marked_and_unchecked_overlaps_are_reported(figures, tmp_path):
    own = make_scores(tmp_path, "own", steps=(COSINE, COHORT))
    stray = make_scores(tmp_path, "stray", steps=None)
    text = compare(f"own mean={own}", stray, "--published", figures)
    assert "own mean (in-sample)" in text.splitlines()[0]
    assert "stray (origin unknown)" in text.splitlines()[0]
    assert f"IN-SAMPLE: own mean: {OVERLAP}" in text
    assert "not checked: own mean: the trials of list against the training" in text
    assert f"not checked: stray: the trials of {stray}" in text
    found = json.loads(compare(own, stray, "--published", figures, "--json"))["systems"]
    assert found["own"]["in_sample"] == [OVERLAP]
    assert found["stray"]["in_sample"] is None


def test_categories_need_languages(figures, tmp_path):
    flat = make_scores(tmp_path, "flat", flat=True)
    text = compare(flat, "--published", figures)
    (line,) = re.findall("^EER % same/same.*$", text, re.MULTILINE)
    assert line.split()[-2:] == ["2.97", "n/a"]
    ids = {word for line in flat.read_text().splitlines() for word in line.split()[:2]}
    languages = tmp_path / "utt2lang"
    languages.write_text("".join(f"{name} {name.split('-')[1]}\n" for name in sorted(ids)))
    assert "n/a" not in compare(flat, "--published", figures, "--utt2lang", languages)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": "x"}, "unknown key systems.baseline.sources: did you mean .*.source"),
        ({"results": {"dev": {"eer_percent": {"all": 3.0}}}}, "eer_percent.all.*'all/all'"),
        ({"results": {"dev": {"eer_percent": {"all/all": "3,07"}}}}, "all/all: .*number"),
        ({"results": {"Dev": {"eer_percent": {"all/all": 3.0}}}}, "there is no 'Dev'"),
        ({"source": None}, "systems.baseline.source"),
    ],
)
def test_mistakes_in_the_published_file_are_named(figures, tmp_path, change, message):
    content = yaml.safe_load(figures.read_text())
    content["systems"]["baseline"] |= change
    figures.write_text(yaml.safe_dump(content, sort_keys=False))
    result = invoke("metrics", make_scores(tmp_path, "x"), "--published", figures)
    assert result.exit_code == 1
    assert re.search(message, result.output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--system", "far"], "there is no 'far'; take one of baseline, best"),
        (["--list", "test"], "there is no 'test'; take one of eval, dev"),
        (["a/x.score"], "two score files are called x: write NAME=a/x.score"),
        (["none.score"], "none.score"),
        (["--p-target", "0.3"], "--p-target"),
    ],
)
def test_mistakes_are_one_line(figures, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    path = make_scores(tmp_path, "x")
    result = invoke("metrics", path, *arguments, "--published", figures)
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith("error: ")
    assert message in line

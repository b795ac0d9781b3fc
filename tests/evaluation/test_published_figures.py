"""`tidyvoice metrics --published`: our score files beside published results."""

import json
import re
from pathlib import Path

import pytest
import yaml
from conftest import invoke, succeed

from tests.report.support import COHORT, COSINE, make_experiment
from tidyvoice.evaluation.categories import CATEGORIES, POOLED

PUBLISHED = Path(__file__).parents[2] / "conf/tidyvoice/published.yaml"
EER = dict(zip((POOLED, *CATEGORIES), (3.07, 1.79, 5.19, 0.88, 2.97), strict=True))


def make_scores(folder, name, shift=0.5, steps=(COSINE,), **options):
    make_experiment(folder, shift, log=False, steps=steps, name=name, **options)
    return folder / "scores" / f"{name}.score"


@pytest.fixture
def figures(tmp_path):
    """A file of published results; its list "dev" is as long as our score files."""
    here = {"eer_percent": EER, "min_dcf": {POOLED: 0.82}}
    there = {"eer_percent": {POOLED: 9.0}}
    low = {"eer_percent": {POOLED: 0.01}, "min_dcf": {POOLED: 0.1}}
    systems = {
        "baseline": {"source": "a paper", "results": {"dev": here, "eval": there}},
        "best": {"source": "a page", "results": {"dev": low}},
    }
    lists = {"eval": {"name": "another", "trials": 4}, "dev": {"name": "a list", "trials": 1128}}
    path = tmp_path / "published.yaml"
    path.write_text(yaml.safe_dump({"lists": lists, "systems": systems}, sort_keys=False))
    return path


def test_the_published_results_are_those_of_the_challenge(tmp_path):
    path = make_scores(tmp_path, "x")
    for name, number, baseline, winner in (
        ("dev", 12, 0.0307, 0.0056), ("eval-A", 9, 0.0906, 0.0139), ("eval-U", 8, 0.116, 0.0195),
    ):  # fmt: skip
        options = ("--published", PUBLISHED, "--list", name, "--json")
        ranking = json.loads(succeed("metrics", path, *options))["ranking"]
        assert all(row["source"] for row in ranking)
        eers = {row["system"]: row["eer"] for row in ranking if row["system"] != "x"}
        assert len(eers) == number
        assert (eers["baseline"], eers["T01, winner"]) == pytest.approx((baseline, winner))
    text = succeed("metrics", path, "--published", PUBLISHED)
    assert "x: 1,128 trials, but the published list has 12,000,000" in text
    for category, published in EER.items():
        assert re.search(rf"^EER % {category} +{published:.2f} ", text, re.MULTILINE)


def test_each_category_has_the_difference_to_the_published_value(figures, tmp_path):
    good = make_scores(tmp_path, "good", 0.8)
    bad = make_scores(tmp_path, "bad", 0.2, seed=2)
    text = succeed("metrics", f"none={good}", bad, "--published", figures)
    assert text.splitlines()[0].split() == ["baseline,", "published", "none", "bad"]
    found = json.loads(succeed("metrics", f"none={good}", bad, "--published", figures, "--json"))
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
    assert "baseline: a list; a paper" in text
    assert "cannot be compared" not in text


def test_ours_are_ranked_among_the_published_systems(figures, tmp_path):
    path = make_scores(tmp_path, "x", steps=(COSINE, COHORT))
    text = succeed("metrics", path, "--published", figures)
    ranking = text.split("a list, all trials, by EER:\n")[1].splitlines()[2:5]
    rows = [re.split(r"\s{2,}", line) for line in ranking]
    assert rows[0] == ["best", "0.01", "0.100", "a page"]
    assert rows[1][0] == "baseline"
    assert (rows[2][0], rows[2][-1]) == ("x (in-sample)", "ours")
    text = succeed("metrics", path, "--published", figures, "--list", "eval")
    assert "ours, on another list: 1,128 trials" in text
    (line,) = re.findall("^minDCF all/all.*$", text, re.MULTILINE)
    assert line.split()[2] == "n/a"
    assert "(" not in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": "x"}, "unknown key systems.baseline.sources: did you mean .*.source"),
        ({"results": {"Dev": {"eer_percent": {"all/all": 3.0}}}}, "there is no 'Dev'"),
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
        (["--list", "test"], "there is no 'test'; take one of eval, dev"),
        (["a/x.score"], "two score files are called x: write NAME=a/x.score"),
        (["none.score"], "none.score: no such file"),
        (["--p-target", "0.3"], "leave out --p-target"),
    ],
)
def test_mistakes_are_one_line(figures, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    path = make_scores(tmp_path, "x")
    result = invoke("metrics", path, *arguments, "--published", figures)
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert message in line

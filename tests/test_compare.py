"""`tidyvoice compare`: our score files beside published figures."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import seeded
from typer.testing import CliRunner

from tidyvoice.cli import app
from tidyvoice.evaluation.categories import CATEGORIES, POOLED, evaluate
from tidyvoice.scoring.groups import languages_of
from tidyvoice.scoring.lineage import write_with_lineage
from tidyvoice.scoring.provenance import Remark, Source, Step
from tidyvoice.scoring.trials import read_scores

PUBLISHED = Path(__file__).parent.parent / "conf/tidyvoice/published.yaml"


def write_scores(path, shift, seed=1):
    """Every pair of 6 speakers' utterances in two languages; targets are ``shift`` higher."""
    rng = seeded(seed)
    ids = [f"s{i}/{language}/{j}" for i in range(6) for language in ("en", "fr") for j in range(3)]
    lines = []
    for i, enroll in enumerate(ids):
        for test in ids[i + 1 :]:
            target = enroll.split("/")[0] == test.split("/")[0]
            score = rng.standard_normal() + shift * target
            lines.append(f"{enroll} {test} {score:.6f} {'target' if target else 'nontarget'}\n")
    path.write_text("".join(lines))
    return path


def marked(path, *remarks):
    """The same scores with a lineage."""
    write_with_lineage(path, read_scores(path), [Step(step="cosine", remarks=remarks)])
    return path


def remark(kind, reason, **details):
    one, other = (Source(role=role, path="x") for role in ("trials", "mean"))
    return Remark(kind=kind, reason=reason, one=one, other=other, details=details)


SHARED = remark("in-sample", "shared", count=6, unit="speakers")


def compare(*arguments):
    result = CliRunner().invoke(app, ["compare", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def figures(tmp_path):
    path = tmp_path / "published.yaml"
    eer = dict(zip((POOLED, *CATEGORIES), (3.07, 1.79, 5.19, 0.88, 2.97), strict=True))
    here = {"eer_percent": eer, "min_dcf": {POOLED: 0.82}}
    there = {"eer_percent": {POOLED: 9.0}}
    low = {"eer_percent": {POOLED: 0.01}, "min_dcf": {POOLED: 0.1}}
    systems = {
        "baseline": {"source": "a paper", "results": {"dev": here, "eval": there}},
        "best": {"source": "a page", "results": {"dev": low}},
        "far": {"source": "a talk", "results": {"eval": there}},
    }
    lists = {"eval": {"name": "another", "trials": 4}, "dev": {"name": "a list", "trials": 630}}
    path.write_text(yaml.safe_dump({"lists": lists, "systems": systems}, sort_keys=False))
    return path


def test_the_published_results_are_those_of_the_challenge(tmp_path):
    path = write_scores(tmp_path / "x.score", 2.0)
    found = json.loads(compare(path, "--published", PUBLISHED, "--json"))
    assert found["published"]["system"] == "baseline"
    assert [row["published"] for row in found["rows"]] == pytest.approx(
        [0.0307, 0.0179, 0.0519, 0.0088, 0.0297, 0.82]
    )
    ranked = {}
    for name in ("dev", "eval-A", "eval-U"):
        rows = json.loads(compare(path, "--published", PUBLISHED, "--list", name, "--json"))
        rows = [row for row in rows["ranking"] if row["system"] != "x"]
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


def test_a_line_a_category_with_differences_that_add_up(figures, tmp_path):
    good = marked(write_scores(tmp_path / "good.score", 3.0))
    bad = marked(write_scores(tmp_path / "bad.score", 1.0, seed=2))
    text = compare(f"none={good}", bad, "--published", figures)
    assert text.splitlines()[0].split() == ["baseline,", "published", "none", "bad"]
    for name, path in (("none", good), ("bad", bad)):
        table = read_scores(path)
        rows = {row.category: row for row in evaluate(table, languages_of(table.trials))}
        place = 1 + ["none", "bad"].index(name)
        for category, published in yaml.safe_load(figures.read_text())["systems"]["baseline"][
            "results"
        ]["dev"]["eer_percent"].items():
            (line,) = (x for x in text.splitlines() if x.startswith(f"EER % {category} "))
            eer = 100 * rows[category].eer
            cells = line.removeprefix(f"EER % {category} ").replace(" (", "(").split()
            assert cells[0] == f"{published:.2f}"
            assert cells[place] == f"{eer:.2f}({eer - published:+.2f})"
        (line,) = (x for x in text.splitlines() if x.startswith("minDCF all/all"))
        cost = rows[POOLED].min_dcf
        assert f"{cost:.3f} ({cost - 0.82:+.3f})" in line
    assert "baseline: a list; a paper" in text
    assert "cannot be compared" not in text
    assert "in-sample" not in text.lower()


def test_ours_are_ranked_among_the_published_systems(figures, tmp_path):
    path = marked(write_scores(tmp_path / "x.score", 2.0), SHARED)
    lines = compare(path, "--published", figures).splitlines()
    head = lines.index("a list, all trials, by EER:")
    rows = [line.split() for line in lines[head + 3 :][:3]]
    assert [row[0] for row in rows] == ["best", "baseline", "x"]
    assert rows[0][1:] == ["0.01", "0.100", "a", "page"]
    assert rows[2][-1] == "ours"
    assert "x (in-sample)" in lines[head + 5]
    text = compare(path, "--published", figures, "--list", "eval")
    assert "ours, on another list: 630 trials" in text


def test_json_has_the_same_as_fractions(figures, tmp_path):
    path = marked(write_scores(tmp_path / "x.score", 2.0))
    found = json.loads(compare(path, "--published", figures, "--json"))
    table = read_scores(path)
    rows = {row.category: row for row in evaluate(table, languages_of(table.trials))}
    assert len(found["rows"]) == 6
    for row in found["rows"]:
        assert np.isclose(row["values"]["x"], getattr(rows[row["category"]], row["metric"]))
    assert [row["published"] for row in found["rows"]] == pytest.approx(
        [0.0307, 0.0179, 0.0519, 0.0088, 0.0297, 0.82]
    )
    assert found["systems"]["x"]["in_sample"] == []


def test_in_sample_scores_are_marked_and_what_is_not_known_is_said(figures, tmp_path):
    mean = "the trials of x and the mean of x share 6 speakers"
    own = marked(write_scores(tmp_path / "own.score", 2.0), SHARED)
    unknown = remark("unchecked", "unknown speakers", side="other")
    half = marked(write_scores(tmp_path / "half.score", 2.0), unknown)
    stray = write_scores(tmp_path / "stray.score", 2.0)
    text = compare(f"own mean={own}", half, stray, "--published", figures)
    assert "own mean (in-sample)" in text.splitlines()[0]
    assert "half (in-sample)" not in text
    assert f"IN-SAMPLE: own mean: {mean}" in text
    assert (
        "not checked: half: the trials of x against the mean of x: the speakers of the mean" in text
    )
    assert f"not checked: stray: the trials of {stray} against what made their scores" in text
    found = json.loads(compare(own, stray, "--published", figures, "--json"))
    assert found["systems"]["own"]["in_sample"] == [mean]
    assert found["systems"]["stray"]["in_sample"] is None


def test_what_is_not_available_is_not_made_up(figures, tmp_path):
    lines = write_scores(tmp_path / "x.score", 2.0).read_text().replace("/", "-")
    flat = tmp_path / "flat.score"
    flat.write_text(lines)
    text = compare(flat, "--published", figures)
    (line,) = (x for x in text.splitlines() if x.startswith("EER % same/same"))
    assert line.split()[-2:] == ["2.97", "n/a"]
    ids = {word for line in lines.splitlines() for word in line.split()[:2]}
    languages = tmp_path / "utt2lang"
    languages.write_text("".join(f"{name} {name.split('-')[1]}\n" for name in sorted(ids)))
    assert "n/a" not in compare(flat, "--published", figures, "--utt2lang", languages)
    text = compare(flat, "--published", figures, "--list", "eval")
    (line,) = (x for x in text.splitlines() if x.startswith("minDCF all/all"))
    assert line.split()[2] == "n/a"
    assert "(" not in line


def test_another_list_is_said_to_be_another(tmp_path):
    path = write_scores(tmp_path / "x.score", 2.0)
    text = compare(path, "--published", PUBLISHED)
    assert "x: 630 trials, the published list has 12,000,000: figures of different" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sources": "x"}, "unknown key systems.baseline.sources: did you mean .*.source"),
        ({"results": {"dev": {"eer_percent": {"all": 3.0}}}}, "eer_percent.all.*'all/all'"),
        ({"results": {"dev": {"eer_percent": {"all/all": "3,07"}}}}, "all/all: .*number"),
        ({"results": {"Dev": {"eer_percent": {"all/all": 3.0}}}}, "nothing is called 'Dev': take"),
        ({"source": None}, "systems.baseline.source"),
    ],
)
def test_mistakes_in_the_published_file_are_named(figures, tmp_path, change, message):
    content = yaml.safe_load(figures.read_text())
    content["systems"]["baseline"] |= change
    figures.write_text(yaml.safe_dump(content, sort_keys=False))
    path = write_scores(tmp_path / "x.score", 2.0)
    result = CliRunner().invoke(app, ["compare", str(path), "--published", str(figures)])
    assert result.exit_code == 1
    assert re.search(message, result.output)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["x.score", "--system", "far"],
            "nothing is called 'far': take one of ['baseline', 'best']",
        ),
        (["x.score", "--list", "test"], "nothing is called 'test': take one of ['eval', 'dev']"),
        (["x.score", "a/x.score"], "two score files are called x: write NAME=a/x.score"),
        (["none.score"], "none.score"),
        (["unlabelled.score"], "metrics need labels"),
    ],
)
def test_mistakes_are_one_line(figures, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    text = write_scores(tmp_path / "x.score", 2.0).read_text()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.score").write_text(text)
    (tmp_path / "unlabelled.score").write_text("a b 0.5\nc d 0.1\n")
    result = CliRunner().invoke(app, ["compare", *arguments, "--published", str(figures)])
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert line.startswith("error: ")
    assert message in line

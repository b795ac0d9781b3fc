"""`tidyvoice metrics --published`: our score files beside published results."""

import json
import re
from pathlib import Path

import pytest
import yaml
from conftest import refusal, succeed

from tests.report.support import COHORT, COSINE, make_experiment
from tidyvoice.evaluation.categories import KINDS

PUBLISHED = Path(__file__).parents[2] / "conf/tidyvoice/published.yaml"
EER = dict(zip(KINDS, (3.07, 1.79, 5.19, 0.88, 2.97), strict=True))


def make_scores(folder, name, shift=0.5, steps=(COSINE,), **options):
    make_experiment(folder, shift, log=False, steps=steps, name=name, **options)
    return folder / "scores" / f"{name}.score"


def write_changed(folder, change):
    """The published results after ``change``, as if of a list as long as our score files."""
    content = yaml.safe_load(PUBLISHED.read_text())
    content["lists"]["dev"]["trials"] = 1128
    content["systems"]["baseline"] |= change
    (folder / "published.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / "published.yaml"


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


def test_each_category_has_the_difference_to_the_published_value(tmp_path):
    good = make_scores(tmp_path, "good", 0.8)
    bad = make_scores(tmp_path, "bad", 0.2, seed=2)
    text = succeed("metrics", f"none={good}", bad, "--published", PUBLISHED)
    assert text.splitlines()[0].split() == ["baseline,", "published", "none", "bad"]
    assert "bad: 1,128 trials, but the published list has 12,000,000" in text
    found = json.loads(succeed("metrics", f"none={good}", bad, "--json"))["systems"]
    for place, name in enumerate(("none", "bad"), 1):
        rows = {row["category"]: row for row in found[name]["categories"]}
        for category, published in EER.items():
            (line,) = re.findall(rf"^EER % {category} +(.*)$", text, re.MULTILINE)
            eer = 100 * rows[category]["eer"]
            cells = line.replace(" (", "(").split()
            assert cells[0] == f"{published:.2f}"
            assert cells[place] == f"{eer:.2f}({eer - published:+.2f})"
        cost = rows["all/all"]["min_dcf"]
        assert f"{cost:.3f} ({cost - 0.82:+.3f})" in text


def test_ours_are_ranked_among_the_published_systems(tmp_path):
    path = make_scores(tmp_path, "x", steps=(COSINE, COHORT))
    text = succeed("metrics", path, "--published", write_changed(tmp_path, {}))
    assert "cannot be compared" not in text
    ranking = text.split("TidyVoiceX dev, all trials, by EER:\n")[1].splitlines()[2:15]
    rows = [re.split(r"\s{2,}", line) for line in ranking]
    assert rows[0][:3] == ["T01, winner", "0.56", "n/a"]
    assert (rows[-1][0], rows[-1][-1]) == ("x (in-sample)", "ours")
    rates = [float(row[1]) for row in rows]
    assert rates == sorted(rates)


def test_results_of_a_list_that_is_not_described_are_refused(tmp_path):
    path = make_scores(tmp_path, "x")
    changed = write_changed(tmp_path, {"results": {"Dev": {"eer_percent": {"all/all": 3.0}}}})
    assert "there is no 'Dev'" in refusal("metrics", path, "--published", changed)
    changed.write_text(write_changed(tmp_path, {}).read_text().replace("4000000", "1128"))
    message = refusal("metrics", path, "--published", changed)
    assert "dev, eval-A have 1,128 trials; give --list" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--list", "test"], "there is no 'test'; take one of dev, eval-A"),
        (["a/x.score"], "two score files are called x: write NAME=a/x.score"),
        (["none.score"], "none.score is missing"),
        (["--p-target", "0.3"], "leave out --p-target"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    command = ("metrics", make_scores(tmp_path, "x"), *arguments, "--published", PUBLISHED)
    assert message in refusal(*command)

"""Numbers of the page against those of `tidyvoice metrics` and a plain computation."""

import json
import re

import numpy as np
import pytest
from conftest import succeed

from tests.report.support import Page, make_trials, plain_rates
from tidyvoice.scoring.trials import read_scores

TRIALS = make_trials()
LABEL, PARTS = TRIALS.label, np.array([i.split("/") for i in TRIALS.ids])
SIDES = [PARTS[side] for side in (TRIALS.enroll, TRIALS.test)]


def cell(value, bounds=None, scale=100, places=2, sign=""):
    """A number as the page's cells have it, with its interval."""
    if value is None:
        return "n/a"
    values = [value, *(bounds or ())]
    text, *ends = (f"{scale * v:{sign}.{places}f}".replace("-", "−") for v in values)
    return text + (f"[{', '.join(ends)}]" if bounds else "")


@pytest.fixture(scope="module")
def page(pages) -> Page:
    return Page(pages["two"].read_text())


@pytest.fixture(scope="module")
def metrics(pages) -> dict:
    folders = pages["main"], pages["other"]
    systems = [f"{folder.name}={folder / 'scores' / 'dev.score'}" for folder in folders]
    return json.loads(succeed("metrics", *systems, "--bootstrap", 200, "--json"))


@pytest.fixture(scope="module")
def scores(pages) -> np.ndarray:
    return read_scores(pages["main"] / "scores" / "dev.score").scores


def test_the_summary_shows_the_metrics_and_their_differences(page, metrics, pages):
    rows = page.tables["summary"][1:]
    for row, system in zip(rows, metrics["systems"].values(), strict=False):
        pooled, *categories = system["categories"]
        first, second = pooled["points"]
        costs = [cell(pooled[key], None, 1, 3) for key in ("act_dcf", "cllr")]
        costs = costs if system["calibrated"] else ["–", "–"]
        assert row[1:] == [
            cell(pooled["eer"], pooled["eer_interval"]),
            cell(first["min_dcf"], first["min_dcf_interval"], 1, 3),
            cell(second["min_dcf"], None, 1, 3), *costs, cell(pooled["min_cllr"], None, 1, 3),
            *(cell(category["eer"]) for category in categories),
        ]  # fmt: skip
    assert rows[2] == ["Difference to fine & tuned"]
    eer = metrics["differences"]["scratch"]["eer"]["all/all"]
    assert rows[3][:2] == ["scratch", cell(eer["value"], eer["interval"], sign="+")]
    assert rows[3][4:7] == ["–"] * 3
    assert f"<strong>+{100 * eer['value']:.2f}</strong>" in pages["two"].read_text()
    assert metrics["systems"]["scratch"]["trials"] in page.tables["versions"][-1]


def test_categories_and_languages_have_their_metrics(page, metrics):
    main = metrics["systems"]["fine & tuned"]
    for row, category in zip(page.tables["categories"][1:], main["categories"], strict=True):
        counts = [f"{category[key]:,}" for key in ("targets", "nontargets")]
        eer = cell(category["eer"], category["eer_interval"])
        assert row[:4] == [category["category"], *counts, eer]
    for name, key in (("by-language", "languages"), ("pairs", "pairs")):
        shown = [row[:1] + row[3:] for row in page.tables[name][1:]]
        ordered = sorted(main[key], key=lambda row: -(row["eer"] or 0))
        assert shown == [
            [" – ".join(dict.fromkeys(row["languages"])), cell(row["eer"]),
             cell(row["min_dcf"], None, 1, 3)]
            for row in ordered
        ]  # fmt: skip
    titles = dict(title.split(": ", 1) for title in page.titles)
    assert len(titles) == 6
    for pair in main["pairs"]:
        title = titles[" – ".join(dict.fromkeys(pair["languages"]))]
        counts = f"{pair['targets']:,} targets, {pair['nontargets']:,} non-targets"
        if pair["eer"] is None:
            assert title == f"{counts}: no EER without both"
        else:
            assert title == f"EER {100 * pair['eer']:.2f} %, {counts}"


def test_the_hardest_speakers_have_the_highest_rates(page, scores, pages):
    (shown,) = re.findall(r"at the EER threshold, (\S+),", pages["two"].read_text())
    # The threshold is one of the scores, and the page rounds it.
    threshold = scores[np.argmin(np.abs(scores - float(shown.replace("−", "-"))))]
    fnr, fpr = plain_rates(scores, LABEL, [threshold])
    assert abs(fnr[0] - fpr[0]) < 0.01
    rows = page.tables["hard-speakers"][1:]
    for name, *cells, languages in rows:
        one, other = (side[:, 0] == name for side in SIDES)
        expected = []
        for trials, accepted in ((one & LABEL, False), ((one | other) & ~LABEL, True)):
            rate = ((scores[trials] >= threshold) == accepted).mean()
            expected += [str(trials.sum()), cell(rate)]
        assert cells == expected
        assert languages == ("de" if name == "s7" else "en, fr")
    rates = [float(row[2]) + float(row[4]) for row in rows]
    assert len(rows) == 8
    assert rates == sorted(rates, reverse=True)


def test_the_hardest_trials_are_at_the_wrong_end(page, scores):
    for name, kind, sign in (("hard-targets", True, 1), ("hard-nontargets", False, -1)):
        expected = []
        for t in [t for t in np.argsort(sign * scores) if LABEL[t] == kind][:10]:
            ids = [TRIALS.ids[side[t]] for side in (TRIALS.enroll, TRIALS.test)]
            spoken = " – ".join(dict.fromkeys(str(side[t, 1]) for side in SIDES))
            expected.append([*ids, cell(scores[t], None, 1, 4), spoken])
        assert page.tables[name][1:] == expected

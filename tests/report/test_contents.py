"""Numbers of the page against a plain computation from the scores."""

import json
import re

import numpy as np
import pytest
from conftest import succeed

from tests.report.support import Page, make_trials, plain_eer, plain_rates
from tidyvoice.evaluation.bootstrap import resample
from tidyvoice.evaluation.categories import OPERATING_POINTS, POOLED
from tidyvoice.scoring.groups import languages_of, speakers_of
from tidyvoice.scoring.trials import read_scores

TRIALS = make_trials()
PARTS = np.array([i.split("/") for i in TRIALS.ids])
SIDES = [PARTS[side] for side in (TRIALS.enroll, TRIALS.test)]


def numbers(cell: str) -> list[float]:
    return [float(n.replace("−", "-")) for n in re.findall(r"[+−]?\d+\.\d+", cell)]


@pytest.fixture(scope="module")
def page(pages) -> Page:
    return Page(pages["two"].read_text())


@pytest.fixture(scope="module")
def scores(pages) -> list[np.ndarray]:
    return [
        np.array([float(line.split()[2]) for line in path.read_text().splitlines()])
        for path in (pages[name] / "scores" / "dev.score" for name in ("main", "other"))
    ]


def test_the_summary_shows_the_metrics(page, scores, pages):
    # The rows of differences, below, have the same names.
    rows = {row[0]: row for row in reversed(page.tables["summary"])}
    same = SIDES[0][:, 1] == SIDES[1][:, 1]
    for name, values in zip(("fine & tunedin-sample", "scratch"), scores, strict=True):
        _, rate, cost, second, actual, cllr, _, *categories = rows[name]
        value, low, high = numbers(rate)
        assert value == pytest.approx(100 * plain_eer(values, TRIALS.label), abs=0.0051)
        assert low < value < high
        fnr, fpr = plain_rates(values, TRIALS.label, [*np.unique(values), np.inf])
        assert numbers(cost)[0] == pytest.approx((fnr + 99 * fpr).min(), abs=0.00051)
        assert numbers(second) == [pytest.approx((fnr + 19 * fpr).min(), abs=0.00051)]
        kinds = [(same if kind else ~same) for kind in (0, 1)]
        expected = [
            100 * plain_eer(values[chosen], TRIALS.label[chosen])
            for t in kinds
            for n in kinds
            if (chosen := np.where(TRIALS.label, t, n)).any()
        ]
        assert [float(cell) for cell in categories] == pytest.approx(expected, abs=0.0051)
        if name == "scratch":
            assert (actual, cllr) == ("–", "–")
            continue
        fnr, fpr = plain_rates(values, TRIALS.label, [np.log(99)])
        assert float(actual) == pytest.approx(fnr[0] + 99 * fpr[0], abs=0.00051)
        bits = [
            np.log2(1 + np.exp(sign * values[kind])).mean()
            for sign, kind in ((-1, TRIALS.label), (1, ~TRIALS.label))
        ]
        assert float(cllr) == pytest.approx(np.mean(bits), abs=0.00051)
    trials = json.loads(succeed("metrics", pages["main"] / "scores" / "dev.score", "--json"))[
        "trials"
    ]
    assert page.cells.count(trials) == 2


def test_a_difference_has_the_interval_of_paired_resamples(page, scores, pages):
    row = page.tables["summary"][-1]
    value, low, high = numbers(row[1])
    expected = plain_eer(scores[1], TRIALS.label) - plain_eer(scores[0], TRIALS.label)
    assert value == pytest.approx(100 * expected, abs=0.0051)
    assert 0 < low < value < high
    assert f"<strong>+{value:.2f}</strong>" in pages["two"].read_text()
    draws = []
    for name in ("main", "other"):
        table = read_scores(pages[name] / "scores" / "dev.score")
        groups = languages_of(table.trials), speakers_of(table.trials)
        draws.append(resample(table, *groups, OPERATING_POINTS, 200)[POOLED])
    for cell, scale, drawn in (
        (row[1], 100, draws[1].eer - draws[0].eer),
        (row[2], 1, draws[1].min_dcf[0] - draws[0].min_dcf[0]),
    ):
        bounds = scale * np.quantile(drawn, [0.025, 0.975])
        assert numbers(cell)[1:] == pytest.approx(bounds, abs=0.0051)
    assert row[4:7] == ["–"] * 3


def test_categories_count_their_trials(page):
    rows = page.tables["categories"]
    same = SIDES[0][:, 1] == SIDES[1][:, 1]
    targets, others = int((TRIALS.label & same).sum()), int((~TRIALS.label & ~same).sum())
    assert rows[1][1:3] == [f"{TRIALS.label.sum():,}", f"{(~TRIALS.label).sum():,}"]
    assert rows[4][:3] == ["same/different", f"{targets:,}", f"{others:,}"]


def test_a_cell_of_the_matrix_is_the_error_rate_of_its_pair(page, scores):
    spoken = np.sort(np.stack([side[:, 1] for side in SIDES], 1), axis=1)
    pairs = {" – ".join(row[0].split(" – ")): row for row in page.tables["pairs"][1:]}
    assert len(page.titles) == 6
    for one, two in (("en", "en"), ("en", "fr"), ("fr", "fr"), ("de", "de"), ("de", "fr")):
        chosen = (spoken[:, 0] == one) & (spoken[:, 1] == two)
        label = TRIALS.label[chosen]
        counts = f"{label.sum():,} targets, {(~label).sum():,} non-targets"
        name = one if one == two else f"{one} – {two}"
        said = next(title for title in page.titles if title.startswith(f"{name}: "))
        if not label.any() or label.all():
            assert said == f"{name}: {counts}: no EER without both"
            assert pairs[name][3:] == ["n/a", "n/a"]
            continue
        rate = 100 * plain_eer(scores[0][chosen], label)
        assert said == f"{name}: EER {rate:.2f} %, {counts}"
        assert pairs[name][3] == f"{rate:.2f}"


def test_languages_come_hardest_first(page, scores):
    rows = page.tables["by-language"][1:]
    rates = {}
    for name in ("de", "en", "fr"):
        chosen = (SIDES[0][:, 1] == name) | (SIDES[1][:, 1] == name)
        rates[name] = plain_eer(scores[0][chosen], TRIALS.label[chosen])
    assert [row[0] for row in rows] == sorted(rates, key=rates.get, reverse=True)
    assert [row[3] for row in rows] == [f"{100 * rates[row[0]]:.2f}" for row in rows]


def test_the_hardest_speakers_have_the_highest_rates(page, scores, pages):
    (shown,) = re.findall(r"at the EER threshold, (\S+),", pages["two"].read_text())
    # The threshold is one of the scores, and the page rounds it.
    threshold = scores[0][np.argmin(np.abs(scores[0] - float(shown.replace("−", "-"))))]
    fnr, fpr = plain_rates(scores[0], TRIALS.label, [threshold])
    assert abs(fnr[0] - fpr[0]) < 0.01
    expected = []
    for name in np.unique(SIDES[0][:, 0]):
        own = [side[:, 0] == name for side in SIDES]
        targets, others = own[0] & TRIALS.label, (own[0] | own[1]) & ~TRIALS.label
        miss = 100 * (scores[0][targets] < threshold).mean()
        alarm = 100 * (scores[0][others] >= threshold).mean()
        cells = [name, str(targets.sum()), f"{miss:.2f}", str(others.sum()), f"{alarm:.2f}"]
        expected.append((-(miss + alarm), [*cells, "de" if name == "s7" else "en, fr"]))
    assert page.tables["hard-speakers"][1:] == [cells for _, cells in sorted(expected)]


def test_the_hardest_trials_are_at_the_wrong_end(page, scores):
    for name, kind, sign in (("hard-targets", True, 1), ("hard-nontargets", False, -1)):
        order = [t for t in np.argsort(sign * scores[0]) if TRIALS.label[t] == kind][:10]
        rows = page.tables[name][1:]
        assert [row[:2] for row in rows] == [
            [TRIALS.ids[TRIALS.enroll[t]], TRIALS.ids[TRIALS.test[t]]] for t in order
        ]
        shown = [float(row[2].replace("−", "-")) for row in rows]
        assert shown == pytest.approx(scores[0][order], abs=0.000051)
        for row, t in zip(rows, order, strict=True):
            spoken = [side[t, 1] for side in SIDES]
            assert row[3] == (spoken[0] if len(set(spoken)) == 1 else " – ".join(spoken))


def test_reliability_counts_its_bins(page, scores):
    rows = page.tables["reliability-bins"][1:]
    assert [rows[0][0], rows[8][0], rows[-1][0]] == ["below −10", "−3 to −2", "10 and above"]
    inside = (scores[0] >= -3) & (scores[0] < -2)
    targets, others = int((inside & TRIALS.label).sum()), int((inside & ~TRIALS.label).sum())
    assert targets
    assert others > 50
    share = targets / TRIALS.label.sum()
    observed = 100 * share / (share + others / (~TRIALS.label).sum())
    assert rows[8][1:3] == [str(targets), str(others)]
    assert float(rows[8][4]) == pytest.approx(observed, abs=0.0051)
    assert 100 / (1 + np.exp(3)) < float(rows[8][3]) < 100 / (1 + np.exp(2))
    total = sum(int(row[1]) + int(row[2].replace(",", "")) for row in rows)
    assert total == len(TRIALS)

"""Labels from a trial list: any order and spelling; the first pair that is in one list only."""

import json

import numpy as np
import pytest

from tests.conftest import refusal, succeed


@pytest.fixture
def lists(tmp_path):
    """Scores of 60 pairs of flat ids without labels, the same with labels, and a key."""
    rng = np.random.Generator(np.random.PCG64(31))
    pairs = [(f"j{a:02d}", f"k{b:02d}") for a in range(10) for b in range(6)]
    labels = (rng.random(60) < 0.3).astype(int)
    scores = np.round(rng.standard_normal(60) + 2 * labels, 3)
    bare = [f"{a} {b} {s}" for (a, b), s in zip(pairs, scores, strict=True)]
    full = [f"{r} {('nontarget', 'target')[x]}" for r, x in zip(bare, labels, strict=True)]
    key = [f"{x} {a}.wav {b}.wav" for (a, b), x in zip(pairs, labels, strict=True)]
    for name, lines in {"bare": bare, "full": full, "key": key}.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    return tmp_path


def change(lists, edit):
    """Edit the lines of the key."""
    rows = (lists / "key").read_text().splitlines()
    edit(rows)
    (lists / "key").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("shuffled", [False, True])
def test_metrics_are_those_of_a_labelled_file(lists, shuffled):
    change(lists, lambda rows: shuffled and rows.sort(key=lambda row: row[::-1]))
    bare, full = lists / "bare", lists / "full"
    found = [
        succeed("metrics", *arguments, "--json").replace(str(bare), str(full))
        for arguments in ((bare, "--trials", lists / "key"), (full,))
    ]
    assert found[0] == found[1]  # the checksum of the trials covers each label
    # Labels that agree are no mistake.
    assert found[1] == succeed("metrics", full, "--trials", lists / "key", "--json")


@pytest.mark.parametrize(
    ("place", "lines", "problem"),
    [
        (7, ["1 k01.wav j01.wav"], "bare:8: the trial 'j01 k01' is not in {}/key"),
        (0, ["1 x y", "1 x z", "0 j00.wav k00.wav"],
         "key:1: the trial 'x y' (1 more such) has no score in {}/bare"),
    ],
)  # fmt: skip
def test_lists_that_do_not_match_are_refused_with_the_line(lists, place, lines, problem):
    change(lists, lambda rows: rows.__setitem__(slice(place, place + 1), lines))
    message = refusal("metrics", lists / "bare", "--trials", lists / "key")
    assert f"{lists}/{problem.format(lists)}" in message


def test_labels_must_agree(lists):
    change(lists, lambda rows: rows.append(f"{1 - int(rows[4][0])}{rows.pop(4)[1:]}"))
    message = refusal("metrics", lists / "full", "--trials", lists / "key")
    assert f"{lists}/full:5: the trial 'j00 k04' has another label in {lists}/key" in message


def test_a_report_takes_labels_for_one_of_its_systems(lists):
    page = ("--out", lists / "page.html", "--bootstrap", 0)
    both = ("report", lists / "full", "--compare", f"theirs={lists / 'bare'}", *page)
    assert "bare: metrics need labels" in refusal(*both)
    text = succeed(*both, "--trials", f"theirs={lists / 'key'}", "--json")
    ours, theirs = json.loads(text)["systems"].values()
    assert ours["categories"] == theirs["categories"]
    assert f"<code>{lists / 'key'} (sha256" in (lists / "page.html").read_text()

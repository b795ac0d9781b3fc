"""Labels from a trial list: any order and spelling; the first pair that is in one list only."""

import json

import numpy as np
import pytest

from tests.scoring.support import refusal, succeed
from tidyvoice.evaluation.labels import read_labelled
from tidyvoice.scoring.lineage import write_with_lineage
from tidyvoice.scoring.provenance import Step
from tidyvoice.scoring.trials import read_scores


@pytest.fixture
def lists(tmp_path):
    """Scores of 60 pairs of flat ids without labels, the same with labels, and a key."""
    rng = np.random.Generator(np.random.PCG64(31))
    pairs = [(f"j{a:02d}", f"k{b:02d}") for a in range(10) for b in range(6)]
    labels = (rng.random(60) < 0.3).astype(int)
    scores = np.round(rng.standard_normal(60) + 2 * labels, 3)
    rows = list(zip(pairs, labels, scores, strict=True))
    kinds = ("nontarget", "target")
    (tmp_path / "bare").write_text("".join(f"{a} {b} {s}\n" for (a, b), _, s in rows))
    (tmp_path / "full").write_text("".join(f"{a} {b} {s} {kinds[x]}\n" for (a, b), x, s in rows))
    write_key(tmp_path, [(x, f"{a}.wav", f"{b}.wav") for (a, b), x, _ in rows])
    return tmp_path


def read_key(folder):
    return [line.split() for line in (folder / "key").read_text().splitlines()]


def write_key(folder, rows):
    (folder / "key").write_text("".join("{} {} {}\n".format(*row) for row in rows))


@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)], ids=["same", "reversed"])
def test_metrics_are_those_of_a_labelled_file(lists, order):
    write_key(lists, read_key(lists)[order])
    bare, full = lists / "bare", lists / "full"
    found = [
        succeed("metrics", *arguments, "--json").replace(str(bare), str(full))
        for arguments in ((bare, "--trials", lists / "key"), (full,))
    ]
    assert found[0] == found[1]
    # Labels that agree are no mistake.
    assert found[1] == succeed("metrics", full, "--trials", lists / "key", "--json")


def test_each_trial_gets_the_label_of_its_pair(lists):
    rng = np.random.Generator(np.random.PCG64(32))
    write_key(lists, [read_key(lists)[place] for place in rng.permutation(60)])
    found, expected = read_labelled(lists / "bare", lists / "key"), read_scores(lists / "full")
    np.testing.assert_array_equal(found.trials.label, expected.trials.label)
    np.testing.assert_array_equal(found.scores, expected.scores)


def change(lists, place, row):
    rows = read_key(lists)
    rows[place : place + 1] = row
    write_key(lists, rows)


@pytest.mark.parametrize(
    ("place", "rows", "said"),
    [
        (7, [], "bare:8: the trial 'j01 k01' is not in {}/key; give"),
        (7, [("1", "j01.wav", "new")], "bare:8: the trial 'j01 k01' is not in {}/key; give"),
        (7, [("1", "k01.wav", "j01.wav")], "bare:8: the trial 'j01 k01' is not in"),
        (0, [("1", "x", "y"), ("1", "x", "z"), ("0", "j00.wav", "k00.wav")],
         "key:1: the trial 'x y' has no score in {}/bare (1 more such lines); give the list"),
        (59, [("1", "j09.wav", "k05.wav"), ("0", "j09.wav", "k05.wav")],
         "key:61: the trial 'j09.wav k05.wav' is already in line 60, 1 of them with the other"),
        (3, [("x", "j00.wav", "k03.wav")], "key:4: the line is 'x j00.wav k03.wav'"),
    ],
)  # fmt: skip
def test_lists_that_do_not_match_are_refused_with_the_line(lists, place, rows, said):
    change(lists, place, rows)
    message = refusal("metrics", lists / "bare", "--trials", lists / "key")
    assert f"{lists}/{said.format(lists)}" in message


def test_labels_are_needed_and_must_agree(lists):
    assert "metrics need labels; score a list" in refusal("metrics", lists / "bare")
    label, *pair = read_key(lists)[4]
    change(lists, 4, [(1 - int(label), *pair)])
    message = refusal("metrics", lists / "full", "--trials", lists / "key")
    assert f"{lists}/full:5: 'j00 k04' is a " in message
    (lists / "key").write_text("j00 k00\n")
    message = refusal("metrics", lists / "bare", "--trials", lists / "key")
    assert f"{lists}/key:1: a list without labels" in message


def test_a_report_takes_labels_for_one_of_its_systems(lists):
    steps = [Step(step="cosine"), Step(step="calibration")]
    write_with_lineage(lists / "bare", read_scores(lists / "bare"), steps)
    page = ("--out", lists / "page.html", "--bootstrap", 0)
    both = ("report", lists / "full", "--compare", f"theirs={lists / 'bare'}", *page)
    assert "bare: metrics need labels" in refusal(*both)
    said = succeed(*both, "--trials", f"theirs={lists / 'key'}", "--json")
    ours, theirs = json.loads(said)["systems"].values()
    assert ours["categories"] == theirs["categories"]
    text = (lists / "page.html").read_text()
    assert f'labels of theirs</th><td class="text"><code>{lists / "key"} (sha256' in text
    assert "NAME is one of full, theirs" in refusal(*both, "--trials", lists / "key")

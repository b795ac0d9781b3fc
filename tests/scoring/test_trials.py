"""Trial lists and score files: every format, every white space, and errors by file and line."""

import gzip
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from tests.scoring.support import refused
from tidyvoice.errors import TidyVoiceWarning
from tidyvoice.scoring.trials import (
    ScoreTable,
    Trials,
    checksum,
    read_scores,
    read_trials,
    write_scores,
)

ROWS = [
    ("a/en/1.wav", "b/fr/2.wav", True), ("b/fr/2.wav", "a/en/1.wav", False),
    ("a/en/1.wav", "a/en/3.wav", True), ("b/fr/2.wav", "c/fr/1.wav", False),
    ("a/en/3.wav", "a/en/1.wav", True), ("c/fr/1.wav", "b/fr/2.wav", False),
]  # fmt: skip


def written(tmp_path, text: str | bytes, name: str = "list"):
    path = tmp_path / name
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def rows(trials: Trials) -> list[tuple]:
    label = [None] * len(trials) if trials.label is None else trials.label.tolist()
    return [
        (trials.ids[e], trials.ids[t], x)
        for e, t, x in zip(trials.enroll, trials.test, label, strict=True)
    ]


@pytest.fixture(params=[False, True], ids=["one block", "many blocks"])
def _blocks(request, monkeypatch):
    if request.param:
        monkeypatch.setattr("tidyvoice.scoring.columns.BLOCK_BYTES", 40)
        monkeypatch.setattr("tidyvoice.scoring.trials.BLOCK", 4)


WORDS = {
    "target last": lambda e, t, x: (e, t, "target" if x else "nontarget"),
    "digit first": lambda e, t, x: ("1" if x else "0", e, t),
    "no label": lambda e, t, x: (e, t),
}
SPACES = {
    "space": lambda words: " ".join(words) + "\n",
    "tab": lambda words: "\t".join(words) + "\n",
    "mixed": lambda words: "  " + " \t ".join(words) + "\t \n",
    "carriage return": lambda words: " ".join(words) + "\r\n",
}


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("name", ["list", "list.gz"])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("words", WORDS)
def test_each_format_with_each_white_space(tmp_path, words, space, name):
    text = "".join(SPACES[space](WORDS[words](*row)) for row in ROWS)
    labelled = words != "no label"
    expected = [(e, t, x if labelled else None) for e, t, x in ROWS]
    for end in ("", "\n \n"):
        assert rows(read_trials(written(tmp_path, text.rstrip() + end, name))) == expected


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": the file is empty"),
        (" \n\t\n", ": the file is empty"),
        ("a\n", ":1: 1 columns"),
        ("a b c d\n", ":1: 4 columns"),
        ("a b c\n", ":1: 3 columns in 'a b c'; expected"),
        ("a b target\n" * 9 + "a b\n", ":10: 2 columns where the first line has 3"),
        ("a b target\n" * 9 + "a b c target\na b\n", ":10: 4 columns"),
        ("a b target\n" * 9 + "a b c target\na b\n" * 3, "first line has 3 (5 more such lines)"),
        ("a b\n\tc\n" * 9, ":2: 1 columns where the first line has 2 (8 more such lines)"),
        ("a b\tx y\n" * 2, ":1: 4 columns"),
        ("a b\n" * 3 + "c\td e\n", ":4: 3 columns"),
        ("a b\n" * 20 + "\na b\n", ":21: 0 columns"),
        ("\na b\n", ":1: 0 columns"),
        ("aaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbb\n\na b\n" * 2, ":2: 0 columns"),
        ("a b target\n" * 9 + "a b Target\n", ":10: bad label 'Target'"),
        ("1 a b\n" * 9 + "target a b\n", ":10: bad label 'target', use '1' or '0'; expected"),
        ("a b target\n" + "a b no\na b target\n" * 5, ":2: bad label 'no', use 'target' or"),
        ("a b target\n" + "a b no\na b target\n" * 5, "'nontarget' (4 more such lines)"),
        (b"a b\xff\n", "not UTF-8 text"),
    ],
)
def test_a_bad_list_is_named_with_its_line(tmp_path, text, said):
    path = written(tmp_path, text)
    message = refused(read_trials, path)
    assert message.startswith(str(path))
    assert said in message


@pytest.mark.usefixtures("_blocks")
def test_a_trial_that_stands_twice_is_told(tmp_path):
    lines = [f"u{n % 7} u{n % 11} target" for n in range(77)]  # all pairs, each once
    read_trials(written(tmp_path, "\n".join(lines)))
    again = [*lines, lines[40], "u0 u0 target", lines[5]]
    with pytest.warns(TidyVoiceWarning) as told:
        trials = read_trials(written(tmp_path, "\n".join(again)))
    assert len(trials) == 80
    message = str(told[0].message)
    assert message.startswith(f"{tmp_path / 'list'}:78: the trial 'u5 u7' is already in line 41")
    assert "(2 more such lines)" in message
    other = [*again, "u3 u3 nontarget"]
    message = refused(read_trials, written(tmp_path, "\n".join(other)))
    assert ":78: the trial 'u5 u7'" in message
    assert "1 of them with the other label" in message


@pytest.mark.usefixtures("_blocks")
def test_the_order_of_ids_is_that_of_the_file(tmp_path):
    lines = [f"u{n * 7 % 50} u{n * 11 % 50}" for n in range(50)]
    expected = list(dict.fromkeys(word for line in lines for word in line.split()))
    assert read_trials(written(tmp_path, "\n".join(lines))).ids == expected


def test_a_missing_or_damaged_file_is_named(tmp_path):
    assert "no such file" in refused(read_trials, tmp_path / "none")
    for name, content in (("cut.gz", gzip.compress(b"a b\n" * 100)[:-9]), ("plain.gz", b"a b\n")):
        (tmp_path / name).write_bytes(content)
        assert "damaged gzip file" in refused(read_trials, tmp_path / name)


def test_ids_match_without_one_trailing_wav(tmp_path):
    trials = read_trials(written(tmp_path, "a.wav b\nb c.wav.wav\n"))
    places = trials.places_in(["b.wav", "c.wav.wav", "a", "x"], "embedding")
    assert places.tolist() == [2, 0, 1]
    assert "for 'c.wav.wav'" in refused(trials.places_in, ["a", "b", "c.wav"], "embedding")
    assert rows(trials)[0] == ("a.wav", "b", None)
    message = refused(trials.places_in, ["a", "b", "b.wav"], "embedding")
    assert "'b' and 'b.wav' are the same id" in message
    trials = read_trials(written(tmp_path, "a.wav b\na b\n"))
    assert "'a.wav' and 'a' are the same id" in refused(trials.places_in, ["a", "b"], "embedding")


def test_ids_without_embedding_are_named_with_line_and_number(tmp_path):
    trials = read_trials(written(tmp_path, "a b\na x\ny b\nz x\n"))
    message = refused(trials.places_in, ["a", "b"], "embedding")
    assert message.startswith(f"{tmp_path / 'list'}:2: no embedding for 'x', nor for 2 more")


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("name", ["scores", "scores.gz"])
@pytest.mark.parametrize("labelled", [True, False])
def test_scores_come_back_bit_for_bit(tmp_path, name, labelled):
    text = "".join(SPACES["tab"](WORDS["target last"](*row)[: 2 + labelled]) for row in ROWS)
    trials = read_trials(written(tmp_path, text))
    for dtype in (np.float32, np.float64):
        scores = np.array([0.1, -1 / 3, 1e-12, 1, -0.0, 7e22], dtype=dtype)
        write_scores(tmp_path / name, ScoreTable(trials, scores))
        first = (tmp_path / name).read_bytes()
        table = read_scores(tmp_path / name)
        np.testing.assert_array_equal(table.scores.astype(dtype), scores)
        assert rows(table.trials) == rows(trials)
        write_scores(tmp_path / name, ScoreTable(table.trials, scores))
        assert (tmp_path / name).read_bytes() == first
    first_line = (gzip.decompress(first) if name.endswith(".gz") else first).splitlines()[0]
    assert first_line == b"a/en/1.wav b/fr/2.wav 0.1" + b" target" * labelled


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a b nan target", "the score 'nan' is not a finite number"),
        ("a b inf target", "the score 'inf' is not a finite number"),
        ("a b target 0.5", "the score 'target' is not a finite number"),
        ("a b 0.5 1", "bad label '1'"),
        ("a b 0.5", "3 columns where the first line has 4"),
    ],
)
def test_a_bad_score_is_named_with_its_line(tmp_path, line, said):
    lines = [f"u{n} b 0.5 target\n" for n in range(9)]
    path = written(tmp_path, "".join([*lines, line, "\n", *lines]))
    message = refused(read_scores, path)
    assert message.startswith(f"{path}:10:")
    assert said in message
    path = written(tmp_path, "".join([*lines, line + "\n", *lines, line + "\n", *lines]))
    assert "(1 more such lines)" in refused(read_scores, path)


def test_scores_that_do_not_fit_are_not_written(tmp_path):
    trials = read_trials(written(tmp_path, "a b\nb a\n"))
    assert "(3,) scores for 2 trials" in refused(
        write_scores, tmp_path / "s", ScoreTable(trials, np.zeros(3))
    )
    bad = ScoreTable(trials, np.array([0.0, np.nan]))
    assert "the first is that of trial 2" in refused(write_scores, tmp_path / "s", bad)
    assert not (tmp_path / "s").exists()


def test_the_checksum_is_that_of_the_plain_list(tmp_path):
    text = "".join(SPACES["space"](WORDS["target last"](*row)) for row in ROWS)
    expected = hashlib.sha256(text.encode()).hexdigest()
    for words in ("target last", "digit first"):
        other = "".join(SPACES["tab"](WORDS[words](*row)) for row in ROWS)
        assert checksum(read_trials(written(tmp_path, other))) == expected


def test_scoring_imports_no_torch_and_scikit_learn_only_to_fit():
    modules = "scoring.embeddings, tidyvoice.report, tidyvoice.scoring.pipeline"
    code = f"import sys, tidyvoice.{modules}; print({{'torch', 'sklearn'}} & {{*sys.modules}})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"

"""Trial lists and score files: every format, every white space, and errors by file and line."""

import gzip
import hashlib

import numpy as np
import pytest

from tests.conftest import refused
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
]  # fmt: skip
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


def written(tmp_path, text: str | bytes, name: str = "list"):
    path = tmp_path / name
    data = text.encode() if isinstance(text, str) else text
    path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
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


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("name", ["list", "list.gz"])
@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("words", WORDS)
def test_each_format_with_each_white_space(tmp_path, words, space, name):
    text = "".join(SPACES[space](WORDS[words](*row)) for row in ROWS)
    expected = [(e, t, None if words == "no label" else x) for e, t, x in ROWS]
    for end in ("", "\n \n"):
        assert rows(read_trials(written(tmp_path, text.rstrip() + end, name))) == expected


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("a b\n" * 20 + "\na b\n", 21),
        ("a b target\n" * 9 + "a b\na b c target\n", 10),
        ("1 a b\n" * 9 + "target a b\n", 10),
        ("a b target\n" + "a b no\na b target\n" * 5, 2),
        (b"a b\n" * 30 + b"a b\xff\n", 31),
    ],
)
def test_the_first_faulty_line_is_named(tmp_path, text, line):
    path = written(tmp_path, text)
    assert refused(read_trials, path).startswith(f"{path}:{line}: ")


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    "line", ["a b nan target", "a b 1e999 target", "a b 1_0 target", "a b 0.5"]
)
def test_the_first_bad_score_is_named(tmp_path, line):
    lines = [f"u{n} b 0.5 target\n" for n in range(9)]
    path = written(tmp_path, "".join([*lines, line, "\n", *lines, line]))
    message = refused(read_scores, path)
    assert message.startswith(f"{path}:10: ")
    assert repr(line) in message


@pytest.mark.usefixtures("_blocks")
def test_a_repeated_trial_is_a_warning_and_with_another_label_an_error(tmp_path):
    lines = [f"u{n % 7} u{n % 11} target" for n in range(77)]  # all pairs, each once
    assert len(read_trials(written(tmp_path, "\n".join(lines)))) == 77
    again = [*lines, lines[40], "u0 u0 target", lines[5]]
    with pytest.warns(TidyVoiceWarning, match=r":78: .*'u5 u7' .* line 41 \(2 more") as warned:
        trials = read_trials(written(tmp_path, "\n".join(again)))
    assert (len(trials), len(warned)) == (80, 1)
    message = refused(read_trials, written(tmp_path, "\n".join([*again, "u3 u3 nontarget"])))
    assert ":78: the trial 'u5 u7'" in message
    assert "1 of them with the other label" in message


@pytest.mark.usefixtures("_blocks")
def test_the_order_of_ids_is_that_of_the_file(tmp_path):
    lines = [f"u{n * 7 % 50} u{n * 11 % 50}" for n in range(50)]
    expected = list(dict.fromkeys(word for line in lines for word in line.split()))
    assert read_trials(written(tmp_path, "\n".join(lines))).ids == expected


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(b"a b\n" + b"c d" * 2**21, mtime=0), "a line of 1,048,576 bytes or more"),
        (gzip.compress(b"a b\n" * 2**21, mtime=0), "it expands to more than 200 times its size"),
    ],
)
def test_a_file_that_expands_without_end_is_refused(tmp_path, content, reason):
    path = tmp_path / "list.gz"
    path.write_bytes(content)
    message = refused(read_trials, path)
    assert message.startswith(f"{path} is not a readable text file of columns ({reason}")


def test_text_in_utf_16_is_refused_and_a_byte_order_mark_is_no_letter(tmp_path):
    text = "1 a b\n0 c d\n"
    assert read_trials(written(tmp_path, text.encode("utf-8-sig"))).ids == ["a", "b", "c", "d"]
    for place, line in ((0, text.encode("utf-16")), (1, b"1 a b\n" + b"0 a\0 c\n")):
        path = written(tmp_path, line)
        assert refused(read_trials, path).startswith(f"{path}:{place + 1}: ")


def test_ids_match_without_one_trailing_wav(tmp_path):
    trials = read_trials(written(tmp_path, "a.wav b\nb c.wav.wav\n"))
    places = trials.places_in(["b.wav", "c.wav.wav", "a", "x"], "embedding")
    assert places.tolist() == [2, 0, 1]
    message = refused(trials.places_in, ["b", "c.wav"], "embedding")
    assert message.startswith(f"{tmp_path / 'list'}:1: no embedding for 'a.wav', nor for 1 more")
    message = refused(trials.places_in, ["a", "b", "b.wav"], "embedding")
    assert "'b' and 'b.wav' are the same id" in message


@pytest.mark.usefixtures("_blocks")
@pytest.mark.parametrize("name", ["scores", "scores.gz"])
@pytest.mark.parametrize("labelled", [True, False])
def test_scores_come_back_bit_for_bit(tmp_path, name, labelled):
    text = "".join(SPACES["tab"](WORDS["target last"](*row)[: 2 + labelled]) for row in ROWS)
    trials = read_trials(written(tmp_path, text))
    for dtype in (np.float32, np.float64):
        scores = np.array([0.1, -1 / 3, 1e-12, 7e22], dtype=dtype)
        write_scores(tmp_path / name, ScoreTable(trials, scores))
        first = (tmp_path / name).read_bytes()
        table = read_scores(tmp_path / name)
        np.testing.assert_array_equal(table.scores.astype(dtype), scores)
        assert rows(table.trials) == rows(trials)
        write_scores(tmp_path / name, ScoreTable(table.trials, scores))
        assert (tmp_path / name).read_bytes() == first
    first_line = (gzip.decompress(first) if name.endswith(".gz") else first).splitlines()[0]
    assert first_line == b"a/en/1.wav b/fr/2.wav 0.1" + b" target" * labelled


def test_scores_that_are_not_finite_are_not_written(tmp_path):
    trials = read_trials(written(tmp_path, "a b\nb a\n"))
    bad = ScoreTable(trials, np.array([0.0, np.nan]))
    assert "the first is that of trial 2" in refused(write_scores, tmp_path / "s", bad)
    assert not (tmp_path / "s").exists()


def test_the_checksum_is_that_of_the_plain_list(tmp_path):
    text = "".join(SPACES["space"](WORDS["target last"](*row)) for row in ROWS)
    expected = hashlib.sha256(text.encode()).hexdigest()
    other = "".join(SPACES["tab"](WORDS["digit first"](*row)) for row in ROWS)
    assert checksum(read_trials(written(tmp_path, other))) == expected

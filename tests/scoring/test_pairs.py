"""Trials drawn from a held-out set: how many, how evenly shared, for a seed; and lists compared."""

import hashlib
from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from tests.conftest import refused, seeded
from tidyvoice.scoring import pairs
from tidyvoice.scoring.pairs import difference, make_trials
from tidyvoice.scoring.trials import Trials, read_trials


def drawn(ids, targets, nontargets, seed=0, languages=True):
    speaker, language, _ = zip(*(i.split("/") for i in ids), strict=True)
    return make_trials(ids, speaker, language if languages else None, targets, nontargets, seed)


def rows(trials: Trials) -> list[tuple[str, str]]:
    return [(trials.ids[e], trials.ids[t]) for e, t in zip(trials.enroll, trials.test, strict=True)]


def kind(one: str, other: str) -> tuple[bool, bool]:
    """Tell if two ids have the same speaker, and if they have the same language."""
    a, b = one.split("/"), other.split("/")
    return a[0] == b[0], a[1] == b[1]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("numbers", [(7, 12), (60, 200), (10**6, 10**6)])
def test_each_kind_has_as_many_as_requested_or_all_pairs(monkeypatch, seed, numbers):
    monkeypatch.setattr(pairs, "BLOCK", 50)
    rng = seeded(seed)
    ids = [f"s{rng.integers(9)}/l{rng.integers(3)}/{n}.wav" for n in range(40)]
    existing = Counter(kind(*pair) for pair in combinations(ids, 2))
    trials, lacking = drawn(ids, *numbers, seed=seed)

    unordered = {frozenset(row) for row in rows(trials)}
    assert len(unordered) == len(trials)
    assert {len(pair) for pair in unordered} == {2}
    assert trials.label.tolist() == [kind(*row)[0] for row in rows(trials)]
    assert set(trials.ids) == set().union(*unordered)
    requested = {
        (True, True): ("same-language targets", numbers[0] - numbers[0] // 2),
        (True, False): ("cross-language targets", numbers[0] // 2),
        (False, True): ("same-language non-targets", numbers[1] - numbers[1] // 2),
        (False, False): ("cross-language non-targets", numbers[1] // 2),
    }
    counts = Counter(kind(*row) for row in rows(trials))
    for key, (name, number) in requested.items():
        assert counts[key] == min(number, existing[key])
        assert lacking.get(name, 0) == max(number - existing[key], 0)


def test_speakers_and_pairs_of_speakers_count_the_same():
    # One speaker has 40 utterances, nine have 6.
    ids = [f"s{s}/l{n % 2}/{n}" for s in range(10) for n in range(6 if s else 40)]
    trials, lacking = drawn(ids, 100, 900)
    assert lacking == {}
    speakers = Counter(frozenset((e[:2], t[:2])) for e, t in rows(trials))
    assert [number for pair, number in speakers.items() if len(pair) == 1] == [10] * 10
    assert [number for pair, number in speakers.items() if len(pair) == 2] == [20] * 45
    # A speaker with few pairs gives all of them, and the others more.
    more, lacking = drawn(ids, 200, 0)
    assert lacking == {}
    same = Counter(e[:2] for e, t in rows(more) if kind(e, t)[1])
    assert same == {"s0": 46, **{f"s{s}": 6 for s in range(1, 10)}}


def test_each_pair_is_as_likely_as_another():
    ids = [f"s{s}/l{n % 2}/{n}" for s in range(3) for n in range(5)]
    counts = Counter()
    for seed in range(300):
        counts.update(rows(drawn(ids, 6, 12, seed)[0]))
    # All 30 target and 75 non-target pairs, in both orders. Of 12 same-language targets 3 are
    # drawn a time, one a speaker, so each of their two orders comes 300 / 8 times on average.
    assert len(counts) == 2 * (30 + 75)
    for key, chance in (((1, 1), 3 / 12), ((1, 0), 3 / 18), ((0, 1), 6 / 39), ((0, 0), 6 / 36)):
        numbers = np.array([number for row, number in counts.items() if kind(*row) == key])
        assert numbers.mean() == pytest.approx(300 * chance / 2, rel=1e-9)
        assert np.abs(numbers - numbers.mean()).max() < 4.5 * np.sqrt(numbers.mean())


def test_the_list_depends_on_seed_and_set_only():
    """Published results depend on the calibration trials that a seed gives."""
    ids = [f"s{s}/l{n % 2}/{n}" for s in range(4) for n in range(s + 2)]
    text = "\n".join(map(" ".join, rows(drawn(ids[::-1], 8, 20, seed=1)[0])))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "88e3b9a6721cc169"
    assert rows(drawn(ids, 8, 20, seed=2)[0]) != rows(drawn(ids, 8, 20, seed=1)[0])


def test_without_languages_there_is_one_kind_of_each():
    ids = [f"s{s}/l{n}/{n}" for s in range(3) for n in range(3)]
    trials, lacking = drawn(ids, 9, 30, languages=False)
    assert Counter(trials.label.tolist()) == {True: 9, False: 27}
    assert lacking == {"non-targets": 3}


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["a/x/1", "b/x/1"], "no target trial"),
        (["a/x/1", "a/x/2"], "no non-target trial"),
        (["a/x/1", "a/x/1.wav"], "'a/x/1' and 'a/x/1.wav' are the same id"),
    ],
)
def test_a_set_without_trials_is_refused(ids, message):
    assert message in refused(drawn, ids, 1, 1)


def test_lists_are_compared_whatever_the_numbers_and_spelling(tmp_path):
    def listed(name: str, *lines: str) -> Trials:
        (tmp_path / name).write_text("\n".join(lines))
        return replace(read_trials(tmp_path / name), source=name)

    one = listed("A", "1 a b", "1 c a", "0 c b")
    assert difference(one, listed("B", "a.wav b", "c.wav a.wav", "c.wav b")) is None
    for lines, message in (
        (("a b", "c a"), "B:2: the file ends here, but A has 3 lines"),
        (("a b", "a c", "c b"), "A:2 has 'c a target', but B:2 has 'a c'"),
        (("1 a b", "1 c a", "1 c b"), "A:3 has 'c b nontarget', but B:3 has 'c b target'"),
    ):
        assert difference(one, listed("B", *lines)) == message

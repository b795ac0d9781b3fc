"""Trials made from a held-out set: which, how many, how fairly shared; and lists compared."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from tests.scoring.support import refused
from tidyvoice.scoring import pairs
from tidyvoice.scoring.pairs import make_trials, same_trials
from tidyvoice.scoring.trials import Trials


def held_out(seed: int, speakers: int, most: int, languages: int) -> list[str]:
    """Ids speaker/language/file, in no order: 1 to ``most`` utterances a speaker."""
    rng = np.random.Generator(np.random.PCG64(seed))
    ids = [
        f"s{speaker:02d}/l{rng.integers(languages)}/{n}.wav"
        for speaker in range(speakers)
        for n in range(rng.integers(1, most + 1))
    ]
    return [ids[place] for place in rng.permutation(len(ids))]


def made(ids, targets, nontargets, seed=0, languages=True):
    speaker, language, _ = zip(*(i.split("/") for i in ids), strict=True)
    return make_trials(ids, speaker, language if languages else None, targets, nontargets, seed)


def rows(trials: Trials) -> list[tuple[str, str]]:
    return [(trials.ids[e], trials.ids[t]) for e, t in zip(trials.enroll, trials.test, strict=True)]


def kinds(trials: Trials) -> Counter:
    """How many trials: by same speaker, same language."""
    sides = [(e.split("/"), t.split("/")) for e, t in rows(trials)]
    return Counter((e[0] == t[0], e[1] == t[1]) for e, t in sides)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("wanted", [(7, 12), (60, 200), (10**6, 10**6)])
def test_each_kind_has_what_is_wanted_or_all_there_is(monkeypatch, seed, wanted):
    monkeypatch.setattr(pairs, "BLOCK", 50)
    ids = held_out(seed, speakers=9, most=8, languages=3)
    there = Counter()
    for one, other in combinations(ids, 2):
        a, b = one.split("/"), other.split("/")
        there[a[0] == b[0], a[1] == b[1]] += 1
    trials, lacking = made(ids, *wanted, seed=seed)

    unordered = {frozenset(row) for row in rows(trials)}
    assert len(unordered) == len(trials)
    assert {len(pair) for pair in unordered} == {2}
    assert trials.label.tolist() == [e[:3] == t[:3] for e, t in rows(trials)]
    assert set(trials.ids) == set().union(*unordered)
    expected, short = Counter(), {}
    for target, name, number in ((True, "targets", wanted[0]), (False, "non-targets", wanted[1])):
        for same, word, part in (
            (True, "same", number - number // 2),
            (False, "cross", number // 2),
        ):
            expected[target, same] = min(part, there[target, same])
            if there[target, same] < part:
                short[f"{word}-language {name}"] = part - there[target, same]
    assert kinds(trials) == expected
    assert lacking == short


def test_speakers_and_pairs_of_speakers_count_the_same():
    # One speaker has 40 utterances, nine have 6.
    ids = [f"s{s}/l{n % 2}/{n}" for s in range(10) for n in range(6 if s else 40)]
    trials, lacking = made(ids, 100, 900)
    assert lacking == {}
    of = [(e.split("/")[0], t.split("/")[0]) for e, t in rows(trials)]
    targets = Counter(e for e, t in of if e == t)
    assert set(targets.values()) == {10}
    nontargets = Counter(frozenset(pair) for pair in of if len(set(pair)) == 2)
    assert len(nontargets) == 45
    assert set(nontargets.values()) == {20}
    # What a speaker with few pairs cannot give, the others do: 6 same-language pairs at the most.
    more, lacking = made(ids, 200, 0)
    assert lacking == {}
    same = Counter(e[:2] for e, t in rows(more) if e.split("/")[1] == t.split("/")[1])
    assert same == {"s0": 46, **{f"s{s}": 6 for s in range(1, 10)}}


@pytest.mark.parametrize("dense", [pairs.DENSE, 0, 10**6])
def test_each_pair_is_as_likely_as_another(monkeypatch, dense):
    monkeypatch.setattr(pairs, "DENSE", dense)
    ids = [f"s{s}/l{n % 2}/{n}" for s in range(3) for n in range(5)]
    drawn = Counter()
    for seed in range(300):
        drawn.update(rows(made(ids, 6, 12, seed)[0]))
    # All 30 target and 75 non-target pairs, in both orders. Of 12 same-language targets 3 are
    # drawn a time, one a speaker, so each of their two orders comes 300 / 8 times on average.
    assert len(drawn) == 2 * (30 + 75)
    for same, target, chance in (
        (True, True, 3 / 12),
        (False, True, 3 / 18),
        (True, False, 6 / 39),
        (False, False, 6 / 36),
    ):
        counts = [
            number
            for (e, t), number in drawn.items()
            if (e[:2] == t[:2]) == target and (e[3:5] == t[3:5]) == same
        ]
        assert np.mean(counts) == pytest.approx(300 * chance / 2, rel=1e-9)
        assert np.abs(np.array(counts) - np.mean(counts)).max() < 4.5 * np.sqrt(np.mean(counts))


def test_the_list_depends_on_seed_and_set_only():
    ids = held_out(1, speakers=20, most=10, languages=3)
    one, again, other = made(ids, 40, 80)[0], made(sorted(ids), 40, 80)[0], made(ids, 40, 80, 1)[0]
    assert rows(one) == rows(again)
    assert rows(one) != rows(other)


def test_without_languages_there_is_one_kind_of_each():
    ids = [f"s{s}/l{n}/{n}" for s in range(3) for n in range(3)]
    trials, lacking = made(ids, 9, 30, languages=False)
    assert Counter(trials.label.tolist()) == {True: 9, False: 27}
    assert lacking == {"non-targets": 3}
    assert len({frozenset(row) for row in rows(trials)}) == 36


@pytest.mark.parametrize(
    ("ids", "wanted", "message"),
    [
        (["a/x/1", "b/x/1"], (1, 1), "no target trial among 2 utterances of 2 speakers"),
        (["a/x/1", "a/x/2"], (1, 1), "no non-target trial among 2 utterances of 1 speakers"),
        (["a/x/1", "a/x/2", "a/x/1"], (1, 0), "'a/x/1' and 'a/x/1' are the same id"),
        (["a/x/1", "a/x/1.wav"], (1, 0), "'a/x/1' and 'a/x/1.wav' are the same id"),
        (["a/x/1", "a/x/2"], (-1, 0), "-1 targets"),
    ],
)
def test_a_set_without_trials_is_refused(ids, wanted, message):
    assert message in refused(made, ids, *wanted)


def compared(one: list[str], other: list[str], labels=(None, None)) -> None:
    lists = []
    for name, lines, label in zip(("A", "B"), (one, other), labels, strict=True):
        words = [line.split() for line in lines]
        # Numbered differently in each list, as when ids are numbered by first appearance.
        ids = sorted({i for pair in words for i in pair}, reverse=name == "B")
        sides = np.array([[ids.index(i) for i in pair] for pair in words], dtype=np.int32).T
        label = None if label is None else np.array(label)
        lists.append(Trials(ids, *sides, label, name))
    same_trials(*lists)


def test_same_trials_whatever_the_numbers_and_spelling():
    compared(["a b", "c a"], ["a.wav b", "c.wav a.wav"])
    for other in (None, [True, False]):
        compared(["a b", "c a"], ["a b", "c a"], ([True, False], other))


@pytest.mark.parametrize(
    ("other", "label", "message"),
    [
        (["a b", "c a"], None, "B:2: the file ends here, but A has 3 lines"),
        (["a b", "a c", "c b"], None, "A:2 has 'c a target', but B:2 has 'a c'"),
        (["a b", "c d", "c b"], None, "A:2 has 'c a target', but B:2 has 'c d'"),
        (["a b", "c a", "c b"], [True] * 3, "A:3 has 'c b nontarget', but B:3 has 'c b target'"),
    ],
)
def test_the_first_line_that_differs_is_named(other, label, message):
    labels = ([True, True, False], label)
    assert message in refused(compared, ["a b", "c a", "c b"], other, labels)

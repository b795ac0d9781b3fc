import numpy as np
import pytest
from conftest import seeded

from tidyvoice.data.sampling import balanced, occurrences, paired, windowed


def test_windowed_reads_few_shards_at_a_time():
    rows = np.arange(1000, 2000)
    shards = np.repeat(np.arange(50), 20)
    order = windowed(rows, shards, 5, seeded(1))
    assert sorted(order) == list(rows)
    seen = [set(shards[order[start : start + 100] - 1000]) for start in range(0, 1000, 100)]
    assert all(len(window) == 5 for window in seen)
    assert len(set.union(*seen)) == 50
    # Shuffled: within a window shards alternate, and other generators make other windows.
    assert (np.diff(shards[order[:100] - 1000]) != 0).mean() > 0.6
    assert seen[0] != set(shards[windowed(rows, shards, 5, seeded(2))[:100] - 1000])
    np.testing.assert_array_equal(order, windowed(rows, shards, 5, seeded(1)))


def test_one_window_is_a_plain_shuffle():
    rows = np.arange(400)
    order = windowed(rows, rows // 40, 10, seeded(1))
    assert sorted(order) == list(rows)
    assert len(set(order[:40] // 40)) > 8


@pytest.mark.parametrize(("power", "expected"), [(0, [200, 200, 200]), (1, [500, 90, 10])])
def test_groups_come_as_often_as_they_shall(power, expected):
    groups = np.repeat([7, 3, 5], [500, 90, 10])
    rows = np.arange(600) + 50
    order = balanced(rows, groups, power, seeded(1))
    assert len(order) == 600
    counts = {g: (groups[order - 50] == g).sum() for g in (7, 3, 5)}
    assert list(counts.values()) == expected
    if power == 1:
        assert sorted(order) == list(rows)


def test_a_power_between_gives_shares_between():
    groups = np.repeat([0, 1], [900, 100])
    order = balanced(np.arange(1000), groups, 0.5, seeded(1))
    assert (groups[order] == 0).sum() == 750  # 30 : 10


def test_an_utterance_repeats_only_when_all_of_its_group_have_come():
    groups = np.repeat([0, 1], [90, 10])
    order = balanced(np.arange(100), groups, 0, seeded(1))
    rare = order[order >= 90]
    assert len(rare) == 50
    assert (np.bincount(rare - 90) == 5).all()
    assert len(set(order[order < 90])) == 50


def test_groups_are_spread_over_the_pass():
    groups = np.repeat(np.arange(20), np.arange(5, 25))
    order = balanced(np.arange(len(groups)), groups, 0, seeded(3))
    for start in range(0, 280, 20):
        assert np.bincount(groups[order[start : start + 20]]).max() <= 3


def test_pairs_are_of_one_speaker_in_two_languages():
    speakers = np.array([0, 0, 0, 0, 1, 1, 1, 2, 3, 3])
    languages = np.array([0, 0, 1, 2, 0, 0, 0, 1, 2, 0])
    seen = {row: set() for row in range(10)}
    for seed in range(400):
        random = seeded(seed)
        pairs = paired(random.permutation(10), np.arange(10), speakers, languages, random).reshape(
            -1, 2
        )
        assert len(pairs) == 5
        for one, other in pairs:
            seen[one].add(int(other))
    assert seen == {
        0: {2, 3}, 1: {2, 3}, 2: {0, 1, 3}, 3: {0, 1, 2},
        4: {5, 6}, 5: {4, 6}, 6: {4, 5},  # one language: another utterance of it
        7: {7},  # nothing else
        8: {9}, 9: {8},
    }  # fmt: skip


def test_partners_come_equally_often():
    speakers, languages = np.zeros(7, int), np.array([0, 0, 1, 1, 1, 2, 0])
    found = np.zeros(7, int)
    for seed in range(3000):
        pairs = paired(np.full(14, 3), np.arange(7), speakers, languages, seeded(seed))
        np.add.at(found, pairs[1::2], 1)
    assert found[[2, 3, 4]].sum() == 0
    assert np.ptp(found[[0, 1, 5, 6]]) < 0.05 * found.sum()


def test_rows_that_are_left_out_are_no_partners():
    speakers, languages = np.zeros(5, int), np.arange(5)
    for seed in range(50):
        kept = np.array([1, 3, 4])
        assert set(paired(kept, kept, speakers, languages, seeded(seed))) <= {1, 3, 4}


def test_occurrences():
    assert occurrences(np.array([5, 2, 5, 5, 9, 2])).tolist() == [0, 0, 1, 2, 0, 1]

import numpy as np
import pytest
from conftest import seeded

from tidyvoice.samplers import Utterances
from tidyvoice.samplers.registry import Balanced, Shuffled, Windowed


def utterances(rows, shards=(), speakers=(), languages=()):
    return Utterances(*map(np.asarray, (rows, shards, speakers, languages)))


def balanced(groups, power, seed=1):
    """Places of ``groups`` in the order that the sampler draws them."""
    sampler = Balanced("speaker", power)
    return sampler(utterances(np.arange(len(groups)), speakers=groups), seeded(seed))


def test_windows_hold_few_shards_and_are_shuffled():
    rows = np.arange(1000, 2000)
    data = utterances(rows, np.arange(2000) // 20)
    order = Windowed(5)(data, seeded(1))
    assert sorted(order) == list(rows)
    seen = [set(order[start : start + 100] // 20) for start in range(0, 1000, 100)]
    assert all(len(window) == 5 for window in seen)
    # Within a window shards alternate, and other generators make other windows.
    assert (np.diff(order[:100] // 20) != 0).mean() > 0.6
    assert seen[0] != set(Windowed(5)(data, seeded(2))[:100] // 20)
    np.testing.assert_array_equal(order, Windowed(5)(data, seeded(1)))


@pytest.mark.parametrize("power", [0, 0.5, 1])
def test_groups_get_shares_of_their_size_to_the_power(power):
    sizes = np.array([500, 80, 20])
    groups = np.repeat([7, 3, 5], sizes)
    order = balanced(groups, power)
    shares = np.array([(groups[order] == group).sum() for group in (7, 3, 5)])
    np.testing.assert_allclose(shares, 600 * sizes**power / (sizes**power).sum(), atol=1)
    if power == 1:
        assert sorted(order) == list(range(600))


def test_an_utterance_repeats_only_when_its_whole_group_has_been_drawn():
    order = balanced(np.repeat([0, 1], [90, 10]), 0)
    assert (np.bincount(order[order >= 90] - 90) == 5).all()
    assert len(set(order[order < 90])) == 50


def test_pairs_are_of_one_speaker_if_possible_in_two_languages():
    data = utterances(
        np.arange(10),
        speakers=[0, 0, 0, 0, 1, 1, 1, 2, 3, 3],
        languages=[0, 0, 1, 2, 0, 0, 0, 1, 2, 0],
    )
    partners = {row: set() for row in range(10)}
    for seed in range(400):
        pairs = Shuffled(pairs=True)(data, seeded(seed)).reshape(-1, 2)
        assert len(pairs) == 5
        for one, other in pairs:
            partners[one].add(int(other))
    assert partners == {
        0: {2, 3}, 1: {2, 3}, 2: {0, 1, 3}, 3: {0, 1, 2},
        4: {5, 6}, 5: {4, 6}, 6: {4, 5},  # one language: another utterance of it
        7: {7},  # nothing else
        8: {9}, 9: {8},
    }  # fmt: skip

import numpy as np
import pytest
from conftest import refused, seeded

from tidyvoice.samplers import Utterances
from tidyvoice.samplers.episodes import Episodes, deal
from tidyvoice.samplers.registry import Balanced, Shuffled, Windowed


def utterances(rows, shards=(), speakers=(), languages=(), batch_size=8):
    return Utterances(*map(np.asarray, (rows, shards, speakers, languages)), batch_size)


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


def random_table(seed, batch_size=16):
    """Some of 900 utterances of 40 speakers, who speak up to three of five languages."""
    random = seeded(seed)
    speakers = (40 * random.random(900) ** 1.5).astype(np.int32)
    spoken = np.array([random.permutation(6)[:3] - 1 for _ in range(40)])  # -1 is unknown
    languages = spoken[speakers, random.integers(3, size=900)]
    rows = np.sort(random.permutation(900)[:800])
    return utterances(rows, speakers=speakers, languages=languages, batch_size=batch_size)


@pytest.mark.parametrize("languages", [1, 2, 4, None])
@pytest.mark.parametrize(("each", "size"), [(2, 16), (3, 24)])
def test_an_episode_holds_as_many_utterances_of_each_speaker(languages, each, size):
    for seed in range(3):
        data, sampler = random_table(seed, size), Episodes(each, languages)
        sampler.check(size)
        order = sampler(data, seeded(1))
        assert len(order) == 800 // size * size
        assert set(order) <= set(data.rows)
        for episode in order.reshape(-1, size):
            assert len(set(episode)) == size
            _, counts = np.unique(data.speakers[episode], return_counts=True)
            assert (counts == each).all()
            if languages:
                spoken, counts = np.unique(data.languages[episode], return_counts=True)
                assert (counts == size // languages).all()
                assert len(spoken) == languages
                assert -1 not in spoken
                by_speaker = data.languages[episode][np.argsort(data.speakers[episode])]
                assert (np.ptp(by_speaker.reshape(-1, each), axis=1) == 0).all()
        np.testing.assert_array_equal(order, sampler(data, seeded(1)))
        assert (order != sampler(data, seeded(2))).any()
    if languages in (1, None):  # batches of more languages reach all speakers in several passes
        assert len(set(data.speakers[order])) == 40


@pytest.mark.parametrize("size", [1, 2, 5])
def test_as_many_rows_are_dealt_as_possible(size):
    for seed in range(20):
        groups = (9 * seeded(seed, 1).random(40) ** 3).astype(int)
        rows = deal(groups, size, seeded(seed))
        assert len(set(rows.ravel())) == rows.size
        assert all(len(set(groups[row])) == size for row in rows)
        counts, possible = np.bincount(groups), 0
        while (counts > 0).sum() >= size:  # always of the largest groups
            counts[np.argsort(counts)[-size:]] -= 1
            possible += 1
        assert len(rows) == possible
        present = set(groups)
        assert rows.size < len(present) or set(groups[rows.ravel()]) == present
    assert deal(np.zeros(9, int), 2, seeded(1)).shape == (0, 2)


def test_the_log_tells_who_takes_part_in_episodes():
    speakers = np.repeat([0, 1, 2, 3, 4], [4, 4, 5, 2, 2])
    languages = np.array([0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1, 2, 2, 0, -1])
    data = utterances(np.arange(17), speakers=speakers, languages=languages, batch_size=6)
    assert Episodes(2, 1).describe(data) == (
        "episodes: 3 speakers x 2 utterances of 1 language; 3 of 5 speakers, 2 of 3 languages can "
        "take part; 1 speakers have fewer than 2 utterances in any language"
    )
    assert Episodes(3, None).describe(data) == (
        "episodes: 2 speakers x 3 utterances of any languages; 3 of 5 speakers can take part; "
        "2 speakers have fewer than 3 utterances"
    )
    message = refused(Episodes(3, 1).describe, data)
    assert "an episode needs 2 speakers with 3 utterances in one language: reduce data." in message
    # Where all episodes hold a speaker twice, they are what there is.
    both = utterances(np.arange(8), speakers=[0, 0, 0, 0, 1, 1, 1, 1], languages=[0, 0, 1, 1] * 2)
    assert sorted(Episodes(2, 2)(both, seeded(1))) == list(range(8))

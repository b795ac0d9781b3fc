from dataclasses import fields

import numpy as np
import pytest
import torch

from tidyvoice.config import DataSettings
from tidyvoice.data.batches import TrainingData, load_batches
from tidyvoice.errors import TidyVoiceError

CHUNK = 40 * 160 + 240
PAIRS = {"name": "Shuffled", "args": {"pairs": True}}


@pytest.fixture
def settings(experiment):
    return experiment["data"]


def make_data(settings, chunk=CHUNK, **changes):
    return TrainingData(DataSettings(**{**settings, **changes}), chunk, seed=3)


def batches(settings, start, stop, **changes):
    data = make_data(settings, **{"augmentations": [{"name": "SpecAugment"}], **changes})
    return list(load_batches(data, range(start, stop)))


def equal(first, second):
    pairs = [(getattr(first, f.name), getattr(second, f.name)) for f in fields(first)]
    pairs += zip(*pairs.pop(), strict=True)  # the random numbers of the augmentations
    return all(torch.equal(one, two) for one, two in pairs)


def test_batches_depend_on_neither_workers_nor_the_start(settings):
    whole = batches(settings, 0, 7)
    for start, workers in ((0, 2), (0, 5), (4, 1)):
        part = batches(settings, start, 7, num_workers=workers)
        assert all(equal(a, b) for a, b in zip(whole[start:], part, strict=True))


def test_an_utterance_is_treated_alike_in_any_batch_size(settings):
    def by_utterance(size):
        found = {}
        for raw in batches(settings, 0, 24 // size, batch_size=size):
            noisy = raw.noise_rows.tolist()
            for i, row in enumerate(raw.rows.tolist()):
                noise = raw.noise[noisy.index(i)].numpy().tobytes() if i in noisy else b""
                samples = raw.samples[i].numpy()
                drawn = raw.drawn[0][i].numpy().tobytes()
                found[row] = (raw.labels[i], samples[:4000].tobytes(), noise, drawn)
                found[row] += (raw.dither_seeds[i],)
        return found

    assert by_utterance(4) == by_utterance(8)


def test_a_pass_takes_each_utterance_once_and_passes_differ(settings):
    first, second = (batches(settings, start, start + 6, batch_size=4) for start in (0, 6))
    rows = [torch.cat([raw.rows for raw in part]).tolist() for part in (first, second)]
    assert sorted(rows[0]) == sorted(rows[1]) == list(range(24))
    assert rows[0] != rows[1]
    assert not equal(first[0], second[0])


def test_each_speed_is_a_class_of_its_own(settings):
    data = make_data(settings)
    assert data.num_classes == 18
    for raw in load_batches(data, range(12)):
        speakers = [data.reader.speakers[row] for row in raw.rows.tolist()]
        expected = [data.speakers.index(s) for s in speakers] + 6 * raw.speeds.numpy()
        np.testing.assert_array_equal(raw.labels, expected)


def test_an_utterance_shorter_than_the_chunk_is_repeated(settings):
    long = 3 * 16000
    data = make_data(settings, long, speeds=[1.0])
    raw = data[0]
    for samples, row in zip(raw.samples, raw.rows.tolist(), strict=True):
        whole = torch.from_numpy(data.reader.read(row).copy())
        torch.testing.assert_close(samples, torch.cat([whole, whole])[:long])


def pairs_of_pass(settings):
    data = make_data(settings, sampler=PAIRS, speeds=[1.0], batch_size=6)
    return data, list(load_batches(data, range(data.batches_per_pass)))


def test_pairs_are_in_one_batch_in_two_languages(settings):
    data, found = pairs_of_pass(settings)
    for raw in found:
        one, other = raw.rows.view(-1, 2).T.tolist()
        speakers, languages = data.reader.speakers, data.reader.languages
        assert speakers.gather(one).to_list() == speakers.gather(other).to_list()
        assert all(languages[a] != languages[b] for a, b in zip(one, other, strict=True))
        assert raw.languages.tolist() == [
            data.languages.index(languages[row]) for row in raw.rows.tolist()
        ]


def test_an_utterance_that_comes_twice_in_a_pass_is_treated_differently(settings):
    _, found = pairs_of_pass(settings)
    seen = {}
    for raw in found:
        for row, seed in zip(raw.rows.tolist(), raw.dither_seeds.tolist(), strict=True):
            seen.setdefault(row, []).append(seed)
    assert any(len(seeds) > 1 for seeds in seen.values())
    assert all(len(set(seeds)) == len(seeds) for seeds in seen.values())


def test_data_that_makes_no_batch_is_refused(settings, tiny):
    assert make_data(settings, min_seconds=2.25).num_utterances == 18
    with pytest.raises(TidyVoiceError, match=r"batch_size 25: reduce data.batch_size"):
        make_data(settings, batch_size=25)
    with pytest.raises(TidyVoiceError, match="smallroom"):
        make_data(settings, noise=tiny / "rirs")

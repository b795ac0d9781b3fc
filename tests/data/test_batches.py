from dataclasses import fields

import numpy as np
import pytest
import torch
from conftest import refused
from torch.utils._pytree import tree_leaves

from tidyvoice.config import DataSettings
from tidyvoice.data.batches import TrainingData, load_batches

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
    tensors = zip(*map(tree_leaves, zip(*pairs, strict=True)), strict=True)
    return all(torch.equal(one, two) for one, two in tensors)


def test_batches_depend_on_neither_workers_nor_the_start(settings):
    whole = batches(settings, 0, 7)
    for start, workers in ((0, 2), (0, 5), (4, 1)):
        part = batches(settings, start, 7, num_workers=workers)
        assert all(equal(a, b) for a, b in zip(whole[start:], part, strict=True))


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
        expected = np.array([data.speakers.index(s) for s in speakers])
        for speed, rows_at_speed in enumerate(raw.speed_rows):
            expected[rows_at_speed] += 6 * speed
        np.testing.assert_array_equal(raw.labels, expected)
        assert sorted(torch.cat(raw.speed_rows).tolist()) == list(range(len(raw.rows)))


def test_an_utterance_shorter_than_the_chunk_is_repeated(settings):
    long = 3 * 16000
    data = make_data(settings, long, speeds=[1.0])
    raw = data[0]
    for samples, row in zip(raw.samples, raw.rows.tolist(), strict=True):
        whole = torch.from_numpy(data.reader.read(row).copy())
        torch.testing.assert_close(samples, torch.cat([whole, whole])[:long])


def test_data_that_makes_no_batch_is_refused(settings, tiny):
    assert make_data(settings, min_seconds=2.25).num_utterances == 18
    assert "batch_size 25: reduce data.batch_size" in refused(make_data, settings, batch_size=25)
    assert "smallroom" in refused(make_data, settings, noise=tiny / "rirs")


def test_pairs_are_in_one_batch_in_two_languages_and_no_chunk_repeats(settings):
    data = make_data(settings, sampler=PAIRS, speeds=[1.0], batch_size=6)
    speakers, languages = data.reader.speakers, data.reader.languages
    seen = {}
    for raw in load_batches(data, range(data.batches_per_pass)):
        one, other = raw.rows.view(-1, 2).T.tolist()
        assert speakers.gather(one).to_list() == speakers.gather(other).to_list()
        assert all(languages[a] != languages[b] for a, b in zip(one, other, strict=True))
        known = [data.languages.index(languages[row]) for row in raw.rows.tolist()]
        assert raw.languages.tolist() == known
        for row, seed in zip(raw.rows.tolist(), raw.dither_seeds.tolist(), strict=True):
            seen.setdefault(row, []).append(seed)
    assert max(map(len, seen.values())) > 1
    assert all(len(set(seeds)) == len(seeds) for seeds in seen.values())


def test_only_copies_to_cuda_do_not_block(settings, monkeypatch):
    copies = set()

    def to(self, device, non_blocking=False):
        copies.add((device.type, non_blocking))
        return self

    raw = make_data(settings)[0]
    monkeypatch.setattr(torch.Tensor, "to", to)
    for kind in ("cpu", "cuda", "mps"):
        raw.to(torch.device(kind))
    assert copies == {("cpu", False), ("cuda", True), ("mps", False)}

import numpy as np
import pytest
import torch
from conftest import seeded

from tidyvoice.augmentations.registry import SpecAugment
from tidyvoice.config import DataSettings
from tidyvoice.data.augment import Augmenter, add_noise, reverberate
from tidyvoice.data.batches import RawBatch, TrainingData

CHUNK = 40 * 160 + 240


def level(x):
    return 10 * torch.log10(x.square().mean(dim=1))


def test_noise_is_added_at_the_stated_ratio():
    torch.manual_seed(0)
    clean, noise = 0.3 * torch.randn(3, 16000), 0.2 * torch.randn(3, 16000)
    snr = torch.tensor([0.0, 10.0, 20.0])
    added = add_noise(clean, noise, snr) - clean
    torch.testing.assert_close(level(clean) - level(added), snr, atol=0.05, rtol=0)


def test_reverberation_is_the_linear_convolution_cut_to_the_input():
    torch.manual_seed(0)
    dry, response = torch.randn(2, 1000), torch.randn(2, 321)
    wet = reverberate(dry, response)
    for i in range(2):
        unit = response[i] / response[i].norm()
        full = np.convolve(dry[i].numpy(), unit.numpy())[:1000]
        np.testing.assert_allclose(wet[i].numpy(), full, atol=1e-4)


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_moves_pitch_by_its_factor(speed):
    length = 16000
    augmenter = Augmenter((1.0, speed), length)
    time = torch.arange(augmenter.source_samples[1]) / 16000
    tone = (10000 * torch.sin(2 * torch.pi * 400 * time)).to(torch.int16)
    none, first = torch.zeros(0, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
    silent = torch.zeros(0, 0, dtype=torch.int16)
    raw = RawBatch(
        tone[None], (none, first), *[first] * 4, silent, none, torch.zeros(0), silent, none
    )
    spectrum = torch.fft.rfft(augmenter(raw)[0]).abs()
    assert int(spectrum.argmax()) == pytest.approx(400 * speed, abs=1)


def test_only_the_drawn_utterances_change_and_have_unit_peak(experiment):
    settings = DataSettings(**{**experiment["data"], "speeds": [1.0], "batch_size": 24})
    raw = TrainingData(settings, CHUNK, seed=3)[0]
    changed = set(raw.noise_rows.tolist()) | set(raw.rir_rows.tolist())
    assert set(raw.noise_rows.tolist())
    assert set(raw.rir_rows.tolist())
    waveforms = Augmenter((1.0,), CHUNK)(raw)
    for i in range(24):
        same = torch.equal(waveforms[i], raw.samples[i].float() / 32768)
        assert same == (i not in changed)
        if i in changed:
            assert float(waveforms[i].abs().max()) == pytest.approx(1.0, abs=1e-3)


def test_an_utterance_does_not_depend_on_its_batch(experiment):
    settings = DataSettings(**{**experiment["data"], "batch_size": 24})
    data = TrainingData(settings, CHUNK, seed=3)
    alone = TrainingData(settings.model_copy(update={"batch_size": 2}), CHUNK, seed=3)
    augmenter = Augmenter(settings.speeds, CHUNK)
    whole = data[0]
    together = dict(zip(whole.rows.tolist(), augmenter(whole), strict=True))
    for index in range(12):
        raw = alone[index]
        for row, waveform in zip(raw.rows.tolist(), augmenter(raw), strict=True):
            torch.testing.assert_close(waveform, together[row], atol=1e-5, rtol=0)


@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_spec_augment_masks_bands_of_at_most_the_given_width(probability):
    augmentation = SpecAugment(
        probability, time_masks=2, time_width=7, frequency_masks=1, frequency_width=5
    )
    random = seeded(1)
    drawn = torch.from_numpy(np.stack([augmentation.draw(random) for _ in range(400)])).float()
    masked = augmentation(torch.ones(400, 30, 20), drawn) == 0
    frames, bins = masked.all(dim=2), masked.all(dim=1)
    assert torch.equal(masked, frames[:, :, None] | bins[:, None])
    assert frames.sum(dim=1).max() in (range(8, 15) if probability else [0])
    assert bins.sum(dim=1).max() == 5 * (probability > 0)
    assert float(masked.any(dim=(1, 2)).float().mean()) == pytest.approx(probability, abs=0.1)
    if probability:  # every place is reached, also the last one
        assert frames.any(dim=0).all()
        assert bins.any(dim=0).all()

"""The filterbank equals Kaldi's."""

import numpy as np
import pytest
import torch
import torchaudio
from conftest import reference_waveform, refused

from tidyvoice.frontend import Frontend, FrontendSettings
from tidyvoice.frontends.fbank import seeded_noise


def signals(samples: int) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(samples)
    speech = reference_waveform(3, samples) / 32768
    half_silent = speech.copy()
    half_silent[samples // 2 :] = 0.0
    waveforms = {
        "speech": speech,
        "silence": np.zeros(samples),
        "full-scale noise": rng.uniform(-1, 1, samples),
        "full-scale square wave": np.sign(np.sin(2 * np.pi * 211 * np.arange(samples) / 16000)),
        "speech then silence": half_silent,
    }
    return {name: torch.from_numpy(x.astype(np.float32)) for name, x in waveforms.items()}


@pytest.mark.parametrize("seconds", [0.1, 0.137, 2.0, 30.0])
def test_features_equal_kaldis(seconds):
    frontend = Frontend(mean_norm=False).eval()
    for name, waveform in signals(int(seconds * 16000)).items():
        kaldis = torchaudio.compliance.kaldi.fbank(
            waveform[None] * 32768, num_mel_bins=80, window_type="hamming", dither=0.0
        )
        # Rounding is 1e-6 of the loudest bin, which is up to 3e-4 of the weakest ones.
        difference = (frontend(waveform[None])[0] - kaldis).abs().max()
        assert difference < 1e-3, (name, seconds, float(difference))


def test_features_do_not_depend_on_the_rest_of_the_batch():
    batch = torch.stack(list(signals(24000).values()))
    frontend = Frontend().eval()
    alone = torch.cat([frontend(waveform[None]) for waveform in batch])
    torch.testing.assert_close(frontend(batch), alone, atol=1e-4, rtol=0)
    torch.testing.assert_close(frontend(batch).mean(dim=1), torch.zeros(5, 80), atol=1e-4, rtol=0)


def test_dither_depends_on_the_seed_and_is_added_in_training_only():
    frontend = Frontend()
    waveforms = torch.zeros(3, 8000)
    seeds = torch.tensor([5, 6, 5])
    first = frontend.train()(waveforms, seeds)
    # A row of a matrix product may round differently in another place or another batch.
    torch.testing.assert_close(first[0], first[2], atol=1e-4, rtol=0)
    assert (first[0] - first[1]).abs().max() > 0.1
    alone = frontend(waveforms[:1], seeds[1:2])[0]
    torch.testing.assert_close(first[1], alone, atol=1e-4, rtol=0)
    assert torch.equal(frontend.eval()(waveforms, seeds), frontend(waveforms))
    noise = seeded_noise(torch.zeros(2, 100_000), torch.tensor([1, 2]))
    torch.testing.assert_close(noise.std(dim=1), torch.ones(2), atol=0.02, rtol=0)


def test_sizes_are_known_without_memory_and_agree():
    frontend = FrontendSettings().outline()
    assert frontend.window.is_meta
    assert (frontend.feature_dim, frontend.frame_shift, frontend.trainable) == (80, 160, False)
    for frames, samples in ((1, 400), (2, 560), (200, 32_240)):
        assert frontend.num_samples(frames) == samples
        assert frontend.num_frames(samples) == frames
        assert frontend.num_frames(samples - 1) == frames - 1
    assert "399 samples is shorter than one frame" in refused(Frontend(), torch.zeros(1, 399))

import numpy as np
import pytest
import torch
import torchaudio
from conftest import reference_waveform

from tidyvoice.errors import TidyVoiceError
from tidyvoice.frontend import Frontend, FrontendSettings


def kaldi(waveform: torch.Tensor, window: str = "hamming") -> torch.Tensor:
    return torchaudio.compliance.kaldi.fbank(
        waveform[None] * 32768,
        num_mel_bins=80,
        frame_length=25,
        frame_shift=10,
        sample_frequency=16000,
        window_type=window,
        dither=0.0,
        use_energy=False,
    )


def signals(samples: int) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(samples)
    clicks = np.zeros(samples)
    clicks[rng.integers(0, samples, 1 + samples // 3000)] = 1.0
    speech = reference_waveform(3, samples) / 32768
    half_silent = speech.copy()
    half_silent[samples // 2 :] = 0.0
    square = np.sign(np.sin(2 * np.pi * 211 * np.arange(samples) / 16000))
    made = {
        "speech": speech,
        "silence": np.zeros(samples),
        "clicks": clicks,
        "full-scale noise": rng.uniform(-1, 1, samples),
        "full-scale square wave": square,
        "speech then silence": half_silent,
    }
    return {name: torch.from_numpy(x.astype(np.float32)) for name, x in made.items()}


@pytest.mark.parametrize("seconds", [0.1, 0.137, 2.0, 30.0])
def test_equals_the_kaldi_filterbank(seconds):
    frontend = Frontend(FrontendSettings(mean_norm=False)).eval()
    for name, waveform in signals(int(seconds * 16000)).items():
        # Rounding is 1e-6 of the loudest bin, which is up to 3e-4 of the weakest ones.
        difference = (frontend(waveform[None])[0] - kaldi(waveform)).abs().max()
        assert difference < 1e-3, (name, seconds, float(difference))


@pytest.mark.parametrize("window", ["hanning", "povey", "rectangular"])
def test_equals_kaldi_with_other_windows(window):
    frontend = Frontend(FrontendSettings(mean_norm=False, window_type=window)).eval()
    waveform = signals(16000)["speech"]
    torch.testing.assert_close(
        frontend(waveform[None])[0], kaldi(waveform, window), atol=1e-3, rtol=0
    )


def test_equals_the_published_numbers_before_mean_normalisation(golden):
    frontend = Frontend(FrontendSettings(mean_norm=False)).eval()
    for case in golden["waveform"]:
        samples = reference_waveform(case["seed"], case["samples"])
        features = frontend(torch.from_numpy(samples).float().div(32768)[None])[0].numpy()
        np.testing.assert_allclose(features[0, :8], case["fbank_frame0"], atol=1e-3)
        by_bin = features.mean(axis=0)[::10]
        np.testing.assert_allclose(by_bin, case["fbank_mean_by_bin"], atol=1e-3)


def test_a_batch_gives_what_each_utterance_gives():
    batch = torch.stack(list(signals(24000).values()))
    frontend = Frontend().eval()
    alone = torch.cat([frontend(waveform[None]) for waveform in batch])
    torch.testing.assert_close(frontend(batch), alone, atol=1e-4, rtol=0)
    torch.testing.assert_close(frontend(batch).mean(dim=1), torch.zeros(6, 80), atol=1e-4, rtol=0)


def test_dither_is_a_function_of_the_seed_and_only_in_training():
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


def test_dither_has_its_stated_size_in_16_bit_units():
    from tidyvoice.frontend import seeded_noise

    noise = seeded_noise(torch.zeros(2, 100_000), torch.tensor([1, 2]))
    torch.testing.assert_close(noise.std(dim=1), torch.ones(2), atol=0.02, rtol=0)


def test_frames_and_samples_agree():
    settings = FrontendSettings()
    for frames in (1, 2, 200, 600):
        samples = settings.num_samples(frames)
        assert settings.num_frames(samples) == frames
        assert settings.num_frames(samples - 1) == frames - 1
    assert settings.num_samples(200) == ((199 * 10 + 25) * 16)


def test_too_short_says_so():
    with pytest.raises(TidyVoiceError, match="399 samples is shorter than one frame"):
        Frontend()(torch.zeros(1, 399))

"""Speed, reverberation and noise in batches of waveforms, on the training device.

Order and formulas are those of the published baseline: speed (each speed is a class of its own),
then reverberation or noise, then division of the augmented utterances by their maximum.
"""

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn

from tidyvoice.audio import load_torchaudio
from tidyvoice.config import speed_fraction
from tidyvoice.data.batches import RawBatch, source_samples
from tidyvoice.headers import INT16_SCALE

ENERGY_FLOOR = 1e-4


class Augmenter(nn.Module):
    """Maps a raw batch to waveforms [B x chunk_samples] in about -1..1.

    A speed of 1.1 plays the utterance 1.1 times as fast, so that pitch and formants rise with it.
    """

    def __init__(self, speeds: tuple[float, ...], chunk_samples: int):
        super().__init__()
        self.chunk_samples = chunk_samples
        self.source_samples = [source_samples(chunk_samples, speed) for speed in speeds]
        self.resamplers = nn.ModuleList(_resampler(speed) for speed in speeds)

    @torch.no_grad()
    def forward(self, batch: RawBatch) -> Tensor:
        samples = batch.samples.float() / INT16_SCALE
        waveforms = samples.new_empty(len(samples), self.chunk_samples)
        parts = zip(batch.speed_rows, self.resamplers, self.source_samples, strict=True)
        for rows, resample, count in parts:
            if len(rows):
                waveforms[rows] = resample(samples[rows, :count])[:, : self.chunk_samples]
        if len(batch.rir_rows):
            dry = waveforms[batch.rir_rows]
            waveforms[batch.rir_rows] = _unit_peak(reverberate(dry, batch.rirs.float()))
        if len(batch.noise_rows):
            clean = waveforms[batch.noise_rows]
            noise = batch.noise.float() / INT16_SCALE
            waveforms[batch.noise_rows] = _unit_peak(add_noise(clean, noise, batch.snr))
        return waveforms


def _resampler(speed: float) -> nn.Module:
    """Build the resampling from speed * rate to rate."""
    ratio = speed_fraction(speed)
    if ratio == 1:
        return nn.Identity()
    return load_torchaudio().transforms.Resample(ratio.numerator, ratio.denominator)


def reverberate(waveforms: Tensor, responses: Tensor) -> Tensor:
    """Convolve waveforms [N x S] with impulse responses [N x R] at unit energy; keep S samples."""
    responses = responses / responses.square().sum(dim=1, keepdim=True).clamp(min=1e-12).sqrt()
    samples = waveforms.shape[1]
    # As long as the linear convolution, without large prime factors.
    size = next_fast_len(samples + responses.shape[1] - 1, real=True)
    spectrum = torch.fft.rfft(waveforms, size) * torch.fft.rfft(responses, size)
    return torch.fft.irfft(spectrum, size)[:, :samples]


def add_noise(waveforms: Tensor, noise: Tensor, snr: Tensor) -> Tensor:
    """Add noise [N x S] to waveforms [N x S] at signal-to-noise ratios [N] in dB.

    The gain is 10**((L_speech - L_noise - snr) / 20), with L the level 10 log10(mean square
    + 1e-4), as the published baseline computes it.
    """

    def level(signal: Tensor) -> Tensor:
        return 10 * torch.log10(signal.square().mean(dim=1) + ENERGY_FLOOR)

    gain = 10 ** ((level(waveforms) - level(noise) - snr) / 20)
    return waveforms + gain.unsqueeze(1) * noise


def _unit_peak(waveforms: Tensor) -> Tensor:
    return waveforms / (waveforms.abs().amax(dim=1, keepdim=True) + ENERGY_FLOOR)

"""Waveform to features: Kaldi's log mel filterbank, then mean normalisation, as one torch module.

Training, extraction and export all use this module, on whatever device the waveforms are on. Its
settings travel with a model, in the ``config.yaml`` of the model's folder.

Shapes: B utterances, S samples, T frames, F mel bins.
"""

import math
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tidyvoice.errors import TidyVoiceError
from tidyvoice.settings import Strict

INT16_SCALE = 32768.0
PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
CACHED_FRAMES = 300  # of 512 float32: 0.6 MB
ENERGY_FLOOR = torch.finfo(torch.float32).eps


class FrontendSettings(Strict):
    """Settings of the filterbank. The defaults are those of the published baseline."""

    sample_rate: Literal[16000] = Field(16000, description="Hz; all audio is read at this rate")
    num_mel_bins: int = Field(80, gt=0, multiple_of=8)
    frame_length: float = Field(25.0, ge=1, description="ms")
    frame_shift: float = Field(10.0, ge=1, description="ms")
    window_type: Literal["hamming", "hanning", "povey", "rectangular"] = "hamming"
    dither: float = Field(1.0, ge=0, description="in 16-bit units, in training only")
    mean_norm: bool = True

    @property
    def window_samples(self) -> int:
        return int(self.sample_rate * self.frame_length / 1000)

    @property
    def shift_samples(self) -> int:
        return int(self.sample_rate * self.frame_shift / 1000)

    def num_frames(self, samples: int) -> int:
        """Whole frames in ``samples`` samples (Kaldi's ``snip_edges``); 0 if shorter than one."""
        if samples < self.window_samples:
            return 0
        return 1 + (samples - self.window_samples) // self.shift_samples

    def num_samples(self, frames: int) -> int:
        """Samples that hold exactly ``frames`` frames."""
        return (frames - 1) * self.shift_samples + self.window_samples


class Frontend(nn.Module):
    """Log mel filterbank equal to ``torchaudio.compliance.kaldi.fbank``, batched.

    Kaldi's recipe: waveform scaled to 16-bit range; per frame the DC offset removed,
    pre-emphasis 0.97, window, zero-padding to a power of two, power spectrum, triangular
    filters equally spaced on mel(f) = 1127 ln(1 + f/700) from 20 Hz to the Nyquist frequency,
    logarithm floored at float32's epsilon. No energy coefficient.

    Everything runs in float32, also under autocast: a power spectrum spans more decades than
    half precision holds.

    Args:
        settings: the filterbank's settings; the published ones if omitted.

    Example:
        >>> import torch
        >>> frontend = Frontend().eval()
        >>> frontend(torch.zeros(2, 16000)).shape
        torch.Size([2, 98, 80])
    """

    def __init__(self, settings: FrontendSettings | None = None):
        super().__init__()
        self.settings = settings or FrontendSettings()
        window = self.settings.window_samples
        self.fft_size = 1 << (window - 1).bit_length()
        self.register_buffer("window", _window(self.settings.window_type, window), persistent=False)
        filters = mel_filters(self.settings.num_mel_bins, self.fft_size, self.settings.sample_rate)
        self.register_buffer("filters", torch.from_numpy(filters.T.copy()), persistent=False)

    def forward(self, waveforms: Tensor, dither_seeds: Tensor | None = None) -> Tensor:
        """Features [B x T x F] of waveforms [B x S] in -1..1.

        Args:
            waveforms: [B x S], at ``settings.sample_rate``.
            dither_seeds: int64 [B], one seed an utterance: Gaussian noise of standard deviation
                ``settings.dither`` (16-bit units) is added, the same for the same seed whatever
                else is in the batch. Without seeds, or outside training, there is no dither.
                It is added to the samples; Kaldi adds it to each frame anew, which is the same in
                distribution for any one frame and takes 2.5 times the random numbers.

        Raises:
            TidyVoiceError: the waveforms are shorter than one frame.
        """
        with torch.autocast(waveforms.device.type, enabled=False):
            samples = waveforms.float() * INT16_SCALE
            if self.training and dither_seeds is not None and self.settings.dither > 0:
                samples = samples + self.settings.dither * seeded_noise(samples, dither_seeds)
            features = self._filterbank(samples)
            if self.settings.mean_norm:
                features = features - features.mean(dim=1, keepdim=True)
            return features

    def _filterbank(self, samples: Tensor) -> Tensor:
        length = self.window.numel()
        if samples.shape[-1] < length:
            raise TidyVoiceError(
                f"an utterance of {samples.shape[-1]} samples is shorter than one frame of "
                f"{length}: leave it out or record more"
            )
        # On a CPU a few utterances at a time, whose frames stay in its cache.
        at_once = len(samples)
        if samples.device.type == "cpu":
            at_once = max(CACHED_FRAMES // self.settings.num_frames(samples.shape[-1]), 1)
        parts = [self._log_mel(part) for part in samples.split(at_once)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _log_mel(self, samples: Tensor) -> Tensor:
        length = self.window.numel()
        frames = samples.unfold(-1, length, self.settings.shift_samples)
        frames = frames - frames.mean(dim=-1, keepdim=True)
        emphasised = frames.new_zeros(*frames.shape[:-1], self.fft_size)
        emphasised[..., 0] = frames[..., 0] - PREEMPHASIS * frames[..., 0]
        torch.sub(frames[..., 1:], PREEMPHASIS * frames[..., :-1], out=emphasised[..., 1:length])
        emphasised[..., :length] *= self.window
        # The absolute value takes a root with care for overflow, five times as long.
        parts = torch.view_as_real(torch.fft.rfft(emphasised)).square_()
        power = parts[..., 0] + parts[..., 1]
        return torch.matmul(power, self.filters).clamp_(min=ENERGY_FLOOR).log_()


def seeded_noise(like: Tensor, seeds: Tensor) -> Tensor:
    """Standard normal noise in the shape [B x S] of ``like``, row b a function of ``seeds[b]``."""
    noise = torch.empty_like(like)
    generator = torch.Generator(device=like.device)
    for row, seed in zip(noise, seeds.tolist(), strict=True):
        row.normal_(generator=generator.manual_seed(seed))
    return noise


def mel(hertz: np.ndarray | float) -> np.ndarray:
    """Kaldi's mel scale."""
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


def mel_filters(num_bins: int, fft_size: int, sample_rate: int) -> np.ndarray:
    """Kaldi's triangular mel filters, float32 [num_bins x fft_size/2 + 1]."""
    edges = np.linspace(mel(LOWEST_HZ), mel(sample_rate / 2), num_bins + 2)
    left, centre, right = (edges[i : i + num_bins, None] for i in range(3))
    bins = mel(np.arange(fft_size // 2) * sample_rate / fft_size)[None]
    slopes = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    # Kaldi has no filter weight at the Nyquist bin.
    return np.pad(slopes.clip(min=0.0), ((0, 0), (0, 1))).astype(np.float32)


def _window(kind: str, length: int) -> Tensor:
    if kind == "rectangular":
        return torch.ones(length)
    if kind == "hamming":
        return torch.hamming_window(length, periodic=False, alpha=0.54, beta=0.46)
    hann = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(length) / (length - 1))
    return hann.pow(0.85) if kind == "povey" else hann

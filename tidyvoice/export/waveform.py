"""The filterbank in operations that torch.export converts to ONNX for any length.

Shapes: B utterances, S samples, T frames, L samples of a frame, K = fft_size / 2 + 1 frequencies,
F mel bins, D dimensions of an embedding.
"""

import math

import torch
from torch import Tensor, nn

from tidyvoice.frontend import ENERGY_FLOOR, INT16_SCALE, PREEMPHASIS, Frontend, FrontendSettings


class ExportedFrontend(nn.Module):
    """``Frontend`` in evaluation mode, with its Fourier transform as one matrix product.

    Frames are gathered by index. Window and Fourier transform are one basis [L x 2K], computed in
    float64. Offset removal and pre-emphasis are not part of the basis, where they would cancel in
    float32 and rounding errors of a loud band would cover quiet bands. The product takes 0.4
    million operations a frame, 1/450 of the published model.
    """

    def __init__(self, settings: FrontendSettings):
        super().__init__()
        source = Frontend(settings)
        self.settings = settings
        basis = source.window.double()[:, None] * _fourier(len(source.window), source.fft_size)
        self.register_buffer("basis", basis.float(), persistent=False)
        self.register_buffer("filters", source.filters, persistent=False)
        self.register_buffer("positions", torch.arange(len(source.window)), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return features [B x T x F] of waveforms [B x S] in -1..1, at least one frame long."""
        length, shift = self.settings.window_samples, self.settings.shift_samples
        count = 1 + (waveforms.shape[1] - length) // shift
        starts = shift * torch.arange(count, device=waveforms.device)
        frames = INT16_SCALE * waveforms[:, starts[:, None] + self.positions]
        frames = frames - frames.mean(dim=-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        spectrum = torch.matmul(frames - PREEMPHASIS * before, self.basis)
        real, imaginary = spectrum.chunk(2, dim=-1)
        power = real * real + imaginary * imaginary
        features = torch.matmul(power, self.filters).clamp(min=ENERGY_FLOOR).log()
        if self.settings.mean_norm:
            features = features - features.mean(dim=1, keepdim=True)
        return features


class WaveformModel(nn.Module):
    """Filterbank and model: waveforms [B x S] in -1..1 to embeddings [B x D]."""

    def __init__(self, model: nn.Module, settings: FrontendSettings):
        super().__init__()
        self.frontend = ExportedFrontend(settings)
        self.model = model

    def forward(self, waveforms: Tensor) -> Tensor:
        return self.model(self.frontend(waveforms))


def _fourier(length: int, fft_size: int) -> Tensor:
    """Return cosines, then negative sines, of each frequency, float64 [length x 2K]."""
    turns = torch.arange(length)[:, None] * torch.arange(fft_size // 2 + 1) % fft_size
    angles = 2 * math.pi * turns.double() / fft_size
    return torch.cat([angles.cos(), -angles.sin()], dim=1)

"""Kaldi's log mel filterbank with mean normalisation, batched on any device.

Shapes: B utterances, S samples, T frames, L samples of a frame, K frequencies of its spectrum,
F mel bins.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tidyvoice import kernels
from tidyvoice.errors import TidyVoiceError
from tidyvoice.frontends.registry import FRONTENDS, Frontend
from tidyvoice.headers import INT16_SCALE, SAMPLE_RATE

PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
CACHED_FRAMES = 300  # of 512 float32: 0.6 MB
ENERGY_FLOOR = torch.finfo(torch.float32).eps


@FRONTENDS.register("fbank")
class Fbank(Frontend):
    """Log mel filterbank equal to ``torchaudio.compliance.kaldi.fbank`` with a Hamming window.

    Kaldi's recipe: scale the waveform to 16-bit range; in each frame remove the DC offset, apply
    pre-emphasis and the window, and pad with zeros to a power of two; then the power spectrum,
    triangular filters equally spaced on mel(f) = 1127 ln(1 + f/700) from 20 Hz to the Nyquist
    frequency, and the logarithm, floored at float32's epsilon. No energy coefficient.

    Everything runs in float32, also under autocast: a power spectrum spans more decades than
    half precision holds. The defaults are those of the published baseline.

    Args:
        num_mel_bins: F.
        frame_length, frame_shift: in ms.
        dither: standard deviation, in 16-bit units, of Gaussian noise that is added in training.
            It is added to the samples; Kaldi draws it anew for each frame.
        mean_norm: subtract the mean over the utterance from each bin.
    """

    training_only = ("dither",)

    def __init__(
        self,
        *,
        num_mel_bins: Annotated[int, Field(gt=0, le=512, multiple_of=8)] = 80,
        frame_length: Annotated[float, Field(ge=1, le=200)] = 25.0,
        frame_shift: Annotated[float, Field(ge=1, le=200)] = 10.0,
        dither: Annotated[float, Field(ge=0, le=INT16_SCALE)] = 1.0,
        mean_norm: bool = True,
    ):
        super().__init__()
        self.feature_dim = num_mel_bins
        self.dither, self.mean_norm = dither, mean_norm
        self.length = int(SAMPLE_RATE * frame_length / 1000)
        self.shift = int(SAMPLE_RATE * frame_shift / 1000)
        self.fft_size = 1 << (self.length - 1).bit_length()
        # Frames: gathered, without offset, windowed; padded, as a spectrum, as its power.
        self.working_numbers = 3 * self.length + 3 * self.fft_size
        self.hertz = 700.0 * np.expm1(_mel_edges(num_mel_bins)[1:-1] / 1127.0)
        window = torch.hamming_window(self.length, periodic=False, alpha=0.54, beta=0.46)
        self.register_buffer("window", window, persistent=False)
        filters = _mel_filters(num_mel_bins, self.fft_size)
        self.register_buffer("filters", torch.from_numpy(filters.T.copy()), persistent=False)

    def num_frames(self, samples: int) -> int:
        return 0 if samples < self.length else 1 + (samples - self.length) // self.shift

    def num_samples(self, frames: int) -> int:
        return (frames - 1) * self.shift + self.length

    def forward(self, waveforms: Tensor, dither_seeds: Tensor | None = None) -> Tensor:
        """Return features; without seeds, or outside training, there is no dither."""
        with torch.autocast(waveforms.device.type, enabled=False):
            samples = waveforms.float() * INT16_SCALE
            if self.training and dither_seeds is not None and self.dither > 0:
                samples = samples + self.dither * seeded_noise(samples, dither_seeds)
            if (count := samples.shape[-1]) < self.length:
                short = f"an utterance of {count} samples is shorter than one frame"
                raise TidyVoiceError(f"{short} of {self.length}: leave it out or record more")
            # On a CPU, compute a few utterances at a time, so that their frames stay in its cache.
            at_once = len(samples)
            if samples.device.type == "cpu":
                at_once = max(CACHED_FRAMES // self.num_frames(count), 1)
            features = torch.cat([self._log_mel(part) for part in samples.split(at_once)])
            return _normalise(features) if self.mean_norm else features

    def _log_mel(self, samples: Tensor) -> Tensor:
        length = self.length
        frames = samples.unfold(-1, length, self.shift)
        frames = frames - frames.mean(dim=-1, keepdim=True)
        emphasised = frames.new_zeros(*frames.shape[:-1], self.fft_size)
        emphasised[..., 0] = frames[..., 0] - PREEMPHASIS * frames[..., 0]
        torch.sub(frames[..., 1:], PREEMPHASIS * frames[..., :-1], out=emphasised[..., 1:length])
        emphasised[..., :length] *= self.window
        # The absolute value takes a root with care for overflow, five times as long.
        parts = torch.view_as_real(torch.fft.rfft(emphasised)).square_()
        power = parts[..., 0] + parts[..., 1]
        return torch.matmul(power, self.filters).clamp_(min=ENERGY_FLOOR).log_()

    def for_export(self) -> nn.Module:
        return ExportedFbank(self)

    @staticmethod
    def from_wespeaker(dataset_args: Mapping[str, Any], args: Mapping[str, Any]) -> dict[str, Any]:
        cmvn = dataset_args.get("cmvn_args") or {}
        if cmvn.get("norm_var"):
            raise TidyVoiceError("cmvn_args.norm_var is not supported: only norm_mean is")
        choices = dataset_args.get("cmvn", True), cmvn.get("norm_mean", True)
        if {*map(type, choices)} != {bool}:
            raise TidyVoiceError(f"cmvn and norm_mean are {choices}: set each true or false")
        return {**args, "mean_norm": all(choices)}

    @staticmethod
    def to_wespeaker(args: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        fbank = dict(args)
        mean_norm = fbank.pop("mean_norm")
        cmvn = {"norm_mean": mean_norm, "norm_var": False}
        return fbank, {"cmvn": mean_norm, "cmvn_args": cmvn}


class ExportedFbank(nn.Module):
    """``Fbank`` in evaluation mode, of operations that torch.export and ONNX know for any length.

    Window and Fourier transform are one basis [L x 2K], computed in float64. Offset and
    pre-emphasis stay outside of it: in the basis they would cancel in float32, and quiet bands
    beside a loud one would drown in its rounding.
    """

    def __init__(self, fbank: Fbank):
        super().__init__()
        self.length, self.shift, self.mean_norm = fbank.length, fbank.shift, fbank.mean_norm
        # Cosines, then negative sines, of each frequency: [L x 2K].
        turns = torch.arange(self.length)[:, None] * torch.arange(fbank.fft_size // 2 + 1)
        angles = 2 * math.pi * (turns % fbank.fft_size).double() / fbank.fft_size
        basis = fbank.window.double()[:, None] * torch.cat([angles.cos(), -angles.sin()], dim=1)
        self.register_buffer("basis", basis.float(), persistent=False)
        self.register_buffer("filters", fbank.filters, persistent=False)
        self.register_buffer("positions", torch.arange(fbank.length), persistent=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        count = 1 + (waveforms.shape[1] - self.length) // self.shift
        starts = self.shift * torch.arange(count, device=waveforms.device)
        frames = INT16_SCALE * waveforms[:, starts[:, None] + self.positions]
        frames = frames - frames.mean(dim=-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        spectrum = torch.matmul(frames - PREEMPHASIS * before, self.basis)
        real, imaginary = spectrum.chunk(2, dim=-1)
        power = real * real + imaginary * imaginary
        features = torch.matmul(power, self.filters).clamp(min=ENERGY_FLOOR).log()
        return _normalise(features) if self.mean_norm else features


def _normalise(features: Tensor) -> Tensor:
    return features - features.mean(dim=1, keepdim=True)


def seeded_noise(like: Tensor, seeds: Tensor) -> Tensor:
    """Return standard normal noise in the shape [B x S] of ``like``; row b depends on seeds[b]."""
    if kernels.usable("seeded_noise", like.device, like.dtype):
        return torch.ops.tidyvoice.seeded_noise(like, seeds.to(like.device))
    noise = torch.empty_like(like)
    generator = torch.Generator(device=like.device)
    for row, seed in zip(noise, seeds.tolist(), strict=True):
        row.normal_(generator=generator.manual_seed(seed))
    return noise


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)


def _mel_edges(num_bins: int) -> np.ndarray:
    """Return, in mel, the lower edge, the centres and the upper edge of the filters."""
    return np.linspace(_mel(LOWEST_HZ), _mel(SAMPLE_RATE / 2), num_bins + 2)


def _mel_filters(num_bins: int, fft_size: int) -> np.ndarray:
    """Return Kaldi's triangular mel filters, float32 [num_bins x fft_size/2 + 1]."""
    edges = _mel_edges(num_bins)
    left, centre, right = (edges[i : i + num_bins, None] for i in range(3))
    bins = _mel(np.arange(fft_size // 2) * SAMPLE_RATE / fft_size)[None]
    slopes = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre))
    # Kaldi has no filter weight at the Nyquist bin.
    return np.pad(slopes.clip(min=0.0), ((0, 0), (0, 1))).astype(np.float32)

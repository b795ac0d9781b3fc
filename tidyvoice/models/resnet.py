"""ResNet over log mel features, taken as images of one channel.

He, Zhang, Ren, Sun: Deep Residual Learning for Image Recognition, CVPR 2016; sizes and tensor names
are WeSpeaker's (Wang et al., ICASSP 2023), so that its released checkpoints load.

Shapes: B utterances, T frames, F mel bins, M channels of the first stage, D dimensions of the
embedding.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from tidyvoice.errors import TidyVoiceError
from tidyvoice.models.pooling import POOLINGS, PoolingName
from tidyvoice.models.registry import MODELS, EmbeddingModel

STAGE_STRIDES = (1, 2, 2, 2)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, then the sum with the shortcut."""

    expansion = 1

    def __init__(self, in_planes: int, planes: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.shortcut = _shortcut(in_planes, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(self.conv1(x)).relu_()
        out = self.bn2(self.conv2(out))
        return (out + self.shortcut(x)).relu_()


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
        self.shortcut = _shortcut(in_planes, out_planes, stride)

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

    def __init__(self, in_planes: int, planes: int, stride: int):
        super().__init__(
            nn.Conv2d(in_planes, planes, 1, stride=stride, bias=False), nn.BatchNorm2d(planes)
        )

    def forward(self, x: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return super().forward(x)
        convolution, norm = self
        rows, columns = convolution.stride
        return norm(functional.conv2d(x[:, :, ::rows, ::columns], convolution.weight))


def _shortcut(in_planes: int, planes: int, stride: int) -> nn.Module:
    same = stride == 1 and in_planes == planes
    return nn.Identity() if same else Projection(in_planes, planes, stride)


class ResNet(EmbeddingModel):
    """Residual network, pooling over time and one linear layer: the speaker embedding.

    Args:
        block: ``BasicBlock`` or ``Bottleneck``.
        num_blocks: blocks in each of the four stages.
        feat_dim: F, a multiple of 8.
        m_channels: M; the stages have M, 2M, 4M and 8M channels, ``Bottleneck`` puts out four
            times as many.
        embed_dim: D.
        two_emb_layer: an argument of WeSpeaker's, which its released networks have switched off.
    """

    fewest_half_frames = 9

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        num_blocks: tuple[int, ...],
        feat_dim: int,
        *,
        m_channels: Annotated[int, Field(ge=1)] = 32,
        embed_dim: Annotated[int, Field(ge=1)] = 256,
        pooling_func: PoolingName = "TSTP",
        two_emb_layer: Literal[False] = False,
    ):
        super().__init__()
        if feat_dim % 8:
            raise TidyVoiceError(f"{feat_dim} mel bins: this network takes a multiple of 8")
        self.embed_dim = embed_dim
        self.conv1 = nn.Conv2d(1, m_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(m_channels)
        width = m_channels
        for stage, (blocks, stride) in enumerate(zip(num_blocks, STAGE_STRIDES, strict=True)):
            planes = m_channels * 2**stage
            layers = []
            for index in range(blocks):
                layers.append(block(width, planes, stride if index == 0 else 1))
                width = block.expansion * planes
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.pool = POOLINGS[pooling_func](width * (feat_dim // 8))
        self.seg_1 = nn.Linear(self.pool.out_dim, embed_dim)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B x T x F] to embeddings [B x D]."""
        x = features.transpose(1, 2).unsqueeze(1)
        x = self.bn1(self.conv1(x)).relu_()
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.seg_1(self.pool(x))

    def blocks(self) -> Sequence[nn.Module]:
        return [*self.layer1, *self.layer2, *self.layer3, *self.layer4]


for _name, _block, _num_blocks in (
    ("ResNet34", BasicBlock, (3, 4, 6, 3)),
    ("ResNet152", Bottleneck, (3, 8, 36, 3)),
    ("ResNet221", Bottleneck, (6, 16, 48, 3)),
    ("ResNet293", Bottleneck, (10, 20, 64, 3)),
):
    MODELS.register(_name)(partial(ResNet, _block, _num_blocks))

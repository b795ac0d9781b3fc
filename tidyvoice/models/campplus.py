"""CAM++: a densely connected TDNN whose layers are gated by their context.

Wang, Zheng, Chen, Cheng, Chen: CAM++: A Fast and Efficient Network for Speaker Verification Using
Context-Aware Masking, Interspeech 2023. Tensor names are WeSpeaker's, so that its released
checkpoints load.

Shapes: B utterances, T frames, F features, C channels, N = T/2 frames inside the TDNN,
D dimensions of the embedding.
"""

from collections import OrderedDict
from typing import Literal

import torch
from torch import Tensor, nn

from tidyvoice.models.pooling import PoolingName, build_pooling
from tidyvoice.models.registry import MODELS, EmbeddingModel, Size
from tidyvoice.models.resnet import BasicBlock

HEAD_CHANNELS = 32
SEGMENT_FRAMES = 100  # at the halved rate of the TDNN
DENSE_BLOCKS = ((12, 1), (24, 2), (16, 2))  # layers and dilation


class Head(nn.Module):
    """2-D convolutions that reduce frequency by 8: [B x T x F] to [B x 32F/8 x T]."""

    def __init__(self, feat_dim: int):
        super().__init__()
        width, halving = HEAD_CHANNELS, (2, 1)  # the frequencies, not the frames
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1, self.layer2 = (
            nn.Sequential(BasicBlock(width, width, halving), BasicBlock(width, width, 1))
            for _ in range(2)
        )
        self.conv2 = nn.Conv2d(width, width, 3, stride=halving, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.out_channels = width * -(-feat_dim // 8)

    def forward(self, features: Tensor) -> Tensor:
        x = features.transpose(1, 2).unsqueeze(1)
        x = self.bn1(self.conv1(x)).relu()
        x = self.layer2(self.layer1(x))
        return self.bn2(self.conv2(x)).relu().flatten(1, 2)


def _sequence(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _norm_relu(channels: int) -> nn.Sequential:
    return _sequence(batchnorm=nn.BatchNorm1d(channels), relu=nn.ReLU())


class GatedConvolution(nn.Module):
    """Convolution of three frames, times a gate that depends on the context.

    The context of a frame is the mean over the utterance plus the mean over the frame's segment of
    ``SEGMENT_FRAMES``. All frames of a segment thus have the same gate.
    """

    def __init__(self, channels: int, out_channels: int, dilation: int):
        super().__init__()
        self.linear_local = nn.Conv1d(
            channels, out_channels, 3, padding=dilation, dilation=dilation, bias=False
        )
        self.linear1 = nn.Conv1d(channels, channels // 2, 1)
        self.linear2 = nn.Conv1d(channels // 2, out_channels, 1)

    def forward(self, x: Tensor, segments: Tensor) -> Tensor:
        frames = segments.sum(dim=0).clamp(min=1)
        context = x.mean(dim=2, keepdim=True) + x @ segments / frames
        gates = self.linear2(self.linear1(context).relu()).sigmoid()
        return self.linear_local(x) * (gates @ segments.T)


class DenseLayer(nn.Module):
    """The new channels of a dense layer: a 1x1 convolution, then a gated one."""

    def __init__(self, channels: int, hidden: int, growth: int, dilation: int):
        super().__init__()
        self.nonlinear1 = _norm_relu(channels)
        self.linear1 = nn.Conv1d(channels, hidden, 1, bias=False)
        self.nonlinear2 = _norm_relu(hidden)
        self.cam_layer = GatedConvolution(hidden, growth, dilation)

    def forward(self, x: Tensor, segments: Tensor) -> Tensor:
        x = self.nonlinear2(self.linear1(self.nonlinear1(x)))
        return self.cam_layer(x, segments)


class DenseBlock(nn.Sequential):
    """Layers that each see the block's input and all new channels so far: [B x C x N]."""

    def __init__(self, channels: int, depth: int, growth: int, bn_size: int, dilation: int):
        layers = (
            DenseLayer(channels + index * growth, bn_size * growth, growth, dilation)
            for index in range(depth)
        )
        super().__init__(OrderedDict((f"tdnnd{n}", layer) for n, layer in enumerate(layers, 1)))

    def forward(self, x: Tensor, segments: Tensor) -> Tensor:
        for layer in self:
            x = torch.cat([x, layer(x, segments)], dim=1)
        return x


class DenseTDNN(nn.Module):
    """TDNN layer, dense blocks, pooling and one linear layer: [B x C x T] to [B x D]."""

    def __init__(
        self, channels: int, width: int, growth: int, bn_size: int, pooling: str, embed_dim: int
    ):
        super().__init__()
        self.tdnn = _sequence(
            linear=nn.Conv1d(channels, width, 5, stride=2, padding=2, bias=False),
            nonlinear=_norm_relu(width),
        )
        for number, (depth, dilation) in enumerate(DENSE_BLOCKS, 1):
            block = DenseBlock(width, depth, growth, bn_size, dilation)
            width += depth * growth
            half = nn.Conv1d(width, width // 2, 1, bias=False)
            self.add_module(f"block{number}", block)
            self.add_module(f"transit{number}", _sequence(nonlinear=_norm_relu(width), linear=half))
            width //= 2
        self.out_nonlinear = _norm_relu(width)
        self.stats = build_pooling(pooling, width)
        self.dense = _sequence(
            linear=nn.Conv1d(self.stats.out_dim, embed_dim, 1, bias=False),
            nonlinear=_sequence(batchnorm=nn.BatchNorm1d(embed_dim, affine=False)),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.tdnn(x)
        segments = _segments(x)
        for number in range(1, len(DENSE_BLOCKS) + 1):
            x = getattr(self, f"block{number}")(x, segments)
            x = getattr(self, f"transit{number}")(x)
        statistics = self.stats(self.out_nonlinear(x))
        return self.dense(statistics.unsqueeze(2)).squeeze(2)


def _segments(x: Tensor) -> Tensor:
    """Return S indicators [N x S] of which frames of x [B x C x N] belong to which segment.

    There is a spare segment, because torch.export would take a size of one for a constant.
    """
    frames = torch.arange(x.shape[2], device=x.device)
    segments = torch.arange(x.shape[2] // SEGMENT_FRAMES + 2, device=x.device)
    return (frames.unsqueeze(1) // SEGMENT_FRAMES == segments).to(x.dtype)


@MODELS.register("CAMPPlus")
class CAMPPlus(EmbeddingModel):
    """2-D convolutions, a densely connected TDNN, pooling and one linear layer.

    Args:
        growth_rate: channels that each dense layer adds.
        bn_size: channels inside a dense layer, as a multiple of ``growth_rate``.
        init_channels: channels of the first TDNN layer.
    """

    min_frames_bf16 = 3

    def __init__(
        self,
        feat_dim: int,
        *,
        embed_dim: Size = 512,
        growth_rate: Size = 32,
        bn_size: Size = 4,
        init_channels: Size = 128,
        pooling_func: PoolingName = "TSTP",
        two_emb_layer: Literal[False] = False,
    ):
        super().__init__()
        self.embed_dim = embed_dim
        self.head = Head(feat_dim)
        self.xvector = DenseTDNN(
            self.head.out_channels, init_channels, growth_rate, bn_size, pooling_func, embed_dim
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.xvector(self.head(features))

    def blocks(self) -> list[nn.Module]:
        return [part for part in self.modules() if isinstance(part, (BasicBlock, DenseLayer))]

"""ReDimNet: 2-D convolutions and 1-D time blocks in turn, on maps of one size.

Yakovlev, Makarov, Balykin, Malov, Okhotnikov, Torgashov: Reshape Dimensions Network for Speaker
Recognition, Interspeech 2024. Tensor names are WeSpeaker's.

Each stage multiplies the channels of its map by as much as it divides the frequencies, so that all
maps have the same size. Between stages a map [B x C x F x T] is a sequence [B x K x T], K = FC,
with frequency as the slower index.

Shapes: B utterances, T frames, F features (in a stage, what the strides leave of them), C channels,
K channels of a sequence, D dimensions of the embedding.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tidyvoice.models.pooling import PoolingName, build_pooling
from tidyvoice.models.registry import MODELS, EmbeddingModel, Size, demand_multiple

DIMENSIONS = {1: (nn.Conv1d, nn.BatchNorm1d), 2: (nn.Conv2d, nn.BatchNorm2d)}
HEADS = 4
TIME_KERNELS = (7, 19, 31, 59)
NORM_EPS = 1e-6


class ToSequence(nn.Module):
    """Reshape a map [B x C x F x T] to a sequence [B x FC x T]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(1, 2)


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of [B x C x ... x T]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(1, -1)).transpose(1, -1)


class ConvNeXtBlock(nn.Module):
    """Grouped convolution, batch norm, GELU and a 1x1 convolution, plus the input.

    ``kernel`` has one size for sequences, two for maps.
    """

    def __init__(self, channels: int, groups: int, kernel: tuple[int, ...]):
        super().__init__()
        convolution, norm = DIMENSIONS[len(kernel)]
        padding = tuple(size // 2 for size in kernel)
        self.dwconvs = nn.ModuleList(
            [convolution(channels, channels, kernel, padding=padding, groups=groups)]
        )
        self.norm = norm(channels)
        self.pwconv1 = convolution(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.gelu(self.norm(self.dwconvs[0](x)))
        return x + self.pwconv1(out)


class ResidualBlock(nn.Module):
    """Grouped 3x3 and 1x1 convolution, twice, plus the input, on a map."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        grouped = {"padding": 1, "groups": groups, "bias": False}
        self.conv1 = nn.Conv2d(channels, channels, 3, **grouped)
        self.conv1pw = nn.Conv2d(channels, channels, 1)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, **grouped)
        self.conv2pw = nn.Conv2d(channels, channels, 1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn1(self.conv1pw(self.conv1(x)).relu())
        return (x + self.bn2(self.conv2pw(self.conv2(out)))).relu()


class MapBlock(nn.Sequential):
    """A 2-D block under the name that it has in checkpoints."""

    def __init__(self, block: nn.Module):
        super().__init__(OrderedDict(conv_block=block))


class Attention(nn.Module):
    """Self-attention with ``HEADS`` heads: [B x T x K] to [B x T x K]."""

    def __init__(self, channels: int):
        super().__init__()
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            self.add_module(name, nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            projection(x).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        out = functional.scaled_dot_product_attention(query, key, value)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class TransformerLayer(nn.Module):
    """Self-attention and feed-forward, each followed by layer norm of the sum: [B x K x T]."""

    def __init__(self, channels: int):
        super().__init__()
        self.attention = Attention(channels)
        self.layer_norm = nn.LayerNorm(channels, NORM_EPS)
        self.feed_forward = nn.Sequential()
        self.feed_forward.add_module("intermediate_dense", nn.Linear(channels, channels))
        self.feed_forward.add_module("gelu", nn.GELU(approximate="tanh"))
        self.feed_forward.add_module("output_dense", nn.Linear(channels, channels))
        self.final_layer_norm = nn.LayerNorm(channels, NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        x = self.layer_norm(x + self.attention(x))
        x = self.final_layer_norm(x + self.feed_forward(x))
        return x.transpose(1, 2)


class TimeBlock(nn.Module):
    """Convolutions over time and a transformer layer at ``hidden`` channels, plus the input."""

    def __init__(self, channels: int, hidden: int):
        super().__init__()
        self.red_dim_conv = nn.Sequential(
            nn.Conv1d(channels, hidden, 1), ChannelNorm(hidden, NORM_EPS)
        )
        self.tcm = nn.Sequential(
            *(ConvNeXtBlock(hidden, hidden, (size,)) for size in TIME_KERNELS),
            TransformerLayer(hidden),
        )
        self.exp_dim_conv = nn.Conv1d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.exp_dim_conv(self.tcm(self.red_dim_conv(x)))


# Of each stage: the stride of the frequencies, by which the channels are multiplied; the number of
# 2-D blocks; how many times more channels these have; K divided by the channels of the time block.
Stages = tuple[tuple[int, int, int, int], ...]
BlockMaker = Callable[[int, int], nn.Module]  # from the channels and the number of groups


class Stage(nn.Sequential):
    """Strided convolution, 2-D blocks and a time block: [B x K x T] to [B x K x T]."""

    def __init__(
        self, settings: tuple, channels: int, group_size: int, width: int, block: BlockMaker
    ):
        stride, depth, expansion, reduction = settings
        narrow = channels * stride
        wide = narrow * expansion
        layers: list[nn.Module] = [nn.Conv2d(channels, wide, (stride, 1), stride=(stride, 1))]
        layers += [MapBlock(block(wide, wide // group_size)) for _ in range(depth)]
        if wide != narrow:
            back = nn.Sequential(
                nn.Conv2d(wide, narrow, 3, padding=1, groups=narrow // group_size),
                nn.BatchNorm2d(narrow, eps=NORM_EPS),
                nn.GELU(),
                nn.Conv2d(narrow, narrow, 1),
            )
            layers.append(back)
        super().__init__(*layers, ToSequence(), TimeBlock(width, width // reduction))

    def forward(self, x: Tensor) -> Tensor:
        as_map = x.unflatten(1, (-1, self[0].in_channels)).transpose(1, 2)
        return super().forward(as_map)


class Backbone(nn.Module):
    """Stem and stages: features [B x T x F] to a sequence [B x K x T].

    Each stage sees a weighted sum of the outputs of the stem and of all stages before it, with one
    weight for each output and channel of the sequence. The backbone's output is such a sum, too.
    """

    def __init__(
        self, feat_dim: int, channels: int, group_size: int, stages: Stages, block: BlockMaker
    ):
        super().__init__()
        width = feat_dim * channels
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels, 3, padding=1), ChannelNorm(channels, NORM_EPS), ToSequence()
        )
        # The first stage has one input. Its constant weight is in the checkpoints.
        constant = nn.Parameter(torch.ones(1, 1, 1, 1), requires_grad=False)
        self.inputs_weights = nn.ParameterList([constant])
        for number, settings in enumerate(stages):
            stage = Stage(settings, channels, group_size, width, block)
            self.add_module(f"stage{number}", stage)
            self.inputs_weights.append(nn.Parameter(torch.zeros(1, number + 2, width, 1)))
            channels *= settings[0]

    def forward(self, features: Tensor) -> Tensor:
        outputs = [self.stem(features.transpose(1, 2).unsqueeze(1))]
        *of_stages, of_output = self.inputs_weights
        for number, weights in enumerate(of_stages):
            stage = getattr(self, f"stage{number}")
            outputs.append(stage(_weighted_sum(outputs, weights)))
        return _weighted_sum(outputs, of_output)


def _weighted_sum(outputs: list[Tensor], weights: Tensor) -> Tensor:
    """Sum sequences [B x K x T], weighted by the softmax of weights [1 x outputs x K x 1]."""
    first, *others = weights.softmax(dim=1).unbind(1)
    total = outputs[0] * first
    for output, weight in zip(outputs[1:], others, strict=True):
        total = torch.addcmul(total, output, weight)
    return total


class ReDimNet(EmbeddingModel):
    """Backbone, pooling over time and one linear layer.

    Args:
        feat_dim: F, a multiple of 24 for B2 and of 12 for B6, or of another number if C differs.
        C: channels of the stem.
        group_divisor: channels in a group of the grouped convolutions; C is a multiple of it.
    """

    min_frames_bf16 = 2

    def __init__(
        self,
        stages: Stages,
        block: BlockMaker,
        feat_dim: int,
        *,
        C: Size = 16,
        group_divisor: Size = 4,
        embed_dim: Size = 192,
        pooling_func: PoolingName = "ASTP",
        two_emb_layer: Literal[False] = False,
    ):
        super().__init__()
        demand_multiple(C, group_divisor, "channels (C)", "group_divisor")
        # The strides divide the frequencies, and the attention heads the channels of a time block.
        strides = math.prod(stride for stride, *_ in stages)
        parts = (HEADS * reduction for *_, reduction in stages)
        step = math.lcm(strides, *(part // math.gcd(part, C) for part in parts))
        demand_multiple(feat_dim, step, who=f"ReDimNet with C = {C}")
        self.embed_dim = embed_dim
        self.backbone = Backbone(feat_dim, C, group_divisor, stages, block)
        self.pool = build_pooling(pooling_func, feat_dim * C, global_context=True)
        self.seg_1 = nn.Linear(self.pool.out_dim, embed_dim)

    def forward(self, features: Tensor) -> Tensor:
        return self.seg_1(self.pool(self.backbone(features)))

    def blocks(self) -> list[nn.Module]:
        return [part for part in self.modules() if isinstance(part, (MapBlock, TimeBlock))]


B2_STAGES = ((1, 2, 1, 12), (2, 2, 1, 12), (1, 3, 1, 12), (2, 4, 1, 8), (1, 4, 1, 8), (2, 4, 1, 4))
B6_STAGES = (
    (1, 4, 4, 32),
    (2, 6, 2, 32),
    (1, 6, 2, 24),
    (3, 8, 1, 24),
    (1, 8, 1, 16),
    (2, 8, 1, 16),
)
MODELS.register("ReDimNetB2")(partial(ReDimNet, B2_STAGES, partial(ConvNeXtBlock, kernel=(3, 3))))
MODELS.register("ReDimNetB6")(partial(ReDimNet, B6_STAGES, ResidualBlock, C=32, group_divisor=32))

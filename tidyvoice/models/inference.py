"""SimAM-ResNets for extraction: batch norm folded into the convolutions, few passes over maps.

Maps lie channels last, the layout that convolutions take without reordering. On a CPU, SimAM, the
residual sum and ReLU work on tiles of a large map that stay in a core's cache.

Shapes: B utterances, T frames, F features, C channels, H x W positions of a map.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tidyvoice import kernels
from tidyvoice.models.pooling import AttentiveStatisticsPooling, Pooling
from tidyvoice.models.resnet import Projection
from tidyvoice.models.simam_resnet import LAMBDA, SimAMBlock, SimAMResNetASP, simam_residual

TILE = 2**16  # numbers of float32, 0.25 MB: two tiles at a time fit the second-level cache
# Maps that exist at once on a GPU, as if all were float32, where SimAM has no kernel.
PLAIN_FLOAT32_MAPS = 7


class FoldedSimAMResNet(nn.Module):
    """A copy of a SimAM-ResNet in evaluation mode: [B x T x F] to embeddings [B x D].

    ``dtype`` is that of the convolutions and their maps. SimAM, the pooling and the last layer
    always compute in float32. ``fewest_frames`` is the smallest T.
    """

    def __init__(self, model: SimAMResNetASP, dtype: torch.dtype = torch.float32):
        super().__init__()
        model = copy.deepcopy(model).eval()
        front = model.front
        self.stem = fuse_conv_bn_eval(front.conv1, front.bn1)
        self.blocks = nn.Sequential(*map(_Block, front.blocks()))
        self.stem.to(dtype, memory_format=torch.channels_last)
        self.blocks.to(dtype, memory_format=torch.channels_last)
        self.pooling = _fold_attention(model.pooling)
        self.bottleneck = model.bottleneck
        self.dtype = dtype
        self.fewest_frames = 1 if dtype == torch.float32 else model.min_frames_bf16
        self.requires_grad_(False)

    @property
    def maps_on_gpu(self) -> int:
        """Maps of the widest size that SimAM needs at once on a GPU; 0 with its kernel."""
        weight = self.stem.weight  # its device has a number
        if kernels.usable("simam_residual", weight.device, weight.dtype):
            return 0
        return PLAIN_FLOAT32_MAPS * 4 // weight.itemsize

    def forward(self, features: Tensor) -> Tensor:
        x = features.transpose(1, 2).unsqueeze(1).to(self.dtype)
        x = self.stem(x).relu_().contiguous(memory_format=torch.channels_last)
        return self.bottleneck(self.pooling(self.blocks(x).float()))


class _Block(nn.Module):
    """``SimAMBlock`` without batch norm."""

    def __init__(self, block: SimAMBlock):
        super().__init__()
        self.conv1 = fuse_conv_bn_eval(block.conv1, block.bn1)
        self.conv2 = fuse_conv_bn_eval(block.conv2, block.bn2)
        self.downsample = block.downsample
        if isinstance(block.downsample, Projection):
            self.downsample = fuse_conv_bn_eval(*block.downsample)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.conv1(x).relu_())
        x = self.downsample(x)
        # Smaller maps stay in the cache as they are.
        if out.device.type == "cpu" and out[0].numel() > TILE:
            return simam_and_sum_(out, x)
        return simam_residual(out, x)


def simam_and_sum_(x: Tensor, residual: Tensor) -> Tensor:
    """Write the ReLU of the sum of SimAM of x and a residual, both [B x C x H x W], over x.

    Both lie channels last. The statistics and the attention are in float32. With d = x - mu and
    s^2 = c (see ``tidyvoice.models.simam_resnet``) the attention is sigmoid((s x - s mu)^2 + 1/2).
    """
    half = torch.tensor(0.5)
    # Views [B x HW x C].
    maps = (each.permute(0, 2, 3, 1).view(len(x), -1, x.shape[1]) for each in (x, residual))
    for first, second in zip(*maps, strict=True):
        positions, channels = first.shape
        tiles = first.split(max(TILE // channels, 1))
        buffer = torch.empty(tiles[0].shape)
        mean = first.sum(0, dtype=torch.float32).div_(positions)
        squares = torch.zeros(channels)
        for tile in tiles:
            deviation = torch.sub(tile, mean, out=buffer[: len(tile)])
            squares += deviation.square_().sum(0)
        scale = squares.div_(positions - 1).add_(LAMBDA).rsqrt_().mul_(0.5)
        shift = -mean * scale
        for tile, added in zip(tiles, second.split(len(tiles[0])), strict=True):
            value, added = tile.float(), added.float()  # no copies in float32
            attention = torch.addcmul(shift, value, scale, out=buffer[: len(tile)])
            torch.addcmul(half, attention, attention, out=attention).sigmoid_()
            tile.copy_(torch.addcmul(added, value, attention, out=attention).relu_())
    return x


def _fold_attention(pooling: Pooling) -> Pooling:
    """Fold the batch norm of an ASP into the convolution after it."""
    if not isinstance(pooling, AttentiveStatisticsPooling):
        return pooling
    before, relu, norm, after, softmax = pooling.attention
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - scale * norm.running_mean
    with torch.no_grad():
        after.bias += after.weight[:, :, 0] @ shift
        after.weight *= scale[None, :, None]
    pooling.attention = nn.Sequential(before, relu, after, softmax)
    return pooling

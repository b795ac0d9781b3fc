"""ResNet with SimAM attention.

Qin, Li, Wang, Li: Simple Attention Module based Speaker Verification with Iterative Noisy Label
Detection, ICASSP 2022. Tensor names are WeSpeaker's, so that its released checkpoints load.

SimAM: attention without parameters, from the energy of each position.

Yang, Zhang, Li, Xie: SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural
Networks, ICML 2021, equation 5. With mu the mean of a channel over its H x W = n + 1 positions,
d = x - mu, v = sum d^2 / n and c = 1 / (4 (v + lambda)), the output is x a with
a = sigmoid(c d^2 + 1/2).

Four forms compute it, with statistics and attention in float32:

- Triton's ``simam_residual`` (tidyvoice.kernels): on CUDA where it passes its check.
- ``_SimAMResidual``: elsewhere, if gradients are needed.
- ``simam_and_sum_`` (tidyvoice.models.inference): extraction of large maps on a CPU, in tiles.
- ``simam``: all the rest.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from tidyvoice import kernels
from tidyvoice.kernels import LAMBDA
from tidyvoice.models.pooling import PoolingName, build_pooling
from tidyvoice.models.registry import MODELS, EmbeddingModel, Size, demand_multiple
from tidyvoice.models.resnet import REDUCTION, ResidualTrunk, TwoConvolutions, shortcut

POSITIONS = (2, 3)


def simam(x: Tensor) -> Tensor:
    """Return SimAM of x [B x C x H x W], computed in float32, in the type of x."""
    with torch.autocast(x.device.type, enabled=False):
        value = x.float()
        n = value.shape[2] * value.shape[3] - 1
        deviation = value - value.mean(POSITIONS, keepdim=True)
        variance = deviation.square().sum(POSITIONS, keepdim=True) / n
        attention = (deviation.square() / (4 * (variance + LAMBDA)) + 0.5).sigmoid()
        return (value * attention).to(x.dtype)


def simam_residual(x: Tensor, residual: Tensor) -> Tensor:
    """Return the ReLU of the sum of SimAM of x and a residual, both [B x C x H x W].

    This end of a residual block is one function, because in training the memory traffic of these
    steps costs more than their arithmetic. On CUDA Triton kernels compute it; the formulas are
    those of ``_SimAMResidual``.
    """
    if kernels.usable("simam_residual", x.device, x.dtype):
        return torch.ops.tidyvoice.simam_residual(x, residual)[0]
    if torch.is_grad_enabled() and (x.requires_grad or residual.requires_grad):
        with torch.autocast(x.device.type, enabled=False):
            return _SimAMResidual.apply(x, residual)
    return (simam(x) + residual).relu_()


class _SimAMResidual(torch.autograd.Function):
    """Function that saves x, the output and two numbers a channel; autograd would save six maps.

    With q = sqrt(c) d, so that a = sigmoid(q^2 + 1/2), and s = g x a (1 - a) for a gradient g
    that has passed the ReLU, and because the deviations sum to zero, the gradient of x is
    g a + 2 sqrt(c) (s q - mean(s q)) - (8 sqrt(c) / n) sum(s q^2) q.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, residual: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        value = _rows(x)
        mean = _over_columns(value.sum(1), channels) / (height * width)
        squares = (value - _each_column(mean, width)).square_()
        variance = _over_columns(squares.sum(1), channels) / (height * width - 1)
        c = 0.25 / (variance + LAMBDA)
        attention = squares.mul_(_each_column(c, width)).add_(0.5).sigmoid_()
        out = attention.mul_(value).add_(_rows(residual)).relu_()
        out = out.to(x.dtype).view(batch, height, width, channels).permute(0, 3, 1, 2)
        ctx.save_for_backward(x, out, mean, c.sqrt_())
        return out

    @staticmethod
    @once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, gradient: Tensor
    ) -> tuple[Tensor, Tensor]:
        x, out, mean, root = ctx.saved_tensors
        batch, channels, height, width = x.shape
        of_residual = torch.ops.aten.threshold_backward(gradient, out, 0)
        value = _rows(x)
        scaled = (value - _each_column(mean, width)).mul_(_each_column(root, width))
        attention = scaled.square().add_(0.5).sigmoid_()
        result = _rows(of_residual) * attention
        weighted = torch.addcmul(result, result, attention, value=-1).mul_(value).mul_(scaled)
        pull = _over_columns((weighted * scaled).sum(1), channels) / (height * width - 1)
        centre = _over_columns(weighted.sum(1), channels) / (height * width)
        weighted.sub_(_each_column(centre, width))
        result.addcmul_(weighted, _each_column(2 * root, width))
        result.addcmul_(scaled, _each_column(-8 * root * pull, width))
        of_x = result.to(x.dtype).view(batch, height, width, channels).permute(0, 3, 1, 2)
        return of_x, of_residual


# With few channels, the innermost dimension of a channels-last map is too short to vectorise well.
# These functions work on rows of W x C values and repeat the values of a channel along them.


def _rows(x: Tensor) -> Tensor:
    """Return a view [B x H x WC] in float32 of maps [B x C x H x W] that lie channels last."""
    return x.permute(0, 2, 3, 1).flatten(2).float()


def _each_column(of_channels: Tensor, width: int) -> Tensor:
    """Repeat numbers of channels [B x C] for the columns of ``_rows``: [B x 1 x WC]."""
    return of_channels.repeat(1, width).unsqueeze(1)


def _over_columns(sums: Tensor, channels: int) -> Tensor:
    """Add up sums [B x WC] over the rows of ``_rows`` for each channel: [B x C]."""
    return sums.unflatten(1, (-1, channels)).sum(1)


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
        pooled = self.pooling(self.front(features))
        # In float32, as in inference: bfloat16 would round each dimension of the embedding.
        with torch.autocast(pooled.device.type, enabled=False):
            return self.bottleneck(pooled.to(self.bottleneck.weight.dtype))

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

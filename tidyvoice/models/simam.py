"""SimAM: attention without parameters, from the energy of each position.

Yang, Zhang, Li, Xie: SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural
Networks, ICML 2021, equation 5. With mu the mean of a channel over its H x W = n + 1 positions,
d = x - mu, v = sum d^2 / n and c = 1 / (4 (v + lambda)), the output is x a with
a = sigmoid(c d^2 + 1/2).
"""

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LAMBDA = 1e-4
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
    steps costs more than their arithmetic. It is fastest for maps that lie channels last.
    """
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

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
    """SimAM of x [B x C x H x W], in float32 inside, returned in x's own type."""
    with torch.autocast(x.device.type, enabled=False):
        if torch.is_grad_enabled() and x.requires_grad:
            return _SimAM.apply(x)
        value = x.float()
        mean, curvature = _statistics(value)
        return _attention(value - mean, curvature).mul_(value).to(x.dtype)


def _statistics(value: Tensor) -> tuple[Tensor, Tensor]:
    """mu and c of each channel, [B x C x 1 x 1]."""
    n = value.shape[2] * value.shape[3] - 1
    mean = value.mean(POSITIONS, keepdim=True)
    variance = (value - mean).square_().sum(POSITIONS, keepdim=True) / n
    return mean, 0.25 / (variance + LAMBDA)


def _attention(deviation: Tensor, curvature: Tensor) -> Tensor:
    return deviation.square().mul_(curvature).add_(0.5).sigmoid_()


class _SimAM(torch.autograd.Function):
    """Keeps x and two numbers a channel for the backward pass, where autograd keeps five maps.

    With s = g x a (1 - a) for an incoming gradient g, and because the deviations sum to zero,
    the gradient is g a + 2 c (s d - mean(s d)) - (8 c^2 / n) sum(s d^2) d.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        value = x.float()
        mean, curvature = _statistics(value)
        ctx.save_for_backward(x, mean, curvature)
        return _attention(value - mean, curvature).mul_(value).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        x, mean, curvature = ctx.saved_tensors
        value = x.float()
        n = value.shape[2] * value.shape[3] - 1
        deviation = value - mean
        attention = _attention(deviation, curvature)
        result = gradient.float() * attention
        weighted = (result * value).mul_(1 - attention).mul_(deviation)
        pull = (weighted * deviation).sum(POSITIONS, keepdim=True)
        centre = weighted.mean(POSITIONS, keepdim=True)
        result += weighted.sub_(centre).mul_(2 * curvature)
        result += deviation.mul_(-8 / n * curvature.square() * pull)
        return result.to(x.dtype)

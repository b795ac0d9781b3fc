"""SimAM's equation in float64."""

import torch
from torch import Tensor


def reference(x: Tensor, residual: Tensor, weight: Tensor) -> list[Tensor]:
    """Output and gradients from the equation of the paper."""
    x, residual = (each.double().detach().requires_grad_() for each in (x, residual))
    square = (x - x.mean((2, 3), keepdim=True)) ** 2
    variance = square.sum((2, 3), keepdim=True) / (x.shape[2] * x.shape[3] - 1)
    out = (x * torch.sigmoid(square / (4 * (variance + 1e-4)) + 0.5) + residual).relu()
    return [out, *torch.autograd.grad(out, (x, residual), weight.double())]

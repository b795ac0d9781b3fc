"""SimAM: attention without parameters, from the energy of each position.

Yang, Zhang, Li, Xie: SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural
Networks, ICML 2021, equation 5. With mu the mean of a channel over its H x W = n + 1 positions and
v = sum (x - mu)^2 / n, the output is x * sigmoid((x - mu)^2 / (4 (v + lambda)) + 1/2).
"""

import torch
from torch import Tensor

LAMBDA = 1e-4


def simam(x: Tensor) -> Tensor:
    """SimAM of x [B x C x H x W], in float32 inside, returned in x's own type."""
    with torch.autocast(x.device.type, enabled=False):
        value = x.float()
        n = x.shape[2] * x.shape[3] - 1
        deviation = (value - value.mean(dim=(2, 3), keepdim=True)).square()
        variance = deviation.sum(dim=(2, 3), keepdim=True) / n
        attention = torch.sigmoid(deviation / (4 * (variance + LAMBDA)) + 0.5)
        return (value * attention).to(x.dtype)

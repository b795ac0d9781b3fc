"""cos(theta + m) and cos(theta - m), extended so that they decrease monotonically.

Where the margin moves an angle beyond pi or below zero, the cosine would turn back. There it
continues with the slope of cos(theta), so that angles keep their order and gradients do not vanish.
"""

import math

import torch
from torch import Tensor

# Keeps the gradient of the square root finite where a cosine is one (its limit is infinite).
SINE_FLOOR = 1e-12


def _sine(cosine: Tensor) -> Tensor:
    return (1.0 - cosine.square()).clamp(min=SINE_FLOOR).sqrt()


def add_margin(cosine: Tensor, margin: float, easy: bool = False) -> Tensor:
    """Return cos(theta + margin), and cos(theta) - 1 - cos(pi - margin) where theta + margin > pi.

    With ``easy`` the margin applies only where theta < pi/2.
    """
    widened = cosine * math.cos(margin) - _sine(cosine) * math.sin(margin)
    if easy:
        return torch.where(cosine > 0, widened, cosine)
    turn = math.cos(math.pi - margin)
    return torch.where(cosine > turn, widened, cosine - 1.0 - turn)


def subtract_margin(cosine: Tensor, margin: float) -> Tensor:
    """Return cos(theta - margin), and cos(theta) + 1 - cos(margin) where theta < margin."""
    turn = math.cos(margin)
    narrowed = cosine * turn + _sine(cosine) * math.sin(margin)
    return torch.where(cosine < turn, narrowed, cosine + 1.0 - turn)

"""Cosine annealing with warm restarts.

Loshchilov, Hutter: SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017, equation 5.
"""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from tidyvoice.schedules.registry import LEARNING_RATES, LearningRate


@LEARNING_RATES.register("CosineRestarts")
@dataclass(frozen=True, kw_only=True)
class CosineRestarts(LearningRate):
    """Half a cosine from ``initial_lr`` to ``final_lr``, again and again.

    Args:
        cycle_epochs: length of the first cycle; the whole training if None.
        cycle_factor: length of a cycle in relation to the one before it.
    """

    cycle_epochs: Annotated[float, Field(ge=0.01, le=10**6)] | None = None
    cycle_factor: Annotated[float, Field(ge=1, le=1000)] = 1.0

    def decayed(self, iteration: int) -> float:
        length = (self.cycle_epochs or self.epochs) * self.epoch_iterations
        while iteration >= length and self.cycle_factor > 1.0:
            iteration -= length
            length *= self.cycle_factor
        share = iteration % length / length
        drop = self.initial_lr - self.final_lr
        return self.final_lr + 0.5 * drop * (1.0 + math.cos(math.pi * share))

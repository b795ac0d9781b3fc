"""What changes with the iteration: the learning rate and the margin (WeSpeaker's formulas)."""

import math
from dataclasses import dataclass
from typing import Literal

# An exponential rise reaches its end up to this share, then is set to the end itself.
EXPONENTIAL_REST = 1e-3


@dataclass(frozen=True)
class MarginSchedule:
    """Margin of the loss: initial, then rising between two epochs, then final.

    Epochs count from 1: the rise starts with the first iteration of ``increase_start_epoch`` and
    ends with that of ``fix_start_epoch``. The published files write ``increase_start_epoch: 0``,
    by which the rise has begun an epoch before the training and starts part of the way up; write
    1 for a start at ``initial_margin``.

    With r the share of the rise that has passed, the margin is
    initial + (final - initial) * r (``linear``) or
    initial + (final - initial) * (1 - 0.001**r) (``exp``).
    """

    epoch_iter: int
    initial_margin: float = 0.0
    final_margin: float = 0.2
    increase_start_epoch: int = 1
    fix_start_epoch: int = 1
    increase_type: Literal["linear", "exp"] = "exp"
    update_margin: bool = True

    def at(self, iteration: int) -> float:
        """Margin in radians at 0-based ``iteration``."""
        start = (self.increase_start_epoch - 1) * self.epoch_iter
        end = (self.fix_start_epoch - 1) * self.epoch_iter
        if not self.update_margin or iteration < start:
            return self.initial_margin
        if iteration >= end:
            return self.final_margin
        share = (iteration - start) / (end - start)
        if self.increase_type == "exp":
            share = 1.0 - math.exp(share * math.log(EXPONENTIAL_REST / (1.0 + 1e-6)))
        return self.initial_margin + (self.final_margin - self.initial_margin) * share


@dataclass(frozen=True)
class ExponentialDecrease:
    """Learning rate falling exponentially from initial to final, with a linear warm-up.

    lr(i) = c(i) * initial * (final / initial)**(i / (num_epochs * epoch_iter)), where c rises
    linearly during the warm-up and is ``scale_ratio`` after it: from zero with
    ``warm_from_zero``, else from one if ``scale_ratio`` is above one, else without a rise.
    """

    epoch_iter: int
    num_epochs: int
    initial_lr: float
    final_lr: float
    warm_up_epoch: float = 0
    warm_from_zero: bool = False
    scale_ratio: float = 1.0

    def at(self, iteration: int) -> float:
        """Learning rate at 0-based ``iteration``."""
        passed = iteration / (self.num_epochs * self.epoch_iter)
        decayed = self.initial_lr * math.exp(passed * math.log(self.final_lr / self.initial_lr))
        return decayed * self._coefficient(iteration)

    def _coefficient(self, iteration: int) -> float:
        warm_up = self.warm_up_epoch * self.epoch_iter
        if iteration >= warm_up:
            return self.scale_ratio
        if self.warm_from_zero:
            return self.scale_ratio * iteration / warm_up
        if self.scale_ratio > 1.0:
            return 1.0 + (self.scale_ratio - 1.0) * iteration / warm_up
        return self.scale_ratio

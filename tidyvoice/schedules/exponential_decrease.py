"""Exponential decay of the learning rate, as in WeSpeaker."""

import math
from dataclasses import dataclass

from tidyvoice.errors import TidyVoiceError
from tidyvoice.schedules.registry import LEARNING_RATES, LearningRate


@LEARNING_RATES.register("ExponentialDecrease")
@dataclass(frozen=True, kw_only=True)
class ExponentialDecrease(LearningRate):
    """initial_lr * (final_lr / initial_lr)**p, with p the share of the training that has passed."""

    def __post_init__(self):
        if not self.final_lr / self.initial_lr:
            raise TidyVoiceError(
                "final_lr is 0 or nearly, which an exponential decay never reaches"
            )

    def decayed(self, iteration: int) -> float:
        passed = iteration / (self.epochs * self.epoch_iterations)
        return self.initial_lr * math.exp(passed * math.log(self.final_lr / self.initial_lr))

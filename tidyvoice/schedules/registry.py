"""The registries of schedules, and what the schedules have in common."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from tidyvoice.settings.registry import Registry


@dataclass(frozen=True)
class Schedule:
    """A number that changes with the iteration, in a training of at least one epoch."""

    epoch_iterations: int
    epochs: int

    def at(self, iteration: int) -> float:
        """Return the value at a 0-based iteration."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class LearningRate(Schedule):
    """A learning rate that decays, times a factor that rises to 1 during the warm-up.

    Args:
        initial_lr: learning rate at the start, without the warm-up.
        final_lr: learning rate at the end.
    """

    initial_lr: Annotated[float, Field(ge=1e-30, le=1000)]
    final_lr: Annotated[float, Field(ge=0, le=1000)]
    warmup_epochs: Annotated[float, Field(ge=0, le=10**6)] = 0.0
    warmup_start: Annotated[float, Field(ge=0, le=1)] = 0.0

    def at(self, iteration: int) -> float:
        warmup = self.warmup_epochs * self.epoch_iterations
        factor = 1.0
        if iteration < warmup:
            factor = self.warmup_start + (1.0 - self.warmup_start) * iteration / warmup
        return self.decayed(iteration) * factor

    def decayed(self, iteration: int) -> float:
        """Return the learning rate at a 0-based iteration without the warm-up."""
        raise NotImplementedError


LEARNING_RATES: Registry[type[LearningRate]] = Registry("learning rate schedule")
MARGINS: Registry[type[Schedule]] = Registry("margin schedule")

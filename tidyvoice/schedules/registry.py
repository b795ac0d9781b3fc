"""The registries of schedules, what the schedules have in common, and three schedules."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from tidyvoice.errors import TidyVoiceError
from tidyvoice.settings.registry import Registry

# An exponential increase comes this close to its end (as a share), then jumps to the end.
EXPONENTIAL_REST = 1e-3


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


@LEARNING_RATES.register("CosineRestarts")
@dataclass(frozen=True, kw_only=True)
class CosineRestarts(LearningRate):
    """Half a cosine from ``initial_lr`` to ``final_lr``, again and again.

    Loshchilov, Hutter: SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017, equation 5.

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


@LEARNING_RATES.register("ExponentialDecrease")
@dataclass(frozen=True, kw_only=True)
class ExponentialDecrease(LearningRate):
    """initial_lr * (final_lr / initial_lr)**p, with p the share of the training that has passed."""

    def __post_init__(self):
        if not self.final_lr / self.initial_lr:
            raise TidyVoiceError("final_lr is 0 or nearly, which this decay never reaches")

    def decayed(self, iteration: int) -> float:
        passed = iteration / (self.epochs * self.epoch_iterations)
        return self.initial_lr * math.exp(passed * math.log(self.final_lr / self.initial_lr))


@MARGINS.register("IncreasingMargin")
@dataclass(frozen=True, kw_only=True)
class IncreasingMargin(Schedule):
    """The initial margin, then an increase between two epochs, then the final margin.

    Epochs count from 1: the increase starts with the first iteration of ``increase_start_epoch``
    and ends with that of ``fix_start_epoch``. With r the share of the increase that has passed, the
    margin is initial + (final - initial) * r (``linear``) or
    initial + (final - initial) * (1 - 0.001**r) (``exp``). The published files write
    ``increase_start_epoch: 0``: their trainings start above ``initial_margin``.
    """

    initial_margin: Annotated[float, Field(ge=0, lt=1.6)] = 0.0
    final_margin: Annotated[float, Field(ge=0, lt=1.6)] = 0.2
    increase_start_epoch: Annotated[int, Field(ge=0, le=10**6)] = 1
    fix_start_epoch: Annotated[int, Field(ge=0, le=10**6)] = 1
    increase_type: Literal["linear", "exp"] = "exp"

    def __post_init__(self):
        if self.fix_start_epoch < self.increase_start_epoch:
            raise TidyVoiceError("fix_start_epoch is before increase_start_epoch: set it higher")

    def at(self, iteration: int) -> float:
        start = (self.increase_start_epoch - 1) * self.epoch_iterations
        end = (self.fix_start_epoch - 1) * self.epoch_iterations
        if iteration < start:
            return self.initial_margin
        if iteration >= end:
            return self.final_margin
        share = (iteration - start) / (end - start)
        if self.increase_type == "exp":
            share = 1.0 - math.exp(share * math.log(EXPONENTIAL_REST / (1.0 + 1e-6)))
        return self.initial_margin + (self.final_margin - self.initial_margin) * share

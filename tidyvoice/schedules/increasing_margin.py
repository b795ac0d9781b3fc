"""A margin that increases between two epochs, as in WeSpeaker."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from tidyvoice.errors import TidyVoiceError
from tidyvoice.schedules.registry import MARGINS, Schedule

# An exponential increase comes this close to its end (as a share), then jumps to the end.
EXPONENTIAL_REST = 1e-3


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

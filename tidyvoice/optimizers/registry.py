"""The registry of optimizers.

An optimizer takes groups of parameters as torch does, of which some have a ``weight_decay`` of
their own. The trainer sets the learning rate of each group before every step.
"""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from tidyvoice.settings.registry import Registry

Parameters = list[dict[str, Any]]

OPTIMIZERS: Registry[Callable[..., Optimizer]] = Registry("optimizer")

"""The registry of optimizers."""

from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer

from tidyvoice.settings.registry import Registry

# Groups as torch takes them. The trainer sets the learning rate of each before every step.
Parameters = list[dict[str, Any]]

OPTIMIZERS: Registry[Callable[..., Optimizer]] = Registry("optimizer")

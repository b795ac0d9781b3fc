"""The registry of optimizers, and those of torch."""

from collections.abc import Callable
from typing import Annotated, Any

import torch
from pydantic import Field

from tidyvoice.errors import TidyVoiceError
from tidyvoice.settings.registry import Registry

# Groups as torch takes them. The trainer sets the learning rate of each before every step.
Parameters = list[dict[str, Any]]
Decay = Annotated[float, Field(ge=0)]
Momentum = Annotated[float, Field(ge=0, lt=1)]

OPTIMIZERS: Registry[Callable[..., torch.optim.Optimizer]] = Registry("optimizer")


@OPTIMIZERS.register("AdamW")
def adamw(
    parameters: Parameters,
    weight_decay: Decay = 1e-4,
    beta1: Momentum = 0.9,
    beta2: Momentum = 0.999,
) -> torch.optim.AdamW:
    """Build torch's AdamW (Loshchilov, Hutter, ICLR 2019)."""
    # Fused: otherwise it launches several operations for each tensor, which slows small models.
    betas = beta1, beta2
    return torch.optim.AdamW(parameters, betas=betas, weight_decay=weight_decay, fused=True)


@OPTIMIZERS.register("SGD")
def sgd(
    parameters: Parameters,
    momentum: Momentum = 0.9,
    nesterov: bool = True,
    weight_decay: Decay = 1e-4,
) -> torch.optim.SGD:
    """Build torch's SGD."""
    if nesterov and not momentum:
        raise TidyVoiceError("nesterov needs a momentum above 0: set nesterov false")
    on_cuda = all(each.is_cuda for group in parameters for each in group["params"])
    options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    return torch.optim.SGD(parameters, **options, fused=on_cuda or None)

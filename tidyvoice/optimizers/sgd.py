"""Stochastic gradient descent with momentum."""

from typing import Annotated

import torch
from pydantic import Field

from tidyvoice.errors import TidyVoiceError
from tidyvoice.optimizers.registry import OPTIMIZERS, Parameters


@OPTIMIZERS.register("SGD")
def sgd(
    parameters: Parameters,
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    nesterov: bool = True,
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4,
) -> torch.optim.SGD:
    """Build torch's SGD."""
    if nesterov and not momentum:
        raise TidyVoiceError("nesterov needs a momentum above 0: set nesterov false")
    return torch.optim.SGD(
        parameters, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
    )

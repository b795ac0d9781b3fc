"""Adam with decoupled weight decay (Loshchilov, Hutter, ICLR 2019)."""

from typing import Annotated

import torch
from pydantic import Field

from tidyvoice.optimizers.registry import OPTIMIZERS, Parameters


@OPTIMIZERS.register("AdamW")
def adamw(
    parameters: Parameters,
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4,
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9,
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999,
) -> torch.optim.AdamW:
    """Build torch's AdamW."""
    # Fused: otherwise it launches several operations for each tensor, which slows small models.
    return torch.optim.AdamW(
        parameters, betas=(beta1, beta2), weight_decay=weight_decay, fused=True
    )

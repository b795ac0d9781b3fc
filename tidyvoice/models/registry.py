"""The registry of networks, and what they have in common."""

import copy
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from tidyvoice.errors import TidyVoiceError
from tidyvoice.settings.registry import Registry

Size = Annotated[int, Field(ge=1, le=2**14)]


class EmbeddingModel(nn.Module):
    """A network that maps features [B x T x F] to embeddings [B x D].

    B are utterances, T frames. Its first argument is F, named as in WeSpeaker; all others have
    defaults.

    Attributes:
        embed_dim: D, a setting of every network.
        min_frames_bf16: the smallest T in bfloat16. On CPUs with AMX, oneDNN computes a strided
            bfloat16 convolution wrongly (NaN, or finite values) if its output has a single column.
    """

    embed_dim: int
    min_frames_bf16 = 1

    def blocks(self) -> Sequence[nn.Module]:
        """Return the modules of which activation checkpointing keeps only the input."""
        return ()

    def trunk(self) -> nn.Module:
        """Return the part that ``model.compile`` compiles."""
        return self

    def initialise(self) -> None:
        """Initialise the weights of a new model; the default keeps those of torch."""

    def for_inference(self, dtype: torch.dtype) -> nn.Module:
        """Return a copy in evaluation mode that computes in ``dtype`` and returns float32."""
        return InferenceCopy(self, dtype)


class InferenceCopy(nn.Module):
    """A copy of a network for inference, which takes at least ``fewest_frames`` frames."""

    # Times more maps are in memory at once than in a folded SimAM-ResNet; ReDimNet needs the most.
    extra_maps = 4

    def __init__(self, model: EmbeddingModel, dtype: torch.dtype):
        super().__init__()
        self.model = copy.deepcopy(model).eval().requires_grad_(False).to(dtype)
        self.dtype = dtype
        self.fewest_frames = 1 if dtype == torch.float32 else model.min_frames_bf16

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.model(features.to(self.dtype)).float()


def widest_frame(model: nn.Module, feat_dim: int, device: torch.device) -> int:
    """Return how many numbers the widest output of a layer has for each frame of the input."""
    widest, frames = 0, 16

    def measure(layer: nn.Module, inputs: object, output: object) -> None:
        nonlocal widest
        if isinstance(output, torch.Tensor):
            widest = max(widest, -(-output.numel() // frames))

    hooks = [module.register_forward_hook(measure) for module in model.modules()]
    with torch.inference_mode():
        model(torch.zeros(1, frames, feat_dim, device=device))
    for hook in hooks:
        hook.remove()
    return widest


def demand_multiple(
    value: int, step: int, what: str = "features a frame", who: str = "this network"
) -> None:
    """Check that a size is a multiple of ``step``."""
    if value % step:
        fix = "change the settings of the model or the front end"
        raise TidyVoiceError(f"{who} takes a multiple of {step} {what}, not {value}: {fix}")


MODELS: Registry[type[EmbeddingModel]] = Registry("model")

"""The registry of front ends, and what they have in common."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import nn

from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.settings.registry import ComponentSettings, Registry


class Frontend(nn.Module):
    """A module that maps waveforms [B x S] in -1..1, at 16 kHz, to features [B x T x F].

    B are utterances, S samples, T frames. ``forward`` takes the waveforms and, in training, int64
    seeds [B]: all random numbers of an utterance depend on its seed alone.

    Attributes:
        feature_dim: F.
        training_only: names of settings that have no effect outside training.
        working_numbers: numbers in float32 that a GPU holds for each frame while it computes the
            features, besides the waveforms and the features.
        hertz: centre frequency of each feature, float64 [F]; None if features are not bands.
    """

    feature_dim: int
    training_only: ClassVar[tuple[str, ...]] = ()
    working_numbers = 0
    hertz: np.ndarray | None = None

    @property
    def trainable(self) -> bool:
        """True if training changes weights of this front end, which then belong to the model."""
        return any(parameter.requires_grad for parameter in self.parameters())

    def num_frames(self, samples: int) -> int:
        """Return the number of frames of ``samples`` samples; 0 if they are too few for one."""
        raise NotImplementedError

    def num_samples(self, frames: int) -> int:
        """Return the fewest samples that have ``frames`` frames."""
        raise NotImplementedError

    @property
    def frame_shift(self) -> int:
        """Return the number of samples from one frame to the next."""
        return self.num_samples(2) - self.num_samples(1)

    def for_export(self) -> nn.Module:
        """Return a module that torch.export can trace for any length."""
        return self

    @staticmethod
    def from_wespeaker(dataset_args: Mapping[str, Any], args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that ``dataset_args`` and ``NAME_args`` of WeSpeaker describe."""
        return dict(args)

    @staticmethod
    def to_wespeaker(args: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return WeSpeaker's group ``NAME_args``, and further keys of ``dataset_args``."""
        return dict(args), {}


FRONTENDS: Registry[type[Frontend]] = Registry("front end")


class FrontendSettings(ComponentSettings):
    """The front end, which computes features from waveforms."""

    registry: ClassVar[Registry] = FRONTENDS

    name: str = Field("fbank", description="see tidyvoice.frontends")

    def outline(self) -> Frontend:
        """Build the front end without memory for its weights, to ask for its sizes."""
        with torch.device("meta"):
            return self.build()

    def to_wespeaker(self) -> dict[str, Any]:
        """Return the ``dataset_args`` of a WeSpeaker config.yaml."""
        args, others = FRONTENDS[self.name].to_wespeaker(self.args)
        settings = {"frontend": self.name, "resample_rate": SAMPLE_RATE, f"{self.name}_args": args}
        return settings | others


def with_frontend(model: nn.Module, frontend: Frontend) -> nn.Module:
    """Return the model, with the front end as ``model.frontend`` if that is trainable."""
    if frontend.trainable:
        model.frontend = frontend
    return model


def frontend_of(model: nn.Module, settings: FrontendSettings) -> Frontend:
    """Return the trainable front end of a model, or build one that has no trainable weights."""
    return getattr(model, "frontend", None) or settings.build()

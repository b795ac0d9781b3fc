"""The registry of augmentations, what the augmentations have in common, and SpecAugment."""

from typing import Annotated, Literal

import numpy as np
import torch
from numpy.random import Generator
from pydantic import Field
from torch import Tensor

from tidyvoice.settings.registry import Registry

Masks = Annotated[int, Field(ge=0, le=1000)]


class Augmentation:
    """A random change of waveforms or features in training, in batches on the device."""

    # Waveforms [B x S] after speed, noise and reverberation, or features [B x T x F].
    domain: Literal["waveform", "features"] = "features"

    def draw(self, random: Generator) -> np.ndarray:
        """Return the random numbers of an utterance, of the same shape for all.

        They depend on the generator only: then threads, processes and restarts change no result.
        """
        raise NotImplementedError

    def __call__(self, batch: Tensor, drawn: Tensor) -> Tensor:
        """Return an augmented batch, given what ``draw`` returned for each utterance [B x ...]."""
        raise NotImplementedError


AUGMENTATIONS: Registry[type[Augmentation]] = Registry("augmentation")


@AUGMENTATIONS.register("SpecAugment")
class SpecAugment(Augmentation):
    """Set bands of frames and of mel bins to zero, the mean of normalised features.

    Park, Chan, Zhang, Chiu, Zoph, Cubuk, Le: SpecAugment: A Simple Data Augmentation Method for
    Automatic Speech Recognition, Interspeech 2019, sections 2.2 and 2.3 (no time warping). The
    width of a mask is uniform in 0..its maximum, its position uniform over the chunk.

    Args:
        probability: share of the utterances that are masked.
        time_masks, frequency_masks: masks of an utterance.
        time_width, frequency_width: widest mask, in frames and in mel bins.
    """

    def __init__(
        self,
        probability: Annotated[float, Field(ge=0, le=1)] = 1.0,
        time_masks: Masks = 1,
        time_width: Masks = 10,
        frequency_masks: Masks = 1,
        frequency_width: Masks = 8,
    ):
        self.probability = probability
        self.time_masks = time_masks
        self.widths = [time_width] * time_masks + [frequency_width] * frequency_masks

    def draw(self, random: Generator) -> np.ndarray:
        """Return width and position of each mask, [masks x 2]; the position is in 0..1."""
        applied = random.random() < self.probability
        widths = random.integers(np.array(self.widths, int) + 1) * applied
        return np.stack([widths, random.random(len(widths))], axis=1)

    def __call__(self, batch: Tensor, drawn: Tensor) -> Tensor:
        time, frequency = drawn.split([self.time_masks, len(self.widths) - self.time_masks], dim=1)
        masked = _mask(time, batch.shape[1])[:, :, None] | _mask(frequency, batch.shape[2])[:, None]
        return batch.masked_fill(masked, 0.0)


def _mask(drawn: Tensor, size: int) -> Tensor:
    """Return which of ``size`` places the masks [B x masks x 2] cover, bool [B x size]."""
    width = drawn[..., :1].clamp(max=size)
    start = (drawn[..., 1:] * (size - width + 1)).floor()
    place = torch.arange(size, device=drawn.device)
    return ((place >= start) & (place < start + width)).any(dim=1)

"""The registry of augmentations, and what the augmentations have in common."""

from typing import Literal

import numpy as np
from numpy.random import Generator
from torch import Tensor

from tidyvoice.settings.registry import Registry


class Augmentation:
    """A random change of waveforms or features in training, in batches on the device."""

    # Waveforms [B x S] after speed, noise and reverberation, or features [B x T x F].
    domain: Literal["waveform", "features"] = "features"

    def draw(self, random: Generator) -> np.ndarray:
        """Return the random numbers of an utterance, of the same shape for all.

        They depend on the generator only, which depends on the seed, the pass over the data and the
        utterance: then the number of threads, processes and restarts changes no result.
        """
        raise NotImplementedError

    def __call__(self, batch: Tensor, drawn: Tensor) -> Tensor:
        """Return an augmented batch, given what ``draw`` returned for each utterance [B x ...]."""
        raise NotImplementedError


AUGMENTATIONS: Registry[type[Augmentation]] = Registry("augmentation")

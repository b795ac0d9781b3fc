"""Augmentations, built by name, beside speed, noise and reverberation."""

from tidyvoice.augmentations.registry import AUGMENTATIONS, Augmentation

__all__ = ["AUGMENTATIONS", "Augmentation"]

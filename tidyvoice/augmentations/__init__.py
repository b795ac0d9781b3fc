"""Augmentations, built by name, beside speed, noise and reverberation.

A new augmentation is one file here, below ``@AUGMENTATIONS.register(NAME)``, and its import below.
"""

from tidyvoice.augmentations.registry import AUGMENTATIONS, Augmentation

__all__ = ["AUGMENTATIONS", "Augmentation"]

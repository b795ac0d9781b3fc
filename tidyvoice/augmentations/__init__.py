"""Augmentations, built by name.

A new augmentation is one file here, with a subclass of ``Augmentation`` below
``@AUGMENTATIONS.register(NAME)``, and its import below. Speed, noise and reverberation have
settings of their own (the section ``data``).
"""

from tidyvoice.augmentations.registry import AUGMENTATIONS, Augmentation
from tidyvoice.augmentations.spec_augment import SpecAugment

__all__ = ["AUGMENTATIONS", "Augmentation", "SpecAugment"]

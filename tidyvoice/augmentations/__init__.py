"""Augmentations, built by name.

A new augmentation is one file here, with a subclass of ``Augmentation`` below
``@AUGMENTATIONS.register(NAME)``, and its import below. Speed, noise and reverberation have
settings of their own (the section ``data``).
"""

from tidyvoice.augmentations import spec_augment
from tidyvoice.augmentations.registry import AUGMENTATIONS, Augmentation

__all__ = ["AUGMENTATIONS", "Augmentation", "spec_augment"]

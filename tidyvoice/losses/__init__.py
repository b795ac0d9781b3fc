"""Losses over speaker classes, built by name.

A new loss is one file here, with a subclass of ``Head`` below ``@LOSSES.register(NAME)``, and its
import below.
"""

from typing import Any

from tidyvoice.losses.am_softmax import AMSoftmax
from tidyvoice.losses.arc_margin import ArcMargin
from tidyvoice.losses.head import Head
from tidyvoice.losses.languages import CrossLanguageContrast, LanguageAdversary
from tidyvoice.losses.registry import LOSSES
from tidyvoice.losses.sphereface2 import SphereFace2
from tidyvoice.losses.sub_centre import SubCentreArcMargin

__all__ = [
    "LOSSES",
    "AMSoftmax",
    "ArcMargin",
    "CrossLanguageContrast",
    "Head",
    "LanguageAdversary",
    "SphereFace2",
    "SubCentreArcMargin",
    "build_loss",
]


def build_loss(name: str, embed_dim: int, num_classes: int, **args: Any) -> Head:
    """Build a loss over ``num_classes`` for embeddings of ``embed_dim`` dimensions.

    Args:
        name: a key of ``LOSSES``.
        args: settings of the loss, see its class; every loss has ``scale`` and ``margin``.

    Raises:
        TidyVoiceError: no such loss, or unknown or impossible arguments.

    Example:
        >>> import torch
        >>> head = build_loss("AMSoftmax", 16, 1000, margin=0.2)
        >>> loss, accuracy = head(torch.randn(4, 16), torch.tensor([0, 1, 2, 999]))
        >>> loss.shape
        torch.Size([])
    """
    return LOSSES.build(name, embed_dim, num_classes, **args)

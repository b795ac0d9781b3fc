"""Losses over speaker classes, built by name."""

from tidyvoice.losses import arc_margin, sphereface2
from tidyvoice.losses.arc_margin import ArcMargin
from tidyvoice.losses.registry import LOSSES, Head

__all__ = ["LOSSES", "ArcMargin", "Head", "arc_margin", "sphereface2"]

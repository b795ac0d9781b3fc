"""Losses over speaker classes."""

from tidyvoice.losses.arc_margin import ArcMargin

__all__ = ["ArcMargin"]

"""The registry of losses over speaker classes."""

from tidyvoice.losses.head import Head
from tidyvoice.settings.registry import Registry

LOSSES: Registry[type[Head]] = Registry("loss")

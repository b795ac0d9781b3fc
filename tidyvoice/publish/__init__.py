"""Publishing a model: its folder with weights, settings, calibration and card."""

from tidyvoice.publish.facts import Facts, Terms, gather
from tidyvoice.publish.folder import write_folder

__all__ = ["Facts", "Terms", "gather", "write_folder"]

"""Publishing a model: its folder with weights, settings, calibration and card."""

from tidyvoice.publish.facts import Facts, gather
from tidyvoice.publish.folder import write_folder

__all__ = ["Facts", "gather", "write_folder"]

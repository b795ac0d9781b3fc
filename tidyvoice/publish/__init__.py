"""Publishing a model: its folder with weights, settings, calibration and card, and the upload.

Every published file is written anew from what was loaded. Nothing is copied that could name
folders, commands or speakers of the machine that trained the model.
"""

from tidyvoice.publish.facts import Facts, Terms, gather
from tidyvoice.publish.folder import write_folder

__all__ = ["Facts", "Terms", "gather", "write_folder"]

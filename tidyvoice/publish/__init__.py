"""Publishing a model: a folder with weights, settings, calibration and a model card, and its push.

Everything that is written is made anew from what was loaded: nothing is copied that might name
folders, commands or speakers of the machine that it was trained on.
"""

from tidyvoice.publish.facts import Facts, Terms, gather
from tidyvoice.publish.folder import write_folder

__all__ = ["Facts", "Terms", "gather", "write_folder"]

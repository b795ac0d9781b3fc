"""Choice of the device."""

import torch

from tidyvoice.errors import TidyVoiceError


def choose_device(name: str = "auto") -> torch.device:
    """Return the device ``name``; for "auto" the first available of cuda, mps and cpu."""
    count = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    if name == "auto":
        return torch.device(next(kind for kind, number in count.items() if number))
    kind, _, index = name.partition(":")
    if not (index or "0").isdecimal() or int(index or 0) >= count.get(kind, 0):
        raise TidyVoiceError(f"device {name} is not available here: choose auto or cpu")
    return torch.device(name)

"""Choice of the device that a command computes on."""

import torch

from tidyvoice.errors import TidyVoiceError


def choose_device(name: str = "auto") -> torch.device:
    """The device called ``name``; with ``auto`` cuda, else mps, else cpu.

    Raises:
        TidyVoiceError: the named device is not there.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available.get(name.partition(":")[0], False):
        raise TidyVoiceError(f"the device {name} is not available here: take auto or cpu")
    return torch.device(name)

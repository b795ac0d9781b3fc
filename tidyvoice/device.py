"""Choice of the device."""

import torch
from torch import Tensor

from tidyvoice.errors import TidyVoiceError


def choose_device(name: str = "auto") -> torch.device:
    """Return the device ``name``; for "auto" the first available of cuda, mps and cpu.

    Raises:
        TidyVoiceError: the device is not available.
    """
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


def is_out_of_memory(error: RuntimeError) -> bool:
    """Recognise exhausted memory, for which only CUDA raises an exception of its own."""
    texts = ("can't allocate memory", "out of memory")  # the CPU's allocator; MPS
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in texts)


class LateNumbers:
    """Numbers [N] that are read some time after they were computed.

    Reading a CUDA tensor directly would also wait for everything queued after it.
    """

    def __init__(self, values: Tensor):
        self._computed = None
        if values.device.type == "cuda":
            values = values.to("cpu", non_blocking=True)
            self._computed = torch.cuda.Event()
            self._computed.record()
        self._values = values

    def read(self) -> list[float]:
        if self._computed is not None:
            self._computed.synchronize()
        return self._values.tolist()

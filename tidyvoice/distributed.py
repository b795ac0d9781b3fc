"""The device, and the processes of a training: one, or those that torchrun starts."""

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tidyvoice.errors import TidyVoiceError

# Messages of a collective when another process is gone or late (gloo has no exceptions for it).
LOST = re.compile("connection (closed|reset)|broken pipe|remote process exited|timed out|timeout")


@dataclass(frozen=True)
class World:
    """This process, its device and the number of all processes; rank 0 writes the results."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of the processes' values. Collective."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.size
        return value

    def gather(self, item: Any) -> list[Any]:
        """Return the items of all processes, in the order of the ranks. Collective."""
        if self.size == 1:
            return [item]
        items: list[Any] = [None] * self.size
        dist.all_gather_object(items, item)
        return items


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


@contextmanager
def join_world(device: str, timeout_seconds: float) -> Iterator[World]:
    """Join the processes that torchrun's environment variables describe; a world of one without."""
    size, chosen = int(os.environ.get("WORLD_SIZE", "1")), choose_device(device)
    if size == 1:
        yield World(0, 1, chosen)
        return
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    if chosen.type == "mps":
        raise TidyVoiceError("mps supports one process only: start without torchrun")
    if chosen.type == "cuda":
        gpus = torch.cuda.device_count()
        if local >= gpus:
            fix = f"start only {gpus} (run.sh --processes, torchrun --nproc-per-node)"
            raise TidyVoiceError(f"process {local + 1} needs a GPU of its own: {fix}")
        chosen = torch.device("cuda", local)
        torch.cuda.set_device(chosen)
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    # Python signal handlers do not run inside a blocking collective.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
        yield World(rank, size, chosen)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        unreachable = isinstance(error, dist.DistNetworkError | dist.DistStoreError)
        if unreachable or LOST.search(reason.lower()):
            # If the other rank failed on this machine, torchrun kills this one within a second.
            time.sleep(1)
            fix = f"({reason}): see the first error; the same command resumes at a checkpoint"
            raise TidyVoiceError(f"rank {rank} of {size} lost another rank {fix}") from error
        raise
    else:
        # Not after an error: this would wait for the lost processes and delay the message.
        dist.destroy_process_group()

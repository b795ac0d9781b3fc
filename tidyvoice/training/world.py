"""The processes of a training: one, or those that torchrun starts on one machine or several."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from tidyvoice.device import choose_device
from tidyvoice.errors import TidyVoiceError

# What a collective says when another process is gone or late (gloo raises nothing more specific).
LOST = ("connection closed", "connection reset", "broken pipe", "timed out", "timeout", "nccl")


@dataclass(frozen=True)
class World:
    """This process among all of them.

    Attributes:
        rank: from 0; the first one writes the experiment.
        size: number of processes.
        device: what this one computes on.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def mean(self, value: Tensor) -> Tensor:
        """The mean of each process' value."""
        if self.size > 1:
            value = value.clone()
            dist.all_reduce(value)
            value /= self.size
        return value

    def gather(self, item: Any) -> list[Any]:
        """Each process' item, in the order of the ranks."""
        if self.size == 1:
            return [item]
        items: list[Any] = [None] * self.size
        dist.all_gather_object(items, item)
        return items


@contextmanager
def join_world(device: str, timeout_seconds: float) -> Iterator[World]:
    """The world that torchrun's environment variables describe; a world of one without them.

    A process that waits longer than ``timeout_seconds`` for another gives up.

    Raises:
        TidyVoiceError: the device is not there, or another process was lost.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(0, 1, choose_device(device))
        return
    rank, local = int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"])
    chosen = choose_device(device)
    if chosen.type == "mps":
        raise TidyVoiceError("mps takes one process: start without torchrun")
    if chosen.type == "cuda":
        chosen = choose_device(f"cuda:{local}")
        torch.cuda.set_device(chosen)
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    # While it waits for the others in native code, a process does not hear what Python would do.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        dist.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
        yield World(rank, size, chosen)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        if isinstance(error, dist.DistError) or any(word in reason.lower() for word in LOST):
            raise TidyVoiceError(
                f"rank {rank} of {size} lost another rank ({reason}): look for the first error "
                "above; the same command goes on from what was kept"
            ) from None
        raise
    finally:
        # Aborts what is under way: destroying the group would wait for those that are gone.
        if dist.is_initialized():
            dist.destroy_process_group()

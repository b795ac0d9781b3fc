"""Reading and embedding of batches in parallel threads, within a limit of memory.

On a CPU each worker is one thread that computes a whole batch. Threads that share one batch would
wait for each other at every operation, and the last bits of the result would depend on their
number.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple

import numpy as np
import torch

from tidyvoice.batch_plan import Items
from tidyvoice.device import is_out_of_memory
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import NotFiniteError, TidyVoiceError
from tidyvoice.extraction.source import Source
from tidyvoice.readahead import read_ahead, usable_cores

READING_THREADS = 4
MIB = 2**20
# Feature maps of the widest size that exist at once: the input of a block, the outputs of its two
# convolutions and the workspace of a convolution; on a GPU also those within SimAM.
MAPS = {"cpu": 4, "cuda": 7, "mps": 7}
# Copies of a waveform and of its features in float32.
WAVEFORMS, FEATURES = 5, 5
CPU_DEFAULT, CPU_BATCH = 2048, 64  # MiB; larger batches do not fit in the caches
OTHER_DEFAULT, OTHER_MOST = 1024, 16384


def bytes_per_frame(encoder: SpeakerEncoder) -> int:
    """Return the bytes of one frame of a batch during embedding, without the weights."""
    frontend, kind = encoder.frontend, encoder.device.type
    numbers = WAVEFORMS * frontend.frame_shift + FEATURES * frontend.feature_dim
    if kind != "cpu":
        numbers += frontend.working_numbers
    return MAPS[kind] * encoder.frame_bytes + 4 * numbers


class Budget:
    """Memory for the batches that are computed at once.

    Args:
        mib: MiB. By default 2 GiB on a CPU and half of the free memory of a GPU, at most 16 GiB.

    Attributes:
        mib: the limit.
        batch_frames: largest number of frames of a batch. On a CPU a batch has at most 64 MiB,
            which is fastest, and several batches are computed at once.
    """

    def __init__(self, encoder: SpeakerEncoder, mib: int | None = None):
        kind = encoder.device.type
        default = CPU_DEFAULT if kind == "cpu" else OTHER_DEFAULT
        if kind == "cuda":
            default = min(torch.cuda.mem_get_info(encoder.device)[0] // 2 // MIB, OTHER_MOST)
        self.mib = mib or default
        self._frame = bytes_per_frame(encoder)
        most = min(self.mib, CPU_BATCH) if kind == "cpu" else self.mib
        self.batch_frames = max(most * MIB // self._frame, 1)
        self._free, self._turn = threading.Semaphore(self.mib), threading.Lock()

    @contextmanager
    def hold(self, frames: int) -> Iterator[None]:
        """Wait until the memory for ``frames`` is free; a batch above the limit runs alone."""
        size = min(-(-frames * self._frame // MIB), self.mib)
        with self._turn:  # one thread at a time collects its share
            for _ in range(size):
                self._free.acquire()
        try:
            yield
        finally:
            self._free.release(size)


class Batch(NamedTuple):
    """Items that could be read, int64 [B], with samples int16 [B x S] or embeddings [B x D]."""

    items: np.ndarray
    values: np.ndarray
    failures: dict[int, str]  # the other items, with the reason


def cpu_workers() -> int:
    """Return OMP_NUM_THREADS, or by default this process's share of the usable cores."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    setting = os.environ.get("OMP_NUM_THREADS", "")
    # torchrun sets OMP_NUM_THREADS=1 for several processes when the user has not set it.
    if setting.isdecimal() and int(setting) and not (local > 1 and setting == "1"):
        return int(setting)
    return max(usable_cores() // local, 1)


def embed_batches(
    encoder: SpeakerEncoder,
    source: Source,
    items: Items,
    batches: Sequence[np.ndarray],
    budget: Budget,
    strict: bool,
) -> Iterator[Batch]:
    """Embed batches of items, in order. Close the iterator if you leave it before its end.

    Raises:
        TidyVoiceError: an utterance cannot be read (``strict``), a batch does not fit in the memory
            of the device, or an embedding is not finite.
    """
    frontend, on_cpu = encoder.frontend, encoder.device.type == "cpu"
    workers = cpu_workers() if on_cpu else 1

    def load(batch: np.ndarray) -> Batch:
        samples, failures = {}, {}
        count = frontend.num_samples(int(items.frames[batch[0]]))
        for item in batch.tolist():
            start = int(items.starts[item]) * frontend.frame_shift
            try:
                samples[item] = source.read(int(items.rows[item]), start, count)
            except (TidyVoiceError, OSError) as error:
                if strict:
                    raise
                failures[item] = str(error)
        stacked = np.stack(list(samples.values())) if samples else np.empty((0, count), np.int16)
        return Batch(np.array(list(samples), np.int64), stacked, failures)

    def compute(batch: Batch) -> Batch:
        if not len(batch.items):
            return batch
        if on_cpu:
            torch.set_num_threads(1)
        frames = int(items.frames[batch.items[0]]) * len(batch.items)
        try:
            with budget.hold(frames):
                return batch._replace(values=encoder.embed_samples(batch.values))
        except NotFiniteError as error:
            name = source.ids[items.rows[batch.items[error.row]]]
            raise TidyVoiceError(f"{name}: {error}") from None
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise TidyVoiceError(
                f"{encoder.device} has too little memory for {frames:,} frames at once: give a "
                f"--memory below {budget.mib} (MiB) or a shorter --longest"
            ) from None

    threads = torch.get_num_threads()
    try:
        with (
            closing(read_ahead(load, batches, READING_THREADS)) as loaded,
            closing(read_ahead(compute, loaded, workers, 2 * workers)) as computed,
        ):
            yield from computed
    finally:
        torch.set_num_threads(threads)

"""Reading and embedding of batches in parallel threads.

On a CPU each worker is one thread that computes a whole batch. Threads that share one batch would
wait for each other at every operation, and the last bits of the result would depend on their
number.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch

from tidyvoice.batch_plan import Items
from tidyvoice.device import is_out_of_memory
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import NotFiniteError, TidyVoiceError
from tidyvoice.extraction.memory import MIB, Budget
from tidyvoice.extraction.source import Source
from tidyvoice.readahead import read_ahead, usable_cores

READING_THREADS = 4


@dataclass(frozen=True)
class Batch:
    """A batch after reading or embedding.

    Attributes:
        items: items that could be read, int64 [B].
        values: their samples int16 [B x S] or embeddings float32 [B x D].
        failures: the other items, with the reason.
    """

    items: np.ndarray
    values: np.ndarray
    failures: list[tuple[int, str]]


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
        samples, failures = [], []
        count = frontend.num_samples(int(items.frames[batch[0]]))
        for item in batch.tolist():
            row, start = int(items.rows[item]), int(items.starts[item]) * frontend.frame_shift
            try:
                part = () if items.whole[item] else (start, count)
                samples.append((item, source.read(row, *part)[:count]))
            except (TidyVoiceError, OSError) as error:
                if strict:
                    raise
                failures.append((item, str(error)))
        values = [value for _, value in samples]
        stacked = np.stack(values) if values else np.empty((0, count), np.int16)
        return Batch(np.array([item for item, _ in samples], np.int64), stacked, failures)

    def compute(batch: Batch) -> Batch:
        if not len(batch.items):
            return batch
        if on_cpu:
            torch.set_num_threads(1)
        frames = int(items.frames[batch.items[0]]) * len(batch.items)
        try:
            with budget.hold(frames):
                return Batch(batch.items, encoder.embed_samples(batch.values), batch.failures)
        except NotFiniteError as error:
            name = source.ids[items.rows[batch.items[error.row]]]
            raise TidyVoiceError(f"{name}: {error}") from None
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise TidyVoiceError(
                f"{encoder.device} has too little memory for {frames:,} frames at once: give a "
                f"--memory below {budget.total // MIB} (MiB) or a shorter --longest"
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

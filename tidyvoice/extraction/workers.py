"""Reading and embedding of batches in parallel threads, within a limit of memory.

On a CPU each worker is one thread that computes a whole batch. If threads shared a batch, the last
bits of the result would depend on their number.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from tidyvoice.audio import read_part
from tidyvoice.batch_plan import Items
from tidyvoice.data.manifest import Manifest
from tidyvoice.data.shards import ShardReader
from tidyvoice.encoder import SpeakerEncoder
from tidyvoice.errors import NotFiniteError, TidyVoiceError
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.readahead import read_ahead, usable_cores

READING_THREADS = 4
MIB = 2**20
# Feature maps of the widest size that exist at once. On a CPU: the input of a block, the outputs of
# its two convolutions and the workspace of a convolution. On a GPU also the output of the block.
CPU_MAPS, GPU_MAPS = 4, 5
# Copies of a waveform and of its features in float32.
WAVEFORMS, FEATURES = 5, 5
MEMORY = {"cpu": 2048, "cuda": 4096, "mps": 1024}  # MiB by default
CPU_BATCH = 64  # MiB; several are computed at once, and larger ones do not fit in the caches
OUT_OF_MEMORY = ("can't allocate memory", "out of memory")  # messages of the CPU; of CUDA and MPS


def bytes_per_frame(encoder: SpeakerEncoder) -> int:
    """Return the bytes of one frame of a batch during embedding, without the weights."""
    frontend = encoder.frontend
    numbers = WAVEFORMS * frontend.frame_shift + FEATURES * frontend.feature_dim
    if encoder.device.type == "cpu":
        return CPU_MAPS * encoder.frame_bytes + 4 * numbers
    maps = max(GPU_MAPS, getattr(encoder.inference, "maps_on_gpu", 0))
    # The front end is done when the network starts.
    return max(maps * encoder.frame_bytes, 4 * (numbers + frontend.working_numbers))


def batch_frames(encoder: SpeakerEncoder, memory: int) -> int:
    """Return the largest number of frames of a batch, for MiB of all batches at once."""
    most = min(memory, CPU_BATCH) if encoder.device.type == "cpu" else memory
    return max(most * MIB // bytes_per_frame(encoder), 1)


class AudioFolder:
    """Ids [N] and numbers of samples, int64 [N], of the utterances of ``wav.scp``, or of shards."""

    def __init__(self, data: str | Path):
        self.data = Path(data)
        self._shards = None
        # Compressed audio has no durations before it is decoded; the shards have the lengths.
        if all((self.data / name).exists() for name in ("wav.scp", "utt2dur")):
            table = Manifest.read(data).table
            self.ids: list[str] = table["utterance"].to_list()
            self._paths: list[str] = table["path"].to_list()
            self.samples = np.rint(table["seconds"].to_numpy() * SAMPLE_RATE).astype(np.int64)
        else:
            self._shards = ShardReader(data)
            self.ids = self._shards.keys.to_list()
            self.samples = self._shards.samples

    def content(self, rows: np.ndarray) -> str:
        """Return checksums, or sizes and times, that differ if the audio of ``rows`` does."""
        if self._shards is not None:
            return self._shards.content
        paths = [self._paths[row] for row in rows.tolist()]
        states = [os.stat(path) if os.path.exists(path) else None for path in paths]
        return repr([*paths, *(state and (state.st_size, state.st_mtime_ns) for state in states)])

    def read(self, row: int, start: int = 0, count: int | None = None) -> np.ndarray:
        """Return samples int16 [count] of an utterance from ``start`` (default: to the end)."""
        if self._shards is not None:
            return self._shards.read(row, start, count)
        path, length = self._paths[row], int(self.samples[row])
        samples, total = read_part(path, start, -1 if count is None else count)
        if total != length:
            problem = f"{path} has {total} samples, its utt2dur says {length}"
            raise TidyVoiceError(f"{problem}: prepare the data again")
        return samples


class Batch(NamedTuple):
    """Items that could be read, int64 [B], with samples int16 [B x S] or embeddings [B x D]."""

    items: np.ndarray
    values: np.ndarray | torch.Tensor
    failures: dict[int, str]  # the other items, with the reason


def embed_batches(
    encoder: SpeakerEncoder,
    source: AudioFolder,
    items: Items,
    batches: Sequence[np.ndarray],
    memory: int,
    strict: bool,
) -> Iterator[Batch]:
    """Embed batches of items, in order. Close the iterator if you leave it before its end.

    ``memory`` is the MiB of all batches that are computed at once; a larger one is computed alone.
    """
    frontend, workers, on_cuda = encoder.frontend, 1, encoder.device.type == "cuda"
    if on_cpu := encoder.device.type == "cpu":
        local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        # torchrun gives each process one thread by default, although more cores may be there.
        workers = torch.get_num_threads() if local == 1 else max(usable_cores() // local, 1)
    free, turn = threading.Semaphore(memory), threading.Lock()

    def load(batch: np.ndarray) -> Batch:
        samples, failures = {}, {}
        count = frontend.num_samples(int(items.frames[batch[0]]))
        for item in batch.tolist():
            row, start = int(items.rows[item]), int(items.starts[item]) * frontend.frame_shift
            # Also the samples after the last frame, because the checksum is that of all.
            whole = frontend.num_frames(int(source.samples[row])) == items.frames[item]
            try:
                samples[item] = source.read(row, start, None if whole else count)[:count]
            except (TidyVoiceError, OSError) as error:
                if strict:
                    raise
                failures[item] = str(error)
        stacked = np.stack(list(samples.values())) if samples else np.empty((0, count), np.int16)
        values = torch.from_numpy(stacked).pin_memory() if on_cuda else stacked
        return Batch(np.array(list(samples), np.int64), values, failures)

    def embedded(batch: Batch, embed: Callable[[], np.ndarray]) -> Batch:
        try:
            return batch._replace(values=embed())
        except NotFiniteError as error:
            name = source.ids[items.rows[batch.items[error.row]]]
            raise TidyVoiceError(f"{name}: {error}") from None

    def compute(batch: Batch) -> Callable[[], Batch]:
        if not len(batch.items):
            return lambda: batch
        if on_cpu:
            torch.set_num_threads(1)
        frames = int(items.frames[batch.items[0]]) * len(batch.items)
        size = min(-(-frames * bytes_per_frame(encoder) // MIB), memory)
        with turn:  # one thread at a time collects its share
            for _ in range(size):
                free.acquire()
        try:
            if on_cuda:  # wait for the result only when it is due, after the next batch has started
                return partial(embedded, batch, encoder.start(batch.values))
            done = embedded(batch, lambda: encoder.embed_samples(batch.values))
            return lambda: done
        except RuntimeError as error:
            if not any(text in str(error) for text in OUT_OF_MEMORY):
                raise
            problem = f"{encoder.device} has too little memory for {frames:,} frames at once"
            fix = f"give a --memory below {memory} (MiB) or a shorter --longest"
            raise TidyVoiceError(f"{problem}: {fix}") from None
        finally:
            free.release(size)

    threads = torch.get_num_threads()
    try:
        with (
            closing(read_ahead(load, batches, READING_THREADS)) as loaded,
            closing(read_ahead(compute, loaded, workers, 2 * workers)) as computed,
        ):
            for result in computed:
                yield result()
    finally:
        torch.set_num_threads(threads)

"""Memory of a batch, and of all batches that are computed at once."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tidyvoice.encoder import SpeakerEncoder

MIB = 2**20
# Feature maps of the widest size that exist at once: the input of a block, the outputs of its two
# convolutions and the workspace of a convolution; on a GPU also those within SimAM.
MAPS = {"cpu": 4, "cuda": 7, "mps": 7}
# Copies of a waveform and of its features in float32.
WAVEFORMS, FEATURES = 5, 5
CPU_DEFAULT, CPU_BATCH = 2048 * MIB, 64 * MIB  # larger batches do not fit in the caches
OTHER_DEFAULT, OTHER_MOST = 1024 * MIB, 16384 * MIB


def bytes_per_frame(encoder: SpeakerEncoder) -> int:
    """Return the bytes of one frame of a batch during embedding, without the weights."""
    frontend, kind = encoder.frontend, encoder.device.type
    maps = MAPS[kind] * encoder.frame_bytes
    numbers = WAVEFORMS * frontend.frame_shift + FEATURES * frontend.feature_dim
    if kind != "cpu":
        numbers += frontend.working_numbers
    return maps + 4 * numbers


class Budget:
    """Memory for the batches that are computed at once.

    Args:
        mib: MiB. By default 2 GiB on a CPU and half of the free memory of a GPU, at most 16 GiB.

    Attributes:
        total: bytes.
        batch_frames: largest number of frames of a batch. On a CPU a batch has at most 64 MiB,
            which is fastest, and several batches are computed at once.
    """

    def __init__(self, encoder: SpeakerEncoder, mib: int | None = None):
        kind = encoder.device.type
        default = CPU_DEFAULT if kind == "cpu" else OTHER_DEFAULT
        if kind == "cuda":
            default = min(torch.cuda.mem_get_info(encoder.device)[0] // 2, OTHER_MOST)
        self.total = default if mib is None else mib * MIB
        self._frame = bytes_per_frame(encoder)
        most = min(self.total, CPU_BATCH) if kind == "cpu" else self.total
        self.batch_frames = max(most // self._frame, 1)
        self._free = self.total
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, frames: int) -> Iterator[None]:
        """Wait until the memory for ``frames`` is free; a batch above the total runs alone."""
        size = min(frames * self._frame, self.total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= size)
            self._free -= size
        try:
            yield
        finally:
            with self._changed:
                self._free += size
                self._changed.notify_all()

"""How much memory a batch takes, and how much all batches at once may take."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tidyvoice.encoder import SpeakerEncoder

MIB = 2**20
# Maps as wide as the widest that exist at once: a block's input, the outputs of its two
# convolutions, and the workspace of a convolution; elsewhere than on a CPU also those within SimAM.
MAPS = {"cpu": 4, "cuda": 7, "mps": 7}
# Copies of a waveform and of its features, float32.
WAVEFORMS, FEATURES = 5, 5
CPU_DEFAULT, CPU_BATCH = 2048 * MIB, 64 * MIB  # larger batches leave the caches
OTHER_DEFAULT, OTHER_MOST = 1024 * MIB, 16384 * MIB


def bytes_per_frame(encoder: SpeakerEncoder) -> int:
    """Bytes that one frame of a batch takes while it is embedded, the weights aside."""
    frontend, kind = encoder.frontend, encoder.device.type
    maps = MAPS[kind] * encoder.frame_bytes
    numbers = WAVEFORMS * frontend.frame_shift + FEATURES * frontend.feature_dim
    if kind != "cpu":
        numbers += frontend.working_numbers
    return maps + 4 * numbers


class Budget:
    """Memory for the batches that are computed at once.

    Args:
        mib: in MiB; None chooses: 2 GiB on a CPU, half of what is free on a GPU (16 GiB at most).

    Attributes:
        total: bytes.
        batch_frames: frames of a batch at most. On a CPU a batch has 64 MiB at most, which is the
            quickest, and several are computed at once.
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
        """Wait until so many frames fit beside what others hold; too many go alone."""
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

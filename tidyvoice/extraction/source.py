"""Utterances of a data folder, read from its WAV files or its shards."""

from pathlib import Path

import numpy as np

from tidyvoice.audio import read_part
from tidyvoice.data.manifest import Manifest
from tidyvoice.data.shards import ShardReader
from tidyvoice.errors import TidyVoiceError
from tidyvoice.headers import SAMPLE_RATE


class Source:
    """Utterances of a data folder, from its ``wav.scp`` or else from its shards.

    Attributes:
        data: the folder.
        ids: utterance ids.
        samples: number of samples of each utterance, int64 [N].

    Raises:
        TidyVoiceError: the folder does not exist; see also ``Manifest.read`` and ``ShardReader``.
    """

    def __init__(self, data: str | Path):
        self.data = Path(data)
        if not self.data.is_dir():
            raise TidyVoiceError(f"{data} is not a folder: give a data folder")
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

    def read(self, row: int, start: int = 0, count: int | None = None) -> np.ndarray:
        """Return samples int16 [count] of utterance ``row`` from ``start`` (default: to the end).

        Raises:
            TidyVoiceError: the file is missing or unreadable, or its length differs from
                ``utt2dur``.
        """
        if self._shards is not None:
            return self._shards.read(row, start, count)
        path, length = self._paths[row], int(self.samples[row])
        samples, total = read_part(path, start, -1 if count is None else count)
        if total != length:
            raise TidyVoiceError(
                f"{path} has {total} samples, its utt2dur says {length}: prepare the data again"
            )
        return samples

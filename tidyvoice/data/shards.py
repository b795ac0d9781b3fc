"""Shards: plain tar files of WAVs, with an index for random access to any chunk.

WeSpeaker's readers work on them: for each utterance there are the members ``KEY.spk`` (the speaker)
and ``KEY.wav`` (16-bit PCM, mono). The index adds one row for each utterance: shard, key, speaker,
language, byte offset of the first sample, number of samples, their CRC-32, rate. To read a chunk is
one ``pread`` of its bytes, without decoding.

Shards of noise and room impulse responses store the kind in place of the speaker.
"""

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from tidyvoice.data.manifest import parts_of
from tidyvoice.errors import TidyVoiceError

BYTES_PER_SAMPLE = 2
OPEN_FILES = 8  # of a thread and reader; some systems allow a process only 256
INDEX = "index.parquet"
SUMMARY = "shards.json"
COLUMNS = ["shard", "key", "speaker", "language", "offset", "samples"]  # that reading needs
UNREADABLE = "unreadable.txt"


def read_summary(folder: Path) -> dict | None:
    """Return the summary of the finished shards in ``folder``; None if there are none."""
    path = folder / SUMMARY
    return json.loads(path.read_text()) if path.exists() else None


class ShardReader:
    """Random access to the samples of the shards of a data folder, or of several.

    Threads may read at the same time. Each opens its own files and keeps the last few open.

    Attributes:
        keys: utterance ids (polars String series) in the order of the shards.
        speakers: speaker of each utterance (polars Enum series, its categories sorted).
        languages: language of each, or null, likewise.
        samples: number of samples of each, int64 [N].
        shard_of: number of the shard that holds each, int32 [N].
        content: checksum of all of this and of the samples.

    Raises:
        TidyVoiceError: shards are missing, or two folders have a speaker of the same name.
    """

    def __init__(self, *data: str | Path):
        folders = [part / "shards" for folder in data for part in parts_of(folder)]
        contents, indexes = [], []
        self._shards: list[Path] = []
        for folder in folders:
            summary = read_summary(folder)
            if summary is None:
                raise TidyVoiceError(f"{folder} is missing or unfinished. Run stage 2 (shards)")
            contents.append(summary["content"])
            table = pl.read_parquet(folder / INDEX, columns=COLUMNS)
            names = table["shard"].unique(maintain_order=True).to_list()
            codes = {name: len(self._shards) + n for n, name in enumerate(names)}
            self._shards += [folder / name for name in names]
            indexes.append(
                table.with_columns(pl.col("shard").replace_strict(codes, return_dtype=pl.Int32))
            )
        _refuse_shared_speakers(folders, indexes)
        index = pl.concat(indexes)
        self.content: str = contents[0]
        if len(contents) > 1:
            self.content = hashlib.sha256("".join(contents).encode()).hexdigest()
        self.keys = index["key"]
        # As strings, ten million names would take a third of the index's memory.
        self.speakers = _enumerated(index["speaker"])
        self.languages = _enumerated(index["language"])
        self.samples = index["samples"].to_numpy()
        self._offsets = index["offset"].to_numpy()
        self.shard_of = index["shard"].to_numpy()
        self._threads = threading.local()

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, row: int, start: int = 0, count: int | None = None) -> np.ndarray:
        """Return ``count`` samples (int16) of utterance ``row`` from ``start``; None: to the end.

        Raises:
            TidyVoiceError: the shard is shorter than its index says.
        """
        count = int(self.samples[row]) - start if count is None else count
        shard = int(self.shard_of[row])
        size = BYTES_PER_SAMPLE * count
        offset = int(self._offsets[row]) + BYTES_PER_SAMPLE * start
        content = os.pread(self._file(shard).number, size, offset)
        if len(content) != size:
            raise TidyVoiceError(
                f"{self._shards[shard]} is cut short. Remove its folder and run stage 2 again"
            )
        return np.frombuffer(content, dtype="<i2")

    def _file(self, shard: int) -> "_OpenFile":
        files: OrderedDict[int, _OpenFile] = self._threads.__dict__.setdefault(
            "files", OrderedDict()
        )
        if shard in files:
            files.move_to_end(shard)
            return files[shard]
        path = self._shards[shard]
        if not path.exists():
            raise TidyVoiceError(f"{path} is missing. Remove {path.parent} and run stage 2 again")
        if len(files) >= OPEN_FILES:
            files.popitem(last=False)
        files[shard] = _OpenFile(path)
        return files[shard]


def _enumerated(names: pl.Series) -> pl.Series:
    return names.cast(pl.Enum(names.drop_nulls().unique().sort()))


def _refuse_shared_speakers(folders: Sequence[Path], indexes: Sequence[pl.DataFrame]) -> None:
    """Raise an error if two folders share a speaker: the class would mix two people."""
    first: dict[str, Path] = {}
    for folder, index in zip(folders, indexes, strict=True):
        names = set(index["speaker"].unique())
        if shared := sorted(names & first.keys()):
            raise TidyVoiceError(
                f"the speaker '{shared[0]}' is in {first[shared[0]].parent} and in {folder.parent} "
                f"({len(shared):,} such speakers). Prepare one of them with a --prefix"
            )
        first |= dict.fromkeys(names, folder)


class _OpenFile:
    """File descriptor that is closed when its thread drops it or ends."""

    def __init__(self, path: Path):
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self.number)

"""Shards: plain tar files of WAVs, with an index by which any chunk is read by seeking.

The layout is WeSpeaker's, so that its readers work on our shards: for each utterance the members
``KEY.spk`` (the speaker) and ``KEY.wav`` (16-bit PCM, mono). The index adds one row an utterance:
shard, key, speaker, language, byte offset of the first sample, number of samples, their CRC-32,
rate. A chunk is then one ``pread`` of its bytes: nothing else is read, and nothing is decoded.

Noise and room impulse responses are stored in the same way, their kind in place of the speaker.
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
OPEN_FILES = 8  # a thread and data folder; systems allow a process as few as 256
INDEX = "index.parquet"
SUMMARY = "shards.json"
COLUMNS = ["shard", "key", "speaker", "language", "offset", "samples"]  # that reading needs
UNREADABLE = "unreadable.txt"


def read_summary(folder: Path) -> dict | None:
    """What is known of the finished shards in ``folder``; None if there are none."""
    path = folder / SUMMARY
    return json.loads(path.read_text()) if path.exists() else None


class ShardReader:
    """Random access to the samples of the shards of a data folder, or of several.

    Threads may read at the same time. Each opens the files it reads and keeps the last few open.

    Attributes:
        keys: utterance ids (polars String series) in the order of the shards.
        speakers: speaker of each utterance (polars Enum series, its categories sorted).
        languages: language of each, or null, likewise.
        samples: number of samples of each, int64 [N].
        shard_of: number of the shard that holds each, int32 [N].
        content: a checksum of all of this and of the samples themselves.

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
                raise TidyVoiceError(f"{folder} is missing or unfinished: run stage 2 (shards)")
            contents.append(summary["content"])
            table = pl.read_parquet(folder / INDEX, columns=COLUMNS)
            names = table["shard"].unique(maintain_order=True).to_list()
            codes = {name: len(self._shards) + n for n, name in enumerate(names)}
            self._shards += [folder / name for name in names]
            indexes.append(
                table.with_columns(pl.col("shard").replace_strict(codes, return_dtype=pl.Int32))
            )
        _distinct_speakers(folders, indexes)
        index = pl.concat(indexes)
        self.content: str = contents[0]
        if len(contents) > 1:
            self.content = hashlib.sha256("".join(contents).encode()).hexdigest()
        self.keys = index["key"]
        # Numbers: ten million names would take a third of the index's memory.
        self.speakers = _enumerated(index["speaker"])
        self.languages = _enumerated(index["language"])
        self.samples = index["samples"].to_numpy()
        self._offsets = index["offset"].to_numpy()
        self.shard_of = index["shard"].to_numpy()
        self._threads = threading.local()

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, row: int, start: int = 0, count: int | None = None) -> np.ndarray:
        """Samples int16 [count] of utterance ``row`` from sample ``start`` (to the end if None).

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
                f"{self._shards[shard]} is cut short: remove its folder and run stage 2 again"
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
            raise TidyVoiceError(f"{path} is missing: remove {path.parent} and run stage 2 again")
        if len(files) >= OPEN_FILES:
            files.popitem(last=False)
        files[shard] = _OpenFile(path)
        return files[shard]


def _enumerated(names: pl.Series) -> pl.Series:
    return names.cast(pl.Enum(names.drop_nulls().unique().sort()))


def _distinct_speakers(folders: Sequence[Path], indexes: Sequence[pl.DataFrame]) -> None:
    """Refuse a name that two folders give to a speaker: one class would be two people."""
    if len(folders) == 1:
        return
    names = [
        pl.DataFrame({"speaker": index["speaker"].unique()}).with_columns(pl.lit(n).alias("folder"))
        for n, index in enumerate(indexes)
    ]
    twice = (
        pl.concat(names).group_by("speaker").agg("folder").filter(pl.col("folder").list.len() > 1)
    )
    if len(twice):
        speaker, where = twice.sort("speaker").row(0)
        one, other = (folders[n].parent for n in sorted(where)[:2])
        raise TidyVoiceError(
            f"the speaker '{speaker}' is in {one} and in {other} ({len(twice):,} such speakers): "
            "prepare one of them with a --prefix"
        )


class _OpenFile:
    """A file descriptor that is closed when its thread has no more use for it, or ends."""

    def __init__(self, path: Path):
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self.number)

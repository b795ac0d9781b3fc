"""Shards: plain tar files of WAVs, with an index for random access to any chunk.

WeSpeaker's readers work on them: for each utterance there are the members ``KEY.spk`` (the speaker)
and ``KEY.wav`` (16-bit PCM, mono). The index adds one row for each utterance: shard, key, speaker,
language, byte offset of the first sample, number of samples, their CRC-32, rate. To read a chunk is
to read its bytes, without decoding.

Shards of noise and room impulse responses store the kind in place of the speaker.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import polars as pl

from tidyvoice.data.manifest import parts_of
from tidyvoice.errors import TidyVoiceError

BYTES_PER_SAMPLE = 2
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

    Threads may read at the same time.

    Attributes:
        keys: utterance ids (polars String series) in the order of the shards.
        speakers: speaker of each utterance (polars Enum series, its categories sorted).
        languages: language of each, or null, likewise.
        samples: number of samples of each, int64 [N].
        shard_of: number of the shard that holds each, int32 [N].
        content: checksum of all of this and of the samples.
    """

    def __init__(self, *data: str | Path):
        contents, indexes = [], []
        self._shards: list[Path] = []
        folder_of: dict[str, Path] = {}  # of each speaker
        for folder in (part for parts in map(parts_of, data) for part in parts):
            shards = folder / "shards"
            summary = read_summary(shards)
            if summary is None:
                raise TidyVoiceError(f"{shards} is missing or unfinished. Run stage 2 (shards)")
            contents.append(summary["content"])
            table = pl.read_parquet(shards / INDEX, columns=COLUMNS)
            names = table["shard"].unique(maintain_order=True).to_list()
            codes = {name: len(self._shards) + n for n, name in enumerate(names)}
            self._shards += [shards / name for name in names]
            indexes.append(
                table.with_columns(pl.col("shard").replace_strict(codes, return_dtype=pl.Int32))
            )
            speakers = set(table["speaker"].unique())
            if shared := sorted(speakers & folder_of.keys()):
                # A class would mix two people.
                raise TidyVoiceError(
                    f"the speaker '{shared[0]}' is in {folder_of[shared[0]]} and in {folder} "
                    f"({len(shared):,} such speakers). Prepare one of them with a --prefix"
                )
            folder_of |= dict.fromkeys(speakers, folder)
        index = pl.concat(indexes)
        self.content: str = contents[0]
        if len(contents) > 1:
            self.content = hashlib.sha256("".join(contents).encode()).hexdigest()
        self.keys = index["key"]
        # As strings, ten million names would take a third of the index's memory.
        self.speakers, self.languages = (
            names.cast(pl.Enum(names.drop_nulls().unique().sort()))
            for names in (index["speaker"], index["language"])
        )
        self.samples = index["samples"].to_numpy()
        self._offsets = index["offset"].to_numpy()
        self.shard_of = index["shard"].to_numpy()

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, row: int, start: int = 0, count: int | None = None) -> np.ndarray:
        """Return ``count`` samples int16 of an utterance from ``start`` (default: to the end)."""
        count = int(self.samples[row]) - start if count is None else count
        shard, size = self._shards[self.shard_of[row]], BYTES_PER_SAMPLE * count
        # Opened each time, because a random order over thousands of shards rarely meets one twice.
        try:
            file = os.open(shard, os.O_RDONLY)
        except FileNotFoundError:
            raise TidyVoiceError(
                f"{shard} is missing. Remove {shard.parent} and run stage 2 again"
            ) from None
        try:
            content = os.pread(file, size, int(self._offsets[row]) + BYTES_PER_SAMPLE * start)
        finally:
            os.close(file)
        if len(content) != size:
            raise TidyVoiceError(f"{shard} is cut short. Remove its folder and run stage 2 again")
        return np.frombuffer(content, dtype="<i2")

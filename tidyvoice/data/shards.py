"""Shards: plain tar files of WAVs, with an index for random access to any chunk.

WeSpeaker's readers work on them: for each utterance there are the members ``KEY.spk`` (the speaker)
and ``KEY.wav`` (16-bit PCM, mono). The index adds one row for each utterance: shard, key, speaker,
language, byte offset of the first sample, number of samples, their CRC-32, rate.
``shard-*.parquet`` has the rows of one shard, so that it can be packed again alone. Shards of noise
and room impulse responses store the kind in place of the speaker.
"""

import hashlib
import os
import tarfile
import zlib
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from pydantic import NonNegativeInt
from tqdm import tqdm

from tidyvoice.data.manifest import Manifest, parts_of
from tidyvoice.errors import TidyVoiceError, reading
from tidyvoice.files import sha256
from tidyvoice.readahead import read_ahead, usable_cores
from tidyvoice.settings import Strict, read_json

BYTES_PER_SAMPLE = 2
LEAST_BYTES = 2048  # of an utterance: a block of each member and of its header
INDEX = "index.parquet"
SUMMARY = "shards.json"
INDEX_COLUMNS = {  # that reading needs
    "shard": pl.String,
    "key": pl.String,
    "speaker": pl.String,
    "language": pl.String,
    "offset": pl.Int64,
    "samples": pl.Int64,
    "crc32": pl.UInt32,
}
PACKED_TABLES = ("wav.scp", "utt2spk", "utt2lang")
SAMPLE = 256  # utterances that are compared at the start of a training
AGAIN = "run `tidyvoice shards` again"


class Summary(Strict):
    """Content of ``shards.json``, which is written last: what belongs to the shards of a folder."""

    format: Literal[2]
    fingerprint: str  # of tables, files and settings: packed again if it changes
    tables: dict[str, str]  # SHA-256 of each table
    index: str  # SHA-256 of the index
    content: str  # checksum of utterances, labels and samples
    shards: dict[str, NonNegativeInt]  # bytes of each tar file
    utterances: NonNegativeInt


def table_hashes(data: Path) -> dict[str, str]:
    """Return the SHA-256 of each table that a data folder has and that shards depend on."""
    return {name: sha256(data / name) for name in PACKED_TABLES if (data / name).is_file()}


def open_shards(data: Path) -> tuple[Summary, pl.DataFrame]:
    """Return summary and index [N rows] of the shards of a data folder.

    Shards that are missing, incomplete, or not of the tables beside them are a TidyVoiceError.
    Tables may be absent, as the shards suffice for a training.
    """
    folder = data / "shards"
    index = folder / INDEX
    if not (folder / SUMMARY).exists():
        raise TidyVoiceError(f"{folder} is missing or unfinished. Run stage 2 (shards)")
    summary = read_json(Summary, folder / SUMMARY, AGAIN)
    tables = table_hashes(data)
    # wav.scp is written last: a folder without it has tables that were copied, or none.
    lacking = summary.tables.keys() - tables.keys() if "wav.scp" in tables else ()
    if lacking or not tables.items() <= summary.tables.items():
        raise TidyVoiceError(f"{folder} was packed from other tables than those of {data}: {AGAIN}")
    for name, size in summary.shards.items():
        with reading(folder / name, "shard", AGAIN):
            if (present := os.stat(folder / name).st_size) != size:
                raise ValueError(f"it has {present:,} bytes, packed {size:,}")
    with reading(index, "index", AGAIN):
        if sha256(index) != summary.index:
            raise ValueError(f"other bytes than {SUMMARY} says")
        rows = pl.scan_parquet(index).select(pl.len()).collect().item()
        if rows != summary.utterances or LEAST_BYTES * rows > sum(summary.shards.values()):
            raise ValueError(f"{rows:,} rows")
        # Packing wrote these very bytes, so their values need no check.
        table = pl.read_parquet(index, columns=list(INDEX_COLUMNS))
    return summary, table


class ShardReader:
    """Random access to the samples of the shards of a data folder, or of several.

    Threads may read at the same time.

    Attributes:
        keys: utterance ids (polars String series) in the order of the shards.
        speakers: speaker of each utterance (polars Enum series, its categories sorted).
        languages: language of each, or null, likewise.
        samples: number of samples of each, int64 [N].
        shards: paths of the tar files.
        shard_of: number of the shard that holds each, int32 [N].
        content: checksum of all of this and of the samples.
    """

    def __init__(self, *data: str | Path):
        contents, indexes = [], []
        self.shards: list[Path] = []
        folder_of: dict[str, Path] = {}  # of each speaker
        for folder in (part for parts in map(parts_of, data) for part in parts):
            summary, table = open_shards(folder)
            contents.append(summary.content)
            names = table["shard"].unique(maintain_order=True).to_list()
            codes = {name: len(self.shards) + n for n, name in enumerate(names)}
            self.shards += [folder / "shards" / name for name in names]
            indexes.append(
                table.with_columns(pl.col("shard").replace_strict(codes, return_dtype=pl.Int32))
            )
            speakers = set(table["speaker"].unique())
            if shared := sorted(speakers & folder_of.keys()):
                # A class would mix two people.
                where = f"in {folder_of[shared[0]]} and in {folder} ({len(shared):,} such speakers)"
                fix = "prepare one of them with a --prefix"
                raise TidyVoiceError(f"the speaker '{shared[0]}' is {where}: {fix}")
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
        self._checksums = index["crc32"].to_numpy()
        self.shard_of = index["shard"].to_numpy()

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, row: int, start: int = 0, count: int | None = None) -> np.ndarray:
        """Return ``count`` samples int16 of an utterance from ``start`` (default: to the end)."""
        count = int(self.samples[row]) - start if count is None else count
        shard, size = self.shards[self.shard_of[row]], BYTES_PER_SAMPLE * count
        # Opened each time, because a random order over thousands of shards rarely meets one twice.
        with reading(shard, "shard", AGAIN):
            file = os.open(shard, os.O_RDONLY)
        try:
            content = os.pread(file, size, int(self._offsets[row]) + BYTES_PER_SAMPLE * start)
        finally:
            os.close(file)
        whole = count == self.samples[row]
        if len(content) != size or (whole and zlib.crc32(content) != self._checksums[row]):
            problem = f"the samples of {self.keys[int(row)]} are not those that were packed"
            raise TidyVoiceError(f"{shard}: {problem}. Delete it and {AGAIN}")
        return np.frombuffer(content, dtype="<i2")

    def check_sample(self, count: int = SAMPLE) -> None:
        """Read ``count`` utterances, spread over the shards, whole; damage is a TidyVoiceError."""
        rows = np.linspace(0, len(self) - 1, min(count, len(self))).astype(int).tolist()
        with closing(read_ahead(self.read, rows, threads=8)) as read:
            for _ in read:
                pass


def check_shards(data: Path, thorough: bool = False) -> list[str]:
    """Return the problems of a folder's shards, one line each; ``thorough`` reads all of them."""
    if not (data / "shards").exists():
        return []
    try:
        reader = ShardReader(data)
        if not thorough:
            return []
        index = pl.DataFrame({"utterance": reader.keys, "speaker": reader.speakers})
        index = index.with_columns(language=reader.languages).cast(pl.String)
        tables = Manifest.read(data).table
    except TidyVoiceError as error:
        return [str(error)]
    odd = index.join(tables, index.columns, "anti", nulls_equal=True)["utterance"]
    problems = [f"{data}/shards: the tables lack {key} as it is here: {AGAIN}" for key in odd]
    shards = np.split(np.arange(len(reader)), np.flatnonzero(np.diff(reader.shard_of)) + 1)
    with closing(read_ahead(partial(_damage, reader), shards, usable_cores())) as damages:
        bar = tqdm(damages, f"{data}/shards", len(shards), unit=" shards", disable=None)
        return problems + [problem for damage in bar for problem in damage]


def _damage(reader: ShardReader, rows: np.ndarray) -> list[str]:
    """Compare the members of one shard with the rows of the index, and all checksums."""
    path, problems = reader.shards[reader.shard_of[rows[0]]], []

    def check_members() -> None:
        keys, speakers = (values[rows].to_list() for values in (reader.keys, reader.speakers))
        with reading(path, "tar file", f"delete it and {AGAIN}"), tarfile.open(path) as tar:
            members = tar.getmembers()
            packed = [tar.extractfile(member).read().decode() for member in members[::2]]
            names = [f"{key}.{ending}" for key in keys for ending in ("spk", "wav")]
            if packed != speakers or [member.name for member in members] != names:
                raise ValueError("other members than in the index")

    for check in (check_members, *(partial(reader.read, row) for row in rows.tolist())):
        try:
            check()
        except TidyVoiceError as error:
            problems.append(str(error))
    return problems

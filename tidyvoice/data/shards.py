"""Shards: plain tar files of WAVs, with an index by which any chunk is read by seeking.

The layout is WeSpeaker's, so that its readers work on our shards: for each utterance the members
``KEY.spk`` (the speaker) and ``KEY.wav`` (16-bit PCM, mono). The index adds one row an utterance:
shard, key, speaker, language, byte offset of the first sample, number of samples, their CRC-32,
rate. A chunk is then one ``pread`` of its bytes: nothing else is read, and nothing is decoded.

Noise and room impulse responses are stored in the same way, their kind in place of the speaker.
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
import threading
import zlib
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from tidyvoice.audio import WAV_HEADER, read_pcm16, wav_bytes
from tidyvoice.errors import TidyVoiceError, summarise
from tidyvoice.files import PARTIAL, atomic_path, only_writer, write_text
from tidyvoice.manifest import SAMPLE_RATE, Manifest, parts_of
from tidyvoice.readahead import read_ahead

BYTES_PER_SAMPLE = 2
FORMAT = 1  # raise it whenever the same files make other shards
OPEN_FILES = 8  # a thread and data folder; systems allow a process as few as 256
INDEX = "index.parquet"
SUMMARY = "shards.json"
UNREADABLE, LEFT_OUT = "unreadable.txt", ".left_out"


@dataclass(frozen=True)
class ShardSummary:
    """What ``write_shards`` made, or found made."""

    folder: Path
    shards: int
    utterances: int
    found: bool
    unreadable: int = 0


def write_shards(
    data: str | Path,
    per_shard: int = 1000,
    seed: int = 1,
    threads: int = 4,
    tolerate: float = 0.0,
) -> ShardSummary:
    """Write the shards of a data folder to ``data/shards``, in an order shuffled by ``seed``.

    Shards are written into a folder of another name, which is renamed when all are there. An
    interrupted run keeps its whole shards and the next one makes only the others. Finished
    shards of the same tables and files (by size and time) are left alone; others are replaced
    once their successors are whole.

    Args:
        tolerate: the share of files that may be unreadable: they are left out, and listed with
            the reason in ``data/shards/unreadable.txt``.

    Raises:
        TidyVoiceError: a file is missing, unreadable, or has another rate, and more of them than
            are tolerated (whole shards stay); another process is writing them.
    """
    data = Path(data)
    manifest = Manifest.read(data)
    with only_writer(data):
        return _write_shards(data, manifest, per_shard, seed, threads, tolerate)


def _write_shards(
    data: Path, manifest: Manifest, per_shard: int, seed: int, threads: int, tolerate: float
) -> ShardSummary:
    fingerprint = _fingerprint(manifest, per_shard, seed)
    final = data / "shards"
    found = _summary(final)
    if found and found["fingerprint"] == fingerprint:
        counts = (found["shards"], found["utterances"])
        return ShardSummary(final, *counts, True, len(manifest) - found["utterances"])

    order = np.random.default_rng(seed).permutation(len(manifest))
    shuffled = manifest.table[order.tolist()]
    groups = [shuffled[start : start + per_shard] for start in range(0, len(order), per_shard)]
    unfinished = data / f"shards.{fingerprint[:12]}{PARTIAL}"
    unfinished.mkdir(exist_ok=True)
    paths = [unfinished / f"shard-{number:06d}.tar" for number in range(len(groups))]
    write = partial(_write_shard, strict=tolerate == 0)
    with closing(read_ahead(write, zip(paths, groups, strict=True), threads)) as written:
        parts = list(tqdm(written, str(data), len(groups), unit=" shards", disable=None))
    index = pl.concat([pl.read_parquet(part) for part in parts])
    _judge_unreadable(unfinished, data, len(manifest), tolerate)
    with atomic_path(unfinished / INDEX) as path:
        index.write_parquet(path)
    summary = {
        "fingerprint": fingerprint,
        "content": _content(index),
        "shards": len(groups),
        "utterances": len(index),
    }
    write_text(unfinished / SUMMARY, json.dumps(summary, indent=1) + "\n")
    for part in parts:
        part.unlink()
    _replace_folder(unfinished, final)
    for abandoned in data.glob(f"shards.*{PARTIAL}"):
        shutil.rmtree(abandoned)
    unreadable = len(manifest) - len(index)
    return ShardSummary(final, len(groups), len(index), False, unreadable)


def _judge_unreadable(folder: Path, data: Path, total: int, tolerate: float) -> None:
    """Join what the shards left out to one list; refuse more than is tolerated."""
    lists = sorted(folder.glob(f"*{LEFT_OUT}"))
    lines = [line for path in lists for line in path.read_text().splitlines()]
    if len(lines) > tolerate * total:
        for path in lists:  # so that a mended file is tried again
            path.with_suffix(".parquet").unlink()
            path.unlink()
        raise TidyVoiceError(
            f"{data}: {len(lines):,} of {total:,} files are unreadable, --tolerate {tolerate:g} "
            f"allows {int(tolerate * total):,}: {summarise(lines, 3)}"
        )
    if lines:
        write_text(folder / UNREADABLE, "".join(f"{line}\n" for line in lines))
    for path in lists:
        path.unlink()


def _fingerprint(manifest: Manifest, per_shard: int, seed: int) -> str:
    """Of what the shards are made from: the tables, size and time of each file, the settings."""
    digest = hashlib.sha256(f"{FORMAT} {per_shard} {seed}\n".encode())
    digest.update(manifest.table.write_csv().encode())
    for path in manifest.table["path"]:
        # A missing file is named when it is its turn to be read.
        status = os.stat(path) if os.path.exists(path) else None
        digest.update(f"{status and (status.st_size, status.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def _content(index: pl.DataFrame) -> str:
    """Of what is in the shards, wherever they lie: utterances, speakers, languages, samples."""
    columns = index.select("key", "speaker", "language", "samples", "crc32")
    return hashlib.sha256(columns.write_csv().encode()).hexdigest()


def _summary(folder: Path) -> dict | None:
    path = folder / SUMMARY
    return json.loads(path.read_text()) if path.exists() else None


def _replace_folder(new: Path, final: Path) -> None:
    old = final.with_name(f"{final.name}.old{PARTIAL}")
    if final.exists():
        shutil.rmtree(old, ignore_errors=True)
        final.rename(old)
    new.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def _write_shard(shard: tuple[Path, pl.DataFrame], strict: bool) -> Path:
    """Write one tar and its rows of the index; a shard that has its rows is whole already.

    Args:
        strict: an unreadable file is an error; else it is listed beside the tar and left out.
    """
    path, utterances = shard
    rows_path = path.with_suffix(".parquet")
    if rows_path.exists():
        return rows_path
    rows, left_out = [], []
    with atomic_path(path) as new, tarfile.open(new, "w", format=tarfile.GNU_FORMAT) as tar:
        for utterance, source, speaker, language in utterances.select(
            "utterance", "path", "speaker", "language"
        ).iter_rows():
            try:
                samples = read_pcm16(source)
            except TidyVoiceError as error:
                if strict:
                    raise
                left_out.append(f"{utterance} {error}\n")
                continue
            _add(tar, f"{utterance}.spk", speaker.encode())
            offset = _add(tar, f"{utterance}.wav", wav_bytes(samples)) + WAV_HEADER.size
            checksum = zlib.crc32(samples.tobytes())
            row = (path.name, utterance, speaker, language, offset, samples.size, checksum)
            rows.append(row)
    columns = {
        "shard": pl.String,
        "key": pl.String,
        "speaker": pl.String,
        "language": pl.String,
        "offset": pl.Int64,
        "samples": pl.Int64,
        "crc32": pl.UInt32,
    }
    table = pl.DataFrame(rows, schema=columns, orient="row")
    if left_out:
        write_text(path.with_suffix(LEFT_OUT), "".join(left_out))
    with atomic_path(rows_path) as new:
        table.with_columns(pl.lit(SAMPLE_RATE).alias("rate")).write_parquet(new)
    return rows_path


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Append a member and return the byte offset of its content in the tar."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    return tar.offset - -(-len(content) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


class ShardReader:
    """Random access to the samples of the shards of a data folder, or of several.

    Threads may read at the same time. Each opens the files it reads and keeps the last few open.

    Attributes:
        keys: utterance ids (polars String series) in the order of the shards.
        speakers: speaker of each utterance (polars String series).
        languages: language of each, or null.
        samples: number of samples of each, int64 [N].
        content: a checksum of all of this and of the samples themselves.

    Raises:
        TidyVoiceError: shards are missing, or two folders have a speaker of the same name.
    """

    def __init__(self, *data: str | Path):
        folders = [part / "shards" for folder in data for part in parts_of(folder)]
        contents, indexes = [], []
        self._shards: list[Path] = []
        for folder in folders:
            summary = _summary(folder)
            if summary is None:
                raise TidyVoiceError(f"{folder} is missing or unfinished: run stage 2 (shards)")
            contents.append(summary["content"])
            table = pl.read_parquet(folder / INDEX)
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
        self.speakers = index["speaker"]
        self.languages = index["language"]
        self.samples = index["samples"].to_numpy()
        self._offsets = index["offset"].to_numpy()
        self._shard_of = index["shard"].to_numpy()
        self._threads = threading.local()

    def __len__(self) -> int:
        return len(self.keys)

    def read(self, row: int, start: int = 0, count: int | None = None) -> np.ndarray:
        """Samples int16 [count] of utterance ``row`` from sample ``start`` (to the end if None).

        Raises:
            TidyVoiceError: the shard is shorter than its index says.
        """
        count = int(self.samples[row]) - start if count is None else count
        shard = int(self._shard_of[row])
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

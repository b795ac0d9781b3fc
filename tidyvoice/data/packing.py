"""Packing a data folder into shards (``tidyvoice.data.shards`` says what they hold)."""

import hashlib
import json
import os
import shutil
import zlib
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from tidyvoice.audio import read_pcm16, wav_header
from tidyvoice.data.manifest import Manifest
from tidyvoice.data.shards import INDEX, SUMMARY, UNREADABLE, read_summary
from tidyvoice.data.tar import TarWriter
from tidyvoice.errors import TidyVoiceError, summarise
from tidyvoice.files import PARTIAL, atomic_path, only_writer, write_text
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.readahead import read_ahead, usable_cores

FORMAT = 1  # raise it whenever the same files make other shards
LEFT_OUT = ".left_out"


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
    threads: int | None = None,
    tolerate: float = 0.0,
) -> ShardSummary:
    """Write the shards of a data folder to ``data/shards``, in an order shuffled by ``seed``.

    Shards are written into a folder of another name, which is renamed when all are there. An
    interrupted run keeps its whole shards and the next one makes only the others. Finished
    shards of the same tables and files (by size and time) are left alone; others are replaced
    once their successors are whole.

    Args:
        threads: files read (and decoded, where they must be) at once; as many as there are cores.
        tolerate: the share of files that may be unreadable: they are left out, and listed with
            the reason in ``data/shards/unreadable.txt``.

    Raises:
        TidyVoiceError: a file is missing, unreadable, or has another rate, and more of them than
            are tolerated (whole shards stay); another process is writing them.
    """
    data = Path(data)
    manifest = Manifest.read(data)
    with only_writer(data):
        return _write_shards(data, manifest, per_shard, seed, threads or usable_cores(), tolerate)


def _write_shards(
    data: Path, manifest: Manifest, per_shard: int, seed: int, threads: int, tolerate: float
) -> ShardSummary:
    fingerprint = _fingerprint(manifest, per_shard, seed)
    final = data / "shards"
    found = read_summary(final)
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
    with atomic_path(path) as new, TarWriter(new) as tar:
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
            tar.add(f"{utterance}.spk", speaker.encode())
            header, content = wav_header(samples.size), memoryview(samples).cast("B")
            offset = tar.add(f"{utterance}.wav", header, content) + len(header)
            checksum = zlib.crc32(content)
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

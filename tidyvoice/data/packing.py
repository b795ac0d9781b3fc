"""Pack a data folder into shards, whose layout ``tidyvoice.data.shards`` describes."""

import hashlib
import io
import json
import os
import shutil
import tarfile
import zlib
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from tidyvoice.audio import read_pcm16, wav_bytes
from tidyvoice.data.manifest import Manifest
from tidyvoice.data.shards import INDEX, SUMMARY, UNREADABLE, read_summary
from tidyvoice.errors import TidyVoiceError, summarise
from tidyvoice.files import PARTIAL, atomic_path, only_writer, write_text
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.readahead import read_ahead, usable_cores

FORMAT = 1  # raise it when the same files make other shards
LEFT_OUT = ".left_out"
COLUMNS = {
    "shard": pl.String,
    "key": pl.String,
    "speaker": pl.String,
    "language": pl.String,
    "offset": pl.Int64,
    "samples": pl.Int64,
    "crc32": pl.UInt32,
}


@dataclass(frozen=True)
class ShardSummary:
    """Result of ``write_shards``; ``up_to_date`` is True if the shards had been written before."""

    folder: Path
    shards: int
    utterances: int
    up_to_date: bool
    unreadable: int = 0


def write_shards(
    data: str | Path,
    per_shard: int = 1000,
    seed: int = 1,
    threads: int | None = None,
    tolerate: float = 0.0,
) -> ShardSummary:
    """Write the shards of a data folder to ``data/shards``, in an order shuffled by ``seed``.

    The shards are written to another folder, which is renamed at the end. An interrupted run keeps
    its complete shards, and the next run writes the others. Finished shards of the same tables and
    files (by size and time) stay; others are replaced once the new ones are complete.

    Args:
        threads: number of files read and decoded at once; default: the number of cores.
        tolerate: fraction of files that may be unreadable. They are left out and listed with the
            reason in ``data/shards/unreadable.txt``.

    Raises:
        TidyVoiceError: a file is missing, unreadable, or has another sample rate, and ``tolerate``
            does not allow it (complete shards stay); another process is writing the shards.
    """
    data = Path(data)
    manifest = Manifest.read(data)
    with only_writer(data):
        return _write_shards(data, manifest, per_shard, seed, threads or usable_cores(), tolerate)


def _write_shards(
    data: Path, manifest: Manifest, per_shard: int, seed: int, threads: int, tolerate: float
) -> ShardSummary:
    total, final, fingerprint = (
        len(manifest),
        data / "shards",
        _fingerprint(manifest, per_shard, seed),
    )
    summary = read_summary(final)
    if summary and summary["fingerprint"] == fingerprint:
        packed = summary["utterances"]
        return ShardSummary(final, summary["shards"], packed, True, total - packed)
    shuffled = manifest.table[np.random.default_rng(seed).permutation(total).tolist()]
    groups = list(shuffled.iter_slices(per_shard))
    unfinished = data / f"shards.{fingerprint[:12]}{PARTIAL}"
    unfinished.mkdir(exist_ok=True)
    paths = [unfinished / f"shard-{number:06d}.tar" for number in range(len(groups))]
    write = partial(_write_shard, strict=tolerate == 0)
    with closing(read_ahead(write, zip(paths, groups, strict=True), threads)) as written:
        parts = list(tqdm(written, str(data), len(groups), unit=" shards", disable=None))
    _list_unreadable(unfinished, data, total, tolerate)
    index = pl.concat([pl.read_parquet(part) for part in parts])
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
    old = data / f"shards.old{PARTIAL}"
    shutil.rmtree(old, ignore_errors=True)  # left by a process that was killed
    if final.exists():
        final.rename(old)
    unfinished.rename(final)
    for abandoned in data.glob(f"shards.*{PARTIAL}"):
        shutil.rmtree(abandoned)
    return ShardSummary(final, len(groups), len(index), False, total - len(index))


def _list_unreadable(folder: Path, data: Path, total: int, tolerate: float) -> None:
    """Merge the shards' lists of unreadable files; raise an error if there are too many."""
    lists = sorted(folder.glob(f"*{LEFT_OUT}"))
    lines = [line for path in lists for line in path.read_text().splitlines()]
    refused = len(lines) > tolerate * total
    if lines and not refused:
        write_text(folder / UNREADABLE, "".join(f"{line}\n" for line in lines))
    for path in lists:
        if refused:  # so that the next run reads these files again
            path.with_suffix(".parquet").unlink()
        path.unlink()
    if refused:
        raise TidyVoiceError(
            f"{data}: {len(lines):,} of {total:,} files are unreadable, --tolerate {tolerate:g} "
            f"allows {int(tolerate * total):,}: {summarise(lines, 3)}"
        )


def _fingerprint(manifest: Manifest, per_shard: int, seed: int) -> str:
    """Return a checksum of the tables, the size and time of each file, and the settings."""
    digest = hashlib.sha256(f"{FORMAT} {per_shard} {seed}\n".encode())
    digest.update(manifest.table.write_csv().encode())
    for path in manifest.table["path"]:
        # Reading a missing file later raises the error that names it.
        status = os.stat(path) if os.path.exists(path) else None
        digest.update(f"{status and (status.st_size, status.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def _content(index: pl.DataFrame) -> str:
    """Return a checksum of the utterances, speakers, languages and samples of all shards."""
    columns = index.select("key", "speaker", "language", "samples", "crc32")
    return hashlib.sha256(columns.write_csv().encode()).hexdigest()


def _write_shard(shard: tuple[Path, pl.DataFrame], strict: bool) -> Path:
    """Write a tar file and its rows of the index; return the path of the rows.

    A shard whose rows exist is complete. An unreadable file is an error if ``strict``; otherwise it
    is left out and listed beside the tar file.
    """
    path, utterances = shard
    rows_path = path.with_suffix(".parquet")
    if rows_path.exists():
        return rows_path
    rows, left_out = [], []
    columns = utterances.select("utterance", "path", "speaker", "language")
    with atomic_path(path) as new, tarfile.open(new, "w", format=tarfile.GNU_FORMAT) as tar:
        for utterance, source, speaker, language in columns.iter_rows():
            try:
                samples = read_pcm16(source)
            except TidyVoiceError as error:
                if strict:
                    raise
                left_out.append(f"{utterance} {error}\n")
                continue
            _add(tar, f"{utterance}.spk", speaker.encode())
            content = wav_bytes(samples)
            pcm = samples.tobytes()
            offset = _add(tar, f"{utterance}.wav", content) + len(content) - len(pcm)
            rows.append(
                (path.name, utterance, speaker, language, offset, samples.size, zlib.crc32(pcm))
            )
    if left_out:
        write_text(path.with_suffix(LEFT_OUT), "".join(left_out))
    table = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    with atomic_path(rows_path) as new:
        table.with_columns(rate=pl.lit(SAMPLE_RATE)).write_parquet(new)
    return rows_path


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> int:
    """Append a member to a tar file; return the byte offset of its content."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    return tar.offset - len(content) - -len(content) % tarfile.BLOCKSIZE

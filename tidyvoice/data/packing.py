"""Pack a data folder into shards, whose layout ``tidyvoice.data.shards`` describes."""

import hashlib
import io
import os
import shutil
import tarfile
import zlib
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tarfile import BLOCKSIZE

import numpy as np
import polars as pl
from tqdm import tqdm

from tidyvoice.audio import read_pcm16, wav_bytes
from tidyvoice.data.manifest import Manifest
from tidyvoice.data.shards import INDEX, INDEX_COLUMNS, SUMMARY, Summary, open_shards, table_hashes
from tidyvoice.errors import TidyVoiceError, reading, summarise
from tidyvoice.files import PARTIAL, atomic_path, only_writer, sha256, write_text
from tidyvoice.headers import SAMPLE_RATE
from tidyvoice.readahead import read_ahead, usable_cores

UNREADABLE = "unreadable.txt"
FORMAT = 2  # raise it, and that of Summary, when the same files make other shards
COLUMNS = {**INDEX_COLUMNS, "problem": pl.String, "bytes": pl.Int64}  # of a file; of its shard


@dataclass(frozen=True)
class ShardSummary:
    """Result of ``write_shards``; ``up_to_date`` is True if the shards had been written before."""

    folder: Path
    shards: int
    utterances: int
    up_to_date: bool
    unreadable: int


def write_shards(
    data: str | Path,
    per_shard: int = 1000,
    seed: int = 1,
    threads: int | None = None,
    tolerate: float = 0.0,
) -> ShardSummary:
    """Write the shards of a data folder to ``data/shards``, in an order shuffled by ``seed``.

    An interrupted run keeps its complete shards, and the next run writes the others. Finished
    shards of the same tables and files (by size and time) stay; others are replaced at the end.
    ``threads`` files are read at once (default: the number of cores). A fraction ``tolerate`` of
    them may be unreadable: they are left out and listed in ``data/shards/unreadable.txt``.
    """
    data = Path(data)
    tables, table = table_hashes(data), Manifest.read(data).table
    total, final = len(table), data / "shards"
    with only_writer(data):
        fingerprint = _fingerprint(tables, table["path"], per_shard, seed)
        unfinished = data / f"shards.{fingerprint[:12]}{PARTIAL}"
        try:
            summary = open_shards(data)[0]
        except TidyVoiceError:
            with suppress(FileNotFoundError), open(final / SUMMARY, "rb") as file:
                if fingerprint.encode() in file.read(2**12) and not unfinished.exists():
                    final.rename(unfinished)  # to write what is missing
        else:
            if summary.fingerprint == fingerprint:
                count = summary.utterances
                _check_share(data, total - count, total, tolerate, f"see {final / UNREADABLE}")
                return ShardSummary(final, len(summary.shards), count, True, total - count)
        unfinished.mkdir(exist_ok=True)
        shuffled = table[np.random.default_rng(seed).permutation(total).tolist()]
        shards = [
            (unfinished / f"shard-{number:06d}.tar", group)
            for number, group in enumerate(shuffled.iter_slices(per_shard))
        ]
        write = partial(_write_shard, strict=tolerate == 0)
        with closing(read_ahead(write, shards, threads or usable_cores())) as written:
            parts = list(tqdm(written, str(data), len(shards), unit=" shards", disable=None))
        rows = pl.concat([pl.read_parquet(part) for part in parts])
        index = rows.filter(pl.col("problem").is_null()).select(*INDEX_COLUMNS)
        unreadable = rows.filter(pl.col("problem").is_not_null())
        lines = (unreadable["key"] + " " + unreadable["problem"]).to_list()
        if len(lines) > tolerate * total:
            for shard in unreadable["shard"].unique():  # so that the next run reads them again
                (unfinished / shard).with_suffix(".parquet").unlink()
        _check_share(data, len(lines), total, tolerate, summarise(lines, 3))
        (unfinished / UNREADABLE).unlink(missing_ok=True)
        if lines:
            write_text(unfinished / UNREADABLE, "\n".join(lines) + "\n")
        sizes = dict(rows.select("shard", "bytes").unique(maintain_order=True).iter_rows())
        _write_index(unfinished, index, fingerprint, tables, sizes)
        old = data / f"shards.old{PARTIAL}"
        shutil.rmtree(old, ignore_errors=True)  # left by a process that was killed
        if final.exists():
            final.rename(old)
        unfinished.rename(final)
        for abandoned in data.glob(f"shards.*{PARTIAL}"):
            shutil.rmtree(abandoned)
    return ShardSummary(final, len(shards), len(index), False, total - len(index))


def _check_share(data: Path, unreadable: int, total: int, tolerate: float, which: str) -> None:
    """Raise an error if more than the fraction ``tolerate`` of the files is unreadable."""
    if unreadable > tolerate * total:
        raise TidyVoiceError(
            f"{data}: {unreadable:,} of {total:,} files are unreadable, --tolerate {tolerate:g} "
            f"allows {int(tolerate * total):,}: {which}"
        )


def _write_index(
    folder: Path, index: pl.DataFrame, fingerprint: str, tables: dict[str, str], sizes: dict
) -> None:
    """Write the index of complete shards, then their summary, which marks them as finished."""
    with atomic_path(folder / INDEX) as path:
        index.with_columns(rate=pl.lit(SAMPLE_RATE)).write_parquet(path)
    columns = index.select("key", "speaker", "language", "samples", "crc32")
    summary = Summary(
        format=FORMAT,
        fingerprint=fingerprint,
        tables=tables,
        index=sha256(folder / INDEX),
        content=hashlib.sha256(columns.write_csv().encode()).hexdigest(),
        shards=sizes,
        utterances=len(index),
    )
    write_text(folder / SUMMARY, summary.model_dump_json(indent=1) + "\n")


def _fingerprint(tables: dict[str, str], paths: pl.Series, per_shard: int, seed: int) -> str:
    """Return a checksum of the tables, the size and time of each file, and the settings."""
    digest = hashlib.sha256(f"{FORMAT} {per_shard} {seed} {tables}\n".encode())
    for path in paths:
        # Reading a missing file later raises the error that names it.
        status = os.stat(path) if os.path.exists(path) else None
        digest.update(f"{status and (status.st_size, status.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def _is_complete(path: Path, rows_path: Path, utterances: pl.DataFrame) -> bool:
    """Return True if a tar file has the size and the utterances that its rows state."""
    with suppress(TidyVoiceError), reading(rows_path, "index", ""):
        rows = pl.read_parquet(rows_path)
        labels = utterances.select("speaker", "language", key="utterance")
        is_same = rows.schema == COLUMNS and rows.select(labels.columns).equals(labels)
        return is_same and path.stat().st_size == rows["bytes"][0]
    return False


def _write_shard(shard: tuple[Path, pl.DataFrame], strict: bool) -> Path:
    """Write a tar file, unless it is complete, and its rows; return the path of the rows."""
    path, utterances = shard
    rows_path = path.with_suffix(".parquet")
    if _is_complete(path, rows_path, utterances):
        return rows_path
    rows = []
    columns = utterances.select("utterance", "path", "speaker", "language")
    with atomic_path(path) as new, tarfile.open(new, "w", format=tarfile.GNU_FORMAT) as tar:
        for utterance, source, speaker, language in columns.iter_rows():
            try:
                samples = read_pcm16(source)
            except TidyVoiceError as error:
                if strict:
                    raise
                rows.append((path.name, utterance, speaker, language, *[None] * 3, str(error), 0))
                continue
            content = wav_bytes(samples)
            for ending, part in (("spk", speaker.encode()), ("wav", content)):
                member = tarfile.TarInfo(f"{utterance}.{ending}")
                member.size = len(part)
                tar.addfile(member, io.BytesIO(part))
            pcm = samples.tobytes()
            offset = tar.offset - -(-len(content) // BLOCKSIZE) * BLOCKSIZE  # of the WAV's header
            offset += len(content) - len(pcm)
            place = offset, samples.size, zlib.crc32(pcm)
            rows.append((path.name, utterance, speaker, language, *place, None, 0))
    table = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    with atomic_path(rows_path) as new:
        table.with_columns(bytes=pl.lit(path.stat().st_size, pl.Int64)).write_parquet(new)
    return rows_path

"""Comparison of all shards of a data folder with their index, and of that with the tables."""

import tarfile
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from tidyvoice.data.manifest import Manifest
from tidyvoice.data.shards import AGAIN, UNREADABLE, ShardReader
from tidyvoice.errors import TidyVoiceError, reading
from tidyvoice.readahead import read_ahead, usable_cores


def check_shards(data: Path, thorough: bool = False) -> list[str]:
    """Return the problems of the shards of a data folder, one line each; [] without shards.

    Compares sizes, index and tables with the summary, and with ``thorough`` reads everything.
    """
    if not (data / "shards").exists():
        return []
    try:
        reader = ShardReader(data)
        problems = _labels(reader, data) if thorough else []
    except TidyVoiceError as error:
        return [str(error)]
    if thorough:
        rows = np.split(np.arange(len(reader)), np.flatnonzero(np.diff(reader.shard_of)) + 1)
        with closing(read_ahead(partial(_damage, reader), rows, usable_cores())) as found:
            bar = tqdm(found, f"{data}/shards", len(rows), unit=" shards", disable=None)
            problems += [problem for damage in bar for problem in damage]
    return problems


def _labels(reader: ShardReader, data: Path) -> list[str]:
    """Compare the index with the tables, but for the files that could not be packed."""
    index = pl.DataFrame({"utterance": reader.keys, "speaker": reader.speakers})
    index = index.with_columns(language=reader.languages).cast(pl.String)
    left_out, tables = data / "shards" / UNREADABLE, Manifest.read(data).table.select(index.columns)
    if left_out.exists():
        with reading(left_out, "list of utterances", AGAIN):
            ids = [line.partition(" ")[0] for line in left_out.read_text("utf-8").splitlines()]
        tables = tables.filter(~pl.col("utterance").is_in(ids))
    return [
        f"{data}/shards: {utterance} differs between index and tables. {AGAIN}"
        for one, other in ((index, tables), (tables, index))
        for utterance in one.join(other, index.columns, "anti", nulls_equal=True)["utterance"]
    ]


def _damage(reader: ShardReader, rows: np.ndarray) -> list[str]:
    """Compare the members of one shard with the rows of the index, and all checksums."""
    path, wanted, problems = reader.shards[reader.shard_of[rows[0]]], [], []
    for row in rows.tolist():
        key, speaker = reader.keys[row], reader.speakers[row].encode()
        wanted += [(f"{key}.spk", speaker), (f"{key}.wav", None)]
        try:
            reader.read(row)
        except TidyVoiceError as error:
            problems.append(str(error))
    try:
        with reading(path, "tar file", f"Delete it and {AGAIN}"), tarfile.open(path) as tar:
            members = [
                (each.name, tar.extractfile(each).read() if each.name.endswith(".spk") else None)
                for each in tar
            ]
            if members != wanted:
                raise ValueError("other members than in the index")
    except TidyVoiceError as error:
        problems.append(str(error))
    return problems

"""Comparison of all shards of a data folder with their index, and of that with the tables."""

import tarfile
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from tqdm import tqdm

from tidyvoice.data.manifest import Manifest
from tidyvoice.data.shards import AGAIN, ShardReader
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
    shards = np.split(np.arange(len(reader)), np.flatnonzero(np.diff(reader.shard_of)) + 1)
    with closing(read_ahead(partial(_damage, reader), shards * thorough, usable_cores())) as found:
        bar = tqdm(found, f"{data}/shards", len(shards), unit=" shards", disable=None)
        return problems + [problem for damage in bar for problem in damage]


def _labels(reader: ShardReader, data: Path) -> list[str]:
    """Compare the index with the tables."""
    index = pl.DataFrame({"utterance": reader.keys, "speaker": reader.speakers})
    index = index.with_columns(language=reader.languages).cast(pl.String)
    tables = Manifest.read(data).table.select(index.columns)
    odd = index.join(tables, index.columns, "anti", nulls_equal=True)["utterance"]
    return [f"{data}/shards: the tables do not have {key} as it is here: {AGAIN}" for key in odd]


def _damage(reader: ShardReader, rows: np.ndarray) -> list[str]:
    """Compare the members of one shard with the rows of the index, and all checksums."""
    path, problems = reader.shards[reader.shard_of[rows[0]]], []
    keys, speakers = (values[rows].to_list() for values in (reader.keys, reader.speakers))
    for row in rows.tolist():
        try:
            reader.read(row)
        except TidyVoiceError as error:
            problems.append(str(error))
    try:
        with reading(path, "tar file", f"delete it and {AGAIN}"), tarfile.open(path) as tar:
            members = tar.getmembers()
            names = [member.name for member in members]
            packed = [tar.extractfile(member).read().decode() for member in members[::2]]
            if packed != speakers or names != [
                f"{k}.{end}" for k in keys for end in ("spk", "wav")
            ]:
                raise ValueError("other members than in the index")
    except TidyVoiceError as error:
        problems.append(str(error))
    return problems

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
    with closing(read_ahead(partial(_damage, reader), shards, usable_cores())) as found:
        bar = tqdm(found, f"{data}/shards", len(shards), unit=" shards", disable=None)
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

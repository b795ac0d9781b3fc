"""White-space separated text in columns, read in blocks: lists of many million lines."""

import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import IO

import numpy as np
import polars as pl

from tidyvoice.errors import TidyVoiceError

BLOCK_BYTES = 32 * 2**20
_BLANKS_TO_SPACE = bytes.maketrans(b"\t\r\v\f", b"    ")
_IDS_AT_FIRST = 2**16

Schema = Mapping[str, pl.DataType]


class IdCodes:
    """Numbers ids in the order in which they first appear, over many blocks.

    Attributes:
        ids: those seen so far.
        dtype: the type of a polars column of ids: while parsing, equal strings already get equal
            numbers, so that no string is looked at twice.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.dtype = pl.Categorical(pl.Categories.random())
        self._codes = np.full(_IDS_AT_FIRST, -1, dtype=np.int32)

    def encode(self, enroll: pl.Series, test: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """The int32 codes of two columns; ids not seen before get new codes, row by row."""
        # The parser's own numbers depend on its threads, and which row is in which block on the
        # width of the lines: neither must show in the order of the ids.
        columns = (enroll, test)
        parsed = np.stack([column.to_physical().to_numpy() for column in columns], axis=1).ravel()
        highest = int(parsed.max())
        if highest >= len(self._codes):
            more = np.full(max(highest + 1, len(self._codes)), -1, dtype=np.int32)
            self._codes = np.concatenate([self._codes, more])
        codes = self._codes[parsed]
        new = np.flatnonzero(codes < 0)
        if len(new):
            rows = np.sort(new[np.unique(parsed[new], return_index=True)[1]])
            self._codes[parsed[rows]] = np.arange(len(self.ids), len(self.ids) + len(rows))
            added: dict[int, str] = {}
            for side, column in enumerate(columns):
                mine = rows[rows % 2 == side]
                names = column.gather(mine // 2).cast(pl.String)
                added |= zip(self._codes[parsed[mine]].tolist(), names, strict=True)
            self.ids += [added[code] for code in sorted(added)]
            codes = self._codes[parsed]
        return codes[0::2], codes[1::2]


def read_blocks(
    path: str | Path, layout: Callable[[list[str]], Schema | None], expected: str
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the file block by block: the number of its first line (from 1), and its columns.

    Any mix of spaces and tabs separates columns; a name ending in ``.gz`` is decompressed. Blank
    lines are allowed at the end only, so that row r of a block is always line ``first + r``.

    Args:
        layout: names and types of the columns, given the words of the first line; None if that
            line fits no format. A column of numbers that holds something else comes as text.
        expected: the format in words, for the error messages.

    Raises:
        TidyVoiceError: no such file, not text, no line in it, or lines of another width, with the
            first of them and how many more there are.
    """
    path = Path(path)
    first, schema, blank = 1, None, False
    try:
        with (
            gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file,
            closing(_ahead(_whole_lines(file))) as blocks,
        ):
            for text, lines, blanks in blocks:
                if not text:
                    blank = True
                    continue
                if schema is None:
                    schema = _first_line(path, text, layout, expected)
                if blank:
                    raise TidyVoiceError(f"{path}:{first}: 0 columns; expected {expected}")
                table = _parse(text, lines, schema)
                if table is None:
                    table = _parse(_one_space(text), lines, schema)
                if table is None:
                    raise TidyVoiceError(_fault(path, blocks, text, first, len(schema), expected))
                yield first, table
                first += table.height
                blank = blanks > 0
    except FileNotFoundError as error:
        raise TidyVoiceError(f"{path}: no such file") from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise TidyVoiceError(f"{path}: damaged gzip file ({error}); fetch it again") from error
    if schema is None:
        raise TidyVoiceError(f"{path}: the file is empty; expected {expected}")


def more(number: int) -> str:
    """How the count of further faults is said; nothing when there are none."""
    return f" ({number:,} more such lines)" if number else ""


def _whole_lines(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Blocks of whole lines, how many they are, and how many blank ones were cut off their end."""
    while block := file.read(BLOCK_BYTES) + file.readline():
        text = block.rstrip()
        yield text, text.count(b"\n") + 1, block.count(b"\n", len(text)) - 1


def _ahead(blocks: Iterator[tuple[bytes, int, int]]) -> Iterator[tuple[bytes, int, int]]:
    """The same, the next block being fetched while one is worked on."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = pool.submit(next, blocks, None)
            yield block


def _first_line(
    path: Path, text: bytes, layout: Callable[[list[str]], Schema | None], expected: str
) -> Schema:
    words = text.partition(b"\n")[0].decode(errors="replace").split()
    schema = layout(words)
    if schema is None:
        raise TidyVoiceError(
            f"{path}:1: {len(words)} columns in '{' '.join(words)}'; expected {expected}"
        )
    return schema


def _fault(
    path: Path,
    rest: Iterator[tuple[bytes, int, int]],
    text: bytes,
    first: int,
    width: int,
    expected: str,
) -> str:
    """What is wrong with a block that cannot be parsed, and how often from there on."""
    lines = text.split(b"\n")
    widths = np.fromiter((len(line.split()) for line in lines), np.int64, len(lines))
    wrong = np.flatnonzero(widths != width)
    if not len(wrong):
        return f"{path}: not UTF-8 text, in lines {first} to {first + len(lines) - 1}"
    further = sum(
        len(line.split()) not in (0, width) for block, _, _ in rest for line in block.split(b"\n")
    )
    at = int(wrong[0])
    return (
        f"{path}:{first + at}: {widths[at]} columns where the first line has {width}"
        f"{more(len(wrong) - 1 + further)}; expected {expected}"
    )


def _parse(text: bytes, lines: int, schema: Schema) -> pl.DataFrame | None:
    """The table, or None unless all ``lines`` have the words of ``schema``, one space between.

    A column of numbers that holds something else comes as text.
    """
    if b"\t" in text or b"\r" in text:
        return None
    for types in (
        schema,
        {name: pl.String if kind == pl.Float64 else kind for name, kind in schema.items()},
    ):
        try:
            table = pl.read_csv(
                io.BytesIO(text), has_header=False, separator=" ", quote_char=None, schema=types
            )
        except pl.exceptions.PolarsError:
            continue
        # polars passes over blank lines and fills short ones with nulls, as it does empty words
        # between two spaces: all would hide a fault.
        whole = table.height == lines and not any(column.has_nulls() for column in table)
        return table if whole else None
    return None


def _one_space(text: bytes) -> bytes:
    text = re.sub(rb" +", b" ", text.translate(_BLANKS_TO_SPACE))
    return text.replace(b" \n", b"\n").replace(b"\n ", b"\n").strip(b" ")

"""Text files of columns that white space separates: lists of many million lines."""

import codecs
import gzip
import re
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import polars as pl

from tidyvoice.arrays import EXPANSION
from tidyvoice.errors import TidyVoiceError, reading

# Text is parsed in blocks, so that it needs the same memory for any number of lines.
BLOCK_BYTES = 2**22
LONGEST_LINE = 2**20  # bytes
_BLANKS = b"\t\r\v\f"
_TO_SPACES = bytes.maketrans(_BLANKS, b"    ")

Columns = Mapping[str, pl.DataType]


def read_columns(
    path: str | Path, columns_of: Callable[[list[str]], Columns | None], expected: str
) -> pl.DataFrame:
    """Read a file, one row a line; a name that ends in ``.gz`` is decompressed.

    Blank lines are allowed at the end only, so that row r is line r + 1. Errors name the first
    faulty line.

    Args:
        columns_of: returns the columns (``pl.Categorical``, ``pl.Float64`` for finite numbers, or
            an ``pl.Enum``), given the words of the first line; None if its format is not known.
        expected: the format in words, for the error messages.
    """
    path, columns, tables = Path(path), None, []
    line, blank = 1, 0  # number of the next line, blank ones before
    with reading(path, "text file of columns", f"give a file of lines {expected}"):
        for block in _blocks(path):
            columns = columns or columns_of(block.decode(errors="replace").split())
            if columns is None or (blank > 0 and block.strip()):
                raise _fault(path, line, block if columns is None else b"", expected)
            if text := block.rstrip():
                table = _parse(text, columns)
                if table is None:
                    raise _first_fault(path, line, text, columns, expected)
                tables.append(table)
                line, blank = line + table.height, -1
            blank += block.count(b"\n", len(text))
        return pl.concat(tables)


def _blocks(path: Path) -> Iterator[bytes]:
    """Yield the first line (empty for an empty file), then blocks of complete lines."""
    size = total = 0
    with open(path, "rb") as raw:
        file = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
        while True:
            block, rest = file.read(size), file.readline(LONGEST_LINE)
            if len(rest) == LONGEST_LINE:
                raise ValueError(f"a line of {LONGEST_LINE:,} bytes or more")
            block += rest
            total += len(block)
            # gzip can expand a thousandfold; lists of trials do not reach the limit.
            if file is not raw and total > EXPANSION * raw.tell() + BLOCK_BYTES:
                raise ValueError(f"it expands to more than {EXPANSION} times its size")
            if size and not block:
                return
            yield block if size else block.removeprefix(codecs.BOM_UTF8)
            size = BLOCK_BYTES


def more(number: int) -> str:
    """Tell how many further mistakes there are; nothing for none."""
    return f" ({number:,} more such)" if number else ""


def _parse(text: bytes, columns: Columns) -> pl.DataFrame | None:
    """Return the table of complete lines; None if a line is wrong."""
    if b"\0" in text:  # a binary file, or text in UTF-16
        return None
    table = None if any(blank in text for blank in _BLANKS) else _table(text, columns)
    if table is None:
        text = re.sub(rb" +", b" ", text.translate(_TO_SPACES))
        text = text.replace(b" \n", b"\n").replace(b"\n ", b"\n").strip(b" ")
        table = _table(text, columns)
    return table


def _table(text: bytes, columns: Columns) -> pl.DataFrame | None:
    # Parsing text and then casting it to categoricals is faster than parsing categoricals.
    parsed = {name: pl.String if kind == pl.Categorical else kind for name, kind in columns.items()}
    try:
        table = pl.read_csv(text, has_header=False, separator=" ", quote_char=None, schema=parsed)
    except pl.exceptions.PolarsError:
        return None
    # polars skips blank lines, and fills short lines and empty words with nulls.
    complete = table.height == text.count(b"\n") + 1 and not any(c.has_nulls() for c in table)
    finite = all(c.is_finite().all() for c in table.select(pl.col(pl.Float64)))
    return table.cast(columns) if complete and finite else None


def _first_fault(
    path: Path, number: int, text: bytes, columns: Columns, expected: str
) -> TidyVoiceError:
    """Return the error of the first wrong line; ``number`` is that of the first line of text."""
    lines = text.split(b"\n")
    place = bisect(
        range(1, len(lines)), False, key=lambda n: _parse(b"\n".join(lines[:n]), columns) is None
    )
    return _fault(path, number + place, lines[place], expected)


def _fault(path: Path, number: int, line: bytes, expected: str) -> TidyVoiceError:
    shown = line[:80].decode(errors="replace").strip()
    fix = f"Give lines {expected}, all of one form."
    return TidyVoiceError(f"{path}:{number}: the line is {shown!r}. {fix}")

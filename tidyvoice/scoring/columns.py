"""Text files of columns that white space separates: lists of many million lines."""

import gzip
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import polars as pl

from tidyvoice.errors import TidyVoiceError

# Text is parsed in blocks, so that it needs the same memory for any number of lines. Larger blocks
# are slower, because the system allocates their memory anew for each block.
BLOCK_BYTES = 2**22
SHOWN = 80
_BLANKS = (b"\t", b"\r", b"\v", b"\f")
_BLANKS_TO_SPACES = bytes.maketrans(b"".join(_BLANKS), b" " * len(_BLANKS))

Columns = Mapping[str, pl.DataType]


def read_columns(
    path: str | Path, columns_of: Callable[[list[str]], Columns | None], expected: str
) -> pl.DataFrame:
    """Read a file, one row a line; a name that ends in ``.gz`` is decompressed.

    Blank lines are allowed at the end only, so that row r is line r + 1.

    Args:
        columns_of: returns names and types of the columns, given the words of the first line; None
            if that line has no known format. Columns are ``pl.Categorical``, ``pl.Float64`` for
            finite numbers, or a ``pl.Enum`` of labels.
        expected: the format in words, for the error messages.

    Raises:
        TidyVoiceError: no such file, no line in it, or faulty lines: the first of them, and how
            many more there are.
    """
    path = Path(path)
    try:
        with _open(path) as file:
            words = [word.decode(errors="replace") for word in file.readline().split()]
        columns = columns_of(words)
        table = None if columns is None else _parse_file(path, columns)
        if table is None:
            mistakes = _mistakes(path, words, columns)
            first = next(mistakes, ": cannot be parsed" if columns else ": the file is empty")
            rest = more(sum(1 for _ in mistakes))
            raise TidyVoiceError(f"{path}{first}{rest}; expected {expected}")
        return table
    except FileNotFoundError as error:
        raise TidyVoiceError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise TidyVoiceError(f"{path} is a folder. Give a file of lines {expected}.") from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise TidyVoiceError(f"{path}: damaged gzip file ({error}). Download it again.") from error


def more(number: int) -> str:
    """Tell how many further mistakes there are; nothing for none."""
    return f" ({number:,} more such lines)" if number else ""


def _open(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb")


def _parse_file(path: Path, columns: Columns) -> pl.DataFrame | None:
    """Return the table of the file; None if a line is wrong."""
    tables, blank = [], False
    with _open(path) as file:
        while block := file.read(BLOCK_BYTES) + file.readline():
            text = block.rstrip()
            if text:
                table = None if blank else _parse(text, columns)
                if table is None:
                    return None
                tables.append(table)
            blank |= block.count(b"\n", len(text)) > bool(text)
    return pl.concat(tables)


def _parse(text: bytes, columns: Columns) -> pl.DataFrame | None:
    """Return the table of complete lines; None if a line is wrong."""
    lines = text.count(b"\n") + 1
    # Parsing text and then casting it to categoricals is faster than parsing categoricals.
    parsed = {name: pl.String if kind == pl.Categorical else kind for name, kind in columns.items()}
    for one_space in (False, True):
        if one_space:
            text = re.sub(rb" +", b" ", text.translate(_BLANKS_TO_SPACES))
            text = text.replace(b" \n", b"\n").replace(b"\n ", b"\n").strip(b" ")
        elif any(blank in text for blank in _BLANKS):
            continue
        try:
            table = pl.read_csv(
                text, has_header=False, separator=" ", quote_char=None, schema=parsed
            )
        except pl.exceptions.PolarsError:
            continue
        # polars skips blank lines, and fills short lines and empty words with nulls.
        if table.height == lines and not any(column.has_nulls() for column in table):
            numbers = [column for column in table if column.dtype == pl.Float64]
            return table.cast(columns) if all(n.is_finite().all() for n in numbers) else None
    return None


def _mistakes(path: Path, first_line: list[str], columns: Columns | None) -> Iterator[str]:
    """Yield line and kind of each mistake."""
    if columns is None and first_line:
        shown = " ".join(first_line)
        if "\N{REPLACEMENT CHARACTER}" in shown or not shown.isprintable():
            yield ": not a text file"
            return
        if len(shown) > SHOWN:
            shown = f"{shown[:SHOWN]}..."
        yield f":1: {len(first_line)} columns in {shown!r}"
        return
    blank: list[int] = []
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                blank.append(number)
                continue
            yield from (f":{empty}: 0 columns" for empty in blank)
            blank.clear()
            if columns and (mistake := _mistake(line, columns)):
                yield f":{number}: {mistake}"


def _mistake(line: bytes, columns: Columns) -> str | None:
    try:
        words = [word.decode() for word in line.split()]
    except UnicodeDecodeError:
        return "not UTF-8 text"
    if len(words) != len(columns):
        return f"{len(words)} columns where the first line has {len(columns)}"
    for (name, kind), word in zip(columns.items(), words, strict=True):
        if kind == pl.Float64 and not _is_finite(word):
            return f"the {name} '{word}' is not a finite number"
        if isinstance(kind, pl.Enum) and word not in kind.categories:
            right = " or ".join(f"'{label}'" for label in reversed(kind.categories.to_list()))
            return f"bad {name} '{word}', use {right}"
    return None


def _is_finite(word: str) -> bool:
    try:
        # Python also reads 1_000 and the digits of other scripts, which polars does not.
        return "_" not in word and word.isascii() and math.isfinite(float(word))
    except ValueError:
        return False

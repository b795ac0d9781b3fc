"""White-space separated text in columns, read in blocks: lists of many million lines."""

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl

from tidyvoice.errors import TidyVoiceError

BLOCK_BYTES = 32 * 2**20
_BLANKS_TO_SPACE = bytes.maketrans(b"\t\r\v\f", b"    ")


class IdCodes:
    """Numbers ids in the order in which they first appear, over many blocks."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._known: set[str] = set()

    def encode(self, *columns: pl.Series) -> list[np.ndarray]:
        """The int32 codes of each column; ids not seen before get new codes."""
        for column in columns:
            new = [i for i in column.unique(maintain_order=True) if i not in self._known]
            self.ids += new
            self._known.update(new)
        codes = pl.Enum(self.ids)
        return [column.cast(codes).to_physical().to_numpy().astype(np.int32) for column in columns]


def read_blocks(
    path: str | Path, widths: tuple[int, ...], expected: str
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the file block by block: the number of its first line (from 1), and its columns.

    Columns are text, named "0", "1" and so on. Any mix of spaces and tabs separates them; a name
    ending in ``.gz`` is decompressed. Blank lines are allowed at the end only, so that row r of a
    block is always line ``first + r``.

    Args:
        widths: the numbers of columns allowed. The first line chooses among them.
        expected: the format in words, for the error messages.

    Raises:
        TidyVoiceError: no such file, not text, no line in it, or a line of another width.
    """
    path = Path(path)
    first, width = 1, None
    try:
        for text in _whole_lines(path):
            if width is None:
                width = len(text.partition(b"\n")[0].split())
                if width not in widths:
                    raise TidyVoiceError(f"{path}:1: {width} columns; expected {expected}")
            table = _checked(path, text, first, width, expected)
            yield first, table
            first += table.height
    except FileNotFoundError as error:
        raise TidyVoiceError(f"{path}: no such file") from error
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise TidyVoiceError(f"{path}: damaged gzip file ({error}); fetch it again") from error
    if width is None:
        raise TidyVoiceError(f"{path}: the file is empty; expected {expected}")


def _whole_lines(path: Path) -> Iterator[bytes]:
    """Blocks of whole lines, without the blank end of the file."""
    rest = b""
    with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            rest += block
            # The cut lies before the last line that is not blank: what follows may be the end.
            cut = rest.rstrip().rfind(b"\n") + 1
            if cut:
                yield rest[: cut - 1]
                rest = rest[cut:]
    if rest.strip():
        yield rest.rstrip()


def _checked(path: Path, text: bytes, first: int, width: int, expected: str) -> pl.DataFrame:
    # Most lists have one space between columns, and cleaning takes as long as parsing.
    table = _parse(text, width)
    if table is None:
        table = _parse(_one_space(text), width)
    if table is not None:
        return table
    lines = text.split(b"\n")
    for number, line in enumerate(lines, first):
        if len(line.split()) != width:
            raise TidyVoiceError(
                f"{path}:{number}: {len(line.split())} columns where the first line has {width}; "
                f"expected {expected}"
            )
    raise TidyVoiceError(f"{path}: not UTF-8 text, in lines {first} to {first + len(lines) - 1}")


def _parse(text: bytes, width: int) -> pl.DataFrame | None:
    """The table, or None unless each line is ``width`` words with one space between them."""
    lines = text.count(b"\n") + 1
    if text.count(b" ") != lines * (width - 1) or b"\t" in text or b"\r" in text:
        return None
    try:
        table = pl.read_csv(
            io.BytesIO(text),
            has_header=False,
            separator=" ",
            quote_char=None,
            schema={str(column): pl.String for column in range(width)},
        )
    except pl.exceptions.ComputeError:
        return None
    # polars passes over blank lines and fills short ones with nulls: both would hide a fault.
    whole = table.height == lines and not any(column.has_nulls() for column in table)
    return table if whole else None


def _one_space(text: bytes) -> bytes:
    text = re.sub(rb" +", b" ", text.translate(_BLANKS_TO_SPACE))
    return text.replace(b" \n", b"\n").replace(b"\n ", b"\n").strip(b" ")

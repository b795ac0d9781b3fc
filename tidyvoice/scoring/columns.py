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
from tidyvoice.readahead import one_ahead

BLOCK_BYTES = 32 * 2**20
_BLANKS_TO_SPACE = bytes.maketrans(b"\t\r\v\f", b"    ")
SHOWN = 80
# Places of the table of ids for each id, at least: one in 32 finds another one there.
SPARSE = 16

Schema = Mapping[str, pl.DataType]


class IdCodes:
    """Numbers ids in the order in which they first appear, over many blocks.

    An id's hash tells the one known id that it can be, which is then compared with it: no string is
    looked up in a dictionary but those few whose place in the table another one has.

    Attributes:
        ids: those seen so far.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self._known = pl.Series([], dtype=pl.String)
        self._bits = 12
        self._table = np.full(1 << self._bits, -1, dtype=np.int32)
        self._crowded: dict[str, int] = {}

    def encode(self, enroll: pl.Series, test: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        """The int32 codes of two columns; ids not seen before get new codes, row by row."""
        sides = (enroll, test)
        with ThreadPoolExecutor(2) as pool:
            codes = list(pool.map(self._look_up, sides))
        missing = [np.flatnonzero(found < 0) for found in codes]
        if any(map(len, missing)):
            unseen = [column.gather(rows) for column, rows in zip(sides, missing, strict=True)]
            row = np.concatenate([2 * missing[0], 2 * missing[1] + 1])
            self._add(pl.concat(unseen).gather(np.argsort(row)).unique(maintain_order=True))
            for found, rows, words in zip(codes, missing, unseen, strict=True):
                found[rows] = self._look_up(words)
        return codes[0], codes[1]

    def _look_up(self, words: pl.Series) -> np.ndarray:
        """Their codes, int32; -1 for those not known."""
        if not self.ids:
            return np.full(len(words), -1, dtype=np.int32)
        codes = self._table[self._places(words)]
        guess = self._known.gather(np.maximum(codes, 0))
        others = np.flatnonzero(~(guess == words).to_numpy() | (codes < 0))
        codes[others] = [self._crowded.get(word, -1) for word in words.gather(others)]
        return codes

    def _add(self, words: pl.Series) -> None:
        self._known.extend(words)
        self.ids += words.to_list()
        first = len(self.ids) - len(words)
        if len(self.ids) * SPARSE > len(self._table):
            self._bits = (len(self.ids) * SPARSE).bit_length()
            self._table = np.full(1 << self._bits, -1, dtype=np.int32)
            self._crowded, first = {}, 0
        places = self._places(self._known[first:])
        new = np.arange(first, len(self.ids), dtype=np.int32)
        free = self._table[places] < 0
        self._table[places[free]] = new[free]
        for code in new[self._table[places] != new].tolist():
            self._crowded[self.ids[code]] = code

    def _places(self, words: pl.Series) -> np.ndarray:
        return words.hash(seed=0).to_numpy() >> np.uint64(64 - self._bits)


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
            closing(one_ahead(_whole_lines(file))) as blocks,
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
    except IsADirectoryError as error:
        raise TidyVoiceError(f"{path} is a folder; give a file of lines {expected}") from error
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
        # Without a copy where nothing but the last line's end is to be cut, which hurts nobody.
        text = block if block[-2:-1] > b" " else block.rstrip()
        ends = np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n"))
        lines = ends + (not text.endswith(b"\n"))
        yield text, lines, block.count(b"\n", len(text)) - 1


def _first_line(
    path: Path, text: bytes, layout: Callable[[list[str]], Schema | None], expected: str
) -> Schema:
    words = text.partition(b"\n")[0].decode(errors="replace").split()
    schema = layout(words)
    if schema is None:
        raise TidyVoiceError(
            f"{path}:1: {len(words)} columns in {_shown(words)}; expected {expected}"
        )
    return schema


def _shown(words: list[str]) -> str:
    """A line, not all of it where it is long or no text."""
    line = " ".join(words)
    return f"'{line}'" if line.isprintable() and len(line) <= SHOWN else f"{line[:SHOWN]!r}..."


def _fault(
    path: Path,
    rest: Iterator[tuple[bytes, int, int]],
    text: bytes,
    first: int,
    width: int,
    expected: str,
) -> str:
    """What is wrong with a block that cannot be parsed, and how often from there on."""
    lines = text.removesuffix(b"\n").split(b"\n")
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
